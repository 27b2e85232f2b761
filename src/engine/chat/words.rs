//! The words of a question by what they do in it, from the closed classes of English.
//!
//! No tagger and no model: function words are few and can be listed, whatever is not listed carries content. A language
//! that is not English has none of these words, so its questions are all content and are left alone.

use std::ops::Range;

use super::names;
use crate::text::terms::fold;

/// What a word does in a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// what, who, when.
    Ask,
    /// is, does, can.
    Auxiliary,
    /// the, a, my.
    Determiner,
    Preposition,
    /// and, if.
    Conjunction,
    /// it, their, that: may stand for something said before.
    Pronoun,
    /// not, also, you: neither content nor structure.
    Filler,
    Content,
}

/// A word and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word<'a> {
    pub text: &'a str,
    /// As [`fold`] makes it.
    pub folded: String,
    pub range: Range<usize>,
    pub kind: Kind,
    /// Whether punctuation follows.
    pub breaks: bool,
}

impl Word<'_> {
    pub fn is(&self, kind: Kind) -> bool {
        self.kind == kind
    }

    pub fn is_one_of(&self, words: &[&str]) -> bool {
        words.contains(&self.folded.as_str())
    }

    /// Content without a subject of its own: `happen`, `example`.
    pub fn is_vague(&self) -> bool {
        self.is(Kind::Content) && is_form_of(VAGUE, &self.folded)
    }

    /// Whether it may be what somebody does: `end`, `drops`.
    pub fn is_verb(&self) -> bool {
        self.is(Kind::Content) && (is_form_of(VERBS, &self.folded) || is_form_of(VAGUE_VERBS, &self.folded))
    }
}

/// The words of `text` in order. Outer punctuation is no part of a word, inner is: `Rc<T>`, `foo_bar`, `v1.2`.
pub(super) fn words(text: &str) -> Vec<Word<'_>> {
    let mut words: Vec<Word> = Vec::new();
    for piece in text.split_whitespace() {
        let start = piece.as_ptr() as usize - text.as_ptr() as usize;
        let core = core(piece);
        if core.is_empty() {
            // A dash between words parts them.
            if let Some(before) = words.last_mut() {
                before.breaks = true;
            }
            continue;
        }
        let end = core.end + start;
        let breaks = core.end < piece.len();
        let mut push = |range: Range<usize>, breaks: bool| {
            let folded = fold(&text[range.clone()]);
            let kind = kind(&folded);
            words.push(Word { text: &text[range.clone()], folded, range, kind, breaks });
        };
        match clitic(&text[core.start + start..end]) {
            Some(at) => {
                push(core.start + start..core.start + start + at, false);
                push(core.start + start + at..end, breaks);
            }
            None => push(core.start + start..end, breaks),
        }
    }
    names::mark(&mut words);
    words
}

/// A piece without the punctuation around it; a closing bracket stays when its opening one is inside.
fn core(piece: &str) -> Range<usize> {
    let outer = |c: char| !c.is_alphanumeric() && !matches!(c, '_' | '#' | '+' | '<' | '>' | '&' | '$' | '%');
    let mut start = piece.len() - piece.trim_start_matches(outer).len();
    // `'static` is a word, `'word'` is one in quotation marks.
    if piece[..start].ends_with('\'') && !piece[start..].contains('\'') {
        start -= 1;
    }
    let mut end = piece.trim_end_matches(outer).len().max(start);
    let pairs = [('(', ')'), ('[', ']'), ('{', '}')];
    while let Some(close) = piece[end..].chars().next() {
        let inside = &piece[start..end];
        let is_open = |&(open, shut): &(char, char)| {
            shut == close && inside.matches(open).count() > inside.matches(shut).count()
        };
        if !pairs.iter().any(is_open) {
            break;
        }
        end += close.len_utf8();
    }
    start..end
}

/// Where the verb begins that hangs on a function word: at the apostrophe of `it's` and `what's`, not of `Anna's`.
fn clitic(word: &str) -> Option<usize> {
    let (at, _) = word.char_indices().find(|(_, c)| matches!(c, '\'' | '\u{2019}'))?;
    let clitic = fold(&word[at..]);
    let hangs = matches!(clitic.as_str(), "'s" | "'re" | "'ll" | "'ve" | "'d");
    let on = fold(&word[..at]);
    let function = matches!(kind(&on), Kind::Ask | Kind::Pronoun) || matches!(on.as_str(), "there" | "here");
    (hangs && function).then_some(at)
}

fn kind(folded: &str) -> Kind {
    let classes: [(&str, Kind); 7] = [
        (ASK, Kind::Ask),
        (AUXILIARIES, Kind::Auxiliary),
        (DETERMINERS, Kind::Determiner),
        (PREPOSITIONS, Kind::Preposition),
        (CONJUNCTIONS, Kind::Conjunction),
        (PRONOUNS, Kind::Pronoun),
        (FILLERS, Kind::Filler),
    ];
    classes.iter().find(|(words, _)| is_in(words, folded)).map_or(Kind::Content, |(_, kind)| *kind)
}

/// Whether the list `words` has `word`.
pub(super) fn is_in(words: &str, word: &str) -> bool {
    words.split_whitespace().any(|known| known == word)
}

/// Whether `folded` is one of `words`, in a regular form of verbs and nouns.
fn is_form_of(words: &str, folded: &str) -> bool {
    let ending = |ending: &&str| folded.strip_suffix(*ending).filter(|base| base.len() > 1);
    let mut bases = ["ing", "ed", "es", "s", "d"].iter().filter_map(ending);
    let doubled = |base: &str| {
        let mut last = base.chars().rev();
        last.next().is_some_and(|c| last.next() == Some(c))
    };
    is_in(words, folded)
        || bases.any(|base| {
            is_in(words, base)
                || is_in(words, &format!("{base}e"))
                || base.strip_suffix('i').is_some_and(|base| is_in(words, &format!("{base}y")))
                || (base.is_ascii() && doubled(base) && is_in(words, &base[..base.len() - 1]))
        })
}

const ASK: &str = "
    how what when where which who whom whose why
";

const AUXILIARIES: &str = "
    'd 'll 're 's 've am are aren't be been being can can't cannot could couldn't did didn't do does doesn't
    doing don't had hadn't has hasn't have haven't is isn't may might must mustn't shall should shouldn't was
    wasn't were weren't will won't would wouldn't
";

const DETERMINERS: &str = "
    a an any each every my our some the your
";

const PREPOSITIONS: &str = "
    about above across after against among around as at before behind below beneath between beyond by despite
    during for from in inside into like near of off on onto out outside over per since than through till to
    toward towards under until up upon via with within without
";

const CONJUNCTIONS: &str = "
    although and because but if nor once or so though unless whereas whether while
";

const PRONOUNS: &str = "
    he her hers herself him himself his it its itself one she that their theirs them themselves these they this
    those
";

const FILLERS: &str = "
    actually again already also both else enough even ever exactly few here i instead just less many me more
    most much never no none not now ok okay only please really several still such then there too us very we well
    yes yet you
";

/// Content words that say nothing of what is talked about; a question with no others leans on the one before.
const VAGUE: &str = "
    advantage alternative another apply benefit big case catch come con continue describe detail difference
    differently disadvantage downside drawback elaborate example exception expand explain far first five four
    give go happen idea important instance kind large last list long matter mean name often old ones other
    others possible pro purpose reason rest say second short show six sort tell ten thing third three true two
    upside way whole work
";

/// Those of them that a subject goes before.
const VAGUE_VERBS: &str = "
    apply come go happen matter mean work
";

/// Verbs that follow a subject in questions, and that a phrase therefore ends before.
const VERBS: &str = "
    accept add affect agree allow appear append approve arrive ask avoid become begin behave belong borrow
    break bring build buy call cancel cause change charge check choose close compare compile consist contain
    convert copy cost cover crash create decide define delete deliver depend deserve die differ drop eat end
    enforce ensure exist expect expire fail fall feel find finish fit follow free get grow handle help hold
    implement improve include increase insert iterate keep know leave let live look lose make manage meet
    move need offer open own pay prevent produce provide push put reach read receive refer relate remain
    remove renew replace require return run see sell send share sign start stay stop store support survive
    take terminate think try turn use want wear write
";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn kinds(text: &str) -> Vec<(String, Kind)> {
        words(text).into_iter().map(|word| (word.folded, word.kind)).collect()
    }

    #[test]
    fn words_keep_their_inner_punctuation_and_lose_the_outer() {
        let texts: Vec<&str> = words("Why (really) does `Rc<T>` call foo_bar(x), in v1.2? - 'static 'x'!")
            .into_iter()
            .map(|word| word.text)
            .collect();
        assert_eq!(
            texts,
            ["Why", "really", "does", "Rc<T>", "call", "foo_bar(x)", "in", "v1.2", "'static", "x"]
        );
    }

    #[test]
    fn a_verb_that_hangs_on_a_function_word_is_a_word_and_a_possessive_is_not() {
        assert_eq!(kinds("What's"), [("what".into(), Kind::Ask), ("'s".into(), Kind::Auxiliary)]);
        assert_eq!(kinds("they\u{2019}re")[1], ("'re".into(), Kind::Auxiliary));
        assert_eq!(kinds("Anna's"), [("anna's".into(), Kind::Content)]);
    }

    #[test]
    fn verbs_are_known_in_their_regular_forms() {
        let known = |word: &str| words(word)[0].is_verb();
        for word in ["end", "ends", "dropped", "signing", "uses", "stores", "moved"] {
            assert!(known(word), "{word}");
        }
        for word in ["contract", "ownership", "slices"] {
            assert!(!known(word), "{word}");
        }
        assert!(words("examples")[0].is_vague() && words("happens")[0].is_vague());
        assert!(!words("lifetimes")[0].is_vague());
    }

    #[test]
    fn no_word_stands_in_two_classes() {
        let function =
            [ASK, AUXILIARIES, DETERMINERS, PREPOSITIONS, CONJUNCTIONS, PRONOUNS, FILLERS].concat();
        for content in [VAGUE, VERBS] {
            let all: Vec<&str> = function.split_whitespace().chain(content.split_whitespace()).collect();
            let unique: std::collections::BTreeSet<_> = all.iter().collect();
            assert_eq!(unique.len(), all.len());
        }
    }

    proptest! {
        #[test]
        fn words_stand_where_they_say(text in "\\PC{0,60}") {
            let mut end = 0;
            for word in words(&text) {
                prop_assert_eq!(&text[word.range.clone()], word.text);
                prop_assert!(!word.text.is_empty() && word.range.start >= end);
                end = word.range.end;
            }
        }
    }
}
