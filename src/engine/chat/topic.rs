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
    /// The same as it is said again, see [`place`]; the title when the question has no phrase.
    pub texts: Vec<String>,
    /// Several things together, `Rc and Arc`, where the last questions were about several.
    pub several: Option<String>,
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
        let several = several(before, &question, &phrases, &known);
        let in_order = phrases.clone();
        let went_before = before.earlier.unwrap_or_default().to_lowercase();
        phrases.sort_by_key(|phrase| {
            let is_new = phrase.words.start < new.end && new.start < phrase.words.end;
            (!is_new, is_asked_for(&question, phrase), !went_before.contains(&text(phrase).to_lowercase()))
        });
        let in_full = |phrase: &Phrase| text(phrase) + &place(before.question, &question, phrase, &in_order);
        let mut texts: Vec<String> = phrases.iter().map(in_full).collect();
        let title = before.title.map(|title| title.split_whitespace().take(8).collect::<Vec<_>>().join(" "));
        if texts.is_empty() {
            texts.extend(title.filter(|title| !title.is_empty()));
        }
        let is_name = |phrase: &&Phrase| phrase.is_named && !phrase.is_plural && phrase.words.len() > 1;
        let named = phrases.iter().find(is_name).map(text);
        Self { phrases, texts, several, person: person(before.answer).or(named) }
    }

    /// The words of the last `question` that a fragment beginning with `first` takes the place of: its best phrase, or of
    /// `the rules of ownership` and of elements that are added to a vector, what they are of.
    pub fn place_of(&self, question: &[Word], first: &Word) -> Option<Range<usize>> {
        let definite = |word: &Word| word.is_one_of(&["the", "my", "our", "your"]);
        let best = self.phrases.first().filter(|phrase| phrase.words.end <= question.len())?;
        if is_put(question, best)
            && let Some(holder) = holder(best, &self.phrases)
        {
            return Some(holder.words.clone());
        }
        let of = question[best.words.clone()].iter().rposition(|word| word.is_one_of(&["of"]));
        let whole = best.words.start + of.map_or(0, |of| of + 1)..best.words.end;
        // `And the penalties?` are nothing to have rules of.
        let same_kind = question.get(whole.start).is_some_and(definite) || !definite(first);
        Some(if same_kind { whole } else { best.words.clone() })
    }

    /// What `pronoun` stands for.
    pub fn meant(&self, pronoun: &Word) -> Option<&str> {
        if pronoun.is_one_of(&["he", "him", "his", "himself", "she", "her", "hers", "herself"]) {
            return self.person.as_deref();
        }
        let plural = pronoun.is_one_of(&["they", "them", "their", "theirs", "themselves", "these", "those"]);
        let things = || (0..self.texts.len()).filter(|&at| self.person.as_deref() != Some(&self.texts[at]));
        let agrees = |at: &usize| self.phrases.get(*at).is_some_and(|phrase| phrase.is_plural == plural);
        let agreeing = things().find(agrees).map(|at| &self.texts[at]);
        let several = self.several.as_ref().filter(|_| plural);
        let any = things().next().or(Some(0)).and_then(|at| self.texts.get(at));
        agreeing.or(several).or(any).map(String::as_str)
    }
}

/// The things that `they` are where no word for them is plural: `What is Rc and what is Arc?`, or one question after the
/// other. Two that one phrase names already are several too.
fn several(before: &Before, question: &[Word], phrases: &[Phrase], known: &[Phrase]) -> Option<String> {
    /// More are not talked about at once.
    const MANY: usize = 4;
    let text = |text: &str, phrase: &Phrase| text[phrase.range.clone()].to_owned();
    let counts = |phrase: &&Phrase| !is_asked_for(question, phrase);
    let mut things: Vec<String> =
        phrases.iter().filter(counts).map(|phrase| text(before.question, phrase)).collect();
    if let ([last], [earlier]) = (phrases, known)
        && !last.is_plural
        && !earlier.is_plural
    {
        things.insert(0, text(before.earlier.unwrap_or_default(), earlier));
        things.dedup_by_key(|thing| thing.to_lowercase());
    }
    let names_several = |phrase: &Phrase| {
        phrase.is_plural && question[phrase.words.clone()].iter().any(|word| word.is_one_of(&["and", "two"]))
    };
    match (&things[..], phrases) {
        ([thing], [phrase]) => names_several(phrase).then(|| thing.clone()),
        ([first @ .., last], _) if !first.is_empty() && things.len() <= MANY => {
            Some(format!("{} and {last}", first.join(", ")))
        }
        _ => None,
    }
}

/// What says which things are meant, for things without a name or an article of their own: ` of a vector` for the elements
/// of `How do I add elements to a vector?`, ` in Rust` for the closures of `What are closures in Rust?`.
fn place(text: &str, question: &[Word], phrase: &Phrase, all: &[Phrase]) -> String {
    match holder(phrase, all) {
        // Once they are there, they are of it, whatever is done next.
        Some(holder) if is_put(question, phrase) => format!(" of {}", &text[holder.range.clone()]),
        Some(holder)
            if is_indefinite(question, phrase)
                && question[phrase.words.end].is_one_of(&["in", "inside", "within", "on"]) =>
        {
            text[phrase.range.end..holder.range.end].to_owned()
        }
        _ => String::new(),
    }
}

/// The phrase behind `phrase` and one word.
fn holder<'a>(phrase: &Phrase, all: &'a [Phrase]) -> Option<&'a Phrase> {
    all.iter().find(|holder| holder.words.start == phrase.words.end + 1)
}

/// Whether something is made a part of something else: `elements` of `add elements to a vector`.
fn is_put(question: &[Word], phrase: &Phrase) -> bool {
    let verb = phrase.words.start.checked_sub(1).map(|at| &question[at]);
    let to = question.get(phrase.words.end);
    is_indefinite(question, phrase)
        && verb.is_some_and(|verb| verb.is_one_of(PUTTING))
        && to.is_some_and(|to| to.is_one_of(&["to", "into", "onto"]))
}

/// Whether a thing has neither a name nor an article of its own.
fn is_indefinite(question: &[Word], phrase: &Phrase) -> bool {
    let first = &question[phrase.words.start];
    let indefinite = first.is_one_of(&["a", "an"]) || (phrase.is_plural && !first.is(Kind::Determiner));
    indefinite && !phrase.is_named
}

/// What makes one thing a part of another.
const PUTTING: &[&str] =
    &["add", "append", "attach", "copy", "insert", "move", "push", "put", "save", "store", "write"];

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

/// Takes what follows `known` off a phrase that begins with it: `Rc<T> thread` of `Is Rc<T> thread safe?` is `Rc<T>`. What
/// something is of says which it is, and stays.
fn shorten(phrase: &mut Phrase, question: &[Word], known: &[Word]) {
    let words = &question[phrase.words.clone()];
    let begins = words.len() > known.len() && words.iter().zip(known).all(|(a, b)| a.folded == b.folded);
    let begins = begins && !words[known.len()].is_one_of(&["of"]);
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
