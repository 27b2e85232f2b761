//! What training promises, on tiny models of several families.

use candle_core::Device;

use super::testing::{LowRank, bits, config, model, row, rows, subject, tiny, trained};
use super::*;
use crate::models::{Batch, Model};
use crate::nn::{Params, Pass};

fn losses(events: &[Event]) -> Vec<f64> {
    let loss = |event: &Event| if let Event::Step(step) = event { Some(step.loss) } else { None };
    events.iter().filter_map(loss).collect()
}

fn never(_: &Event) -> bool {
    false
}

/// `model` with a low-rank adapter in all its layers, trained on some rows of which a few are held out.
fn run(
    family: &str,
    config: &TrainConfig,
    place: Option<Place>,
    stop: impl FnMut(&Event) -> bool,
) -> (Result<Outcome>, Vec<Event>, Params) {
    let (model, mut params) = (model(family), Params::new());
    let layers = 0..model.transformer.config.shape.layers;
    let adapter = LowRank { dropout: 0.2, ..LowRank::new(&model, layers, &mut params) };
    let rows = Rows::new(rows(0..22), rows(100..104));
    let (outcome, events) = trained(&subject(&model, &adapter, &params), &rows, config, place, stop);
    (outcome, events, params)
}

#[test]
fn a_method_learns_in_every_family_and_the_base_stays_as_it_was() {
    for family in ["llama", "gpt2", "qwen3", "gemma3"] {
        let (model, mut params) = (model(family), Params::new());
        let before = logits(&model, &[5, 9, 30]);
        let adapter = LowRank::new(&model, 0..model.transformer.config.shape.layers, &mut params);
        let subject = subject(&model, &adapter, &params);
        let config = TrainConfig { epochs: 12, ..config() };
        let (outcome, events) = trained(&subject, &Rows::new(rows(0..24), vec![]), &config, None, never);
        let outcome = outcome.unwrap();
        assert_eq!((outcome.ending, outcome.steps, outcome.of), (Ending::Done, 72, 72));
        let losses = losses(&events);
        let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
        let (first, last) = (mean(&losses[..6]), mean(&losses[66..]));
        assert!(last < first - 0.5, "{family}: {first} to {last}");
        assert_eq!(logits(&model, &[5, 9, 30]), before, "{family}");
    }
}

fn logits(model: &Model, ids: &[u32]) -> Vec<Vec<f32>> {
    let hidden = model.transformer.forward(&Batch::single(ids), Pass::bare()).unwrap();
    model.transformer.logits(&hidden).unwrap().to_vec2().unwrap()
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_does_not() {
    let (_, events, params) = run("llama", &config(), None, never);
    let (_, again, same) = run("llama", &config(), None, never);
    assert_eq!((losses(&events), bits(&params)), (losses(&again), bits(&same)));
    let (_, _, other) = run("llama", &TrainConfig { seed: 6, ..config() }, None, never);
    assert_ne!(bits(&params), bits(&other));
}

#[test]
fn a_run_that_was_interrupted_goes_on_bit_for_bit() {
    let config = TrainConfig { validate_every: Some(2), patience: Some(20), ..config() };
    let (whole, events, params) = run("llama", &config, None, never);
    let whole = whole.unwrap();
    assert_eq!(whole.steps, 18);
    // In the middle of an epoch, after a step that is validated next, in the middle of a validation, and at the start.
    for stop in [7, 8, 0] {
        let folder = tempfile::tempdir().unwrap();
        let place = |resume| Some(Place { folder: folder.path(), resume });
        let (first, before, _) = run("llama", &config, place(true), |event| match event {
            Event::Validating { step: 8, .. } => stop == 8,
            Event::Begun(_) => stop == 0,
            event => event.step() == 7 && stop == 7,
        });
        assert_eq!(first.unwrap().ending, Ending::Interrupted);
        let (second, after, resumed) = run("llama", &config, place(true), never);
        let second = second.unwrap();
        assert_eq!(bits(&resumed), bits(&params), "stopped at {stop}");
        assert_eq!((second.best, second.loss, second.tokens), (whole.best, whole.loss, whole.tokens));
        assert_eq!([losses(&before), losses(&after)].concat(), losses(&events));
        let log = super::events(&folder.path().join(LOG)).unwrap();
        assert_eq!(losses(&log).len(), 18);
        assert!(std::fs::read_to_string(folder.path().join(CURVE)).unwrap().contains("Loss of 18 steps"));
    }
}

#[test]
fn a_run_that_was_killed_goes_on_from_its_last_checkpoint() {
    let config = TrainConfig { save_every: 5, validate_every: Some(4), ..config() };
    let (_, _, params) = run("llama", &config, None, never);
    let (folder, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    // What is on the disk while step 13 is done is what a process killed there leaves.
    let (whole, ..) = run("llama", &config, Some(Place { folder: folder.path(), resume: false }), |event| {
        if matches!(event, Event::Step(step) if step.step == 13) {
            for file in [CHECKPOINT, LOG] {
                std::fs::copy(folder.path().join(file), copy.path().join(file)).unwrap();
            }
        }
        false
    });
    whole.unwrap();
    let mut steps = Vec::new();
    let (_, _, resumed) = run("llama", &config, Some(Place { folder: copy.path(), resume: true }), |event| {
        if let Event::Step(step) = event {
            steps.push(step.step);
        }
        false
    });
    assert_eq!(steps, (11..=18).collect::<Vec<_>>());
    assert_eq!(bits(&resumed), bits(&params));
    let log = super::events(&copy.path().join(LOG)).unwrap();
    assert_eq!(losses(&log).len(), 18, "steps after the checkpoint are in the log once");
}

#[test]
fn a_checkpoint_that_is_damaged_or_another_run_s_is_refused_and_nothing_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(CHECKPOINT);
    let resume = Some(Place { folder: folder.path(), resume: true });
    run("llama", &config(), resume, |event| event.step() == 4).0.unwrap();
    let whole = std::fs::read(&file).unwrap();
    let refused = |config: &TrainConfig, resume| {
        let before = std::fs::read(&file).unwrap();
        let log = std::fs::read(folder.path().join(LOG)).unwrap();
        let (outcome, events, params) =
            run("llama", config, Some(Place { folder: folder.path(), resume }), never);
        let (model, mut fresh) = (model("llama"), Params::new());
        LowRank::new(&model, 0..model.transformer.config.shape.layers, &mut fresh);
        assert_eq!(bits(&params), bits(&fresh));
        assert_eq!(std::fs::read(&file).unwrap(), before);
        assert_eq!(std::fs::read(folder.path().join(LOG)).unwrap(), log);
        assert!(events.is_empty());
        outcome.unwrap_err()
    };
    let name = file.display().to_string();

    let error = refused(&TrainConfig { learning_rate: 0.5, ..config() }, true);
    assert!(matches!(error, Error::Mismatch(_)));
    assert_eq!(
        error.to_string(),
        format!("`{name}` is of another run: `learning_rate` is 0.01 there and 0.5 here")
    );
    let error = refused(&config(), false);
    assert!(matches!(error, Error::Invalid(_)), "{error}");

    for length in [whole.len() / 2, whole.len() - 1, 100, 3, 0] {
        std::fs::write(&file, &whole[..length]).unwrap();
        let error = refused(&config(), true);
        assert!(matches!(error, Error::Corrupt(_)) && error.to_string().contains(&name), "{length}: {error}");
    }
    // Of a run with other rows, and one with other parameters.
    std::fs::write(&file, &whole).unwrap();
    for (layers, seeds, how) in [(0..3, 0..21, "its rows are others"), (1..2, 0..22, "its parameters")] {
        let (model, mut params) = (model("llama"), Params::new());
        let adapter = LowRank::new(&model, layers, &mut params);
        let rows = Rows::new(rows(seeds), rows(100..104));
        let (outcome, _) = trained(&subject(&model, &adapter, &params), &rows, &config(), resume, never);
        let error = outcome.unwrap_err();
        assert!(error.to_string().contains(how), "{error}");
    }
    assert_eq!(run("llama", &config(), resume, never).0.unwrap().ending, Ending::Done);
    forget(folder.path()).unwrap();
    forget(folder.path()).unwrap();
    assert!(!file.exists());
}

#[test]
fn a_trunk_that_is_kept_gives_what_it_gives_when_computed() {
    for family in ["llama", "gpt2", "gemma3"] {
        let of = |untouched: usize, trunk_memory: usize| {
            let (model, mut params) = (model(family), Params::new());
            let layers = model.transformer.config.shape.layers;
            let adapter = LowRank::new(&model, layers - 1..layers, &mut params);
            let subject = Subject { untouched, ..subject(&model, &adapter, &params) };
            let config = TrainConfig { trunk_memory, ..config() };
            let rows = Rows::new(rows(0..22), rows(100..104));
            let (outcome, events) = trained(&subject, &rows, &config, None, never);
            outcome.unwrap();
            (losses(&events), bits(&params))
        };
        let layers = model(family).transformer.config.shape.layers;
        let (computed, _) = of(0, 1);
        let kept = of(layers - 1, 1);
        assert_eq!(kept, of(layers - 1, 0), "{family}: with no room, rows give the same bits");
        for (kept, computed) in kept.0.iter().zip(&computed) {
            assert!((kept - computed).abs() < 1e-5, "{family}: {kept}, not {computed}");
        }
    }
}

#[test]
fn a_parameter_that_is_not_trained_as_it_should_is_named_before_the_first_update() {
    let of = |change: &dyn Fn(&mut Params), untouched: usize, still: &(dyn Fn(&str) -> bool + Sync)| {
        let (model, mut params) = (model("llama"), Params::new());
        let adapter = LowRank::new(&model, 0..2, &mut params);
        change(&mut params);
        let before = bits(&params);
        let subject = Subject { untouched, still, ..subject(&model, &adapter, &params) };
        let (outcome, events) = trained(&subject, &Rows::new(rows(0..8), vec![]), &config(), None, never);
        assert_eq!((bits(&params), losses(&events).len()), (before, 0));
        outcome.unwrap_err().to_string()
    };
    let lonely = |params: &mut Params| {
        params.insert("lonely", &testing::numbers(&[2], 1)).unwrap();
    };
    let error = of(&lonely, 0, &testing::still);
    assert!(error.starts_with("parameter `lonely` [2] has no gradient"), "{error}");
    let error = of(&|_| {}, 1, &testing::still);
    assert!(error.starts_with("parameter `layers.0.q.a`"), "below the trunk: {error}");
    let error = of(&|_| {}, 0, &|_| false);
    assert!(error.contains("`layers.0.q.a`") && error.contains("zero everywhere"), "{error}");
    let error = of(&|_| {}, 0, &|_| true);
    assert!(error.contains("`layers.0.q.b`") && error.contains("starts without one"), "{error}");
    let (model, params) = (model("llama"), Params::new());
    let none = subject(&model, &crate::nn::Bare, &params);
    let (outcome, _) = trained(&none, &Rows::new(rows(0..8), vec![]), &config(), None, never);
    assert!(outcome.unwrap_err().to_string().contains("no parameter"));
}

#[test]
fn a_loss_that_is_no_number_skips_a_step_and_a_third_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let place = Some(Place { folder: folder.path(), resume: true });
    let of = |broken| {
        let (model, mut params) = (model("llama"), Params::new());
        let adapter = LowRank { broken, ..LowRank::new(&model, 0..2, &mut params) };
        let rows = Rows::new(rows(0..22), vec![]);
        let mut after = Vec::new();
        let (outcome, events) = trained(&subject(&model, &adapter, &params), &rows, &config(), place, |_| {
            after.push(bits(&params));
            false
        });
        (outcome, events, after)
    };
    let (outcome, events, after) = of(4..6);
    assert_eq!(outcome.unwrap().ending, Ending::Done);
    assert!(matches!(&events[5], Event::Skipped { step: 5, why } if why.contains("NaN")), "{:?}", events[5]);
    assert_eq!((&after[4], &after[5]), (&after[6], &after[6]));
    assert_ne!(after[6], after[7]);
    assert_eq!(losses(&events).len(), 16);

    let (outcome, events, after) = of(4..100);
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("step 7") && error.contains("as step 4 left them"), "{error}");
    assert_eq!(events.last().unwrap().step(), 7);
    assert_eq!(after[4], after[7]);
    let (outcome, events, later) = of(0..0);
    assert_eq!((outcome.unwrap().steps, losses(&events).len()), (18, 18 - 7), "it goes on behind them");
    assert_eq!(later[0], after[7]);
}

#[test]
fn training_stops_when_rows_held_out_get_worse_and_keeps_the_best() {
    let (model, mut params) = (model("llama"), Params::new());
    let adapter = LowRank::new(&model, 0..2, &mut params);
    let subject = subject(&model, &adapter, &params);
    // Answers that no prompt foretells: what is learned of them by heart is wrong elsewhere.
    let noise = |seed: u64| {
        let mut row = row(seed);
        row.learn(&[5 + (seed * 37 % 80) as u32, 5 + (seed * 53 % 80) as u32]);
        row
    };
    let rows = Rows::new((0..8).map(noise).collect(), (50..58).map(noise).collect());
    let config = TrainConfig { epochs: 200, learning_rate: 3e-2, patience: Some(3), ..config() };
    let (outcome, events) = trained(&subject, &rows, &config, None, never);
    let outcome = outcome.unwrap();
    let best = outcome.best.unwrap();
    assert_eq!(outcome.ending, Ending::NoBetter);
    assert_eq!(outcome.steps, best.step + 3 * 2, "three epochs of two steps after the best");
    let mut validated = events.iter().filter_map(|event| match event {
        Event::Validated(validated) => Some(validated),
        _ => None,
    });
    let least = validated.clone().map(|validated| validated.loss).fold(f64::INFINITY, f64::min);
    assert_eq!(least, best.loss.0);
    assert!(validated.next_back().unwrap().loss > least);
    let network = Network::new(&subject, rows.all(), None);
    let held_out: Vec<usize> = (8..16).collect();
    let judged = network.judge(&held_out, config.micro_tokens, &mut |_, _| true).unwrap().unwrap();
    assert_eq!(judged.loss, least, "the parameters are the best ones again");
}

#[test]
fn every_weight_of_a_model_is_trained_in_place_and_a_head_tells_classes() {
    let (model, params) = Model::load_trainable(&tiny("cross_encoder_two_labels"), &Device::Cpu).unwrap();
    let classifier = model.classifier.as_ref().unwrap();
    let decays = |name: &str| name.ends_with("weight") && !name.contains("LayerNorm");
    let (classes, objective) = (classifier.classes() as u32, Classes(classifier));
    let subject = Subject { objective: &objective, decays: &decays, ..Subject::new("all", &model, &params) };
    let class = |seed: u64| {
        let row = row(seed);
        let class = row.ids[0] % classes;
        Row::of_class(row.ids, class)
    };
    let rows = Rows::new((0..16).map(class).collect(), (0..16).map(class).collect());
    let config = TrainConfig { epochs: 25, learning_rate: 5e-3, weight_decay: 0.01, ..config() };
    let (outcome, events) = trained(&subject, &rows, &config, None, never);
    outcome.unwrap();
    let accuracies: Vec<f64> = events
        .iter()
        .filter_map(|event| match event {
            Event::Validated(validated) => validated.metrics.get("accuracy").copied(),
            _ => None,
        })
        .collect();
    assert_eq!(accuracies.len(), 25);
    assert!(accuracies[24] > 0.95 && accuracies[24] > accuracies[0], "{accuracies:?}");
}

#[test]
fn a_tied_table_gets_the_gradient_of_both_its_uses() {
    let (model, params) = Model::load_trainable(&tiny("llama"), &Device::Cpu).unwrap();
    let subject = Subject::new("all", &model, &params);
    let config = TrainConfig { steps: Some(1), learning_rate: 1e-3, ..config() };
    let data = Rows::new(rows(0..4), rows(0..4));
    let network = Network::new(&subject, data.all(), None);
    let most = config.micro_tokens;
    let judge = || network.judge(&[0, 1, 2, 3], most, &mut |_, _| true).unwrap().unwrap().loss;
    let before = judge();
    let table = |params: &Params| params.get("model.embed_tokens.weight").unwrap().to_vec2::<f32>().unwrap();
    let was = table(&params);
    let (outcome, events) = trained(&subject, &data, &config, None, never);
    assert_eq!(outcome.unwrap().best.unwrap().loss.0, judge());
    assert!(judge() < before);
    assert!((losses(&events)[0] - before).abs() < 1e-6);
    // An id that no row reads is moved by the head alone, one that is read by both.
    let moved = |id: usize| was[id] != table(&params)[id];
    assert!(moved(299) && moved(data.all()[0].ids[0] as usize));
}

/// By `tests/golden/make_training.py`.
#[test]
fn twenty_steps_of_every_weight_are_those_of_torch() {
    let file = std::fs::read_to_string(tiny("../training.json")).unwrap();
    let golden: serde_json::Value = serde_json::from_str(&file).unwrap();
    let numbers = |value: &serde_json::Value| -> Vec<f64> { serde_json::from_value(value.clone()).unwrap() };
    let ids = |value: &serde_json::Value| -> Vec<u32> { serde_json::from_value(value.clone()).unwrap() };
    let row = |row: &serde_json::Value| Row::from_ids(&ids(&row["prompt"]), &ids(&row["answer"]));
    let data = Rows::new(golden["rows"].as_array().unwrap().iter().map(row).collect(), vec![]);
    for (family, expected) in golden["whole"].as_object().unwrap() {
        let (model, params) = Model::load_trainable(&tiny(family), &Device::Cpu).unwrap();
        let matrix = |name: &str| params.get(name).is_some_and(|var| var.rank() >= 2);
        let subject = Subject { decays: &matrix, ..Subject::new("all", &model, &params) };
        let config = TrainConfig {
            learning_rate: 5e-3,
            schedule: Schedule::Cosine,
            warmup: 0.1,
            steps: Some(20),
            // Most steps are computed in pieces.
            micro_tokens: 40,
            weight_decay: 0.05,
            shuffle: false,
            ..config()
        };
        let (outcome, events) = trained(&subject, &data, &config, None, never);
        outcome.unwrap();
        let steps: Vec<&Step> = events
            .iter()
            .filter_map(|event| match event {
                Event::Step(step) => Some(step),
                _ => None,
            })
            .collect();
        let (losses, norms) = (numbers(&expected["losses"]), numbers(&expected["norms"]));
        assert_eq!((steps.len(), losses.len()), (20, 20));
        for ((step, loss), norm) in steps.iter().zip(losses).zip(norms) {
            let number = step.step;
            assert!((step.loss - loss).abs() < 1e-4, "{family} {number}: loss {}, not {loss}", step.loss);
            let off = step.gradient_norm / norm - 1.0;
            assert!(off.abs() < 1e-3, "{family} {number}: norm {}, not {norm}", step.gradient_norm);
        }
    }
}

#[test]
fn a_sweep_tries_three_rates_from_one_start_and_leaves_no_trace() {
    let (model, mut params) = (model("llama"), Params::new());
    let adapter = LowRank::new(&model, 0..2, &mut params);
    let subject = subject(&model, &adapter, &params);
    let before = bits(&params);
    let config = TrainConfig { learning_rate: 1e-4, epochs: 100, ..config() };
    for held_out in [rows(0..4), vec![]] {
        let with = !held_out.is_empty();
        let rows = Rows::new(rows(0..22), held_out);
        let mut steps = [0usize; 3];
        let rates = [3e-5, 1e-4, 3e-4];
        let swept = sweep(&subject, &rows, &config, &mut |rate, event| {
            if matches!(event, Event::Step(_)) {
                steps[rates.iter().position(|known| (known / rate - 1.0).abs() < 1e-9).unwrap()] += 1;
            }
            ControlFlow::Continue(())
        })
        .unwrap();
        assert_eq!(steps, [50; 3]);
        assert!((swept.chosen / 3e-4 - 1.0).abs() < 1e-9, "{swept:?}");
        assert_eq!(
            swept.tries.iter().filter(|one| one.validation.is_some()).count(),
            if with { 3 } else { 0 }
        );
        let start = swept.tries.iter().map(|one| one.loss.unwrap());
        assert!(start.clone().zip(start.skip(1)).all(|(slower, faster)| faster < slower), "{swept:?}");
        assert_eq!(bits(&params), before);
    }
    let stopped =
        sweep(&subject, &Rows::new(rows(0..4), vec![]), &config, &mut |_, _| ControlFlow::Break(()));
    assert!(matches!(stopped, Err(Error::Interrupted(_))));
    // From the second step on nothing can be computed.
    let adapter = LowRank { pairs: adapter.pairs.clone(), dropout: 0.0, broken: 1..100 };
    let broken = Subject { adapter: &adapter, ..subject.clone() };
    let failed =
        sweep(&broken, &Rows::new(rows(0..22), vec![]), &config, &mut |_, _| ControlFlow::Continue(()));
    assert!(failed.unwrap_err().to_string().contains("at every rate"));
    assert_eq!(bits(&params), before);
}

#[test]
fn rows_that_cannot_be_trained_on_are_named() {
    let (model, mut params) = (model("llama"), Params::new());
    let adapter = LowRank::new(&model, 0..2, &mut params);
    let subject = subject(&model, &adapter, &params);
    let context = model.transformer.config.context;
    assert_eq!(subject.window(&config()).unwrap(), context);
    let short = TrainConfig { max_length: 7, ..config() };
    assert_eq!(subject.window(&short).unwrap(), 7);
    let refused = |row: Row| {
        let rows = Rows::new(vec![testing::row(1), row], vec![]);
        trained(&subject, &rows, &config(), None, never).0.unwrap_err().to_string()
    };
    assert!(refused(Row::from_ids(&vec![5; context], &[6])).contains("row 2 has"));
    assert_eq!(refused(Row::from_ids(&[5, 6], &[])), "row 2 has nothing to learn from");
    assert!(refused(Row::of_class(vec![5], 0)).contains("no head for classes"));
    let (outcome, _) = trained(&subject, &Rows::new(vec![], vec![]), &config(), None, never);
    assert_eq!(outcome.unwrap_err().to_string(), "there is no row to train on");
}
