//! The first command of the README: from nothing to a cited answer, harmless when repeated.

use std::fs;

use crate::defaults;
use crate::run::Folder;

#[test]
fn quickstart_answers_from_the_guide_with_a_citation_that_holds() {
    let (Some(_), Some(_)) = (defaults::encoder(), defaults::generator()) else { return };
    // Inside somebody's repository, where git looks away from `.incontext/`: the guide was not found there once.
    let folder = Folder::new();
    fs::create_dir(folder.at(".git")).unwrap();
    let first = folder.ok(&["quickstart"]);
    assert!(first.out.starts_with("Prefix tuning is "), "{first:#?}");
    assert!(first.out.contains("[1] .incontext/guide/tuning/prefix-tuning.md:"), "{first:#?}");
    assert!(first.err.contains("Next:"), "{first:#?}");

    let quote = first.out.lines().find_map(|line| line.trim().strip_prefix("| ")).unwrap();
    let page = fs::read_to_string(folder.at(".incontext/guide/tuning/prefix-tuning.md")).unwrap();
    assert!(page.contains(quote), "{quote}");

    let second = folder.ok(&["quickstart"]);
    assert_eq!(second.out, first.out);
    assert!(second.err.contains("added 0 updated 0 unchanged"), "{second:#?}");
}
