//! `incontext classify` by a classifier that was trained.

use std::time::Instant;

use serde_json::{Map, Value, json};

use super::Classify;
use super::output::{Show, Tally};
use crate::classify::{Label, Trained};
use crate::cli::inputs::Inputs;
use crate::cli::printer::Printer;
use crate::cli::tuned::Chosen;
use crate::cli::{Ending, tidy};
use crate::error::{Error, Result};
use crate::generate::labels;
use crate::text::example::Example;

pub fn run(command: &Classify, chosen: &Chosen, classifier: &Trained, printer: &Printer) -> Result<Ending> {
    let name = chosen.adapter.as_ref().map_or(&chosen.model, |adapter| &adapter.name);
    if !command.labels.is_empty() || command.scoring.is_some() || command.calibration.is_some() {
        return Err(Error::invalid(format!("`{name}` tells the labels that it was trained on"))
            .hint("leave --labels, --scoring and --calibration out, or ask the model as it is: --base"));
    }
    let known: Vec<Label> = classifier.labels().iter().map(|label| Label::plain(label)).collect();
    let mut inputs = Inputs::open(&command.texts, command.file.as_deref(), command.columns())?;
    let show = Show { labels: &known, many: inputs.many, json: command.json, printer };
    let (mut tally, mut seen) = (Tally::default(), 0);
    for row in &mut inputs.rest {
        let row: Example = row?;
        seen += 1;
        let start = Instant::now();
        let probabilities = match classifier.probabilities(&[&row.input]) {
            Ok(mut all) => all.pop().unwrap_or_default(),
            Err(error) if inputs.many => {
                show.failed(&row, error, &mut tally)?;
                continue;
            }
            Err(error) => return Err(error),
        };
        let ms = start.elapsed().as_secs_f64() * 1e3;
        let at = labels::choose(&probabilities);
        let (label, probability) = (&known[at], probabilities[at]);
        tally.count(&known, &row, Some(label), &[]);
        if command.json {
            let by_class: Map<String, Value> = known
                .iter()
                .zip(&probabilities)
                .map(|(label, p)| (label.class.clone(), (*p).into()))
                .collect();
            show.value(
                &json!({ "id": row.id, "input": row.input, "label": label.class, "probability": probability,
                "probabilities": by_class, "model": chosen.model, "adapter": chosen.adapter.as_ref().map(|adapter| &adapter.name), "ms": (ms * 10.0).round() / 10.0 }),
            )?;
        } else if inputs.many {
            show.line(&label.class, &format!("{probability:.3}"), &row)?;
        } else {
            printer.line(format!("{}  {probability:.3}", tidy(&label.class)))?;
        }
    }
    if seen == 0 {
        return Err(Error::invalid("there is no text to classify").hint("a text a line, or JSON Lines"));
    }
    tally.remark(printer);
    Ok(if tally.failed == 0 { Ending::Done } else { Ending::No(1) })
}
