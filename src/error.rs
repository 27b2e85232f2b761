//! The one error type. A variant says what the caller can do about it; the [`Report`] inside says what happened,
//! to what, and, where we know it, what to do next (printed as `hint: ...`).
//!
//! The library returns these; only `cli/` prints them and turns them into exit codes.

use std::fmt;
use std::path::Path;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What happened, to what, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    pub what: String,
    pub hint: Option<String>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The named thing is not there: create it, fetch it, or correct the name.
    #[error("{0}")]
    NotFound(Report),
    /// Two things that must belong together do not (an index and its embedder, an adapter and its base).
    #[error("{0}")]
    Mismatch(Report),
    /// Text longer than the window it has to fit: shorten it.
    #[error("{0}")]
    TooLong(Report),
    /// May work when tried again (a network, a busy endpoint).
    #[error("{0}")]
    Transient(Report),
    /// Somebody else is using it: wait, or stop them.
    #[error("{0}")]
    Busy(Report),
    /// The input is wrong and will stay wrong: correct it.
    #[error("{0}")]
    Invalid(Report),
    /// A file we read is damaged: fetch or build it again.
    #[error("{0}")]
    Corrupt(Report),
    /// The person stopped it.
    #[error("{0}")]
    Interrupted(Report),
    /// The operating system refused; `source` is its own word.
    #[error("{report}: {source}")]
    Io { report: Report, source: std::io::Error },
    /// A tensor operation failed: a wrong shape or dtype, hence a fault of ours or of the model's files.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
}

macro_rules! constructors {
    ($($name:ident => $variant:ident),* $(,)?) => { $(
        #[doc = concat!("An [`Error::", stringify!($variant), "`] saying what happened, to what.")]
        pub fn $name(what: impl Into<String>) -> Self {
            Self::$variant(Report { what: what.into(), hint: None })
        }
    )* };
}

impl Error {
    constructors! {
        not_found => NotFound, mismatch => Mismatch, too_long => TooLong, transient => Transient, busy => Busy,
        invalid => Invalid, corrupt => Corrupt, interrupted => Interrupted,
    }

    /// An I/O failure while doing `what` (a phrase such as ``cannot read `a.md` ``).
    pub fn io(what: impl Into<String>, source: std::io::Error) -> Self {
        Self::Io { report: Report { what: what.into(), hint: None }, source }
    }

    /// The same error with advice on what to do next; replaces any earlier advice.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Some(report) = self.report_mut() {
            report.hint = Some(hint.into());
        }
        self
    }

    /// The advice that goes with this error, if any.
    pub fn advice(&self) -> Option<&str> {
        self.report().and_then(|report| report.hint.as_deref())
    }

    /// What happened and what to do next in one line, for a parser of files that keeps no more than a text.
    pub fn in_one_line(&self) -> String {
        self.advice().map_or(self.to_string(), |advice| format!("{self}; {advice}"))
    }

    /// The same error, its text prefixed by where it happened: `guide.md: line 3: ...`.
    #[must_use]
    pub fn within(mut self, place: impl fmt::Display) -> Self {
        if let Self::Tensor(source) = self {
            return Self::invalid(format!("{place}: {source}"));
        }
        if let Some(report) = self.report_mut() {
            report.what = format!("{place}: {}", report.what);
        }
        self
    }

    fn report(&self) -> Option<&Report> {
        match self {
            Self::NotFound(r) | Self::Mismatch(r) | Self::TooLong(r) | Self::Transient(r) | Self::Busy(r) => {
                Some(r)
            }
            Self::Invalid(r) | Self::Corrupt(r) | Self::Interrupted(r) | Self::Io { report: r, .. } => {
                Some(r)
            }
            Self::Tensor(_) => None,
        }
    }

    fn report_mut(&mut self) -> Option<&mut Report> {
        match self {
            Self::NotFound(r) | Self::Mismatch(r) | Self::TooLong(r) | Self::Transient(r) | Self::Busy(r) => {
                Some(r)
            }
            Self::Invalid(r) | Self::Corrupt(r) | Self::Interrupted(r) | Self::Io { report: r, .. } => {
                Some(r)
            }
            Self::Tensor(_) => None,
        }
    }
}

/// `fs::read(path).at("read", path)?` names the verb and the file in the error.
pub trait IoContext<T> {
    fn at(self, verb: &str, path: impl AsRef<Path>) -> Result<T>;
}

impl<T> IoContext<T> for std::io::Result<T> {
    fn at(self, verb: &str, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|source| Error::io(format!("cannot {verb} `{}`", path.as_ref().display()), source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_names_the_thing_and_keeps_its_advice_apart() {
        let error = Error::not_found("collection `notes`").hint("incontext ingest notes/ -c notes");
        assert_eq!(error.to_string(), "collection `notes`");
        assert_eq!(error.advice(), Some("incontext ingest notes/ -c notes"));
        assert_eq!(error.in_one_line(), "collection `notes`; incontext ingest notes/ -c notes");
        assert_eq!(error.within("a.md").to_string(), "a.md: collection `notes`");
    }

    #[test]
    fn io_errors_name_verb_and_file() {
        let error = std::fs::read("/nowhere/a").at("read", "/nowhere/a").unwrap_err();
        assert!(error.to_string().starts_with("cannot read `/nowhere/a`: "), "{error}");
    }
}
