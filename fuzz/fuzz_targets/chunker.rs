//! A document of any format (the first byte says which), cut into chunks that lead back to its bytes.
#![no_main]

use std::fs;
use std::sync::LazyLock;

use incontext::text::chunk::{Limits, chunk};
use incontext::text::load::parse;
use incontext::text::tokenizer::Tokenizer;
use libfuzzer_sys::fuzz_target;

/// Every byte-sized character is a token, so that limits are met soon.
static TOKENIZER: LazyLock<Tokenizer> = LazyLock::new(|| {
    let letters: Vec<String> = ('!'..='~').map(|c| format!("{:?}", c.to_string())).collect();
    let vocab: Vec<String> = letters.iter().zip(1..).map(|(letter, id)| format!("{letter}:{id}")).collect();
    let json = format!(
        r#"{{"version":"1.0","added_tokens":[],"pre_tokenizer":{{"type":"BertPreTokenizer"}},
        "model":{{"type":"WordLevel","vocab":{{"[UNK]":0,{}}},"unk_token":"[UNK]"}}}}"#,
        vocab.join(",")
    );
    let dir = tempfile::tempdir().expect("a temporary folder");
    fs::write(dir.path().join("tokenizer.json"), json).expect("room for it");
    Tokenizer::from_dir(dir.path()).expect("a complete tokenizer")
});

fuzz_target!(|bytes: &[u8]| {
    let Some((format, bytes)) = bytes.split_first() else { return };
    let name = ["a.md", "a.txt", "a.html", "a.xhtml", "a.jsonl", "a.rs"][usize::from(*format) % 6];
    let limits = Limits { body: 20, max_body: 24, header: 6, total: 31, min: 4, overlap: 3 };
    if let Ok(document) = parse(name, bytes.to_vec())
        && let Ok(chunks) = chunk(&document, &TOKENIZER, &limits)
    {
        for chunk in chunks {
            assert!(document.source.get(chunk.bytes.clone()).is_some());
        }
    }
});
