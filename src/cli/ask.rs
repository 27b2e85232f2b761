//! `incontext ask`: an answer with citations.

use std::ops::ControlFlow;

use clap::Args;

use super::answers::{How, With};
use super::printer::Printer;
use super::settings::Settings;
use super::shots::{self, Pool, Shots};
use super::{Ending, NOTHING_RELEVANT, help, narrow, one_line, tidy};
use crate::engine::ask::{Answer, Ask as Job, Generation, Nearest, Progress};
use crate::engine::search::asks_something;
use crate::engine::{Citation, Status};
use crate::error::{Error, Result};
use crate::prompt::budget::Dropped;
use crate::prompt::{self, Order};
use crate::text::example::Columns;

/// Answer a question from a collection, with citations
///
/// The answer is quoted from the documents or written by a model and held against them sentence by sentence. Exit code 3
/// when nothing relevant is found.
#[derive(Args)]
#[command(after_long_help = help::examples(EXAMPLES))]
pub struct Ask {
    /// In quotes, in your own words
    question: String,
    /// Collection to ask [default: default]
    #[arg(short, long, value_name = "NAME")]
    collection: Option<String>,
    #[command(flatten)]
    narrow: narrow::Where,
    /// How the answer comes about
    #[arg(long, value_enum, default_value_t = How::Auto)]
    answer: How,
    #[command(flatten)]
    with: With,
    #[command(flatten)]
    pool: Pool,
    #[command(flatten)]
    shots: Shots,
    /// Print the answer, its citations and how it came about as JSON
    #[arg(long)]
    json: bool,
    /// Print the prompt as the model reads it, to stderr
    #[arg(long)]
    show_prompt: bool,
}

const EXAMPLES: help::Examples = &[
    ("An answer in the documents' own words", "incontext ask \"When does the support contract end?\""),
    (
        "Written by a model of yours, from the collection `papers`",
        "incontext ask \"What is LoRA?\" -c papers --model ./models/my-model.gguf --answer generate",
    ),
    (
        "Written by a model that is shown answered questions like this one",
        "incontext ask \"Who signed it?\" --answer generate --pool answered.jsonl --shots 3",
    ),
    ("From what one author wrote", "incontext ask \"What do owls eat?\" --where author=Lang"),
    ("The files that an answer cites", "incontext ask \"Who signed it?\" --json | jq -r '.citations[].path'"),
];

/// An answer of less confidence is a guess worth a word of warning; below 0.5 there is none.
const DOUBTFUL: f32 = 0.7;

/// What the lines of a quotation begin with.
pub const QUOTED: &str = "    | ";
/// Before what a terminal has no room for, behind the place of a citation.
pub const BEHIND: &str = "      ";

pub fn run(command: &Ask, settings: &Settings, printer: &Printer) -> Result<Ending> {
    asks_something(&command.question)?;
    let name = settings.collection(command.collection.as_deref());
    let collection = settings.home.open(&name)?;
    let collection = narrow::only(&command.narrow.filter(settings), collection, printer)?;
    let loaded = command.with.load(&collection, command.answer, settings, &|_| ())?;
    let shown = command.pool.pool.is_some() || command.shots.is_given();
    let template = command.with.template(shown, &loaded.chosen, settings)?;
    let (mut demos, mut order) = (Vec::new(), Order::default());
    if shown {
        shots::check(&template)?;
        let pool = command.pool.rows(&template, &Columns::default())?;
        let pool = pool.ok_or_else(|| {
            Error::invalid("there is nothing to choose demonstrations from").hint("--pool FILE")
        })?;
        if loaded.generator.as_ref().is_some_and(|generator| command.answer.generates(generator)) {
            let embedder = Some(&loaded.embedder);
            let select = command.shots.select(&template);
            let pool = command.shots.of(pool, select, &template, embedder, settings)?;
            let vector = shots::vector(&pool, embedder, &command.question)?;
            (demos, order) = prompt::shots(&pool, &template, &command.question, &vector)?;
        } else {
            printer.note("(demonstrations change nothing in an answer in the documents' own words; `--answer generate` has the model write)");
        }
    }
    let job = Job {
        collection: &collection,
        embedder: &loaded.embedder,
        reranker: loaded.reranker.as_ref(),
        generation: loaded.generation(&template).map(|generation| Generation {
            demos: &demos,
            order,
            ..generation
        }),
        answering: command.answer.into(),
        k: command.with.k(),
        places: &settings.places,
    };
    let streams = printer.streams() && !command.json;
    let mut shown = false;
    let answer = job.run(&command.question, &mut |progress| {
        match progress {
            Progress::Prompt { text, dropped } if command.show_prompt => {
                printer.requested(text);
                if let Some(dropped) = Dropped::in_words(dropped) {
                    printer.note(format!("{dropped} did not fit the window whole"));
                }
            }
            Progress::Text(text) if streams => {
                shown = true;
                if printer.draft(text).is_err() {
                    return ControlFlow::Break(());
                }
            }
            _ => {}
        }
        ControlFlow::Continue(())
    })?;
    if shown {
        printer.end_draft();
    }
    if command.show_prompt && answer.prompt.is_none() {
        printer.note("(no prompt to show: nothing was generated; `--answer generate` does)");
    }
    match command.json {
        true => printer.json(&answer)?,
        false => show(&answer, printer)?,
    }
    Ok(if answer.answered { Ending::Done } else { Ending::No(NOTHING_RELEVANT) })
}

/// Prints an answer for a person.
pub fn show(answer: &Answer, printer: &Printer) -> Result<()> {
    printer.prose(&tidy(&answer.answer), "")?;
    if !answer.answered {
        return nearest(answer).iter().try_for_each(|line| printer.prose(line, BEHIND));
    }
    excuse(answer, printer);
    doubt(answer, printer);
    printer.line("")?;
    for citation in &answer.citations {
        printer.prose(&place(citation), BEHIND)?;
        quoted(&citation.quote).iter().try_for_each(|line| printer.prose(line, QUOTED))?;
    }
    Ok(())
}

/// Says why the model's text was not used, if it was not.
pub fn excuse(answer: &Answer, printer: &Printer) {
    if let Some(reason) = &answer.fallback {
        printer.note(format!("(in the documents' own words, because {})", tidy(reason)));
    }
}

/// Says so when the documents may well not hold the answer.
pub fn doubt(answer: &Answer, printer: &Printer) {
    if answer.answered && answer.confidence < DOUBTFUL {
        printer.note(format!("(not sure: confidence {:.2})", answer.confidence));
    }
}

/// What came close, one a line.
pub fn nearest(answer: &Answer) -> Vec<String> {
    let line = |nearest: &Nearest| {
        let title = tidy(nearest.title.as_deref().unwrap_or_default());
        let place = super::place(&nearest.path, nearest.page, (nearest.lines[0], nearest.lines[0]));
        format!("  nearest: {place}  {title}").trim_end().to_owned()
    };
    answer.nearest.iter().map(line).collect()
}

/// Where a citation stands, and whether it still does.
pub fn place(citation: &Citation) -> String {
    let [first, last] = citation.lines;
    let status = match citation.status {
        Status::Verified => "",
        Status::Changed => "  (the file has changed since it was ingested)",
        Status::Missing => "  (the file is gone)",
    };
    let title = tidy(citation.title.as_deref().unwrap_or_default());
    let place = super::place(&citation.path, citation.page, (first, last));
    let url = citation.url.as_ref().map_or(String::new(), |url| format!("  {}", one_line(url)));
    format!("[{}] {place}  {title}{url}{status}", citation.n).trim_end().to_owned()
}

/// Words of a document, line by line.
pub fn quoted(text: &str) -> Vec<String> {
    text.lines().map(|line| format!("{QUOTED}{}", tidy(line))).collect()
}
