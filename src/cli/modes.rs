//! `incontext modes`: what can be asked here, and with what.

use clap::Args;
use serde_json::json;

use super::printer::Printer;
use super::settings::{Key, Settings};
use super::tuned::{Adapted, chosen};
use super::{Ending, help, load};
use crate::adapters::{Task, describe, registry::NONE};
use crate::error::Result;
use crate::hub;
use crate::models::{self, Model};

/// Show what is possible with this model: prompts, demonstrations, adapters
///
/// An endpoint gives text and no weights, so only prompts can be changed; a model of this machine can be tuned too.
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct Modes {
    /// Generator [default: smollm2-135m-instruct]
    #[arg(long, value_name = "NAME|PATH")]
    model: Option<String>,
    /// Print it as JSON
    #[arg(long)]
    json: bool,
}

const EXAMPLES: help::Examples = &[
    ("What is possible here?", "incontext modes"),
    ("With a model behind an endpoint", "incontext modes --model openai:gpt-4o-mini"),
    (
        "Names of the adapters that fit",
        "incontext modes --json | jq -r '.modes[] | select(.possible) | .name'",
    ),
];

/// A way of asking.
struct Mode {
    name: String,
    /// Why not, where it is not possible.
    obstacle: Option<String>,
    what: String,
    used: bool,
}

pub fn run(command: &Modes, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let typed = settings.get(Key::Model, command.model.as_deref());
    let used = settings.get(Key::Adapter, None);
    // An adapter in use may bring its own model.
    let model = match chosen(typed.clone(), used.clone(), settings) {
        Ok(chosen) => chosen.model,
        Err(_) => typed.value,
    };
    let used = used.value;
    let served = load::is_served(&model);
    let weights = if served { None } else { Some(hub::resolve(&model)?) };
    let no_weights = "the model is behind an endpoint, which gives text and no weights";
    let obstacle = served.then(|| no_weights.to_owned());
    let reads_only = match &weights {
        Some(model) => !Model::describe(&model.path)?.0.causal,
        None => false,
    };
    let writes_nothing =
        reads_only.then(|| "an encoder writes nothing; tuned, it tells classes apart".to_owned());
    let plain = |name: &str, what: &str, obstacle: Option<String>, used| Mode {
        name: name.to_owned(),
        what: what.to_owned(),
        obstacle,
        used,
    };
    let mut modes = vec![
        plain("base", "the model as it is, with any prompt: --prompt", writes_nothing.clone(), used == NONE),
        plain(
            "few-shot",
            "shown worked examples in its prompt: --pool FILE --shots K",
            writes_nothing,
            false,
        ),
        plain(
            "tune",
            "trained on examples: incontext tune METHOD --data FILE --out NAME",
            obstacle.clone(),
            false,
        ),
    ];
    let fingerprint = weights.as_ref().map(|model| models::fingerprint(&model.path)).transpose()?;
    let mut names = settings.adapters().names()?;
    // A folder of one's own is used by its path.
    if used != NONE && !names.contains(&used) {
        names.push(used.clone());
    }
    for name in names {
        let known = Adapted::find(&name, settings)
            .and_then(|adapter| describe(&adapter.dir).map(|(config, _)| (adapter, config)));
        let (what, unfit) = match known {
            Ok((adapter, config)) => {
                let method = adapter.method(config.as_ref());
                let about = adapter.about.unwrap_or_default();
                let fits = fingerprint.as_ref().is_none_or(|found| about.fits(found));
                let what = match about.task {
                    Task::SeqCls if about.is_reward() => {
                        format!("{method}, a reward model: incontext eval reward --adapter {name}")
                    }
                    Task::SeqCls => format!("{method}: incontext classify --adapter {name}"),
                    _ => format!("{method}: --adapter {name}, or incontext use {name}"),
                };
                (what, (!fits).then(|| format!("made on `{}`", about.base)))
            }
            Err(error) => (String::new(), Some(format!("it is damaged: {error}"))),
        };
        let obstacle = obstacle.clone().or(unfit);
        modes.push(Mode { used: used == name, what, obstacle, name });
    }
    if command.json {
        let rows: Vec<_> = modes
            .iter()
            .map(|mode| {
                json!({ "name": mode.name, "possible": mode.obstacle.is_none(), "used": mode.used,
                    "what": mode.what, "obstacle": mode.obstacle })
            })
            .collect();
        printer.json(&json!({ "model": model, "weights": !served, "modes": rows }))?;
        return Ok(Ending::Done);
    }
    printer.line(format!("model: {model}"))?;
    let width = modes.iter().map(|mode| mode.name.chars().count()).max().unwrap_or(0);
    for Mode { name, obstacle, what, used } in &modes {
        let mark = if *used { '*' } else { ' ' };
        match obstacle {
            None => printer.line(format!("{mark} {name:width$}  {what}"))?,
            Some(why) => printer.line(format!("{mark} {name:width$}  not possible: {why}"))?,
        }
    }
    Ok(Ending::Done)
}
