//! Hard-prompt tuning: a better prompt among templates' slots, wordings and sets of demonstrations, within a budget.
//!
//! Successive halving (Jamieson & Talwalkar 2016, arXiv 1502.07943): all candidates answer a few rows of `dev`, the better
//! half answers twice as many, and so on; the last ones and the starting prompt answer them all. The starting prompt is
//! never dropped, so a search cannot end worse than it began on `dev`, and it wins when nothing is better. What was
//! selected by looks better than it is: `test` is asked once, of start and winner, and says what the gain is worth.

mod propose;
mod search;
mod spec;

pub use propose::propose;
pub use search::{Candidate, Found, Progress, Search};
pub use spec::{Optimisation, Propose};

use std::collections::BTreeSet;

use super::axis::{Demos, Prompt};
use super::plan::{Plan, Resources};
use crate::error::{Error, Result};
use crate::retrieve::demos::Select;

/// More candidates than this are not even listed.
const MOST_CANDIDATES: usize = 100_000;

/// A search, read and checked.
pub struct Prepared {
    /// Candidates as cells, on the rows of `dev`, the first being the start.
    pub dev: Plan,
    /// The start alone, on the rows of `test`.
    pub test: Plan,
    /// Rows left out of `train` and `dev` because another set has them.
    pub left_out: (usize, usize),
}

impl Optimisation {
    /// Reads all rows and templates.
    ///
    /// # Errors
    /// The first thing that is wrong with them.
    pub fn prepare(&self, resources: &dyn Resources) -> Result<Prepared> {
        let prompts = self.prompts(resources)?;
        let (demos, seeds) = (self.search.demos.clone(), self.seeds());
        let start =
            self.experiment(&self.test, prompts[..1].to_vec(), demos[..1].to_vec(), seeds[..1].to_vec());
        let mut test = Plan::new(start, resources)?;
        let mut dev = Plan::new(self.experiment(&self.dev, prompts, demos, seeds), resources)?;
        // Drawing again changes only what is drawn.
        let first_seed = dev.cells[0].seed;
        dev.cells.retain(|cell| is_drawn(cell.demos) || cell.seed == first_seed);
        let inputs =
            |plan: &Plan| plan.items.iter().map(|item| item.input.trim().to_owned()).collect::<BTreeSet<_>>();
        let (mut held, tested) = (inputs(&dev), inputs(&test));
        let before = (dev.pool.len(), dev.items.len());
        dev.items.retain(|item| !tested.contains(item.input.trim()));
        held.extend(tested);
        dev.pool = dev.pool.iter().filter(|example| !held.contains(example.input.trim())).cloned().collect();
        test.pool.clone_from(&dev.pool);
        if dev.items.is_empty() {
            return Err(Error::invalid("all rows of `dev` are in `test` as well").hint(
                "a prompt that is chosen on the rows it is tested on looks better than it is: take others",
            ));
        }
        let left_out = (before.0 - dev.pool.len(), before.1 - dev.items.len());
        Ok(Prepared { dev, test, left_out })
    }

    /// Draws of demonstrations, by seed.
    fn seeds(&self) -> Vec<u64> {
        let drawn = self.search.demos.iter().any(|demos| is_drawn(*demos));
        (0..if drawn { self.search.sets } else { 1 }).map(|set| self.search.seed + set).collect()
    }

    /// Every combination of what the slots may say, that of the start first.
    fn prompts(&self, resources: &dyn Resources) -> Result<Vec<Prompt>> {
        let template = resources.template(&self.template.template)?.filled(&self.template.vars)?;
        let front = template.front();
        let slots: Vec<String> = match &self.search.slots {
            Some(slots) => slots.clone(),
            None => front.vars.keys().cloned().collect(),
        };
        let named = slots.iter().chain(self.search.texts.keys());
        if let Some(unknown) = named.into_iter().find(|slot| !front.vars.contains_key(*slot)) {
            let there: Vec<&str> = front.vars.keys().map(String::as_str).collect();
            return Err(Error::not_found(format!("template `{}` has no slot `{unknown}`", template.id()))
                .hint(format!("its slots: {}", there.join(", "))));
        }
        let mut all = vec![self.template.vars.clone()];
        for slot in &slots {
            let mut texts = front.vars[slot].choices.clone();
            for text in self.search.texts.get(slot).into_iter().flatten() {
                if !texts.contains(text) {
                    texts.push(text.clone());
                }
            }
            if all.len() * texts.len() > MOST_CANDIDATES {
                return Err(Error::invalid(format!(
                    "the slots {} have too many combinations",
                    slots.join(", ")
                ))
                .hint("name fewer `slots` under `[search]`"));
            }
            all = all
                .iter()
                .flat_map(|vars| {
                    texts.iter().map(move |text| {
                        let mut vars = vars.clone();
                        vars.insert(slot.clone(), text.clone());
                        vars
                    })
                })
                .collect();
        }
        let template = &self.template.template;
        let prompt =
            |(number, vars)| Prompt { template: template.clone(), name: Some(format!("{number}")), vars };
        Ok((0..).zip(all).map(prompt).collect())
    }
}

/// Whether a seed decides which demonstrations are shown.
fn is_drawn(demos: Demos) -> bool {
    matches!(demos.select, Select::Random | Select::Balanced)
}
