//! What a policy's answers were worth: scores and divergence become advantages, by which tokens are made likelier or less likely.

use super::advantage::{Mean, gae, moments, whiten, within_group};
use super::critic::{self, Worth};
use super::online::{Baseline, Drawn, Online, ScoreAt, State};
use super::policy::Experience;
use crate::error::Result;
use crate::nn::Linear;
use crate::train::{Metrics, Row, Seen, Subject, look};

/// Answers that were drawn.
pub struct Answers {
    pub drawn: Vec<Drawn>,
    /// The rows of `drawn`.
    pub rows: Vec<Row>,
    pub scores: Vec<f64>,
}

/// Log-probabilities of their tokens.
pub struct Said {
    /// Under the policy that drew them.
    pub old: Vec<Vec<f64>>,
    pub reference: Vec<Vec<f64>>,
}

/// Answers and what is known of them.
pub struct Rollouts {
    pub drawn: Vec<Drawn>,
    pub rows: Vec<Row>,
    pub scores: Vec<f64>,
    /// What was taken from them.
    pub baseline: f64,
    pub experience: Vec<Experience>,
    /// Empty without a critic.
    pub worth: Vec<Worth>,
    pub metrics: Metrics,
    /// Of a whole answer, from the reference.
    pub divergence: f64,
    /// Of a token.
    pub entropy: f64,
}

impl Rollouts {
    /// # Errors
    /// As asking the critic fails.
    pub fn of(
        Answers { drawn, rows, scores }: Answers,
        Said { old, reference }: Said,
        held_against: &Baseline,
        settings: &Online,
        state: &State,
    ) -> Result<Self> {
        let ends = |drawn: &Drawn| if drawn.answer.ended { 0.0 } else { settings.missing_eos_penalty };
        let baseline = state.baseline.unwrap_or(moments(&scores).0);
        let paid: Vec<f64> =
            drawn.iter().zip(&scores).map(|(drawn, score)| score - baseline - ends(drawn)).collect();
        let of_tokens = |(p, q): (&Vec<f64>, &Vec<f64>)| -> Vec<f64> {
            p.iter().zip(q).map(|(&p, &q)| settings.estimator.of(p, q)).collect()
        };
        let divergences: Vec<Vec<f64>> = old.iter().zip(&reference).map(of_tokens).collect();
        let (advantages, worth) = match held_against {
            Baseline::Critic { subject, head, gamma, lambda, .. } => {
                let values = values(subject, head, &drawn, &rows, settings)?;
                let rewards = rewards(&values, &divergences, &paid, state.beta, settings.whiten_rewards);
                expected(&rewards, values, &divergences, (*gamma, *lambda))
            }
            Baseline::Group { scaled } => (among_others(&drawn, &paid, settings, *scaled), Vec::new()),
        };
        let metrics = metrics(&drawn, &scores, &divergences, &old, state.beta, &worth);
        let tokens: usize = old.iter().map(Vec::len).sum();
        let entropy = -old.iter().flatten().sum::<f64>() / tokens.max(1) as f64;
        let divergence = metrics.get("objective/kl").copied().unwrap_or(0.0);
        let experience = old
            .into_iter()
            .zip(reference)
            .zip(advantages)
            .map(|((old, reference), advantages)| Experience { old, reference, advantages })
            .collect();
        Ok(Self { drawn, rows, scores, baseline, experience, worth, metrics, divergence, entropy })
    }
}

/// What the critic says of each answer, before each of its tokens; and behind its end where the score is paid there and an answer
/// might have gone on.
fn values(
    critic: &Subject,
    head: &Linear,
    drawn: &[Drawn],
    rows: &[Row],
    settings: &Online,
) -> Result<Vec<Vec<f64>>> {
    let one_more = |row: usize| {
        settings.score_at == ScoreAt::AfterEos && drawn[row].answer.ids.len() < settings.max_tokens
    };
    let of = |seen: &Seen| critic::values(head, seen.piece, seen.hidden, &one_more);
    Ok(look(critic, rows, settings.train.micro_tokens, &of, &mut |_, _| true)?.unwrap_or_default())
}

/// One for each value: divergence is paid for with each token, and the score comes with the last.
fn rewards(
    values: &[Vec<f64>],
    divergences: &[Vec<f64>],
    paid: &[f64],
    beta: f64,
    whitened: bool,
) -> Vec<Vec<f64>> {
    let mut rewards: Vec<Vec<f64>> = values
        .iter()
        .zip(divergences)
        .map(|(values, kl)| (0..values.len()).map(|at| -beta * kl.get(at).copied().unwrap_or(0.0)).collect())
        .collect();
    for (rewards, paid) in rewards.iter_mut().zip(paid) {
        if let Some(last) = rewards.last_mut() {
            *last += paid;
        }
    }
    if whitened {
        together(&mut rewards, Mean::Kept);
    }
    rewards
}

/// Advantages over what a critic expected, whitened, and what came of each answer.
fn expected(
    rewards: &[Vec<f64>],
    values: Vec<Vec<f64>>,
    tokens: &[Vec<f64>],
    (gamma, lambda): (f64, f64),
) -> (Vec<Vec<f64>>, Vec<Worth>) {
    let (mut advantages, mut worth) = (Vec::new(), Vec::new());
    for ((rewards, values), tokens) in rewards.iter().zip(values).zip(tokens) {
        let (mut one, returns) = gae(rewards, &values, gamma, lambda);
        // What stands behind the end was not the policy's choice.
        one.truncate(tokens.len());
        advantages.push(one);
        worth.push(Worth { values, returns });
    }
    together(&mut advantages, Mean::Removed);
    (advantages, worth)
}

/// Advantages over the other answers to a prompt: one for all tokens of an answer.
fn among_others(drawn: &[Drawn], paid: &[f64], settings: &Online, scaled: bool) -> Vec<Vec<f64>> {
    let groups = paid.chunks(settings.num_generations).flat_map(|group| within_group(group, scaled));
    groups.zip(drawn).map(|(advantage, drawn)| vec![advantage; drawn.answer.ids.len()]).collect()
}

/// Whitens the numbers of all answers together.
fn together(numbers: &mut [Vec<f64>], mean: Mean) {
    let mut all = numbers.concat();
    whiten(&mut all, mean);
    let mut all = all.into_iter();
    for one in numbers {
        one.iter_mut().zip(&mut all).for_each(|(place, value)| *place = value);
    }
}

/// Under the names that are usual.
fn metrics(
    drawn: &[Drawn],
    scores: &[f64],
    divergences: &[Vec<f64>],
    old: &[Vec<f64>],
    beta: f64,
    worth: &[Worth],
) -> Metrics {
    let mean = |of: &mut dyn Iterator<Item = f64>| {
        let all: Vec<f64> = of.collect();
        moments(&all).0
    };
    let divergence = mean(&mut divergences.iter().map(|one| one.iter().sum()));
    let score = mean(&mut scores.iter().copied());
    let ended = drawn.iter().filter(|drawn| drawn.answer.ended).count();
    let mut metrics = Metrics::from([
        ("objective/kl".to_owned(), divergence),
        ("objective/entropy".to_owned(), mean(&mut old.iter().map(|one| -one.iter().sum::<f64>()))),
        ("objective/non_score_reward".to_owned(), -beta * divergence),
        ("objective/rlhf_reward".to_owned(), score - beta * divergence),
        ("objective/scores".to_owned(), score),
        ("val/num_eos_tokens".to_owned(), ended as f64),
        (
            "val/response_length".to_owned(),
            mean(&mut drawn.iter().map(|drawn| drawn.answer.ids.len() as f64)),
        ),
    ]);
    if !worth.is_empty() {
        let returns: Vec<f64> = worth.iter().flat_map(|one| one.returns.iter().copied()).collect();
        let off: Vec<f64> = worth
            .iter()
            .flat_map(|one| one.returns.iter().zip(&one.values).map(|(gain, value)| gain - value))
            .collect();
        let explained = 1.0 - moments(&off).1 / moments(&returns).1.max(1e-12);
        metrics.insert("val/explained_variance".to_owned(), explained);
    }
    metrics
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rewards_are_paid_with_the_last_token_or_behind_it() {
        let kl = [vec![0.1, 0.2, 0.3]];
        let near = |found: &[Vec<f64>], expected: &[f64]| {
            assert_eq!(found[0].len(), expected.len());
            assert!(found[0].iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        };
        near(&rewards(&[vec![0.0; 3]], &kl, &[2.0], 0.5, false), &[-0.05, -0.1, 1.85]);
        near(&rewards(&[vec![0.0; 4]], &kl, &[2.0], 0.5, false), &[-0.05, -0.1, -0.15, 2.0]);
        let whitened = rewards(&[vec![0.0; 3]], &kl, &[2.0], 0.5, true);
        let (mean, variance) = moments(&whitened[0]);
        assert!((mean - 1.7 / 3.0).abs() < 1e-9 && (variance - 1.0).abs() < 1e-6, "{whitened:?}");
    }

    #[test]
    fn a_value_behind_the_end_is_learned_and_moves_no_token() {
        let values = vec![vec![0.5, 0.4, 0.6, 0.8], vec![0.1, 0.2]];
        let rewards = [vec![0.0, 0.0, 0.0, 10.0], vec![0.0, 5.0]];
        let tokens = [vec![0.0; 3], vec![0.0; 2]];
        let (advantages, worth) = expected(&rewards, values, &tokens, (1.0, 0.95));
        assert_eq!((advantages[0].len(), advantages[1].len()), (3, 2));
        assert_eq!((worth[0].returns.len(), worth[1].returns.len()), (4, 2));
        let (mean, variance) = moments(&advantages.concat());
        assert!(mean.abs() < 1e-12 && (variance - 1.0).abs() < 1e-6);
    }
}
