//! An encoder small enough to be made in a test: the golden tiny BERT and a tokenizer of three hundred words.
//!
//! Its vectors mean nothing and cost nothing; what is tested with it is everything around the model.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

/// Chunks that fit its window of 64 tokens.
pub const PROFILE: &str = "\
[chunker]
body = 40
max_body = 46
header = 12
total = 60
min = 8
overlap = 6

[embedder]
name = \"tiny\"
dimension = 48
";

/// The `index`-th word of its vocabulary, which has 300.
pub fn word(index: usize) -> String {
    const ONSETS: [&str; 15] = ["b", "d", "f", "g", "h", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z"];
    const RIMES: [&str; 20] = [
        "alo", "ami", "anu", "aro", "asi", "elu", "emo", "eni", "eru", "eso", "ila", "imo", "inu", "ira",
        "iso", "ola", "omi", "onu", "ora", "osi",
    ];
    let index = index % 300;
    format!("{}{}", ONSETS[index % 15], RIMES[index / 15])
}

/// Makes the encoder in the folder `dir`. Those with another `seed` read words as other numbers, so their vectors differ.
pub fn encoder(dir: &Path, seed: usize) -> PathBuf {
    fs::create_dir_all(dir).unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny/bert");
    for file in ["config.json", "model.safetensors"] {
        fs::copy(golden.join(file), dir.join(file)).unwrap();
    }
    fs::write(dir.join("tokenizer.json"), tokenizer(seed).to_string()).unwrap();
    dir.to_owned()
}

fn tokenizer(seed: usize) -> Value {
    let special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"].map(str::to_owned);
    let words = (0..300).map(|index| word(index + seed));
    let vocab: Map<String, Value> =
        special.into_iter().chain(words).zip((0..).map(|id: u32| id.into())).collect();
    let around = |id: &str, type_id: u32| json!({ "SpecialToken": { "id": id, "type_id": type_id } });
    let token = |id: &str, number: u32| (id.to_owned(), json!({ "id": id, "ids": [number], "tokens": [id] }));
    json!({
        "version": "1.0", "truncation": null, "padding": null, "decoder": null, "added_tokens": [],
        "normalizer": { "type": "Lowercase" },
        "pre_tokenizer": { "type": "BertPreTokenizer" },
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [around("[CLS]", 0), { "Sequence": { "id": "A", "type_id": 0 } }, around("[SEP]", 0)],
            "pair": [{ "Sequence": { "id": "A", "type_id": 0 } }, { "Sequence": { "id": "B", "type_id": 1 } }],
            "special_tokens": Map::from_iter([token("[CLS]", 2), token("[SEP]", 3)]),
        },
        "model": { "type": "WordLevel", "vocab": vocab, "unk_token": "[UNK]" },
    })
}
