//! Training named variables that a forward pass reaches: an adapter's, the base's own, or a head's.
//!
//! | file | what |
//! | --- | --- |
//! | `line`, `judged`, `data`, `row` | lines of a file as token ids, and which of them are learned |
//! | `batch`, `micro` | which rows make a step, in which order, and in which pieces they are computed |
//! | `objective` | what is made of hidden states: a loss, and what else is worth knowing |
//! | `network`, `trunk` | rows to a loss; what the layers below all training make of a row, once |
//! | `gradients`, `optim`, `schedule` | a step's gradients, AdamW, the rate |
//! | `checkpoint`, `report`, `curve` | where a run stands, what it says of itself, its loss as a picture |
//! | `sweep` | which rate to train with |
//!
//! ```text
//! rows of a step -> pieces -> loss -> gradients -> norm -> update -> next step
//!                                         |           `- no number: skipped
//!                                         `- looked at before the first update
//! ```
//!
//! The loss of a step is the mean over all its targets, whatever pieces it is computed in: each piece counts by its share
//! of the step's targets. Runs repeat: the same seed, rows and configuration give the same parameters on one machine, bit
//! for bit, resumed or not.
//!
//! ```
//! use std::ops::ControlFlow;
//! use incontext::models::Model;
//! use incontext::train::{Event, Row, Rows, Subject, TrainConfig, train};
//!
//! # fn main() -> incontext::Result<()> {
//! # let path = std::path::Path::new("tests/golden/tiny/llama");
//! let (model, params) = Model::load_trainable(path, &candle_core::Device::Cpu)?;
//! let subject = Subject::new("every weight of tiny", &model, &params);
//! let rows = Rows::new(vec![Row::from_ids(&[5, 6, 7], &[8, 9])], vec![]);
//! let config = TrainConfig { learning_rate: 1e-3, warmup: 0.0, steps: Some(5), ..TrainConfig::default() };
//! let mut losses = Vec::new();
//! let outcome = train(&subject, &rows, &config, None, &mut |event| {
//!     if let Event::Step(step) = event {
//!         losses.push(step.loss);
//!     }
//!     ControlFlow::Continue(())
//! })?;
//! assert_eq!(outcome.steps, 5);
//! assert!(losses[4] < losses[0]);
//! # Ok(())
//! # }
//! ```

mod batch;
mod checkpoint;
mod config;
mod curve;
mod data;
mod gradients;
mod judged;
mod learner;
mod line;
mod micro;
mod network;
mod objective;
mod optim;
mod report;
mod row;
mod schedule;
mod stack;
mod subject;
mod sweep;
mod trunk;
mod values;

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

pub use batch::split;
pub use checkpoint::{Best, CHECKPOINT, Exact, forget};
pub(crate) use checkpoint::{read as read_checkpoint, write as write_checkpoint};
pub use config::TrainConfig;
pub use curve::{CURVE, curve, ticks};
pub use data::{Data, Kind, Reading, Style, TooLong, end_of_turn, ids_of_text};
pub use judged::{Judgements, LeftOut};
pub use learner::{Beside, Learned, Learner};
pub use micro::Micro;
pub use network::look;
pub use objective::{Classes, Measured, Metrics, NextTokens, Objective, Seen};
pub use report::{Begun, Event, LOG, Step, Validated, events};
pub use row::{Fit, Preference, Row, Target};
pub use schedule::Schedule;
pub use stack::on_big_stack;
pub use subject::{Rows, Subject};
pub use sweep::{Sweep, Try, sweep};

use crate::error::{Error, Result};
use crate::files;
use checkpoint::{Checkpoint, Run, Snapshot, State};
use network::{Gathered, Network};
use optim::AdamW;
use report::Log;

/// Steps that may be skipped one after the other, because their loss is no number, before a run ends.
const MOST_SKIPPED: usize = 3;

/// Hears what happens; breaking off interrupts the run.
pub type OnEvent<'a> = &'a mut dyn FnMut(Event) -> ControlFlow<()>;

/// Where a run leaves its checkpoint, log and picture.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub folder: &'a Path,
    /// Goes on where the folder's checkpoint stands; from the start where there is none.
    pub resume: bool,
}

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All steps are done.
    Done,
    /// The loss on rows held out has not become better for as long as was waited.
    NoBetter,
    /// Somebody broke it off; the checkpoint holds it.
    Interrupted,
}

/// What a run came to. The parameters are those of the best validation where rows were held out, and the last otherwise or
/// where the run was interrupted.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub ending: Ending,
    /// Steps done, of how many.
    pub steps: usize,
    pub of: usize,
    /// Of the last step.
    pub loss: Option<f64>,
    /// The best loss on rows held out, and after which step.
    pub best: Option<Best>,
    /// Tokens read, and the time that steps took, all processes together.
    pub tokens: u64,
    pub seconds: f64,
}

/// Trains `subject` on `rows`. Runs on a thread of its own; `on` is called on the caller's.
///
/// # Errors
/// `Invalid` for a configuration or rows that cannot be trained on, when a parameter gets no gradient as it should, and when
/// the loss stays no number: the parameters, and a checkpoint, are then as the last good step left them. `Mismatch` and
/// `Corrupt` for a checkpoint that is not this run's or not whole.
pub fn train(
    subject: &Subject,
    rows: &Rows,
    config: &TrainConfig,
    place: Option<Place>,
    on: OnEvent,
) -> Result<Outcome> {
    config.check()?;
    subject.check(rows, config)?;
    on_big_stack(on, |on| Trainer::new(subject, rows, config, place)?.run(on))
}

/// One run.
struct Trainer<'a> {
    rows: &'a Rows,
    config: &'a TrainConfig,
    network: Network<'a>,
    optimiser: AdamW,
    state: State,
    best: Option<Snapshot>,
    /// The rows of each step of an epoch, and which epoch.
    epoch: Option<(usize, Vec<Vec<usize>>)>,
    folder: Option<&'a Path>,
    identity: Run,
    log: Log,
    /// Steps, tokens and seconds of this process.
    speed: (usize, u64, f64),
}

impl<'a> Trainer<'a> {
    fn new(
        subject: &'a Subject<'a>,
        rows: &'a Rows,
        config: &'a TrainConfig,
        place: Option<Place<'a>>,
    ) -> Result<Self> {
        let identity = Run::of(subject, rows, config);
        let mut optimiser = AdamW::new(subject.params)?;
        let (mut state, mut best) = (State::default(), None);
        if let Some(Place { folder, resume }) = place
            && let Some(found) = Checkpoint::read(folder, subject.model.transformer.device())?
        {
            if !resume {
                return Err(Error::invalid(format!(
                    "`{}` holds a run that was not finished",
                    folder.display()
                ))
                .hint("resume it, remove its checkpoint, or train in another folder"));
            }
            (state, best) = found.resume(&identity, subject.params, &mut optimiser)?;
        }
        let folder = place.map(|place| place.folder);
        let log = Log::open(folder, state.step)?;
        let several = config.steps(rows.training().len()) > config.steps_an_epoch(rows.training().len());
        let room = several.then_some(config.trunk_memory << 20);
        Ok(Self {
            rows,
            config,
            network: Network::new(subject, rows.all(), room),
            optimiser,
            state,
            best,
            epoch: None,
            folder,
            identity,
            log,
            speed: (0, 0, 0.0),
        })
    }

    fn steps(&self) -> usize {
        self.config.steps(self.rows.training().len())
    }

    fn run(mut self, on: OnEvent) -> Result<Outcome> {
        let begun = Event::Begun(Begun {
            step: self.state.step,
            of: self.steps(),
            rows: self.rows.training().len(),
            validation_rows: self.rows.validation().len(),
            tokens: self.rows.training().iter().map(|row| row.ids.len()).sum(),
            targets: self.rows.training().iter().map(Row::targets).sum(),
            parameters: self.network.subject.params.count(),
        });
        let mut go_on = self.say(begun, on)?;
        let ending = loop {
            if go_on && self.validation_is_due() {
                go_on = self.validate(on)?;
            }
            if !go_on {
                break Ending::Interrupted;
            }
            if self.config.patience.is_some_and(|patience| self.state.worse >= patience) {
                break Ending::NoBetter;
            }
            if self.state.step >= self.steps() {
                break Ending::Done;
            }
            go_on = self.step(on)?;
            let every = self.config.save_every;
            if every > 0 && self.state.step.is_multiple_of(every) && self.state.step < self.steps() {
                go_on &= self.save(on)?;
            }
        };
        match ending {
            Ending::Interrupted => {
                self.save(on)?;
            }
            _ => {
                if let Some(best) = &self.best {
                    self.network.subject.params.restore(best)?;
                }
            }
        }
        self.draw()?;
        Ok(Outcome {
            ending,
            steps: self.state.step,
            of: self.steps(),
            loss: self.state.loss.map(|loss| loss.0),
            best: self.state.best,
            tokens: self.state.tokens,
            seconds: self.state.seconds,
        })
    }

    /// One step; whether to go on.
    fn step(&mut self, on: OnEvent) -> Result<bool> {
        let (started, number, of) = (Instant::now(), self.state.step, self.steps());
        let chosen = self.rows_of(number);
        let (Gathered { loss, metrics }, gradients) =
            self.network.gather(&chosen, 1.0, self.config, number)?;
        self.state.step += 1;
        let tokens: usize = chosen.iter().map(|&row| self.rows.all()[row].ids.len()).sum();
        self.state.tokens += tokens as u64;
        if !loss.is_finite() {
            return self.skip(format!("its loss is {loss}"), on);
        }
        let subject = self.network.subject;
        if self.optimiser.updates == 0 {
            gradients.check(subject)?;
        }
        let norm = gradients.norm()?;
        if !norm.is_finite() {
            return self.skip(format!("the norm of its gradient is {norm}"), on);
        }
        let rate = self.config.rate(number, of);
        self.optimiser.update(subject, &gradients, norm, rate, self.config)?;
        self.state.skipped = 0;
        self.state.loss = Some(Exact(loss));
        let seconds = started.elapsed().as_secs_f64();
        self.state.seconds += seconds;
        self.speed = (self.speed.0 + 1, self.speed.1 + tokens as u64, self.speed.2 + seconds);
        let a_step = self.speed.2 / self.speed.0 as f64;
        let event = Event::Step(Step {
            step: self.state.step,
            of,
            epoch: self.state.step as f64 / self.config.steps_an_epoch(self.rows.training().len()) as f64,
            loss,
            metrics,
            learning_rate: rate,
            gradient_norm: norm,
            tokens,
            tokens_per_second: self.speed.1 as f64 / self.speed.2.max(1e-9),
            eta: a_step * (of - self.state.step) as f64,
        });
        self.say(event, on)
    }

    /// The rows of step `number`.
    fn rows_of(&mut self, number: usize) -> Vec<usize> {
        let training = self.rows.training();
        let an_epoch = self.config.steps_an_epoch(training.len());
        let (epoch, at) = (number / an_epoch, number % an_epoch);
        if self.epoch.as_ref().is_none_or(|(of, _)| *of != epoch) {
            self.epoch = Some((epoch, batch::epoch(training, self.config, epoch)));
        }
        self.epoch.as_ref().map(|(_, batches)| batches[at].clone()).unwrap_or_default()
    }

    /// Leaves everything as it was before the step.
    fn skip(&mut self, why: String, on: OnEvent) -> Result<bool> {
        let step = self.state.step;
        self.state.skipped += 1;
        let go_on = self.say(Event::Skipped { step, why: why.clone() }, on)?;
        if self.state.skipped < MOST_SKIPPED {
            return Ok(go_on);
        }
        let last_good = step - self.state.skipped;
        // Who resumes begins behind what could not be learned from.
        self.state.skipped = 0;
        self.save(on)?;
        self.draw()?;
        Err(Error::invalid(format!(
            "step {step} is the third in a row that trains nothing: {why}. The parameters are as step {last_good} left them"
        ))
        .hint("train with a lower learning rate, or look for rows that are not what they should be"))
    }

    fn validation_is_due(&self) -> bool {
        let step = self.state.step;
        let every = self.config.validate_every;
        let every = every.unwrap_or(self.config.steps_an_epoch(self.rows.training().len()));
        !self.rows.validation().is_empty()
            && step > 0
            && self.state.validated != Some(step)
            && (step.is_multiple_of(every) || step == self.steps())
    }

    /// Looks at the rows held out; whether to go on. Broken off, it is done again by the process that resumes.
    fn validate(&mut self, on: OnEvent) -> Result<bool> {
        let step = self.state.step;
        let held_out: Vec<usize> = (self.rows.training().len()..self.rows.all().len()).collect();
        let mut heard = |done, of| on(Event::Validating { step, done, of }).is_continue();
        let judged = self.network.judge(&held_out, self.config.micro_tokens, &mut heard)?;
        let Some(judged) = judged else { return Ok(false) };
        self.state.validated = Some(step);
        let best = self.state.best.is_none_or(|best| judged.loss < best.loss.0) && judged.loss.is_finite();
        if best {
            self.state.best = Some(Best { step, loss: Exact(judged.loss) });
            self.state.worse = 0;
            self.best = Some(self.network.subject.params.snapshot()?);
        } else {
            self.state.worse += 1;
        }
        self.say(Event::Validated(Validated { step, loss: judged.loss, metrics: judged.metrics, best }), on)
    }

    /// Whether to go on.
    fn save(&mut self, on: OnEvent) -> Result<bool> {
        let Some(folder) = self.folder else { return Ok(true) };
        let params = self.network.subject.params;
        Checkpoint::write(folder, &self.identity, &self.state, params, &self.optimiser, self.best.as_ref())?;
        self.say(Event::Saved { step: self.state.step }, on)
    }

    /// The picture of the whole run so far.
    fn draw(&self) -> Result<()> {
        let Some(folder) = self.folder else { return Ok(()) };
        files::replace(&folder.join(CURVE), curve(&events(&folder.join(LOG))?).as_bytes())
    }

    /// Whether to go on.
    fn say(&mut self, event: Event, on: OnEvent) -> Result<bool> {
        self.log.write(&event)?;
        Ok(on(event).is_continue())
    }
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
