//! What the layers below all that is trained make of a row, computed once and kept.
//!
//! Nothing there changes during a run, so from the second epoch on only the layers above have to be computed. A row is
//! computed alone, so that its values do not depend on which rows it is met with, and a resumed run has the same. Where nothing in the
//! network is trained and a head reads one token, that token alone is kept.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use candle_core::Tensor;

use super::micro::Micro;
use super::row::Row;
use crate::error::Result;
use crate::models::{Batch, Token, Transformer};
use crate::nn::{Adapter, Mode, Pass};

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
        self.cat(micro, |row| transformer.trunk(self.layers, &Batch::of(&data[row].sequences()), adapter))
    }

    /// What leaves the network at one token of each sequence, `(S, H)`; for a trunk that is all of it.
    pub fn tokens(
        &self,
        transformer: &Transformer,
        adapter: &dyn Adapter,
        data: &[Row],
        micro: &Micro,
        token: Token,
    ) -> Result<Tensor> {
        self.cat(micro, |row| {
            let batch = Batch::of(&data[row].sequences());
            let hidden = transformer.forward(&batch, Pass { adapter, cache: None, mode: Mode::Eval })?;
            let read: Vec<u32> = batch.packing.ranges().map(|range| token.of(&range) as u32).collect();
            Ok(hidden.index_select(&Tensor::new(read, hidden.device())?, 0)?)
        })
    }

    /// What `f` makes of each row of `micro`, end to end; of a row that was asked for before, what it made then.
    fn cat(&self, micro: &Micro, f: impl Fn(usize) -> Result<Tensor>) -> Result<Tensor> {
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let mut streams = Vec::with_capacity(micro.rows.len());
        for &row in &micro.rows {
            let found = kept().streams.get(&row).cloned();
            let stream = match found {
                Some(stream) => stream,
                None => {
                    let stream = f(row)?.detach();
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
