//! What a conversation is about, as the last question shows it, and what a pronoun stands for.
//!
//! The best guess is what a fragment just put in the place of something else, then what the question before was about
//! too, then what comes first; what is merely asked for (`how many parameters`) comes last. Number decides before all of these: `they` are several.

use std::ops::Range;

use super::follow_up::Before;
use super::phrases::{Phrase, phrases};
use super::words::{Kind, Word, words};

/// What the conversation is about.
pub(super) struct Topic {
    /// In the last question, best first.
    pub phrases: Vec<Phrase>,
    /// The same as text; the title when the question has no phrase.
    pub texts: Vec<String>,
    person: Option<String>,
}

impl Topic {
    pub fn of(before: &Before) -> Self {
        let question = words(before.question);
        let earlier = words(before.earlier.unwrap_or_default());
        let new = exchanged(&earlier, &question);
        let known = phrases(&earlier);
        let mut phrases = phrases(&question);
        for phrase in &mut phrases {
            for known in &known {
                shorten(phrase, &question, &earlier[known.words.clone()]);
            }
        }
        let text = |phrase: &Phrase| before.question[phrase.range.clone()].to_owned();
        let went_before = before.earlier.unwrap_or_default().to_lowercase();
        phrases.sort_by_key(|phrase| {
            let is_new = phrase.words.start < new.end && new.start < phrase.words.end;
            (!is_new, is_asked_for(&question, phrase), !went_before.contains(&text(phrase).to_lowercase()))
        });
        let mut texts: Vec<String> = phrases.iter().map(text).collect();
        let title = before.title.map(|title| title.split_whitespace().take(8).collect::<Vec<_>>().join(" "));
        if texts.is_empty() {
            texts.extend(title.filter(|title| !title.is_empty()));
        }
        let is_name = |phrase: &&Phrase| phrase.is_named && !phrase.is_plural && phrase.words.len() > 1;
        let named = phrases.iter().find(is_name).map(text);
        Self { phrases, texts, person: person(before.answer).or(named) }
    }

    /// What `pronoun` stands for.
    pub fn meant(&self, pronoun: &Word) -> Option<&str> {
        if pronoun.is_one_of(&["he", "him", "his", "himself", "she", "her", "hers", "herself"]) {
            return self.person.as_deref();
        }
        let plural = pronoun.is_one_of(&["they", "them", "their", "theirs", "themselves", "these", "those"]);
        let things = || (0..self.texts.len()).filter(|&at| self.person.as_deref() != Some(&self.texts[at]));
        let agrees = |at: &usize| self.phrases.get(*at).is_some_and(|phrase| phrase.is_plural == plural);
        let meant = things().find(agrees).or_else(|| things().next()).unwrap_or(0);
        self.texts.get(meant).map(String::as_str)
    }
}

/// Whether the question wants to hear of it and is about something else: `parameters` of `how many parameters does it have`.
fn is_asked_for(question: &[Word], phrase: &Phrase) -> bool {
    let before = phrase.words.start.checked_sub(1).map(|at| &question[at]);
    before.is_some_and(|before| before.is_one_of(&["many", "much", "which"]))
}

/// The words that are new in `question` where it is otherwise `earlier`: what a fragment has put there.
fn exchanged(earlier: &[Word], question: &[Word]) -> Range<usize> {
    let same = |(a, b): &(&Word, &Word)| a.folded == b.folded;
    let start = earlier.iter().zip(question).take_while(same).count();
    let longest = earlier.len().min(question.len()) - start;
    let end = earlier.iter().rev().zip(question.iter().rev()).take(longest).take_while(same).count();
    let new = start..question.len() - end;
    let instead_of_something = start + end < earlier.len();
    // `in winter` instead of `in summer` is another time and no other subject.
    let circumstance = start.checked_sub(1).is_some_and(|before| {
        question[before].is_one_of(&["in", "at", "on", "during", "before", "after", "since", "until"])
    });
    let same_frame = start >= 1 && start + end >= 2;
    if same_frame && instead_of_something && !circumstance { new } else { 0..0 }
}

/// Takes what follows `known` off a phrase that begins with it: `Rc<T> thread` of `Is Rc<T> thread safe?` is `Rc<T>`.
fn shorten(phrase: &mut Phrase, question: &[Word], known: &[Word]) {
    let words = &question[phrase.words.clone()];
    let begins = words.len() > known.len() && words.iter().zip(known).all(|(a, b)| a.folded == b.folded);
    if let Some(last) = known.len().checked_sub(1).filter(|_| begins) {
        phrase.range.end = words[last].range.end;
        phrase.words.end = phrase.words.start + known.len();
    }
}

/// The first name of two words or more.
fn person(answer: &str) -> Option<String> {
    let all = words(answer);
    let is_name = |word: &Word| {
        word.is(Kind::Content)
            && word.text.chars().next().is_some_and(char::is_uppercase)
            && word.text.chars().skip(1).any(char::is_lowercase)
    };
    let start =
        (1..all.len()).find(|&at| is_name(&all[at - 1]) && is_name(&all[at]) && !all[at - 1].breaks)? - 1;
    let end =
        (start + 1..all.len()).find(|&at| all[at - 1].breaks || !is_name(&all[at])).unwrap_or(all.len());
    let name = answer.get(all[start].range.start..all[end - 1].range.end)?;
    Some(name.split_whitespace().collect::<Vec<_>>().join(" "))
}
