//! What training a rung took, remembered beside the results: what was trained once is not trained again.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::climb::Order;
use crate::error::{Error, IoContext, Result};
use crate::files;

/// Its name in the folder of the results.
const FILE: &str = "costs.json";

/// As the trainer measured it, in a process of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cost {
    pub trained_parameters: usize,
    /// Bytes of what is kept.
    pub bytes: u64,
    pub seconds: f64,
    /// Seconds of one core, over all that worked; where the system does not tell, the seconds times the cores.
    pub core_seconds: f64,
    /// Bytes of main memory at most, where the system tells.
    pub peak_memory: Option<u64>,
    /// Steps of training; `None` where a classifier was fitted at once.
    pub steps: Option<usize>,
    pub learning_rate: Option<f64>,
}

/// A rung's training: begun, done or failed, under the key of everything that decides it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Cost>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// By the name of the adapter.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Costs(BTreeMap<String, Entry>);

impl Cost {
    /// Of what `incontext tune --json` prints, on a machine with so many cores.
    ///
    /// # Errors
    /// `Invalid` when it is something else.
    pub fn of(printed: &Value, cores: usize) -> Result<Self> {
        let outcome = &printed["outcome"];
        let count = |value: &Value| value.as_u64().map(|count| count as usize);
        let both = count(&outcome["trained_parameters"]).zip(printed["bytes"].as_u64());
        let (trained_parameters, bytes) =
            both.ok_or_else(|| Error::invalid("the trainer said nothing of what it did"))?;
        let seconds = printed["seconds"].as_f64().unwrap_or(0.0);
        Ok(Self {
            trained_parameters,
            bytes,
            seconds,
            core_seconds: printed["core_seconds"].as_f64().unwrap_or(seconds * cores as f64),
            peak_memory: printed["peak_memory"].as_u64(),
            steps: count(&outcome["steps"]),
            learning_rate: outcome["learning_rate"].as_f64(),
        })
    }
}

impl Costs {
    /// Of the folder `dir`; none where there is no such file.
    ///
    /// # Errors
    /// `Corrupt` when it cannot be read.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        match path.exists() {
            false => Ok(Self::default()),
            true => serde_json::from_slice(&std::fs::read(&path).at("read", &path)?).map_err(|error| {
                Error::corrupt(format!("`{}`: {error}", path.display()))
                    .hint("remove it: what was trained is trained again")
            }),
        }
    }

    /// # Errors
    /// `Io` when it cannot be written.
    pub fn write(&self, dir: &Path) -> Result<()> {
        files::replace(&dir.join(FILE), &serde_json::to_vec_pretty(self).unwrap_or_default())
    }

    /// What is known of this training, and of no other under its adapter's name.
    pub fn of(&self, order: &Order) -> Option<&Entry> {
        self.0.get(&order.adapter).filter(|entry| entry.key == order.key)
    }

    /// What it took, if it is done.
    pub fn cost(&self, order: &Order) -> Option<&Cost> {
        self.of(order).and_then(|entry| entry.cost.as_ref())
    }

    /// What it took with all that had to be trained before it, if that is done: times add up, and of memory the most counts.
    pub fn whole(&self, order: &Order) -> Option<Cost> {
        let own = self.cost(order)?.clone();
        let before = order.sequence().into_iter().filter(|other| other.adapter != order.adapter);
        before.map(|other| self.cost(other)).try_fold(own, |mut whole, other| {
            let other = other?;
            whole.seconds += other.seconds;
            whole.core_seconds += other.core_seconds;
            whole.peak_memory = whole.peak_memory.max(other.peak_memory);
            Some(whole)
        })
    }

    pub fn set(&mut self, adapter: &str, entry: Entry) {
        self.0.insert(adapter.to_owned(), entry);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_known_under_another_key_is_not_known() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Costs::read(dir.path()).unwrap(), Costs::default());
        let printed = json!({ "bytes": 9, "peak_memory": 5, "seconds": 2.0, "core_seconds": 3.5,
            "outcome": { "trained_parameters": 7, "steps": 4, "learning_rate": 0.1 } });
        let cost = Cost::of(&printed, 2).unwrap();
        assert_eq!((cost.trained_parameters, cost.core_seconds, cost.steps), (7, 3.5, Some(4)));
        let mut costs = Costs::default();
        costs.set("lora", Entry { key: "a".into(), cost: Some(cost), error: None });
        costs.write(dir.path()).unwrap();
        let costs = Costs::read(dir.path()).unwrap();
        let order = |adapter: &str, key: &str| Order {
            adapter: adapter.into(),
            args: Vec::new(),
            key: key.into(),
            first: Vec::new(),
        };
        assert!(costs.of(&order("lora", "a")).is_some() && costs.cost(&order("lora", "a")).is_some());
        assert!(costs.of(&order("lora", "b")).is_none() && costs.of(&order("ia3", "a")).is_none());
        let after = Order { first: vec![order("lora", "a"), order("lora", "a")], ..order("dpo", "c") };
        assert!(costs.whole(&after).is_none(), "it is not trained");
        let mut costs = costs;
        let own = Cost {
            core_seconds: 10.0,
            peak_memory: Some(3),
            ..costs.cost(&order("lora", "a")).unwrap().clone()
        };
        costs.set("dpo", Entry { key: "c".into(), cost: Some(own), error: None });
        let whole = costs.whole(&after).unwrap();
        assert_eq!((whole.core_seconds, whole.peak_memory), (13.5, Some(5)), "what comes before counts once");
        assert!(Cost::of(&json!({}), 2).is_err());
        let no_clock = json!({ "bytes": 9, "seconds": 2.0, "outcome": { "trained_parameters": 7 } });
        assert_eq!(Cost::of(&no_clock, 3).unwrap().core_seconds, 6.0);
    }
}
