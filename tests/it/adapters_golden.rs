//! Adapters that PEFT trained, and bottlenecks as AdapterHub computes them, against their own numbers
//! (`tests/golden/make_adapters.py`); and ours, read by PEFT.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use candle_core::{Device, Tensor};
use incontext::adapters::{AdapterConfig, Stored, Task, Tensors};
use incontext::eval::verify::{Tolerance, verify};
use incontext::models::{Batch, Model};
use incontext::nn::{Mode, Pass};

use crate::contract::{awkward, methods, stored};
use crate::golden::{failures, families, tiny};

/// Every adapter in the folders of goldens, with its family.
fn adapters() -> Vec<(&'static str, PathBuf)> {
    let mut all = Vec::new();
    for family in families() {
        let Ok(folder) = std::fs::read_dir(tiny(family).join("adapters")) else { continue };
        all.extend(folder.map(|entry| (family, entry.unwrap().path())));
    }
    all.sort();
    all
}

#[test]
fn outputs_loss_and_gradients_equal_the_references() {
    let all = adapters();
    assert!(all.len() > 30, "{}", all.len());
    let mut failed = Vec::new();
    for (family, dir) in all {
        let reference = dir.join("io.safetensors");
        let checked = verify(&tiny(family), Some(&dir), &reference, &Device::Cpu, Tolerance::default());
        let checks = match checked {
            Ok(checks) => checks,
            Err(error) => {
                failed.push(format!("{}: {error}", dir.display()));
                continue;
            }
        };
        let wrong = failures(&checks);
        if !wrong.is_empty() {
            failed.push(format!("{}: {wrong:#?}", dir.display()));
        }
        // Everything in the reference was compared, and a reference with a loss has its gradients.
        let names: BTreeSet<&str> = checks.iter().map(|check| check.name.as_str()).collect();
        let stored = candle_core::safetensors::load(&reference, &Device::Cpu).unwrap();
        for name in stored.keys().filter(|name| !name.starts_with("param.")) {
            let input = ["input_ids", "attention_mask", "labels", "y"].contains(&name.as_str());
            assert!(input || names.contains(name.as_str()), "{}: {name} is passed over", dir.display());
        }
        let gradients = names.iter().filter(|name| name.starts_with("grad.")).count();
        assert_eq!(gradients > 0, stored.contains_key("loss"), "{}", dir.display());
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn an_adapter_under_another_scale_fails() {
    let dir = tiny("llama").join("adapters/lora_exclude");
    let folder = tempfile::tempdir().unwrap();
    let reference = dir.join("io.safetensors");
    for file in ["adapter_config.json", "adapter_model.safetensors"] {
        std::fs::copy(dir.join(file), folder.path().join(file)).unwrap();
    }
    let config = folder.path().join("adapter_config.json");
    let json = std::fs::read_to_string(&config).unwrap();
    let changed = json.replace("\"lora_alpha\": 5", "\"lora_alpha\": 5.01");
    assert_ne!(json, changed);
    std::fs::write(&config, changed).unwrap();
    let checks =
        verify(&tiny("llama"), Some(folder.path()), &reference, &Device::Cpu, Tolerance::default()).unwrap();
    assert_eq!(failures(&checks).len(), checks.len(), "{checks:#?}");
}

/// What was read is written, read again, and computes the same; heads and biases of the base included.
#[test]
fn an_adapter_of_another_tool_written_again_holds_the_same() {
    for (family, dir) in adapters() {
        let model = Model::load(&tiny(family), &Device::Cpu).unwrap();
        let read = Stored::read(&dir, &model.transformer).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let again = folder.path().join("again");
        read.write(&again, &model.transformer, family).unwrap();
        let written = Stored::read(&again, &model.transformer).unwrap();
        let bits = |tensors: &Tensors| -> Vec<(String, Vec<f32>)> {
            let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1().unwrap();
            tensors.iter().map(|(name, tensor)| (name.clone(), flat(tensor))).collect()
        };
        assert_eq!(written.task, read.task, "{}", dir.display());
        assert!(bits(&written.tensors) == bits(&read.tensors), "{}", dir.display());
        assert_eq!(written.base.keys().collect::<Vec<_>>(), read.base.keys().collect::<Vec<_>>());
        assert!(bits(&written.base) == bits(&read.base), "{}", dir.display());
        let checks = verify(
            &tiny(family),
            Some(&again),
            &dir.join("io.safetensors"),
            &Device::Cpu,
            Tolerance::default(),
        );
        let checks = checks.unwrap();
        // A prompt written again is a prompt, whatever network wrote it first.
        let wrong =
            failures(&checks).into_iter().filter(|check| !check.name.starts_with("grad.prompt_encoder"));
        assert_eq!(wrong.count(), 0, "{}: {:#?}", dir.display(), failures(&checks));
    }
}

/// Writes each method's folder, our logits beside it.
fn write_all(out: &Path) {
    let ids: [&[u32]; 2] = [&[5, 9, 300, 17, 44, 3, 8], &[250, 4, 4, 99]];
    for family in ["llama", "gpt2", "qwen2", "bert"] {
        let model = Model::load(&tiny(family), &Device::Cpu).unwrap();
        let task = if family == "bert" { Task::SeqCls } else { Task::CausalLm };
        let files =
            candle_core::safetensors::load(tiny(family).join("model.safetensors"), &Device::Cpu).unwrap();
        // Another head than the model's own, so that it is seen whether it arrives.
        let head: Tensors = files
            .into_iter()
            .filter(|(name, _)| name.starts_with("classifier."))
            .map(|(name, tensor)| (name, (tensor * 1.5).unwrap()))
            .collect();
        let model = match head.is_empty() {
            true => model,
            false => Model::load_over(&tiny(family), &Device::Cpu, head.clone()).unwrap(),
        };
        for (name, config) in methods() {
            let virtual_tokens = matches!(
                config,
                AdapterConfig::SoftPrompt(_) | AdapterConfig::PTuning(_) | AdapterConfig::Prefix(_)
            );
            let only_llama = matches!(config, AdapterConfig::LlamaAdapter(_));
            // PEFT reads the class off the first virtual token, has LLaMA-Adapter for LLaMA, and no gates of heads.
            if (family == "bert" && virtual_tokens)
                || (only_llama && family != "llama")
                || name.ends_with("-heads")
            {
                continue;
            }
            let dir = out.join(format!("{family}-{name}"));
            let mut stored = stored(&config, &awkward(&config, &model.transformer), task);
            stored.base = head.clone(); // as `tune` keeps it: PEFT wants the head of a classifier
            stored.write(&dir, &model.transformer, family).unwrap();
            let adapter =
                stored.config.as_ref().unwrap().attach(&model.transformer, &stored.tensors).unwrap();
            for (row, ids) in ids.iter().enumerate() {
                let batch = Batch::single(ids);
                let pass = Pass { adapter: &*adapter, cache: None, mode: Mode::Eval };
                let hidden = model.transformer.forward(&batch, pass).unwrap();
                let logits = match &model.classifier {
                    Some(head) if family == "bert" => {
                        head.forward(&hidden, &batch, &*adapter, Mode::Eval).unwrap()
                    }
                    _ => model.transformer.logits(&hidden).unwrap(),
                };
                let row_ids = Tensor::new(*ids, &Device::Cpu).unwrap();
                let tensors = [("ids".to_owned(), row_ids), ("logits".to_owned(), logits)];
                let file = dir.join(format!("ours.{row}.safetensors"));
                candle_core::safetensors::save(&tensors.into_iter().collect(), file).unwrap();
            }
        }
    }
}

/// `INCONTEXT_PEFT_PYTHON` names a Python with torch, transformers and peft; without it there is nothing to ask.
#[test]
fn peft_loads_what_we_write_without_a_warning_and_computes_our_logits() {
    let Some(python) = std::env::var_os("INCONTEXT_PEFT_PYTHON") else {
        eprintln!("skipped: INCONTEXT_PEFT_PYTHON is not set");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    write_all(folder.path());
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let script = golden.join("check_in_peft.py");
    let said = Command::new(python).arg(script).arg(golden.join("tiny")).arg(folder.path()).output().unwrap();
    println!("{}", String::from_utf8_lossy(&said.stdout));
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
}
