//! Fit passages, demonstrations and conversation into the window, worst and oldest out first, and say what was left out.
//!
//! Passages come first: demonstrations get the room that they leave, the nearest of them, and what was said before gets
//! the rest, the last turns of it.
//! Tokens are counted on the whole prompt as the model will read it (chat layout included), because that is what has
//! to fit. Only when the best passage does not fit alone is it shortened, by whole sentences from its end.

use serde::Serialize;
use serde_json::{Map, Value};

use super::front::Order;
use super::{Demo, Prompt, Said, Shown, Template, standing};
use crate::error::{Error, Result};
use crate::text::document::Format;
use crate::text::sentences::sentences;

/// Room, in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// What the model can hold.
    pub size: usize,
    /// How much of it is kept free for the answer.
    pub completion: usize,
}

impl Window {
    fn room(self) -> usize {
        self.size.saturating_sub(self.completion)
    }
}

/// What there is to show.
#[derive(Debug, Clone, Copy)]
pub struct Contents<'a> {
    /// The template's inputs but for the lists below.
    pub values: &'a Map<String, Value>,
    /// Best first.
    pub passages: &'a [Shown],
    /// Nearest first, in whatever order the prompt shows them.
    pub demos: &'a [Demo],
    /// In which order that is.
    pub order: Order,
    /// Oldest first.
    pub history: &'a [Said],
}

impl<'a> Contents<'a> {
    /// Nothing but `values`.
    pub fn of(values: &'a Map<String, Value>) -> Self {
        Self { values, passages: &[], demos: &[], order: Order::default(), history: &[] }
    }
}

/// A prompt that fits.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    pub prompt: Prompt,
    /// Tokens of the prompt, at most `size - completion`.
    pub tokens: usize,
    /// How many passages it shows: the best ones.
    pub shown: usize,
    /// How many demonstrations: the nearest ones.
    pub demos: usize,
    /// What it does not show: the worst passage first, the farthest demonstration, the oldest turn.
    pub dropped: Vec<Dropped>,
}

/// Something left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Dropped {
    /// A whole passage, by its index.
    Passage(usize),
    /// The end of a passage: its text from byte `from` on.
    Rest { passage: usize, from: usize },
    /// A demonstration, by its index.
    Demo(usize),
    /// A turn of the conversation, by its index.
    Turn(usize),
}

impl Dropped {
    /// What was left out in words, `2 passages and 1 earlier turn`; `None` when nothing was.
    pub fn in_words(dropped: &[Self]) -> Option<String> {
        let count = |is: fn(&Self) -> bool| dropped.iter().filter(|dropped| is(dropped)).count();
        let some = |count: usize, what: &str| match count {
            0 => None,
            1 => Some(format!("1 {what}")),
            count => Some(format!("{count} {what}s")),
        };
        let parts = [
            some(count(|d| matches!(d, Self::Passage(_) | Self::Rest { .. })), "passage"),
            some(count(|d| matches!(d, Self::Demo(_))), "demonstration"),
            some(count(|d| matches!(d, Self::Turn(_))), "earlier turn"),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join(" and "))
    }
}

/// Renders `template` with as many passages as fit, then with as many demonstrations and turns as fit behind these, if the
/// template shows them. `count` gives the tokens of a prompt as the model reads it.
///
/// # Errors
/// `TooLong` when the prompt does not fit even with one sentence of one passage (or, given none, with none); whatever
/// `count` and rendering fail with.
pub fn fit(
    template: &Template,
    contents: &Contents,
    window: Window,
    count: &dyn Fn(&Prompt) -> Result<usize>,
) -> Result<Fitted> {
    let attempt = |passages: &[Shown], demos: usize, history: &[Said]| -> Result<(Prompt, usize)> {
        let prompt = template.render(&laid_out(contents, passages, demos, history)?)?;
        let tokens = count(&prompt)?;
        Ok((prompt, tokens))
    };
    let mut fitted =
        fit_passages(template, contents.passages, window, &|passages| attempt(passages, 0, &[]))?;
    let shown = shown_of(contents.passages, &fitted);

    let Contents { demos, history, .. } = *contents;
    if !demos.is_empty() && template.shows_demos() {
        let nearest = |most| attempt(&shown, most, &[]);
        if let Some((most, prompt, tokens)) = most_that_fit(demos.len(), window, &nearest)? {
            (fitted.demos, fitted.prompt, fitted.tokens) = (most, prompt, tokens);
        }
        fitted.dropped.extend((fitted.demos..demos.len()).rev().map(Dropped::Demo));
    }
    if !history.is_empty() && template.front().inputs.iter().any(|input| input == "history") {
        let mut turns = 0;
        let last = |most: usize| attempt(&shown, fitted.demos, &history[history.len() - most..]);
        if let Some((most, prompt, tokens)) = most_that_fit(history.len(), window, &last)? {
            (turns, fitted.prompt, fitted.tokens) = (most, prompt, tokens);
        }
        fitted.dropped.extend((0..history.len() - turns).map(Dropped::Turn));
    }
    Ok(fitted)
}

/// What the template is given.
pub(super) fn laid_out(
    contents: &Contents,
    passages: &[Shown],
    demos: usize,
    history: &[Said],
) -> Result<Map<String, Value>> {
    let json = |list: serde_json::Result<Value>| {
        list.map_err(|error| Error::invalid(format!("a prompt cannot show its data: {error}")))
    };
    let demos = standing(&contents.demos[..demos], contents.order).into_iter();
    let demos = demos.map(|demo| Value::Object(demo.values.clone())).collect();
    let mut values = contents.values.clone();
    values.insert("passages".to_owned(), json(serde_json::to_value(passages))?);
    values.insert("history".to_owned(), json(serde_json::to_value(history))?);
    values.insert("demos".to_owned(), Value::Array(demos));
    Ok(values)
}

/// The most of `all` with which the prompt fits, and that prompt; `None` when not even one does. All are tried first, as
/// they mostly fit; then the number is found by halving.
fn most_that_fit(
    all: usize,
    window: Window,
    attempt: &dyn Fn(usize) -> Result<(Prompt, usize)>,
) -> Result<Option<(usize, Prompt, usize)>> {
    let mut fits = None;
    let (mut least, mut middle, mut too_many) = (0, all, all + 1);
    while least + 1 < too_many {
        let (prompt, tokens) = attempt(middle)?;
        match tokens <= window.room() {
            true => (least, fits) = (middle, Some((middle, prompt, tokens))),
            false => too_many = middle,
        }
        middle = least + (too_many - least) / 2;
    }
    Ok(fits)
}

/// The passages as the prompt has them.
pub(super) fn shown_of(passages: &[Shown], fitted: &Fitted) -> Vec<Shown> {
    let mut shown = passages[..fitted.shown].to_vec();
    for dropped in &fitted.dropped {
        if let Dropped::Rest { passage, from } = *dropped {
            shown[passage].text.truncate(from);
        }
    }
    shown
}

/// Lays passages out; says how many tokens that takes.
type Attempt<'a> = &'a dyn Fn(&[Shown]) -> Result<(Prompt, usize)>;

fn fit_passages(template: &Template, passages: &[Shown], window: Window, attempt: Attempt) -> Result<Fitted> {
    let room = window.room();
    let mut dropped = Vec::new();
    for shown in (1..=passages.len()).rev() {
        let (prompt, tokens) = attempt(&passages[..shown])?;
        if tokens <= room {
            return Ok(Fitted { prompt, tokens, shown, demos: 0, dropped });
        }
        if shown > 1 {
            dropped.push(Dropped::Passage(shown - 1));
        }
    }
    let Some(best) = passages.first() else {
        let (prompt, tokens) = attempt(&[])?;
        if tokens <= room {
            return Ok(Fitted { prompt, tokens, shown: 0, demos: 0, dropped });
        }
        let shows = template.asked().any(|input| input == "passages");
        let how = if shows { " without any passage" } else { "" };
        return Err(too_long(template, how, tokens, window));
    };

    // The ends a passage may have, shortest first; the most that fit are found by halving.
    let mut ends: Vec<usize> =
        sentences(&best.text, Format::Markdown).into_iter().map(|s| s.range.end).collect();
    ends.pop(); // the whole was tried
    let shortened = |end: usize| Shown { text: best.text[..end].to_owned(), ..best.clone() };
    let (mut fits, mut too_many) = (None, ends.len());
    let mut least = 0;
    while least < too_many {
        let middle = least + (too_many - least) / 2;
        let (prompt, tokens) = attempt(&[shortened(ends[middle])])?;
        if tokens <= room {
            fits = Some((prompt, tokens, ends[middle]));
            least = middle + 1;
        } else {
            too_many = middle;
        }
    }
    if let Some((prompt, tokens, from)) = fits {
        dropped.push(Dropped::Rest { passage: 0, from });
        return Ok(Fitted { prompt, tokens, shown: 1, demos: 0, dropped });
    }
    let (_, tokens) = match ends.first() {
        Some(&end) => attempt(&[shortened(end)])?,
        None => attempt(&passages[..1])?,
    };
    Err(too_long(template, " with one sentence of the best passage", tokens, window))
}

fn too_long(template: &Template, how: &str, tokens: usize, window: Window) -> Error {
    let Window { size, completion } = window;
    Error::too_long(format!(
        "the prompt `{}`{how} has {tokens} tokens; the window of {size} leaves {} for it, {} too few",
        template.id(),
        window.room(),
        tokens - window.room()
    ))
    .hint(format!("give a shorter text or question, keep fewer than {completion} tokens for the answer, or use a shorter template or a model with a larger window"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::prompt::Library;

    fn shown(text: &str) -> Shown {
        Shown { title: "T".into(), path: "a.md".into(), text: text.into() }
    }

    fn values() -> Map<String, Value> {
        Map::from_iter([("question".to_owned(), Value::from("Why?"))])
    }

    fn words(prompt: &Prompt) -> Result<usize> {
        Ok(prompt.text().split_whitespace().count())
    }

    fn fitted(passages: &[Shown], size: usize) -> Result<Fitted> {
        let (template, values) = (Library::default().load("qa/plain").unwrap(), values());
        let contents = Contents { passages, ..Contents::of(&values) };
        fit(&template, &contents, Window { size: size + 10, completion: 10 }, &words)
    }

    /// A template that shows passages and history, two words a turn and its own.
    fn conversed(passages: &[Shown], history: &[Said], size: usize) -> Fitted {
        let source = "+++\nname = \"t\"\ntask = \"t\"\ninputs = [\"passages\", \"history\"]\n+++\n\
             {% for turn in history %}{{ turn.question }} {{ turn.answer }}\n{% endfor %}\
             {% for passage in passages %}{{ passage.text }}\n{% endfor %}";
        let template = Template::parse("t.j2", source, &|_| Ok(String::new())).unwrap();
        let values = values();
        let contents = Contents { passages, history, ..Contents::of(&values) };
        fit(&template, &contents, Window { size, completion: 0 }, &words).unwrap()
    }

    fn said(turns: usize) -> Vec<Said> {
        (0..turns).map(|n| Said { question: format!("q{n}"), answer: format!("a{n}") }).collect()
    }

    #[test]
    fn history_gets_the_room_that_passages_leave_and_the_oldest_turns_go_first() {
        let passages = [shown("One two three."), shown("Four.")];
        let whole = conversed(&passages, &said(3), 10);
        assert_eq!((whole.tokens, whole.dropped.len()), (10, 0));
        let some = conversed(&passages, &said(3), 7);
        assert_eq!(some.dropped, [Dropped::Turn(0), Dropped::Turn(1)]);
        assert_eq!(some.prompt.text(), "q2 a2\nOne two three.\nFour.");
        let none = conversed(&passages, &said(3), 5);
        assert_eq!((none.shown, none.dropped.len(), none.tokens), (2, 3, 4));
        let tight = conversed(&passages, &said(1), 3);
        assert_eq!(tight.dropped, [Dropped::Passage(1), Dropped::Turn(0)]);
    }

    #[test]
    fn a_template_that_shows_no_history_drops_none() {
        let template = Library::default().load("qa/plain").unwrap();
        let window = Window { size: 1000, completion: 10 };
        let (values, passages, history) = (values(), [shown("One.")], said(2));
        let contents = Contents { passages: &passages, history: &history, ..Contents::of(&values) };
        let fitted = fit(&template, &contents, window, &words).unwrap();
        assert_eq!(fitted.dropped, []);
        assert_eq!(Dropped::in_words(&fitted.dropped), None);
        let rest = Dropped::Rest { passage: 0, from: 3 };
        let dropped = [Dropped::Passage(2), rest, Dropped::Demo(3), Dropped::Turn(0)];
        assert_eq!(Dropped::in_words(&dropped).unwrap(), "2 passages and 1 demonstration and 1 earlier turn");
    }

    /// Demonstrations of one word each, `a` the nearest, in a prompt of one word of its own.
    fn demonstrated(order: Order, size: usize) -> Fitted {
        let source = "+++\nname = \"t\"\ntask = \"t\"\ninputs = [\"question\"]\n[fewshot]\npool = \"p.jsonl\"\n+++\n\
             {% for demo in demos %}{{ demo.input }} {% endfor %}{{ question }}";
        let template = Template::parse("t.j2", source, &|_| Ok(String::new())).unwrap();
        let demo = |(place, input): (usize, &str)| Demo {
            id: input.into(),
            place,
            values: Map::from_iter([("input".to_owned(), input.into())]),
        };
        let demos: Vec<Demo> = [(5, "a"), (2, "b"), (9, "c")].into_iter().map(demo).collect();
        let values = values();
        let contents = Contents { demos: &demos, order, ..Contents::of(&values) };
        fit(&template, &contents, Window { size, completion: 0 }, &words).unwrap()
    }

    #[test]
    fn the_farthest_demonstrations_go_first_and_the_others_stand_in_the_order_asked_for() {
        let text = |order, size| demonstrated(order, size).prompt.text();
        assert_eq!(text(Order::NearestLast, 9), "c b a Why?");
        assert_eq!(text(Order::NearestFirst, 9), "a b c Why?");
        assert_eq!(text(Order::Pool, 9), "b a c Why?");
        assert_eq!(text(Order::Pool, 3), "b a Why?");
        let tight = demonstrated(Order::NearestLast, 2);
        assert_eq!((tight.prompt.text(), tight.demos, tight.tokens), ("a Why?".to_owned(), 1, 2));
        assert_eq!(tight.dropped, [Dropped::Demo(2), Dropped::Demo(1)]);
        assert_eq!(demonstrated(Order::NearestLast, 1).demos, 0);
    }

    /// `qa/plain` without passages.
    fn frame() -> usize {
        fitted(&[], 1000).unwrap().tokens
    }

    #[test]
    fn what_fits_is_shown_whole() {
        let fitted = fitted(&[shown("One two."), shown("Three.")], 1000).unwrap();
        assert_eq!((fitted.shown, fitted.dropped.len()), (2, 0));
        assert!(fitted.prompt.text().contains("One two.") && fitted.prompt.text().contains("Three."));
    }

    #[test]
    fn the_worst_passages_go_first() {
        let passages = [shown("One two three."), shown("Four five six."), shown("Seven eight nine.")];
        let per_passage = 3 + 2 + 2; // words, number and title, quotation marks
        let fitted = fitted(&passages, frame() + 2 * per_passage).unwrap();
        assert_eq!((fitted.shown, fitted.dropped), (2, vec![Dropped::Passage(2)]));
        assert!(fitted.prompt.text().contains("Four five six."));
    }

    #[test]
    fn a_passage_too_long_alone_is_cut_at_a_sentence_and_that_is_said() {
        let text = "One two three. Four five. Six seven.";
        let fitted = fitted(&[shown(text), shown("x")], frame() + 4 + 5).unwrap();
        assert_eq!(fitted.dropped, [Dropped::Passage(1), Dropped::Rest { passage: 0, from: 25 }]);
        assert!(fitted.prompt.text().contains("One two three. Four five.\n"));
        assert!(!fitted.prompt.text().contains("Six"));
    }

    #[test]
    fn too_long_says_by_how_much() {
        let error = fitted(&[shown("One two three. Four.")], frame() + 5).unwrap_err();
        assert!(matches!(error, Error::TooLong(_)), "{error}");
        assert!(error.to_string().contains(&format!("leaves {}", frame() + 5)), "{error}");
        assert!(matches!(fitted(&[], 1).unwrap_err(), Error::TooLong(_)));
        assert!(matches!(fitted(&[shown("")], 1).unwrap_err(), Error::TooLong(_)));
    }

    proptest! {
        #[test]
        fn as_many_of_the_last_turns_are_shown_as_fit(turns in 0usize..20, size in 1usize..50) {
            let fitted = conversed(&[shown("One.")], &said(turns), size);
            let kept = turns - fitted.dropped.len();
            prop_assert_eq!(kept, turns.min((size - 1) / 2));
            prop_assert_eq!(fitted.tokens, 1 + 2 * kept);
        }

        #[test]
        fn nothing_that_comes_back_is_longer_than_the_room(
            texts in prop::collection::vec("([a-z]{1,3}[ .]){0,12}", 0..5), size in 0usize..80,
        ) {
            let passages: Vec<Shown> = texts.iter().map(|text| shown(text)).collect();
            if let Ok(fitted) = fitted(&passages, size) {
                prop_assert!(fitted.tokens <= size);
                let whole = fitted.dropped.iter().filter(|d| matches!(d, Dropped::Passage(_))).count();
                prop_assert_eq!(whole + fitted.shown, passages.len());
            }
        }
    }
}
