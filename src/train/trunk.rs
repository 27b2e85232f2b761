//! What the layers below all that is trained make of a row, computed once and kept.
//!
//! Nothing there changes during a run, so from the second epoch on only the layers above have to be computed. A row is
//! computed alone, so that its values do not depend on which rows it is met with, and a resumed run has the same.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use candle_core::Tensor;

use super::batch::Micro;
use super::row::Row;
use crate::error::Result;
use crate::models::{Batch, Transformer};
use crate::nn::Adapter;

pub struct Trunk {
    /// So many lowest layers.
    pub layers: usize,
    kept: Mutex<Kept>,
}

struct Kept {
    /// Of each row, by its number, `(n + T, H)`.
    streams: HashMap<usize, Tensor>,
    /// Bytes that may still be taken.
    room: usize,
}

impl Trunk {
    /// Of the lowest `layers` layers; keeps what fits `room` bytes.
    pub fn new(layers: usize, room: usize) -> Self {
        Self { layers, kept: Mutex::new(Kept { streams: HashMap::new(), room }) }
    }

    /// What enters the first layer above, for all rows of `micro`, which are among `data`.
    pub fn of(
        &self,
        transformer: &Transformer,
        adapter: &dyn Adapter,
        data: &[Row],
        micro: &Micro,
    ) -> Result<Tensor> {
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut streams = Vec::with_capacity(micro.rows.len());
        for &row in &micro.rows {
            let found = kept().streams.get(&row).cloned();
            let stream = match found {
                Some(stream) => stream,
                None => {
                    let batch = Batch::single(&data[row].ids);
                    let stream = transformer.trunk(self.layers, &batch, adapter)?.detach();
                    let size = stream.elem_count() * stream.dtype().size_in_bytes();
                    let mut kept = kept();
                    if size <= kept.room {
                        kept.room -= size;
                        kept.streams.insert(row, stream.clone());
                    }
                    stream
                }
            };
            streams.push(stream);
        }
        Ok(Tensor::cat(&streams, 0)?)
    }
}
