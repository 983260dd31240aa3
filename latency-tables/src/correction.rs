//! How a network's block times become its latency.

use std::collections::BTreeMap;

use netfit_spaces::Block;
use serde::{Deserialize, Serialize};

use crate::{Bend, Entry, regression};

/// `intercept_s + slope * x`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Affine {
    /// Seconds at `x = 0`.
    pub intercept_s: f64,
    /// Seconds for each unit of `x`.
    pub slope: f64,
}

impl Affine {
    /// The line through `(x, y)` of the least relative errors, robust to outliers. Where all `x` are equal the
    /// intercept is 0. None where no finite line exists.
    pub fn fit(x: &[f64], y: &[f64]) -> Option<Self> {
        let ones = vec![1.0; x.len()];
        if let Some(found) = regression::fit(&[&ones, x], y) {
            return Some(Self { intercept_s: found[0], slope: found[1] });
        }
        Some(Self { intercept_s: 0.0, slope: regression::fit(&[x], y)?[0] })
    }

    /// The value at `x`.
    pub fn at(&self, x: f64) -> f64 {
        self.intercept_s + self.slope * x
    }
}

/// How a network's block times become its latency.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Correction {
    /// An affine function of their sum.
    Affine(Affine),
    /// `intercept_s + slope * sum + kernel_s * kernels`: a runtime's record adds to each kernel what it costs to write
    /// it down, which outweighs the kernels of small networks. `kernel_s` takes it away again and is negative.
    Recorded {
        /// Seconds of a network without blocks.
        intercept_s: f64,
        /// Seconds for each recorded second.
        slope: f64,
        /// Seconds for each recorded kernel.
        kernel_s: f64,
    },
    /// `intercept_s + slope * sum + kernel_s * kernels + parameter_s * parameters`: in a network whose weights outgrow
    /// the caches each call fetches them anew, which a block that was measured by itself does not, or not as much. Where
    /// it was measured in turn with all others, and found its weights in no cache, but whole networks find theirs,
    /// `parameter_s` is negative.
    Memory {
        /// Seconds of a network without blocks.
        intercept_s: f64,
        /// Seconds for each second of an entry.
        slope: f64,
        /// Seconds for each kernel.
        kernel_s: f64,
        /// Seconds for each parameter.
        parameter_s: f64,
    },
    /// One of the above, bent: `base + strength * (base - middle_s)^2 / middle_s`.
    Bent {
        /// The linear part.
        base: Box<Self>,
        /// What becomes of it.
        bend: Bend,
    },
    /// `intercept_s + sum over blocks of factor * (slope * seconds + kernel_s * kernels + parameter_s * parameters)`: one
    /// of the first three with a factor near 1 for each block, by ridge regression of what it leaves.
    Ridge {
        /// Seconds of a network without blocks.
        intercept_s: f64,
        /// Seconds for each second of an entry.
        slope: f64,
        /// Seconds for each recorded kernel; 0 on top of an affine function.
        kernel_s: f64,
        /// Seconds for each parameter; 0 where the one below knows nothing of them.
        #[serde(default)]
        parameter_s: f64,
        /// Weight of the factors' squared distances from 1 against the squared relative errors.
        penalty: f64,
        /// Factor for each block of the calibration networks, by its line; 1 for all others.
        factors: BTreeMap<String, f64>,
    },
}

impl Correction {
    /// How many it has that are fitted for all blocks; a ridge has one more for each block.
    pub(crate) fn coefficients(&self) -> usize {
        match self {
            Self::Affine(_) => 2,
            Self::Recorded { .. } => 3,
            Self::Memory { .. } => 4,
            Self::Bent { base, .. } => base.coefficients() + 1,
            Self::Ridge { factors, .. } => 6 + factors.len(),
        }
    }

    /// Calibrated seconds that the block of this line adds to a network's sum.
    pub fn block(&self, line: &str, entry: &Entry) -> f64 {
        let (seconds, kernels) = (entry.timing.mean_s, entry.kernels);
        match self {
            Self::Affine(line) => line.slope * seconds,
            Self::Recorded { slope, kernel_s, .. } => slope * seconds + kernel_s * kernels,
            Self::Memory { slope, kernel_s, parameter_s, .. } => {
                slope * seconds + kernel_s * kernels + parameter_s * parameters(line)
            }
            Self::Bent { base, .. } => base.block(line, entry),
            Self::Ridge { slope, kernel_s, parameter_s, factors, .. } => {
                let factor = factors.get(line).copied().unwrap_or(1.0);
                let parameters = if *parameter_s == 0.0 { 0.0 } else { parameters(line) };
                factor * (slope * seconds + kernel_s * kernels + parameter_s * parameters)
            }
        }
    }

    /// Calibrated seconds of a network without blocks.
    pub fn constant_s(&self) -> f64 {
        match self {
            Self::Affine(line) => line.intercept_s,
            Self::Bent { base, .. } => base.constant_s(),
            Self::Recorded { intercept_s, .. }
            | Self::Memory { intercept_s, .. }
            | Self::Ridge { intercept_s, .. } => *intercept_s,
        }
    }

    /// What the sum of [`Self::constant_s`] and of all blocks' seconds goes through to become a latency; none where it is
    /// the latency.
    pub fn bend(&self) -> Option<Bend> {
        match self {
            Self::Bent { bend, .. } => Some(*bend),
            _ => None,
        }
    }

    /// The latency of a network with this sum.
    pub fn latency(&self, sum_s: f64) -> f64 {
        self.bend().map_or(sum_s, |bend| bend.at(sum_s))
    }

    /// The name in a table's list of candidates.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Affine(_) => "affine",
            Self::Recorded { .. } => "recorded",
            Self::Memory { .. } => "memory",
            Self::Bent { base, .. } => match **base {
                Self::Recorded { .. } => "recorded, bent",
                Self::Memory { .. } => "memory, bent",
                _ => "affine, bent",
            },
            Self::Ridge { .. } => "ridge",
        }
    }

    pub(crate) fn rises(&self) -> bool {
        match self {
            Self::Affine(line) => line.slope > 0.0,
            Self::Recorded { slope, .. } | Self::Memory { slope, .. } => *slope > 0.0,
            Self::Bent { base, bend } => base.rises() && bend.rises(),
            Self::Ridge { slope, factors, .. } => {
                *slope > 0.0 && factors.values().all(|factor| *factor > 0.0)
            }
        }
    }
}

/// The parameters of the block of this line; 0 for a line that is none, which then has no entry either.
fn parameters(line: &str) -> f64 {
    line.parse::<Block>().map_or(0.0, |block| block.parameters().0 as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_sums_give_a_scale() {
        let line = Affine::fit(&[2.0; 5], &[4.0; 5]).unwrap();
        assert!(line.intercept_s.abs() < 1e-12 && (line.slope - 2.0).abs() < 1e-12, "{line:?}");
        assert_eq!(Affine::fit(&[], &[]), None);
    }
}
