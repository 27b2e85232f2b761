//! A condition made ready: its value read as the field's type, then held against one document after another.

use globset::{GlobBuilder, GlobMatcher};

use super::Filter;
use super::condition::{Condition, Operator};
use super::date::Period;
use super::field::{Field, Kind, number, truth, values};
use crate::error::{Error, Result};
use crate::index::DocumentMeta;
use crate::text::document::Format;
use crate::text::load::display_path;

pub(super) struct Test<'a> {
    field: &'a str,
    operator: Operator,
    asked: Asked<'a>,
}

/// What a document's values are held against.
enum Asked<'a> {
    Number(f64),
    Date(Period),
    Truth(bool),
    /// In small letters.
    Text(String),
    /// In small letters, whatever the field's type.
    Letters(String),
    /// A path, all below it, or a pattern; as seen from where `filter` was made.
    Path {
        wanted: &'a str,
        pattern: GlobMatcher,
        filter: &'a Filter,
    },
}

impl<'a> Test<'a> {
    /// Makes `condition` ready for documents that have `field`.
    ///
    /// # Errors
    /// [`Error::Invalid`] when its value, or its operator, is not for that type of field.
    pub(super) fn new(filter: &'a Filter, condition: &'a Condition, field: &Field) -> Result<Self> {
        let Condition { field: name, operator, value } = condition;
        let (name, value) = (name.as_str(), value.as_str());
        let orders = !matches!(operator, Operator::Is | Operator::IsNot | Operator::Contains);
        let none = |kinds: &str| {
            Error::invalid(format!(
                "{condition}: `{name}` holds {kinds}, and `{}` is none",
                value.escape_debug()
            ))
        };
        let asked = match field.kind {
            _ if *operator == Operator::Contains => Asked::Letters(value.to_lowercase()),
            Kind::Number => Asked::Number(number(value).ok_or_else(|| none("numbers"))?),
            Kind::Date => Asked::Date(Period::parse(value).ok_or_else(|| {
                none("dates").hint("a date is a year, a month or a day: 2024, 2024-06, 2024-06-01")
            })?),
            kind if orders => {
                let error = format!(
                    "{condition}: only numbers and dates are more or less, and `{name}` holds {kind}"
                );
                return Err(Error::invalid(match field.example.as_str() {
                    "" => error,
                    example => format!("{error}, such as `{}`", example.escape_debug()),
                }));
            }
            Kind::Truth => Asked::Truth(truth(value).ok_or_else(|| none("true or false"))?),
            Kind::Text if name == "path" => {
                let wanted = value.strip_prefix("./").unwrap_or(value);
                Asked::Path { wanted: wanted.trim_end_matches('/'), pattern: pattern(wanted)?, filter }
            }
            Kind::Text => Asked::Text(value.to_lowercase()),
        };
        Ok(Self { field: name, operator: *operator, asked })
    }

    /// Whether it holds for `document`: for one value of a list at least, with `!=` for none of them. A document without the
    /// field has no value.
    pub(super) fn holds(&self, document: &DocumentMeta) -> bool {
        let values = match self.field {
            "path" => vec![document.path.clone()],
            "title" => document.title.iter().cloned().collect(),
            "format" => vec![format(document.format)],
            field => document.fields.get(field).map(|value| values(value)).unwrap_or_default(),
        };
        match self.operator {
            Operator::IsNot => !values.iter().any(|value| self.compares(Operator::Is, value)),
            operator => values.iter().any(|value| self.compares(operator, value)),
        }
    }

    fn compares(&self, operator: Operator, value: &str) -> bool {
        use Operator::{AtLeast, AtMost, Contains, Is, IsNot, Less, More};
        match &self.asked {
            Asked::Number(asked) => number(value).is_some_and(|value| match operator {
                Less => value < *asked,
                AtMost => value <= *asked,
                More => value > *asked,
                AtLeast => value >= *asked,
                Is | IsNot | Contains => value == *asked,
            }),
            Asked::Date(asked) => Period::parse(value).is_some_and(|value| match operator {
                Less => value.start < asked.start,
                AtMost => value.start < asked.end,
                More => value.start >= asked.end,
                AtLeast => value.start >= asked.start,
                Is | IsNot | Contains => value.begins_in(*asked),
            }),
            Asked::Truth(asked) => truth(value) == Some(*asked),
            Asked::Text(asked) => value.to_lowercase() == *asked,
            Asked::Letters(asked) => value.to_lowercase().contains(asked),
            Asked::Path { wanted, pattern, filter } => {
                let shown = display_path(&filter.root.join(value), &filter.here);
                let below = shown.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('/'));
                shown == *wanted || below || pattern.is_match(&shown)
            }
        }
    }
}

/// `*` stays within a folder, `**` does not, as in .gitignore.
fn pattern(written: &str) -> Result<GlobMatcher> {
    let built = GlobBuilder::new(written).literal_separator(true).build();
    let built = built.map_err(|error| {
        Error::invalid(format!("`{}` is no pattern: {}", written.escape_debug(), error.kind()))
    });
    Ok(built?.compile_matcher())
}

/// The name of a format, as JSON has it.
fn format(format: Format) -> String {
    let name = serde_json::to_value(format).ok();
    name.and_then(|name| name.as_str().map(str::to_owned)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use proptest::prelude::*;

    use super::*;
    use crate::index::Known;

    /// Documents at paths of `/w`, with front matter.
    fn documents(documents: &[(&str, &[(&str, &str)])]) -> Vec<Known> {
        let known = |&(path, fields): &(&str, &[(&str, &str)])| {
            let fields = fields.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
            let format = if path.ends_with(".md") { Format::Markdown } else { Format::Text };
            let (path, hash, title) = (path.to_owned(), String::new(), Some(format!("On {path}")));
            let meta = DocumentMeta { path, hash, size: 0, mtime: 0, format, title, fields };
            Known { meta, chunks: 1, stale: false }
        };
        documents.iter().map(known).collect()
    }

    fn library() -> Vec<Known> {
        documents(&[
            (
                "notes/a.md",
                &[("author", "Lang"), ("year", "1999"), ("date", "2024-05-31"), ("tags", "[rust, tea]")],
            ),
            (
                "notes/deep/b.md",
                &[("author", "de Groot"), ("year", "2020"), ("date", "2024-06-01"), ("draft", "true")],
            ),
            ("c.txt", &[("year", "2021"), ("date", "2023"), ("tags", "Rust"), ("draft", "false")]),
        ])
    }

    fn chosen(documents: &[Known], here: &str, conditions: &[&str]) -> Result<String> {
        let conditions = conditions.iter().map(|text| text.parse().unwrap()).collect();
        let filter = Filter::new(conditions, "/w".into(), PathBuf::from(here));
        Ok(filter.choose(documents)?.join(" "))
    }

    #[test]
    fn a_field_is_compared_as_what_it_is() {
        let library = library();
        for (condition, expected) in [
            ("author=lang", "notes/a.md"),
            ("author!=lang", "notes/deep/b.md c.txt"),
            ("author~gro", "notes/deep/b.md"),
            ("year>=2020", "notes/deep/b.md c.txt"),
            ("year<2020", "notes/a.md"),
            ("year=2.02e3", "notes/deep/b.md"),
            ("date<2024-06-01", "notes/a.md c.txt"),
            ("date=2024", "notes/a.md notes/deep/b.md"),
            ("date>2024-05", "notes/deep/b.md"),
            ("date<=2024-05", "notes/a.md c.txt"),
            ("tags=rust", "notes/a.md c.txt"),
            ("tags!=tea", "notes/deep/b.md c.txt"),
            ("draft=True", "notes/deep/b.md"),
            ("draft!=true", "notes/a.md c.txt"),
            ("format=text", "c.txt"),
            ("title=on c.txt", "c.txt"),
            ("year>3000", ""),
        ] {
            assert_eq!(chosen(&library, "/w", &[condition]).unwrap(), expected, "{condition}");
        }
        assert_eq!(chosen(&library, "/w", &["tags=rust", "year>2000"]).unwrap(), "c.txt");
    }

    #[test]
    fn a_path_is_a_file_a_folder_or_a_pattern_as_seen_from_here() {
        let library = library();
        for (here, condition, expected) in [
            ("/w", "path=notes/*", "notes/a.md"),
            ("/w", "path=notes/**", "notes/a.md notes/deep/b.md"),
            ("/w", "path=./notes/", "notes/a.md notes/deep/b.md"),
            ("/w", "path=note", ""),
            ("/w", "path=c.txt", "c.txt"),
            ("/w", "path=**/*.md", "notes/a.md notes/deep/b.md"),
            ("/w/notes", "path=*", "notes/a.md"),
            ("/w/notes", "path=../*.txt", "c.txt"),
            ("/w", "path!=notes/**", "c.txt"),
            ("/w", "path~DEEP", "notes/deep/b.md"),
        ] {
            assert_eq!(chosen(&library, here, &[condition]).unwrap(), expected, "{here} {condition}");
        }
    }

    #[test]
    fn what_cannot_be_compared_is_refused_and_says_what_could() {
        let library = library();
        for (condition, expected) in [
            ("yaer=2020", "no document has a field `yaer`; there are: author, date, draft, tags, year"),
            ("year>=old", "year>=old: `year` holds numbers, and `old` is none"),
            ("date<soon", "date<soon: `date` holds dates, and `soon` is none"),
            ("draft=maybe", "draft=maybe: `draft` holds true or false, and `maybe` is none"),
            (
                "author<M",
                "author<M: only numbers and dates are more or less, and `author` holds text, such as `Lang`",
            ),
            ("path>a", "path>a: only numbers and dates are more or less, and `path` holds text"),
            ("path=a[", "`a[` is no pattern: unclosed character class; missing ']'"),
        ] {
            assert_eq!(chosen(&library, "/w", &[condition]).unwrap_err().to_string(), expected);
        }
        let error = chosen(&library, "/w", &["autor=Lang"]).unwrap_err();
        assert_eq!(error.advice(), Some("did you mean `author`?"));
    }

    proptest! {
        #[test]
        fn of_less_equal_and_more_one_holds(value in -50i32..50, asked in -50i32..50) {
            for (value, asked) in [
                (value.to_string(), asked.to_string()),
                (format!("20{:02}-01-15", value.unsigned_abs()), format!("20{:02}-01", asked.unsigned_abs())),
            ] {
                let documents = documents(&[("a", &[("f", value.as_str())])]);
                let holds = |operator: &str| {
                    !chosen(&documents, "/w", &[&format!("f{operator}{asked}")]).unwrap().is_empty()
                };
                prop_assert_eq!([holds("<"), holds("="), holds(">")].iter().filter(|holds| **holds).count(), 1);
                prop_assert_eq!(holds("<="), holds("<") || holds("="));
                prop_assert_eq!(holds(">="), !holds("<"));
                prop_assert_eq!(holds("!="), !holds("="));
            }
        }
    }
}
