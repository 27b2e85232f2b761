use proptest::prelude::*;

use super::*;

/// What the last of `questions` is asked as, each having been asked as a follow-up of those before.
fn after(questions: &[&str]) -> String {
    let mut asked: Vec<String> = Vec::new();
    for question in questions {
        let before = asked.last().map(|last| Before {
            question: last,
            earlier: asked.len().checked_sub(2).map(|at| asked[at].as_str()),
            ..Before::default()
        });
        let rewritten = before.and_then(|before| stand_alone(question, &before));
        asked.push(rewritten.unwrap_or_else(|| (*question).to_owned()));
    }
    asked.pop().unwrap_or_default()
}

/// Each question of a conversation, and what it is asked as.
fn assert_conversation(conversation: &[(&str, &str)]) {
    let asked: Vec<&str> = conversation.iter().map(|(asked, _)| *asked).collect();
    for (at, (_, expected)) in conversation.iter().enumerate() {
        assert_eq!(after(&asked[..=at]), *expected);
    }
}

#[test]
fn a_conversation_about_a_language_keeps_its_subject() {
    let conversation = [
        ("What is ownership?", "What is ownership?"),
        ("Why does it matter?", "Why does ownership matter?"),
        ("And what about borrowing?", "Why does borrowing matter?"),
        ("How are slices related to it?", "How are slices related to borrowing?"),
        ("Are they checked by the compiler?", "Are slices checked by the compiler?"),
        ("Why?", "Why are slices checked by the compiler?"),
        ("How do threads share memory?", "How do threads share memory?"),
    ];
    assert_conversation(&conversation);
}

#[test]
fn what_is_asked_for_is_not_what_a_fragment_takes_the_place_of() {
    assert_eq!(
        after(&["How many parameters does LoRA train?", "and prefix tuning?"]),
        "How many parameters does prefix tuning train?"
    );
    assert_eq!(
        after(&["Which rules apply to the lease?", "And the flat?"]),
        "Which rules apply to the flat?"
    );
}

#[test]
fn a_conversation_about_contracts_moves_on_to_another_one() {
    let conversation = [
        ("When does the support contract end?", "When does the support contract end?"),
        ("Who signed it?", "Who signed the support contract?"),
        ("and the lease?", "Who signed the lease?"),
        ("When is its rent due?", "When is the lease's rent due?"),
        ("And in winter?", "When is the lease's rent due in winter?"),
        ("or in summer?", "When is the lease's rent due in summer?"),
    ];
    assert_conversation(&conversation);
}

#[test]
fn what_a_fragment_brought_in_is_what_the_conversation_is_about() {
    let garden =
        ["How often are tomatoes watered?", "And in winter?", "or in summer?", "What about cucumbers?"];
    assert_eq!(after(&garden), "How often are cucumbers watered in summer?");
    let errors = ["How is error handling done in Rust?", "And logging?", "When should I use it?"];
    assert_eq!(after(&errors), "When should I use logging?");
    let other =
        ["What is a lifetime?", "When do I need one?", "How does the compiler check it?", "Can I omit it?"];
    assert_eq!(after(&other), "Can I omit a lifetime?");
    let cut = ["What is Rc<T>?", "Is it thread safe?", "When is it dropped?"];
    assert_eq!(after(&cut), "When is Rc<T> dropped?");
}

#[test]
fn each_way_of_leaning_is_seen() {
    for (before, asked, expected) in [
        ("What is a slice?", "What's its type?", "What's a slice's type?"),
        ("What are slices?", "What is their type?", "What is slices' type?"),
        ("What is ownership?", "How so?", "What is ownership? How so?"),
        ("What is ownership? How so?", "Tell me more.", "What is ownership? Tell me more."),
        ("What is ownership?", "Why is that?", "What is ownership? Why is that?"),
        ("What is ownership?", "How does that work?", "How does ownership work?"),
        ("What is ownership?", "Tell me more about it", "Tell me more about ownership"),
        ("Is ownership checked?", "And why?", "why is ownership checked?"),
        ("What is ownership?", "lifetimes?", "What are lifetimes?"),
        ("What is ownership?", "What about slices?", "What are slices?"),
        ("What is ownership?", "When it's moved, is it gone?", "When ownership's moved, is it gone?"),
        ("What are threads?", "What if they're stuck?", "What if threads are stuck?"),
        ("Does the lease cover heating?", "Does this lease end?", "Does the lease end?"),
        ("What is ownership?", "Why does this error occur?", "Why does this error occur (ownership)?"),
        (
            "What is ownership?",
            "Does the same apply to slices?",
            "Does the same apply to slices (ownership)?",
        ),
        ("What is ownership?", "What else does Rust check?", "What else does Rust check (ownership)?"),
        ("Rc and Box", "Which one is faster?", "Which one is faster (Rc and Box)?"),
        ("What is a lifetime?", "When do I need one?", "When do I need a lifetime?"),
        ("What is Rc<T>?", "What should I use instead?", "What should I use instead (Rc<T>)?"),
        ("Who approves travel?", "And below that?", "Who approves travel? And below that?"),
        ("What is watering?", "Why not at noon?", "What is watering? Why not at noon?"),
        // As the guide has them.
        ("When does the support contract end?", "Who signed it?", "Who signed the support contract?"),
        ("When does the support contract end?", "and the lease?", "When does the lease end?"),
        (
            "When does the support contract end?",
            "And in Norway?",
            "When does the support contract end in Norway?",
        ),
        ("When does the support contract end?", "How so?", "When does the support contract end? How so?"),
        (
            "When does the support contract end?",
            "What else do I owe?",
            "What else do I owe (the support contract)?",
        ),
        ("What are the rules?", "What are the exceptions?", "What are the rules? What are the exceptions?"),
    ] {
        let rewritten = stand_alone(asked, &Before { question: before, ..Before::default() });
        assert_eq!(rewritten.as_deref(), Some(expected), "{before} {asked}");
    }
}

#[test]
fn what_is_done_next_is_done_to_the_same() {
    let add = "How do I add elements to a vector?";
    for (asked, expected) in [
        ("And remove them?", "How do I remove elements of a vector?"),
        ("and sort it?", "How do I sort a vector?"),
        ("And how do I remove them?", "And how do I remove elements of a vector?"),
        ("When are they dropped?", "When are elements of a vector dropped?"),
        ("And remove the first element?", "How do I remove the first element (elements of a vector)?"),
        ("Are these elements dropped?", "Are elements of a vector dropped?"),
        ("What about hash maps?", "How do I add elements to hash maps?"),
    ] {
        assert_eq!(after(&[add, asked]), expected);
    }
    assert_eq!(
        after(&[add, "And remove them?", "What about hash maps?"]),
        "How do I remove elements of hash maps?"
    );
    // Where nobody does anything, the pronoun is filled in as ever.
    assert_eq!(after(&["What is a vector?", "And remove it?"]), "And remove a vector?");
    assert_eq!(
        after(&["What are closures in Rust?", "Are they slow?"]),
        "Are closures in Rust slow?",
        "where they are says which they are"
    );
    assert_eq!(after(&["How do I compare strings to numbers?", "Are they slow?"]), "Are strings slow?");
}

#[test]
fn a_name_with_a_question_word_in_it_is_a_name() {
    let founded = ["When was Girls Who Code founded?", "Who founded it?", "And when?"];
    assert_eq!(after(&founded[..2]), "Who founded Girls Who Code?");
    assert_eq!(after(&["Who runs the IT department?", "Where is it?"]), "Where is the IT department?");
}

#[test]
fn a_fragment_takes_the_place_of_what_something_is_of() {
    for (before, asked, expected) in [
        ("What is a vector?", "What about hash maps?", "What are hash maps?"),
        ("How do I create a vector?", "What about hash maps?", "How do I create hash maps?"),
        ("What are the rules of ownership?", "And borrowing?", "What are the rules of borrowing?"),
        ("What are the rules of ownership?", "And the penalties?", "What are the penalties?"),
        ("Who is the owner of the flat?", "And the house?", "Who is the owner of the house?"),
        ("And how do slices work?", "What about vectors?", "how do vectors work?"),
        ("is hash maps slow?", "What about vectors?", "are vectors slow?"),
    ] {
        assert_eq!(after(&[before, asked]), expected);
    }
}

#[test]
fn several_things_are_carried_on_together() {
    for (conversation, expected) in [
        (
            &["What are the two string types?", "How do they differ?"][..],
            "How do the two string types differ?",
        ),
        (&["What is Rc and what is Arc?", "How do they differ?"], "How do Rc and Arc differ?"),
        (&["What is Rc?", "and Arc?", "How do they differ?"], "How do Rc and Arc differ?"),
        (
            &["What is Rc?", "What is Arc?", "What is the difference?"],
            "What is the difference between Rc and Arc?",
        ),
        (&["How does Rc differ from Arc?", "Are they safe?"], "Are Rc and Arc safe?"),
        (&["What is Rc, Arc, or Box?", "Which is faster?"], "Which is faster (Rc, Arc and Box)?"),
        (&["What is Rc and what is Arc?", "Which one is faster?"], "Which one is faster (Rc and Arc)?"),
        (&["What are slices?", "Are they safe?"], "Are slices safe?"),
        (&["What is ownership?", "What is the difference?"], "What is ownership? What is the difference?"),
        (&["What is Rc?", "What is Rc?", "Are they safe?"], "Are Rc safe?"),
    ] {
        assert_eq!(after(conversation), expected);
    }
}

#[test]
fn a_question_that_stands_alone_is_left_to_the_letter() {
    let before = Before { question: "What is ownership?", ..Before::default() };
    for asked in [
        "What happens to a value when its owner goes out of scope?",
        "If a value is moved, can it be used again?",
        "Is it possible to have two owners?",
        "How long does it take to compile a large crate?",
        "What does it mean when the compiler says E0382?",
        "Which function returns a value that owns its memory?",
        "Do two threads share the same memory?",
        "Is borrowing the same as lending?",
        "is hash maps slow?",
        "Which is the largest planet?",
        "What is the difference between String and &str?",
        "And how do slices work?",
        "So what is a lifetime?",
        "borrowing rules",
        "the borrow checker",
        "Does one thread wait for another thread?",
        "Who said that ownership is hard?",
        "What does this book say about traits?",
        "Explain lifetimes",
        "所有权是什么？",
        "Was ist ein Vertrag?",
        "",
        "?!",
    ] {
        assert_eq!(stand_alone(asked, &before), None, "{asked}");
    }
}

#[test]
fn a_person_is_looked_for_in_the_answer_and_a_subject_in_the_title() {
    let signed = Before {
        question: "Who signed the support contract?",
        answer: "The support contract was signed by Maria Lang on 2 May.",
        ..Before::default()
    };
    assert_eq!(stand_alone("Where does she work?", &signed).unwrap(), "Where does Maria Lang work?");
    assert_eq!(
        stand_alone("When did she sign it?", &signed).unwrap(),
        "When did Maria Lang sign the support contract?"
    );
    let nobody = Before { answer: "", ..signed };
    assert_eq!(
        stand_alone("When did she sign it?", &nobody).unwrap(),
        "When did she sign the support contract?"
    );
    let title = Before { question: "How does it work?", title: Some("Ownership"), ..Before::default() };
    assert_eq!(stand_alone("Is it safe?", &title).unwrap(), "Is Ownership safe?");
    let nothing = Before { question: "How does it work?", ..Before::default() };
    assert_eq!(stand_alone("Is it safe?", &nothing), None);
}

#[test]
fn a_whole_page_is_no_follow_up() {
    let before = Before { question: "What is ownership?", ..Before::default() };
    assert_eq!(stand_alone(&"is it ".repeat(200_000), &before), None);
}

#[test]
fn nothing_said_before_nothing_to_lean_on() {
    assert_eq!(stand_alone("Why?", &Before::default()), None);
}

const SUBJECTS: [&str; 6] = ["ownership", "borrowing", "the lease", "Rust", "a mutable slice", "Rc<T>"];
const FRAMES: [&str; 5] =
    ["What is {}?", "Why does {} matter?", "Who signed {}?", "How are traits related to {}?", "Explain {}"];
const LEANING: [&str; 6] = [
    "Why does it matter?",
    "What is its price?",
    "How does that work?",
    "Is it safe?",
    "Tell me more about this.",
    "and it?",
];

proptest! {
    #[test]
    fn a_rewritten_follow_up_names_the_subject_and_stands_alone(
        subject in 0..SUBJECTS.len(), frame in 0..FRAMES.len(), leaning in 0..LEANING.len(),
    ) {
        // `traits` of that frame is another subject.
        let question = FRAMES[frame].replace("{}", SUBJECTS[subject]);
        let before = Before { question: &question, ..Before::default() };
        let rewritten = stand_alone(LEANING[leaning], &before).unwrap();
        prop_assert!(rewritten.contains(SUBJECTS[subject]), "{rewritten}");
        if LEANING[leaning] != "and it?" {
            prop_assert_eq!(stand_alone(&rewritten, &before), None);
        }
    }

    #[test]
    fn a_fragment_takes_the_subjects_place(
        old in 0..SUBJECTS.len(), new in 0..SUBJECTS.len(), frame in 0..FRAMES.len() - 2,
    ) {
        let question = FRAMES[frame].replace("{}", SUBJECTS[old]);
        let before = Before { question: &question, ..Before::default() };
        let rewritten = stand_alone(&format!("and {}?", SUBJECTS[new]), &before);
        let expected = FRAMES[frame].replace("{}", SUBJECTS[new]);
        prop_assert_eq!(rewritten.unwrap_or_else(|| question.clone()), expected);
    }

    #[test]
    fn questions_of_their_own_are_left_alone_whatever_was_said(
        subject in 0..SUBJECTS.len(), frame in 0..FRAMES.len(), before in "\\PC{0,60}",
    ) {
        let asked = FRAMES[frame].replace("{}", SUBJECTS[subject]);
        prop_assert_eq!(stand_alone(&asked, &Before { question: &before, ..Before::default() }), None);
    }

    #[test]
    fn anything_may_be_typed(
        asked in "((it|that|its|and|what|about|the|same|she|is|does|why|one|else|lease|Rc<T>|'s|they're|é|,|\\?|\"|  ) ?){0,12}",
        before in "((the|lease|is|does|Anna|Meyer|in|why|it|\\?|,|ß) ?){0,12}",
    ) {
        let context = Before { question: &before, earlier: Some("the lease"), answer: &before, title: Some("T") };
        if let Some(rewritten) = stand_alone(&asked, &context) {
            prop_assert!(!rewritten.trim().is_empty());
            prop_assert!(rewritten.len() <= asked.len() + 8 * (before.len() + 4));
        }
    }
}
