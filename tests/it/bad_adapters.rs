//! Adapters that are damaged, made for another base, or ask for what is not computed here: an error that names what is wrong
//! and says what to do, never a panic, never an allocation that a lying number asks for.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use candle_core::{DType, Device, Tensor};
use incontext::adapters::{AdapterConfig, Bottleneck, Lora, Placement, Prefix, Stored, Tensors};
use incontext::models::Model;
use serde_json::{Value, json};

use crate::contract::{awkward, stored};
use crate::golden::tiny;

/// A good adapter for tiny llama in a folder of its own.
struct Folder {
    held: tempfile::TempDir,
    model: Model,
}

fn lora() -> AdapterConfig {
    AdapterConfig::Lora(Lora { rank: 3, alpha: 5.0, ..Lora::default() })
}

fn houlsby() -> AdapterConfig {
    AdapterConfig::Bottleneck(Bottleneck { reduction_factor: 7.0, ..Bottleneck::new(Placement::Houlsby) })
}

impl Folder {
    fn new(config: &AdapterConfig) -> Self {
        let model = Model::load(&tiny("llama"), &Device::Cpu).unwrap();
        let held = tempfile::tempdir().unwrap();
        let folder = Self { held, model };
        let network = &folder.model.transformer;
        stored(config, &awkward(config, network), Default::default())
            .write(&folder.dir(), network, "llama")
            .unwrap();
        folder
    }

    fn dir(&self) -> PathBuf {
        self.held.path().join("adapter")
    }

    fn values(&self) -> PathBuf {
        let files = ["adapter_model.safetensors", "adapter.safetensors"];
        files.map(|file| self.dir().join(file)).into_iter().find(|file| file.exists()).unwrap()
    }

    fn change_values(&self, change: impl FnOnce(&mut BTreeMap<String, Tensor>)) {
        let mut tensors =
            candle_core::safetensors::load(self.values(), &Device::Cpu).unwrap().into_iter().collect();
        change(&mut tensors);
        candle_core::safetensors::save(&tensors.into_iter().collect(), self.values()).unwrap();
    }

    fn change_config(&self, name: &str, value: Value) {
        let file = self.dir().join("adapter_config.json");
        let mut json: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        let at = if json.get("config").is_some() { &mut json["config"] } else { &mut json };
        at[name] = value;
        std::fs::write(file, serde_json::to_vec(&json).unwrap()).unwrap();
    }

    /// What reading and attaching it says: it must fail, with advice.
    fn refusal(&self) -> String {
        let network = &self.model.transformer;
        let attached = Stored::read(&self.dir(), network)
            .and_then(|stored| stored.config.unwrap().attach(network, &stored.tensors));
        let Err(error) = attached else { panic!("it is taken") };
        assert!(error.advice().is_some_and(|advice| !advice.is_empty()), "no advice: {error}");
        error.to_string()
    }
}

const UP: &str = "base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight";

#[test]
fn a_good_folder_is_taken() {
    for config in [lora(), houlsby()] {
        let folder = Folder::new(&config);
        let network = &folder.model.transformer;
        let stored = Stored::read(&folder.dir(), network).unwrap();
        stored.config.unwrap().attach(network, &stored.tensors).unwrap();
    }
}

#[test]
fn a_missing_tensor_is_named() {
    let folder = Folder::new(&lora());
    folder.change_values(|tensors| drop(tensors.remove(UP)));
    let said = folder.refusal();
    assert!(said.contains("lacks the tensor `model.layers.1.self_attn.q_proj.lora_B.weight`"), "{said}");
}

#[test]
fn a_tensor_with_no_place_is_named() {
    let folder = Folder::new(&lora());
    folder.change_values(|tensors| {
        let extra = tensors[UP].clone();
        tensors.insert(UP.replace("layers.1", "layers.9"), extra);
    });
    assert!(folder.refusal().contains("layers.9.self_attn.q_proj.lora_B"), "{}", folder.refusal());
}

#[test]
fn values_that_are_not_finite_and_shapes_that_do_not_fit_are_named() {
    for odd in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let folder = Folder::new(&lora());
        folder.change_values(|tensors| {
            let broken = (&tensors[UP] * odd).unwrap();
            tensors.insert(UP.to_owned(), broken);
        });
        let said = folder.refusal();
        assert!(said.contains("layers.1.self_attn.q_proj.lora_B") && said.contains("finite"), "{said}");
    }
    // A tensor of the base that was trained with the adapter.
    let folder = Folder::new(&lora());
    folder.change_values(|tensors| {
        let bias = Tensor::new(&[f32::NAN; 48], &Device::Cpu).unwrap();
        tensors.insert("base_model.model.model.norm.weight".to_owned(), bias);
    });
    let said = folder.refusal();
    assert!(said.contains("`model.norm.weight`") && said.contains("finite"), "{said}");
    let folder = Folder::new(&lora());
    folder.change_values(|tensors| {
        let turned = tensors[UP].t().unwrap().contiguous().unwrap();
        tensors.insert(UP.to_owned(), turned);
    });
    let said = folder.refusal();
    assert!(said.contains("layers.1.self_attn.q_proj.lora_B") && said.contains("[3, 48]"), "{said}");
}

/// BERT's pooler stands outside the blocks: what PEFT trains there under `dense` is refused by its name.
#[test]
fn a_change_outside_the_blocks_is_named() {
    let folder = Folder::new(&lora());
    folder.change_values(|tensors| {
        let extra = tensors[UP].clone();
        tensors.insert("base_model.model.lm_head.lora_B.weight".to_owned(), extra);
    });
    assert!(folder.refusal().contains("lm_head.lora_B.weight"), "{}", folder.refusal());
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    for config in [lora(), houlsby()] {
        let folder = Folder::new(&config);
        let whole = std::fs::read(folder.values()).unwrap();
        for length in [0, 4, 8, 100, whole.len() / 2, whole.len() - 1] {
            std::fs::write(folder.values(), &whole[..length]).unwrap();
            assert!(folder.refusal().contains("safetensors is damaged"), "{}", folder.refusal());
        }
        // A header that claims to be as long as anything.
        std::fs::write(folder.values(), [&u64::MAX.to_le_bytes()[..], &whole[8..]].concat()).unwrap();
        assert!(folder.refusal().contains("safetensors is damaged"), "{}", folder.refusal());
        std::fs::remove_file(folder.values()).unwrap();
        assert!(folder.refusal().contains("the adapter has no adapter"), "{}", folder.refusal());
    }
}

#[test]
fn a_pickled_file_of_garbage_is_refused() {
    let folder = Folder::new(&lora());
    std::fs::remove_file(folder.values()).unwrap();
    for bytes in [&b""[..], b"PK\x03\x04garbage", b"\x80\x02}q\x00.", &[0xff; 4096]] {
        std::fs::write(folder.dir().join("adapter_model.bin"), bytes).unwrap();
        assert!(folder.refusal().contains("adapter_model.bin"), "{}", folder.refusal());
    }
}

#[test]
fn a_config_that_is_none_is_refused() {
    for text in ["", "[]", "null", "{", "{\"peft_type\": ", "7", "\u{0}", &"[".repeat(100_000)] {
        let folder = Folder::new(&lora());
        std::fs::write(folder.dir().join("adapter_config.json"), text).unwrap();
        assert!(folder.refusal().contains("adapter_config.json"), "{}", folder.refusal());
    }
    let folder = Folder::new(&lora());
    std::fs::remove_file(folder.dir().join("adapter_config.json")).unwrap();
    assert!(folder.refusal().contains("no adapter_config.json"), "{}", folder.refusal());
}

/// Each setting with a value that it cannot have, or that is not computed here.
#[test]
fn settings_of_lora_that_cannot_be_are_named() {
    let settings = [
        ("peft_type", json!("HRA"), "HRA"),
        ("peft_type", json!("lora"), "lora"),
        ("peft_type", json!(7), "peft_type"),
        ("peft_type", Value::Null, "peft_type"),
        ("r", json!(-3), "`r`"),
        ("r", json!(3.5), "`r`"),
        ("r", json!("3"), "`r`"),
        ("r", json!(u64::MAX), "`r`"),
        ("r", json!(0), "rank 0"),
        ("r", json!(4_000_000), "lora_A"),
        ("lora_alpha", json!([5]), "lora_alpha"),
        ("lora_dropout", json!(1.5), "dropout"),
        ("lora_dropout", json!(-0.1), "dropout"),
        ("use_dora", json!("yes"), "use_dora"),
        ("use_dora", json!(true), "lora_magnitude_vector"),
        ("rank_pattern", json!({"q_proj": -1}), "rank_pattern"),
        ("rank_pattern", json!({"q_proj": 0}), "rank 0"),
        ("rank_pattern", json!({"q_proj": 1e300}), "rank_pattern"),
        ("rank_pattern", json!(["q_proj"]), "rank_pattern"),
        ("alpha_pattern", json!({"q_proj": "much"}), "alpha_pattern"),
        ("alpha_pattern", json!({"(": 3}), "("),
        ("target_modules", Value::Null, "target_modules"),
        ("target_modules", json!(5), "target_modules"),
        ("target_modules", json!(["nowhere", "nothing"]), "nowhere"),
        ("target_modules", json!("nowhere"), "nowhere"),
        ("target_modules", json!("("), "("),
        ("exclude_modules", json!(".*"), "excluded"),
        ("layers_to_transform", json!([-1]), "layers_to_transform"),
        ("layers_to_transform", json!([u64::MAX]), "layers"),
        ("layers_to_transform", json!({}), "layers_to_transform"),
        ("init_lora_weights", json!("pissa_niter_4"), "pissa"),
        ("init_lora_weights", json!("olora"), "olora"),
        ("lora_bias", json!(true), "lora_bias"),
        ("layer_replication", json!([[0, 2], [1, 3]]), "layer_replication"),
        ("trainable_token_indices", json!([1, 2]), "trainable_token_indices"),
        ("target_parameters", json!(["x"]), "target_parameters"),
        ("alora_invocation_tokens", json!([1]), "alora_invocation_tokens"),
        ("use_qalora", json!(true), "use_qalora"),
        ("megatron_config", json!({"a": 1}), "megatron_config"),
    ];
    for (name, value, names) in settings {
        let folder = Folder::new(&lora());
        folder.change_config(name, value.clone());
        let said = folder.refusal();
        assert!(said.contains(names), "{name} = {value}: {said}");
    }
}

#[test]
fn settings_of_bottlenecks_that_cannot_be_are_named() {
    let settings = [
        ("reduction_factor", json!(0), "reduction factor"),
        ("reduction_factor", json!(-2), "reduction factor"),
        ("reduction_factor", json!(1e-300), "reduction factor"),
        ("reduction_factor", json!(1e300), "reduction factor"),
        ("reduction_factor", json!({"default": 16}), "reduction_factor"),
        ("reduction_factor", json!("7"), "reduction_factor"),
        ("scaling", json!("learned"), "scaling"),
        ("non_linearity", json!("mish9"), "mish9"),
        ("non_linearity", json!(3), "non_linearity"),
        ("mh_adapter", json!("yes"), "mh_adapter"),
        ("ln_before", json!(true), "ln_before"),
        ("ln_after", json!(true), "ln_after"),
        ("original_ln_after", json!(false), "original_ln_after"),
        ("residual_before_ln", json!(false), "residual_before_ln"),
        ("use_gating", json!(true), "use_gating"),
        ("phm_layer", json!(true), "phm_layer"),
        ("inv_adapter", json!("nice"), "inv_adapter"),
        ("leave_out", json!([0]), "leave_out"),
        ("is_parallel", json!(true), "is_parallel"),
        ("output_adapter", json!(false), "output_adapter"),
        ("architecture", json!("union"), "union"),
    ];
    for (name, value, names) in settings {
        let folder = Folder::new(&houlsby());
        folder.change_config(name, value.clone());
        let said = folder.refusal();
        assert!(said.contains(names), "{name} = {value}: {said}");
    }
}

#[test]
fn counts_of_virtual_tokens_and_layers_that_lie_are_refused() {
    let prefix = AdapterConfig::Prefix(Prefix { num_virtual_tokens: 5, ..Prefix::default() });
    for count in [json!(0), json!(-5), json!(u64::MAX), json!(1 << 23), json!("5"), json!(4), Value::Null] {
        let folder = Folder::new(&prefix);
        folder.change_config("num_virtual_tokens", count.clone());
        let said = folder.refusal();
        assert!(["virtual", "prompt_embeddings"].iter().any(|names| said.contains(names)), "{count}: {said}");
    }
    let folder = Folder::new(&prefix);
    folder.change_config("peft_type", json!("ADAPTION_PROMPT"));
    assert!(folder.refusal().contains("adapter_len"));
    folder.change_config("adapter_len", json!(5));
    for layers in [json!(0), json!(4), json!(-1), json!(u64::MAX)] {
        folder.change_config("adapter_layers", layers.clone());
        assert!(folder.refusal().contains("adapter_layers"), "{layers}");
    }
}

/// What is ours only lies in incontext.json, which may be as hostile.
#[test]
fn an_incontext_json_that_lies_is_refused() {
    let folder = Folder::new(&lora());
    std::fs::remove_file(folder.dir().join("adapter_config.json")).unwrap();
    std::fs::rename(folder.values(), folder.dir().join("incontext.safetensors")).unwrap();
    let configs = [
        json!({"method": "lora", "rank": u64::MAX}),
        json!({"method": "lora", "rank": -1}),
        json!({"method": "prefix", "num_virtual_tokens": u64::MAX >> 8}),
        json!({"method": "prefix", "num_virtual_tokens": 5, "encoder_hidden_size": u64::MAX >> 8}),
        json!({"method": "p-tuning", "num_virtual_tokens": u64::MAX >> 8}),
        json!({"method": "llama-adapter", "adapter_len": u64::MAX >> 8, "adapter_layers": 1}),
        json!({"method": "nothing"}),
        json!("lora"),
    ];
    for config in configs {
        let about = json!({"config": config});
        std::fs::write(folder.dir().join("incontext.json"), serde_json::to_vec(&about).unwrap()).unwrap();
        folder.refusal();
    }
}

#[test]
fn a_file_of_several_adapters_is_refused() {
    let folder = Folder::new(&houlsby());
    folder.change_values(|tensors| {
        let second =
            tensors.iter().map(|(name, tensor)| (name.replace(".default.", ".other."), tensor.clone()));
        let second: Tensors = second.collect();
        tensors.extend(second);
    });
    assert!(folder.refusal().contains("several adapters"), "{}", folder.refusal());
}

#[test]
fn an_adapter_of_another_base_is_refused() {
    let folder = Folder::new(&lora());
    for family in ["qwen3", "gpt2", "bert"] {
        let other = Model::load(&tiny(family), &Device::Cpu).unwrap();
        let read = Stored::read(&folder.dir(), &other.transformer)
            .and_then(|stored| stored.config.unwrap().attach(&other.transformer, &stored.tensors));
        let Err(error) = read else { panic!("{family} takes it") };
        assert!(error.advice().is_some(), "{family}: {error}");
    }
}

/// A tensor of the base that the base does not have, or has otherwise.
#[test]
fn tensors_of_the_base_that_do_not_fit_are_named() {
    let base = |name: &str, shape: &[usize]| -> Tensors {
        [(name.to_owned(), Tensor::zeros(shape, DType::F32, &Device::Cpu).unwrap())].into()
    };
    for (name, shape) in
        [("model.layers.0.self_attn.q_proj.bias_of_mine", &[48usize][..]), ("model.norm.weight", &[47])]
    {
        let error = Model::load_over(&tiny("llama"), &Device::Cpu, base(name, shape)).err().unwrap();
        assert!(error.to_string().contains(name) && error.advice().is_some(), "{error}");
    }
    // With or without the name of the trunk.
    Model::load_over(&tiny("llama"), &Device::Cpu, base("norm.weight", &[48])).unwrap();
}

#[test]
fn verify_says_on_the_command_line_what_is_wrong_with_an_adapter() {
    let folder = Folder::new(&lora());
    folder.change_values(|tensors| drop(tensors.remove(UP)));
    let llama = tiny("llama");
    let run = |adapter: &Path| {
        Command::new(env!("CARGO_BIN_EXE_incontext"))
            .args(["verify", "--model"])
            .arg(&llama)
            .arg("--adapter")
            .arg(adapter)
            .arg("--reference")
            .arg(llama.join("io.safetensors"))
            .output()
            .unwrap()
    };
    for (adapter, says) in [(folder.dir(), "lacks the tensor"), (folder.held.path().join("none"), "none")] {
        let said = run(&adapter);
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(!said.status.success() && text.contains(says) && text.contains("hint:"), "{text}");
    }
}
