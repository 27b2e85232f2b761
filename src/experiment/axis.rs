//! What an experiment varies, as its file writes it: the axes and the values that stand on them.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::generate::labels::{Calibration, Scoring};
use crate::retrieve::demos::Select;
use crate::retrieve::rank::Mode;

/// What is varied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Axes {
    pub prompt: Vec<Prompt>,
    #[serde(default = "one_default")]
    pub demos: Vec<Demos>,
    #[serde(default = "one_default")]
    pub retrieval: Vec<Mode>,
    /// Passages to read; the usual number for the model where it is 0.
    #[serde(default = "one_default")]
    pub k: Vec<usize>,
    #[serde(default = "one_default")]
    pub answer: Vec<Answer>,
    #[serde(default = "one_default")]
    pub scoring: Vec<Decide>,
    #[serde(default = "one_default")]
    pub calibration: Vec<Calibration>,
    /// As `--model` has it; the folder's own where it is empty.
    #[serde(default = "one_default")]
    pub model: Vec<String>,
    /// A registered adapter, or `none`.
    #[serde(default = "no_adapter")]
    pub adapter: Vec<String>,
    /// Of what is drawn: demonstrations, and answers where the temperature is not 0.
    #[serde(default = "one_default")]
    pub seed: Vec<u64>,
    /// Combinations to make, and no others: those that have all values of one of these. All, where there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<BTreeMap<String, String>>,
    /// Combinations to leave out: those that have all of these values.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<BTreeMap<String, String>>,
}

impl Default for Axes {
    /// One of each but the prompt.
    fn default() -> Self {
        Self {
            prompt: Vec::new(),
            demos: one_default(),
            retrieval: one_default(),
            k: one_default(),
            answer: one_default(),
            scoring: one_default(),
            calibration: one_default(),
            model: one_default(),
            adapter: no_adapter(),
            seed: one_default(),
            only: Vec::new(),
            exclude: Vec::new(),
        }
    }
}

fn one_default<T: Default>() -> Vec<T> {
    vec![T::default()]
}

fn no_adapter() -> Vec<String> {
    vec![NO_ADAPTER.to_owned()]
}

/// What the adapter axis calls the base model.
pub const NO_ADAPTER: &str = "none";

/// A template, with other texts in some of its slots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "PromptForm")]
pub struct Prompt {
    pub template: String,
    /// How the table calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub vars: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum PromptForm {
    Template(String),
    Filled(PromptTable),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PromptTable {
    template: String,
    name: Option<String>,
    #[serde(default)]
    vars: BTreeMap<String, String>,
}

impl From<PromptForm> for Prompt {
    fn from(form: PromptForm) -> Self {
        match form {
            PromptForm::Template(template) => Self { template, name: None, vars: BTreeMap::new() },
            PromptForm::Filled(PromptTable { template, name, vars }) => Self { template, name, vars },
        }
    }
}

/// Characters of a slot's text that a table shows.
const SHOWN_OF_SLOT: usize = 40;

impl Prompt {
    /// How a table calls it: by its own name, or its template's with what its slots say.
    pub fn label(&self) -> String {
        if let Some(name) = &self.name {
            return name.clone();
        }
        let slot = |(slot, text): (&String, &String)| {
            let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let shown: String = line.chars().take(SHOWN_OF_SLOT).collect();
            let more = if shown.len() < line.len() { "…" } else { "" };
            format!("{slot}: {shown}{more}")
        };
        let slots: Vec<String> = self.vars.iter().map(slot).collect();
        match slots.is_empty() {
            true => self.template.clone(),
            false => format!("{} ({})", self.template, slots.join("; ")),
        }
    }
}

/// How demonstrations are chosen, and how many: `knn 8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Demos {
    pub select: Select,
    pub k: usize,
}

/// Demonstrations, unless a number is given.
const USUAL_DEMOS: usize = 4;

impl Default for Demos {
    fn default() -> Self {
        Self { select: Select::None, k: 0 }
    }
}

impl FromStr for Demos {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let mut words = text.split_whitespace();
        let select: Select = words.next().unwrap_or_default().parse()?;
        let k = match (words.next(), words.next()) {
            (None, _) => USUAL_DEMOS,
            (Some(k), None) => k.parse().map_err(|_| wrong_demos(text))?,
            _ => return Err(wrong_demos(text)),
        };
        Ok(Self { select, k: if select == Select::None { 0 } else { k } })
    }
}

impl TryFrom<String> for Demos {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map_err(|error: Error| error.in_one_line())
    }
}

fn wrong_demos(text: &str) -> Error {
    Error::invalid(format!("`{text}` chooses no demonstrations")).hint("for example `knn 8`, or `none`")
}

impl From<Demos> for String {
    fn from(demos: Demos) -> Self {
        match demos.select {
            Select::None => Select::None.name().to_owned(),
            select => format!("{} {}", select.name(), demos.k),
        }
    }
}

/// How an answer to a question over a collection comes about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// The documents' own sentences.
    #[default]
    Extractive,
    /// Written by the model, and accepted when it is grounded.
    Generate,
}

impl Answer {
    pub fn name(self) -> &'static str {
        match self {
            Self::Extractive => "extractive",
            Self::Generate => "generate",
        }
    }
}

/// How a label is decided on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decide {
    #[default]
    Acc,
    AccNorm,
    AccBytes,
    AccPmi,
    /// The model writes, and the label that it names first counts: what endpoints are asked for.
    Generate,
}

impl Decide {
    pub fn name(self) -> &'static str {
        self.scoring().map_or("generate", Scoring::name)
    }

    /// How labels are scored, if they are.
    pub fn scoring(self) -> Option<Scoring> {
        match self {
            Self::Acc => Some(Scoring::Acc),
            Self::AccNorm => Some(Scoring::AccNorm),
            Self::AccBytes => Some(Scoring::AccBytes),
            Self::AccPmi => Some(Scoring::AccPmi),
            Self::Generate => None,
        }
    }
}
