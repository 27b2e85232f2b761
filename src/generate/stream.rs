//! Text as it grows, handed out as far as it is settled: never half a character, never a part of a stop text.
//!
//! [`Growing`] takes text, as endpoints send it; [`TextStream`] takes the tokens of a model of ours.

use std::ops::ControlFlow;

use super::{Finish, OnText};
use crate::error::Result;
use crate::text::tokenizer::Tokenizer;

pub(super) struct Growing<'a> {
    stop: &'a [String],
    on_text: OnText<'a>,
    text: String,
    /// Bytes of `text` already handed out.
    handed_out: usize,
}

impl<'a> Growing<'a> {
    pub fn new(stop: &'a [String], on_text: OnText<'a>) -> Self {
        Self { stop, on_text, text: String::new(), handed_out: 0 }
    }

    /// Takes the next piece; says when the text is finished.
    pub fn push(&mut self, piece: &str) -> Option<Finish> {
        self.text.push_str(piece);
        self.grown()
    }

    /// Takes the whole text so far, which may settle the end of the one before.
    fn replace(&mut self, text: String) -> Option<Finish> {
        self.text = text;
        self.grown()
    }

    fn grown(&mut self) -> Option<Finish> {
        if let Some(end) = first_stop(&self.text, self.stop) {
            self.text.truncate(end);
            return Some(Finish::Stop);
        }
        let safe = settled(&self.text, self.stop);
        self.hand_out(safe).map(|()| Finish::Cancelled)
    }

    /// Hands out what was held back; returns the whole text.
    pub fn finish(mut self, finish: Finish) -> String {
        if finish != Finish::Cancelled {
            let end = self.text.len();
            self.hand_out(end);
        }
        self.text
    }

    /// Some(()) when the reader has had enough.
    fn hand_out(&mut self, end: usize) -> Option<()> {
        if end <= self.handed_out {
            return None;
        }
        let flow = (self.on_text)(&self.text[self.handed_out..end]);
        self.handed_out = end;
        matches!(flow, ControlFlow::Break(())).then_some(())
    }
}

pub(super) struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    ids: Vec<u32>,
    growing: Growing<'a>,
}

impl<'a> TextStream<'a> {
    pub fn new(tokenizer: &'a Tokenizer, stop: &'a [String], on_text: OnText<'a>) -> Self {
        Self { tokenizer, ids: Vec::new(), growing: Growing::new(stop, on_text) }
    }

    /// Tokens taken so far.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Takes a token; says when the text is finished.
    pub fn push(&mut self, token: u32) -> Result<Option<Finish>> {
        self.ids.push(token);
        Ok(self.growing.replace(self.tokenizer.decode(&self.ids)?))
    }

    /// Hands out what was held back; returns the whole text.
    pub fn finish(self, finish: Finish) -> Result<String> {
        Ok(self.growing.finish(finish))
    }
}

/// Where the first stop text begins.
fn first_stop(text: &str, stop: &[String]) -> Option<usize> {
    stop.iter().filter(|stop| !stop.is_empty()).filter_map(|stop| text.find(stop.as_str())).min()
}

/// How much of `text` no later token can take back: not a character still missing bytes, not what may become a stop.
fn settled(text: &str, stop: &[String]) -> usize {
    let complete = text.trim_end_matches('\u{FFFD}').len();
    let mut safe = complete;
    for stop in stop {
        let longest = stop.char_indices().map(|(at, _)| at).filter(|&at| at > 0);
        let held = longest.filter(|&at| text[..complete].ends_with(&stop[..at])).max().unwrap_or(0);
        safe = safe.min(complete - held);
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stops(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn what_may_become_a_stop_text_is_held_back() {
        let stop = stops(&["\n\nQuestion:"]);
        assert_eq!(settled("an answer", &stop), 9);
        assert_eq!(settled("an answer\n", &stop), 9);
        assert_eq!(settled("an answer\n\nQues", &stop), 9);
        assert_eq!(settled("an answer\n\nNo", &stop), 13);
    }

    #[test]
    fn half_a_character_is_held_back() {
        assert_eq!(settled("caf\u{FFFD}", &[]), 3);
    }

    #[test]
    fn pieces_are_handed_out_up_to_a_stop_text_that_falls_across_them() {
        let stop = stops(&["END"]);
        let mut seen = String::new();
        let mut on_text = |text: &str| {
            seen.push_str(text);
            ControlFlow::Continue(())
        };
        let mut growing = Growing::new(&stop, &mut on_text);
        assert_eq!(growing.push("one E"), None);
        assert_eq!(growing.push("N"), None);
        assert_eq!(growing.push("D two"), Some(Finish::Stop));
        assert_eq!(growing.finish(Finish::Stop), "one ");
        assert_eq!(seen, "one ");
    }

    #[test]
    fn the_earliest_stop_text_counts() {
        assert_eq!(first_stop("a END b STOP", &stops(&["STOP", "END", ""])), Some(2));
    }
}
