//! Lines -> paragraphs, headings and list items.
//!
//! Lines are taken in the order in which they are drawn, which in nearly every file is the order in which they are meant to
//! be read: a column after a column, a box in the margin as a whole. Distance, indentation, size of type and the side of the
//! page say where a paragraph ends; a sentence that breaks off goes on behind the next column or page.

use super::hyphens::Words;
use super::lines::Line;
use crate::text::document::BlockKind;
use crate::text::load::extracted::Extracted;

/// Headings are at least this much larger than the text.
const LARGER: f32 = 1.12;
/// Headings are shorter, in bytes.
const HEADING: usize = 250;

/// The text of `pages`, numbered from 1.
pub(super) fn read(pages: &[Vec<Line>]) -> Extracted {
    let all = || pages.iter().flatten();
    let measure = Measure::of(pages);
    let words = Words::of(all().map(|line| line.text.as_str()));
    let mut reader = Reader { measure, words, out: Extracted::default(), open: None };
    for (page, number) in pages.iter().zip(1..) {
        for line in page {
            reader.line(line, number);
        }
    }
    reader.close();
    reader.out
}

/// What is usual in a document.
struct Measure {
    /// Size of type of most letters.
    size: f32,
    /// From baseline to baseline, in ems.
    leading: f32,
    /// Sizes of headings, largest first.
    headings: Vec<f32>,
}

impl Measure {
    fn of(pages: &[Vec<Line>]) -> Self {
        let all = || pages.iter().flatten();
        let size = weighted_median(all().map(|line| (line.size, line.text.len())));
        let steps = pages.iter().flat_map(|page| page.windows(2)).filter_map(|pair| {
            let step = (pair[1].base - pair[0].base) / pair[1].size;
            let follows = overlap(&pair[0], &pair[1]) && (0.8..3.0).contains(&step);
            follows.then_some((step, pair[1].text.len()))
        });
        let leading = weighted_median(steps).clamp(1.0, 3.0);
        let large = all().filter(|line| line.size >= LARGER * size && line.text.len() <= HEADING);
        let mut headings: Vec<f32> = large.map(|line| line.size).collect();
        headings.sort_by(|a, b| b.total_cmp(a));
        headings.dedup_by(|next, kept| *kept < 1.08 * *next);
        Self { size, leading, headings }
    }

    fn level(&self, size: f32) -> Option<u8> {
        if size < LARGER * self.size {
            return None;
        }
        let level = self.headings.iter().position(|&heading| heading < 1.08 * size && size < 1.08 * heading);
        Some(level.unwrap_or(self.headings.len()).min(5) as u8 + 1)
    }
}

fn weighted_median(values: impl Iterator<Item = (f32, usize)>) -> f32 {
    let mut values: Vec<(f32, usize)> = values.collect();
    values.sort_by(|a, b| a.0.total_cmp(&b.0));
    let half = values.iter().map(|(_, weight)| weight).sum::<usize>() / 2;
    let mut below = 0;
    let middle = values.iter().find(|(_, weight)| {
        below += weight;
        below > half
    });
    middle.map_or(1.0, |(value, _)| *value)
}

fn overlap(a: &Line, b: &Line) -> bool {
    a.left < b.right && b.left < a.right
}

/// A paragraph that may go on.
struct Open {
    text: String,
    first: Line,
    last: Line,
    /// How many lines, cells of one row counted as one.
    lines: usize,
    left: f32,
    right: f32,
    /// Where it began, and where it is.
    began: u32,
    page: u32,
    /// Pages that began within it, with the byte of its text.
    turned: Vec<(usize, u32)>,
}

struct Reader {
    measure: Measure,
    words: Words,
    out: Extracted,
    open: Option<Open>,
}

impl Reader {
    fn line(&mut self, line: &Line, page: u32) {
        let goes_on = self.open.as_ref().is_some_and(|open| self.goes_on(open, line, page));
        if !goes_on {
            self.close();
        }
        match &mut self.open {
            Some(open) => {
                self.words.join(&mut open.text, &line.text);
                if page != open.page {
                    open.turned.push((open.text.len() - line.text.len(), page));
                    open.page = page;
                }
                let beside = is_beside(&open.last, line);
                let moved = !beside && line.base < open.last.base;
                open.lines += usize::from(!beside);
                open.left = if moved { line.left } else { open.left.min(line.left) };
                open.right = if moved { line.right } else { open.right.max(line.right) };
                open.last = line.clone();
            }
            None => {
                self.open = Some(Open {
                    text: line.text.clone(),
                    first: line.clone(),
                    last: line.clone(),
                    lines: 1,
                    left: line.left,
                    right: line.right,
                    began: page,
                    page,
                    turned: Vec::new(),
                });
            }
        }
    }

    fn goes_on(&self, open: &Open, line: &Line, page: u32) -> bool {
        let last = &open.last;
        let em = line.size;
        let alike = last.turn == line.turn && (last.size / em).max(em / last.size) < LARGER;
        // A number behind a dash or a comma is the rest of `240–249.` and no item's.
        let is_item = bullet(&line.text).is_some() && !open.text.ends_with(['–', '-', ',']);
        if !alike || is_item {
            return false;
        }
        let step = line.base - last.base;
        if page != open.page || step < -OFF_ROW * em || (!overlap(last, line) && !is_beside(last, line)) {
            // Another column or page, or a box between them: only a sentence that broke off goes on there.
            let broken = !ends(&open.text) && line.text.starts_with(char::is_lowercase);
            return broken && self.measure.level(em).is_none() && (page != open.page || open.lines > 1);
        }
        if is_beside(last, line) {
            // The next cell of a row, unless a whole column stands to the left.
            return open.lines == 1;
        }
        let headings = self.measure.level(em).is_some();
        if step > self.measure.leading.max(1.0) * if headings { 1.5 } else { 1.25 } * em {
            return false;
        }
        if headings {
            return true;
        }
        let indented = line.left > open.left + 0.8 * em && line.left > last.left + 0.8 * em;
        let outdented = line.left < last.left - 0.8 * em;
        let short = last.right < open.right - 0.25 * (open.right - open.left) && ends(&last.text);
        match open.lines {
            // The second line may hang below a number or a bullet, or stand out from an indented first.
            1 => true,
            _ => !(indented || outdented || short),
        }
    }

    fn close(&mut self) {
        let Some(open) = self.open.take() else { return };
        let level = self.measure.level(open.first.size).filter(|_| open.text.len() <= HEADING);
        let kind = match (level, bullet(&open.text)) {
            (Some(level), _) if open.text.contains(char::is_alphabetic) => BlockKind::Heading(level),
            (_, Some(_)) => BlockKind::ListItem,
            _ => BlockKind::Paragraph,
        };
        let pages = &mut self.out.pages;
        let next = pages.last().map_or(1, |page| page.number + 1);
        (next..=open.began).for_each(|page| self.out.page(page));
        self.out.block(kind, &open.text);
        let start = self.out.text.len() - open.text.trim_end().len();
        for (at, page) in open.turned {
            self.out.page(page);
            if let Some(turned) = self.out.pages.last_mut() {
                turned.text = start + at;
            }
        }
    }
}

/// Baselines that differ by less are one row's.
const OFF_ROW: f32 = 0.5;

/// Whether `line` stands on the same row as `last`, to its right.
fn is_beside(last: &Line, line: &Line) -> bool {
    (line.base - last.base).abs() <= OFF_ROW * line.size && line.left >= last.right
}

/// Whether a sentence ends with `text`.
fn ends(text: &str) -> bool {
    let text = text.trim_end_matches(['"', '\'', ')', ']', '”', '’', '»']);
    text.ends_with(['.', '!', '?', ':', ';', '。', '！', '？'])
}

/// The mark of a list item that `text` begins with.
fn bullet(text: &str) -> Option<&str> {
    let mark = text.split(' ').next()?;
    let number = || {
        let digits = mark.trim_start_matches(['(', '[']).trim_end_matches(['.', ')', ']']);
        let closed = mark.ends_with(['.', ')', ']']) && text.len() > mark.len();
        closed && (1..=3).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit())
    };
    let sign = ["•", "◦", "▪", "‣", "●", "○", "■", "–", "—", "*", "·", "∙"].contains(&mark)
        && text.len() > mark.len();
    (sign || number()).then_some(mark)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str, left: f32, right: f32, base: f32, size: f32) -> Line {
        Line { text: text.into(), left, right, base, size, turn: 0 }
    }

    fn blocks(out: &Extracted) -> Vec<(BlockKind, &str)> {
        out.blocks.iter().map(|block| (block.kind, &out.text[block.range.clone()])).collect()
    }

    #[test]
    fn distance_size_indentation_and_bullets_part_paragraphs() {
        use BlockKind::*;
        let page = vec![
            line("A Title", 10.0, 90.0, 20.0, 16.0),
            line("One sentence that is bro-", 10.0, 100.0, 50.0, 10.0),
            line("ken over lines", 10.0, 98.0, 62.0, 10.0),
            line("and goes on.", 10.0, 70.0, 74.0, 10.0),
            line("Two starts further right.", 20.0, 100.0, 86.0, 10.0),
            line("• an item", 15.0, 60.0, 98.0, 10.0),
            line("• another", 15.0, 60.0, 110.0, 10.0),
            line("Three stands apart.", 10.0, 100.0, 140.0, 10.0),
        ];
        let out = read(&[page]);
        let expected = [
            (Heading(1), "A Title"),
            (Paragraph, "One sentence that is broken over lines and goes on."),
            (Paragraph, "Two starts further right."),
            (ListItem, "• an item"),
            (ListItem, "• another"),
            (Paragraph, "Three stands apart."),
        ];
        assert_eq!(blocks(&out), expected);
    }

    #[test]
    fn a_box_in_the_margin_stays_out_of_the_sentences_beside_it() {
        let page = vec![
            line("License", 0.0, 30.0, 50.0, 10.0),
            line("of the box", 0.0, 35.0, 62.0, 10.0),
            line("The text beside", 50.0, 100.0, 50.0, 10.0),
            line("the box.", 50.0, 80.0, 62.0, 10.0),
        ];
        assert_eq!(read(&[page]).text, "License of the box\n\nThe text beside the box.");
    }

    #[test]
    fn a_sentence_goes_on_over_the_page_and_knows_where_it_turned() {
        let pages = [
            vec![line("First half of", 0.0, 90.0, 700.0, 10.0)],
            vec![],
            vec![line("a sentence.", 0.0, 60.0, 50.0, 10.0), line("Next.", 0.0, 30.0, 90.0, 10.0)],
        ];
        let out = read(&pages);
        assert_eq!(out.text, "First half of a sentence.\n\nNext.");
        let page_at = |word: &str| {
            let at = out.text.find(word).unwrap();
            out.pages.iter().rev().find(|page| page.text <= at).map(|page| page.number)
        };
        assert_eq!(["First", "a sentence", "Next"].map(page_at), [Some(1), Some(3), Some(3)]);
    }
}
