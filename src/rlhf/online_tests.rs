//! A bandit, solved by both ways and gone on with after an interruption.

use super::*;
use crate::adapters::{AdapterConfig, Lora, Start};
use crate::models::Model;
use crate::nn::{Bare, Params, Site};
use crate::train::testing::tiny;
use candle_core::{DType, Device, Tensor};

/// A bandit: of the tokens that may come, those below this are worth one.
const WANTED: u32 = 40;

fn settings(num_generations: usize) -> Online {
    Online {
        updates: 50,
        prompts: 32 / num_generations,
        num_generations,
        max_tokens: 3,
        temperature: 1.0,
        beta: 0.01,
        adaptive: None,
        estimator: Estimator::K1,
        missing_eos_penalty: 0.0,
        score_at: ScoreAt::Eos,
        whiten_rewards: false,
        clip: (0.2, 0.2),
        epochs: 2,
        mini_batches: 2,
        reduction: Reduction::Tokens,
        most_divergence: 50.0,
        least_entropy: 0.0,
        sft_coefficient: 0.0,
        train: TrainConfig { learning_rate: 5e-3, warmup: 0.0, eps: 1e-5, ..TrainConfig::default() },
    }
}

/// Runs the bandit for so many updates; interrupted in the middle and gone on with in new variables where a folder is given.
fn solve(with_critic: bool, updates: usize, place: Option<&std::path::Path>) -> (Vec<Metrics>, Vec<f32>) {
    solve_by(&Online { updates, ..settings(if with_critic { 1 } else { 8 }) }, with_critic, place).unwrap()
}

fn solve_by(
    settings: &Online,
    with_critic: bool,
    place: Option<&std::path::Path>,
) -> Result<(Vec<Metrics>, Vec<f32>)> {
    // A head that speaks up: the tiny model's own is hardly swayed by anything below it.
    let folder = tiny("llama_untied");
    let weights = candle_core::safetensors::load(folder.join("model.safetensors"), &Device::Cpu).unwrap();
    let head = (&weights["lm_head.weight"] * 4.0).unwrap();
    let louder = BTreeMap::from([("lm_head.weight".to_owned(), head)]);
    let model = Model::load_over(&folder, &Device::Cpu, louder).unwrap();
    let updates = settings.updates;
    let parts: Vec<usize> = match place {
        Some(_) => vec![updates / 2, updates],
        None => vec![updates],
    };
    let (mut all, mut values) = (Vec::new(), Vec::new());
    for until in parts {
        values = bandit(&model, settings, with_critic, until, place, &mut all)?;
    }
    Ok((all, values))
}

fn bandit(
    model: &Model,
    settings: &Online,
    with_critic: bool,
    until: usize,
    place: Option<&std::path::Path>,
    all: &mut Vec<Metrics>,
) -> Result<Vec<f32>> {
    let network = &model.transformer;
    let config = AdapterConfig::Lora(Lora::default());
    let trainable = |seed: u64| {
        let mut params = Params::new();
        for (name, tensor) in config.start(network, &Start { seed, ..Start::default() }).unwrap() {
            params.insert(&name, &tensor).unwrap();
        }
        params
    };
    let attach = |params: &Params, values: bool| {
        let of = |var: &candle_core::Var| match values {
            true => var.as_detached_tensor(),
            false => var.as_tensor().clone(),
        };
        let tensors = params.iter().map(|(name, var)| (name.to_owned(), of(var))).collect();
        config.attach(network, &tensors).unwrap()
    };
    let (params, mut worth) = (trainable(1), trainable(2));
    let (policy, critic) = (attach(&params, false), attach(&worth, false));
    let hidden = network.config.shape.hidden;
    let zeros = Tensor::zeros((1, hidden), DType::F32, &Device::Cpu).unwrap();
    let head = Linear::new(Site::head(), worth.insert("value.weight", &zeros).unwrap(), None);
    let baseline = match with_critic {
        true => Baseline::Critic {
            subject: Subject { adapter: &*critic, ..Subject::new("critic", model, &worth) },
            head: &head,
            gamma: 1.0,
            lambda: 0.95,
            clip: 0.2,
            rate: 1.0,
        },
        false => Baseline::Group { scaled: true },
    };
    let reward = |drawn: &[Drawn]| -> Result<Vec<f64>> {
        let share = |drawn: &Drawn| {
            let ids = &drawn.answer.ids;
            ids.iter().filter(|&&id| id < WANTED).count() as f64 / ids.len() as f64
        };
        Ok(drawn.iter().map(share).collect())
    };
    let actors = Actors {
        policy: Subject { adapter: &*policy, ..Subject::new("policy", model, &params) },
        as_values: &|| Ok(attach(&params, true)),
        reference: &Bare,
        baseline,
        reward: &reward,
        sft: &[Row::from_ids(&[50, 60], &[90, 91, 92]), Row::from_ids(&[51, 61], &[93])],
    };
    let prompts: Vec<Vec<u32>> = (0..6).map(|at| vec![50 + at, 60 + at]).collect();
    let mut run = Run::new(actors, &prompts, &[], settings).unwrap();
    let about = serde_json::json!({ "bandit": with_critic });
    if let Some(place) = place {
        let resumed = run.resume(place, &about, &Device::Cpu).unwrap();
        assert_eq!(resumed, !all.is_empty());
        if resumed {
            let other = serde_json::json!({ "bandit": "another" });
            assert!(matches!(run.resume(place, &other, &Device::Cpu), Err(Error::Mismatch(_))));
        }
    }
    while run.state.update < until {
        let mut heard = |event| {
            if let Event::Updated { metrics, .. } = event {
                all.push(metrics);
            }
            ControlFlow::Continue(())
        };
        let _ = run.update(&mut heard)?;
    }
    if let Some(place) = place {
        run.save(place, &about).unwrap();
    }
    Ok(params.iter().flat_map(|(_, var)| var.flatten_all().unwrap().to_vec1::<f32>().unwrap()).collect())
}

#[test]
fn a_bandit_is_solved_with_a_critic_and_with_groups() {
    for with_critic in [true, false] {
        let (metrics, _) = solve(with_critic, 50, None);
        let score = |at: usize| metrics[at]["objective/scores"];
        assert!(score(0) < 0.7, "it does not begin solved: {}", score(0));
        assert!(score(49) > 0.95, "critic {with_critic}: {} after 50 updates", score(49));
        assert!(metrics[0]["objective/kl"].abs() < 1e-6, "the first answers are the reference's");
        assert!(metrics[49]["objective/kl"] > 0.1 && metrics[49]["val/response_length"] == 3.0);
        assert_eq!(with_critic, metrics[0].contains_key("loss/value"));
    }
}

#[test]
fn a_run_that_was_interrupted_goes_on_bit_for_bit() {
    for with_critic in [true, false] {
        let folder = tempfile::tempdir().unwrap();
        let (whole, expected) = solve(with_critic, 4, None);
        let (parts, found) = solve(with_critic, 4, Some(folder.path()));
        assert_eq!(whole, parts);
        assert_eq!(expected, found);
    }
}

#[test]
fn every_switch_of_ppo_still_solves_the_bandit() {
    let switched = Online {
        score_at: ScoreAt::AfterEos,
        whiten_rewards: true,
        sft_coefficient: 0.1,
        max_tokens: 4,
        ..settings(1)
    };
    let (metrics, _) = solve_by(&switched, true, None).unwrap();
    assert!(metrics[49]["objective/scores"] > 0.9, "{:?}", metrics[49]);
    assert!(metrics[49]["loss/sft"] < metrics[0]["loss/sft"], "{:?}", metrics[49]);
    assert!(!solve(true, 1, None).0[0].contains_key("loss/sft"), "what counts nothing is not computed");
}

#[test]
fn a_policy_that_collapses_or_runs_away_is_stopped() {
    for (settings, what) in [
        (Online { least_entropy: 1.0, ..settings(8) }, "has collapsed"),
        (Online { most_divergence: 0.5, ..settings(8) }, "divergence"),
    ] {
        let stopped = solve_by(&settings, false, None).unwrap_err().to_string();
        assert!(stopped.contains(what) && stopped.contains("update "), "{stopped}");
    }
}
