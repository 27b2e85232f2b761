//! `incontext classify`: texts to labels, by scoring each label behind a prompt.

mod output;
mod trained;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use self::output::{Outcome, Tally};
use super::inputs::Inputs;
use super::printer::Printer;
use super::settings::{Key, Settings};
use super::shots::{self, Pool, Shots};
use super::tuned::{Adapted, Tuned};
use super::{Ending, device, help, load, tuned};
use crate::classify::classifier::Said;
use crate::classify::label::{self, Label};
use crate::classify::{Classifier, Rule};
use crate::error::{Error, Result};
use crate::generate::labels::{self, Calibration, Scoring};
use crate::hub;
use crate::retrieve::demos::Select;
use crate::text::example::{self, Columns, Example};

/// The template, unless another is asked for.
const TEMPLATE: &str = "classify/plain";

/// Choose a label for each text, with its probability
///
/// An adapter that was trained for it (`tune head`, `tune METHOD --classify`) tells its own labels: --adapter NAME; so does a
/// model that has a head for classes: --model DIR. Otherwise the model need not be trained for it: every label is scored as the continuation of a prompt. An endpoint tells no scores;
/// there the model writes, and the label that it names first counts. Exit code 1 when a text could not be classified.
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct Classify {
    /// Texts, each in quotes
    #[arg(value_name = "TEXT", required_unless_present = "file", conflicts_with = "file")]
    texts: Vec<String>,
    /// What to choose from; CLASS=WORDS where a model is to say a class in other words [default: the classes of --pool]
    #[arg(long, value_name = "LABEL,LABEL", value_delimiter = ',', value_parser = label)]
    labels: Vec<Label>,
    /// Many texts, one a line or as JSON Lines with `input`, `text` or `question`; - reads standard input
    #[arg(short, long, value_name = "FILE")]
    file: Option<String>,
    #[command(flatten)]
    pool: Pool,
    #[command(flatten)]
    shots: Shots,
    /// What JSON rows call the text [default: `input`, `question` or `text`]
    #[arg(long, value_name = "FIELD")]
    input_field: Option<String>,
    /// What JSON rows call the class [default: `answers`, `answer`, `output`, `label_text` or `label`]
    #[arg(long, value_name = "FIELD")]
    answer_field: Option<String>,
    /// How labels are compared [default: acc]
    #[arg(long, value_parser = scoring())]
    scoring: Option<Scoring>,
    /// Take out what a model prefers whatever it reads; `batch` goes by all texts of --file [default: none]
    #[arg(long, value_parser = calibration())]
    calibration: Option<Calibration>,
    /// Prompt template: task/name, or a .j2 file [default: classify/plain]
    #[arg(long, value_name = "NAME|FILE")]
    prompt: Option<String>,
    /// Generator: catalogue name, directory, GGUF file, or openai:NAME at an endpoint [default: smollm2-135m-instruct]
    #[arg(long, value_name = "NAME|PATH")]
    model: Option<String>,
    #[command(flatten)]
    tuned: Tuned,
    /// Encoder that finds near demonstrations [default: all-minilm-l6-v2]
    #[arg(long, value_name = "NAME|DIR")]
    embedder: Option<String>,
    /// Where models of this machine compute [default: cpu]
    #[arg(long, value_enum)]
    device: Option<device::Kind>,
    /// Print probabilities, scores and the prompt as JSON, for many texts a line each
    #[arg(long)]
    json: bool,
}

const EXAMPLES: help::Examples = &[
    ("One text", "incontext classify --labels praise,complaint \"The parcel never came.\""),
    (
        "Learning from examples, eight of them near each text",
        "incontext classify --pool tickets.jsonl --shots 8 --file new.txt",
    ),
    ("By a classifier that was trained here", "incontext classify --adapter reviews --file new.txt"),
    (
        "Classes in words that a model knows, from another program",
        "tail -f log.txt | incontext classify --labels LOC=location,HUM=person --file - --json",
    ),
];

fn label(text: &str) -> Result<Label, String> {
    let label = match text.split_once('=') {
        Some((class, word)) => Label::new(class.trim(), word.trim()),
        None => Label::plain(text.trim()),
    };
    match label.class.is_empty() {
        true => Err("a label is empty".to_owned()),
        false => Ok(label),
    }
}

fn scoring() -> impl TypedValueParser<Value = Scoring> {
    PossibleValuesParser::new(Scoring::ALL.map(Scoring::name))
        .map(|name| Scoring::ALL.into_iter().find(|one| one.name() == name).unwrap_or_default())
}

fn calibration() -> impl TypedValueParser<Value = Calibration> {
    PossibleValuesParser::new(Calibration::ALL.map(Calibration::name))
        .map(|name| Calibration::ALL.into_iter().find(|one| one.name() == name).unwrap_or_default())
}

impl Classify {
    fn columns(&self) -> Columns {
        Columns { input: self.input_field.clone(), answer: self.answer_field.clone() }
    }

    fn rule(&self) -> Rule {
        Rule { scoring: self.scoring.unwrap_or_default(), calibration: self.calibration.unwrap_or_default() }
    }

    /// What to choose from: as it is typed, or what the pool holds.
    fn labels(&self, pool: Option<&[Example]>) -> Result<Vec<Label>> {
        let labels = match (&self.labels[..], pool) {
            ([], Some(pool)) => example::labels(pool).iter().map(|class| Label::plain(class)).collect(),
            ([], None) => {
                return Err(Error::invalid("there are no labels to choose from")
                    .hint("--labels LABEL,LABEL, or the classes of --pool FILE"));
            }
            (labels, _) => labels.to_vec(),
        };
        label::check(&labels)?;
        label::check_rows(&labels, "pool", pool.unwrap_or_default())?;
        Ok(labels)
    }
}

pub fn run(command: &Classify, settings: &Settings, printer: &Printer) -> Result<Ending> {
    let chosen = match &command.model {
        // A classifier that was trained here is asked by its name alone.
        Some(name) if command.tuned.is_open() && tells_classes(name, settings) => {
            tuned::chosen(settings.get(Key::Model, None), settings.get(Key::Adapter, Some(name)), settings)?
        }
        model => command.tuned.over(model.as_deref(), settings)?,
    };
    if let Some(classifier) = load::classifier(&chosen, &settings.device(command.device)?)? {
        return trained::run(command, &chosen, &classifier, printer);
    }
    let template = settings.library().load(command.prompt.as_deref().unwrap_or(TEMPLATE))?;
    let batch = command.rule().calibration == Calibration::Batch;
    if batch && command.file.is_none() {
        return Err(Error::invalid("batch calibration goes by many texts").hint("give them with --file FILE"));
    }
    let columns = command.columns();
    let pool = command.pool.rows(&template, &columns)?;
    if pool.is_some() {
        shots::check(&template)?;
    } else if command.shots.is_given() {
        return Err(Error::invalid("there is nothing to choose demonstrations from").hint("--pool FILE"));
    }
    let labels = command.labels(pool.as_deref())?;
    if load::is_served(&chosen.model) && (command.scoring.is_some() || command.calibration.is_some()) {
        return Err(Error::invalid("an endpoint tells no scores that could be compared or calibrated")
            .hint("leave --scoring and --calibration out, or use a model of this machine"));
    }
    let mut inputs = Inputs::open(&command.texts, command.file.as_deref(), columns)?;
    let Some(first) = inputs.first()? else {
        return Err(Error::invalid("there is no text to classify").hint("a text a line, or JSON Lines"));
    };
    let select = if pool.is_some() { command.shots.select(&template) } else { Select::None };
    let device = settings.device(command.device)?;
    let embedder = match select.needs_vectors() {
        true => Some(load::embedder(&settings.embedder(command.embedder.as_deref()), &device, settings)?),
        false => None,
    };
    let pool = pool.unwrap_or_default();
    remark_on(&labels, &pool, printer);
    let demonstrations = command.shots.of(pool, select, &template, embedder.as_ref(), settings)?;
    let generator = load::generator(&chosen, &device, settings)?;
    let values = first.asked(&inputs.columns);
    let classifier =
        Classifier::new(&generator, &template, &labels, &demonstrations, command.rule(), &values)?;

    let classify = |row: &Example| -> Result<Outcome> {
        let start = std::time::Instant::now();
        let vector = shots::vector(&demonstrations, embedder.as_ref(), &row.input)?;
        let verdict = classifier.classify(&row.input, &row.asked(&inputs.columns), &vector)?;
        Ok(Outcome { row: row.clone(), verdict, ms: start.elapsed().as_secs_f64() * 1e3 })
    };
    let show = output::Show { labels: &labels, many: inputs.many, json: command.json, printer };
    let mut tally = Tally::default();
    let mut kept = Vec::new();
    for row in std::iter::once(Ok(first)).chain(&mut inputs.rest) {
        let row = row?;
        match classify(&row) {
            Ok(outcome) if batch => kept.push(outcome),
            Ok(outcome) => show.outcome(&outcome, &mut tally)?,
            // What is wrong with an endpoint is wrong for all rows.
            Err(error) if !inputs.many || !matches!(error, Error::TooLong(_) | Error::Invalid(_)) => {
                return Err(error);
            }
            Err(error) => show.failed(&row, error, &mut tally)?,
        }
    }
    let rows = kept.iter().filter_map(|outcome| outcome.probabilities()).collect::<Vec<_>>();
    let prior = labels::mean(&rows);
    for mut outcome in kept {
        if let Said::Scores { probabilities, .. } = &mut outcome.verdict.said {
            *probabilities = labels::calibrated(probabilities, &prior);
        }
        show.outcome(&outcome, &mut tally)?;
    }
    tally.remark(printer);
    Ok(if tally.failed == 0 { Ending::Done } else { Ending::No(1) })
}

/// Whether `name` is an adapter's that makes a classifier of its model, and no model's.
fn tells_classes(name: &str, settings: &Settings) -> bool {
    hub::resolve(name).is_err() && Adapted::find(name, settings).is_ok_and(|adapter| adapter.tells_classes())
}

/// Says which label no demonstration can be of.
fn remark_on(labels: &[Label], pool: &[Example], printer: &Printer) {
    let lacking: Vec<Label> = labels
        .iter()
        .filter(|label| !pool.iter().any(|row| row.output() == Some(&label.class)))
        .cloned()
        .collect();
    if !pool.is_empty() && !lacking.is_empty() {
        printer.note(format!("the pool has no example of {}", label::names(&lacking)));
    }
}
