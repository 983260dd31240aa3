//! From sums of block times to latencies of whole networks.

use std::collections::BTreeMap;

use netfit_spaces::{Block, Network};
use serde::{Deserialize, Serialize};

use crate::{
    Entry, Error, Errors, Result, Source,
    regression::{self, leave_one_out},
};

/// Nominal coverage of a prediction's interval.
pub const COVERAGE: f64 = 0.95;
/// Below so many networks a conformal interval of [`COVERAGE`] does not exist: `ceil(0.95 (n + 1)) <= n`.
pub const LEAST_NETWORKS: usize = 19;
/// A candidate is chosen over those before it if its error is below this share of theirs.
const PARSIMONY: f64 = 0.95;

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
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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
}

impl Correction {
    /// Calibrated seconds that one block adds to a network.
    pub fn block(&self, entry: &Entry) -> f64 {
        match self {
            Self::Affine(line) => line.slope * entry.timing.mean_s,
            Self::Recorded { slope, kernel_s, .. } => {
                slope * entry.timing.mean_s + kernel_s * entry.kernels
            }
        }
    }

    /// Calibrated seconds of a network without blocks.
    pub fn constant_s(&self) -> f64 {
        match self {
            Self::Affine(line) => line.intercept_s,
            Self::Recorded { intercept_s, .. } => *intercept_s,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Affine(_) => "affine",
            Self::Recorded { .. } => "recorded",
        }
    }

    fn rises(&self) -> bool {
        match self {
            Self::Affine(line) => line.slope > 0.0,
            Self::Recorded { slope, .. } => *slope > 0.0,
        }
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
        let mut best: Option<Fitted> = None;
        let mut candidates = Vec::new();
        for (name, source) in sources {
            let columns = Columns::of(source, networks)
                .map_err(|block| fail(&format!("no time for `{block}` in source `{name}`")))?;
            for fitted in columns.fits(name, &measured) {
                let rmspe = crate::rmspe(&fitted.predicted, &measured);
                let correction = fitted.correction.name().to_owned();
                // A later candidate has to earn its place: the first ones are the simpler ones.
                if candidates.iter().all(|known: &Candidate| rmspe < PARSIMONY * known.rmspe) {
                    best = Some(fitted);
                }
                candidates.push(Candidate { source: name.clone(), correction, rmspe });
            }
        }
        let best =
            best.ok_or_else(|| fail("latency does not rise with the sum of the blocks' times"))?;
        let counts: Vec<f64> =
            networks.iter().map(|(network, _)| network.multiply_adds().0 as f64).collect();
        let ones = vec![1.0; counts.len()];
        let multiply_adds =
            Affine::fit(&counts, &measured).ok_or_else(|| fail("multiply-adds explain nothing"))?;
        let baseline = leave_one_out(&[&ones, &counts], &measured)
            .unwrap_or_else(|| counts.iter().map(|&count| multiply_adds.at(count)).collect());
        Ok(Self {
            source: best.source,
            correction: best.correction,
            interval: conformal(&best.predicted, &measured),
            errors: Errors::of(&best.predicted, &measured),
            coverage: COVERAGE,
            candidates,
            multiply_adds,
            multiply_adds_errors: Errors::of(&baseline, &measured),
        })
    }
}

/// A correction and its leave-one-out predictions.
struct Fitted {
    source: String,
    correction: Correction,
    predicted: Vec<f64>,
}

/// What a correction can be a function of: for each network 1, the sum of its blocks' times, and of their kernels.
struct Columns {
    ones: Vec<f64>,
    sums: Vec<f64>,
    kernels: Vec<f64>,
}

impl Columns {
    fn of<'a>(
        source: &Source,
        networks: &'a [(Network, f64)],
    ) -> std::result::Result<Self, &'a Block> {
        let mut columns = Self { ones: Vec::new(), sums: Vec::new(), kernels: Vec::new() };
        for (network, _) in networks {
            let (seconds, kernels) = source.sum(network)?;
            columns.ones.push(1.0);
            columns.sums.push(seconds);
            columns.kernels.push(kernels);
        }
        Ok(columns)
    }

    /// Every correction whose coefficients the networks determine.
    fn fits(&self, source: &str, measured: &[f64]) -> Vec<Fitted> {
        let affine = [&self.ones[..], &self.sums];
        let recorded = [&self.ones[..], &self.sums, &self.kernels];
        let line = Affine::fit(&self.sums, measured).map(Correction::Affine);
        let plane = regression::fit(&recorded, measured).map(|found| Correction::Recorded {
            intercept_s: found[0],
            slope: found[1],
            kernel_s: found[2],
        });
        let with = |correction: Option<Correction>, columns: &[&[f64]]| {
            let correction = correction.filter(Correction::rises)?;
            // A space of one latency has no line to leave points out of.
            let predicted = leave_one_out(columns, measured)
                .or_else(|| leave_one_out(&[&self.sums], measured))?;
            Some(Fitted { source: source.to_owned(), correction, predicted })
        };
        [with(line, &affine), with(plane, &recorded)].into_iter().flatten().collect()
    }
}

/// The `ceil((n + 1) coverage)`-th smallest relative error.
pub(crate) fn conformal(predicted: &[f64], measured: &[f64]) -> f64 {
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
            let half = conformal(&leave_one_out(&[&[1.0; 24], &x], &y).unwrap(), &y);
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
