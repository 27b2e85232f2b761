//! A part of a model's own weights is trained: the gradients are those it has when all are, and the rest stays as it is.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use incontext::models::{Batch, Goal, Model, NewHead, Selected, Selection};
use incontext::nn::loss::{self, Targets};
use incontext::nn::{Bare, Mode, Params, Pass};
use incontext::train::{Row, Rows, Subject, TrainConfig, train};

use crate::golden::{DECODERS, ENCODERS, SEQUENCES, tiny};

const CLASSES: Goal = Goal::NewClasses(NewHead { classes: 3, seed: 7 });

fn load(family: &str, selection: Selection, goal: Goal) -> Selected {
    selection.load(&tiny(family), &Device::Cpu, goal).unwrap()
}

/// The gradient of each parameter, of next tokens or of classes.
fn gradients(model: &Model, params: &Params, goal: Goal) -> BTreeMap<String, Tensor> {
    let batch = Batch::of(&SEQUENCES);
    let hidden = model.transformer.forward(&batch, Pass::bare()).unwrap();
    let loss = match goal {
        Goal::NextTokens => {
            let labels: Vec<i64> = batch.ids.iter().map(|&id| i64::from(id)).collect();
            let targets = Targets::next_token(&labels, &batch.packing);
            loss::cross_entropy(&hidden, &targets, model.transformer.head()).unwrap()
        }
        _ => {
            let logits =
                model.classifier.as_ref().unwrap().forward(&hidden, &batch, &Bare, Mode::Eval).unwrap();
            let count = logits.dim(0).unwrap() as u32;
            let targets = Targets { rows: (0..count).collect(), ids: (0..count).map(|i| i % 3).collect() };
            loss::cross_entropy(&logits, &targets, |logits: &Tensor| Ok(logits.clone())).unwrap()
        }
    };
    let store = loss.backward().unwrap();
    let of = |(name, gradient): (&str, Option<&Tensor>)| {
        (name.to_owned(), gradient.unwrap_or_else(|| panic!("{name} has no gradient")).clone())
    };
    params.gradients(&store).map(of).collect()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn assert_part(some: &BTreeMap<String, Tensor>, all: &BTreeMap<String, Tensor>, what: &str) {
    for (name, gradient) in some {
        let (some, all) = (values(gradient), values(&all[name]));
        let length = all.iter().map(|x| x * x).sum::<f32>().sqrt();
        let apart = some.iter().zip(&all).map(|(a, b)| (a - b) * (a - b)).sum::<f32>().sqrt();
        assert!(apart <= 1e-5 * length + 1e-7, "{what}: {name} differs by {apart} of {length}");
    }
}

#[test]
fn a_selected_part_has_the_gradients_it_has_when_all_is_trained() {
    for family in DECODERS {
        let (model, params) = Model::load_trainable(&tiny(family), &Device::Cpu).unwrap();
        let all = gradients(&model, &params, Goal::NextTokens);
        for selection in [Selection::Top(1), Selection::Top(2), Selection::All] {
            let selected = load(family, selection, Goal::NextTokens);
            let some = gradients(&selected.model, &selected.params, Goal::NextTokens);
            assert_part(&some, &all, &format!("{family} {selection:?}"));
            assert_eq!(selection == Selection::All, some.len() == all.len(), "{family} {selection:?}");
        }
    }
    for family in DECODERS.into_iter().chain(ENCODERS) {
        let all = load(family, Selection::All, CLASSES);
        let all = gradients(&all.model, &all.params, CLASSES);
        for selection in [Selection::Head, Selection::Top(1), Selection::Top(2)] {
            let selected = load(family, selection, CLASSES);
            let some = gradients(&selected.model, &selected.params, CLASSES);
            assert_part(&some, &all, &format!("{family} {selection:?}"));
        }
    }
}

#[test]
fn what_is_not_selected_is_the_base_bit_for_bit_and_the_rest_moves() {
    for family in ["llama", "llama_untied", "gpt2", "gemma3"] {
        let base = Model::load(&tiny(family), &Device::Cpu).unwrap();
        let outputs = |model: &Model, layers: Option<usize>| {
            let batch = Batch::of(&SEQUENCES);
            let transformer = &model.transformer;
            values(&match layers {
                Some(layers) => transformer.trunk(layers, &batch, &incontext::nn::Bare).unwrap(),
                None => transformer.logits(&transformer.forward(&batch, Pass::bare()).unwrap()).unwrap(),
            })
        };
        let Selected { model, params, untouched } = load(family, Selection::Top(1), Goal::NextTokens);
        assert_eq!(untouched, base.transformer.config.shape.layers - 1);
        let near = outputs(&model, None).iter().zip(outputs(&base, None)).all(|(a, b)| (a - b).abs() < 1e-4);
        assert!(near, "{family}");
        let decays = |name: &str| name.ends_with(".weight");
        let subject = Subject { untouched, decays: &decays, ..Subject::new("top", &model, &params) };
        let rows = Rows::new(SEQUENCES.map(|ids| Row::from_ids(&ids[..1], &ids[1..])).to_vec(), vec![]);
        let rows = Rows::new(rows.all().iter().filter(|row| row.ids.len() > 1).cloned().collect(), vec![]);
        let config = TrainConfig { epochs: 4, learning_rate: 1e-2, warmup: 0.0, ..TrainConfig::default() };
        let mut on = |_| std::ops::ControlFlow::Continue(());
        train(&subject, &rows, &config, None, &mut on).unwrap();
        assert_eq!(outputs(&model, Some(untouched)), outputs(&base, Some(untouched)), "{family}");
        assert_ne!(outputs(&model, None), outputs(&base, None), "{family}");
    }
}

#[test]
fn parameters_are_as_many_as_the_formulas_say() {
    let count = |family: &str, selection, goal| load(family, selection, goal).params.count();
    for family in DECODERS.into_iter().chain(ENCODERS) {
        let all = load(family, Selection::All, CLASSES);
        let h = all.model.transformer.config.shape.hidden;
        let dense = if ENCODERS.contains(&family) { h * h + h } else { 0 };
        let bias = if ENCODERS.contains(&family) { 3 } else { 0 };
        assert_eq!(count(family, Selection::Head, CLASSES), dense + 3 * h + bias, "{family}");
    }
    let config = load("llama", Selection::All, Goal::NextTokens).model.transformer.config;
    let shape = config.shape;
    let (h, q, kv) = (shape.hidden, shape.heads * shape.head_dim, shape.kv_heads * shape.head_dim);
    let layer = 2 * h * q + 2 * h * kv + 3 * h * shape.intermediate + 2 * h;
    assert_eq!(count("llama", Selection::Top(1), Goal::NextTokens), layer + h);
    let all = shape.layers * layer + h + shape.vocab * h;
    assert_eq!(count("llama", Selection::All, Goal::NextTokens), all);
}

#[test]
fn bitfit_trains_biases_and_the_head_for_classes_and_refuses_where_there_are_none() {
    for family in ["gpt2", "qwen2", "bert", "distilbert", "xlm_roberta"] {
        let selected = load(family, Selection::BitFit, CLASSES);
        let weights: Vec<_> =
            selected.params.iter().map(|(name, _)| name).filter(|name| !name.ends_with(".bias")).collect();
        let of_head = |name: &&str| ["score", "classifier", "pooler"].iter().any(|part| name.contains(part));
        assert!(weights.iter().all(of_head) && weights.len() < 3, "{family}: {weights:?}");
        assert!(selected.params.iter().count() > 6, "{family}");
        gradients(&selected.model, &selected.params, CLASSES);
    }
    for family in ["llama", "gemma3", "qwen3"] {
        let error = Selection::BitFit.load(&tiny(family), &Device::Cpu, CLASSES).err().unwrap();
        assert!(error.to_string().contains("has no biases"), "{error}");
        assert!(error.advice().is_some());
    }
}

#[test]
fn a_new_head_is_the_same_for_a_seed_and_starts_small() {
    let weights = |seed| {
        let goal = Goal::NewClasses(NewHead { classes: 4, seed });
        let selected = load("bert", Selection::Head, goal);
        selected.params.snapshot().unwrap().values().flat_map(values).collect::<Vec<_>>()
    };
    assert_eq!(weights(1), weights(1));
    assert_ne!(weights(1), weights(2));
    let score = load("llama", Selection::Head, Goal::NewClasses(NewHead { classes: 50, seed: 1 })).params;
    let score = values(score.get("score.weight").unwrap());
    let deviation = (score.iter().map(|x| x * x).sum::<f32>() / score.len() as f32).sqrt();
    assert!((0.018..0.022).contains(&deviation), "{deviation}");
}

#[test]
fn what_cannot_be_selected_is_refused() {
    for (selection, goal, what) in [
        (Selection::Head, Goal::NextTokens, "embedding table"),
        (Selection::Top(0), Goal::NextTokens, "cannot train 0 layers"),
        (Selection::Top(99), Goal::NextTokens, "cannot train 99 layers"),
        (Selection::Top(1), Goal::Classes, "no head for classes"),
        (Selection::Head, Goal::NewClasses(NewHead { classes: 0, seed: 0 }), "no classes"),
    ] {
        let error = selection.load(&tiny("llama"), &Device::Cpu, goal).err().unwrap();
        assert!(error.to_string().contains(what) && error.advice().is_some(), "{error}");
    }
}
