//! That a loss and its gradient do not depend on which rows are computed together.

use candle_core::D;

use super::super::testing::{LowRank, config, model, numbers, rows, subject};
use super::super::{Rows, Target, TrainConfig, Trainer};
use super::*;
use crate::adapters::{AdapterConfig, LlamaAdapter, Lora, Prefix, SoftPrompt, Start};
use crate::models::Batch;
use crate::nn::{Bare, Params};

#[test]
fn the_loss_is_that_of_the_answers_alone_whatever_rows_are_computed_together() {
    let (model, params) = (model("llama"), Params::new());
    let data = rows(0..7);
    let subject = subject(&model, &Bare, &params);
    let (mut sum, mut count) = (0.0, 0);
    for row in &data {
        let Target::Tokens(labels) = &row.target else { unreachable!() };
        let hidden = model.transformer.forward(&Batch::single(&row.ids), Pass::bare()).unwrap();
        let logits = model.transformer.logits(&hidden).unwrap();
        let likely = candle_nn::ops::log_softmax(&logits, D::Minus1).unwrap().to_vec2::<f32>().unwrap();
        for at in 1..labels.len() {
            if labels[at] >= 0 {
                sum -= f64::from(likely[at - 1][row.ids[at] as usize]);
                count += 1;
            }
        }
    }
    assert_eq!(count, data.iter().map(Row::targets).sum::<usize>());
    let every: Vec<usize> = (0..data.len()).collect();
    for most in [1, 20, 1000] {
        let network = Network::new(&subject, &data, None);
        let judged = network.judge(&every, most, &mut |_, _| true).unwrap().unwrap();
        assert!((judged.loss - sum / count as f64).abs() < 1e-5, "{most}: {}", judged.loss);
    }
}

#[test]
fn a_step_has_the_same_gradient_in_any_number_of_pieces() {
    let (model, mut params) = (model("llama"), Params::new());
    let adapter = LowRank::new(&model, 0..2, &mut params);
    // So that A has a gradient too.
    for (name, var) in params.iter().filter(|(name, _)| name.ends_with(".b")) {
        var.set(&numbers(var.dims(), name.len() as u64)).unwrap();
    }
    let subject = subject(&model, &adapter, &params);
    let rows = Rows::new(rows(0..8), vec![]);
    let lengths: usize = rows.all().iter().map(|row| row.ids.len()).sum();
    let of = |micro_tokens: usize| {
        let config = TrainConfig { micro_tokens, batch_size: 8, ..config() };
        let trainer = Trainer::new(&subject, &rows, &config, None).unwrap();
        let (Gathered { loss, .. }, gradients) =
            trainer.network.gather(&[0, 1, 2, 3, 4, 5, 6, 7], 1.0, &config, 0).unwrap();
        let values = gradients.iter().map(|g| g.unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap());
        (loss, values.collect::<Vec<_>>().concat())
    };
    let (loss, whole) = of(lengths);
    for micro_tokens in [1, lengths / 2, lengths / 4] {
        let (other, pieces) = of(micro_tokens);
        assert!((loss - other).abs() < 1e-6);
        let largest = whole.iter().zip(&pieces).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(largest < 1e-6, "{micro_tokens} tokens at a time: {largest}");
    }
}

#[test]
fn what_answers_share_is_computed_once_and_changes_nothing() {
    let prompt = [5, 9, 30, 12, 6, 2, 8, 1, 3];
    let answers = [&[7, 8][..], &[11], &[3, 4, 6]];
    // Answers to one prompt, and prompts that begin with one instruction.
    let of_one: Vec<Row> = answers.map(|answer| Row::from_ids(&prompt, answer)).into();
    let alike = |answer: &[u32]| Row::from_ids(&[&prompt[..], &answer[..1]].concat(), answer);
    let methods = [
        AdapterConfig::Lora(Lora::default()),
        AdapterConfig::SoftPrompt(SoftPrompt { num_virtual_tokens: 3, ..SoftPrompt::default() }),
        AdapterConfig::Prefix(Prefix { num_virtual_tokens: 2, ..Prefix::default() }),
        AdapterConfig::LlamaAdapter(LlamaAdapter::default()),
    ];
    let begun_alike: Vec<Row> = answers.map(alike).into();
    let cases = [
        ("llama", &methods[..], &of_one),
        ("llama", &methods[..], &begun_alike),
        ("gemma3", &methods[..1], &of_one),
        ("gpt2", &methods[..1], &begun_alike),
    ];
    for (family, methods, rows) in cases {
        for method in methods {
            let (model, mut params) = (model(family), Params::new());
            let network = &model.transformer;
            for (name, value) in method.start(network, &Start { seed: 3, ..Start::default() }).unwrap() {
                // Nothing is zero, so that everything has a gradient; and all is small, or attention is all or nothing and
                // magnifies in which order numbers are added.
                let more = (numbers(value.dims(), name.len() as u64) * 0.2).unwrap();
                let value = (&value + more).unwrap();
                params.insert(&name, &value).unwrap();
            }
            let values =
                params.iter().map(|(name, var)| (name.to_owned(), var.as_tensor().clone())).collect();
            let adapter = method.attach(network, &values).unwrap();
            let subject = subject(&model, &*adapter, &params);
            let network = Network::new(&subject, rows, None);
            let of = |chosen: &[usize], weight: f64| {
                let (Gathered { loss, .. }, gradients) =
                    network.gather(chosen, weight, &config(), 0).unwrap();
                let values = gradients.iter().map(|g| g.unwrap().flatten_all().unwrap());
                (loss, values.flat_map(|g| g.to_vec1::<f32>().unwrap()).collect::<Vec<_>>())
            };
            let (loss, gradients) = of(&[0, 1, 2], 1.0);
            let alone: Vec<_> =
                [2.0, 1.0, 3.0].iter().enumerate().map(|(row, n)| of(&[row], n / 6.0)).collect();
            let sum: f64 = alone.iter().map(|(loss, _)| loss).sum();
            assert!((loss - sum).abs() < 1e-6, "{family} {}: {loss}, not {sum}", method.name());
            for (at, gradient) in gradients.iter().enumerate() {
                let sum: f32 = alone.iter().map(|(_, gradients)| gradients[at]).sum();
                assert!(
                    (gradient - sum).abs() < 1e-5 * (1.0 + sum.abs()),
                    "{family} {}: {gradient}, not {sum}",
                    method.name()
                );
            }
        }
    }
}
