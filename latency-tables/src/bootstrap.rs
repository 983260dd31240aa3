//! Bootstrap intervals of few values: over seeds, splits or networks.

use std::f64::consts::{FRAC_2_PI, TAU};

use netfit_spaces::Random;
use serde::Serialize;

use crate::{kendall_tau, quantile};

/// Standard deviations beyond which a normal tail is 0 in 64 bits.
const FAR: f64 = 30.0;
/// Resamples of an estimate by itself.
const RESAMPLES: usize = 10_000;

/// A statistic of samples, and the interval that resampling them gives.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Estimate {
    /// The statistic of all samples.
    pub value: f64,
    /// Its bootstrap interval; none of a single sample.
    pub interval: Option<[f64; 2]>,
}

impl Estimate {
    /// The mean of independent values; `level` is its interval's coverage, above 0 and below 1.
    ///
    /// Not a number where there are no values.
    pub fn mean(values: &[f64], level: f64) -> Self {
        let mean = |places: &[usize]| {
            places.iter().map(|&place| values[place]).sum::<f64>() / places.len() as f64
        };
        Bootstrap::new(values.len(), RESAMPLES, level, 0).estimate(mean)
    }

    /// Kendall's tau-b of pairs of values, with the interval that resampling the pairs gives.
    ///
    /// 0 where one of the two is constant, in a resample too: with few pairs the interval then reaches 0.
    pub fn rank_correlation(pairs: &[(f64, f64)], level: f64) -> Self {
        let tau = |places: &[usize]| {
            let (a, b): (Vec<f64>, Vec<f64>) = places.iter().map(|&place| pairs[place]).unzip();
            kendall_tau(&a, &b)
        };
        Bootstrap::new(pairs.len(), RESAMPLES, level, 0).estimate(tau)
    }
}

/// Samples drawn with replacement, once: every statistic is taken of the same draws, so what is paired by sample stays so.
///
/// The plain percentile interval of few samples is too narrow. Its tails are therefore taken at
/// `normal(-sqrt(n / (n - 1)) t)`, with `t` the quantile of Student's distribution of `n - 1` degrees of freedom, which
/// makes it as wide as Student's interval where the statistic is normal (the expanded percentile interval of Hesterberg,
/// "What Teachers Should Know About the Bootstrap", 2015).
#[derive(Clone, Debug)]
pub struct Bootstrap {
    /// Places of samples, `samples` for each resample.
    draws: Vec<u32>,
    samples: usize,
    /// What lies beyond either end.
    tail: f64,
}

impl Bootstrap {
    /// `level` is the coverage, above 0 and below 1; the draws follow from `seed`.
    pub fn new(samples: usize, resamples: usize, level: f64, seed: u64) -> Self {
        let mut random = Random::new(seed, "compare/bootstrap");
        let draws = (0..samples * resamples).map(|_| random.below(samples) as u32).collect();
        Self { draws, samples, tail: expanded_tail(level, samples) }
    }

    /// `statistic` of all samples, given their places, and its interval.
    pub fn estimate(&self, statistic: impl Fn(&[usize]) -> f64) -> Estimate {
        let all: Vec<usize> = (0..self.samples).collect();
        let interval = (self.samples > 1).then(|| {
            let mut places = Vec::with_capacity(self.samples);
            let drawn = self.draws.chunks(self.samples).map(|chunk| {
                places.clear();
                places.extend(chunk.iter().map(|&place| place as usize));
                statistic(&places)
            });
            let drawn: Vec<f64> = drawn.collect();
            [self.tail, 1.0 - self.tail].map(|share| quantile(&drawn, share))
        });
        Estimate { value: statistic(&all), interval }
    }
}

/// The share beyond either end of an interval of so many samples.
fn expanded_tail(level: f64, samples: usize) -> f64 {
    if samples < 2 {
        return 0.0;
    }
    let freedom = samples - 1;
    normal_beyond(student(level, freedom) * (samples as f64 / freedom as f64).sqrt())
}

/// The `t` with a share `level` of Student's distribution between `-t` and `t`.
fn student(level: f64, freedom: usize) -> f64 {
    let mut high = 1.0;
    while student_within(high, freedom) < level && high < f64::MAX / 4.0 {
        high *= 2.0;
    }
    let mut low = 0.0;
    for _ in 0..100 {
        let middle = f64::midpoint(low, high);
        let inside = student_within(middle, freedom) < level;
        *(if inside { &mut low } else { &mut high }) = middle;
    }
    high
}

/// Share of Student's distribution between `-t` and `t` (Abramowitz and Stegun, 26.7.3 and 26.7.4).
fn student_within(t: f64, freedom: usize) -> f64 {
    let angle = libm::atan(t / (freedom as f64).sqrt());
    let (sine, cosine) = libm::sincos(angle);
    let odd = freedom % 2;
    let (mut term, mut sum) = (if odd == 1 { cosine } else { 1.0 }, 0.0);
    for power in (odd..freedom.saturating_sub(1)).step_by(2) {
        sum += term;
        term *= cosine * cosine * (power + 1) as f64 / (power + 2) as f64;
    }
    if odd == 1 { FRAC_2_PI * (angle + sine * sum) } else { sine * sum }
}

/// Share of the normal distribution beyond `z >= 0` (Marsaglia's series, 2004).
fn normal_beyond(z: f64) -> f64 {
    if z >= FAR {
        return 0.0;
    }
    let (mut term, mut sum, mut odd) = (z, 0.0, 1.0);
    while term > sum * f64::EPSILON {
        sum += term;
        odd += 2.0;
        term *= z * z / odd;
    }
    (0.5 - sum * libm::exp(-z * z / 2.0) / TAU.sqrt()).max(0.0)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_by_itself_is_its_mean_or_tau() {
        let mean = Estimate::mean(&[0.25, 0.5, 0.75], 0.95);
        assert!((mean.value - 0.5).abs() < 1e-12);
        let [low, high] = mean.interval.unwrap();
        assert!(low < 0.3 && high > 0.7, "{low} {high}");
        assert_eq!(Estimate::mean(&[0.25], 0.95), Estimate { value: 0.25, interval: None });
        // Of the six pairs of four places one is turned.
        let pairs = [(1.0, 10.0), (2.0, 30.0), (3.0, 20.0), (4.0, 40.0)];
        let tau = Estimate::rank_correlation(&pairs, 0.95);
        assert!((tau.value - 4.0 / 6.0).abs() < 1e-12);
        assert!(tau.interval.unwrap()[0] < 0.0, "{tau:?}");
    }

    fn mean(values: &[f64]) -> impl Fn(&[usize]) -> f64 + '_ {
        |places| places.iter().map(|&place| values[place]).sum::<f64>() / places.len() as f64
    }

    #[test]
    fn quantiles_are_those_of_the_books() {
        for (freedom, t) in [(1, 12.706_205), (2, 4.302_653), (4, 2.776_445), (9, 2.262_157)] {
            assert!((student(0.95, freedom) - t).abs() < 1e-6, "{freedom}");
        }
        assert!((student(0.99, 199) - 2.600_760).abs() < 1e-5);
        assert!((normal_beyond(1.959_963_985) - 0.025).abs() < 1e-9);
        assert!((normal_beyond(3.090_232_306) - 0.001).abs() < 1e-9);
        assert!(normal_beyond(0.0) > 0.499_999 && normal_beyond(1e9) < 1e-300);
        // Of many seeds nothing is left to correct.
        assert!((expanded_tail(0.95, 100_000) - 0.025).abs() < 1e-5);
    }

    #[test]
    fn a_constant_is_a_point_and_one_seed_has_no_interval() {
        let bootstrap = Bootstrap::new(10, 1000, 0.95, 0);
        let constant = bootstrap.estimate(mean(&[0.1; 10]));
        assert_eq!(constant.interval, Some([constant.value; 2]));
        let one = Bootstrap::new(1, 1000, 0.95, 0).estimate(mean(&[0.1]));
        assert_eq!(one, Estimate { value: 0.1, interval: None });
    }

    /// Of two seeds, 0 and 1, a resample's mean is 0, 0.5 or 1, each end with probability 1/4; the tail is below that.
    #[test]
    fn two_seeds_span_their_whole_range() {
        let both = Bootstrap::new(2, 1000, 0.95, 3).estimate(mean(&[0.0, 1.0]));
        assert_eq!(both, Estimate { value: 0.5, interval: Some([0.0, 1.0]) });
    }

    #[test]
    fn the_same_seed_gives_the_same_interval() {
        let values: Vec<f64> = (0..8).map(|i| f64::from(i * i)).collect();
        let interval = |seed| Bootstrap::new(8, 500, 0.95, seed).estimate(mean(&values)).interval;
        assert_eq!(interval(1), interval(1));
        assert_ne!(interval(1), interval(2));
    }

    /// Means of 8 normal samples, 1,000 times: the plain percentile interval covers fewer than 90 %, the expanded one
    /// all but a few more than the 5 % that it claims.
    #[test]
    fn intervals_of_few_seeds_cover_nearly_what_they_claim() {
        let mut random = Random::new(0, "samples");
        let expanded = Bootstrap::new(8, 2000, 0.95, 0);
        let plain = Bootstrap { tail: 0.025, ..Bootstrap::new(8, 2000, 0.95, 0) };
        let mut covered = [0, 0];
        for _ in 0..1000 {
            let samples: Vec<f64> = (0..8).map(|_| random.normal()).collect();
            for (bootstrap, covered) in [&plain, &expanded].into_iter().zip(&mut covered) {
                let [low, high] = bootstrap.estimate(mean(&samples)).interval.unwrap();
                *covered += usize::from(low <= 0.0 && high >= 0.0);
            }
        }
        assert!(covered[0] < 900 && (910..980).contains(&covered[1]), "{covered:?}");
    }
}
