//! What fuzzing begins with: for each target of `fuzz/` small inputs that are whole, so that mutations of them get somewhere.
//!
//! `INCONTEXT_FUZZ_SEEDS=fuzz/corpus cargo test --release --test it seeds` writes them there.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use candle_core::{Device, Tensor};
use incontext::models::{Batch, Model};
use incontext::nn::Pass;
use incontext::prompt::Template;
use incontext::text::load::parse;

use crate::bad_models::{gguf, texts};
use crate::run::Folder;

/// The shape that the target `safetensors` reads weights as.
const CONFIG: &str = include_str!("../../fuzz/bert.json");
/// Of the formats, as the target `chunker` numbers them by the first byte.
const FORMATS: [&str; 6] = ["a.md", "a.txt", "a.html", "a.xhtml", "a.jsonl", "a.rs"];

/// The first layer of the golden tiny BERT, cut down to that shape.
fn safetensors(folder: &Folder) -> Vec<u8> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/tiny/bert/model.safetensors");
    let smaller = |dim: usize| match dim {
        48 | 80 => 8,
        307 | 64 => 16,
        dim => dim,
    };
    let mut tensors: HashMap<String, Tensor> = HashMap::new();
    for (name, tensor) in candle_core::safetensors::load(golden, &Device::Cpu).unwrap() {
        if name.contains(".layer.1.") || name.contains(".layer.2.") {
            continue;
        }
        let cut = tensor
            .dims()
            .iter()
            .enumerate()
            .fold(tensor.clone(), |tensor, (at, &dim)| tensor.narrow(at, 0, smaller(dim)).unwrap());
        tensors.insert(name, cut.contiguous().unwrap());
    }
    let file = folder.at("model.safetensors");
    candle_core::safetensors::save(&tensors, &file).unwrap();
    fs::read(file).unwrap()
}

/// Target -> name -> bytes.
fn seeds(folder: &Folder) -> BTreeMap<&'static str, Vec<(String, Vec<u8>)>> {
    let mut documents = Vec::new();
    for (name, text) in texts() {
        for (number, format) in (0u8..).zip(FORMATS) {
            if format.rsplit('.').next() == name.rsplit('.').next() {
                documents.push((format.to_owned(), [&[number], text.as_bytes()].concat()));
            }
        }
    }
    let template = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("prompts/qa").join(name);
        (
            name.to_owned(),
            fs::read_to_string(path).unwrap().replace("{% include \"qa/_passages.j2\" %}", "").into_bytes(),
        )
    };
    let answer = "Green tea is steeped for two minutes [1]. It is not 3.5 kg!\0Green tea is steeped for 2 min.\0let tea = 3.5;";
    BTreeMap::from([
        ("gguf", vec![("tiny".to_owned(), gguf())]),
        ("safetensors", vec![("tiny".to_owned(), safetensors(folder))]),
        ("chunker", documents),
        ("front_matter", vec![template("grounded.j2"), template("plain.j2")]),
        ("citations", vec![("tea".to_owned(), answer.as_bytes().to_vec())]),
    ])
}

#[test]
fn whatever_fuzzing_begins_with_is_whole() {
    let folder = Folder::new();
    let seeds = seeds(&folder);
    let runs = |path: &Path| {
        let model = Model::load(path, &Device::Cpu).unwrap();
        model.transformer.forward(&Batch::single(&[0, 1]), Pass::bare()).unwrap();
    };
    fs::write(folder.at("tiny.gguf"), &seeds["gguf"][0].1).unwrap();
    runs(&folder.at("tiny.gguf"));
    folder.write("bert/config.json", CONFIG);
    fs::write(folder.at("bert/model.safetensors"), &seeds["safetensors"][0].1).unwrap();
    runs(&folder.at("bert"));
    assert!(seeds["chunker"].len() >= 4);
    for (name, bytes) in &seeds["chunker"] {
        assert!(!parse(name, bytes[1..].to_vec()).unwrap().blocks.is_empty(), "{name}");
    }
    for (name, bytes) in &seeds["front_matter"] {
        let source = String::from_utf8(bytes.clone()).unwrap();
        Template::parse(name, &source, &|_| Ok(String::new())).unwrap();
    }

    let Some(corpus) = std::env::var_os("INCONTEXT_FUZZ_SEEDS") else { return };
    for (target, seeds) in seeds {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(&corpus).join(target);
        fs::create_dir_all(&dir).unwrap();
        for (name, bytes) in seeds {
            fs::write(dir.join(format!("seed-{name}")), bytes).unwrap();
        }
    }
}
