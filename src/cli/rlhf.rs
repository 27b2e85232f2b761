//! `incontext rlhf`: learn from judgements of answers.

mod follow;
mod online;
mod options;
mod rate;

use clap::Subcommand;

use super::printer::Printer;
use super::settings::Settings;
use super::tune::{self, preference};
use super::{Ending, help};
use crate::error::Result;

/// Learn from which answers people preferred
#[derive(Subcommand)]
pub enum Rlhf {
    /// Supervised fine-tuning: LoRA on answers as they should be, as `tune lora` does
    #[command(after_long_help = help::examples(SFT))]
    Sft(tune::Sft),
    /// A reward model: a score for an answer, learned from preferences
    #[command(after_long_help = help::examples(REWARD))]
    Reward(preference::Reward),
    /// Direct preference optimisation: a policy learned from preferences, without a reward model
    #[command(after_long_help = help::examples(DPO))]
    Dpo(preference::Dpo),
    /// Proximal policy optimisation: a policy learns from its own answers, a critic says what they are worth
    #[command(after_long_help = help::examples(PPO))]
    Ppo(Box<options::Ppo>),
    /// Group relative policy optimisation: an answer is held against others to the same prompt
    #[command(after_long_help = help::examples(GRPO))]
    Grpo(Box<options::Grpo>),
    /// Say which of several answers is better: the file that the others learn from
    #[command(after_long_help = help::examples(RATE))]
    Rate(Box<rate::Rate>),
}

const SFT: help::Examples =
    &[("From prompts and completions", "incontext rlhf sft --data answers.jsonl --out sft")];
const REWARD: help::Examples = &[
    ("From pairs of answers", "incontext rlhf reward --data preferences.jsonl --out polite"),
    (
        "A tenth of them held out to see how well it tells them",
        "incontext rlhf reward --data preferences.jsonl --validation-share 0.1 --out polite",
    ),
];
const DPO: help::Examples = &[
    (
        "Going on from what was learned of good answers",
        "incontext rlhf dpo --data preferences.jsonl --from sft --out dpo",
    ),
    ("Asked afterwards", "incontext generate \"Why?\" --adapter dpo"),
];

const PPO: help::Examples = &[(
    "From where `rlhf sft` ended, by what `rlhf reward` learned",
    "incontext rlhf ppo --data prompts.jsonl --from sft --reward polite --held-out 50 --out ppo",
)];
const GRPO: help::Examples = &[
    (
        "Eight answers to each of four prompts an update",
        "incontext rlhf grpo --data prompts.jsonl --from sft --reward polite --out grpo",
    ),
    (
        "Answers from documents, rewarded for what the passages support: nobody labels them",
        "incontext rlhf grpo --data questions.jsonl -c papers --from sft --out grounded",
    ),
];
const RATE: help::Examples = &[
    (
        "Two answers to each question from your documents",
        "incontext rlhf rate --data questions.jsonl -c papers --out mine.jsonl",
    ),
    (
        "The model before and after, blind",
        "incontext rlhf rate --data prompts.jsonl --adapter none,polite --out mine.jsonl",
    ),
];

pub fn run(command: &Rlhf, settings: &Settings, printer: &Printer) -> Result<Ending> {
    match command {
        Rlhf::Sft(one) => tune::sft(one, settings, printer),
        Rlhf::Reward(command) => preference::reward(command, settings, printer),
        Rlhf::Dpo(command) => preference::dpo(command, settings, printer),
        Rlhf::Ppo(command) => online::ppo(command, settings, printer),
        Rlhf::Grpo(command) => online::grpo(command, settings, printer),
        Rlhf::Rate(command) => rate::run(command, settings, printer),
    }
}
