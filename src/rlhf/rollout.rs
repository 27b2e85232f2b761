//! Answers drawn from a policy, many at a time.
//!
//! Prompts are read together, each once however many answers it gets, and then every answer grows by a token a pass; those that
//! have ended leave the batch. Tokens are drawn from the whole distribution at a temperature, because any cut would give others
//! than the probabilities that are written down. What an answer draws is decided by the seed and its own number alone, not by
//! what else is in the batch.

use std::ops::ControlFlow;

use candle_core::Tensor;

use crate::error::{Error, Result};
use crate::models::{Batch, Transformer};
use crate::nn::{Adapter, KvCache, Pass};
use crate::random::SplitMix;
use crate::text::tokenizer::Tokenizer;
use crate::train::end_of_turn;

/// Keeps the numbers that answers are drawn from apart from those of other uses of one seed.
const ANSWERS: u64 = 0x616e_7377_6572_0000;

/// How answers are drawn.
pub struct Rollout<'a> {
    pub network: &'a Transformer,
    /// The policy, of values and not of variables.
    pub adapter: &'a dyn Adapter,
    /// Tokens that end an answer; they belong to it.
    pub stop: &'a [u32],
    /// 0 takes the likeliest token.
    pub temperature: f64,
    /// Tokens that an answer may have.
    pub max_tokens: usize,
    pub seed: u64,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The number of its prompt.
    pub prompt: usize,
    pub ids: Vec<u32>,
    /// Whether it ended, or was cut off.
    pub ended: bool,
}

impl Rollout<'_> {
    /// `copies` answers to each of `prompts`, in their order. `first` is the number of the first among all answers that are ever
    /// drawn with this seed. `on` hears how many tokens the longest has by now, and may break off.
    ///
    /// # Errors
    /// `Invalid` for an empty prompt, or when the network says what is no number; `Interrupted`.
    pub fn answers<P: AsRef<[u32]>>(
        &self,
        prompts: &[P],
        copies: usize,
        first: u64,
        on: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Vec<Answer>> {
        let count = prompts.len() * copies;
        if count == 0 || self.max_tokens == 0 {
            return Ok(Vec::new());
        }
        if prompts.iter().any(|prompt| prompt.as_ref().is_empty()) {
            return Err(Error::invalid("an empty prompt cannot be answered"));
        }
        let mut read = KvCache::new(prompts.len());
        let batch = Batch::of(prompts);
        let hidden = self.network.forward(&batch, Pass::cached(self.adapter, &mut read))?; // (N, H)
        let last: Vec<u32> = batch.packing.ranges().map(|range| range.end as u32 - 1).collect();
        let last = hidden.index_select(&Tensor::new(last, hidden.device())?, 0)?; // (P, H)
        let of_prompts = self.logits(&last)?;
        let mut cache = read.spread(copies)?;
        let mut answers: Vec<Answer> =
            (0..count).map(|at| Answer { prompt: at / copies, ids: Vec::new(), ended: false }).collect();
        let mut chance: Vec<SplitMix> =
            (0..count as u64).map(|at| SplitMix::new(self.seed, ANSWERS.wrapping_add(first + at))).collect();
        let mut open: Vec<usize> = (0..count).collect();
        let mut logits: Vec<Vec<f32>> = (0..count).map(|at| of_prompts[at / copies].clone()).collect();
        for length in 1..=self.max_tokens {
            for (&at, logits) in open.iter().zip(&logits) {
                let token = draw(logits, self.temperature, &mut chance[at]);
                answers[at].ids.push(token);
                answers[at].ended = self.stop.contains(&token);
            }
            if on(length).is_break() {
                return Err(Error::interrupted("stopped while answers were drawn"));
            }
            let ended: Vec<bool> = open.iter().map(|&at| answers[at].ended).collect();
            cache.retain(|place| !ended[place]);
            open.retain(|&at| !answers[at].ended);
            if open.is_empty() || length == self.max_tokens {
                break;
            }
            let tokens: Vec<[u32; 1]> =
                open.iter().map(|&at| [answers[at].ids.last().copied().unwrap_or_default()]).collect();
            let hidden = self.network.forward(&Batch::of(&tokens), Pass::cached(self.adapter, &mut cache))?;
            logits = self.logits(&hidden)?;
        }
        Ok(answers)
    }

    /// An answer to each of `prompts`, so many at a time; otherwise as [`Self::answers`].
    ///
    /// # Errors
    /// As that.
    pub fn in_parts<P: AsRef<[u32]>>(
        &self,
        prompts: &[P],
        together: usize,
        first: u64,
        on: &mut dyn FnMut(usize) -> ControlFlow<()>,
    ) -> Result<Vec<Answer>> {
        let mut all = Vec::with_capacity(prompts.len());
        for part in prompts.chunks(together.max(1)) {
            let before = all.len();
            let answers = self.answers(part, 1, first + before as u64, on)?;
            all.extend(answers.into_iter().map(|one| Answer { prompt: before + one.prompt, ..one }));
        }
        Ok(all)
    }

    fn logits(&self, hidden: &Tensor) -> Result<Vec<Vec<f32>>> {
        let logits = self.network.logits(hidden)?.to_vec2::<f32>()?;
        match logits.iter().flatten().all(|logit| logit.is_finite()) {
            true => Ok(logits),
            false => Err(Error::invalid("the policy says what is no number")
                .hint("train with a lower learning rate, or a higher price of divergence")),
        }
    }
}

/// Tokens that end an answer, whichever the model was taught to end with.
pub fn end_tokens(tokenizer: &Tokenizer) -> Vec<u32> {
    let mut stop = tokenizer.eos().to_vec();
    stop.extend(end_of_turn(tokenizer));
    stop.sort_unstable();
    stop.dedup();
    stop
}

/// A token drawn from `softmax(logits / temperature)`.
fn draw(logits: &[f32], temperature: f64, chance: &mut SplitMix) -> u32 {
    let (best, most) = logits
        .iter()
        .enumerate()
        .fold((0, f32::NEG_INFINITY), |best, (at, &logit)| if logit > best.1 { (at, logit) } else { best });
    if temperature <= 0.0 {
        return best as u32;
    }
    let weight = |logit: f32| (f64::from(logit - most) / temperature).exp();
    let sum: f64 = logits.iter().map(|&logit| weight(logit)).sum();
    let mut left = chance.uniform() * sum;
    for (at, &logit) in logits.iter().enumerate() {
        left -= weight(logit);
        if left < 0.0 {
            return at as u32;
        }
    }
    best as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::Model;
    use crate::nn::Bare;
    use crate::train::testing::tiny;
    use candle_core::Device;

    fn go_on(_: usize) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    #[test]
    fn what_an_answer_draws_does_not_depend_on_the_others() {
        let model = Model::load(&tiny("llama"), &Device::Cpu).unwrap();
        let rollout = |stop: &'static [u32]| Rollout {
            network: &model.transformer,
            adapter: &Bare,
            stop,
            temperature: 1.0,
            max_tokens: 6,
            seed: 7,
        };
        let prompts = [vec![5, 6, 7], vec![9], vec![11, 12]];
        let together = rollout(&[]).answers(&prompts, 2, 10, &mut go_on).unwrap();
        assert_eq!(together.len(), 6);
        for (at, answer) in together.iter().enumerate() {
            let alone =
                rollout(&[]).answers(&prompts[at / 2..=at / 2], 1, 10 + at as u64, &mut go_on).unwrap();
            assert_eq!((answer.prompt, &answer.ids), (at / 2, &alone[0].ids));
            assert!(!answer.ended && answer.ids.len() == 6);
        }
        assert_ne!(together[0].ids, together[1].ids);
        // One that ends leaves the batch, and the others go on as before.
        let stop: &'static [u32] = Box::leak(Box::new([together[2].ids[1]]));
        let stopped = rollout(stop).answers(&prompts, 2, 10, &mut go_on).unwrap();
        for (before, after) in together.iter().zip(&stopped) {
            let until = before.ids.iter().position(|id| stop.contains(id)).map_or(6, |at| at + 1);
            assert_eq!(
                (&after.ids[..], after.ended),
                (&before.ids[..until], until < 6 || stop.contains(&before.ids[5]))
            );
        }
    }

    #[test]
    fn tokens_are_drawn_as_often_as_they_are_likely() {
        let logits = [0.0f32, 1.0, -1.0, 2.0];
        for temperature in [0.7, 1.0, 2.0] {
            let mut chance = SplitMix::new(1, 2);
            let mut counts = [0.0; 4];
            for _ in 0..40_000 {
                counts[draw(&logits, temperature, &mut chance) as usize] += 1.0 / 40_000.0;
            }
            let weights = logits.map(|logit| (f64::from(logit) / temperature).exp());
            let sum: f64 = weights.iter().sum();
            for (count, weight) in counts.iter().zip(weights) {
                assert!((count - weight / sum).abs() < 0.01, "{temperature}: {counts:?}");
            }
        }
        assert_eq!(draw(&logits, 0.0, &mut SplitMix::new(0, 0)), 3);
    }

    #[test]
    fn what_cannot_be_answered_is_said_and_drawing_can_be_stopped() {
        let model = Model::load(&tiny("llama"), &Device::Cpu).unwrap();
        let rollout = Rollout {
            network: &model.transformer,
            adapter: &Bare,
            stop: &[],
            temperature: 0.0,
            max_tokens: 4,
            seed: 0,
        };
        assert!(rollout.answers(&[vec![1], vec![]], 1, 0, &mut go_on).is_err());
        assert!(rollout.answers::<Vec<u32>>(&[], 3, 0, &mut go_on).unwrap().is_empty());
        let stopped = rollout.answers(&[vec![1]], 1, 0, &mut |length| match length {
            2 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        });
        assert!(matches!(stopped, Err(Error::Interrupted(_))));
    }
}
