//! Percentiles of single calls, predicted from medians.

use netfit_spaces::{Genotype, Network};
use serde::{Deserialize, Serialize};

use crate::{
    Affine, COVERAGE, Error, Errors, LEAST_NETWORKS, Latency, LatencyTable, Result,
    calibration::conformal, regression::leave_one_out, rmspe,
};

/// The median is asked for as this percentile.
const MEDIAN: f64 = 50.0;

/// The measured percentiles of one network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TailTiming {
    /// The network, in the table's space.
    pub genotype: Genotype,
    /// Single calls that were timed.
    pub calls: usize,
    /// Their median, in reference-normalised seconds.
    pub median_s: f64,
    /// Their percentiles in reference-normalised seconds, in the order of the table's `tails`.
    pub percentiles_s: Vec<f64>,
}

/// `percentile = intercept_s + slope * median`: what the slowest calls of a network take, as a function of its
/// predicted median. Errors are leave-one-out errors on the networks of the fit, in reference-normalised seconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    /// The percentile: above 50, below 100.
    pub percentile: f64,
    /// From the predicted median to the percentile.
    pub correction: Affine,
    /// Errors of the prediction.
    #[serde(flatten)]
    pub errors: Errors,
    /// Relative half-width of the prediction's interval: the split-conformal quantile, as for medians.
    pub interval: f64,
    /// Nominal coverage of that interval.
    pub coverage: f64,
    /// What it is worth on networks that the fit has not seen.
    pub validation: Option<TailValidation>,
}

/// Predicted percentiles against measured ones; it judges and chooses nothing.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TailValidation {
    /// Errors of the prediction.
    #[serde(flatten)]
    pub errors: Errors,
    /// The percentiles of one half of the processes against those of the other half: the truth, which is of all, is about
    /// half as noisy. Null where there was one process only.
    pub noise_floor_rmspe: Option<f64>,
    /// Share of the measurements inside the prediction's interval.
    pub interval_coverage: f64,
}

impl Tail {
    /// The robust line from the predicted medians of some networks to their measured percentiles, pair by pair, in
    /// reference-normalised seconds. The medians should be predicted as for a network that the table has not seen
    /// ([`crate::Calibration::leave_one_out`]), or the interval comes out too narrow.
    ///
    /// # Errors
    /// A percentile outside of (50, 100), fewer than [`LEAST_NETWORKS`], times that are not positive, or percentiles
    /// that do not rise with the medians.
    pub fn fit(percentile: f64, predicted_median: &[f64], measured: &[f64]) -> Result<Self> {
        if !(percentile > MEDIAN && percentile < 100.0) {
            return Err(Error::PercentileRange { found: percentile });
        }
        let networks = predicted_median.len().min(measured.len());
        if networks < LEAST_NETWORKS {
            return Err(Error::TooFew { least: LEAST_NETWORKS, found: networks });
        }
        let (x, y) = (&predicted_median[..networks], &measured[..networks]);
        let fail = |reason| Error::Calibration { networks, reason };
        if x.iter().chain(y).any(|seconds| !(seconds.is_finite() && *seconds > 0.0)) {
            return Err(fail(format!("expected positive times for percentile {percentile}")));
        }
        let correction = Affine::fit(x, y).filter(|line| line.slope > 0.0).ok_or_else(|| {
            fail(format!("percentile {percentile} does not rise with the median latency"))
        })?;
        // A space of one latency has no line to leave points out of.
        let predicted = leave_one_out(&[&vec![1.0; networks], x], y)
            .or_else(|| leave_one_out(&[x], y))
            .ok_or_else(|| fail(format!("too few distinct times for percentile {percentile}")))?;
        Ok(Self {
            percentile,
            correction,
            interval: conformal(&predicted, y),
            errors: Errors::of(&predicted, y),
            coverage: COVERAGE,
            validation: None,
        })
    }

    /// Judges the prediction on other networks with their predicted medians and percentiles, pair by pair, in
    /// reference-normalised seconds; `halves` are the percentiles of each half of the processes. Shares are NaN for no
    /// networks.
    pub fn judge(
        &self,
        predicted_median: &[f64],
        measured: &[f64],
        halves: Option<[&[f64]; 2]>,
    ) -> TailValidation {
        let predicted: Vec<f64> = predicted_median.iter().map(|&x| self.correction.at(x)).collect();
        let inside = predicted
            .iter()
            .zip(measured)
            .filter(|(p, m)| (*m / *p - 1.0).abs() <= self.interval)
            .count();
        TailValidation {
            interval_coverage: inside as f64 / predicted.len().min(measured.len()) as f64,
            errors: Errors::of(&predicted, measured),
            noise_floor_rmspe: halves.map(|[first, second]| rmspe(second, first)),
        }
    }
}

impl LatencyTable {
    /// What predicts a percentile above the median.
    ///
    /// # Errors
    /// A percentile that was not measured.
    pub fn tail(&self, percentile: f64) -> Result<&Tail> {
        self.tails.iter().find(|tail| same(tail.percentile, percentile)).ok_or_else(|| {
            let tails = self.tails.iter().map(|tail| tail.percentile);
            Error::Percentile {
                asked: percentile,
                known: std::iter::once(MEDIAN).chain(tails).collect(),
            }
        })
    }

    /// A percentile of a network's latency; 50 is the median's own prediction.
    ///
    /// # Errors
    /// A block without an entry, a percentile that was not measured.
    pub fn predict_percentile(&self, network: &Network, percentile: f64) -> Result<Latency> {
        self.latency_at(self.predict(network)?.median_s, percentile)
    }

    /// A percentile of the latency whose median is `median_s`, with that percentile's interval: [`Latency::median_s`]
    /// holds the predicted percentile. It rises with the median.
    ///
    /// # Errors
    /// A percentile that was not measured.
    pub fn latency_at(&self, median_s: f64, percentile: f64) -> Result<Latency> {
        if same(percentile, MEDIAN) {
            return Ok(self.latency(median_s));
        }
        let tail = self.tail(percentile)?;
        Ok(self.around(tail.correction.at(median_s), tail.interval))
    }
}

fn same(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::table::tests::table;
    use netfit_spaces::Space;

    /// Percentiles on `1e-4 + 1.2 * median` but for the first, which is an outlier of `outlier`.
    pub(crate) fn tail(percentile: f64, medians: &[f64], outlier: f64) -> Tail {
        let mut measured: Vec<f64> = medians.iter().map(|median| 1e-4 + 1.2 * median).collect();
        measured[0] *= outlier;
        Tail::fit(percentile, medians, &measured).unwrap()
    }

    fn medians(networks: usize) -> Vec<f64> {
        (0..networks).map(|i| 1e-3 + 1e-4 * i as f64).collect()
    }

    #[test]
    fn a_planted_tail_is_recovered_in_spite_of_an_outlier() {
        let tail = tail(95.0, &medians(40), 1.5);
        assert!((tail.correction.intercept_s / 1e-4 - 1.0).abs() < 1e-3, "{tail:?}");
        assert!((tail.correction.slope / 1.2 - 1.0).abs() < 1e-3, "{tail:?}");
        assert!(tail.interval < 1e-3 && tail.errors.networks == 40, "{tail:?}");
        assert!((tail.errors.within_2 - 39.0 / 40.0).abs() < 1e-12);
    }

    #[test]
    fn other_networks_judge_it_beside_their_own_noise() {
        let tail = Tail { interval: 0.015, ..tail(99.0, &medians(20), 1.0) };
        let x = [1e-3, 2e-3];
        let first: Vec<f64> = x.iter().map(|&x| tail.correction.at(x)).collect();
        let second = [1.02 * first[0], 1.06 * first[1]];
        let truth = [1.01 * first[0], 1.03 * first[1]];
        let judged = tail.judge(&x, &truth, Some([&first, &second]));
        // Truths are 1 % and 3 % above the prediction; the halves 2 % and 6 % apart.
        let squares = (0.01_f64 / 1.01).powi(2) + (0.03_f64 / 1.03).powi(2);
        assert!((judged.errors.rmspe - (squares / 2.0).sqrt()).abs() < 1e-9);
        assert!((judged.noise_floor_rmspe.unwrap() - 0.002_f64.sqrt()).abs() < 1e-9);
        assert!((judged.interval_coverage - 0.5).abs() < 1e-12);
        let alone = tail.judge(&x, &first, None);
        assert!(alone.errors.rmspe < 1e-12 && alone.noise_floor_rmspe.is_none());
    }

    #[test]
    fn a_table_predicts_the_percentiles_it_knows() {
        let mut table = table();
        let network = Space::preset("ofa-28").unwrap();
        let network = network.network(&network.smallest());
        let median = table.predict(&network).unwrap();
        table.tails = vec![Tail { interval: 0.1, ..tail(95.0, &medians(20), 1.0) }];
        assert_eq!(table.predict_percentile(&network, 50.0).unwrap(), median);
        let p95 = table.predict_percentile(&network, 95.0).unwrap();
        let expected = 1e-4 + 1.2 * median.median_s;
        assert!((p95.median_s / expected - 1.0).abs() < 1e-9);
        assert!((p95.low_s / (0.9 * expected) - 1.0).abs() < 1e-9);
        assert!((p95.high_s / (1.1 * expected) - 1.0).abs() < 1e-9);
        assert!((p95.relative / (expected / 1e-4) - 1.0).abs() < 1e-9);
        let message = table.predict_percentile(&network, 99.0).unwrap_err().to_string();
        let start = "no percentile 99 in the latency table, it has 50 and 95; hint: profile again";
        assert!(message.starts_with(start), "{message}");
    }

    #[test]
    fn what_is_no_tail_is_refused() {
        let x = medians(20);
        for percentile in [50.0, 100.0, f64::NAN] {
            let message = Tail::fit(percentile, &x, &x).unwrap_err().to_string();
            assert!(message.contains("more than 50 and less than 100"), "{message}");
        }
        let message = |x: &[f64], y: &[f64]| Tail::fit(95.0, x, y).unwrap_err().to_string();
        assert!(message(&x[1..], &x[..18]).contains("at least 19 networks, found 18"));
        let falling: Vec<f64> = x.iter().rev().copied().collect();
        assert!(message(&x, &falling).contains("does not rise"));
        let mut dead = x.clone();
        dead[3] = f64::NAN;
        assert!(message(&x, &dead).contains("expected positive times"));
    }
}
