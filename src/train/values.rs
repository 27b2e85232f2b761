//! Tensors as slices, to read and to change in place, and sums over them that come out the same on any number of threads.

use std::cell::Cell;

use candle_core::{CpuStorage, DType, Error, InplaceOp1, Layout, Result, Storage, Tensor};
use rayon::prelude::*;

/// Values a thread takes at a time. Fixed, so that sums are made of the same parts on every machine.
pub const PIECE: usize = 32 * 1024;

/// Whether the values lie where this file reaches them: f32, in main memory, side by side.
pub fn at_hand(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && tensor.dtype() == DType::F32 && tensor.is_contiguous()
}

/// Calls `f` with the values of `tensor`.
pub fn read<R>(tensor: &Tensor, f: impl FnOnce(&[f32]) -> Result<R>) -> Result<R> {
    let (storage, layout) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(storage) => {
            let (start, end) = places(layout)?;
            f(&storage.as_slice::<f32>()?[start..end])
        }
        _ => candle_core::bail!("values of a tensor that is not in main memory"),
    }
}

/// Calls `f` with the values of `tensor`, to change them where they are; views of the same storage see it.
pub fn change(tensor: &Tensor, f: impl FnOnce(&mut [f32]) -> Result<()>) -> Result<()> {
    tensor.inplace_op1(&Change(Cell::new(Some(f))))
}

struct Change<F>(Cell<Option<F>>);

impl<F: FnOnce(&mut [f32]) -> Result<()>> InplaceOp1 for Change<F> {
    fn name(&self) -> &'static str {
        "change"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (start, end) = places(layout)?;
        let CpuStorage::F32(values) = storage else { candle_core::bail!("not a tensor of f32") };
        match self.0.take() {
            Some(f) => f(&mut values[start..end]),
            None => Ok(()),
        }
    }
}

fn places(layout: &Layout) -> Result<(usize, usize)> {
    layout.contiguous_offsets().ok_or(Error::RequiresContiguous { op: "values" })
}

/// The sum of all squares.
pub fn squares(tensor: &Tensor) -> Result<f64> {
    if !at_hand(tensor) {
        return Ok(f64::from(tensor.to_dtype(DType::F32)?.sqr()?.sum_all()?.to_scalar::<f32>()?));
    }
    read(tensor, |values| {
        let square = |piece: &[f32]| piece.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>();
        let pieces: Vec<f64> = values.par_chunks(PIECE).map(square).collect();
        Ok(pieces.iter().sum())
    })
}

/// `sum += more`, in place where that is possible.
pub fn add(sum: &mut Tensor, more: &Tensor) -> Result<()> {
    if !at_hand(sum) || !at_hand(more) {
        *sum = (&*sum + more)?;
        return Ok(());
    }
    change(sum, |sum| {
        read(more, |more| {
            let pieces = sum.par_chunks_mut(PIECE).zip(more.par_chunks(PIECE));
            pieces.for_each(|(sum, more)| sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more));
            Ok(())
        })
    })
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    #[test]
    fn a_change_in_place_is_seen_through_views() {
        let var = Var::from_tensor(&Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu).unwrap()).unwrap();
        let view = var.as_tensor().t().unwrap();
        change(&var, |values| {
            values[1] = 9.0;
            Ok(())
        })
        .unwrap();
        assert_eq!(view.to_vec2::<f32>().unwrap(), [[1.0, 3.0], [9.0, 4.0]]);
        assert!(change(&view, |_| Ok(())).is_err());
    }

    #[test]
    fn sums_are_what_they_should_be() {
        let tensor = |scale: f64| {
            let numbers = Tensor::arange(0f32, 70_000.0, &Device::Cpu).unwrap();
            (numbers * (scale / 70_000.0)).unwrap()
        };
        let mut sum = tensor(1.0);
        add(&mut sum, &tensor(2.0)).unwrap();
        // The sum of i^2 for i < n is (n - 1) n (2 n - 1) / 6.
        let n = 70_000f64;
        let expected = (n - 1.0) * (2.0 * n - 1.0) / 6.0 / n * 9.0;
        assert!((squares(&sum).unwrap() / expected - 1.0).abs() < 1e-6);
    }
}
