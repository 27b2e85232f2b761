//! The classes of a Hugging Face directory: what its config.json says of the head, read and written.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::config::Family;
use crate::error::{Error, IoContext, Result};

/// The names of the classes that the model at `path` tells apart, in the order of its head; `None` for a model that is none for
/// that.
///
/// # Errors
/// `Io` or `Corrupt` for a config.json that cannot be read.
pub fn class_names(path: &Path) -> Result<Option<Vec<String>>> {
    let file = path.join("config.json");
    if !file.exists() {
        return Ok(None);
    }
    let config: Map<String, Value> = serde_json::from_slice(&std::fs::read(&file).at("read", &file)?)
        .map_err(|error| Error::corrupt(format!("`{}`: {error}", file.display())))?;
    let architectures = config.get("architectures").and_then(Value::as_array);
    let tells_classes = architectures.into_iter().flatten().filter_map(Value::as_str);
    if !tells_classes.into_iter().any(|name| name.ends_with(CLASSIFIER)) {
        return Ok(None);
    }
    let named = config.get("id2label").and_then(Value::as_object).cloned().unwrap_or_default();
    // What transformers takes where nothing is said.
    let count = config.get("num_labels").and_then(Value::as_u64).unwrap_or(2) as usize;
    let count = if named.is_empty() { count } else { named.len() };
    let name = |class: usize| {
        let name = named.get(&class.to_string()).and_then(Value::as_str);
        name.map_or_else(|| format!("LABEL_{class}"), str::to_owned)
    };
    Ok(Some((0..count).map(name).collect()))
}

/// What the classes of models with a head for them are called after their family.
const CLASSIFIER: &str = "ForSequenceClassification";

/// Makes `config` that of a model that tells `labels` apart.
pub(super) fn describe(config: &mut Value, family: Family, labels: &[String]) {
    let class = match family {
        Family::Bert => "Bert",
        Family::Roberta => "Roberta",
        Family::DistilBert => "DistilBert",
        Family::Llama => "Llama",
        Family::Qwen2 => "Qwen2",
        Family::Qwen3 => "Qwen3",
        Family::Gemma3 => "Gemma3",
        Family::Gpt2 => "GPT2",
    };
    let by_id: Map<String, Value> =
        labels.iter().enumerate().map(|(id, label)| (id.to_string(), label.clone().into())).collect();
    let by_label: Map<String, Value> =
        labels.iter().enumerate().map(|(id, label)| (label.clone(), id.into())).collect();
    let Some(config) = config.as_object_mut() else { return };
    config.insert("architectures".to_owned(), json!([format!("{class}{CLASSIFIER}")]));
    config.insert("num_labels".to_owned(), labels.len().into());
    config.insert("id2label".to_owned(), by_id.into());
    config.insert("label2id".to_owned(), by_label.into());
    config.insert("problem_type".to_owned(), "single_label_classification".into());
}
