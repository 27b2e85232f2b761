//! An answer in the documents' own words: chosen sentences, each with its citation.

use super::{Answer, Answering, Ask, Retrieved};
use crate::embed::Overflow;
use crate::error::Result;
use crate::retrieve::Hit;
use crate::retrieve::extract::{Extract, candidates, choose};
use crate::text::document::Format;
use crate::text::markup::quote_len;

/// Sentences of an answer, at most.
const MOST_SENTENCES: usize = 3;

impl Ask<'_> {
    /// The documents' own sentences, each with its citation.
    pub(super) fn extract(
        &self,
        retrieved: &Retrieved,
        question: &str,
        answer: &mut Answer,
    ) -> Result<String> {
        answer.mode = Answering::Extractive;
        let passages = &retrieved.passages;
        let sentences = candidates(passages);
        let texts: Vec<&str> = sentences.iter().map(|sentence| sentence.text(passages)).collect();
        let vectors = self.embedder.embed(&texts, Overflow::Truncate)?;
        let extracts = self.with_asked(question, &retrieved.idf, |asked| {
            choose(asked, &retrieved.vector, passages, &sentences, &vectors, MOST_SENTENCES)
        });
        let mut said = Vec::new();
        for extract in joined(extracts, passages) {
            let passage = &passages[extract.passage].passage;
            let text = on_one_line(&passage.chunk.text[extract.range.clone()], passage.format);
            let n = answer.cite(passage, extract.range, extract.score, self.places);
            said.push(format!("{text} [{n}]"));
        }
        Ok(said.join(" "))
    }
}

/// The words of `text`; of Markdown, without comments and the marks that a quotation repeats in each of its lines.
fn on_one_line(text: &str, format: Format) -> String {
    let unmarked = |line: &'_ str| -> usize {
        let mut rest = line.trim_start();
        while format == Format::Markdown && quote_len(rest) > 0 {
            rest = &rest[quote_len(rest)..];
        }
        line.len() - rest.len()
    };
    let lines = text.lines().map(|line| &line[unmarked(line)..]);
    let text = lines.flat_map(str::split_whitespace).collect::<Vec<_>>().join(" ");
    if format == Format::Markdown { without_comments(&text) } else { text }
}

fn without_comments(text: &str) -> String {
    let mut parts = text.split("<!--");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |kept, part| match part.split_once("-->") {
        Some((_, after)) => kept + after,
        None => kept + "<!--" + part,
    })
}

/// Sentences that follow each other in one paragraph become one extract, cited once, with the better score.
fn joined(extracts: Vec<Extract>, passages: &[Hit]) -> Vec<Extract> {
    let mut joined: Vec<Extract> = Vec::new();
    for next in extracts {
        let follows = |last: &Extract| {
            let text = &passages[next.passage].passage.chunk.text;
            let between = text.get(last.range.end..next.range.start);
            last.passage == next.passage
                && between.is_some_and(|b| b.trim().is_empty() && b.matches('\n').count() < 2)
        };
        match joined.last_mut().filter(|last| follows(last)) {
            Some(last) => {
                last.range.end = next.range.end;
                last.score = last.score.max(next.score);
            }
            None => joined.push(next),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quotation_over_lines_loses_its_marks_and_a_comparison_keeps_its_own() {
        let quoted = "You won't need to think\n> about the stack\n> > or the heap.";
        assert_eq!(
            on_one_line(quoted, Format::Markdown),
            "You won't need to think about the stack or the heap."
        );
        let comments = "See [it][it]<!-- ignore --> now, <!-- and -->then <!-- no end";
        assert_eq!(on_one_line(comments, Format::Markdown), "See [it][it] now, then <!-- no end");
        assert_eq!(on_one_line("a > b\nholds", Format::Markdown), "a > b holds");
        assert_eq!(on_one_line("if a\n> b", Format::Text), "if a > b");
    }
}
