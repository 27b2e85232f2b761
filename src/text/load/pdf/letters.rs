//! A page of a PDF -> its letters, each with where it stands, in the order in which they are drawn.

use hayro_interpret::font::{Glyph, GlyphRun};
use hayro_interpret::hayro_cmap::BfString;
use hayro_interpret::hayro_syntax::page::Page;
use hayro_interpret::kurbo::{Affine, BezPath, Point, Rect};
use hayro_interpret::{
    BlendMode, ClipPath, Context, Device, DrawMode, DrawProps, Image, ImageDrawProps, InterpreterCache,
    InterpreterSettings, SoftMask, TransformExt, interpret_page,
};

/// One letter, or the two or three of a ligature, as a reader sees it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Letter {
    /// Empty when the file does not say which letter this is.
    pub text: String,
    /// Where it starts and ends along its line.
    pub left: f32,
    pub right: f32,
    /// Across its line, downwards: the baseline.
    pub base: f32,
    /// Of the type, in points.
    pub size: f32,
    /// Of its line against the page, in degrees; 0 for nearly all.
    pub turn: i16,
}

/// The letters of `page`. What is drawn in colours nobody sees is there too: in scanned pages it is all the text there is.
pub(super) fn letters<'a>(page: &Page<'a>, cache: &InterpreterCache<'a>) -> Vec<Letter> {
    let (width, height) = page.render_dimensions();
    let bounds = Rect::new(0.0, 0.0, f64::from(width), f64::from(height));
    let start = page.initial_transform(true).to_kurbo();
    let mut context = Context::new(start, bounds, cache, page.xref(), InterpreterSettings::default());
    let mut reader = Reader { letters: Vec::new() };
    interpret_page(page, &mut context, &mut reader);
    reader.letters
}

/// More on one page are no page.
const MOST: usize = 200_000;

struct Reader {
    letters: Vec<Letter>,
}

impl Reader {
    fn letter(&mut self, glyph: &Glyph<'_>, place: Affine) {
        let advance = match glyph {
            Glyph::Outline(glyph) => glyph.advance_width(),
            Glyph::Type3(glyph) => glyph.advance_width(),
        };
        let [a, b, c, d, ..] = place.as_coeffs();
        let (along, up) = (a.hypot(b), c.hypot(d));
        // Letters have a thousand units to the em.
        let size = up * 1000.0;
        if !(along.is_finite() && size.is_finite())
            || along == 0.0
            || size < 0.5
            || self.letters.len() >= MOST
        {
            return;
        }
        let at = place * Point::ZERO;
        let (cos, sin) = (a / along, b / along);
        let (left, base) = (at.x * cos + at.y * sin, at.y * cos - at.x * sin);
        let width = advance.map_or(size / 2.0, |advance| f64::from(advance) * along);
        let letter = Letter {
            text: glyph.as_unicode().map_or_else(String::new, readable),
            left: left as f32,
            right: (left + width) as f32,
            base: base as f32,
            size: size as f32,
            turn: sin.atan2(cos).to_degrees().round() as i16,
        };
        // Bold that is drawn twice.
        let twice = |before: &Letter| {
            before.text == letter.text
                && (before.left - letter.left).abs() < 0.1 * letter.size
                && (before.base - letter.base).abs() < 0.1 * letter.size
        };
        if !self.letters.last().is_some_and(twice) {
            self.letters.push(letter);
        }
    }
}

/// As it is searched for: ligatures taken apart, kinds of spaces made one, nothing invisible.
fn readable(text: BfString) -> String {
    let text = match text {
        BfString::Char(letter) => letter.to_string(),
        BfString::String(text) => text,
    };
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            'ﬀ' => out.push_str("ff"),
            'ﬁ' => out.push_str("fi"),
            'ﬂ' => out.push_str("fl"),
            'ﬃ' => out.push_str("ffi"),
            'ﬄ' => out.push_str("ffl"),
            'ﬅ' | 'ﬆ' => out.push_str("st"),
            '\u{ad}' => out.push('-'),
            letter if letter.is_whitespace() => out.push(' '),
            // Private use: each font means something else.
            '\u{e000}'..='\u{f8ff}' | '\u{200b}'..='\u{200f}' | '\u{feff}' | '\u{fffd}' => {}
            letter if letter.is_control() => {}
            letter => out.push(letter),
        }
    }
    out
}

impl<'a> Device<'a> for Reader {
    fn draw_glyph_run(&mut self, run: &GlyphRun<'_, 'a>, props: DrawProps<'a>, _: &DrawMode) {
        for glyph in run.glyphs() {
            self.letter(glyph, props.transform * glyph.transform());
        }
    }
    fn draw_path(&mut self, _: &BezPath, _: DrawProps<'a>, _: &DrawMode) {}
    fn push_clip_path(&mut self, _: &ClipPath) {}
    fn push_transparency_group(&mut self, _: f32, _: Option<SoftMask<'a>>, _: BlendMode) {}
    fn draw_image(&mut self, _: Image<'a, '_>, _: ImageDrawProps<'a>) {}
    fn pop_clip(&mut self) {}
    fn pop_transparency_group(&mut self) {}
}
