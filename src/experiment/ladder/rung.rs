//! The ways of adapting a model that are compared, by their names.
//!
//! ```text
//! zero-shot  few-shot  knn              a prompt: without demonstrations, with some drawn by chance, with near ones
//! features  forest  boosting            a classical classifier over the encoder's hidden states
//! lora  ia3  prefix  ...                a method of `incontext tune` on the generator, which goes on writing
//! head  encoder lora  encoder top-2     a method on the encoder, which gets a head for the classes
//! sft  dpo  ppo  grpo                   a way of `incontext rlhf`, where the task has preferences
//! ```

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::retrieve::demos::Select;

/// A way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Rung {
    Prompted(Select),
    Trained { method: Method, on: On },
}

/// Which model is adapted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    Generator,
    Encoder,
}

/// A command of `incontext tune`, as rungs call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Method {
    /// Fitted on features: the rung's name, and the classifier's.
    Classical(&'static str, &'static str),
    /// The output layers.
    Head,
    /// All layers, or so many of the highest.
    Full(Option<usize>),
    /// Something beside the weights, by its command.
    Beside(&'static str),
    /// From answers that somebody compared, by its command.
    Judged(&'static str),
}

/// Prompts, by how they choose demonstrations.
const PROMPTED: [(&str, Select); 3] =
    [("zero-shot", Select::None), ("few-shot", Select::Random), ("knn", Select::Knn)];

const CLASSICAL: [(&str, &str); 3] =
    [("features", "logistic-regression"), ("forest", "random-forest"), ("boosting", "gradient-boosting")];

/// The methods beside the weights, from few parameters to many.
const BESIDE: [&str; 10] = [
    "bitfit",
    "ia3",
    "soft-prompt",
    "p-tuning",
    "prefix",
    "llama-adapter",
    "pfeiffer",
    "parallel",
    "houlsby",
    "lora",
];

/// The ways of learning from judgements.
const JUDGED: [&str; 4] = ["sft", "dpo", "ppo", "grpo"];

const ENCODER: &str = "encoder ";
const DECODER: &str = "decoder ";
const TOP: &str = "top-";

/// What `options` may name: methods, as their rungs do.
pub fn method_names() -> impl Iterator<Item = &'static str> {
    CLASSICAL
        .into_iter()
        .map(|(name, _)| name)
        .chain(["head", "full", "top"])
        .chain(BESIDE)
        .chain(JUDGED)
        .chain(["reward"])
}

/// All that is worth a look, cheap before expensive.
pub fn usual(classes: bool, preferences: bool) -> Vec<Rung> {
    let names: &[&str] = match classes {
        false if preferences => &["zero-shot", "few-shot", "sft", "dpo", "ppo"],
        true => &[
            "zero-shot",
            "few-shot",
            "knn",
            "features",
            "forest",
            "boosting",
            "head",
            "encoder ia3",
            "encoder prefix",
            "encoder houlsby",
            "encoder lora",
            "encoder full",
            "ia3",
            "lora",
            "full",
        ],
        false => &["zero-shot", "few-shot", "knn", "soft-prompt", "ia3", "houlsby", "lora", "full"],
    };
    names.iter().filter_map(|name| name.parse().ok()).collect()
}

impl Rung {
    pub fn is_trained(&self) -> bool {
        matches!(self, Self::Trained { .. })
    }

    /// Whether it tells classes apart and writes nothing.
    pub fn is_classifier(&self) -> bool {
        match self {
            Self::Prompted(_) => false,
            Self::Trained { method, on } => {
                *on == On::Encoder || matches!(method, Method::Classical(..) | Method::Head)
            }
        }
    }

    /// Whether it learns from preferences.
    pub fn is_judged(&self) -> bool {
        matches!(self, Self::Trained { method: Method::Judged(_), .. })
    }

    /// The command that trains it, behind `incontext`, and its method as `options` name it.
    pub fn command(&self) -> Option<(Vec<String>, &'static str)> {
        let Self::Trained { method, .. } = self else { return None };
        let words = |words: &[&str]| {
            let group = if self.is_judged() { "rlhf" } else { "tune" };
            [group].iter().chain(words).map(|word| (*word).to_owned()).collect()
        };
        Some(match method {
            Method::Classical(name, classifier) => (words(&["features", "--classifier", classifier]), name),
            Method::Head => (words(&["head"]), "head"),
            Method::Full(None) => (words(&["full"]), "full"),
            Method::Full(Some(layers)) => (words(&["full", "--top-layers", &layers.to_string()]), "top"),
            Method::Beside(name) | Method::Judged(name) => (words(&[name]), name),
        })
    }
}

impl FromStr for Rung {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if let Some((_, select)) = PROMPTED.into_iter().find(|(name, _)| *name == text) {
            return Ok(Self::Prompted(select));
        }
        let (said, name) = match (text.strip_prefix(ENCODER), text.strip_prefix(DECODER)) {
            (Some(name), _) => (Some(On::Encoder), name),
            (_, Some(name)) => (Some(On::Generator), name),
            _ => (None, text),
        };
        let layers = name.strip_prefix(TOP).and_then(|layers| layers.parse().ok());
        let classical = CLASSICAL.into_iter().find(|(known, _)| *known == name);
        let (method, usual) = match (name, classical, layers) {
            (_, Some((name, classifier)), _) => (Method::Classical(name, classifier), On::Encoder),
            (_, _, Some(layers)) => (Method::Full(Some(layers)), On::Encoder),
            ("head", ..) => (Method::Head, On::Encoder),
            ("full", ..) => (Method::Full(None), On::Generator),
            _ if let Some(name) = JUDGED.into_iter().find(|known| *known == name) => {
                (Method::Judged(name), On::Generator)
            }
            _ => match BESIDE.into_iter().find(|known| *known == name) {
                Some(name) => (Method::Beside(name), On::Generator),
                None => {
                    return Err(Error::invalid(format!("`{text}` is no rung")).hint(format!(
                        "there are: zero-shot, few-shot, knn; features, forest, boosting, head; full, top-2 and {}, with `{ENCODER}` before a method for the encoder; {} where there are preferences",
                        BESIDE.join(", "),
                        JUDGED.join(", ")
                    )));
                }
            },
        };
        Ok(Self::Trained { method, on: said.unwrap_or(usual) })
    }
}

impl fmt::Display for Rung {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let (method, on) = match self {
            Self::Prompted(select) => {
                let named = PROMPTED.into_iter().find(|(_, known)| known == select);
                return f.write_str(named.map_or(select.name(), |(name, _)| name));
            }
            Self::Trained { method, on } => (method, *on),
        };
        let (name, usual) = match method {
            Method::Classical(name, _) => ((*name).to_owned(), On::Encoder),
            Method::Head => ("head".to_owned(), On::Encoder),
            Method::Full(None) => ("full".to_owned(), On::Generator),
            Method::Full(Some(layers)) => (format!("{TOP}{layers}"), On::Encoder),
            Method::Beside(name) | Method::Judged(name) => ((*name).to_owned(), On::Generator),
        };
        match (on == usual, on) {
            (true, _) => f.write_str(&name),
            (false, On::Encoder) => write!(f, "{ENCODER}{name}"),
            (false, On::Generator) => write!(f, "{DECODER}{name}"),
        }
    }
}

impl TryFrom<String> for Rung {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse().map_err(|error: Error| error.in_one_line())
    }
}

impl From<Rung> for String {
    fn from(rung: Rung) -> Self {
        rung.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_means_a_rung_that_is_called_so() {
        for name in [
            "zero-shot",
            "few-shot",
            "knn",
            "features",
            "forest",
            "boosting",
            "head",
            "full",
            "encoder full",
            "top-3",
            "decoder top-3",
            "decoder features",
            "decoder head",
            "lora",
            "encoder lora",
            "p-tuning",
            "sft",
            "dpo",
        ] {
            assert_eq!(name.parse::<Rung>().unwrap().to_string(), name);
        }
        assert_eq!("encoder head".parse::<Rung>().unwrap().to_string(), "head");
        for wrong in ["", "encoder", "encoder zero-shot", "top-", "LoRA", "lora "] {
            assert!(wrong.parse::<Rung>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_usual_can_be_parsed_and_goes_with_the_task() {
        assert_eq!(usual(true, false).len(), 15);
        assert!(usual(false, false).len() == 8 && !usual(false, false).iter().any(Rung::is_classifier));
        assert_eq!(usual(false, true).iter().filter(|rung| rung.is_judged()).count(), 3);
    }

    #[test]
    fn a_rung_knows_the_command_that_trains_it() {
        let command = |name: &str| name.parse::<Rung>().unwrap().command();
        assert_eq!(command("knn"), None);
        assert_eq!(command("forest").unwrap().0, ["tune", "features", "--classifier", "random-forest"]);
        assert_eq!(
            command("encoder top-2").unwrap(),
            (vec!["tune".into(), "full".into(), "--top-layers".into(), "2".into()], "top")
        );
        assert_eq!(command("encoder lora").unwrap().1, "lora");
        assert_eq!(command("dpo").unwrap(), (vec!["rlhf".into(), "dpo".into()], "dpo"));
    }
}
