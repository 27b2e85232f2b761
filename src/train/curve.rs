//! The loss of a run as a picture: each step, a smoothed line through them, and the validations.

use std::fmt::Write;

use super::report::{Event, Step, Validated};

/// Its name in the run's folder.
pub const CURVE: &str = "loss.svg";

/// Of the picture, and of the place for lines in it.
const SIZE: (f64, f64) = (720.0, 400.0);
const LEFT: f64 = 60.0;
const RIGHT: f64 = 700.0;
const TOP: f64 = 44.0;
const BOTTOM: f64 = 350.0;

/// How much of a smoothed value stays at each step.
const KEPT: f64 = 0.9;

/// An SVG of the losses in `events`.
pub fn curve(events: &[Event]) -> String {
    let mut steps: Vec<(f64, f64)> = Vec::new();
    let mut validations: Vec<(f64, f64)> = Vec::new();
    for event in events {
        match event {
            Event::Step(Step { step, loss, .. }) => steps.push((*step as f64, *loss)),
            Event::Validated(Validated { step, loss, .. }) => validations.push((*step as f64, *loss)),
            _ => {}
        }
    }
    let all = || steps.iter().chain(&validations).filter(|point| point.1.is_finite());
    let last = all().map(|point| point.0).fold(1.0, f64::max);
    let (low, high) = (
        all().map(|point| point.1).fold(f64::INFINITY, f64::min),
        all().map(|point| point.1).fold(f64::NEG_INFINITY, f64::max),
    );
    let (low, high) = if low < high { (low, high) } else { (low.min(1.0) - 0.5, low.min(1.0) + 0.5) };
    let margin = (high - low) * 0.05;
    let (low, high) = (low - margin, high + margin);
    let x = |step: f64| LEFT + (RIGHT - LEFT) * step / last;
    let y = |loss: f64| BOTTOM - (BOTTOM - TOP) * (loss - low) / (high - low);
    let line = |points: &[(f64, f64)]| {
        let points = points.iter().filter(|point| point.1.is_finite());
        points.map(|&(step, loss)| format!("{:.1},{:.1}", x(step), y(loss))).collect::<Vec<_>>().join(" ")
    };

    let (width, height) = SIZE;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" font-family=\"sans-serif\" \
         font-size=\"12\">\n<title>{}</title>\n<rect width=\"{width}\" height=\"{height}\" fill=\"#fff\"/>\n",
        said(&steps, &validations)
    );
    // Writing to a `String` cannot fail.
    for tick in ticks(low, high) {
        let at = y(tick);
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {at:.1}H{RIGHT}\" stroke=\"#e4e4e4\"/><text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\" \
             fill=\"#555\">{}</text>",
            LEFT - 8.0,
            at + 4.0,
            number(tick)
        );
    }
    for tick in ticks(0.0, last).into_iter().filter(|tick| tick.fract() == 0.0) {
        let _ = writeln!(
            svg,
            "<text x=\"{:.1}\" y=\"{}\" text-anchor=\"middle\" fill=\"#555\">{tick}</text>",
            x(tick),
            BOTTOM + 18.0
        );
    }
    let _ = writeln!(
        svg,
        "<path d=\"M{LEFT} {BOTTOM}H{RIGHT}\" stroke=\"#888\"/><text x=\"{}\" y=\"{}\" text-anchor=\"middle\">step</text>",
        (LEFT + RIGHT) / 2.0,
        BOTTOM + 36.0
    );
    let drawn = |points: &str, colour: &str, width: f64| {
        format!(
            "<polyline points=\"{points}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"{width}\" \
             stroke-linejoin=\"round\"/>\n"
        )
    };
    svg += &drawn(&line(&steps), "#b9cfe8", 1.0);
    svg += &drawn(&line(&smoothed(&steps)), "#1f6fb4", 2.0);
    let mut legend = vec![("training", "#1f6fb4")];
    if !validations.is_empty() {
        svg += &drawn(&line(&validations), "#c4501b", 2.0);
        for &(step, loss) in validations.iter().filter(|point| point.1.is_finite()) {
            let (x, y) = (x(step), y(loss));
            let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"#c4501b\"/>");
        }
        legend.push(("validation", "#c4501b"));
    }
    for (at, (name, colour)) in legend.into_iter().enumerate() {
        let x = LEFT + 100.0 * at as f64;
        let _ = writeln!(
            svg,
            "<path d=\"M{x} 24h18\" stroke=\"{colour}\" stroke-width=\"3\"/><text x=\"{}\" y=\"28\">{name}</text>",
            x + 24.0
        );
    }
    svg + "</svg>\n"
}

/// The picture in words.
fn said(steps: &[(f64, f64)], validations: &[(f64, f64)]) -> String {
    let span = |points: &[(f64, f64)]| match (points.first(), points.last()) {
        (Some(first), Some(last)) => Some(format!("{:.3} to {:.3}", first.1, last.1)),
        _ => None,
    };
    let mut text = match span(steps) {
        Some(span) => format!("Loss of {} steps: {span}", steps.len()),
        None => "Loss of no step".to_owned(),
    };
    if let Some(span) = span(validations) {
        text += &format!("; on rows held out {span}");
    }
    text
}

/// Exponentially weighted means, each of what has been so far.
fn smoothed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let (mut mean, mut weight) = (0.0, 0.0);
    let next = |&(step, loss): &(f64, f64)| {
        mean = mean * KEPT + loss * (1.0 - KEPT);
        weight = weight * KEPT + 1.0 - KEPT;
        (step, mean / weight)
    };
    points.iter().filter(|point| point.1.is_finite()).map(next).collect()
}

/// About five round numbers from `low` to `high`.
pub fn ticks(low: f64, high: f64) -> Vec<f64> {
    let rough = (high - low) / 5.0;
    let power = 10f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|n| n * power).into_iter().find(|step| *step >= rough);
    let step = step.unwrap_or(rough);
    let first = (low / step).ceil() as i64;
    (first..).map(|n| n as f64 * step).take_while(|tick| *tick <= high).collect()
}

fn number(tick: f64) -> String {
    let text = format!("{tick:.3}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(step: usize, loss: f64) -> Event {
        Event::Step(Step {
            step,
            of: 10,
            epoch: 1.0,
            loss,
            metrics: Default::default(),
            learning_rate: 0.1,
            gradient_norm: 1.0,
            tokens: 1,
            tokens_per_second: 1.0,
            eta: 0.0,
        })
    }

    #[test]
    fn a_curve_shows_steps_and_validations() {
        let validated =
            Event::Validated(Validated { step: 4, loss: 2.5, metrics: Default::default(), best: true });
        let events: Vec<Event> = (1..=4).map(|n| step(n, 4.0 / n as f64)).chain([validated]).collect();
        let svg = curve(&events);
        assert!(
            svg.contains("<title>Loss of 4 steps: 4.000 to 1.000; on rows held out 2.500 to 2.500</title>")
        );
        // The highest loss lies near the top, on the first of four steps.
        assert!(svg.contains("points=\"220.0,57.9 380.0,"), "{svg}");
        assert!(svg.contains("<circle cx=\"700.0\"") && svg.contains(">validation</text>"));
        assert_eq!(svg.matches("<polyline").count(), 3);
    }

    #[test]
    fn a_run_without_a_number_is_still_a_picture() {
        for events in [vec![], vec![step(1, f64::NAN)], vec![step(1, 0.5)]] {
            let svg = curve(&events);
            let path = svg.split("</title>").nth(1).unwrap();
            assert!(svg.ends_with("</svg>\n") && !path.contains("NaN") && !path.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(0.0, 10.0), [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(
            ticks(0.9, 1.6).iter().map(|tick| number(*tick)).collect::<Vec<_>>(),
            ["1", "1.2", "1.4", "1.6"]
        );
        assert_eq!(number(-0.0001), "0");
    }
}
