//! Lines as rows, under a tokenizer whose every id is a byte or a mark of chats, so that ids can be read.

use std::path::Path;

use serde_json::{Map, json};

use super::*;
use crate::train::{Row, Target};

/// `{role}: {content}` a turn, marks around, a newline behind that is nobody's answer.
const CHATML: &str = "{% if messages[0].role != 'system' %}<s>system\nBe kind.</s>\n{% endif %}{% for m in messages %}<s>\
                      {{ m.role }}\n{{ m.content }}</s>\n{% endfor %}{% if add_generation_prompt %}<s>assistant\n{% endif %}";

/// The same, forgetting what assistants said before.
const FORGETFUL: &str = "{% for m in messages %}<s>{{ m.role }}\n{% if m.role != 'assistant' or loop.last %}\
                         {{ m.content }}{% endif %}</s>\n{% endfor %}{% if add_generation_prompt %}<s>assistant\n{% endif %}";

/// As GPT-2 writes bytes.
fn alphabet() -> Vec<char> {
    let printable = |byte: u32| matches!(byte, 33..=126 | 161..=172 | 174..=255);
    let mut next = 256;
    let mut letter = |byte: u32| {
        if printable(byte) {
            return char::from_u32(byte).unwrap();
        }
        next += 1;
        char::from_u32(next - 1).unwrap()
    };
    (0..256).map(&mut letter).collect()
}

fn tokenizer(template: Option<&str>) -> Tokenizer {
    let folder = tempfile::tempdir().unwrap();
    let marks = ["<end>", "<s>", "</s>"];
    let mut vocab: Map<String, Value> =
        (0..).zip(alphabet()).map(|(id, c)| (c.to_string(), json!(id))).collect();
    vocab.extend((256..).zip(marks).map(|(id, mark)| (mark.to_owned(), json!(id))));
    let added: Vec<Value> = (256..)
        .zip(marks)
        .map(|(id, mark)| {
            json!({ "id": id, "content": mark, "special": true, "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false })
        })
        .collect();
    let bytes =
        json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    let tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": bytes, "post_processor": null, "decoder": bytes,
        "model": { "type": "BPE", "vocab": vocab, "merges": [] },
    });
    let write = |file: &str, text: String| std::fs::write(folder.path().join(file), text).unwrap();
    write("tokenizer.json", tokenizer.to_string());
    write("tokenizer_config.json", json!({ "eos_token": "<end>" }).to_string());
    write("generation_config.json", json!({ "eos_token_id": [256, 258] }).to_string());
    if let Some(template) = template {
        write("chat_template.jinja", template.to_owned());
    }
    Tokenizer::from_dir(folder.path()).unwrap()
}

/// What a row reads, what is learned of it in brackets.
fn shown(row: &Row) -> String {
    let Target::Tokens(labels) = &row.target else { panic!("a class") };
    let mut text = String::new();
    let mut learned = false;
    for (&id, &label) in row.ids.iter().zip(labels) {
        assert!(label == i64::from(id) || label == crate::nn::loss::IGNORE);
        if (label >= 0) != learned {
            text.push(if learned { ']' } else { '[' });
            learned = !learned;
        }
        match id {
            0..256 => text.push(char::from(id as u8)),
            id => text.push_str(["<end>", "<s>", "</s>"][id as usize - 256]),
        }
    }
    if learned {
        text.push(']');
    }
    text
}

fn source(text: &str) -> (tempfile::TempDir, Source) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("data.jsonl");
    std::fs::write(&file, text).unwrap();
    let source = Source::read(Path::new(&file)).unwrap();
    (folder, source)
}

fn read(reading: &Reading, lines: &[Value]) -> Result<Data> {
    let lines: Vec<String> = lines.iter().map(Value::to_string).collect();
    reading.read(&source(&lines.join("\n")).1)
}

fn rows(template: Option<&str>, line: Value) -> Vec<String> {
    let tokenizer = tokenizer(template);
    read(&Reading::new(&tokenizer, 500), &[line]).unwrap().rows.iter().map(shown).collect()
}

#[test]
fn a_prompt_is_the_user_s_turn_and_its_completion_the_assistant_s_with_its_end() {
    let expected = ["<s>system\nBe kind.</s>\n<s>user\nTea?</s>\n<s>assistant\n[Yes.</s>]"];
    for line in [
        json!({"prompt": "Tea?", "completion": "Yes."}),
        json!({"prompt": [{"role": "user", "content": "Tea?"}], "completion": "Yes."}),
        json!({"prompt": [{"role": "user", "content": "Tea?"}], "completion": [{"role": "assistant", "content": "Yes."}]}),
        json!({"messages": [{"role": "user", "content": "Tea?"}, {"role": "assistant", "content": "Yes."}]}),
        json!({"instruction": "Tea?", "input": "", "output": "Yes."}),
        json!({"question": "Tea?", "answers": ["Yes.", "No."]}),
    ] {
        assert_eq!(rows(Some(CHATML), line.clone()), expected, "{line}");
    }
    let alpaca = json!({"instruction": "Translate.", "input": "Tea", "output": "Tee"});
    assert!(rows(Some(CHATML), alpaca)[0].contains("user\nTranslate.\n\nTea</s>"));
}

#[test]
fn a_model_without_chats_reads_the_prompt_as_it_stands() {
    assert_eq!(
        rows(None, json!({"prompt": "Q: Tea?\nA:", "completion": " Yes."})),
        ["Q: Tea?\nA:[ Yes.<end>]"]
    );
    assert_eq!(rows(None, json!({"input": "Tea?", "output": "Yes."})), ["Tea?[ Yes.<end>]"]);
    let chat = json!({"messages": [
        {"role": "user", "content": "a?"}, {"role": "assistant", "content": "A."},
        {"role": "user", "content": "b?"}, {"role": "assistant", "content": "B."},
    ]});
    assert_eq!(rows(None, chat), ["a?[ A.<end>]", "a? A.\n\nb?[ B.<end>]"]);
    let tokenizer = tokenizer(Some(CHATML));
    let plain = Reading { style: Style::Plain, ..Reading::new(&tokenizer, 500) };
    let data = read(&plain, &[json!({"prompt": "Tea?", "completion": " Yes."})]).unwrap();
    assert_eq!(shown(&data.rows[0]), "Tea?[ Yes.</s>]");
}

#[test]
fn every_turn_of_the_assistant_is_learned_and_not_the_line_end_behind_it() {
    let chat = json!({"messages": [
        {"role": "system", "content": "S"}, {"role": "user", "content": "a?"},
        {"role": "assistant", "content": "A."}, {"role": "user", "content": "b?"},
        {"role": "assistant", "content": "B."}, {"role": "user", "content": "bye"},
    ]});
    assert_eq!(
        rows(Some(CHATML), chat.clone()),
        [
            "<s>system\nS</s>\n<s>user\na?</s>\n<s>assistant\n[A.</s>]\n<s>user\nb?</s>\n<s>assistant\n[B.</s>]"
        ]
    );
    // What the model would read when it is asked differs from turn to turn: a row each.
    assert_eq!(
        rows(Some(FORGETFUL), chat),
        [
            "<s>system\nS</s>\n<s>user\na?</s>\n<s>assistant\n[A.</s>]",
            "<s>system\nS</s>\n<s>user\na?</s>\n<s>assistant\n</s>\n<s>user\nb?</s>\n<s>assistant\n[B.</s>]",
        ]
    );
    // What stands in the prompt is shown, not learned.
    let shot = json!({
        "prompt": [{"role": "user", "content": "a?"}, {"role": "assistant", "content": "A."}, {"role": "user", "content": "b?"}],
        "completion": [{"role": "assistant", "content": "B."}],
    });
    let row = rows(Some(CHATML), shot).remove(0);
    assert!(row.ends_with("<s>assistant\nA.</s>\n<s>user\nb?</s>\n<s>assistant\n[B.</s>]"), "{row}");
}

#[test]
fn a_prompt_has_the_ids_that_asking_gives_it() {
    let tokenizer = tokenizer(Some(CHATML));
    let turns =
        [Message::new("user", " Tea?\n"), Message::new("assistant", "Yes."), Message::new("user", "Now?")];
    let asked = tokenizer.encode_prompt(&Layout::Chat(turns.to_vec()).rendered(&tokenizer).unwrap()).unwrap();
    let line = json!({"prompt": turns, "completion": "No."});
    let data = read(&Reading::new(&tokenizer, 500), &[line]).unwrap();
    assert_eq!(data.rows[0].ids[..asked.len()], asked);
    assert_eq!(end_of_turn(&tokenizer), Some(258));
}

#[test]
fn a_text_is_learned_whole_in_pieces_of_a_window() {
    assert_eq!(rows(Some(CHATML), json!({"text": "Green tea"})), ["[Green tea<end>]"]);
    let tokenizer = tokenizer(None);
    let data = read(&Reading::new(&tokenizer, 4), &[json!({"text": "Green te"})]).unwrap();
    assert_eq!(data.rows.iter().map(shown).collect::<Vec<_>>(), ["[Gree]", "[n te]"]);
    assert_eq!(data.left_out, 0);
}

#[test]
fn every_answer_is_a_row_where_that_is_asked_for_and_columns_have_any_name() {
    let tokenizer = tokenizer(None);
    let columns = Columns { input: Some("mr".into()), answer: Some("refs".into()) };
    let line = json!({"mr": "name[Aromi]", "refs": ["Aromi.", "It is Aromi."], "text": "no"});
    let reading = Reading { columns, ..Reading::new(&tokenizer, 500) };
    assert_eq!(read(&reading, std::slice::from_ref(&line)).unwrap().rows.len(), 1);
    let data = read(&Reading { every_answer: true, ..reading }, &[line]).unwrap();
    let rows: Vec<String> = data.rows.iter().map(shown).collect();
    assert_eq!(rows, ["name[Aromi][ Aromi.<end>]", "name[Aromi][ It is Aromi.<end>]"]);
}

#[test]
fn what_does_not_fit_is_left_out_or_cut_and_an_answer_never() {
    let tokenizer = tokenizer(None);
    let lines =
        [json!({"prompt": "12345678", "completion": "ab"}), json!({"prompt": "1", "completion": "cd"})];
    let drop = Reading::new(&tokenizer, 6);
    let data = read(&drop, &lines).unwrap();
    assert_eq!((data.rows.len(), data.left_out, data.cut), (1, 1, 0));
    let cut = Reading { too_long: TooLong::Cut, ..Reading::new(&tokenizer, 6) };
    let data = read(&cut, &lines).unwrap();
    assert_eq!((shown(&data.rows[0]).as_str(), data.left_out, data.cut), ("678[ab<end>]", 0, 1));
    let long = [lines[1].clone(), json!({"prompt": "1", "completion": "abcdefgh"})];
    let error = read(&cut, &long).unwrap_err();
    assert!(matches!(error, Error::TooLong(_)));
    assert!(
        error.to_string().ends_with("line 2: its answer has 9 tokens, a row with its prompt has room for 6")
    );
    let error = read(&drop, &lines[..1]).unwrap_err();
    assert!(error.to_string().contains("fits the window of 6"), "{error}");
}

#[test]
fn lines_that_are_no_rows_are_named() {
    let tokenizer = tokenizer(Some(CHATML));
    let reading = Reading::new(&tokenizer, 500);
    let good = json!({"prompt": "a", "completion": "b"});
    for (bad, why) in [
        (json!({"prompt": "a"}), "no `completion` in it"),
        (json!({"instruction": "a"}), "no `output` in it"),
        (json!({"input": "a"}), "no `output` in it, hence nothing to learn"),
        (json!({"prompt": "a", "completion": 3}), "`completion` is no text"),
        (json!({"prompt": "a", "completion": " "}), "its answer is empty"),
        (json!({"prompt": [{"role": "me", "content": "a"}], "completion": "b"}), "a turn of `me`"),
        (json!({"messages": [{"role": "user"}]}), "`messages` is no list of turns"),
        (json!({"messages": [{"role": "user", "content": "a"}]}), "no turn of the assistant"),
        (json!(["a"]), "not a JSON object"),
        (json!({"sentence": "a"}), "no `input` in it"),
    ] {
        let error = read(&reading, &[good.clone(), bad]).unwrap_err();
        assert!(error.to_string().contains(&format!("data.jsonl` line 2: {why}")), "{error}");
    }
    let error = read(&reading, &[]).unwrap_err();
    assert!(error.to_string().ends_with("data.jsonl` is empty") && error.advice().is_some());
    let (_folder, broken) = source("{\"prompt\": ");
    assert!(reading.read(&broken).unwrap_err().to_string().contains("line 1"));
}

#[test]
fn splits_and_limits_choose_lines() {
    let tokenizer = tokenizer(None);
    let line = |prompt: &str, split: &str| json!({"prompt": prompt, "completion": "x", "split": split});
    let all = [line("a", "test"), line("b", "train"), line("c", "train")];
    let of = |split: &str, limit| {
        let lines = example::Rows { split: Some(split.to_owned()), limit };
        let data = read(&Reading { lines, ..Reading::new(&tokenizer, 50) }, &all)?;
        Ok::<_, Error>(data.rows.iter().map(shown).collect::<Vec<_>>())
    };
    assert_eq!(of("train", None).unwrap(), ["b[x<end>]", "c[x<end>]"]);
    assert_eq!(of("train", Some(1)).unwrap(), ["b[x<end>]"]);
    assert!(of("dev", None).unwrap_err().to_string().contains("`dev`"));
}

#[test]
fn classes_are_numbered_as_they_are_sorted_or_known() {
    let tokenizer = tokenizer(None);
    let lines = [json!({"text": "abc", "label": "tea"}), json!({"text": "a", "label": "coffee"})];
    let reading = |known: &[&str], causal, window| {
        let known = known.iter().map(|&class| class.to_owned()).collect();
        Reading { kind: Kind::Classes { causal, known }, ..Reading::new(&tokenizer, window) }
    };
    let data = read(&reading(&[], true, 10), &lines).unwrap();
    assert_eq!(data.classes, ["coffee", "tea"]);
    assert_eq!(data.rows, [Row::of_class(b"abc".map(u32::from).to_vec(), 1), Row::of_class(vec![97], 0)]);
    assert_eq!(
        read(&reading(&["tea", "coffee"], true, 10), &lines).unwrap().rows[0].target,
        Target::Class(0)
    );
    let error = read(&reading(&["tea"], true, 10), &lines).unwrap_err();
    assert!(error.to_string().contains("row 2: `coffee` is none of the classes"), "{error}");
    let error = read(&reading(&[], true, 10), &[json!({"text": "a"})]).unwrap_err();
    assert!(error.to_string().contains("no `label`"), "{error}");
    let cut = Reading { too_long: TooLong::Cut, ..reading(&[], true, 2) };
    let data = read(&cut, &lines).unwrap();
    assert_eq!((data.cut, &data.rows[0].ids[..]), (1, &[97, 98][..]));
}

#[test]
fn an_encoder_keeps_its_last_token_when_a_text_is_cut() {
    let bert = Tokenizer::from_dir(&crate::train::testing::tiny("bert")).unwrap();
    let (ids, whole) = ids_of_text(&bert, "balo dalo falo galo", false, 4).unwrap();
    assert_eq!((ids, whole), (vec![2, 4, 5, 3], false));
    assert!(ids_of_text(&bert, "balo", false, 4).unwrap().1);
}
