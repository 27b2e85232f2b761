//! What a person sees of a run of `incontext rlhf ppo | grpo`.

use indicatif::ProgressBar;

use crate::cli::printer::Printer;
use crate::engine::rlhf::{Held, Progress};
use crate::train::Metrics;

/// What a person sees of a run.
pub struct Follow<'a> {
    pub printer: &'a Printer,
    pub name: &'static str,
    pub bar: Option<ProgressBar>,
}

impl Follow<'_> {
    pub fn hear(&mut self, progress: &Progress) {
        match progress {
            Progress::LayingOut(at, of) => {
                let bar = self.bar.get_or_insert_with(|| self.printer.bar(*of as u64));
                bar.set_message("laying out");
                bar.set_position(*at as u64);
            }
            Progress::Ready { prompts, held_out, too_long, not_found, parameters } => {
                self.finish();
                if *not_found > 0 {
                    self.printer.note(format!(
                        "{not_found} questions left out: their answers stand in no passage that was found"
                    ));
                }
                if *too_long > 0 {
                    self.printer
                        .note(format!("{too_long} prompts left out: they leave no room for an answer"));
                }
                self.printer.note(format!(
                    "{}: {parameters} parameters, {prompts} prompts, {held_out} held out",
                    self.name
                ));
            }
            Progress::Drawing { update, tokens } => {
                if let Some(bar) = &self.bar {
                    bar.set_message(format!("update {update}: {tokens} tokens drawn"));
                }
            }
            Progress::Updated { update, of, metrics } => {
                let bar = self.bar.get_or_insert_with(|| self.printer.bar(*of as u64));
                bar.set_position(*update as u64);
                let text = line(*update, metrics);
                bar.suspend(|| self.printer.note(text));
            }
            Progress::Held(Held { answers, mean, standard_deviation, divergence, ended }) => {
                self.finish();
                self.printer.note(format!(
                    "{answers} answers to prompts held out: score {mean:.3} (standard deviation {standard_deviation:.3}), divergence \
                     {divergence:.2}, {:.0} % ended",
                    100.0 * ended
                ));
            }
        }
    }

    pub fn finish(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

fn line(update: usize, metrics: &Metrics) -> String {
    let of = |name: &str| metrics.get(name).copied().unwrap_or(f64::NAN);
    format!(
        "update {update}: score {:.3}, divergence {:.3}, entropy {:.1}, {:.1} tokens an answer",
        of("objective/scores"),
        of("objective/kl"),
        of("objective/entropy"),
        of("val/response_length")
    )
}
