//! From sums of block times to latencies of whole networks.

use std::collections::BTreeMap;

use netfit_spaces::Network;
use serde::{Deserialize, Serialize};

use crate::{Error, Errors, Result, Source, median};

/// Nominal coverage of a prediction's interval.
pub const COVERAGE: f64 = 0.95;
/// Below so many networks a conformal interval of [`COVERAGE`] does not exist: `ceil(0.95 (n + 1)) <= n`.
pub const LEAST_NETWORKS: usize = 19;

/// `intercept_s + slope * x`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Affine {
    /// Seconds at `x = 0`.
    pub intercept_s: f64,
    /// Seconds for each unit of `x`.
    pub slope: f64,
}

impl Affine {
    /// The line through `(x, y)` that minimises Huber's loss (k = 1.345 robust standard deviations) of the relative
    /// error `(intercept + slope x - y) / y`, by reweighted least squares. Where all `x` are equal the intercept is 0.
    /// None where no finite line exists.
    pub fn fit(x: &[f64], y: &[f64]) -> Option<Self> {
        let mut weights = vec![1.0; x.len()];
        let mut line = Self::least_squares(x, y, &weights)?;
        for _ in 0..20 {
            let errors: Vec<f64> =
                x.iter().zip(y).map(|(&x, &y)| (line.at(x) / y - 1.0).abs()).collect();
            let bound = 1.345 * 1.4826 * median(&errors);
            for (weight, error) in weights.iter_mut().zip(&errors) {
                *weight = if *error > bound { bound / error } else { 1.0 };
            }
            if weights.iter().sum::<f64>() < 1.0 {
                break;
            }
            line = Self::least_squares(x, y, &weights)?;
        }
        Some(line)
    }

    /// The value at `x`.
    pub fn at(&self, x: f64) -> f64 {
        self.intercept_s + self.slope * x
    }

    /// Weighted least squares of the relative error: with `u = 1 / y` and `v = x / y`, fits `a u + b v = 1`.
    fn least_squares(x: &[f64], y: &[f64], weights: &[f64]) -> Option<Self> {
        // Scaled to a mean near 1, so that the determinant is comparable with 1.
        let (x_scale, y_scale) = (median(x), median(y));
        if !(x_scale > 0.0 && y_scale > 0.0) {
            return None;
        }
        let (mut uu, mut uv, mut vv, mut u_sum, mut v_sum) = (0.0, 0.0, 0.0, 0.0, 0.0);
        for ((x, y), w) in x.iter().zip(y).zip(weights) {
            let (u, v) = (y_scale / y, (x / x_scale) * (y_scale / y));
            uu += w * u * u;
            uv += w * u * v;
            vv += w * v * v;
            u_sum += w * u;
            v_sum += w * v;
        }
        let determinant = uu * vv - uv * uv;
        let (a, b) = if determinant > 1e-12 * uu * vv {
            ((u_sum * vv - v_sum * uv) / determinant, (v_sum * uu - u_sum * uv) / determinant)
        } else {
            (0.0, v_sum / vv)
        };
        let line = Self { intercept_s: a * y_scale, slope: b * y_scale / x_scale };
        (line.intercept_s.is_finite() && line.slope.is_finite()).then_some(line)
    }
}

/// How a sum of block times becomes a latency.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Correction {
    /// An affine function of the sum.
    Affine(Affine),
}

impl Correction {
    /// Calibrated seconds that one block of `entry_s` adds to a network.
    pub fn block(&self, entry_s: f64) -> f64 {
        let Self::Affine(line) = self;
        line.slope * entry_s
    }

    /// Calibrated seconds of a network without blocks.
    pub fn constant_s(&self) -> f64 {
        let Self::Affine(line) = self;
        line.intercept_s
    }
}

/// A source and correction that could have been chosen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// The source of the entries.
    pub source: String,
    /// The correction's kind.
    pub correction: String,
    /// Leave-one-out error on the calibration networks.
    pub rmspe: f64,
}

/// The chosen source and correction, and what is expected of them. All errors here are leave-one-out errors on the
/// calibration networks, in reference-normalised seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// The source whose entries are used.
    pub source: String,
    /// What turns their sum into a latency.
    pub correction: Correction,
    /// Errors of the chosen candidate.
    #[serde(flatten)]
    pub errors: Errors,
    /// Relative half-width of a prediction's interval: the split-conformal quantile of the leave-one-out errors
    /// `|measured / predicted - 1|` (Lei et al., JASA 2018).
    pub interval: f64,
    /// Nominal coverage of that interval.
    pub coverage: f64,
    /// Every candidate, the chosen one included.
    pub candidates: Vec<Candidate>,
    /// The baseline: latency as an affine function of multiply-adds, fitted on the same networks.
    pub multiply_adds: Affine,
    /// Errors of the baseline.
    pub multiply_adds_errors: Errors,
}

impl Calibration {
    /// Chooses among `sources` by leave-one-out error on `networks`, each with its measured latency in
    /// reference-normalised seconds.
    ///
    /// # Errors
    /// Fewer than [`LEAST_NETWORKS`], a block without an entry, or times that no rising line explains.
    pub fn fit(sources: &BTreeMap<String, Source>, networks: &[(Network, f64)]) -> Result<Self> {
        if networks.len() < LEAST_NETWORKS {
            return Err(Error::TooFew { least: LEAST_NETWORKS, found: networks.len() });
        }
        let fail = |reason: &str| Error::Calibration {
            networks: networks.len(),
            reason: reason.to_owned(),
        };
        let measured: Vec<f64> = networks.iter().map(|(_, seconds)| *seconds).collect();
        if measured.iter().any(|seconds| !(seconds.is_finite() && *seconds > 0.0)) {
            return Err(fail("expected positive latencies"));
        }
        let mut best: Option<(String, Vec<f64>, Vec<f64>)> = None;
        let mut candidates = Vec::new();
        for (name, source) in sources {
            let sums: Vec<f64> = networks
                .iter()
                .map(|(network, _)| source.sum(network))
                .collect::<std::result::Result<_, _>>()
                .map_err(|block| fail(&format!("no time for `{block}` in source `{name}`")))?;
            let predicted = leave_one_out(&sums, &measured)
                .ok_or_else(|| fail("the blocks' times explain nothing"))?;
            let rmspe = crate::rmspe(&predicted, &measured);
            if candidates.iter().all(|known: &Candidate| rmspe < known.rmspe) {
                best = Some((name.clone(), sums, predicted));
            }
            candidates.push(Candidate { source: name.clone(), correction: "affine".into(), rmspe });
        }
        let (source, sums, predicted) = best.ok_or_else(|| fail("there are no block times"))?;
        let line = Affine::fit(&sums, &measured)
            .filter(|line| line.slope > 0.0)
            .ok_or_else(|| fail("latency does not rise with the sum of the blocks' times"))?;
        let counts: Vec<f64> =
            networks.iter().map(|(network, _)| network.multiply_adds().0 as f64).collect();
        let baseline = Affine::fit(&counts, &measured)
            .zip(leave_one_out(&counts, &measured))
            .ok_or_else(|| fail("multiply-adds explain nothing"))?;
        Ok(Self {
            source,
            correction: Correction::Affine(line),
            interval: conformal(&predicted, &measured),
            errors: Errors::of(&predicted, &measured),
            coverage: COVERAGE,
            candidates,
            multiply_adds: baseline.0,
            multiply_adds_errors: Errors::of(&baseline.1, &measured),
        })
    }
}

/// The prediction of each point by the line through all others.
fn leave_one_out(x: &[f64], y: &[f64]) -> Option<Vec<f64>> {
    let without = |values: &[f64], i: usize| [&values[..i], &values[i + 1..]].concat();
    (0..x.len()).map(|i| Some(Affine::fit(&without(x, i), &without(y, i))?.at(x[i]))).collect()
}

/// The `ceil((n + 1) coverage)`-th smallest relative error.
fn conformal(predicted: &[f64], measured: &[f64]) -> f64 {
    let mut errors: Vec<f64> =
        predicted.iter().zip(measured).map(|(p, m)| (m / p - 1.0).abs()).collect();
    errors.sort_by(f64::total_cmp);
    let rank = ((errors.len() + 1) as f64 * COVERAGE).ceil() as usize;
    errors[rank.clamp(1, errors.len()) - 1]
}

#[cfg(test)]
mod tests {
    use super::*;
    use netfit_spaces::Random;

    #[test]
    fn a_planted_line_is_found_among_outliers() {
        let x: Vec<f64> = (1..=24).map(f64::from).collect();
        let mut y: Vec<f64> = x.iter().map(|x| 3e-4 + 2e-4 * x).collect();
        y[3] *= 1.5;
        y[17] *= 2.0;
        let line = Affine::fit(&x, &y).unwrap();
        assert!((line.intercept_s / 3e-4 - 1.0).abs() < 1e-3, "{line:?}");
        assert!((line.slope / 2e-4 - 1.0).abs() < 1e-3, "{line:?}");
    }

    #[test]
    fn equal_sums_give_a_scale() {
        let line = Affine::fit(&[2.0; 5], &[4.0; 5]).unwrap();
        assert!(line.intercept_s.abs() < 1e-12 && (line.slope - 2.0).abs() < 1e-12, "{line:?}");
        assert_eq!(Affine::fit(&[], &[]), None);
    }

    #[test]
    fn the_conformal_interval_covers_its_share_of_fresh_points() {
        // By theory at least 95 % on average over draws of the calibration set.
        let (mut covered, mut total) = (0, 0);
        for seed in 0..100 {
            let mut random = Random::new(seed, "conformal");
            let mut draw = |n: usize| -> (Vec<f64>, Vec<f64>) {
                let x: Vec<f64> = (0..n).map(|_| 1.0 + random.uniform()).collect();
                let y = x.iter().map(|x| (0.5 + x) * (1.0 + 0.02 * random.normal())).collect();
                (x, y)
            };
            let (x, y) = draw(24);
            let half = conformal(&leave_one_out(&x, &y).unwrap(), &y);
            let line = Affine::fit(&x, &y).unwrap();
            let (x, y) = draw(50);
            covered +=
                x.iter().zip(&y).filter(|(x, y)| (*y / line.at(**x) - 1.0).abs() <= half).count();
            total += x.len();
        }
        let share = f64::from(covered as u32) / f64::from(total as u32);
        assert!((0.935..0.99).contains(&share), "{share}");
    }
}
