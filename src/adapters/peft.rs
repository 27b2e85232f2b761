//! Adapters as Hugging Face PEFT keeps them: `adapter_config.json` and `adapter_model.safetensors`.
//!
//! A key is `base_model.model.`, the path of the wrapped model's module, and the parameter. What a setting of PEFT's would
//! change in the numbers and is not computed here is refused by name, never passed over.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::targets::{ALL_LINEAR, Targets};
use super::{
    AdapterConfig, Gate, Ia3, LlamaAdapter, Lora, Prefix, SoftPrompt, Task, Tensors, VirtualTokens,
    soft_prompt,
};
use crate::error::{Error, Result};
use crate::nn::Network;

const WRAPPED: &str = "base_model.model.";

/// Settings that change what is computed, where they are neither missing, null, false nor empty.
const REFUSED: [&str; 15] = [
    "alora_invocation_tokens",
    "arrow_config",
    "corda_config",
    "kasa_config",
    "layer_replication",
    "lora_bias",
    "lora_ga_config",
    "megatron_config",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_qalora",
    "velora_config",
    "loftq_config",
];

/// What an adapter_config.json says.
pub struct Described {
    pub config: AdapterConfig,
    pub base: Option<String>,
    pub task: Option<Task>,
    /// `h` of the network that wrote a prompt or a prefix, which the file no longer holds.
    pub encoder_hidden_size: Option<usize>,
}

/// Reads it.
///
/// # Errors
/// `Invalid` for a kind or a setting that is not computed here, `Corrupt` for a value of the wrong type.
pub fn describe(json: &Map<String, Value>) -> Result<Described> {
    let fields = Fields(json);
    let kind = fields.text("peft_type")?.unwrap_or_default();
    if let Some(name) = REFUSED.into_iter().find(|name| fields.says_something(name)) {
        return Err(Error::invalid(format!("the adapter's setting `{name}` is not supported"))
            .hint("merge it with PEFT (merge_and_unload) and use the merged model"));
    }
    let virtual_tokens = || fields.count("num_virtual_tokens")?.ok_or_else(|| lacks("num_virtual_tokens"));
    let config = match kind.as_str() {
        "LORA" => lora(&fields)?,
        "IA3" => AdapterConfig::Ia3(Ia3 {
            targets: fields.targets("target_modules")?,
            feedforward: Some(fields.targets("feedforward_modules")?.unwrap_or(Targets::Names(Vec::new()))),
            exclude: fields.targets("exclude_modules")?,
        }),
        "PROMPT_TUNING" | "P_TUNING" => AdapterConfig::SoftPrompt(SoftPrompt {
            num_virtual_tokens: virtual_tokens()?,
            init: VirtualTokens::Random,
        }),
        "PREFIX_TUNING" => {
            AdapterConfig::Prefix(Prefix { num_virtual_tokens: virtual_tokens()?, ..Prefix::default() })
        }
        "ADAPTION_PROMPT" => AdapterConfig::LlamaAdapter(LlamaAdapter {
            adapter_len: fields.count("adapter_len")?.ok_or_else(|| lacks("adapter_len"))?,
            adapter_layers: Some(fields.count("adapter_layers")?.ok_or_else(|| lacks("adapter_layers"))?),
            gate: Gate::Scalar,
        }),
        "" => return Err(lacks("peft_type")),
        other => {
            return Err(Error::invalid(format!("adapters of the kind `{other}` are not supported")).hint(
                "supported: LORA, IA3, PROMPT_TUNING, P_TUNING, PREFIX_TUNING, ADAPTION_PROMPT, and AdapterHub's bottlenecks",
            ));
        }
    };
    let written = kind == "P_TUNING" || fields.flag("prefix_projection")?;
    Ok(Described {
        config,
        base: fields.text("base_model_name_or_path")?,
        task: fields.text("task_type")?.and_then(|task| Task::from_peft(&task)),
        encoder_hidden_size: if written { fields.count("encoder_hidden_size")? } else { None },
    })
}

fn lora(fields: &Fields) -> Result<AdapterConfig> {
    let start = fields.0.get("init_lora_weights").and_then(Value::as_str).unwrap_or_default();
    if ["pissa", "olora", "corda", "loftq", "lora_ga"].iter().any(|name| start.starts_with(name)) {
        return Err(Error::invalid(format!(
            "the adapter began as `{start}`, which changes the base's weights"
        ))
        .hint("convert it to plain LoRA with PEFT (path_initial_model_for_weight_conversion)"));
    }
    let layers = match fields.0.get("layers_to_transform") {
        None | Some(Value::Null) => None,
        // No layer in particular: all of them, says PEFT.
        Some(Value::Array(layers)) if layers.is_empty() => None,
        Some(Value::Array(layers)) => {
            let layer = |value: &Value| value.as_u64().map(|layer| layer as usize);
            let layers: Option<Vec<usize>> = layers.iter().map(layer).collect();
            Some(layers.ok_or_else(|| wrong("layers_to_transform", "layer numbers"))?)
        }
        Some(one) => {
            Some(vec![one.as_u64().ok_or_else(|| wrong("layers_to_transform", "layer numbers"))? as usize])
        }
    };
    Ok(AdapterConfig::Lora(Lora {
        rank: fields.count("r")?.unwrap_or(8),
        alpha: fields.number("lora_alpha")?.unwrap_or(8.0),
        rslora: fields.flag("use_rslora")?,
        dora: fields.flag("use_dora")?,
        dropout: fields.number("lora_dropout")?.unwrap_or(0.0),
        targets: fields.targets("target_modules")?.ok_or_else(|| lacks("target_modules"))?,
        exclude: fields.targets("exclude_modules")?,
        layers,
        pooler: false,
        embedding: false,
        rank_pattern: fields.by_pattern("rank_pattern", Fields::count)?,
        alpha_pattern: fields.by_pattern("alpha_pattern", Fields::number)?,
    }))
}

/// The adapter's own values, and tensors of the base that were trained with it, by the names of [`AdapterConfig::shapes`] and
/// of the base's files.
pub fn sorted(tensors: Tensors, network: &dyn Network) -> (Tensors, Tensors) {
    let (mut own, mut base) = (Tensors::new(), Tensors::new());
    for (key, tensor) in tensors {
        let key = key.replace(".default", "");
        if key.ends_with(soft_prompt::EMBEDDINGS) {
            own.insert(soft_prompt::EMBEDDINGS.to_owned(), tensor);
            continue;
        }
        let name = key.strip_prefix(WRAPPED).or_else(|| key.strip_prefix("base_model.")).unwrap_or(&key);
        let is_own = ["lora_A", "lora_B", "lora_magnitude_vector", "lora_embedding", "ia3_l", "adaption_"]
            .iter()
            .any(|part| name.contains(part));
        if is_own {
            let name = name.replace("lora_magnitude_vector.weight", "lora_magnitude_vector");
            own.insert(under_head(&name, network), tensor);
        } else {
            let name = name.replace(".base_layer.", ".").replace(".modules_to_save.", ".");
            base.insert(name, tensor);
        }
    }
    (own, base)
}

/// `path` as it is under the model's head: files of the bare trunk leave its prefix out.
pub fn under_head(path: &str, network: &dyn Network) -> String {
    let trunk = network.trunk();
    if path.starts_with(trunk) { path.to_owned() } else { format!("{trunk}{path}") }
}

/// An adapter_config.json for `config`; `None` for what PEFT has no words for.
///
/// # Errors
/// As [`AdapterConfig::shapes`].
pub fn config(
    config: &AdapterConfig,
    network: &dyn Network,
    base: &str,
    task: Task,
    own: &Tensors,
    trained: &Tensors,
) -> Result<Option<Value>> {
    let shape = network.shape();
    let mut json = Map::new();
    let mut put = |name: &str, value: Value| json.insert(name.to_owned(), value);
    put("base_model_name_or_path", base.into());
    put("task_type", task.peft().into());
    put("inference_mode", true.into());
    put("auto_mapping", Value::Null);
    put("revision", Value::Null);
    let (biases, others): (Vec<&String>, Vec<&String>) =
        trained.keys().partition(|name| own_bias(own, name, network).is_some());
    let saved: BTreeSet<&str> = others.into_iter().filter_map(|name| module_to_save(name)).collect();
    let to_save = if saved.is_empty() { Value::Null } else { json!(saved) };
    // What all methods of virtual tokens say.
    let tokens = |n: usize, width: usize, heads: usize| {
        [
            ("num_virtual_tokens", json!(n)),
            ("token_dim", json!(width)),
            ("num_layers", json!(shape.layers)),
            ("num_attention_heads", json!(heads)),
            ("num_transformer_submodules", json!(1)),
        ]
    };
    match config {
        AdapterConfig::Lora(lora) => {
            put("peft_type", "LORA".into());
            put("r", lora.rank.into());
            put("lora_alpha", whole(lora.alpha));
            put("lora_dropout", lora.dropout.into());
            let mut meant = written(&lora.targets, network)?;
            if let (true, Targets::Names(names)) = (lora.embedding, &mut meant) {
                names.push(network.embedding().trim_start_matches(network.trunk()).to_owned());
            }
            put("target_modules", json!(meant));
            put("bias", if biases.is_empty() { "none" } else { "lora_only" }.into());
            put("fan_in_fan_out", network.modules().iter().any(|module| module.transposed).into());
            put("init_lora_weights", true.into());
            put("layers_to_transform", json!(lora.layers));
            put("layers_pattern", Value::Null);
            put("rank_pattern", json!(lora.rank_pattern));
            let alphas = lora.alpha_pattern.iter().map(|(key, alpha)| (key.clone(), whole(*alpha)));
            put("alpha_pattern", Value::Object(alphas.collect()));
            for (name, set) in [("use_rslora", lora.rslora), ("use_dora", lora.dora)] {
                if set {
                    put(name, true.into());
                }
            }
            if let Some(exclude) = excluded(lora, &meant, network)? {
                put("exclude_modules", json!(exclude));
            }
        }
        AdapterConfig::Ia3(ia3) => {
            put("peft_type", "IA3".into());
            put("target_modules", json!(ia3.names(network, false)?));
            put("feedforward_modules", json!(ia3.names(network, true)?));
            put("fan_in_fan_out", network.modules().iter().any(|module| module.transposed).into());
            put("init_ia3_weights", true.into());
            if let Some(exclude) = &ia3.exclude {
                put("exclude_modules", json!(exclude));
            }
        }
        AdapterConfig::SoftPrompt(prompt) => {
            put("peft_type", "PROMPT_TUNING".into());
            put("prompt_tuning_init", "RANDOM".into());
            put("prompt_tuning_init_text", Value::Null);
            put("tokenizer_name_or_path", Value::Null);
            put("tokenizer_kwargs", Value::Null);
            tokens(prompt.num_virtual_tokens, shape.hidden, shape.heads)
                .into_iter()
                .for_each(|(name, value)| drop(put(name, value)));
        }
        AdapterConfig::Prefix(prefix) => {
            put("peft_type", "PREFIX_TUNING".into());
            put("prefix_projection", false.into());
            put("encoder_hidden_size", (shape.kv_heads * shape.head_dim).into());
            tokens(prefix.num_virtual_tokens, shape.kv_heads * shape.head_dim, shape.kv_heads)
                .into_iter()
                .for_each(|(name, value)| drop(put(name, value)));
        }
        AdapterConfig::LlamaAdapter(adapter) if adapter.gate == Gate::Scalar => {
            put("peft_type", "ADAPTION_PROMPT".into());
            put("adapter_len", adapter.adapter_len.into());
            put("adapter_layers", adapter.layers(network)?.into());
            let module = network.attention(0);
            put("target_modules", module.rsplit('.').next().unwrap_or(&module).into());
        }
        _ => return Ok(None),
    }
    if !matches!(config, AdapterConfig::LlamaAdapter(_)) {
        put("modules_to_save", to_save);
    }
    let mut sorted: Vec<_> = json.into_iter().collect();
    sorted.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(Some(Value::Object(sorted.into_iter().collect())))
}

/// The keys of adapter_model.safetensors.
pub fn keys(
    config: &AdapterConfig,
    values: &Tensors,
    base: &Tensors,
    network: &dyn Network,
    task: Task,
) -> Tensors {
    let bare = |name: &str| match task {
        Task::FeatureExtraction => name.strip_prefix(network.trunk()).unwrap_or(name).to_owned(),
        _ => name.to_owned(),
    };
    let learned =
        matches!(config, AdapterConfig::SoftPrompt(_) | AdapterConfig::Prefix(_) | AdapterConfig::PTuning(_));
    let own = values.iter().map(|(name, tensor)| match learned {
        true => (name.clone(), tensor.clone()),
        false => (format!("{WRAPPED}{}", bare(name)), tensor.clone()),
    });
    let base = base.iter().map(|(name, tensor)| {
        let key = match own_bias(values, name, network) {
            Some(path) => format!("{WRAPPED}{}.base_layer.bias", bare(&path)),
            None if learned => format!("base_model.{}", bare(name)),
            None => format!("{WRAPPED}{}", bare(name)),
        };
        (key, tensor.clone())
    });
    own.chain(base).collect()
}

/// The path of the linear whose bias `name` is, where LoRA changes that linear: PEFT wraps it and keeps the bias inside.
fn own_bias(own: &Tensors, name: &str, network: &dyn Network) -> Option<String> {
    let path = under_head(name.strip_suffix(".bias")?, network);
    own.contains_key(&format!("{path}.lora_A.weight")).then_some(path)
}

/// `classifier` for `classifier.weight`.
fn module_to_save(name: &str) -> Option<&str> {
    let module = name.strip_suffix(".weight").or_else(|| name.strip_suffix(".bias"))?;
    Some(module.rsplit('.').next().unwrap_or(module))
}

/// Targets as PEFT understands them: its `all-linear` would take the layers outside the blocks as well.
fn written(targets: &Targets, network: &dyn Network) -> Result<Targets> {
    Ok(match targets {
        Targets::Pattern(pattern) if pattern == ALL_LINEAR => {
            Targets::Names(super::targets::short_names(&targets.modules(network, None)?))
        }
        targets => targets.clone(),
    })
}

/// What PEFT has to be told to leave out: a `dense` of ours is one of the blocks, its own the pooler's as well.
fn excluded(lora: &Lora, meant: &Targets, network: &dyn Network) -> Result<Option<Targets>> {
    let Some(pooler) = network.pooler().filter(|_| !lora.pooler) else { return Ok(lora.exclude.clone()) };
    if !meant.means(&pooler.path, network.trunk())? {
        return Ok(lora.exclude.clone());
    }
    let name = pooler.path.trim_start_matches(network.trunk()).to_owned();
    Ok(Some(match lora.exclude.clone() {
        None => Targets::Names(vec![name]),
        Some(Targets::Names(names)) => Targets::Names(names.into_iter().chain([name]).collect()),
        Some(Targets::Pattern(pattern)) => {
            Targets::Pattern(format!("(?:{pattern})|.*{}", regex::escape(&name)))
        }
    }))
}

/// `16` and not `16.0` where that says the same.
fn whole(number: f64) -> Value {
    if number.fract() == 0.0 && number.abs() < 1e15 { (number as i64).into() } else { number.into() }
}

#[derive(Clone, Copy)]
struct Fields<'a>(&'a Map<String, Value>);

impl Fields<'_> {
    fn says_something(&self, name: &str) -> bool {
        match self.0.get(name) {
            None | Some(Value::Null | Value::Bool(false)) => false,
            Some(Value::Array(all)) => !all.is_empty(),
            Some(Value::Object(all)) => !all.is_empty(),
            Some(_) => true,
        }
    }

    fn text(&self, name: &str) -> Result<Option<String>> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(wrong(name, "a text")),
        }
    }

    fn count(&self, name: &str) -> Result<Option<usize>> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => {
                // Nobody's adapter is larger, and a lying number must not allocate.
                let count = value.as_u64().filter(|count| *count < 1 << 24);
                Ok(Some(count.ok_or_else(|| wrong(name, "a count"))? as usize))
            }
        }
    }

    fn number(&self, name: &str) -> Result<Option<f64>> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => value.as_f64().map(Some).ok_or_else(|| wrong(name, "a number")),
        }
    }

    fn flag(&self, name: &str) -> Result<bool> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| wrong(name, "true or false")),
        }
    }

    /// A table of what `read` reads, by pattern.
    fn by_pattern<T>(
        &self,
        name: &str,
        read: impl Fn(&Self, &str) -> Result<Option<T>>,
    ) -> Result<BTreeMap<String, T>> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(BTreeMap::new()),
            Some(Value::Object(table)) => {
                let table = Self(table);
                let value = |key: &String| Some((key.clone(), read(&table, key).transpose()?));
                let values = table.0.keys().filter_map(value);
                let named = |(key, value): (String, Result<T>)| match value {
                    Ok(value) => Ok((key, value)),
                    Err(error) => Err(error.within(name)),
                };
                values.map(named).collect()
            }
            Some(_) => Err(wrong(name, "a table of patterns")),
        }
    }

    fn targets(&self, name: &str) -> Result<Option<Targets>> {
        match self.0.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value.clone())
                .map(Some)
                .map_err(|_| wrong(name, "a list of names or a pattern")),
        }
    }
}

fn lacks(name: &str) -> Error {
    Error::corrupt(format!("adapter_config.json has no `{name}`")).hint("save the adapter again")
}

fn wrong(name: &str, wanted: &str) -> Error {
    Error::corrupt(format!("adapter_config.json: `{name}` is not {wanted}")).hint("save the adapter again")
}
