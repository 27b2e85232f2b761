//! Text -> sentences, each a range of bytes, so that a quote stays a slice of what it quotes.
//!
//! UAX-29 decides inside a paragraph, with three corrections: a line end inside a paragraph is a space; `Dr.`, `e.g.` and
//! `println!(x)` end nothing; `；` ends a clause that can stand alone. What a paragraph is depends on the format: lines
//! are read as Markdown is, which keeps bullets, table rows, headings and code apart. This is not a Markdown parser: a
//! chunk may begin in the middle of a code block, and a line-by-line reading survives that.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

use super::document::Format;
use super::markup::{
    begins_inside_code, is_fence, is_heading, is_only_links, is_underline, marker_len, quote_len,
};

/// A stretch of text that can be quoted alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence {
    /// Bytes of the text, without surrounding white space and without a list bullet or quote mark before it.
    pub range: Range<usize>,
    pub kind: SentenceKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SentenceKind {
    Prose,
    Heading,
    /// One line of code.
    Code,
    /// One row of a table.
    Row,
    /// Says nothing alone: a code fence, a rule, a link or an image without words around it.
    Markup,
}

/// The sentences of `text`, in order, without overlap. Every letter and digit of the text is in one of them, but for
/// list numbers, the markers of task lists and Markdown's comments.
pub fn sentences(text: &str, format: Format) -> Vec<Sentence> {
    let uncommented = if format == Format::Markdown { without_comments(text) } else { None };
    let text = uncommented.as_deref().unwrap_or(text);
    let mut reader = Reader { text, format, paragraph: None, is_quoted: false, sentences: Vec::new() };
    let lines = lines(text);
    let mut in_code = format != Format::Code && begins_inside_code(text, &lines);
    for line in lines {
        reader.line(line, &mut in_code);
    }
    reader.finish_paragraph();
    reader.sentences
}

struct Reader<'a> {
    text: &'a str,
    format: Format,
    /// The paragraph so far.
    paragraph: Option<Range<usize>>,
    /// Whether the line before began with a quote mark.
    is_quoted: bool,
    sentences: Vec<Sentence>,
}

impl Reader<'_> {
    fn line(&mut self, line: Range<usize>, in_code: &mut bool) {
        let whole = trim(self.text, line);
        let content = match self.format {
            Format::Markdown => {
                trim(self.text, whole.start + quote_len(&self.text[whole.clone()])..whole.end)
            }
            _ => whole.clone(),
        };
        let words = &self.text[content.clone()];
        let is_quoted = content.start > whole.start;
        if words.is_empty() || (is_quoted && !self.is_quoted) {
            self.finish_paragraph(); // a quotation interrupts; what follows one without a mark still belongs to it
        }
        self.is_quoted = is_quoted;
        if words.is_empty() {
            return;
        }
        if self.format == Format::Code {
            return self.single(content, SentenceKind::Code);
        }
        if is_fence(words) {
            *in_code = !*in_code;
            return self.single(content, SentenceKind::Markup);
        }
        if *in_code {
            return self.single(content, SentenceKind::Code);
        }
        if self.format != Format::Markdown {
            return self.plain(content);
        }
        if is_heading(words) {
            self.single(content, SentenceKind::Heading)
        } else if is_underline(words) {
            self.underline(content)
        } else if words.starts_with('|') {
            let row = words.chars().any(char::is_alphanumeric);
            self.single(content, if row { SentenceKind::Row } else { SentenceKind::Markup })
        } else {
            self.prose(content)
        }
    }

    /// A line of plain text or of text freed of its tags: does it go on where the one before stopped?
    fn plain(&mut self, content: Range<usize>) {
        const WRAPPED: usize = 45; // bytes; a shorter line was ended on purpose
        let goes_on = self.paragraph.as_ref().is_some_and(|so_far| {
            let last_line = self.text[so_far.clone()].rsplit('\n').next().unwrap_or_default();
            let lower = self.text[content.clone()].starts_with(char::is_lowercase);
            self.format != Format::Html && (last_line.trim().len() >= WRAPPED || lower)
        });
        if !goes_on {
            self.finish_paragraph();
        }
        self.prose(content);
    }

    fn prose(&mut self, content: Range<usize>) {
        let words = &self.text[content.clone()];
        let marker = marker_len(words);
        match &mut self.paragraph {
            Some(so_far) if marker == 0 => so_far.end = content.end,
            _ => {
                self.finish_paragraph();
                if content.start + marker < content.end {
                    self.paragraph = Some(content.start + marker..content.end);
                }
            }
        }
    }

    /// `===` or `---` under a line makes it a heading; alone it is a rule.
    fn underline(&mut self, content: Range<usize>) {
        if let Some(title) = self.paragraph.take() {
            if self.text[title.clone()].contains('\n') {
                self.paragraph = Some(title);
                self.finish_paragraph();
            } else {
                self.sentences.push(Sentence { range: title, kind: SentenceKind::Heading });
            }
        }
        self.single(content, SentenceKind::Markup);
    }

    fn single(&mut self, range: Range<usize>, kind: SentenceKind) {
        self.finish_paragraph();
        self.sentences.push(Sentence { range, kind });
    }

    fn finish_paragraph(&mut self) {
        let Some(paragraph) = self.paragraph.take() else { return };
        let flat = flat(&self.text[paragraph.clone()]);
        for range in split(&flat) {
            let range = trim(&flat, range);
            let range = paragraph.start + range.start..paragraph.start + range.end;
            if range.is_empty() {
                continue;
            }
            let kind = if is_only_links(&self.text[range.clone()]) {
                SentenceKind::Markup
            } else {
                SentenceKind::Prose
            };
            self.sentences.push(Sentence { range, kind });
        }
    }
}

/// A paragraph on one line, byte for byte: UAX-29 would end a sentence at every line end. The quote marks its lines
/// begin with are blanked too.
fn flat(paragraph: &str) -> String {
    let mut flat = String::with_capacity(paragraph.len());
    for line in paragraph.split_inclusive('\n') {
        let marks = if flat.is_empty() { 0 } else { quote_len(line.trim_start()) };
        let blank = line.len() - line.trim_start().len() + marks;
        flat.extend(std::iter::repeat_n(' ', line[..blank].len()));
        flat.extend(line[blank..].chars().map(|c| if matches!(c, '\n' | '\r') { ' ' } else { c }));
    }
    flat
}

/// The sentences of one paragraph, tiling it.
fn split(flat: &str) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for (start, sentence) in flat.split_sentence_bound_indices() {
        let end = start + sentence.len();
        match ranges.last_mut() {
            Some(last) if ends_nothing(&flat[last.clone()], sentence) => last.end = end,
            _ => ranges.push(start..end),
        }
    }
    ranges.into_iter().flat_map(|range| split_after(flat, range, '；')).collect()
}

/// Whether what looks like the end of a sentence is an abbreviation, an initial, or no end at all (`println!(x)`, `![a](b)`).
fn ends_nothing(sentence: &str, next: &str) -> bool {
    const ABBREVIATIONS: &[&str] = &[
        "approx", "art", "cf", "ch", "chap", "dr", "e.g", "eq", "eqs", "fig", "figs", "i.e", "mr", "mrs",
        "ms", "nos", "p", "pp", "prof", "resp", "sec", "sect", "st", "viz", "vol", "vs",
    ];
    let is_ascii = |c: Option<char>| c.is_some_and(|c| c.is_ascii() && !c.is_whitespace());
    if is_ascii(sentence.chars().next_back()) && is_ascii(next.chars().next()) {
        return true; // only Chinese and Japanese sentences follow each other without a space
    }
    let Some(body) = sentence.trim_end().strip_suffix('.') else { return false };
    let word = body.rsplit([' ', '(', '[', '"']).next().unwrap_or_default();
    // `J. Smith`, but not `plan B.` at the end of a longer word.
    let is_initial = word.chars().count() == 1 && word.chars().all(char::is_uppercase) && word != "I";
    is_initial || ABBREVIATIONS.binary_search(&word.to_lowercase().as_str()).is_ok()
}

fn split_after(text: &str, range: Range<usize>, end_mark: char) -> Vec<Range<usize>> {
    let mut start = range.start;
    let mut parts = Vec::new();
    for (at, mark) in text[range.clone()].match_indices(end_mark) {
        let end = range.start + at + mark.len();
        parts.push(start..end);
        start = end;
    }
    if start < range.end {
        parts.push(start..range.end);
    }
    parts
}

/// The text with its comments blanked, byte for byte, line ends kept; `None` when it has none. One may begin before the
/// text, but none goes on behind it: `<!--` is also what somebody may want to write about.
fn without_comments(text: &str) -> Option<String> {
    let mut comments: Vec<Range<usize>> = Vec::new();
    let mut at = 0;
    while let Some(end) = text[at..].find("-->").map(|end| at + end + "-->".len()) {
        let start = text[at..end].find("<!--").map(|start| at + start);
        // Without a beginning, everything above may be a comment; more than a paragraph is not taken for one.
        let start = start.or_else(|| (at == 0 && !text[..end].contains("\n\n")).then_some(0));
        comments.extend(start.map(|start| start..end));
        at = end;
    }
    if comments.is_empty() {
        return None;
    }
    let mut blanked = String::with_capacity(text.len());
    let mut at = 0;
    for comment in comments {
        blanked.push_str(&text[at..comment.start]);
        blanked.extend(text[comment.clone()].bytes().map(|byte| if byte == b'\n' { '\n' } else { ' ' }));
        at = comment.end;
    }
    Some(blanked + &text[at..])
}

/// Byte ranges of the lines, without their ends.
fn lines(text: &str) -> Vec<Range<usize>> {
    let mut start = 0;
    let mut lines = Vec::new();
    for line in text.split_inclusive('\n') {
        lines.push(start..start + line.trim_end_matches(['\n', '\r']).len());
        start += line.len();
    }
    lines
}

fn trim(text: &str, range: Range<usize>) -> Range<usize> {
    let slice = &text[range.clone()];
    let start = range.start + slice.len() - slice.trim_start().len();
    start..start + slice.trim().len()
}

#[cfg(test)]
#[path = "sentences_tests.rs"]
mod tests;
