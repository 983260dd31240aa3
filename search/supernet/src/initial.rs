//! Initial weights: seeded by their names, so that they do not depend on what else there is.

use netfit_export::Tensor;
use netfit_spaces::{Random, WeightSpec};

/// A filter `[out, in / groups, k, k]`: normal numbers of variance `2 / (k * k * out)` (He et al., fan-out, as the
/// authors' `he_fout`).
pub(crate) fn filter(seed: u64, name: &str, shape: &[usize]) -> Tensor {
    let deviation = (2.0 / (shape[0] * shape[2] * shape[3]) as f64).sqrt();
    drawn(seed, name, shape, |random| random.normal() * deviation)
}

/// A matrix `[out, in]`: uniform within `1 / sqrt(in)` of 0.
pub(crate) fn matrix(seed: u64, name: &str, shape: &[usize]) -> Tensor {
    let bound = 1.0 / (shape[1] as f64).sqrt();
    drawn(seed, name, shape, |random| (2.0 * random.uniform() - 1.0) * bound)
}

/// The same number everywhere.
pub(crate) fn constant(length: usize, value: f32) -> Tensor {
    Tensor { shape: vec![length], data: vec![value; length] }
}

/// The start of a network's learned tensor: scales of normalisation are 1, shifts and biases 0.
pub(crate) fn learned(seed: u64, spec: &WeightSpec) -> Tensor {
    match spec.shape.len() {
        4 => filter(seed, &spec.name, &spec.shape),
        2 => matrix(seed, &spec.name, &spec.shape),
        _ => constant(spec.shape[0], f32::from(u8::from(spec.name.ends_with("norm.weight")))),
    }
}

fn drawn(seed: u64, name: &str, shape: &[usize], draw: impl Fn(&mut Random) -> f64) -> Tensor {
    let mut random = Random::new(seed, name);
    let data = (0..shape.iter().product()).map(|_| draw(&mut random) as f32).collect();
    Tensor { shape: shape.to_vec(), data }
}
