//! Whether the documents of a collection are still what their files say: what the next ingest would find.

use std::fs;
use std::path::Path;

use super::Places;
use super::ingest::mtime;
use crate::index::Known;

/// A collection's documents held against their files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Freshness {
    /// Say what was ingested, in documents.
    pub current: usize,
    /// Say something else now; paths as recorded.
    pub changed: Vec<String>,
    /// Are gone or cannot be read; paths as recorded.
    pub missing: Vec<String>,
}

/// Holds `documents` against their files. As an ingest does, it looks at size and date first, and reads a file only when
/// one of them differs: another date alone is no change.
pub fn freshness(documents: &[Known], places: &Places) -> Freshness {
    let mut found = Freshness::default();
    for known in documents {
        match is_current(known, &places.file(&known.meta.path)) {
            Ok(true) => found.current += 1,
            Ok(false) => found.changed.push(known.meta.path.clone()),
            Err(_) => found.missing.push(known.meta.path.clone()),
        }
    }
    found
}

fn is_current(known: &Known, file: &Path) -> std::io::Result<bool> {
    let meta = fs::metadata(file)?;
    if meta.len() != known.meta.size {
        return Ok(false);
    }
    Ok(mtime(&meta) == known.meta.mtime
        || blake3::hash(&fs::read(file)?).to_hex().as_str() == known.meta.hash)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::index::DocumentMeta;
    use crate::text::document::Format;

    fn ingested(root: &Path, path: &str, text: &str) -> Known {
        let file = root.join(path);
        fs::write(&file, text).unwrap();
        let meta = DocumentMeta {
            path: path.to_owned(),
            hash: blake3::hash(text.as_bytes()).to_hex().to_string(),
            size: text.len() as u64,
            mtime: mtime(&fs::metadata(&file).unwrap()),
            format: Format::Text,
            title: None,
            fields: BTreeMap::new(),
        };
        Known { meta, chunks: 1, stale: false }
    }

    fn age(file: &Path) {
        let then = SystemTime::now() - Duration::from_secs(3600);
        fs::File::options().write(true).open(file).unwrap().set_modified(then).unwrap();
    }

    #[test]
    fn another_content_is_a_change_another_date_alone_is_none_and_what_is_gone_is_missing() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let documents: Vec<Known> = ["same", "touched", "longer", "rewritten", "gone"]
            .map(|path| ingested(root, path, "0123456789"))
            .into();
        age(&root.join("touched"));
        fs::write(root.join("longer"), "0123456789 and more").unwrap();
        fs::write(root.join("rewritten"), "9876543210").unwrap();
        age(&root.join("rewritten"));
        fs::remove_file(root.join("gone")).unwrap();

        let places = Places { root: root.to_owned(), here: root.to_owned() };
        let found = freshness(&documents, &places);
        assert_eq!(
            found,
            Freshness {
                current: 2,
                changed: vec!["longer".into(), "rewritten".into()],
                missing: vec!["gone".into()]
            }
        );
    }
}
