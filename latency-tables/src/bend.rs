//! Latencies that rise faster, or more slowly, than the sums of their blocks' times.

use serde::{Deserialize, Serialize};

use crate::{
    median,
    regression::{self, row, without_one},
};

/// Turns of the fit at most.
const TURNS: usize = 50;
/// Relative change of the sums from turn to turn below which it is over.
const SETTLED: f64 = 1e-9;

/// `x + strength * (x - middle_s)^2 / middle_s` from `least_s` to `most_s`; beyond these it goes on straight, so that it
/// rises everywhere where it rises at both.
///
/// Where networks outgrow a cache, each further weight makes more of the others fetch theirs anew, and none of the blocks
/// by itself shows it: the largest networks take longer than their blocks say, and so do the smallest than a line through
/// all of them says.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bend {
    /// Relative change of the slope from `middle_s` to twice as much, halved.
    pub strength: f64,
    /// The median latency of the calibration networks.
    pub middle_s: f64,
    /// The sum of the fastest calibration network.
    pub least_s: f64,
    /// The sum of the slowest one.
    pub most_s: f64,
}

impl Bend {
    /// The latency of a network with this sum, both in seconds.
    pub fn at(&self, sum_s: f64) -> f64 {
        let inside = self.inside(sum_s);
        let away = inside - self.middle_s;
        let bent = inside + self.strength * away.powi(2) / self.middle_s;
        bent + self.slope(inside) * (sum_s - inside)
    }

    /// Its derivative at this sum.
    pub fn slope(&self, sum_s: f64) -> f64 {
        1.0 + 2.0 * self.strength * (self.inside(sum_s) - self.middle_s) / self.middle_s
    }

    /// The sum that has this latency.
    pub fn sum_of(&self, latency_s: f64) -> f64 {
        let inside = latency_s.max(self.at(self.least_s)).min(self.at(self.most_s));
        let away = inside - self.middle_s;
        // The root next to 0, in the form that does not cancel.
        let root = (1.0 + 4.0 * self.strength * away / self.middle_s).max(0.0).sqrt();
        let sum_s = self.middle_s + 2.0 * away / (1.0 + root);
        sum_s + (latency_s - inside) / self.slope(sum_s)
    }

    pub(crate) fn rises(&self) -> bool {
        self.slope(self.least_s) > 0.0 && self.slope(self.most_s) > 0.0
    }

    fn inside(&self, sum_s: f64) -> f64 {
        sum_s.max(self.least_s).min(self.most_s)
    }
}

/// Coefficients of the sum, and its bend, of the least relative errors, robust to outliers: the linear coefficients and the
/// strength for the quadratic term of the turn before, until nothing changes. None where they are not determined.
pub(crate) fn fit(columns: &[&[f64]], y: &[f64]) -> Option<(Vec<f64>, Bend)> {
    let middle_s = median(y);
    let sums = |coefficients: &[f64]| -> Vec<f64> {
        (0..y.len()).map(|i| row(columns, coefficients, i)).collect()
    };
    let mut before = sums(&regression::fit(columns, y)?);
    for _ in 0..TURNS {
        let bow: Vec<f64> = before.iter().map(|x| (x - middle_s).powi(2) / middle_s).collect();
        let mut found = regression::fit(&[columns, &[&bow]].concat(), y)?;
        let strength = found.pop()?;
        let now = sums(&found);
        let changes = now.iter().zip(&before).map(|(now, before)| (now - before).abs());
        if changes.fold(0.0, f64::max) < SETTLED * middle_s {
            let least_s = now.iter().copied().fold(f64::INFINITY, f64::min);
            let most_s = now.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            return Some((found, Bend { strength, middle_s, least_s, most_s }));
        }
        before = now;
    }
    None
}

/// The prediction of each row by the fit to all others.
pub(crate) fn leave_one_out(columns: &[&[f64]], y: &[f64]) -> Option<Vec<f64>> {
    let fits = without_one(columns, y, fit)?.into_iter().enumerate();
    Some(fits.map(|(i, (coefficients, bend))| bend.at(row(columns, &coefficients, i))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEND: Bend = Bend { strength: 0.4, middle_s: 5e-4, least_s: 4e-4, most_s: 8e-4 };

    #[test]
    fn a_bend_goes_on_straight_and_is_inverted() {
        assert!((BEND.at(5e-4) - 5e-4).abs() < 1e-18);
        assert!((BEND.at(6e-4) - (6e-4 + 0.4 * 1e-8 / 5e-4)).abs() < 1e-15);
        for (from, to) in [(1e-4, 4e-4), (8e-4, 2e-3)] {
            let straight = (BEND.at(to) - BEND.at(from)) / (to - from);
            assert!((straight / BEND.slope(from) - 1.0).abs() < 1e-9);
        }
        for step in 1..200 {
            let sum_s = f64::from(step) * 1e-5;
            assert!((BEND.sum_of(BEND.at(sum_s)) / sum_s - 1.0).abs() < 1e-9, "{sum_s}");
            assert!(BEND.at(sum_s) > BEND.at(sum_s - 1e-5));
        }
        assert!(BEND.rises() && !Bend { strength: 3.0, ..BEND }.rises());
    }

    #[test]
    fn a_planted_bend_is_found_among_outliers() {
        let ones = vec![1.0; 30];
        let seconds: Vec<f64> = (0..30).map(|i| 1e-3 + 1e-5 * f64::from(i)).collect();
        let parameters: Vec<f64> = (0..30).map(|i| f64::from(i * i % 11)).collect();
        let sum = |i: usize| -2e-4 + 0.6 * seconds[i] + 1e-5 * parameters[i];
        let mut y: Vec<f64> = (0..30).map(|i| BEND.at(sum(i))).collect();
        let exact = y.clone();
        y[7] *= 1.3;
        y[21] *= 1.5;
        let columns = [&ones[..], &seconds, &parameters];
        let (found, bend) = fit(&columns, &y).unwrap();
        let predicted = (0..30).map(|i| bend.at(row(&columns, &found, i)));
        for (predicted, exact) in predicted.zip(exact) {
            assert!((predicted / exact - 1.0).abs() < 2e-3, "{predicted} {exact}");
        }
        assert!(bend.strength > 0.3, "{bend:?}");
    }

    #[test]
    fn what_is_straight_has_no_bend() {
        let ones = vec![1.0; 20];
        let x: Vec<f64> = (1..=20).map(f64::from).collect();
        let y: Vec<f64> = x.iter().map(|x| 3.0 + 2.0 * x).collect();
        let (_, bend) = fit(&[&ones, &x], &y).unwrap();
        assert!(bend.strength.abs() < 1e-9, "{bend:?}");
        assert_eq!(fit(&[&ones], &[2.0; 20]), None);
    }
}
