//! A reliability diagram: how often a model is right where it is so and so sure, as an SVG.

use std::fmt::Write;

use super::reward::Calibration;

/// Of the picture and of the place for dots in it.
const SIZE: (f64, f64) = (420.0, 420.0);
const LEFT: f64 = 62.0;
const RIGHT: f64 = 400.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = 358.0;

/// Confidence is never below a half; accuracy may be.
const LEAST: f64 = 0.5;

/// `calibration` as a picture: a dot for each bin, as large as it has pairs, beside the line of a model that is as often right as it
/// is sure to be.
pub fn picture(calibration: &Calibration) -> String {
    let lowest = calibration.bins.iter().map(|bin| bin.accuracy).fold(LEAST, f64::min);
    let floor = (lowest * 10.0).floor() / 10.0;
    let x = |share: f64| LEFT + (RIGHT - LEFT) * (share - LEAST) / (1.0 - LEAST);
    let y = |share: f64| BOTTOM - (BOTTOM - TOP) * (share - floor) / (1.0 - floor);
    let (width, height) = SIZE;
    let all: usize = calibration.bins.iter().map(|bin| bin.pairs).sum();
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<title>Expected calibration error {:.3} over {all} pairs</title>\n<rect width=\"{width}\" \
         height=\"{height}\" fill=\"#fff\"/>\n",
        calibration.expected_error
    );
    // Writing to a `String` cannot fail.
    for step in (floor * 10.0).round() as usize..=10 {
        let share = step as f64 / 10.0;
        let at = y(share);
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {at:.1}H{RIGHT}\" stroke=\"#e4e4e4\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" \
             fill=\"#555\">{share:.1}</text>",
            LEFT - 8.0,
            at + 4.0
        );
        if share >= LEAST {
            let _ = writeln!(
                svg,
                "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">{share:.1}</text>",
                x(share),
                BOTTOM + 18.0
            );
        }
    }
    let _ = writeln!(
        svg,
        "<path d=\"M{:.1} {:.1}L{:.1} {:.1}\" stroke=\"#888\" stroke-dasharray=\"4 4\"/>",
        x(LEAST),
        y(LEAST),
        x(1.0),
        y(1.0)
    );
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">confidence</text><text x=\"16\" y=\"{y}\" text-anchor=\"middle\" \
         transform=\"rotate(-90 16 {y})\">share of pairs told right</text>",
        (LEFT + RIGHT) / 2.0,
        BOTTOM + 40.0,
        y = (TOP + BOTTOM) / 2.0
    );
    for bin in &calibration.bins {
        let radius = 3.0 + 11.0 * (bin.pairs as f64 / all.max(1) as f64).sqrt();
        let _ = writeln!(
            svg,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"{radius:.1}\" fill=\"#1f6fb4\" fill-opacity=\"0.75\"><title>{} pairs: {:.1} % \
             sure, {:.1} % right</title></circle>",
            x(bin.confidence),
            y(bin.accuracy),
            bin.pairs,
            100.0 * bin.confidence,
            100.0 * bin.accuracy
        );
    }
    svg + "</svg>\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::reward::Bin;

    #[test]
    fn a_dot_stands_where_its_bin_does() {
        let bin = |pairs, confidence, accuracy| Bin { pairs, confidence, accuracy };
        let calibration =
            Calibration { bins: vec![bin(90, 0.5, 1.0), bin(10, 1.0, 0.42)], expected_error: 0.508 };
        let svg = picture(&calibration);
        assert!(svg.contains("cx=\"62.0\" cy=\"20.0\""), "{svg}");
        assert!(
            svg.contains("cx=\"400.0\"") && svg.contains(">0.4</text>"),
            "the axis reaches as low as the dots"
        );
        assert!(svg.contains("10 pairs: 100.0 % sure, 42.0 % right"));
        assert!(svg.contains("0.508 over 100 pairs"));
    }
}
