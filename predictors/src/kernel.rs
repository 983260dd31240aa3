//! Kernels of one-hot encodings, with a weight for every place.

use serde::{Deserialize, Serialize};

/// A positive definite function of two networks' encodings `x` and `y`. With a weight `w_f` above 0 for every place
/// `f` it depends on three sums alone: `p = sum w_f x_f y_f` over what they share, and each one's own, `a = sum w_f x_f`
/// and `b = sum w_f y_f`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kernel {
    /// `exp(p - (a + b) / 2) + r p`: a squared exponential of the weighted distance, and a linear trend.
    Radial,
    /// `p + r p^2 / 2`: ridge regression on the places and on all products of two.
    SecondOrder,
}

/// How a kernel's value changes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slopes {
    /// With `p`.
    pub(crate) shared: f64,
    /// With `a`, and with `b`.
    pub(crate) own: f64,
    /// With the logarithm of `r`.
    pub(crate) ratio: f64,
}

impl Kernel {
    pub(crate) fn value(self, p: f64, a: f64, b: f64, r: f64) -> f64 {
        match self {
            Self::Radial => (p - 0.5 * (a + b)).exp() + r * p,
            Self::SecondOrder => p + 0.5 * r * p * p,
        }
    }

    pub(crate) fn slopes(self, p: f64, a: f64, b: f64, r: f64) -> Slopes {
        match self {
            Self::Radial => {
                let radial = (p - 0.5 * (a + b)).exp();
                Slopes { shared: radial + r, own: -0.5 * radial, ratio: r * p }
            }
            Self::SecondOrder => Slopes { shared: 1.0 + r * p, own: 0.0, ratio: 0.5 * r * p * p },
        }
    }
}
