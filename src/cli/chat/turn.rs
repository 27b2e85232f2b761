//! One turn, on a thread of its own: a follow-up becomes a question, the question an answer.
//!
//! Everything it needs is shared or its own, so that it can be left behind. The collection is opened anew: what an ingest
//! did meanwhile is seen, and nobody waits for a person who thinks.

use std::sync::Arc;

use candle_core::Device;

use super::work::Teller;
use crate::cli::settings::Settings;
use crate::cli::{load, place};
use crate::embed::Embedder;
use crate::engine::Places;
use crate::engine::ask::{Answering, Ask, Generation, Progress};
use crate::engine::chat::{Conversation, Rewriter, StandAlone, Turn};
use crate::error::{Error, Result};
use crate::generate::Generator;
use crate::index::{Collection, Filter};
use crate::prompt::Template;
use crate::prompt::budget::Dropped;
use crate::retrieve::Hit;
use crate::retrieve::rerank::CrossEncoder;

/// What is needed for an answer.
pub struct Job {
    pub asked: String,
    /// To be asked as it is typed.
    pub literal: bool,
    pub conversation: Conversation,
    pub settings: Arc<Settings>,
    pub device: Device,
    /// The collection's folder.
    pub collection: String,
    /// What of it is to be looked in.
    pub filter: Filter,
    pub embedder: Arc<Embedder>,
    pub reranker: Option<Arc<CrossEncoder>>,
    /// Only when something may be generated.
    pub generator: Option<Arc<Generator>>,
    pub answering: Answering,
    pub prompts: Arc<Prompts>,
    pub k: Option<usize>,
}

/// The templates of a conversation.
pub struct Prompts {
    pub answer: Template,
    pub rewrite: Template,
}

/// What happens on the way to an answer.
pub enum Event {
    /// What will be looked for.
    Asked(StandAlone),
    Read(Vec<Source>),
    Prompt(ShownPrompt),
    /// Text as the model writes it; not yet checked.
    Text(String),
}

/// A passage an answer was made from.
#[derive(Debug, Clone)]
pub struct Source {
    /// `path:first-last`.
    pub place: String,
    pub header: String,
    pub text: String,
}

/// What a model read.
#[derive(Debug, Clone)]
pub struct ShownPrompt {
    pub text: String,
    /// What did not fit, in words.
    pub dropped: Option<String>,
}

impl Job {
    /// The turn, and the embedder it was made with: another than before when the collection was built anew meanwhile.
    pub fn run(self, teller: &Teller<Event>) -> Result<(Turn, Arc<Embedder>)> {
        let collection = self.settings.home.open(&self.collection)?.only(self.filter);
        let embedder = matching(&collection, self.embedder, &self.device, &self.settings)?;
        let stand_alone = match self.literal {
            true => StandAlone::literal(&self.asked),
            false => {
                let rewriter = self.generator.as_deref();
                let rewriter =
                    rewriter.map(|generator| Rewriter { generator, template: &self.prompts.rewrite });
                self.conversation.stand_alone(&self.asked, rewriter, &mut || teller.go_on())?
            }
        };
        if teller.tell(Event::Asked(stand_alone.clone())).is_break() {
            return Err(Error::interrupted("stopped"));
        }
        let history = self.conversation.history();
        let places = &self.settings.places;
        let ask = Ask {
            collection: &collection,
            embedder: &embedder,
            reranker: self.reranker.as_deref(),
            generation: self.generator.as_deref().map(|generator| Generation {
                history: &history,
                ..Generation::new(generator, &self.prompts.answer)
            }),
            answering: self.answering,
            k: self.k,
            places,
        };
        let answer = ask.run(&stand_alone.question, &mut |progress| {
            teller.tell(match progress {
                Progress::Read(hits) => Event::Read(hits.iter().map(|hit| source(hit, places)).collect()),
                Progress::Prompt { text, dropped } => {
                    let dropped = Dropped::in_words(dropped);
                    Event::Prompt(ShownPrompt { text: text.to_owned(), dropped })
                }
                Progress::Text(text) => Event::Text(text.to_owned()),
            })
        })?;
        Ok((Turn { asked: self.asked, rewritten: stand_alone.by, answer }, embedder))
    }
}

/// `embedder` when the collection was built with it, else the one that it was built with.
pub fn matching(
    collection: &Collection,
    embedder: Arc<Embedder>,
    device: &Device,
    settings: &Settings,
) -> Result<Arc<Embedder>> {
    match collection.profile().embedder.fingerprint == embedder.fingerprint() {
        true => Ok(embedder),
        false => load::collection_embedder(collection, None, device, settings).map(Arc::new),
    }
}

fn source(hit: &Hit, places: &Places) -> Source {
    let passage = &hit.passage;
    Source {
        place: place(&places.shown(&passage.path), passage.chunk.page(0), passage.chunk.lines),
        header: passage.chunk.header.clone(),
        text: passage.chunk.text.clone(),
    }
}
