//! The beginning that many prompts share, read once.
//!
//! Prompts with the same instruction and demonstrations differ in their last lines only. A [`Head`] is given explicitly and
//! never learnt from the prompt before, so that what a prompt yields depends on the head and the prompt alone and not on
//! the order in which prompts come.

use std::sync::{Arc, Mutex, PoisonError};

use super::local::{Arithmetic, LocalGenerator};
use crate::error::{Error, Result};
use crate::nn::KvCache;

/// Token ids, with their keys and values from the first time that they are needed. May be used from several threads.
#[derive(Default)]
pub struct Head {
    ids: Vec<u32>,
    /// Whose keys and values they are.
    reader: Option<Arc<()>>,
    exact: Mutex<Readings>,
    quick: Mutex<Readings>,
}

/// What was read in one kind of arithmetic.
#[derive(Default)]
struct Readings {
    read: Option<KvCache>,
    /// Continued and cut back, with room for more: the rows of the head need not be copied again.
    idle: Vec<KvCache>,
}

impl Head {
    /// Nothing: every prompt is read whole.
    pub fn none() -> Self {
        Self::default()
    }

    pub(super) fn new(ids: &[u32], reader: &Arc<()>) -> Self {
        Self { ids: ids.to_vec(), reader: Some(Arc::clone(reader)), ..Self::default() }
    }

    /// Token ids that prompts have to begin with, and go on behind, to be read from here on.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    fn readings(&self, arithmetic: Arithmetic) -> &Mutex<Readings> {
        match arithmetic {
            Arithmetic::Exact => &self.exact,
            Arithmetic::Quick => &self.quick,
        }
    }

    /// Calls `f` with a cache and what is to be read of `ids` behind that: all of it, unless `ids` begin with the head.
    ///
    /// # Errors
    /// `Mismatch` when another model made the head, and as reading fails.
    pub(super) fn continued_by<R>(
        &self,
        ids: &[u32],
        model: &LocalGenerator,
        arithmetic: Arithmetic,
        f: impl FnOnce(&mut KvCache, &[u32]) -> Result<R>,
    ) -> Result<R> {
        let Some(reader) = &self.reader else { return f(&mut KvCache::branching(), ids) };
        if !Arc::ptr_eq(reader, model.mark()) {
            return Err(Error::mismatch("the common beginning of the prompts was read by another model")
                .hint("make a head with the model that is to go on from it"));
        }
        let rest = match ids.strip_prefix(&self.ids[..]) {
            Some(rest) if !rest.is_empty() && rest.len() < ids.len() => rest,
            _ => return f(&mut KvCache::branching(), ids),
        };
        let readings = self.readings(arithmetic);
        let mut cache = {
            let mut readings = readings.lock().unwrap_or_else(PoisonError::into_inner);
            match (readings.idle.pop(), &readings.read) {
                (Some(idle), _) => idle,
                (None, Some(read)) => read.fork()?,
                (None, None) => {
                    let mut cache = KvCache::branching();
                    model.hidden(&[&self.ids], &mut cache, arithmetic)?;
                    readings.read.insert(cache).fork()?
                }
            }
        };
        // Virtual tokens stand in it as well: how much that is only the cache knows.
        let held = cache.length(0);
        let result = f(&mut cache, rest);
        cache.truncate(0, held);
        readings.lock().unwrap_or_else(PoisonError::into_inner).idle.push(cache);
        result
    }
}
