//! What a template is given, from what a person or a row of data has: lists that have to fit the window apart from the rest.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::budget::Contents;
use super::{Demo, Order, Said, Shown};
use crate::error::{Error, Result};

/// The values of a rendering, owned.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Given {
    /// The template's inputs but for the lists below.
    pub values: Map<String, Value>,
    /// Best first.
    pub passages: Vec<Shown>,
    /// Nearest first.
    pub demos: Vec<Demo>,
    pub order: Order,
    /// Oldest first.
    pub history: Vec<Said>,
}

impl Given {
    /// Takes the lists `passages`, `demos` and `history` out of `values`. A passage may be a text alone; a demonstration
    /// that says no `id` is called by its place.
    ///
    /// # Errors
    /// `Invalid`, naming the list, when it holds something else.
    pub fn of(mut values: Map<String, Value>) -> Result<Self> {
        let passages = passages_of(&mut values)?;
        let demos = list::<Map<String, Value>>(&mut values, "demos", "objects with `input` and `output`")?;
        let demo = |(place, values): (usize, Map<String, Value>)| {
            let id =
                values.get("id").and_then(Value::as_str).map_or_else(|| place.to_string(), str::to_owned);
            Demo { id, place, values }
        };
        let demos = demos.into_iter().enumerate().map(demo).collect();
        let history = list(&mut values, "history", "objects with `question` and `answer`")?;
        Ok(Self { values, passages, demos, order: Order::default(), history })
    }

    pub fn contents(&self) -> Contents<'_> {
        let Self { values, passages, demos, order, history } = self;
        Contents { values, passages, demos, order: *order, history }
    }
}

/// Takes the passages out of `values`.
pub(super) fn passages_of(values: &mut Map<String, Value>) -> Result<Vec<Shown>> {
    let passages = list::<Passage>(values, "passages", "texts, or objects with `title`, `path` and `text`")?;
    Ok(passages.into_iter().map(Shown::from).collect())
}

/// A passage as data has it.
#[derive(serde::Deserialize)]
#[serde(untagged)]
enum Passage {
    Text(String),
    Whole {
        #[serde(default)]
        title: String,
        #[serde(default)]
        path: String,
        text: String,
    },
}

impl From<Passage> for Shown {
    fn from(passage: Passage) -> Self {
        match passage {
            Passage::Text(text) => Self { title: String::new(), path: String::new(), text },
            Passage::Whole { title, path, text } if title.is_empty() => {
                Self { title: path.clone(), path, text }
            }
            Passage::Whole { title, path, text } => Self { title, path, text },
        }
    }
}

fn list<T: DeserializeOwned>(values: &mut Map<String, Value>, name: &str, of: &str) -> Result<Vec<T>> {
    let Some(value) = values.remove(name) else { return Ok(Vec::new()) };
    serde_json::from_value(value).map_err(|_| {
        Error::invalid(format!("`{name}` is not a list as templates see it")).hint(format!("a list of {of}"))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(values: Value) -> Result<Given> {
        Given::of(values.as_object().cloned().unwrap())
    }

    #[test]
    fn lists_that_have_to_fit_are_taken_out_and_the_rest_stays() {
        let given = of(json!({
            "question": "q", "labels": ["a"], "passages": ["text", {"path": "a.md", "text": "more"}],
            "demos": [{"input": "a"}, {"id": "x", "input": "b"}], "history": [{"question": "a", "answer": "b"}],
        }))
        .unwrap();
        assert_eq!(given.values.keys().collect::<Vec<_>>(), ["question", "labels"]);
        assert_eq!((&*given.passages[0].text, &*given.passages[1].title), ("text", "a.md"));
        let demos: Vec<(&str, usize)> = given.demos.iter().map(|demo| (&*demo.id, demo.place)).collect();
        assert_eq!(demos, [("0", 0), ("x", 1)]);
        assert_eq!(given.history[0].answer, "b");
    }

    #[test]
    fn a_list_of_something_else_is_named() {
        for (values, name) in [
            (json!({"passages": "text"}), "passages"),
            (json!({"passages": [{"title": "t"}]}), "passages"),
            (json!({"demos": ["a"]}), "demos"),
            (json!({"history": [{"question": "a"}]}), "history"),
        ] {
            let error = of(values).unwrap_err();
            assert!(
                error.to_string().contains(&format!("`{name}`")) && error.advice().is_some(),
                "{error:?}"
            );
        }
    }
}
