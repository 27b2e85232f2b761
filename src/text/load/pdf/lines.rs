//! Letters -> lines: what stands side by side without a wide gap, with the spaces that nobody draws put back in.

use super::letters::Letter;

/// A piece of one line of one column, or a cell of a table.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Line {
    pub text: String,
    pub left: f32,
    pub right: f32,
    pub base: f32,
    /// Of most of its letters.
    pub size: f32,
    pub turn: i16,
}

/// Wider than between words of a justified line, in ems: another column begins.
const COLUMN: f32 = 1.8;
/// Wider than any kerning: a space between words.
const SPACE: f32 = 0.16;
/// Further up or down than any index or exponent.
const OFF_LINE: f32 = 0.5;

/// The lines that `letters` make, in the order in which they are drawn.
pub(super) fn lines(letters: &[Letter]) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut open: Option<Open> = None;
    for letter in letters {
        match &mut open {
            Some(line) if line.goes_on_with(letter) => line.add(letter),
            _ => {
                lines.extend(open.take().and_then(Open::close));
                open = Some(Open::with(letter));
            }
        }
    }
    lines.extend(open.and_then(Open::close));
    lines
}

struct Open {
    line: Line,
    /// Of every letter.
    sizes: Vec<f32>,
}

impl Open {
    fn with(letter: &Letter) -> Self {
        let Letter { left, right, base, size, turn, .. } = *letter;
        let line = Line { text: String::new(), left, right, base, size, turn };
        let mut open = Self { line, sizes: Vec::new() };
        open.add(letter);
        open
    }

    fn goes_on_with(&self, letter: &Letter) -> bool {
        let line = &self.line;
        let size = line.size.max(letter.size);
        let gap = letter.left - line.right;
        letter.turn == line.turn
            && (letter.base - line.base).abs() <= OFF_LINE * size
            // An accent may be drawn over the letter before it.
            && (-size..=COLUMN * size).contains(&gap)
    }

    fn add(&mut self, letter: &Letter) {
        let line = &mut self.line;
        let gap = letter.left - line.right;
        let apart = gap > SPACE * letter.size && !line.text.is_empty();
        if apart && !line.text.ends_with(' ') && !letter.text.starts_with(' ') {
            line.text.push(' ');
        }
        if !(letter.text == " " && line.text.ends_with(' ')) {
            line.text.push_str(&letter.text);
        }
        // A line that begins with an exponent stands where its first large letter stands.
        if letter.size > 1.15 * line.size {
            (line.base, line.size) = (letter.base, letter.size);
        }
        if letter.text != " " {
            line.right = line.right.max(letter.right);
        }
        self.sizes.push(letter.size);
    }

    fn close(self) -> Option<Line> {
        let Self { mut line, mut sizes } = self;
        sizes.sort_by(f32::total_cmp);
        line.size = sizes[sizes.len() / 2];
        line.text = line.text.trim().to_owned();
        (!line.text.is_empty()).then_some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Letters of half an em each, from `left` on.
    fn word(text: &str, left: f32, base: f32, size: f32) -> Vec<Letter> {
        let letter = |(at, letter): (usize, char)| {
            let left = left + at as f32 * size / 2.0;
            Letter { text: letter.to_string(), left, right: left + size / 2.0, base, size, turn: 0 }
        };
        text.chars().enumerate().map(letter).collect()
    }

    #[test]
    fn words_are_parted_by_gaps_and_columns_by_wide_ones() {
        let letters =
            [word("ab", 0.0, 9.0, 10.0), word("c", 13.0, 9.0, 10.0), word("d", 60.0, 9.0, 10.0)].concat();
        let found: Vec<String> = lines(&letters).into_iter().map(|line| line.text).collect();
        assert_eq!(found, ["ab c", "d"]);
    }

    #[test]
    fn exponents_stay_on_their_line_and_the_next_line_does_not() {
        let letters = [
            word("1", 0.0, 5.0, 6.0),
            word("xy", 3.0, 9.0, 10.0),
            word("2", 13.0, 5.0, 6.0),
            word("z", 0.0, 21.0, 10.0),
        ]
        .concat();
        let found = lines(&letters);
        assert_eq!(found.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["1xy2", "z"]);
        assert_eq!(found[0].base, 9.0);
    }
}
