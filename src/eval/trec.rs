//! A ranking as a file that trec_eval and its relatives read: `question Q0 document rank score tag`, one hit a line.
//!
//! trec_eval goes by the scores, not the ranks, and puts equal ones in descending order of the document's id. [`order`] is
//! that order, so that what we measure is what others measure from the file.

use std::cmp::Ordering;
use std::fmt::Write;
use std::path::Path;

use crate::error::{Error, Result};
use crate::files;

/// One question's hits, best first: document and score.
pub type Ranking<'a> = Vec<(&'a str, f32)>;

/// trec_eval's order.
pub fn order(a: &(&str, f32), b: &(&str, f32)) -> Ordering {
    b.1.total_cmp(&a.1).then_with(|| b.0.cmp(a.0))
}

/// Writes the rankings of questions to `path`, whole or not at all.
///
/// # Errors
/// `Invalid` for an id with spaces, which the format cannot hold; `Io` when it cannot be written.
pub fn write<'a>(
    path: &Path,
    tag: &str,
    rankings: impl IntoIterator<Item = (&'a str, &'a Ranking<'a>)>,
) -> Result<()> {
    let mut text = String::new();
    for (question, ranking) in rankings {
        for (rank, (document, score)) in (1..).zip(ranking) {
            if let Some(id) = [question, document].into_iter().find(|id| id.contains(char::is_whitespace)) {
                return Err(Error::invalid(format!("the id `{}` has spaces", id.escape_debug())).hint(
                    "a TREC run file keeps its columns apart by spaces: leave out --run, or rename it",
                ));
            }
            let _ = writeln!(text, "{question} Q0 {document} {rank} {score} {tag}");
        }
    }
    files::replace(path, text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_written_whole_or_not_at_all_and_scores_survive() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run.trec");
        let ranking = vec![("d2", 0.1f32 + 0.2), ("d1", 0.25)];
        write(&path, "hybrid", [("q", &ranking)]).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(
            text,
            "q Q0 d2 1 0.3 hybrid\nq Q0 d1 2 0.25 hybrid\n".replace("0.3 ", &format!("{} ", 0.1f32 + 0.2))
        );
        let spaced = vec![("d 3", 1.0)];
        assert!(write(&path, "hybrid", [("q", &ranking), ("r", &spaced)]).is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    }

    #[test]
    fn equal_scores_are_in_descending_order_of_their_ids() {
        let mut hits = vec![("a", 1.0), ("c", 2.0), ("b", 1.0)];
        hits.sort_by(order);
        assert_eq!(hits, [("c", 2.0), ("b", 1.0), ("a", 1.0)]);
    }
}
