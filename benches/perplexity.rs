//! What computing with small integers costs in quality: perplexity of the default generator on the user's guide.
//!
//! `cargo bench --bench perplexity` reads the first 2,000 tokens of `docs/`, file after file by name: in 32-bit floats, in
//! small integers in one pass, as a prompt is read, and token by token, as an answer is written; and prints the perplexities. A number after `--` reads
//! as many tokens instead.

mod common;

use std::path::Path;

use candle_core::{D, Device, Tensor};
use incontext::error::Result;
use incontext::hub;
use incontext::models::{Batch, Model};
use incontext::nn::{Bare, KvCache, Pass, Precision, kernel};

fn main() -> Result<()> {
    common::one_pool();
    let Ok(found) = hub::resolve(hub::DEFAULT_GENERATOR) else {
        println!("skipped: the default generator is not on this machine");
        return Ok(());
    };
    let count = common::chosen().and_then(|word| word.parse().ok()).unwrap_or(2_000);
    let model = Model::load(&found.path, &Device::Cpu)?;
    let tokenizer = model.tokenizer.as_ref().expect("a GGUF file has a tokenizer");
    let mut ids = tokenizer.encode(&guide(), false)?;
    ids.truncate(count);

    let exact = perplexity(at_once(&model, &ids)?);
    println!("f32: {exact:.4} perplexity  ({} tokens, in one pass)", ids.len());
    let model = Model { transformer: model.transformer.quantised(Precision::Int8)?, ..model };
    let change = |perplexity: f64| 100.0 * (perplexity / exact - 1.0);
    let read = perplexity(at_once(&model, &ids)?);
    println!("int8, read: {read:.4} perplexity  (in one pass; {:+.2} %)", change(read));
    let written = perplexity(kernel::together(|| one_by_one(&model, &ids))?);
    println!("int8, written: {written:.4} perplexity  (token by token; {:+.2} %)", change(written));
    Ok(())
}

fn guide() -> String {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let mut pages: Vec<_> =
        std::fs::read_dir(docs).expect("docs").map(|page| page.expect("page").path()).collect();
    pages.sort();
    pages.iter().filter_map(|page| std::fs::read_to_string(page).ok()).collect()
}

fn perplexity(log_probabilities: Vec<f64>) -> f64 {
    (-log_probabilities.iter().sum::<f64>() / log_probabilities.len() as f64).exp()
}

/// Log-probabilities of `ids[1..]`, each given those before it.
fn at_once(model: &Model, ids: &[u32]) -> Result<Vec<f64>> {
    let hidden = model.transformer.forward(&Batch::single(ids), Pass::bare())?; // (T, H)
    let mut all = Vec::new();
    for start in (0..ids.len() - 1).step_by(100) {
        let rows = 100.min(ids.len() - 1 - start);
        let logits = model.transformer.logits(&hidden.narrow(0, start, rows)?)?; // (rows, V)
        all.extend(chosen_of(&logits, &ids[start + 1..start + 1 + rows])?);
    }
    Ok(all)
}

fn one_by_one(model: &Model, ids: &[u32]) -> Result<Vec<f64>> {
    let mut cache = KvCache::new(1);
    let mut all = Vec::new();
    for pair in ids.windows(2) {
        let hidden =
            model.transformer.forward(&Batch::single(&pair[..1]), Pass::cached(&Bare, &mut cache))?;
        all.extend(chosen_of(&model.transformer.logits(&hidden)?, &pair[1..])?);
    }
    Ok(all)
}

/// Of each row of logits `(n, V)`, the log-probability of one id.
fn chosen_of(logits: &Tensor, ids: &[u32]) -> Result<Vec<f64>> {
    let ids = Tensor::new(ids, logits.device())?.unsqueeze(1)?;
    let chosen = candle_nn::ops::log_softmax(logits, D::Minus1)?.gather(&ids, 1)?.squeeze(1)?;
    Ok(chosen.to_vec1::<f32>()?.into_iter().map(f64::from).collect())
}
