//! Dropout whose masks are a function of where they are drawn, and of nothing else (Srivastava et al. 2014).
//!
//! A value is dropped or kept by a counter-based generator keyed by seed, step, micro-batch, site and stream. A resumed run
//! draws the same masks without any generator's state being kept, and no mask is stored for the backward pass.

use candle_core::Tensor;

use super::kernel::{self, Mask};
use super::{Mode, Site};
use crate::error::{Error, Result};
use crate::random::SplitMix;

/// `x` with a share `p` of its values at zero and the others scaled by `1 / (1 - p)`; in evaluation, and where `p` is 0,
/// `x` as it is. Those who drop at one site more than once tell the places apart by `stream`.
///
/// # Errors
/// `Invalid` when `p` lies outside `0..1`.
pub fn dropout(x: &Tensor, p: f64, mode: Mode, site: Site, stream: u64) -> Result<Tensor> {
    if !(0.0..1.0).contains(&p) {
        return Err(Error::invalid(format!("dropout {p} is no share from 0 up to, and without, 1")));
    }
    let Mode::Train { seed, step, micro_batch } = mode else { return Ok(x.clone()) };
    if p == 0.0 {
        return Ok(x.clone());
    }
    let place = [step, micro_batch, site.layer as u64, site.part as u64, stream];
    let key = place.into_iter().fold(seed, |key, number| SplitMix::new(key, number).next());
    let mask = Mask::new(p, SplitMix::new(key, 0));
    if kernel::applies(&[x]) { Ok(kernel::dropout(x, mask)?) } else { composed(x, &mask) }
}

fn composed(x: &Tensor, mask: &Mask) -> Result<Tensor> {
    let factors: Vec<f32> = (0..x.elem_count()).map(|place| mask.factor(place)).collect();
    let factors = Tensor::from_vec(factors, x.shape(), x.device())?.to_dtype(x.dtype())?;
    Ok((x * factors)?)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::super::Part;
    use super::*;

    const SITE: Site = Site { layer: 2, part: Part::Q };

    fn train(step: u64, micro_batch: u64) -> Mode {
        Mode::Train { seed: 7, step, micro_batch }
    }

    fn dropped(mode: Mode, site: Site, stream: u64) -> Vec<f32> {
        let x = Tensor::ones(10_000, candle_core::DType::F32, &Device::Cpu).unwrap();
        dropout(&x, 0.25, mode, site, stream).unwrap().to_vec1().unwrap()
    }

    #[test]
    fn the_share_is_kept_to_and_the_mean_stays() {
        let y = dropped(train(0, 0), SITE, 0);
        let zeros = y.iter().filter(|y| **y == 0.0).count();
        // Five standard deviations of a quarter of 10,000.
        assert!(zeros.abs_diff(2500) < 217, "{zeros}");
        assert!(y.iter().all(|y| *y == 0.0 || *y == 4.0 / 3.0));
    }

    #[test]
    fn a_mask_is_its_place_s_and_no_other_s() {
        let y = dropped(train(0, 0), SITE, 0);
        assert_eq!(y, dropped(train(0, 0), SITE, 0));
        let others = [
            dropped(train(1, 0), SITE, 0),
            dropped(train(0, 1), SITE, 0),
            dropped(train(0, 0), Site::new(3, Part::Q), 0),
            dropped(train(0, 0), Site::new(2, Part::V), 0),
            dropped(train(0, 0), SITE, 1),
            dropped(Mode::Train { seed: 8, step: 0, micro_batch: 0 }, SITE, 0),
        ];
        for other in others {
            let same = y.iter().zip(&other).filter(|(a, b)| a == b).count();
            // Independent masks agree in 1/16 + 9/16 of all places.
            assert!(same.abs_diff(6250) < 300, "{same}");
        }
    }

    #[test]
    fn the_gradient_goes_through_the_same_mask() {
        let x = Var::from_tensor(&Tensor::new(&[[3f32; 5000]; 2], &Device::Cpu).unwrap()).unwrap();
        let y = dropout(&x, 0.5, train(3, 1), SITE, 0).unwrap();
        let grads = (&y * 5.0).unwrap().sum_all().unwrap().backward().unwrap();
        let factors = (y.detach() / 3.0).unwrap();
        let expected: Vec<f32> = (factors * 5.0).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let got: Vec<f32> = grads.get(&x).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        assert_eq!(got, expected);
    }

    #[test]
    fn composed_and_fused_drop_the_same_values() {
        let x = Tensor::arange(0f32, 9001.0, &Device::Cpu).unwrap();
        let mask = Mask::new(0.3, SplitMix::new(1, 2));
        let fused: Vec<f32> = kernel::dropout(&x, mask.clone()).unwrap().to_vec1().unwrap();
        assert_eq!(fused, composed(&x, &mask).unwrap().to_vec1::<f32>().unwrap());
        let halves = x.to_dtype(candle_core::DType::F64).unwrap();
        assert_eq!(
            composed(&halves, &mask).unwrap().to_vec1::<f64>().unwrap().iter().filter(|x| **x == 0.0).count(),
            fused.iter().filter(|x| **x == 0.0).count()
        );
    }

    #[test]
    fn nothing_is_dropped_in_evaluation_and_a_share_is_a_share() {
        let x = Tensor::ones(8, candle_core::DType::F32, &Device::Cpu).unwrap();
        let same = |y: Tensor| assert_eq!(y.to_vec1::<f32>().unwrap(), [1.0; 8]);
        same(dropout(&x, 0.5, Mode::Eval, SITE, 0).unwrap());
        same(dropout(&x, 0.0, train(0, 0), SITE, 0).unwrap());
        for p in [1.0, -0.1, f64::NAN] {
            assert!(dropout(&x, p, train(0, 0), SITE, 0).is_err());
        }
    }
}
