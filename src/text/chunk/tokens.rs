//! How many tokens any stretch of a text has, from tokenizing the text once.

use std::ops::Range;

use crate::error::Result;
use crate::text::document::Document;
use crate::text::tokenizer::Tokenizer;

/// Blocks are tokenized together up to about this many bytes, so that a large file needs no large encoding.
const WINDOW: usize = 64 * 1024;

/// A token that stands for more bytes than this is a word the tokenizer gave up on (`[UNK]`). It would make a megabyte
/// of base64 a single token; it is counted as what such a word would cost if it were known.
const GIANT: usize = 32;
/// Bytes of an unknown giant word that count as one token.
pub(super) const BYTES_PER_TOKEN: usize = 4;

/// Where the tokens of a text start and what they cost.
pub(super) struct TokenMap {
    /// The byte each token starts at, ascending.
    starts: Vec<usize>,
    /// `before[i]`: the cost of the first `i` tokens.
    before: Vec<usize>,
}

impl TokenMap {
    /// Tokenizes the blocks of `document`, each once. What lies between blocks is whitespace and costs nothing.
    pub(super) fn new(document: &Document, tokenizer: &Tokenizer) -> Result<Self> {
        let mut map = Self { starts: Vec::new(), before: vec![0] };
        let mut window: Option<Range<usize>> = None;
        for block in &document.blocks {
            let grown = match window.take() {
                Some(window) if block.range.end - window.start > WINDOW => {
                    map.add(document, window, tokenizer)?;
                    block.range.clone()
                }
                Some(window) => window.start..block.range.end,
                None => block.range.clone(),
            };
            window = Some(grown);
        }
        if let Some(window) = window {
            map.add(document, window, tokenizer)?;
        }
        Ok(map)
    }

    fn add(&mut self, document: &Document, window: Range<usize>, tokenizer: &Tokenizer) -> Result<()> {
        let mut least = window.start;
        for token in tokenizer.offsets(&document.text[window.clone()])? {
            // Normalisation may reorder a few bytes; starts stay ascending so that they can be searched.
            least = least.max(window.start + token.start);
            self.starts.push(least);
            let cost = if token.len() > GIANT { token.len().div_ceil(BYTES_PER_TOKEN) } else { 1 };
            self.before.push(self.before[self.before.len() - 1] + cost);
        }
        Ok(())
    }

    /// The cost of the tokens that start in `range`: their number, unless there are giants.
    pub(super) fn cost(&self, range: &Range<usize>) -> usize {
        let tokens = self.tokens(range);
        self.before[tokens.end] - self.before[tokens.start]
    }

    /// Where in `range` tokens start.
    pub(super) fn starts(&self, range: &Range<usize>) -> &[usize] {
        &self.starts[self.tokens(range)]
    }

    fn tokens(&self, range: &Range<usize>) -> Range<usize> {
        let first = self.starts.partition_point(|&start| start < range.start);
        first..first + self.starts[first..].partition_point(|&start| start < range.end)
    }
}
