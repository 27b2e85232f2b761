//! Bottlenecks as AdapterHub's `adapters` library keeps them: `adapter_config.json` and `adapter.safetensors`, a head for classes
//! in `head_config.json` and `model_head.safetensors`.
//!
//! The name of the adapter is part of every key, before the layers of the bottleneck: `….adapters.{name}.adapter_down.0.weight`.
//! Forms of bottleneck that are not computed here are refused by the setting that asks for them.

use serde_json::{Map, Value, json};

use super::peft::under_head;
use super::{AdapterConfig, Bottleneck, Placement, Tensors};
use crate::error::{Error, Result};
use crate::nn::Network;

/// Under which name adapters are kept where they have none.
const NAME: &str = "default";

/// Of the library whose format this is.
const VERSION: &str = "adapters.1.3.0";

/// Whether this is such a file.
pub fn is_one(json: &Map<String, Value>) -> bool {
    json.get("config").is_some_and(Value::is_object) && !json.contains_key("peft_type")
}

/// The method of an adapter_config.json, and the base it names.
///
/// # Errors
/// `Invalid` for a form of bottleneck that is not computed here.
pub fn describe(json: &Map<String, Value>) -> Result<(AdapterConfig, Option<String>)> {
    let empty = Map::new();
    let config = json.get("config").and_then(Value::as_object).unwrap_or(&empty);
    let wrong = |name: &str, wanted: &str| {
        Error::corrupt(format!("adapter_config.json: `{name}` is not {wanted}"))
            .hint("save the adapter again")
    };
    let flag = |name: &str| match config.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value.as_bool().map(Some).ok_or_else(|| wrong(name, "true or false")),
    };
    let set = |name: &str| Ok::<_, Error>(flag(name)?.unwrap_or(false));
    let refused = |name: &str| {
        Err(Error::invalid(format!("bottlenecks with `{name}` are not supported")).hint(
            "supported are the forms of Houlsby, Pfeiffer (`seq_bn`) and the parallel adapter (`par_bn`)",
        ))
    };
    if let Some(kind) = config.get("architecture").and_then(Value::as_str) {
        return Err(Error::invalid(format!("AdapterHub's adapters of the kind `{kind}` are not supported"))
            .hint("of AdapterHub's, bottlenecks are; LoRA, IA3, prompts and prefixes are read as PEFT keeps them"));
    }
    for name in
        ["ln_before", "ln_after", "use_gating", "cross_adapter", "adapter_residual_before_ln", "phm_layer"]
    {
        if set(name)? {
            return refused(name);
        }
    }
    if flag("original_ln_after")? == Some(false) {
        return refused("original_ln_after = false");
    }
    if config.get("inv_adapter").is_some_and(|value| !value.is_null()) {
        return refused("inv_adapter");
    }
    if config.get("leave_out").and_then(Value::as_array).is_some_and(|layers| !layers.is_empty()) {
        return refused("leave_out");
    }
    let placement =
        match (set("mh_adapter")?, set("output_adapter")?, set("is_parallel")?, set("original_ln_before")?) {
            (true, true, false, false) => Placement::Houlsby,
            (false, true, false, true) => Placement::Pfeiffer,
            (false, true, true, false) => Placement::Parallel,
            _ => {
                return refused(
                    "mh_adapter, output_adapter, is_parallel and original_ln_before as they are set",
                );
            }
        };
    if placement != Placement::Parallel && !set("residual_before_ln")? {
        return refused("residual_before_ln = false");
    }
    let number = |name: &str, other: f64| match config.get(name) {
        None => Ok(other),
        Some(value) => value.as_f64().ok_or_else(|| {
            Error::invalid(format!("adapter_config.json: `{name}` is not a number"))
                .hint("factors and scales of their own for each layer are not supported")
        }),
    };
    let non_linearity = match config.get("non_linearity") {
        None => "relu",
        Some(value) => value.as_str().ok_or_else(|| wrong("non_linearity", "a name"))?,
    };
    let bottleneck = Bottleneck {
        placement,
        reduction_factor: number("reduction_factor", 16.0)?,
        non_linearity: non_linearity.to_owned(),
        scaling: number("scaling", 1.0)?,
    };
    let base = json.get("model_name").and_then(Value::as_str).map(str::to_owned);
    Ok((AdapterConfig::Bottleneck(bottleneck), base))
}

/// The values by our names: without the adapter's, and as they are under the model's head.
///
/// # Errors
/// `Invalid` when the file holds several adapters.
pub fn sorted(tensors: Tensors, network: &dyn Network) -> Result<Tensors> {
    let mut own = Tensors::new();
    let mut known: Option<String> = None;
    for (key, tensor) in tensors {
        let Some((place, rest)) = key.split_once(".adapters.") else {
            own.insert(key, tensor);
            continue;
        };
        let Some(at) = rest.find(".adapter_") else {
            own.insert(key, tensor);
            continue;
        };
        let (name, rest) = rest.split_at(at);
        if known.get_or_insert_with(|| name.to_owned()) != name {
            return Err(
                Error::invalid("the file holds several adapters").hint("save each into its own folder")
            );
        }
        own.insert(under_head(&format!("{place}{rest}"), network), tensor);
    }
    Ok(own)
}

/// The tensors of a head that was saved with the adapter, by the names of the base's files.
///
/// # Errors
/// `Invalid` for a head of AdapterHub's own kind, which no base has.
pub fn head(tensors: Tensors) -> Result<Tensors> {
    match tensors.keys().find(|name| name.starts_with("heads.")) {
        Some(name) => Err(Error::invalid(format!("the head `{name}` of the adapter is not supported"))
            .hint("train it under a model with a head of its own (AutoModelForSequenceClassification)")),
        None => Ok(tensors),
    }
}

/// Whether a tensor of the base belongs to a head that is saved apart from the trunk.
pub fn is_of_head(name: &str) -> bool {
    ["classifier.", "pre_classifier.", "score."].iter().any(|head| name.starts_with(head))
}

/// The head_config.json beside a head for the classes `labels`, of which there are `count`.
pub fn head_config(
    network: &dyn Network,
    base: &str,
    family: &str,
    class: &str,
    labels: &[String],
    count: usize,
) -> Value {
    let named: Map<String, Value> =
        labels.iter().enumerate().map(|(id, label)| (label.clone(), id.into())).collect();
    json!({
        "config": null,
        "hidden_size": network.shape().hidden,
        "label2id": if named.is_empty() { Value::Null } else { named.into() },
        "model_class": class,
        "model_name": base,
        "model_type": family,
        "name": null,
        "num_labels": count,
        "version": VERSION,
    })
}

/// An adapter_config.json for a bottleneck.
pub fn config(
    bottleneck: &Bottleneck,
    network: &dyn Network,
    base: &str,
    family: &str,
    class: &str,
) -> Value {
    let houlsby = bottleneck.placement == Placement::Houlsby;
    let pfeiffer = bottleneck.placement == Placement::Pfeiffer;
    let parallel = bottleneck.placement == Placement::Parallel;
    json!({
        "config": {
            "adapter_residual_before_ln": false,
            "cross_adapter": false,
            "dropout": 0.0,
            "factorized_phm_W": true,
            "factorized_phm_rule": false,
            "hypercomplex_nonlinearity": "glorot-uniform",
            "init_weights": "mam_adapter",
            "init_weights_seed": null,
            "inv_adapter": null,
            "inv_adapter_reduction_factor": null,
            "is_parallel": parallel,
            "learn_phm": true,
            "leave_out": [],
            "ln_after": false,
            "ln_before": false,
            "mh_adapter": houlsby,
            "non_linearity": bottleneck.non_linearity,
            "original_ln_after": true,
            "original_ln_before": pfeiffer,
            "output_adapter": true,
            "phm_bias": true,
            "phm_c_init": "normal",
            "phm_dim": 4,
            "phm_init_range": 0.0001,
            "phm_layer": false,
            "phm_rank": 1,
            "reduction_factor": bottleneck.reduction_factor,
            "residual_before_ln": true,
            "scaling": bottleneck.scaling,
            "shared_W_phm": false,
            "shared_phm_rule": true,
            "stochastic_depth": 0.0,
            "use_gating": false,
        },
        "hidden_size": network.shape().hidden,
        "model_class": class,
        "model_name": base,
        "model_type": family,
        "name": NAME,
        "version": VERSION,
    })
}

/// The keys of adapter.safetensors.
pub fn keys(own: &Tensors) -> Tensors {
    let key = |name: &String| match name.find(".adapter_") {
        Some(at) => format!("{}.adapters.{NAME}{}", &name[..at], &name[at..]),
        None => name.clone(),
    };
    own.iter().map(|(name, tensor)| (key(name), tensor.clone())).collect()
}
