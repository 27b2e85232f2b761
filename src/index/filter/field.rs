//! What fields documents have, and of which type each is: what all its values have in common.
//!
//! Front matter writes `2020` and means a number, until another document writes `ca. 1850` into the same field; then it
//! is text in both. So the type belongs to the field and not to a value, and nothing about it needs to be stored.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::date::Period;
use crate::index::DocumentMeta;
use crate::text::fields::items;

/// What a document is asked for besides its front matter, whose fields of these names are passed over.
pub const ALWAYS: [&str; 3] = ["format", "path", "title"];

/// What the values of a field are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Number,
    Date,
    Truth,
    Text,
}

/// A field that some document has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Field {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: Kind,
    /// Whether any document has a list of them.
    pub list: bool,
    /// How many have it.
    pub documents: usize,
    /// One of its values: of text, one that keeps it from being numbers or dates.
    pub example: String,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Number => "number",
            Self::Date => "date",
            Self::Truth => "true or false",
            Self::Text => "text",
        })
    }
}

impl Field {
    /// Its type in words.
    pub fn described(&self) -> String {
        if self.list { format!("list of {}", self.kind) } else { self.kind.to_string() }
    }
}

/// The fields of `documents`, by name, those of [`ALWAYS`] first.
pub fn fields<'a>(documents: impl IntoIterator<Item = &'a DocumentMeta>) -> Vec<Field> {
    let mut found: BTreeMap<&str, Seen> = BTreeMap::new();
    let mut count = 0;
    for document in documents {
        count += 1;
        for (name, value) in document.fields.iter().filter(|(name, _)| !ALWAYS.contains(&name.as_str())) {
            found.entry(name).or_default().add(value);
        }
    }
    let always = |name: &str| Field {
        name: name.to_owned(),
        kind: Kind::Text,
        list: false,
        documents: count,
        example: String::new(),
    };
    let found = found.into_iter().filter_map(|(name, seen)| seen.field(name));
    ALWAYS.map(always).into_iter().chain(found).collect()
}

/// The values of a field: one, or the items of its list.
pub fn values(value: &str) -> Vec<String> {
    items(value).unwrap_or_else(|| vec![value.to_owned()])
}

/// A number as people write it, not as Rust may read it (`inf`).
pub fn number(text: &str) -> Option<f64> {
    let is_digits = text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    text.parse().ok().filter(|number: &f64| is_digits && number.is_finite())
}

pub fn truth(text: &str) -> Option<bool> {
    text.to_lowercase().parse().ok()
}

/// What was seen of a field.
#[derive(Default)]
struct Seen {
    documents: usize,
    list: bool,
    values: usize,
    numbers: usize,
    dates: usize,
    truths: usize,
    first: Option<String>,
    /// Neither number nor date.
    other: Option<String>,
}

impl Seen {
    fn add(&mut self, value: &str) {
        self.documents += 1;
        self.list |= items(value).is_some();
        for value in values(value) {
            self.values += 1;
            let (number, date) = (number(&value).is_some(), Period::parse(&value).is_some());
            self.numbers += usize::from(number);
            self.dates += usize::from(date);
            self.truths += usize::from(truth(&value).is_some());
            if !(number || date) {
                self.other.get_or_insert_with(|| value.clone());
            }
            self.first.get_or_insert(value);
        }
    }

    /// `None` where every list is empty. A year is a number and a date: it is a date among dates.
    fn field(self, name: &str) -> Option<Field> {
        let all = self.values;
        let kind = match () {
            () if self.numbers == all => Kind::Number,
            () if self.dates == all => Kind::Date,
            () if self.truths == all => Kind::Truth,
            () => Kind::Text,
        };
        let (list, documents) = (self.list, self.documents);
        let example = self.other.or(self.first)?;
        Some(Field { name: name.to_owned(), kind, list, documents, example })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::document::Format;

    pub fn document(fields: &[(&str, &str)]) -> DocumentMeta {
        let fields = fields.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
        let (path, hash) = ("a.md".to_owned(), String::new());
        DocumentMeta { path, hash, size: 0, mtime: 0, format: Format::Markdown, title: None, fields }
    }

    #[test]
    fn a_field_is_of_the_type_that_all_its_values_have() {
        let of = |values: &[&str]| {
            let documents: Vec<_> = values.iter().map(|value| document(&[("f", value)])).collect();
            let all = fields(&documents);
            let found = all.into_iter().nth(ALWAYS.len()).unwrap();
            (found.described(), found.documents)
        };
        assert_eq!(of(&["2020", "-1.5"]), ("number".into(), 2));
        assert_eq!(of(&["2020", "2020-05-01"]), ("date".into(), 2));
        assert_eq!(of(&["2020", "ca. 1850"]), ("text".into(), 2));
        assert_eq!(of(&["True", "false"]), ("true or false".into(), 2));
        assert_eq!(of(&["[rust, 3]"]), ("list of text".into(), 1));
        assert_eq!(of(&["7", "[8, 9]", "[]"]), ("list of number".into(), 3));
        assert_eq!(of(&["nan", "inf"]), ("text".into(), 2));
    }

    #[test]
    fn every_document_has_the_fields_that_are_not_front_matter() {
        let all = fields(&[document(&[("path", "9"), ("tags", "[]")])]);
        assert_eq!(all.iter().map(|field| field.name.as_str()).collect::<Vec<_>>(), ALWAYS);
        assert!(all.iter().all(|field| field.kind == Kind::Text && field.documents == 1));
    }
}
