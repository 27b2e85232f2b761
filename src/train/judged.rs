//! Answers that somebody compared, in whichever form a file has them:
//!
//! ```text
//! {"prompt": ..., "chosen": ..., "rejected": ...}       texts, or lists of turns; perhaps a `margin`
//! {"chosen": ..., "rejected": ...}                      the prompt is what both begin with
//! {"prompt": ..., "responses": [...]}                   the best first
//! {"prompt": ..., "completion": ..., "label": true}     good or bad: a good one is better than a bad one of the same prompt
//! ```
//!
//! A row is all answers that are compared with each other. What nothing can be learned from is left out and counted: answers
//! that are equal, empty ones, and what is longer than the window, which is never cut, because cutting may take away what was
//! judged.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::data::Reading;
use super::line::{required, text, turns};
use super::row::Row;
use crate::error::{Error, Result};
use crate::text::records::Source;
use crate::text::tokenizer::Message;

/// What a line should be, as advice.
const WANTED: &str = "a JSON object a line: {\"prompt\": \"...\", \"chosen\": \"...\", \"rejected\": \"...\"}; also `chosen` and \
                      `rejected` that begin alike, `prompt` and `responses` from the best down, or `prompt`, `completion` and \
                      a `label` of true or false";

/// What a line of prompts should be, as advice.
const PROMPT: &str = "a JSON object a line with a `prompt`, a text or a list of turns";

/// The rows of a file, and what became of the others.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Judgements {
    pub rows: Vec<Row>,
    /// The line that each comes from; of answers judged one by one, that of the first.
    pub lines: Vec<usize>,
    pub left_out: LeftOut,
}

/// Lines that nothing can be learned from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOut {
    /// The better answer is the worse one.
    pub equal: usize,
    /// An answer is empty.
    pub empty: usize,
    pub too_long: usize,
    /// Good without a bad one of the same prompt, or the other way round.
    pub alone: usize,
}

/// What answers answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    /// Turns of a chat.
    Turns(Vec<(String, String)>),
    /// What stands before the answers, as it is.
    Text(String),
}

/// One line.
#[derive(Debug, PartialEq)]
enum Judged {
    /// The best first.
    Ranked {
        asked: Asked,
        answers: Vec<String>,
        margin: f32,
    },
    One {
        asked: Asked,
        answer: String,
        good: bool,
    },
}

impl Judged {
    /// # Errors
    /// `Invalid`, saying what is missing or of another kind.
    fn of(value: &Value) -> Result<Self> {
        let Value::Object(fields) = value else {
            return Err(Error::invalid("not a JSON object").hint(WANTED));
        };
        let has = |name: &str| fields.contains_key(name);
        if has("chosen") || has("rejected") {
            return Self::pair(fields);
        }
        if has("responses") {
            let asked = asked(required(fields, "prompt")?)?;
            let Value::Array(list) = &fields["responses"] else {
                return Err(Error::invalid("`responses` is no list").hint(WANTED));
            };
            let answers: Vec<String> =
                list.iter().map(|one| answer(one, &asked, "responses")).collect::<Result<_>>()?;
            return match answers.len() {
                0 | 1 => Err(Error::invalid(format!("{} in `responses`, which is no choice", answers.len()))
                    .hint("give two or more, the best first")),
                _ => Ok(Self::Ranked { asked, answers, margin: 0.0 }),
            };
        }
        if has("completion") && has("label") {
            let asked = asked(required(fields, "prompt")?)?;
            let answer = answer(&fields["completion"], &asked, "completion")?;
            let good = match &fields["label"] {
                Value::Bool(good) => *good,
                Value::Number(number) if number.as_u64().is_some_and(|number| number < 2) => {
                    number.as_u64() == Some(1)
                }
                _ => return Err(Error::invalid("`label` is neither true nor false").hint(WANTED)),
            };
            return Ok(Self::One { asked, answer, good });
        }
        Err(Error::invalid("no answers to compare in it").hint(WANTED))
    }

    fn pair(fields: &Map<String, Value>) -> Result<Self> {
        let side = |name: &'static str| required(fields, name).map(|value| (name, value));
        let (chosen, rejected) = (side("chosen")?, side("rejected")?);
        let margin = match fields.get("margin") {
            None | Some(Value::Null) => 0.0,
            Some(value) => value.as_f64().filter(|margin| margin.is_finite()).ok_or_else(|| {
                Error::invalid("`margin` is no number").hint("leave it out where nobody said by how much")
            })? as f32,
        };
        let (asked, answers) = match fields.get("prompt") {
            Some(prompt) => {
                let asked = asked(prompt)?;
                let answers = [chosen, rejected].map(|(name, value)| answer(value, &asked, name)).into_iter();
                (asked, answers.collect::<Result<Vec<_>>>()?)
            }
            None => implicit(chosen, rejected)?,
        };
        Ok(Self::Ranked { asked, answers, margin })
    }
}

fn pairs(turns: &[Message]) -> Vec<(String, String)> {
    turns.iter().map(|turn| (turn.role.clone(), turn.content.clone())).collect()
}

/// A text is a turn of the user.
fn asked(prompt: &Value) -> Result<Asked> {
    let turns = match prompt {
        Value::String(text) => vec![Message::new("user", text.clone())],
        list => turns(list, "prompt")?,
    };
    Ok(Asked::Turns(pairs(&turns)))
}

/// What the assistant says: a text, its turn, or all turns behind those of the prompt.
fn answer(value: &Value, asked: &Asked, name: &str) -> Result<String> {
    if value.is_string() {
        return text(value, name);
    }
    let said = pairs(&turns(value, name)?);
    let behind = match asked {
        Asked::Turns(before) if said.len() > before.len() && said.starts_with(before) => {
            &said[before.len()..]
        }
        _ => &said[..],
    };
    match behind {
        [(role, content)] if role == "assistant" => Ok(content.clone()),
        _ => Err(Error::invalid(format!("`{name}` is not one turn of the assistant behind the prompt"))
            .hint("give the answer alone, or the prompt's turns and the answer")),
    }
}

/// The prompt that both begin with, and what is left of each.
fn implicit(chosen: (&str, &Value), rejected: (&str, &Value)) -> Result<(Asked, Vec<String>)> {
    let nothing = || {
        Error::invalid("`chosen` and `rejected` do not begin with one prompt")
            .hint("give the prompt under `prompt`, or before both answers")
    };
    if let (Value::String(a), Value::String(b)) = (chosen.1, rejected.1) {
        let common: usize =
            a.chars().zip(b.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum();
        // Half a word belongs to the answers. Where all of one is the other's beginning, its last word does.
        let end = match common == a.len() || common == b.len() {
            true => a[..common].trim_end().len(),
            false => common,
        };
        let cut = a[..end].rfind(char::is_whitespace);
        let cut = cut.map(|at| at + a[at..].chars().next().map_or(0, char::len_utf8)).ok_or_else(nothing)?;
        return Ok((Asked::Text(a[..cut].to_owned()), vec![a[cut..].to_owned(), b[cut..].to_owned()]));
    }
    let [a, b] = [chosen, rejected].map(|(name, value)| turns(value, name));
    let (a, b) = (pairs(&a?), pairs(&b?));
    let common = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    // Equal answers: the last turn is theirs.
    let common = common.min(a.len().saturating_sub(1)).min(b.len().saturating_sub(1));
    let last = |said: &[(String, String)]| match &said[common..] {
        [(role, content)] if role == "assistant" => Ok(content.clone()),
        _ => Err(nothing()),
    };
    match common {
        0 => Err(nothing()),
        _ => Ok((Asked::Turns(a[..common].to_vec()), vec![last(&a)?, last(&b)?])),
    }
}

impl Reading<'_> {
    /// The answers of `source` that somebody compared.
    ///
    /// # Errors
    /// `Invalid` naming the first line that is none, and when nothing is left.
    pub fn judgements(&self, source: &Source) -> Result<Judgements> {
        let mut judgements = Judgements::default();
        let mut ones: BTreeMap<Asked, (usize, [Vec<String>; 2], usize)> = BTreeMap::new();
        let lines = self.wanted(source.json_lines().map_err(|error| error.hint(WANTED))?);
        for (number, value) in &lines {
            let place = |error| source.at(*number, error);
            match Judged::of(value).map_err(place)? {
                Judged::Ranked { asked, answers, margin } => {
                    self.rank(&mut judgements, *number, &asked, answers, margin).map_err(place)?;
                }
                Judged::One { asked, answer, good } => {
                    let (_, answers, count) =
                        ones.entry(asked).or_insert_with(|| (*number, Default::default(), 0));
                    answers[usize::from(good)].push(answer);
                    *count += 1;
                }
            }
        }
        let mut ones: Vec<_> = ones.into_iter().collect();
        ones.sort_by_key(|(_, (number, ..))| *number);
        for (asked, (number, [bad, good], count)) in ones {
            if bad.is_empty() || good.is_empty() {
                judgements.left_out.alone += count;
            }
            for good in &good {
                for bad in &bad {
                    let answers = vec![good.clone(), bad.clone()];
                    let ranked = self.rank(&mut judgements, number, &asked, answers, 0.0);
                    ranked.map_err(|error| source.at(number, error))?;
                }
            }
        }
        let path = source.path().display();
        match (lines.is_empty(), judgements.rows.is_empty()) {
            (true, _) => Err(Error::invalid(format!("`{path}` has no such row")).hint(WANTED)),
            (false, true) => {
                let LeftOut { equal, empty, too_long, alone } = judgements.left_out;
                Err(Error::invalid(format!(
                    "nothing is left of `{path}`: {equal} with equal answers, {empty} with an empty one, {too_long} too long, \
                     {alone} without another to compare"
                ))
                .hint(match too_long {
                    0 => "a row wants two answers to one prompt that differ, the better one named",
                    _ => "--max-length takes longer answers, as far as the model reads",
                }))
            }
            _ => Ok(judgements),
        }
    }

    /// The ids of the prompts of `source`, those alone that fit the window, and how many do not.
    ///
    /// # Errors
    /// `Invalid` naming the first line without a prompt, and when none is left.
    pub fn prompts(&self, source: &Source) -> Result<(Vec<Vec<u32>>, usize)> {
        let (mut prompts, mut too_long) = (Vec::new(), 0);
        for (number, value) in self.wanted(source.json_lines().map_err(|error| error.hint(PROMPT))?) {
            let place = |error: Error| source.at(number, error);
            let names = ["prompt", "question", "input", "text"];
            let prompt = names
                .iter()
                .find_map(|name| value.get(name))
                .ok_or_else(|| place(Error::invalid("no `prompt` in it")).hint(PROMPT))?;
            let Asked::Turns(turns) = asked(prompt).map_err(place)? else { continue };
            let turn = |(role, content): &(String, String)| Message::new(role, content.clone());
            let turns: Vec<Message> = turns.iter().map(turn).collect();
            let (ids, _) = self.answered(&turns, &[]).map_err(place)?;
            match ids.len() <= self.window {
                true => prompts.push(ids),
                false => too_long += 1,
            }
        }
        match prompts.is_empty() {
            true => Err(Error::invalid(format!(
                "`{}` has no prompt that leaves room for an answer ({too_long} are too long)",
                source.path().display()
            ))
            .hint(PROMPT)),
            false => Ok((prompts, too_long)),
        }
    }

    fn rank(
        &self,
        judgements: &mut Judgements,
        number: usize,
        asked: &Asked,
        answers: Vec<String>,
        margin: f32,
    ) -> Result<()> {
        let left_out = &mut judgements.left_out;
        let differ = (1..answers.len()).all(|at| !answers[..at].contains(&answers[at]));
        let place = match () {
            () if answers.iter().any(|answer| answer.trim().is_empty()) => &mut left_out.empty,
            () if !differ => &mut left_out.equal,
            () => {
                let answers: Vec<&str> = answers.iter().map(String::as_str).collect();
                let (prompt, answers) = match asked {
                    Asked::Turns(turns) => {
                        let turn = |(role, content): &(String, String)| Message::new(role, content.clone());
                        self.answered(&turns.iter().map(turn).collect::<Vec<_>>(), &answers)?
                    }
                    Asked::Text(text) => self.continued(text, &answers)?,
                };
                let row = Row::of_answers(&prompt, &answers, margin);
                if row.longest() <= self.window {
                    judgements.rows.push(row);
                    judgements.lines.push(number);
                    return Ok(());
                }
                &mut left_out.too_long
            }
        };
        *place += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::loss::IGNORE;
    use crate::train::testing::tiny;
    use crate::train::{Target, end_of_turn};
    use serde_json::json;

    fn user(text: &str) -> Asked {
        Asked::Turns(vec![("user".to_owned(), text.to_owned())])
    }

    #[test]
    fn every_form_is_understood() {
        let turn = |role: &str, content: &str| json!({ "role": role, "content": content });
        let ranked = |asked: Asked, answers: [&str; 2], margin: f32| Judged::Ranked {
            asked,
            answers: answers.map(str::to_owned).to_vec(),
            margin,
        };
        for (line, expected) in [
            (json!({"prompt": "q", "chosen": "a", "rejected": "b"}), ranked(user("q"), ["a", "b"], 0.0)),
            (
                json!({"prompt": [turn("user", "q")], "chosen": [turn("assistant", "a")], "rejected": "b", "margin": 2}),
                ranked(user("q"), ["a", "b"], 2.0),
            ),
            (
                json!({"prompt": "q", "chosen": [turn("user", "q"), turn("assistant", "a")], "rejected": "b"}),
                ranked(user("q"), ["a", "b"], 0.0),
            ),
            (
                json!({"chosen": [turn("user", "q"), turn("assistant", "a")],
                    "rejected": [turn("user", "q"), turn("assistant", "b")]}),
                ranked(user("q"), ["a", "b"], 0.0),
            ),
            (
                json!({"chosen": "Human: why? Assistant: because", "rejected": "Human: why? Assistant: begone"}),
                ranked(Asked::Text("Human: why? Assistant: ".to_owned()), ["because", "begone"], 0.0),
            ),
            (
                json!({"chosen": "Q: why? so it is", "rejected": "Q: why? so it"}),
                ranked(Asked::Text("Q: why? so ".to_owned()), ["it is", "it"], 0.0),
            ),
            (json!({"prompt": "q", "responses": ["a", "b"]}), ranked(user("q"), ["a", "b"], 0.0)),
            (
                json!({"prompt": "q", "completion": "a", "label": true}),
                Judged::One { asked: user("q"), answer: "a".to_owned(), good: true },
            ),
        ] {
            assert_eq!(Judged::of(&line).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn what_is_no_judgement_is_said() {
        let turn = |role: &str, content: &str| json!({ "role": role, "content": content });
        for (line, what) in [
            (json!({"prompt": "q", "completion": "a"}), "no answers to compare"),
            (json!({"prompt": "q", "chosen": "a"}), "no `rejected`"),
            (json!({"prompt": "q", "chosen": "a", "rejected": 3}), "`rejected`"),
            (
                json!({"prompt": "q", "chosen": "a", "rejected": "b", "margin": "big"}),
                "`margin` is no number",
            ),
            (json!({"chosen": "yes", "rejected": "no"}), "do not begin with one prompt"),
            (
                json!({"prompt": "q", "chosen": [turn("user", "p"), turn("assistant", "a")], "rejected": "b"}),
                "`chosen` is not one turn of the assistant behind the prompt",
            ),
            (
                json!({"chosen": [turn("user", "p"), turn("assistant", "a")],
                    "rejected": [turn("user", "q"), turn("assistant", "b")]}),
                "do not begin with one prompt",
            ),
            (json!({"prompt": "q", "responses": ["a"]}), "1 in `responses`"),
            (json!({"prompt": "q", "completion": "a", "label": "good"}), "neither true nor false"),
            (json!([1]), "not a JSON object"),
        ] {
            let said = Judged::of(&line).unwrap_err().to_string();
            assert!(said.contains(what), "{line}: {said}");
        }
    }

    #[test]
    fn what_nothing_is_learned_from_is_left_out_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("judged.jsonl");
        let long = "word ".repeat(60);
        let lines = [
            json!({"prompt": "why", "chosen": "so", "rejected": "no"}),
            json!({"prompt": "why", "chosen": "so", "rejected": "so"}),
            json!({"prompt": "why", "chosen": " ", "rejected": "so"}),
            json!({"prompt": "why", "chosen": long, "rejected": "so"}),
            json!({"prompt": "how", "completion": "well", "label": true}),
            json!({"prompt": "how", "completion": "bad", "label": false}),
            json!({"prompt": "how", "completion": "worse", "label": 0}),
            json!({"prompt": "who", "completion": "me", "label": true}),
        ];
        std::fs::write(&path, lines.each_ref().map(ToString::to_string).join("\n")).unwrap();
        let model = crate::models::Model::load(&tiny("llama"), &candle_core::Device::Cpu).unwrap();
        let tokenizer = model.tokenizer().unwrap();
        let source = Source::read(&path).unwrap();
        let judged = Reading::new(tokenizer, 40).judgements(&source).unwrap();
        assert_eq!(judged.lines, [1, 5, 5]);
        assert_eq!(judged.left_out, LeftOut { equal: 1, empty: 1, too_long: 1, alone: 1 });
        let Target::Preference(preference) = &judged.rows[0].target else { panic!() };
        let end = end_of_turn(tokenizer).map(i64::from);
        let of_answers: Vec<i64> =
            preference.labels.iter().copied().filter(|label| *label != IGNORE).collect();
        assert_eq!(of_answers.last().copied(), end, "an answer ends");
        std::fs::write(&path, lines[1].to_string()).unwrap();
        let error = Reading::new(tokenizer, 40).judgements(&Source::read(&path).unwrap()).unwrap_err();
        assert!(error.to_string().contains("1 with equal answers"), "{error}");
        assert!(error.advice().is_some_and(|advice| advice.contains("that differ")), "{error:?}");
    }
}
