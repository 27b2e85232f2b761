//! What kind of thing a question asks for, and whether a sentence has one.
//!
//! "How many", "when", "who", "what is": the first words of a question say what its answer looks like (Li and Roth 2002,
//! "Learning Question Classifiers", call it the expected answer type). Told by rule, for English and, where a few
//! characters settle it, Chinese; anything else asks for anything.

use std::collections::BTreeSet;

use crate::text::terms::{fold, is_stop_word, terms, words};

/// What an answer has to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `how many`, `how long`, `what percentage`
    Number,
    /// `when`, `what year`
    Date,
    /// `who`, `where`, `which university`
    Name,
    /// `what is X`, `what does X mean`
    Definition,
    Anything,
}

/// A question, read for what it asks.
#[derive(Debug)]
pub struct Asked {
    pub kind: Kind,
    /// Its content words, stemmed.
    terms: BTreeSet<String>,
    /// All its words, folded.
    words: BTreeSet<String>,
}

impl Asked {
    pub fn new(question: &str) -> Self {
        let listed: Vec<String> = words(question).into_iter().map(|word| fold(&question[word])).collect();
        let terms = terms(question).into_iter().map(|term| term.text).collect();
        Self { kind: kind(question, &listed), terms, words: listed.into_iter().collect() }
    }

    /// How much of what is asked for `sentence` has, in `[0, 1]`; 0.5 when anything may answer.
    pub fn fits(&self, sentence: &str) -> f32 {
        let has = |is: &dyn Fn(&str) -> bool| {
            let mut new = words(sentence).into_iter().map(|word| &sentence[word]);
            new.any(|word| !self.words.contains(&fold(word)) && is(word))
        };
        match self.kind {
            Kind::Anything => 0.5,
            Kind::Number => f32::from(u8::from(has(&is_number))),
            Kind::Date => f32::from(u8::from(has(&is_date))),
            Kind::Name => f32::from(u8::from(self.has_name(sentence))),
            Kind::Definition => self.defines(sentence),
        }
    }

    /// The share of the sentence's content words that the question does not have: what repeats the question answers
    /// nothing.
    pub fn news(&self, sentence: &str) -> f32 {
        let said: BTreeSet<String> = terms(sentence).into_iter().map(|term| term.text).collect();
        let new = said.difference(&self.terms).count();
        new as f32 / said.len().max(1) as f32
    }

    /// Whether more is asked for than yes or no.
    pub fn wants_a_fact(&self) -> bool {
        const ASKING: &[&str] = &[
            "what", "which", "who", "whom", "whose", "when", "where", "why", "how", "what's", "whats", "list",
        ];
        ASKING.iter().any(|word| self.words.contains(*word))
    }

    /// Whether a capital stands where no sentence begins, on a word the question does not have.
    fn has_name(&self, sentence: &str) -> bool {
        let listed = words(sentence);
        let capital = |at: usize| sentence[listed[at].clone()].starts_with(char::is_uppercase);
        (0..listed.len()).any(|at| {
            let folded = fold(&sentence[listed[at].clone()]);
            let inside = at > 0 || (listed.len() > 1 && capital(1));
            capital(at) && inside && !self.words.contains(&folded) && !is_stop_word(&folded)
        })
    }

    /// Whether the sentence says what the thing asked for is: the thing is its subject and a verb that defines comes next
    /// ("A closure is a ..."). Less when it says what the thing is like, or merely names it ("... is called shadowing").
    pub(super) fn defines(&self, sentence: &str) -> f32 {
        let listed: Vec<String> = words(sentence).into_iter().map(|word| fold(&sentence[word])).collect();
        let stem = |word: &String| terms(word).into_iter().next().map(|term| term.text);
        let is_thing = |word: &String| stem(word).is_some_and(|stem| self.terms.contains(&stem));
        let found: BTreeSet<String> = listed.iter().filter(|word| is_thing(word)).filter_map(stem).collect();
        if self.terms.is_empty() || found.len() < self.terms.len() {
            return 0.0;
        }
        let first = listed.iter().position(is_thing).unwrap_or(0);
        let end = first + listed[first..].iter().take_while(|word| is_thing(word)).count();
        let is_plain = |word: &String| is_stop_word(word) || word.ends_with("'s");
        let is_one = listed[..first].iter().any(|word| POINTS.contains(&word.as_str()));
        let is_subject = listed[..first].iter().all(is_plain) && !is_one && end - first >= self.terms.len();
        // "A struct, or structure, is": what else it is called may stand between.
        let verb = listed[end..].iter().take(4).position(|word| DEFINES.contains(&word.as_str()));
        let is_next = |at: usize| at == 0 || listed[end] == "or";
        match verb {
            Some(at) if is_subject && is_next(at) => {
                let next = listed.get(end + at + 1).map_or("", String::as_str);
                let is_copula = matches!(listed[end + at].as_str(), "is" | "are" | "was" | "were");
                if !is_copula || OPENS_A_KIND.contains(&next) || next.ends_with("'s") {
                    1.0
                } else if LIKENS.contains(&next) {
                    0.2
                } else {
                    0.6
                }
            }
            _ if first > 0 && NAMES.contains(&listed[first - 1].as_str()) => 0.5,
            Some(_) if is_subject => 0.3,
            _ => 0.0,
        }
    }
}

/// From here on a sentence defines what a question asks the meaning of.
pub(super) const DEFINING: f32 = 0.6;

const DEFINES: &[&str] = &[
    "is",
    "are",
    "was",
    "were",
    "means",
    "mean",
    "refers",
    "refer",
    "describes",
    "describe",
    "defines",
    "define",
    "represents",
    "represent",
    "consists",
    "consist",
    "allows",
    "allow",
    "lets",
    "let",
    "enables",
    "enable",
    "stands",
];
/// "is a ...", "is the ...": what follows says which kind of thing it is.
const OPENS_A_KIND: &[&str] = &["a", "an", "the", "one", "any", "when", "how", "what", "where"];
/// "is similar to ...": says what it is like.
const LIKENS: &[&str] = &[
    "also",
    "available",
    "called",
    "common",
    "designed",
    "different",
    "for",
    "generally",
    "in",
    "moved",
    "not",
    "often",
    "only",
    "similar",
    "typically",
    "used",
    "useful",
    "usually",
    "valid",
];
/// "This trait is ...": speaks of one of them.
const POINTS: &[&str] =
    &["this", "these", "that", "those", "our", "your", "my", "its", "their", "once", "if", "when"];
const NAMES: &[&str] = &["called", "named", "term"];

fn kind(question: &str, listed: &[String]) -> Kind {
    let has = |words: &[&str]| words.iter().any(|word| listed.iter().any(|had| had == word));
    let follows = |one: &[&str], other: &[&str]| {
        listed.windows(2).any(|pair| one.contains(&&*pair[0]) && other.contains(&&*pair[1]))
    };
    const WHICH: &[&str] = &["what", "which"];
    if question.contains(['几']) || question.contains("多少") {
        return Kind::Number;
    }
    if ["何时", "什么时候", "哪年", "哪一年", "什么时间"].iter().any(|words| question.contains(words))
    {
        return Kind::Date;
    }
    if has(&["when"]) && listed.first().is_some_and(|word| word == "when" || is_preposition(word))
        || follows(WHICH, &["year", "years", "date", "day", "month", "decade", "century"])
    {
        return Kind::Date;
    }
    const MEASURES: &[&str] = &[
        "many", "much", "long", "far", "old", "tall", "large", "big", "high", "fast", "often", "wide",
        "deep", "heavy",
    ];
    const COUNTS: &[&str] =
        &["percentage", "percent", "number", "proportion", "amount", "port", "size", "age", "price", "cost"];
    if follows(&["how"], MEASURES) || follows(WHICH, COUNTS) {
        return Kind::Number;
    }
    const PLACES: &[&str] = &[
        "university",
        "city",
        "country",
        "state",
        "company",
        "organization",
        "organisation",
        "person",
        "team",
        "school",
        "author",
        "authors",
        "institution",
    ];
    let opens = |words: &[&str]| listed.first().is_some_and(|first| words.contains(&first.as_str()));
    if opens(&["who", "whose", "whom", "where"])
        || follows(&["by", "to", "with", "for", "from"], &["whom"])
        || follows(WHICH, PLACES)
    {
        return Kind::Name;
    }
    let about = terms(question).len();
    let asks_what = opens(&["what", "what's", "whats", "define"]);
    let is = listed.get(1).is_some_and(|word| matches!(word.as_str(), "is" | "are" | "does" | "do" | "s"))
        || opens(&["what's", "whats", "define"]);
    let of_what_it_does = listed.get(1).is_some_and(|word| matches!(word.as_str(), "does" | "do"))
        && !has(&["do", "mean", "stand"]);
    if asks_what && is && !of_what_it_does && (1..=3).contains(&about) && !has(&["difference", "for"]) {
        return Kind::Definition;
    }
    Kind::Anything
}

fn is_preposition(word: &str) -> bool {
    matches!(word, "in" | "since" | "until" | "by" | "on" | "from" | "at")
}

fn is_number(word: &str) -> bool {
    const WORDS: &[&str] = &[
        "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
        "dozen", "hundred", "thousand", "million", "billion", "half", "twice", "once", "both", "single",
        "zero", "no", "none", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety",
        "several", "quarter", "third", "daily", "weekly", "monthly",
    ];
    let has_digit = word.chars().any(char::is_numeric);
    has_digit
        || WORDS.contains(&fold(word).as_str())
        || word.chars().all(|c| "零一二三四五六七八九十百千万亿两".contains(c))
}

fn is_date(word: &str) -> bool {
    const WORDS: &[&str] = &[
        "january",
        "february",
        "march",
        "april",
        "june",
        "july",
        "august",
        "september",
        "october",
        "november",
        "december",
        "monday",
        "tuesday",
        "wednesday",
        "thursday",
        "friday",
        "saturday",
        "sunday",
        "century",
        "today",
        "yesterday",
        "spring",
        "summer",
        "autumn",
        "winter",
        "decade",
        "after",
        "before",
        "during",
    ];
    word.chars().any(char::is_numeric) || WORDS.contains(&fold(word).as_str())
}
