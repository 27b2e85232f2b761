//! A conversation as a page of Markdown: questions, what they were asked as, answers, citations.

use std::fmt::Write;

use super::{Conversation, Turn};
use crate::engine::Citation;

impl Conversation {
    /// The page, under `title`. Text of documents stays what it is, as quotations; control characters are left out.
    pub fn to_markdown(&self, title: &str) -> String {
        let mut page = format!("# {}\n", line(title));
        for turn in &self.turns {
            page.push_str(&section(turn));
        }
        page
    }
}

fn section(turn: &Turn) -> String {
    let Turn { asked, answer, .. } = turn;
    let mut text = format!("\n## {}\n", line(asked));
    // Writing to a string cannot fail.
    if turn.rewritten.is_some() {
        let _ = writeln!(text, "\nAsked as: *{}*", line(&answer.question));
    }
    let _ = writeln!(text, "\n{}", visible(&answer.answer).trim());
    if let Some(reason) = &answer.fallback {
        let _ = writeln!(text, "\n(In the documents' own words, because {}.)", line(reason));
    }
    for nearest in &answer.nearest {
        let _ = write!(text, "\n* nearest: {}", place(&nearest.path, nearest.lines));
    }
    text.push_str(if answer.nearest.is_empty() { "" } else { "\n" });
    answer.citations.iter().for_each(|citation| text.push_str(&cited(citation)));
    text
}

fn cited(citation: &Citation) -> String {
    let title = citation.title.as_deref().map(|title| format!(" {}", line(title))).unwrap_or_default();
    let quote: String = visible(&citation.quote).lines().map(|line| format!(">{}\n", spaced(line))).collect();
    let url = citation.url.as_deref().map(|url| format!(" <{}>", line(url))).unwrap_or_default();
    format!("\n\\[{}\\] {}{title}{url}\n\n{quote}", citation.n, place(&citation.path, citation.lines))
}

fn place(path: &str, [first, last]: [u32; 2]) -> String {
    let lines = if first == last { first.to_string() } else { format!("{first}-{last}") };
    format!("`{}:{lines}`", line(path))
}

fn spaced(line: &str) -> String {
    if line.is_empty() { String::new() } else { format!(" {line}") }
}

fn visible(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

fn line(text: &str) -> String {
    visible(text).split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::super::tests::turn;
    use super::*;

    #[test]
    fn a_page_says_what_was_asked_and_where_the_answer_stands() {
        let mut conversation = Conversation::default();
        let question = "When does the support contract end?";
        conversation.push(turn(question, question, Some("The support contract ends in May. [1]")));
        conversation.push(turn("Who\u{1b}[2J signed it?", "Who signed the support contract?", None));
        insta::assert_snapshot!(conversation.to_markdown("A conversation over `work`"), @r"
        # A conversation over `work`

        ## When does the support contract end?

        The support contract ends in May. [1]

        \[1\] `notes/contract.md:3-4` Support contract

        > The support contract
        > ends in May.

        ## Who[2J signed it?

        Asked as: *Who signed the support contract?*

        Not found in the indexed documents.
        ");
    }
}
