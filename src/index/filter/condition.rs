//! A condition as it is typed: `year>=2020`, `path=notes/*`, `tags=rust`.
//!
//! Only its grammar: whether there is such a field, and what may be compared with it, the documents say.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// How a field is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    Is,
    IsNot,
    Less,
    AtMost,
    More,
    AtLeast,
    /// The letters occur in it.
    Contains,
}

impl Operator {
    /// Longer ones first: `<=` begins with `<`.
    const WRITTEN: [(&'static str, Self); 8] = [
        ("!=", Self::IsNot),
        ("<=", Self::AtMost),
        (">=", Self::AtLeast),
        ("==", Self::Is),
        ("=", Self::Is),
        ("<", Self::Less),
        (">", Self::More),
        ("~", Self::Contains),
    ];

    fn written(self) -> &'static str {
        match self {
            Self::Is => "=",
            Self::IsNot => "!=",
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::More => ">",
            Self::AtLeast => ">=",
            Self::Contains => "~",
        }
    }
}

/// One field held against one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub field: String,
    pub operator: Operator,
    /// As typed, without quotes around it.
    pub value: String,
}

impl FromStr for Condition {
    type Err = Error;

    /// # Errors
    /// [`Error::Invalid`] for what is no field, operator and value.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = |why: &str| {
            Error::invalid(format!(
                "{why}; a condition is a field, one of = != < <= > >= ~ and a value: year>=2020"
            ))
        };
        let at = text.find(['=', '!', '<', '>', '~']).ok_or_else(|| wrong("it compares nothing"))?;
        let (field, rest) = text.split_at(at);
        let known = Operator::WRITTEN
            .iter()
            .find_map(|(sign, operator)| rest.strip_prefix(sign).map(|value| (*operator, value.trim())));
        let (operator, value) = known.ok_or_else(|| wrong("`!` alone compares nothing"))?;
        let field = field.trim();
        if field.is_empty() {
            return Err(wrong("it names no field"));
        }
        let inside = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
        let value = inside('"').or_else(|| inside('\'')).unwrap_or(value);
        if value.is_empty() {
            return Err(wrong("it names no value"));
        }
        Ok(Self { field: field.to_owned(), operator, value: value.to_owned() })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{}", self.field, self.operator.written(), self.value)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parsed(text: &str) -> (String, Operator, String) {
        let Condition { field, operator, value } = text.parse().unwrap();
        (field, operator, value)
    }

    #[test]
    fn a_condition_is_field_operator_and_value() {
        use Operator::*;
        for (text, field, operator, value) in [
            ("path=notes/*", "path", Is, "notes/*"),
            ("year >= 2020", "year", AtLeast, "2020"),
            ("date<2024-06-01", "date", Less, "2024-06-01"),
            ("author == 'Lang = Co'", "author", Is, "Lang = Co"),
            ("tags!=rust", "tags", IsNot, "rust"),
            ("title~tea <now>", "title", Contains, "tea <now>"),
            ("x=\"", "x", Is, "\""),
        ] {
            assert_eq!(parsed(text), (field.to_owned(), operator, value.to_owned()), "{text}");
        }
    }

    #[test]
    fn what_is_none_is_told_what_one_looks_like() {
        for text in ["", "year", "=2020", "year=", "year!2020", "year= ''"] {
            let error = text.parse::<Condition>().unwrap_err().to_string();
            assert!(error.ends_with("a value: year>=2020"), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_as_the_same(text in r#"[a-z ]{0,4}[=!<>~]{1,3}[a-z0-9"'=<> ]{0,8}"#) {
            if let Ok(condition) = text.parse::<Condition>() {
                // Quotes are taken off once: quotes within quotes would lose another pair.
                let bare = |quote| !(condition.value.len() > 1 && condition.value.starts_with(quote));
                if bare('"') && bare('\'') && condition.value.trim() == condition.value
                    && !condition.value.starts_with('=') {
                    prop_assert_eq!(condition.to_string().parse::<Condition>().unwrap(), condition);
                }
            }
        }

        #[test]
        fn anything_may_be_typed(text in any::<String>()) {
            let _ = text.parse::<Condition>();
        }
    }
}
