//! Folding batch normalisation into the convolution before it.

use netfit_spaces::NORM_EPSILON;

use crate::{Error, Result, Weights};

/// A convolution that needs no normalisation any more.
#[derive(Debug)]
pub(crate) struct Folded {
    /// `[out, in / groups, k, k]`.
    pub(crate) weight: Vec<f32>,
    /// `[out]`.
    pub(crate) bias: Vec<f32>,
}

/// `y = (w * x - mean) * s + shift` with `s = scale / sqrt(variance + NORM_EPSILON)` becomes
/// `y = (w s) * x + (shift - mean s)` (Ioffe & Szegedy, ICML 2015, section 3.1), in double precision until the end.
///
/// `layer` is the prefix of the five tensors' names, for example `b03_mbconv.expand`.
pub(crate) fn fold(weights: &Weights, layer: &str) -> Result<Folded> {
    let [weight, scale, shift, mean, variance] =
        ["weight", "norm.weight", "norm.bias", "norm.mean", "norm.variance"]
            .map(|name| numbers(weights, &format!("{layer}.{name}")));
    let (weight, scale, shift, mean, variance) = (weight?, scale?, shift?, mean?, variance?);
    if let Some(&value) = variance.iter().find(|&&value| value < 0.0) {
        return Err(Error::Value {
            name: format!("{layer}.norm.variance"),
            value: f64::from(value),
            expected: "at least 0",
        });
    }
    let factors: Vec<f64> = scale
        .iter()
        .zip(variance)
        .map(|(&scale, &variance)| f64::from(scale) / (f64::from(variance) + NORM_EPSILON).sqrt())
        .collect();
    // A filter's weights lie together, one filter for each output channel.
    let filter = weight.len() / factors.len().max(1);
    let folded = weight
        .chunks(filter.max(1))
        .zip(&factors)
        .flat_map(|(filter, &factor)| filter.iter().map(move |&w| (f64::from(w) * factor) as f32))
        .collect();
    let bias = shift
        .iter()
        .zip(mean)
        .zip(&factors)
        .map(|((&shift, &mean), &factor)| (f64::from(shift) - f64::from(mean) * factor) as f32)
        .collect();
    Ok(Folded { weight: folded, bias })
}

/// The tensor's numbers, all of them finite.
pub(crate) fn numbers<'a>(weights: &'a Weights, name: &str) -> Result<&'a [f32]> {
    let data = &weights.get(name)?.data;
    match data.iter().find(|value| !value.is_finite()) {
        None => Ok(data),
        Some(&value) => Err(Error::Value {
            name: name.to_owned(),
            value: f64::from(value),
            expected: "a finite number",
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Tensor;

    fn weights(variance: f32) -> Weights {
        let mut weights = Weights::new();
        let mut add = |name: &str, shape: &[usize], data: &[f32]| {
            weights
                .insert(format!("l.{name}"), Tensor { shape: shape.to_vec(), data: data.to_vec() });
        };
        add("weight", &[2, 2, 1, 1], &[1.0, 2.0, 3.0, -4.0]);
        add("norm.weight", &[2], &[2.0, -1.0]);
        add("norm.bias", &[2], &[0.5, 1.0]);
        add("norm.mean", &[2], &[3.0, 8.0]);
        // With the epsilon 0.25 and 16: standard deviations 0.5 and 4.
        add("norm.variance", &[2], &[variance, 15.99999]);
        weights
    }

    #[test]
    fn a_hand_computed_fold() {
        let folded = fold(&weights(0.24999), "l").unwrap();
        let close = |found: &[f32], expected: &[f32]| {
            assert_eq!(found.len(), expected.len());
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        };
        close(&folded.weight, &[4.0, 8.0, -0.75, 1.0]);
        close(&folded.bias, &[-11.5, 3.0]);
    }

    #[test]
    fn numbers_that_no_training_leaves_are_refused() {
        let negative = fold(&weights(-0.1), "l").unwrap_err().to_string();
        assert!(negative.contains("`l.norm.variance`: found -0.1"), "{negative}");
        let nan = fold(&weights(f32::NAN), "l").unwrap_err().to_string();
        assert!(nan.contains("found NaN, expected a finite number"), "{nan}");
    }
}
