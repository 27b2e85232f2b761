//! Learning from judgements: which answer people preferred, or what a program says of it.
//!
//! | file | what |
//! | --- | --- |
//! | `surrogate` | losses in plain numbers, brought back to the network |
//! | `reward` | a score for an answer, learned from preferences |
//! | `dpo` | a policy learned from preferences directly |
//! | `policy`, `critic` | what a policy learns from its own answers, and what says beforehand what they are worth |
//! | `online`, `checkpoint` | the loop of PPO and GRPO, and where it stands |
//! | `returns` | what answers that were drawn are worth, token by token |
//! | `rollout` | answers drawn from a policy |
//! | `advantage`, `divergence`, `clipped` | the arithmetic of PPO and GRPO |

pub mod advantage;
mod checkpoint;
pub mod clipped;
pub mod critic;
pub mod divergence;
pub mod dpo;
pub mod online;
pub mod policy;
mod returns;
pub mod reward;
pub mod rollout;
pub mod surrogate;
