//! Tokens -> text as it grows: never half a character, never a part of a stop text.

use std::ops::ControlFlow;

use super::{Finish, OnText};
use crate::error::Result;
use crate::text::tokenizer::Tokenizer;

pub(super) struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    stop: &'a [String],
    on_text: OnText<'a>,
    ids: Vec<u32>,
    text: String,
    /// Bytes of `text` already handed out.
    handed_out: usize,
}

impl<'a> TextStream<'a> {
    pub fn new(tokenizer: &'a Tokenizer, stop: &'a [String], on_text: OnText<'a>) -> Self {
        Self { tokenizer, stop, on_text, ids: Vec::new(), text: String::new(), handed_out: 0 }
    }

    /// Tokens taken so far.
    pub fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// Takes a token; says when the text is finished.
    pub fn push(&mut self, token: u32) -> Result<Option<Finish>> {
        self.ids.push(token);
        self.text = self.tokenizer.decode(&self.ids)?;
        if let Some(end) = first_stop(&self.text, self.stop) {
            self.text.truncate(end);
            return Ok(Some(Finish::Stop));
        }
        let safe = settled(&self.text, self.stop);
        Ok(self.hand_out(safe).map(|()| Finish::Cancelled))
    }

    /// Hands out what was held back; returns the whole text.
    pub fn finish(mut self, finish: Finish) -> Result<String> {
        if finish != Finish::Cancelled {
            let end = self.text.len();
            self.hand_out(end);
        }
        Ok(self.text)
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
    fn the_earliest_stop_text_counts() {
        assert_eq!(first_stop("a END b STOP", &stops(&["STOP", "END", ""])), Some(2));
    }
}
