//! What the tokens of a prompt are spent on: the template alone, then each of its inputs.

use serde::Serialize;
use serde_json::Value;

use super::budget::{Contents, Dropped, Fitted, laid_out, shown_of};
use super::{Prompt, Template};
use crate::error::Result;

/// What one input adds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// `template`, or the input's name.
    pub name: String,
    /// Less than none for demonstrations that replace longer ones of the template's own.
    pub tokens: isize,
}

/// What each input adds to `fitted`, in the template's order: the prompt is rendered with all of them empty, and again with
/// one more each time, so the parts sum up to the whole. `count` is what the prompt was fitted with.
///
/// # Errors
/// `Invalid` when the template cannot be rendered with an empty input; whatever `count` fails with.
pub fn parts(
    template: &Template,
    contents: &Contents,
    fitted: &Fitted,
    count: &dyn Fn(&Prompt) -> Result<usize>,
) -> Result<Vec<Part>> {
    let passages = shown_of(contents.passages, fitted);
    let turns = fitted.dropped.iter().filter(|dropped| matches!(dropped, Dropped::Turn(_))).count();
    let mut values = laid_out(contents, &passages, fitted.demos, &contents.history[turns..])?;
    let mut whole = Vec::new();
    for name in template.asked() {
        if let Some(value) = values.get_mut(name) {
            let empty = match value {
                Value::String(_) => Value::from(""),
                Value::Array(_) => Value::Array(Vec::new()),
                _ => continue,
            };
            whole.push((name, std::mem::replace(value, empty)));
        }
    }
    let mut before = count(&template.render(&values)?)?;
    let mut parts = vec![Part { name: "template".into(), tokens: before as isize }];
    for (name, value) in whole {
        values.insert(name.to_owned(), value);
        let now = count(&template.render(&values)?)?;
        parts.push(Part { name: name.into(), tokens: now as isize - before as isize });
        before = now;
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::prompt::budget::{Window, fit};
    use crate::prompt::{Given, Library};

    fn words(prompt: &Prompt) -> Result<usize> {
        Ok(prompt.layout.marked().split_whitespace().count())
    }

    fn spent(id: &str, values: Value, size: usize) -> (Vec<(String, isize)>, usize) {
        let template = Library::default().load(id).unwrap();
        let given = Given::of(values.as_object().cloned().unwrap()).unwrap();
        let window = Window { size, completion: 0 };
        let fitted = fit(&template, &given.contents(), window, &words).unwrap();
        let parts = parts(&template, &given.contents(), &fitted, &words).unwrap();
        (parts.into_iter().map(|part| (part.name, part.tokens)).collect(), fitted.tokens)
    }

    #[test]
    fn parts_are_what_each_input_adds_and_sum_up_to_the_whole() {
        let demos = json!([{"input": "one two", "output": "x"}, {"input": "three", "output": "y"}]);
        let values = json!({"input": "four five", "labels": ["x", "y"], "demos": demos, "instruction": ""});
        let (parts, tokens) = spent("classify/plain", values.clone(), 100);
        // A line that says whose turn it is, and two labels of nothing.
        let expected = [("template", 3), ("input", 2), ("labels", 0), ("demos", 2 + 3 + 2 + 2)];
        assert_eq!(parts, expected.map(|(name, tokens)| (name.to_owned(), tokens)));
        assert_eq!(parts.iter().map(|(_, tokens)| tokens).sum::<isize>(), tokens as isize);
        // What was dropped costs nothing.
        assert_eq!(spent("classify/plain", values, 10).0.last(), Some(&("demos".to_owned(), 5)));
    }

    #[test]
    fn demonstrations_that_replace_longer_ones_cost_less_than_none() {
        let demos = json!([{"input": "Why?", "output": "So."}]);
        let values = json!({"question": "What?", "passages": ["Text."], "demos": demos});
        let (parts, tokens) = spent("qa/fewshot", values, 1000);
        assert!(parts.iter().any(|(name, tokens)| name == "demos" && *tokens < 0), "{parts:?}");
        assert_eq!(parts.iter().map(|(_, tokens)| tokens).sum::<isize>(), tokens as isize);
    }
}
