//! What is kept between two questions, and what each command does to it.
//!
//! A command that fails leaves everything as it was. What answers is data and goes to stdout, unless that holds JSON.

use std::path::Path;
use std::sync::Arc;

use candle_core::Device;
use serde_json::json;

use super::turn::{Event, Job, Prompts, ShownPrompt, Source, matching};
use super::{Chat, save, work};
use crate::adapters::registry;
use crate::cli::answers::{How, Loaded};
use crate::cli::ask;
use crate::cli::interrupt::Interrupt;
use crate::cli::printer::Printer;
use crate::cli::settings::{Key, Settings, Source as Decided};
use crate::cli::tuned::{Adapted, Chosen};
use crate::cli::{load, narrow, tidy};
use crate::embed::Embedder;
use crate::engine::ask::{FORMAT, is_fit};
use crate::engine::chat::{Conversation, StandAlone};
use crate::error::{Error, Result};
use crate::generate::Generator;
use crate::index::Filter;
use crate::retrieve::rerank::CrossEncoder;

/// The templates unless somebody chose others.
const ANSWER: &str = "chat/grounded";
const REWRITE: &str = "chat/standalone";

pub struct Session<'a> {
    printer: &'a Printer,
    settings: Arc<Settings>,
    device: Device,
    interrupt: Interrupt,
    json: bool,
    k: Option<usize>,
    prompts: Arc<Prompts>,
    collection: String,
    filter: Filter,
    embedder: Arc<Embedder>,
    reranker: Option<Arc<CrossEncoder>>,
    how: How,
    /// As they were named.
    chosen: Chosen,
    /// Loaded once it may have something to write.
    generator: Option<Arc<Generator>>,
    conversation: Conversation,
    last: Last,
}

/// How the last answer came about.
#[derive(Default)]
struct Last {
    sources: Vec<Source>,
    prompt: Option<ShownPrompt>,
}

impl<'a> Session<'a> {
    /// Loads what the command line asks for.
    ///
    /// # Errors
    /// As `ask`: a collection, a model or a template that is not there or does not fit.
    pub fn begin(command: &Chat, settings: &Settings, printer: &'a Printer) -> Result<Self> {
        let collection = settings.collection(command.collection.as_deref());
        let opened = settings.home.open(&collection)?;
        let filter = command.narrow.filter(settings);
        let opened = narrow::only(&filter, opened, printer)?;
        let library = settings.library();
        let chosen = settings.get(Key::Prompt, command.with.prompt.as_deref());
        // The default of all commands has no place for what was said before.
        let answer = if chosen.source == Decided::Default { ANSWER } else { &chosen.value };
        let prompts = Prompts { answer: library.load(answer)?, rewrite: library.load(REWRITE)? };
        let loading = |model: &str| say_loading(model, printer);
        let Loaded { device, embedder, reranker, chosen, generator } =
            command.with.load(&opened, command.answer, settings, &loading)?;
        Ok(Self {
            printer,
            settings: Arc::new(settings.clone()),
            device,
            // Only now: while models are loaded, Ctrl-C ends the program.
            interrupt: Interrupt::at_rest(),
            json: command.json,
            k: command.with.k(),
            prompts: Arc::new(prompts),
            collection,
            filter,
            embedder: Arc::new(embedder),
            reranker: reranker.map(Arc::new),
            how: command.answer,
            chosen,
            generator: generator.map(Arc::new),
            conversation: Conversation::default(),
            last: Last::default(),
        })
    }

    /// Asks `asked`; an answer that fails or is stopped is no turn.
    ///
    /// # Errors
    /// `Io` when stdout is closed.
    pub fn turn(&mut self, asked: &str, literal: bool) -> Result<()> {
        // A paste may have lines.
        let asked = asked.split_whitespace().collect::<Vec<_>>().join(" ");
        let job = Job {
            asked: asked.clone(),
            literal,
            conversation: self.conversation.clone(),
            settings: Arc::clone(&self.settings),
            device: self.device.clone(),
            collection: self.collection.clone(),
            filter: self.filter.clone(),
            embedder: Arc::clone(&self.embedder),
            reranker: self.reranker.clone(),
            generator: self.generator.clone().filter(|_| self.how.needs(&self.chosen)),
            answering: self.how.into(),
            prompts: Arc::clone(&self.prompts),
            k: self.k,
        };
        let (printer, streams) = (self.printer, self.printer.streams() && !self.json);
        let (mut last, mut drafted) = (Last::default(), false);
        let outcome = work::run(
            &self.interrupt,
            move |teller| job.run(teller),
            |event| {
                match event {
                    Event::Asked(StandAlone { question, by: Some(_) }) => {
                        printer.aside(&format!("asked as: {question}"));
                    }
                    Event::Asked(_) => {}
                    Event::Read(sources) => last.sources = sources,
                    Event::Prompt(prompt) => last.prompt = Some(prompt),
                    Event::Text(text) if streams => {
                        drafted = true;
                        printer.draft(&text)?;
                    }
                    Event::Text(_) => {}
                }
                Ok(())
            },
        );
        if drafted {
            printer.end_draft();
        }
        match outcome? {
            None => self.failed(&asked, &Error::interrupted("stopped; this answer is not kept")),
            Some(Err(error)) => self.failed(&asked, &error),
            Some(Ok((turn, embedder))) => {
                (self.embedder, self.last) = (embedder, last);
                self.conversation.push(turn);
                self.show()
            }
        }
    }

    /// The last answer, shorter than `ask` has it: `/sources` shows what the citations quote.
    fn show(&self) -> Result<()> {
        let Some(turn) = self.conversation.turns().last() else { return Ok(()) };
        if self.json {
            return self.printer.json_line(turn);
        }
        let answer = &turn.answer;
        ask::excuse(answer, self.printer);
        ask::doubt(answer, self.printer);
        self.printer.prose(&tidy(&answer.answer), "")?;
        let places = answer.citations.iter().map(|citation| format!("  {}", ask::place(citation)));
        places.chain(ask::nearest(answer)).try_for_each(|line| self.printer.prose(&line, ask::BEHIND))?;
        self.printer.line("")
    }

    /// Replies to a courtesy: nothing is looked for, and what was talked about stays.
    ///
    /// # Errors
    /// `Io` when stdout is closed.
    pub fn polite(&self, asked: &str, reply: &str) -> Result<()> {
        if self.json {
            return self.printer.json_line(
                &json!({ "format": FORMAT, "asked": asked, "courtesy": true, "answered": false, "answer": reply }),
            );
        }
        self.printer.line(reply)?;
        self.printer.line("")
    }

    /// Says what went wrong with a question; with JSON, a line is its answer all the same.
    fn failed(&self, asked: &str, error: &Error) -> Result<()> {
        match error {
            Error::Interrupted(report) => self.printer.note(format!("({report})")),
            error => self.printer.error(error),
        }
        if !self.json {
            return Ok(());
        }
        let (text, hint) = (error.to_string(), error.advice());
        self.printer.json_line(&json!({ "format": FORMAT, "asked": asked, "error": text, "hint": hint }))
    }

    /// What a command answers.
    ///
    /// # Errors
    /// `Io` when stdout is closed.
    pub fn say(&self, text: &str) -> Result<()> {
        match self.json {
            true => {
                self.printer.note(text);
                Ok(())
            }
            false => self.printer.line(text),
        }
    }

    /// The citations of the last answer, quoted, and the passages it was made from.
    pub fn sources(&self) -> Result<()> {
        let Some(turn) = self.conversation.turns().last() else {
            return self.say("nothing has been answered yet");
        };
        let mut lines = ask::nearest(&turn.answer);
        for citation in &turn.answer.citations {
            lines.push(ask::place(citation));
            lines.extend(ask::quoted(&citation.quote));
        }
        if !self.last.sources.is_empty() {
            lines.push("\nmade from:".to_owned());
        }
        for Source { place, header, text } in &self.last.sources {
            lines.push(format!("{place}  {}", tidy(header)).trim_end().to_owned());
            lines.extend(ask::quoted(text));
        }
        if self.json {
            return self.say(&lines.join("\n"));
        }
        let indent = |line: &str| if line.starts_with(ask::QUOTED) { ask::QUOTED } else { ask::BEHIND };
        lines.iter().try_for_each(|line| self.printer.prose(line, indent(line)))
    }

    /// What the model read for the last answer.
    pub fn prompt(&self) -> Result<()> {
        let Some(ShownPrompt { text, dropped }) = &self.last.prompt else {
            return self.say("no model was asked for the last answer; `/answer generate` asks one");
        };
        self.say(&tidy(text))?;
        if let Some(dropped) = dropped {
            self.printer.note(format!("({dropped} did not fit the window whole)"));
        }
        Ok(())
    }

    pub fn forget(&mut self) {
        self.conversation.clear();
        self.last = Last::default();
        self.printer.note("forgotten");
    }

    /// # Errors
    /// As [`save::save`].
    pub fn save(&self, file: &Path, replace: bool) -> Result<()> {
        let turns = self.conversation.turns().len();
        let title = format!("A conversation over `{}`", self.collection);
        save::save(file, &self.conversation.to_markdown(&title), replace)?;
        let turns = if turns == 1 { "1 turn".to_owned() } else { format!("{turns} turns") };
        self.printer.note(format!("saved {turns} to {}", file.display()));
        Ok(())
    }

    pub fn collection(&self) -> &str {
        &self.collection
    }

    /// The model, and what it does.
    pub fn model(&self) -> String {
        let generator = self.generator.as_deref().filter(|_| self.how.needs(&self.chosen));
        let does = match (self.how, generator.is_some_and(is_fit)) {
            (How::Extractive, _) => "not asked: answers are quoted",
            (How::Auto, false) => "too small to be asked: answers are quoted",
            (_, true) => "writes answers, and rewrites questions that lean on others",
            (How::Generate, false) => "writes answers",
        };
        format!("{} ({does})", self.chosen.name())
    }

    /// The name of the way answers come about.
    pub fn answering(&self) -> String {
        format!("{:?}", self.how).to_lowercase()
    }

    /// What is over the model, or nothing.
    pub fn adapter(&self) -> &str {
        self.chosen.adapter.as_ref().map_or(registry::NONE, |adapter| &adapter.name)
    }

    /// The model as it is.
    ///
    /// # Errors
    /// As [`load::generator`]; then the model is the one it was.
    pub fn switch_model(&mut self, name: &str) -> Result<()> {
        self.generate_with(Chosen::bare(name), self.how)
    }

    /// # Errors
    /// As [`load::generator`], and `NotFound` for an adapter that is not there; then the model is the one it was.
    pub fn switch_adapter(&mut self, name: &str) -> Result<()> {
        let model = self.chosen.model.clone();
        let adapter = match name {
            registry::NONE | "base" => None,
            name => Some(Adapted::find(name, &self.settings)?),
        };
        self.generate_with(Chosen { model, adapter }, self.how)
    }

    /// # Errors
    /// As [`load::generator`], when the answer needs a model; then it comes about as it did.
    pub fn switch_answering(&mut self, how: How) -> Result<()> {
        self.generate_with(self.chosen.clone(), how)
    }

    fn generate_with(&mut self, chosen: Chosen, how: How) -> Result<()> {
        let there = chosen == self.chosen && self.generator.is_some();
        if how.needs(&chosen) && !there {
            let (wanted, device) = (chosen.clone(), self.device.clone());
            let settings = Arc::clone(&self.settings);
            say_loading(&chosen.model, self.printer);
            self.generator = Some(Arc::new(self.load(move || load::generator(&wanted, &device, &settings))?));
        } else if !there {
            self.generator = None;
        }
        (self.chosen, self.how) = (chosen, how);
        self.printer.note(format!("answers: {}; model: {}", self.answering(), self.model()));
        Ok(())
    }

    /// # Errors
    /// `NotFound` when there is none; as [`narrow::only`] and [`load::collection_embedder`]. Then the collection is the one it was.
    pub fn switch_collection(&mut self, name: &str) -> Result<()> {
        let opened = self.settings.home.open(name)?;
        let opened = narrow::only(&self.filter, opened, self.printer)?;
        let (embedder, settings) = (Arc::clone(&self.embedder), Arc::clone(&self.settings));
        let device = self.device.clone();
        self.embedder = self.load(move || matching(&opened, embedder, &device, &settings))?;
        self.collection = name.to_owned();
        // What was said was said of other documents.
        self.conversation.clear();
        self.last = Last::default();
        self.printer.note(format!("asking `{name}`, from the beginning"));
        Ok(())
    }

    /// Loads a model, unless Ctrl-C says that it is not worth the wait.
    fn load<T: Send + 'static>(&self, load: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
        let loaded = work::run::<(), _>(&self.interrupt, move |_| load(), |()| Ok(()))?;
        loaded.unwrap_or_else(|| Err(Error::interrupted("stopped; nothing was changed")))
    }
}

/// A large model takes its time; one that is served has nothing to load.
fn say_loading(model: &str, printer: &Printer) {
    if !load::is_served(model) {
        printer.note(format!("loading {model} ..."));
    }
}
