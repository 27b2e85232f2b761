//! The sentence that a careful person would say from the table.
//!
//! Of the rungs that are not told apart from the best one by the test rows, the cheapest is advised; the cost is that of
//! training and of answering the comparison's number of queries. The reason names what the best would add, and what the
//! next cheaper rung would lose.

use super::outcome::{Outcome, Step};
use crate::experiment::table::{number, probability, thousands};

/// The share of the advised rung's cost that another has to stay below to be named as the cheaper one.
const WORTH_A_WORD: f64 = 0.75;

/// The advice, in one to four sentences.
pub fn of(outcome: &Outcome) -> String {
    let ladder: Vec<&Step> =
        outcome.steps.iter().filter(|step| !step.of_curve && step.is_measured()).collect();
    let score = |step: &Step| step.score.map_or(f64::NEG_INFINITY, |score| score.mean);
    let Some(best) = ladder.iter().rev().copied().max_by(|a, b| score(a).total_cmp(&score(b))) else {
        return "Nothing was measured yet.".to_owned();
    };
    let cost = |step: &Step| step.total_core_seconds.unwrap_or(f64::INFINITY);
    let as_good =
        ladder.iter().copied().filter(|step| step.name == best.name || !Step::is_apart(step.best.as_ref()));
    let chosen = as_good.min_by(|a, b| cost(a).total_cmp(&cost(b))).unwrap_or(best);
    let mut said = vec![format!(
        "On this task {} gives {} {}{}.",
        named(chosen),
        outcome.metric.name,
        plus_minus(outcome, chosen),
        if chosen.cost.is_some() {
            format!(", trained on {} rows", thousands(chosen.rows))
        } else {
            String::new()
        }
    )];
    if chosen.name != best.name {
        said.push(format!(
            "The highest score, {} of {}, is not told apart from it by {} test rows{} and costs {} as much.",
            number(outcome.metric.unit, score(best)),
            named(best),
            thousands(outcome.test_rows),
            chosen
                .best
                .as_ref()
                .map_or(String::new(), |against| format!(" (p {})", probability(against.p_holm))),
            times(cost(best) / cost(chosen)),
        ));
    } else if ladder.len() > 1 {
        let others = ladder.iter().filter(|step| step.name != best.name);
        let second = others.max_by(|a, b| score(a).total_cmp(&score(b)));
        if let Some(second) = second {
            said.push(format!(
                "Everything else is behind it by more than luck explains; next is {}, {}.",
                named(second),
                number(outcome.metric.unit, score(second))
            ));
        }
    }
    let cheaper = ladder.iter().copied().filter(|step| cost(step) < WORTH_A_WORD * cost(chosen));
    if let Some(next) = cheaper.max_by(|a, b| score(a).total_cmp(&score(b))) {
        said.push(format!(
            "The best that costs less is {}: {} for {} of the cost.",
            named(next),
            number(outcome.metric.unit, score(next)),
            share(cost(next) / cost(chosen))
        ));
    }
    if let Some(rise) = still_rising(outcome, chosen) {
        said.push(rise);
    }
    said.join(" ")
}

/// What more rows would do, where a curve says it.
fn still_rising(outcome: &Outcome, chosen: &Step) -> Option<String> {
    let of_it = outcome.steps.iter().filter(|step| step.of_curve && step.rung == chosen.rung);
    let fewer = of_it.filter(|step| step.is_measured()).max_by_key(|step| step.rows)?;
    let (now, before) = (chosen.score?, fewer.score?);
    // The half of an interval: less is not worth a word.
    let margin = (now.high - now.low) / 2.0;
    let gain = now.mean - before.mean;
    Some(match gain > margin {
        true => format!(
            "From {} to {} rows it rose by {}: more rows may help further.",
            thousands(fewer.rows),
            thousands(chosen.rows),
            number(outcome.metric.unit, gain)
        ),
        false => format!(
            "With {} rows it already reached {}: more rows are not what it lacks.",
            thousands(fewer.rows),
            number(outcome.metric.unit, before.mean)
        ),
    })
}

fn named(step: &Step) -> String {
    format!("`{}`", step.name)
}

/// `94.1 ± 0.9`, half the 95 % interval.
fn plus_minus(outcome: &Outcome, step: &Step) -> String {
    let Some(score) = step.score else { return "-".to_owned() };
    let unit = outcome.metric.unit;
    format!("{} ± {}", number(unit, score.mean), number(unit, (score.high - score.low) / 2.0))
}

/// `6 times`, `1.3 times`
fn times(ratio: f64) -> String {
    if ratio < 9.95 { format!("{ratio:.1} times") } else { format!("{ratio:.0} times") }
}

/// `a quarter` would be nicer; a number is exact.
fn share(ratio: f64) -> String {
    if ratio < 0.0095 { format!("{:.1} %", 100.0 * ratio) } else { format!("{:.0} %", 100.0 * ratio) }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::eval::stats::Estimate;
    use crate::experiment::ladder::cost::Cost;
    use crate::experiment::ladder::outcome::{FORMAT, State};
    use crate::experiment::metric::Metric;
    use crate::experiment::summary::Against;

    pub fn step(name: &str, score: f64, total: f64) -> Step {
        let estimate = Estimate { mean: score, low: score - 0.02, high: score + 0.02 };
        Step {
            name: name.to_owned(),
            rung: name.to_owned(),
            model: "m".to_owned(),
            rows: 1000,
            of_curve: false,
            state: State::Measured,
            unanswered: 0,
            why: None,
            score: Some(estimate),
            metrics: BTreeMap::from([("accuracy".to_owned(), estimate)]),
            below: None,
            best: None,
            cost: (name != "zero-shot").then_some(Cost {
                trained_parameters: 5,
                bytes: 9,
                seconds: 1.0,
                core_seconds: 2.0,
                peak_memory: None,
                steps: None,
                learning_rate: None,
            }),
            query_ms: Some(1.0),
            total_core_seconds: Some(total),
            frontier: false,
            adapter: None,
        }
    }

    pub fn against(p: f64) -> Option<Against> {
        Some(Against {
            metric: "accuracy".to_owned(),
            difference: Estimate { mean: -0.1, low: -0.2, high: 0.0 },
            p,
            p_holm: p,
            test: "McNemar".to_owned(),
            wins: 1,
            losses: 2,
            ties: 3,
            needed: None,
        })
    }

    pub fn outcome(steps: Vec<Step>) -> Outcome {
        Outcome {
            format: FORMAT,
            name: "tickets".to_owned(),
            description: None,
            task: "classify".to_owned(),
            metric: Metric::Accuracy.described(),
            training_rows: 1000,
            test_rows: 300,
            queries: 1000,
            cores: 2,
            steps,
            remarks: Vec::new(),
            advice: String::new(),
            complete: true,
            provenance: BTreeMap::new(),
        }
    }

    #[test]
    fn the_cheapest_of_those_that_are_as_good_as_the_best_is_advised_with_the_reason() {
        let mut steps = vec![
            step("zero-shot", 0.5, 10.0),
            step("lora", 0.941, 100.0),
            step("full", 0.943, 600.0),
            // Hardly cheaper: not worth a word.
            step("prefix", 0.8, 99.0),
        ];
        steps[0].best = against(0.0001);
        steps[1].best = against(0.8);
        steps[3].best = against(0.0001);
        assert_eq!(
            of(&outcome(steps)),
            "On this task `lora` gives accuracy 94.1 ± 2.0, trained on 1,000 rows. The highest score, 94.3 of `full`, is not \
             told apart from it by 300 test rows (p = 0.800) and costs 6.0 times as much. The best that costs less is \
             `zero-shot`: 50.0 for 10 % of the cost."
        );
    }

    #[test]
    fn a_best_that_stands_alone_is_advised_and_what_more_rows_would_do_is_said_where_it_is_known() {
        let mut steps = vec![step("zero-shot", 0.5, 10.0), step("lora", 0.9, 100.0), step("lora", 0.8, 50.0)];
        steps[0].best = against(0.0001);
        steps[2].of_curve = true;
        (steps[2].name, steps[2].rows) = ("lora, 200 rows".to_owned(), 200);
        let said = of(&outcome(steps.clone()));
        assert!(
            said.contains(
                "Everything else is behind it by more than luck explains; next is `zero-shot`, 50.0."
            )
        );
        assert!(
            said.ends_with("From 200 to 1,000 rows it rose by 10.0: more rows may help further."),
            "{said}"
        );
        steps[2].score = steps[1].score;
        assert!(
            of(&outcome(steps))
                .ends_with("With 200 rows it already reached 90.0: more rows are not what it lacks.")
        );
    }

    #[test]
    fn nothing_measured_is_no_advice() {
        let mut steps = vec![step("lora", 0.9, 1.0)];
        steps[0].state = State::Failed("no".to_owned());
        assert_eq!(of(&outcome(steps)), "Nothing was measured yet.");
    }
}
