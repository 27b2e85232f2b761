use super::*;
use candle_core::quantized::gguf_file::VersionedMagic;
use serde::Deserialize;

/// Made by `tests/golden/make_sentencepiece.py`.
#[derive(Deserialize)]
struct Golden {
    tokens: Vec<String>,
    scores: Vec<f32>,
    types: Vec<i32>,
    texts: Vec<Encoded>,
}

#[derive(Deserialize)]
struct Encoded {
    text: String,
    ids: Vec<u32>,
    decoded: String,
}

fn content(metadata: Vec<(&str, Value)>) -> Content {
    let metadata =
        metadata.into_iter().map(|(key, value)| (format!("tokenizer.ggml.{key}"), value)).collect();
    Content { magic: VersionedMagic::GgufV3, metadata, tensor_infos: HashMap::new(), tensor_data_offset: 0 }
}

fn texts<S: Into<String>>(texts: impl IntoIterator<Item = S>) -> Value {
    Value::Array(texts.into_iter().map(|text| Value::String(text.into())).collect())
}

#[test]
fn sentence_piece_ids_equal_the_references() {
    let golden: Golden =
        serde_json::from_str(include_str!("../../../tests/golden/sentencepiece.json")).unwrap();
    let content = content(vec![
        ("model", Value::String("llama".into())),
        ("tokens", texts(golden.tokens)),
        ("scores", Value::Array(golden.scores.into_iter().map(Value::F32).collect())),
        ("token_type", Value::Array(golden.types.into_iter().map(Value::I32).collect())),
        ("unknown_token_id", Value::U32(0)),
    ]);
    let tokenizer = build(&content).unwrap();
    for Encoded { text, ids, decoded } in golden.texts {
        let ours = tokenizer.encode(text.as_str(), false).unwrap();
        assert_eq!(ours.get_ids(), ids, "{text:?} -> {:?}", ours.get_tokens());
        assert_eq!(tokenizer.decode(&ids, true).unwrap(), decoded, "{text:?}");
    }
}

#[test]
fn llama3_keeps_three_digits_together_and_smollm_none() {
    let digits: Vec<String> =
        (0..10).map(|digit| digit.to_string()).chain(["12".into(), "123".into()]).collect();
    for (pre, expected) in [("llama-bpe", vec!["123", "4"]), ("smollm", vec!["1", "2", "3", "4"])] {
        let content = content(vec![
            ("model", Value::String("gpt2".into())),
            ("pre", Value::String(pre.into())),
            ("tokens", texts(digits.clone())),
            ("merges", texts(["1 2", "12 3"])),
        ]);
        let tokenizer = build(&content).unwrap();
        assert_eq!(tokenizer.encode("1234", false).unwrap().get_tokens(), expected, "{pre}");
    }
}

#[test]
fn an_unknown_pipeline_is_refused_by_name() {
    let content =
        content(vec![("model", Value::String("gpt2".into())), ("pre", Value::String("mystery".into()))]);
    let error = build(&content).unwrap_err();
    assert!(error.to_string().contains("`mystery`"), "{error}");
    assert!(error.advice().is_some());
}

/// As Gemma has it: no space before the text, and runs of line breaks that are one token each.
#[test]
fn a_text_comes_back_as_it_was_where_no_space_is_put_before_it() {
    let pieces = ["<unk>", "<turn>", "\n\n", "\n", SPACE, "a", "b", "\u{2581}a", "ab"];
    let types = [2, 3, 4, 1, 1, 1, 1, 1, 1].map(Value::I32);
    let scores = (0..9).map(|score| Value::F32(-score as f32)).collect();
    let content = content(vec![
        ("model", Value::String("llama".into())),
        ("tokens", texts(pieces)),
        ("scores", Value::Array(scores)),
        ("token_type", Value::Array(types.to_vec())),
        ("unknown_token_id", Value::U32(0)),
        ("add_space_prefix", Value::Bool(false)),
    ]);
    let tokenizer = build(&content).unwrap();
    for (text, ids, back) in [
        (" a", vec![7], " a"),
        ("ab\n\n\na", vec![8, 2, 3, 5], "ab\n\n\na"),
        ("<turn>a\n\n", vec![1, 5, 2], "a\n\n"),
    ] {
        let ours = tokenizer.encode(text, false).unwrap();
        assert_eq!(ours.get_ids(), ids, "{text:?} -> {:?}", ours.get_tokens());
        assert_eq!(tokenizer.decode(&ids, true).unwrap(), back, "{text:?}");
    }
}
