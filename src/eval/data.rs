//! Judged collections as files: JSON lines, tables of judgements, either of them gzipped.
//!
//! The layout is BEIR's (Thakur et al. 2021, arXiv 2104.08663): passages and questions are `{"_id", "title"?, "text"}`, one
//! a line, whatever else a line holds being left to others; judgements are `query-id  corpus-id  score` under a header, or
//! trec_eval's four columns `query 0 document score` without one. Every complaint names the file and the line. What a
//! judgement is worth is `metrics`' to say.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};
use crate::text::records::Source;

/// A document of a judged collection.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Passage {
    #[serde(rename = "_id", deserialize_with = "id")]
    pub id: String,
    #[serde(default)]
    pub title: Option<String>,
    pub text: String,
}

/// A question of a judged collection.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Question {
    #[serde(rename = "_id", deserialize_with = "id")]
    pub id: String,
    pub text: String,
}

/// What somebody thought of a document for a question: above 0 is relevant, and more is more so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judgement {
    pub score: i64,
    /// Of the file, from 1.
    pub line: usize,
}

/// Judgements by question, then by document.
pub type Judgements = BTreeMap<String, BTreeMap<String, Judgement>>;

/// The passages of a file, in its order.
///
/// # Errors
/// `Invalid` for a line that is no passage, a repeated id, or a file without any.
pub fn passages(source: &Source) -> Result<Vec<Passage>> {
    let wanted = "a passage a line: {\"_id\": \"7\", \"title\": \"optional\", \"text\": \"...\"}";
    distinct(source, |passage: &Passage| &passage.id, wanted)
}

/// The questions of a file, in its order.
///
/// # Errors
/// As [`passages`].
pub fn questions(source: &Source) -> Result<Vec<Question>> {
    distinct(
        source,
        |question: &Question| &question.id,
        "a question a line: {\"_id\": \"7\", \"text\": \"...\"}",
    )
}

fn distinct<T: DeserializeOwned>(
    source: &Source,
    id: impl Fn(&T) -> &String,
    wanted: &str,
) -> Result<Vec<T>> {
    let records: Vec<(usize, T)> = source.json_lines().map_err(|error| error.hint(wanted))?;
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for (line, record) in &records {
        if let Some(first) = seen.insert(id(record), *line) {
            let twice = Error::invalid(format!("the id `{}` is on line {first}, too", id(record)));
            return Err(source.at(*line, twice).hint("every id stands for one thing"));
        }
    }
    if records.is_empty() {
        return Err(Error::invalid(format!("`{}` is empty", source.path().display())).hint(wanted));
    }
    Ok(records.into_iter().map(|(_, record)| record).collect())
}

/// The judgements of a file. A pair judged twice is worth its last score, as in BEIR's loader.
///
/// # Errors
/// `Invalid` for a line with too few columns or a score that is no whole number, or a file without any judgement.
pub fn judgements(source: &Source) -> Result<Judgements> {
    let hint = "tab-separated `query-id corpus-id score` under a header, or TREC's `query 0 document score`";
    let mut columns = None;
    let mut judgements = Judgements::new();
    for (number, line) in source.lines() {
        let cells: Vec<&str> = match line.contains('\t') {
            true => line.split('\t').map(str::trim).collect(),
            false => line.split_whitespace().collect(),
        };
        let [question, document, score] = match columns {
            Some(columns) => columns,
            None => {
                let (these, is_header) = layout(&cells);
                columns = Some(these);
                if is_header {
                    continue;
                }
                these
            }
        };
        let wrong = |what: String| source.at(number, Error::invalid(what)).hint(hint);
        let cell = |at: usize| cells.get(at).copied().filter(|cell| !cell.is_empty());
        let (Some(question), Some(document), Some(score)) = (cell(question), cell(document), cell(score))
        else {
            return Err(wrong(format!(
                "{} columns, where query, document and score are expected",
                cells.len()
            )));
        };
        let score = score.parse().map_err(|_| wrong(format!("the score `{score}` is no whole number")))?;
        let judgement = Judgement { score, line: number };
        judgements.entry(question.to_owned()).or_default().insert(document.to_owned(), judgement);
    }
    match judgements.is_empty() {
        true => Err(Error::invalid(format!("`{}` judges nothing", source.path().display())).hint(hint)),
        false => Ok(judgements),
    }
}

/// In which columns question, document and score stand, by the first line, and whether that is a header.
fn layout(cells: &[&str]) -> ([usize; 3], bool) {
    let named = |name: &str| cells.iter().position(|cell| cell.eq_ignore_ascii_case(name));
    if let (Some(question), Some(document), Some(score)) =
        (named("query-id"), named("corpus-id"), named("score"))
    {
        return ([question, document, score], true);
    }
    match cells.len() {
        4 => ([0, 2, 3], false),
        _ => ([0, 1, 2], cells.get(2).is_some_and(|cell| cell.parse::<i64>().is_err())),
    }
}

/// An id: a string, or a number as it is written.
fn id<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Id {
        Text(String),
        Number(serde_json::Number),
    }
    Id::deserialize(deserializer).map(|id| match id {
        Id::Text(text) => text,
        Id::Number(number) => number.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn source(text: &[u8]) -> Result<Source> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Source::read(file.path())
    }

    fn pairs(judgements: &Judgements) -> Vec<(&str, &str, i64)> {
        judgements
            .iter()
            .flat_map(|(q, of)| of.iter().map(move |(d, j)| (q.as_str(), d.as_str(), j.score)))
            .collect()
    }

    #[test]
    fn a_packed_file_reads_as_the_plain_one_and_the_hash_is_of_what_lies_on_disk() {
        let text = "\u{feff}{\"_id\": 7, \"title\": \"T\", \"text\": \"a\", \"more\": []}\n\n{\"_id\": \"x\", \"text\": \"b\"}\n";
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(text.as_bytes()).unwrap();
        let packed = packed.finish().unwrap();
        let (plain, unpacked) = (source(text.as_bytes()).unwrap(), source(&packed).unwrap());
        assert_eq!(unpacked.hash, blake3::hash(&packed).to_hex().as_str());
        let expected = [
            Passage { id: "7".into(), title: Some("T".into()), text: "a".into() },
            Passage { id: "x".into(), title: None, text: "b".into() },
        ];
        assert_eq!(passages(&plain).unwrap(), expected);
        assert_eq!(passages(&unpacked).unwrap(), expected);
        let cut = source(&packed[..packed.len() - 9]);
        assert!(matches!(cut, Err(Error::Corrupt(_))), "{cut:?}");
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        let complaint = |text: &[u8]| match source(text).and_then(|source| questions(&source)) {
            Err(error) => error.to_string(),
            Ok(read) => panic!("{read:?}"),
        };
        let good = "{\"_id\": \"1\", \"text\": \"a\"}\n";
        for (text, expected) in [
            (format!("{good}\n{{\"_id\": \"2\"}}\n"), "line 3: missing field `text`"),
            (format!("{good}nonsense\n"), "line 2: expected ident"),
            (format!("{good}{good}"), "line 2: the id `1` is on line 1, too"),
            (String::new(), "is empty"),
        ] {
            let complaint = complaint(text.as_bytes());
            assert!(complaint.contains(expected), "{complaint}");
        }
        assert!(complaint(b"{\"_id\": \"1\",\n\xff").contains("line 2: not UTF-8"));
    }

    #[test]
    fn judgements_come_in_three_layouts_and_the_last_word_counts() {
        let read = |text: &str| judgements(&source(text.as_bytes()).unwrap());
        let beir =
            read("query-id\tcorpus-id\tscore\tcode\nq 1\td\t2\t9\nq 1\te\t-1\t9\nq 1\td\t0\t9\n").unwrap();
        assert_eq!(pairs(&beir), [("q 1", "d", 0), ("q 1", "e", -1)]);
        assert_eq!(beir["q 1"]["d"].line, 4);
        assert_eq!(pairs(&read("q 0 d 2\nq 0 e 1\n").unwrap()), [("q", "d", 2), ("q", "e", 1)]);
        assert_eq!(pairs(&read("q\td\t2\n").unwrap()), [("q", "d", 2)]);
        assert_eq!(pairs(&read("question\tpassage\tgrade\nq\td\t2\n").unwrap()), [("q", "d", 2)]);
        for (text, expected) in [
            ("query-id\tcorpus-id\tscore\nq\td\n", "line 2: 2 columns"),
            ("query-id\tcorpus-id\tscore\nq\td\t1\nq\te\tgood\n", "line 3: the score `good`"),
            ("query-id\tcorpus-id\tscore\n", "judges nothing"),
        ] {
            let complaint = read(text).unwrap_err().to_string();
            assert!(complaint.contains(expected), "{complaint}");
        }
    }
}
