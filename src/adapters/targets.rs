//! Which modules a method acts on, chosen as PEFT chooses them.

use regex::Regex;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::nn::{Module, Network};

/// A choice of modules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Targets {
    /// Each module whose path is one of these, or ends in `.` and one of these.
    Names(Vec<String>),
    /// `all-linear` for every linear of the blocks, else a regular expression for whole paths.
    Pattern(String),
}

/// Every linear but the output head.
pub const ALL_LINEAR: &str = "all-linear";

impl Targets {
    pub fn all() -> Self {
        Self::Pattern(ALL_LINEAR.to_owned())
    }

    pub fn names<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        Self::Names(names.into_iter().map(Into::into).collect())
    }

    /// From what a person types: names with commas between them, `all-linear`, or a regular expression.
    pub fn parse(text: &str) -> Self {
        let is_name = |part: &str| {
            !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.' | '-'))
        };
        match text.split(',').map(str::trim).collect::<Vec<_>>() {
            _ if text.trim() == ALL_LINEAR => Self::all(),
            names if names.iter().all(|name| is_name(name)) => Self::names(names),
            _ => Self::Pattern(text.to_owned()),
        }
    }

    /// Whether this module is meant.
    ///
    /// # Errors
    /// `Invalid` for a pattern that is none.
    pub fn means(&self, path: &str, trunk: &str) -> Result<bool> {
        // The bare trunk's paths lack the prefix.
        let paths = [Some(path), path.strip_prefix(trunk)];
        let mut paths = paths.into_iter().flatten();
        Ok(match self {
            Self::Pattern(pattern) if pattern == ALL_LINEAR => true,
            Self::Pattern(pattern) => {
                let regex = whole(pattern)?;
                paths.any(|path| regex.is_match(path))
            }
            Self::Names(names) => paths.any(|path| names.iter().any(|name| ends_in(path, name))),
        })
    }

    /// Leaves out the names that are no module's, if any is.
    #[must_use]
    pub fn known_to(self, network: &dyn Network) -> Self {
        match self {
            Self::Names(names) => {
                let all = network.modules();
                let known = |name: &String| all.iter().any(|module| ends_in(&module.path, name));
                let kept: Vec<String> = names.iter().filter(|name| known(name)).cloned().collect();
                Self::Names(if kept.is_empty() { names } else { kept })
            }
            pattern => pattern,
        }
    }

    /// The modules of `network` that are meant, those of `layers` only where that says something.
    ///
    /// # Errors
    /// `Invalid` for a pattern that is none or matches nothing, and for a name that is no module's.
    pub fn modules(&self, network: &dyn Network, layers: Option<&[usize]>) -> Result<Vec<Module>> {
        let all = network.modules();
        if let Self::Names(names) = self
            && let Some(name) =
                names.iter().find(|name| !all.iter().any(|module| ends_in(&module.path, name)))
        {
            return Err(nothing(name, &all));
        }
        let count = network.shape().layers;
        if let Some(layer) = layers.unwrap_or_default().iter().find(|layer| **layer >= count) {
            return Err(Error::invalid(format!(
                "among the layers to act in is {layer}, and there is no such layer"
            ))
            .hint(format!("the model has {count}, counted from 0")));
        }
        let mut chosen = Vec::new();
        for module in &all {
            let in_layers = layers.is_none_or(|layers| layers.contains(&module.layer));
            if in_layers && self.means(&module.path, network.trunk())? {
                chosen.push(module.clone());
            }
        }
        if chosen.is_empty() {
            let what = match (self, layers) {
                (_, Some(layers)) => format!("layers {layers:?}"),
                (Self::Pattern(pattern), _) => pattern.clone(),
                (Self::Names(names), _) => names.join(","),
            };
            return Err(nothing(&what, &all));
        }
        Ok(chosen)
    }
}

impl Targets {
    /// The same without those that `exclude` means.
    ///
    /// # Errors
    /// As [`Self::modules`], and when nothing is left.
    pub fn modules_but(
        &self,
        exclude: Option<&Self>,
        network: &dyn Network,
        layers: Option<&[usize]>,
    ) -> Result<Vec<Module>> {
        let mut chosen = self.modules(network, layers)?;
        if let Some(exclude) = exclude {
            let mut kept = Vec::new();
            for module in chosen {
                if !exclude.means(&module.path, network.trunk())? {
                    kept.push(module);
                }
            }
            if kept.is_empty() {
                return Err(Error::invalid("every target is excluded").hint("exclude fewer modules"));
            }
            chosen = kept;
        }
        Ok(chosen)
    }
}

/// What the modules are called within their layers, each name once.
pub fn short_names(modules: &[Module]) -> Vec<String> {
    let short = |module: &Module| {
        let layer = format!(".{}.", module.layer);
        module.path.split_once(&layer).map_or(module.path.as_str(), |(_, name)| name).to_owned()
    };
    let names: std::collections::BTreeSet<String> = modules.iter().map(short).collect();
    names.into_iter().collect()
}

/// Whether `path` is `name` or ends in `.` and it.
pub fn ends_in(path: &str, name: &str) -> bool {
    path.strip_suffix(name).is_some_and(|before| before.is_empty() || before.ends_with('.'))
}

fn whole(pattern: &str) -> Result<Regex> {
    Regex::new(&format!("^(?:{pattern})$")).map_err(|error| {
        Error::invalid(format!("the target pattern `{pattern}` is no regular expression: {error}"))
            .hint("names of linears with commas between them need no pattern")
    })
}

/// What a pattern of `rank_pattern` or `alpha_pattern` says of `path`: it has to match up to the path's end, from its beginning
/// or from behind a dot.
///
/// # Errors
/// `Invalid` when it is no regular expression.
pub fn says(pattern: &str, path: &str) -> Result<bool> {
    Ok(whole(&format!(r"(?:.*\.)?(?:{pattern})"))?.is_match(path))
}

fn nothing(what: &str, all: &[Module]) -> Error {
    Error::invalid(format!("the target `{what}` matches no linear of this model"))
        .hint(format!("its linears are {}; or `{ALL_LINEAR}`", short_names(all).join(", ")))
}
