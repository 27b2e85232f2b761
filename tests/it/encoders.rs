//! Encoders of each family as they lie on disk: tokenizer, pooling and steps, up to the vector of a text.

use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor};
use incontext::embed::{Embedder, LocalEncoder, Overflow};
use incontext::models::{Batch, Model};
use incontext::nn::Pass;
use incontext::text::tokenizer::Tokenizer;
use serde_json::Value;

use crate::golden::{ENCODERS, tiny};
use crate::run::Folder;

/// A copy of the golden model `family` that a test may add to.
fn copied(folder: &Folder, family: &str) -> std::path::PathBuf {
    let dir = folder.at(family);
    fs::create_dir_all(&dir).unwrap();
    for file in ["config.json", "model.safetensors", "tokenizer.json"] {
        fs::copy(tiny(family).join(file), dir.join(file)).unwrap();
    }
    dir
}

fn load(dir: &Path) -> incontext::Result<Embedder> {
    LocalEncoder::load("tiny", dir, &Device::Cpu).map(Embedder::Local)
}

/// `tests/golden/make_unigram.py` made the tokenizer, and SentencePiece the ids.
#[test]
fn ids_of_xlm_roberta_equal_sentencepieces() {
    let tokenizer = Tokenizer::from_dir(&tiny("xlm_roberta")).unwrap();
    let golden = fs::read(tiny("xlm_roberta").join("ids.json")).unwrap();
    let rows: Vec<Value> = serde_json::from_slice(&golden).unwrap();
    assert!(rows.len() > 5);
    for row in rows {
        let text = row["text"].as_str().unwrap();
        let ids: Vec<u64> = row["ids"].as_array().unwrap().iter().map(|id| id.as_u64().unwrap()).collect();
        let ours: Vec<u64> = tokenizer.encode(text, true).unwrap().into_iter().map(u64::from).collect();
        assert_eq!(ours, ids, "{text:?}");
    }
}

#[test]
fn every_encoder_family_pools_as_its_folder_says() {
    let folder = Folder::new();
    let texts = ["balo dalo falo", "naïve café on the way home", "dalo"];
    for family in ENCODERS {
        let dir = copied(&folder, family);
        let model = Model::load(&dir, &Device::Cpu).unwrap();
        let hidden = |text: &str| {
            let ids = model.tokenizer().unwrap().encode(text, true).unwrap();
            model.transformer.forward(&Batch::single(&ids), Pass::bare()).unwrap()
        };
        fs::create_dir_all(dir.join("1_Pooling")).unwrap();
        let steps = r#"[{"idx": 0, "type": "sentence_transformers.models.Transformer", "path": ""},
            {"idx": 1, "type": "sentence_transformers.models.Pooling", "path": "1_Pooling"},
            {"idx": 2, "type": "sentence_transformers.models.Normalize", "path": "2_Normalize"}]"#;
        fs::write(dir.join("modules.json"), steps).unwrap();
        for cls in [true, false] {
            let pooling =
                format!(r#"{{"pooling_mode_cls_token": {cls}, "pooling_mode_mean_tokens": {}}}"#, !cls);
            fs::write(dir.join("1_Pooling/config.json"), pooling).unwrap();
            let vectors = load(&dir).unwrap().embed(&texts, Overflow::Refuse).unwrap();
            for (text, vector) in texts.iter().zip(vectors) {
                let hidden = hidden(text);
                let pooled = if cls { hidden.get(0).unwrap() } else { hidden.mean(0).unwrap() };
                let length = pooled.sqr().unwrap().sum_all().unwrap().sqrt().unwrap();
                let pooled = pooled.broadcast_div(&length).unwrap();
                let ours = Tensor::new(&vector[..], &Device::Cpu).unwrap();
                let cosine = (pooled * ours).unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
                assert!(cosine > 0.9999, "{family}, {text:?}: {cosine}");
            }
        }
    }
}

#[test]
fn a_step_or_pooling_we_do_not_compute_is_refused_by_name() {
    let folder = Folder::new();
    let dir = copied(&folder, "xlm_roberta");
    let refused = || load(&dir).map(drop).unwrap_err().to_string();
    fs::write(dir.join("modules.json"), r#"[{"type": "sentence_transformers.models.Dense", "path": "2"}]"#)
        .unwrap();
    assert!(refused().contains("`Dense`"), "{}", refused());
    fs::remove_file(dir.join("modules.json")).unwrap();
    fs::create_dir_all(dir.join("1_Pooling")).unwrap();
    for pooling in [
        r#"{"pooling_mode_max_tokens": true}"#,
        r#"{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": true}"#,
    ] {
        fs::write(dir.join("1_Pooling/config.json"), pooling).unwrap();
        assert!(refused().contains("pooling"), "{}", refused());
    }
}
