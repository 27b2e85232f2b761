//! Pictures of a ladder as SVG: score against cost with the frontier drawn, and score against rows to learn from.
//!
//! Colours are those of the page's style; every point is named in words beside it, so no colour has to be told apart.

use std::fmt::Write;

use super::outcome::{Outcome, Step};
use crate::experiment::report::{colours, escaped};
use crate::experiment::table::number;
use crate::train::ticks;

/// How pictures are drawn, in a page or alone.
pub(super) const STYLE: &str = include_str!("picture.css");

/// Of a picture, and of the place for points in it.
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 690.0;
const TOP: f64 = 20.0;
const BOTTOM: f64 = 400.0;

/// Pixels that two lines of words need.
const LINE: f64 = 14.0;

/// A point: where it lies on both axes, its interval, its name.
struct Point<'a> {
    x: f64,
    step: &'a Step,
}

struct Frame {
    /// Logarithms of the ends of the horizontal axis.
    across: (f64, f64),
    up: (f64, f64),
}

impl Frame {
    fn of(points: &[Point], unit_top: f64) -> Option<Self> {
        let all = || points.iter().filter_map(|point| Some((point.x, point.step.score?)));
        let ends = |values: &mut dyn Iterator<Item = f64>| {
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
                (low.min(value), high.max(value))
            })
        };
        let across = ends(&mut all().map(|(x, _)| x.max(1e-3).log10()));
        let up =
            (ends(&mut all().map(|(_, score)| score.low)).0, ends(&mut all().map(|(_, score)| score.high)).1);
        if !across.0.is_finite() || !up.0.is_finite() {
            return None;
        }
        let room = ((across.1 - across.0) * 0.05).max(0.1);
        let margin = ((up.1 - up.0) * 0.05).max(unit_top * 0.01);
        Some(Self {
            across: (across.0 - room, across.1 + room),
            up: ((up.0 - margin).max(0.0), (up.1 + margin).min(unit_top)),
        })
    }

    fn x(&self, value: f64) -> f64 {
        LEFT + (RIGHT - LEFT) * (value.max(1e-3).log10() - self.across.0) / (self.across.1 - self.across.0)
    }

    fn y(&self, value: f64) -> f64 {
        BOTTOM - (BOTTOM - TOP) * (value - self.up.0) / (self.up.1 - self.up.0)
    }

    /// Axes with their numbers.
    fn drawn(&self, outcome: &Outcome, title: &str, below: &str) -> String {
        let mut svg = format!(
            "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" class=\"picture\"><title>{}</title>\n",
            escaped(title)
        );
        for value in ticks(self.up.0, self.up.1) {
            let y = self.y(value);
            let _ = writeln!(
                svg,
                "<path class=\"rule\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 8.0,
                y + 4.0,
                number(outcome.metric.unit, value)
            );
        }
        for (value, name) in marks(self.across) {
            let x = self.x(value);
            let _ = writeln!(
                svg,
                "<path class=\"rule\" d=\"M{x:.1} {TOP}V{BOTTOM}\"/><text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>",
                BOTTOM + 18.0
            );
        }
        let _ = writeln!(
            svg,
            "<path class=\"axis\" d=\"M{LEFT} {BOTTOM}H{RIGHT}\"/><text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            (LEFT + RIGHT) / 2.0,
            BOTTOM + 42.0,
            escaped(below)
        );
        svg
    }
}

/// A picture as a file of its own, for a page or a paper of somebody else's.
pub fn alone(svg: &str) -> String {
    let style = format!("{}{STYLE}.picture text {{ font-family: system-ui, sans-serif; }}\n", colours());
    let head = format!("<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{HEIGHT}\"");
    let svg = svg.replacen("<svg", &head, 1);
    svg.replacen("</title>\n", &format!("</title>\n<style>\n{style}</style>\n"), 1)
}

/// Score against cost, on a logarithmic axis; the frontier is a line. `None` before two rungs are measured.
pub fn pareto(outcome: &Outcome) -> Option<String> {
    let points: Vec<Point> = outcome
        .steps
        .iter()
        .filter(|step| !step.of_curve && step.is_measured())
        .filter_map(|step| Some(Point { x: step.total_core_seconds?, step }))
        .collect();
    if points.len() < 2 {
        return None;
    }
    let frame = Frame::of(&points, top(outcome))?;
    let below = format!(
        "core-seconds to train and to answer {} queries",
        crate::experiment::table::thousands(outcome.queries)
    );
    let mut svg = frame.drawn(outcome, &format!("{} against cost", outcome.metric.name), &below);
    let mut frontier: Vec<&Point> = points.iter().filter(|point| point.step.frontier).collect();
    frontier.sort_by(|a, b| a.x.total_cmp(&b.x));
    let mut path = String::new();
    for point in &frontier {
        let Some(score) = point.step.score else { continue };
        let (x, y) = (frame.x(point.x), frame.y(score.mean));
        // A rung is reached when it is paid for, and not between two.
        let _ = match path.is_empty() {
            true => write!(path, "M{x:.1} {y:.1}"),
            false => write!(path, "H{x:.1}V{y:.1}"),
        };
    }
    if !path.is_empty() {
        let _ = writeln!(svg, "<path class=\"frontier\" d=\"{path}H{RIGHT}\"/>");
    }
    svg += &drawn(&points, &frame, outcome);
    Some(svg + "</svg>\n")
}

/// Score against rows to learn from, a line for each rung that was trained on several. `None` where none was.
pub fn curve(outcome: &Outcome) -> Option<String> {
    let mut rungs: Vec<&str> = Vec::new();
    for step in outcome.steps.iter().filter(|step| step.of_curve && step.is_measured()) {
        if !rungs.contains(&step.rung.as_str()) {
            rungs.push(&step.rung);
        }
    }
    let of = |rung: &str| -> Vec<Point> {
        let steps = outcome.steps.iter().filter(|step| step.rung == rung && step.is_measured());
        let mut points: Vec<Point> = steps.map(|step| Point { x: step.rows as f64, step }).collect();
        points.sort_by(|a, b| a.x.total_cmp(&b.x));
        points
    };
    let lines: Vec<Vec<Point>> = rungs.iter().map(|rung| of(rung)).collect();
    let all: Vec<Point> =
        lines.iter().flatten().map(|point| Point { x: point.x, step: point.step }).collect();
    let frame = Frame::of(&all, top(outcome))?;
    let title = format!("{} against rows to learn from", outcome.metric.name);
    let mut svg = frame.drawn(outcome, &title, "rows to learn from");
    for line in &lines {
        let place = |point: &Point| {
            let score = point.step.score.map_or(0.0, |score| score.mean);
            format!("{:.1},{:.1}", frame.x(point.x), frame.y(score))
        };
        let _ = writeln!(
            svg,
            "<polyline class=\"line\" points=\"{}\"/>",
            line.iter().map(place).collect::<Vec<_>>().join(" ")
        );
    }
    // Each line is named where it ends.
    let ends: Vec<Point> = lines.into_iter().filter_map(|line| line.into_iter().next_back()).collect();
    for point in &all {
        let Some(score) = point.step.score else { continue };
        let _ = writeln!(
            svg,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\"/>",
            frame.x(point.x),
            frame.y(score.mean)
        );
    }
    svg += &drawn(&ends, &frame, outcome);
    Some(svg + "</svg>\n")
}

/// Points with their intervals and names; names that would lie over one another are moved apart.
fn drawn(points: &[Point], frame: &Frame, outcome: &Outcome) -> String {
    let mut svg = String::new();
    let mut names: Vec<(f64, f64, f64, &Step)> = Vec::new();
    for point in points {
        let Some(score) = point.step.score else { continue };
        let (x, y) = (frame.x(point.x), frame.y(score.mean));
        let class = if point.step.frontier { "on" } else { "off" };
        let _ = writeln!(
            svg,
            "<g class=\"{class}\"><path class=\"interval\" d=\"M{x:.1} {:.1}V{:.1}\"/><circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5\"/></g>",
            frame.y(score.low),
            frame.y(score.high)
        );
        names.push((x, y, y, point.step));
    }
    names.sort_by(|a, b| a.1.total_cmp(&b.1));
    for at in 1..names.len() {
        let above = names[..at]
            .iter()
            .filter(|(x, ..)| (x - names[at].0).abs() < 150.0)
            .map(|(_, _, y, _)| *y)
            .fold(f64::NEG_INFINITY, f64::max);
        names[at].2 = names[at].2.max(above + LINE);
    }
    for (x, y, shown, step) in names {
        let score = step.score.map_or(String::new(), |score| number(outcome.metric.unit, score.mean));
        if shown - y > 2.0 {
            let _ = writeln!(
                svg,
                "<path class=\"lead\" d=\"M{:.1} {y:.1}L{:.1} {shown:.1}\"/>",
                x + 6.0,
                x + 11.0
            );
        }
        let _ = writeln!(
            svg,
            "<text class=\"name\" x=\"{:.1}\" y=\"{:.1}\">{} {score}</text>",
            x + 12.0,
            shown + 4.0,
            escaped(&step.name)
        );
    }
    svg
}

/// The most that the metric can be.
fn top(outcome: &Outcome) -> f64 {
    match outcome.metric.unit {
        crate::experiment::summary::Unit::Share => 1.0,
        crate::experiment::summary::Unit::Points => 100.0,
        _ => f64::INFINITY,
    }
}

/// Powers of ten within an axis, and twice and five times those where there are few.
fn marks((low, high): (f64, f64)) -> Vec<(f64, String)> {
    let between = if high - low > 2.5 { &[1.0][..] } else { &[1.0, 2.0, 5.0] };
    let powers = (low.floor() as i32)..=(high.ceil() as i32);
    let all = powers.flat_map(|power| between.iter().map(move |n| n * 10f64.powi(power)));
    let within = all.filter(|value| (low..=high).contains(&value.log10()));
    within
        .map(|value| {
            let name = match value {
                1.0.. => crate::experiment::table::thousands(value.round() as usize),
                _ => format!("{value}"),
            };
            (value, name)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::experiment::ladder::advice::tests::{outcome, step};

    #[test]
    fn a_ladder_is_drawn_with_its_frontier_and_every_name_in_a_place_of_its_own() {
        let mut steps =
            vec![step("zero-shot", 0.5, 20.0), step("few-shot <b>", 0.501, 21.0), step("lora", 0.94, 900.0)];
        steps[0].frontier = true;
        steps[2].frontier = true;
        let svg = pareto(&outcome(steps)).unwrap();
        assert_eq!(svg.matches("<circle").count(), 3);
        assert!(svg.contains("class=\"frontier\"") && svg.contains("few-shot &lt;b&gt; 50.1"));
        let places: Vec<f64> = svg
            .lines()
            .filter(|line| line.contains("class=\"name\""))
            .filter_map(|line| line.split("y=\"").nth(1)?.split('"').next()?.parse().ok())
            .collect();
        assert!((places[1] - places[2]).abs() >= LINE - 0.1, "{places:?}");
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        let alone = alone(&svg);
        assert!(
            alone.starts_with("<svg xmlns=") && alone.contains("--accent:") && alone.ends_with("</svg>\n")
        );
    }

    #[test]
    fn a_curve_has_a_line_for_each_rung_with_several_sizes() {
        let mut steps = vec![step("lora", 0.9, 10.0), step("lora", 0.8, 5.0), step("knn", 0.4, 5.0)];
        assert!(curve(&outcome(steps.clone())).is_none());
        steps[1].of_curve = true;
        steps[1].rows = 100;
        let svg = curve(&outcome(steps)).unwrap();
        assert_eq!(svg.matches("<polyline").count(), 1);
        assert!(svg.contains("lora 90.0") && !svg.contains("knn"));
    }

    #[test]
    fn one_point_alone_is_no_picture_and_an_axis_has_round_numbers() {
        assert!(pareto(&outcome(vec![step("lora", 0.9, 10.0)])).is_none());
        let names: Vec<String> = marks((0.9, 3.1)).into_iter().map(|(_, name)| name).collect();
        assert_eq!(names, ["10", "20", "50", "100", "200", "500", "1,000"]);
        assert_eq!(marks((-1.0, 3.0)).len(), 5);
    }
}
