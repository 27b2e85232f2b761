use proptest::prelude::*;

use super::*;

const OWNERSHIP: &str = "Each value in Rust has an owner. There can only be one owner at a time.\n\n\
    When the owner goes out of scope, the value will be dropped. Rust 1.85 was released on 20 February 2025. \
    Rust does not have a garbage collector; ownership frees the memory. Graydon Hoare created it at Mozilla.";

fn evidence(text: &str) -> Evidence<'_> {
    Evidence { text, header: "The Book > Ownership", format: Format::Markdown, document: "book.md" }
}

fn claim(answer: &str, text: &str) -> Claim {
    let grounding = ground(answer, "", &[evidence(text)]);
    assert_eq!(grounding.claims.len(), 1, "{grounding:?}");
    grounding.claims[0].clone()
}

fn quotes(claim: &Claim, text: &'static str) -> Vec<&'static str> {
    claim.quotes.iter().map(|range| &text[range.clone()]).collect()
}

#[test]
fn a_paraphrase_in_the_passage_s_words_is_supported_and_quoted_by_one_sentence() {
    let claim = claim("The value is dropped when its owner goes out of scope [1].", OWNERSHIP);
    assert!(claim.supported, "{claim:?}");
    assert_eq!(quotes(&claim, OWNERSHIP), ["When the owner goes out of scope, the value will be dropped."]);
}

#[test]
fn a_claim_over_two_sentences_quotes_both_in_order() {
    let claim = claim(
        "When the owner goes out of scope the value is dropped, and only one owner is possible at a time.",
        OWNERSHIP,
    );
    assert_eq!(
        quotes(&claim, OWNERSHIP),
        [
            "There can only be one owner at a time.",
            "When the owner goes out of scope, the value will be dropped."
        ]
    );
}

#[test]
fn a_number_or_a_name_that_is_not_there_is_named() {
    let wrong = claim("Rust 1.86 was released on 20 February 2025.", OWNERSHIP);
    assert!(!wrong.supported);
    assert_eq!(wrong.missing, ["1.86"]);
    let wrong = claim("The language was created by Graydon Miller at Mozilla.", OWNERSHIP);
    assert_eq!(wrong.missing, ["Miller"]);
    let wrong = claim("Linus Hoare created it at Mozilla.", OWNERSHIP);
    assert_eq!(wrong.missing, ["Linus"]);
    assert!(!wrong.supported);
    assert_eq!(claim("It was released on 2 February 2025 in Rust 1.85.", OWNERSHIP).missing, ["2"]);
}

#[test]
fn a_name_may_stand_in_the_headings() {
    assert!(claim("In the Book, each value has an owner.", OWNERSHIP).supported);
}

#[test]
fn a_denial_of_what_the_passage_says_is_a_contradiction() {
    for wrong in [
        "Rust has a garbage collector.",
        "When the owner goes out of scope, the value will not be dropped.",
        "Ownership never frees the memory.",
    ] {
        let claim = claim(wrong, OWNERSHIP);
        assert!(claim.contradicted && !claim.supported, "{wrong}: {claim:?}");
    }
    let passages = [evidence("Tea is hot."), evidence(OWNERSHIP)];
    let told = &ground("Rust has a garbage collector.", "", &passages).claims[0];
    assert_eq!((told.passage, told.contradicted), (Some(1), true));
    for right in ["Rust doesn't have a garbage collector.", "Ownership frees memory."] {
        assert!(claim(right, OWNERSHIP).supported, "{right}");
    }
}

#[test]
fn half_a_sentence_is_not_the_sentence() {
    let text = "It is not true that cats fly. Birds do.";
    assert!(claim("Cats fly.", text).contradicted);
    assert!(claim("cats fly.", text).contradicted);
    assert!(claim("It is not true\nthat cats fly.", text).supported);
    assert!(claim("Birds do.", text).supported);
}

#[test]
fn a_sentence_of_a_quotation_is_found_with_and_without_its_marks() {
    let text = "> Data of a known\n> size is not\n> boxed.";
    for answer in [
        "Data of a known\n> size is not\n> boxed.",
        "> Data of a known size is not boxed.",
        "Data of a known size is not boxed.",
    ] {
        assert!(claim(answer, text).supported, "{answer:?}");
    }
}

#[test]
fn the_first_word_of_a_sentence_is_no_name_because_it_opens_it() {
    assert!(claim("Values get dropped when the owner goes out of scope.", OWNERSHIP).supported);
    assert!(
        claim("GitHub values get dropped when the owner goes out of scope.", OWNERSHIP).missing == ["GitHub"]
    );
}

#[test]
fn the_passage_that_supports_is_named_and_the_first_of_equals() {
    let other = "Tea is made of leaves.";
    let passages = [evidence(other), evidence(OWNERSHIP), evidence(OWNERSHIP)];
    let grounding = ground("Each value has an owner. Tea is made of leaves. Cats purr.", "", &passages);
    let named: Vec<_> = grounding.claims.iter().map(|claim| claim.passage).collect();
    assert_eq!(named, [Some(1), Some(0), None]);
    assert!(!grounding.is_grounded());
    assert!((grounding.share() - 2.0 / 3.0).abs() < 1e-6);
}

#[test]
fn words_spread_over_two_passages_support_nothing() {
    let passages = [evidence("Copper boils late."), evidence("Zinc melts early.")];
    assert!(!ground("Copper and zinc: boils late, melts early.", "", &passages).is_grounded());
}

#[test]
fn chinese_claims_are_compared_by_pairs_of_characters() {
    let text = "每个值都有一个所有者。当所有者离开作用域时，值将被丢弃。Rust 于2015年发布。";
    assert!(claim("当所有者离开作用域时，值被丢弃。", text).supported);
    assert!(!claim("猫喜欢喝牛奶。", text).supported);
    assert_eq!(claim("Rust 于2016年发布。", text).missing, ["2016"]);
    assert!(claim("当所有者离开作用域时，值将不被丢弃。", text).contradicted);
}

#[test]
fn nothing_said_is_not_grounded() {
    for answer in ["", "   ", "...", "[1]", "\u{0}"] {
        assert!(!ground(answer, "", &[evidence(OWNERSHIP)]).is_grounded(), "{answer:?}");
    }
    let alone = ground("Rust is fast.", "", &[]);
    assert_eq!((alone.is_grounded(), alone.claims[0].passage), (false, None));
}

fn passages() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "owner", "value", "Rust", "scope", "3", "1.85", "dropped", "不", "内存", "isn't", "the", "of",
        "GitHub", "e.g.",
    ]);
    let sentence = (prop::collection::vec(word, 1..8), prop::sample::select(vec![".", "!", "?", "。", "；"]))
        .prop_map(|(words, end)| words.join(" ") + end);
    let block = (prop::sample::select(vec!["", "- ", "> ", "# "]), prop::collection::vec(sentence, 1..4))
        .prop_map(|(marker, sentences)| format!("{marker}{}", sentences.join(" ")));
    prop::collection::vec(block, 1..5).prop_map(|blocks| blocks.join("\n\n"))
}

proptest! {
    #[test]
    fn any_sentence_of_a_passage_is_grounded_in_it(text in passages()) {
        let headings = |sentence: &Sentence| sentence.kind == SentenceKind::Heading;
        for sentence in sentences(&text, Format::Markdown).into_iter().filter(|sentence| !headings(sentence)) {
            let grounding = ground(&text[sentence.range.clone()], "", &[evidence(&text)]);
            prop_assert!(grounding.is_grounded(), "{:?} {grounding:?}", &text[sentence.range]);
        }
    }

    #[test]
    fn changing_a_number_makes_a_claim_unsupported(year in 1000u32..9999, other in 1000u32..9999) {
        prop_assume!(year != other);
        let text = format!("The first edition was printed in {year} by a monk in Trier.");
        let answer = text.replace(&year.to_string(), &other.to_string());
        prop_assert!(ground(&text, "", &[evidence(&text)]).is_grounded());
        prop_assert!(!ground(&answer, "", &[evidence(&text)]).is_grounded());
    }

    #[test]
    fn garbage_never_panics_and_ranges_slice(answer in "(\\PC|[\\[\\]0-9 .\n#`|]){0,60}", text in "(\\PC|[\\[\\]0-9 .\n#`|]){0,60}") {
        let grounding = ground(&answer, "", &[evidence(&text), evidence("")]);
        for claim in grounding.claims {
            prop_assert!(answer.get(claim.range.clone()).is_some());
            prop_assert!((0.0..=1.0).contains(&claim.recall));
            if let Some(0) = claim.passage {
                prop_assert!(claim.quotes.iter().all(|quote| text.get(quote.clone()).is_some()));
            }
        }
    }
}

#[test]
fn a_heading_alone_is_no_answer() {
    let text = "### Ownership Rules\n\n- There can only be one owner at a time.";
    let passages = [Evidence { text, header: "Ownership", format: Format::Markdown, document: "" }];
    assert!(!ground("### Ownership Rules", "", &passages).is_grounded());
    assert!(
        ground("### Ownership Rules\n\nThere can only be one owner at a time.", "", &passages).is_grounded()
    );
}

/// Whether the answer to `question` is grounded in `passages`, each a document and its text.
fn grounded(question: &str, answer: &str, passages: &[(&str, &str)]) -> bool {
    let evidence = |&(document, text)| Evidence { text, header: "", format: Format::Text, document };
    ground(answer, question, &passages.iter().map(evidence).collect::<Vec<_>>()).is_grounded()
}

#[test]
fn a_number_has_to_stand_with_what_it_counts() {
    let text = "The Riffomonas tutorial series, by Patrick Schloss 1 of the Department of Microbiology. A playlist \
                aggregates the 14 tutorials.";
    let question = "How many tutorials are in the Riffomonas series?";
    let grounded = |answer| grounded(question, answer, &[("a.txt", text)]);
    assert!(grounded("There are 14 tutorials in the Riffomonas series."));
    assert!(grounded("14"));
    assert!(grounded("The playlist aggregates 14."));
    for wrong in ["There are 1 tutorials in the Riffomonas series.", "1 tutorials"] {
        assert!(!grounded(wrong), "{wrong}");
    }
}

#[test]
fn a_year_belongs_to_what_happened_then() {
    let text = "Submitted on 22 April 2021, reviewed by two referees of the journal and, after changes that took some \
                time, the paper on ApplNumComp was published on 1 May 2025.";
    let grounded = |answer| grounded("When was the ApplNumComp paper published?", answer, &[("a.txt", text)]);
    assert!(grounded("The ApplNumComp paper was published in 2025."));
    assert!(!grounded("The ApplNumComp paper was published in 2021."));
}

#[test]
fn what_a_claim_is_about_may_not_be_missing() {
    let support = "The support contract with Hansen was signed by Maria Lang.";
    let question = "Who signed the lease?";
    let answer = "The lease was signed by Maria Lang.";
    assert!(!grounded(question, answer, &[("support.md", support)]));
    let lease = "The lease costs 900 euros.";
    assert!(!grounded(question, answer, &[("support.md", support), ("lease.md", lease)]));
    assert!(grounded(
        "Who signed the contract?",
        "Maria Lang signed the contract.",
        &[("support.md", support)]
    ));
}

#[test]
fn what_a_question_names_may_stand_elsewhere_in_the_document() {
    let passages = [
        ("a.txt", "Each lesson takes approximately 15-20 minutes to teach."),
        ("a.txt", "We wrote a curriculum for Girls Who Code."),
        ("b.txt", "Boys Who Cook is older."),
    ];
    let question = "How long does a lesson of the Girls Who Code curriculum take?";
    let answer = "A lesson of the Girls Who Code curriculum takes approximately 15-20 minutes.";
    assert!(grounded(question, answer, &passages));
    assert!(!grounded(question, answer, &passages[..1]));
    let stranger = "A lesson of the Boys Who Code curriculum takes approximately 15-20 minutes.";
    assert!(!grounded(question, stranger, &passages));
}

#[test]
fn words_from_here_and_there_make_no_claim() {
    let text = "Tea grows slowly. It is picked by hand. Most of it is dried. Milk turns sour.";
    assert!(!grounded("", "Tea grows slowly and turns sour.", &[("a.txt", text)]));
    assert!(grounded("", "Tea grows slowly and is picked by hand.", &[("a.txt", text)]));
    assert!(!grounded("", "Milk grows slowly.", &[("a.txt", text)]));
}

#[test]
fn a_name_from_the_next_sentence_is_another_answer() {
    let text = "Iran was the second largest producer of oil. Saudi Arabia raised its prices. It was a shock.";
    let question = "Who was the second largest producer of oil?";
    assert!(grounded(question, "The second largest producer of oil was Iran.", &[("a.txt", text)]));
    assert!(!grounded(question, "The second largest producer of oil was Saudi Arabia.", &[("a.txt", text)]));
}
