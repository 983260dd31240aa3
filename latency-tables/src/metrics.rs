//! Errors of predictions, and rank correlations.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

/// Root mean square of the relative errors `predicted / measured - 1`, a fraction of 1. NaN for no pairs.
pub fn rmspe(predicted: &[f64], measured: &[f64]) -> f64 {
    let squares: Vec<f64> =
        predicted.iter().zip(measured).map(|(p, m)| (p / m - 1.0).powi(2)).collect();
    (squares.iter().sum::<f64>() / squares.len() as f64).sqrt()
}

/// Share of pairs whose relative error is at most `q` (0.05: within 5 %). NaN for no pairs.
pub fn within(predicted: &[f64], measured: &[f64], q: f64) -> f64 {
    let inside = predicted.iter().zip(measured).filter(|(p, m)| (*p / *m - 1.0).abs() <= q).count();
    inside as f64 / predicted.len().min(measured.len()) as f64
}

/// Kendall's tau-b; 0 where a side is constant or there are fewer than two pairs.
pub fn kendall_tau(a: &[f64], b: &[f64]) -> f64 {
    let compare = |x: &f64, y: &f64| x.partial_cmp(y).unwrap_or(Ordering::Equal);
    match kendalls::tau_b_with_comparator(a, b, compare) {
        Ok((tau, _)) if tau.is_finite() && a.len() > 1 => tau,
        _ => 0.0,
    }
}

/// Spearman's rho: the correlation of mean ranks; 0 where a side is constant or there are fewer than two pairs.
pub fn spearman(a: &[f64], b: &[f64]) -> f64 {
    if a.len() != b.len() || a.len() < 2 {
        return 0.0;
    }
    let (a, b) = (ranks(a), ranks(b));
    let middle = (a.len() as f64 - 1.0) / 2.0;
    let product = |x: &[f64], y: &[f64]| -> f64 {
        x.iter().zip(y).map(|(x, y)| (x - middle) * (y - middle)).sum()
    };
    let scale = (product(&a, &a) * product(&b, &b)).sqrt();
    if scale > 0.0 { product(&a, &b) / scale } else { 0.0 }
}

/// Ranks from 0; equal values share their mean rank.
fn ranks(values: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut ranks = vec![0.0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let tied = order[start..]
            .iter()
            .take_while(|&&i| values[i].total_cmp(&values[order[start]]).is_eq());
        let end = start + tied.count().max(1);
        for &i in &order[start..end] {
            ranks[i] = (start + end - 1) as f64 / 2.0;
        }
        start = end;
    }
    ranks
}

/// How predictions compare with measurements; shares are fractions of 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Errors {
    /// How many networks were judged.
    pub networks: usize,
    /// Root mean square of the relative errors.
    pub rmspe: f64,
    /// Share of networks within 2 %.
    pub within_2: f64,
    /// Share of networks within 5 %.
    pub within_5: f64,
    /// Share of networks within 10 %.
    pub within_10: f64,
    /// Kendall's tau-b.
    pub kendall_tau: f64,
    /// Spearman's rho.
    pub spearman: f64,
}

impl Errors {
    /// The errors of `predicted` against `measured`, pair by pair.
    pub fn of(predicted: &[f64], measured: &[f64]) -> Self {
        Self {
            networks: predicted.len().min(measured.len()),
            rmspe: rmspe(predicted, measured),
            within_2: within(predicted, measured, 0.02),
            within_5: within(predicted, measured, 0.05),
            within_10: within(predicted, measured, 0.10),
            kendall_tau: kendall_tau(predicted, measured),
            spearman: spearman(predicted, measured),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relative_errors_are_of_the_measured_value() {
        let (predicted, measured) = ([1.1, 1.8, 4.0], [1.0, 2.0, 4.0]);
        assert!((rmspe(&predicted, &measured) - (0.02_f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!((within(&predicted, &measured, 0.05) - 1.0 / 3.0).abs() < 1e-12);
        assert!(rmspe(&[], &[]).is_nan());
    }

    #[test]
    fn ranks_agree_with_counts_by_hand() {
        // One of six pairs is discordant: tau = (5 - 1) / 6.
        let (a, b) = ([1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 2.0, 4.0]);
        assert!((kendall_tau(&a, &b) - 4.0 / 6.0).abs() < 1e-12);
        // rho = 1 - 6 * (0 + 1 + 1 + 0) / (4 * 15).
        assert!((spearman(&a, &b) - 0.8).abs() < 1e-12);
        assert!((spearman(&[1.0, 1.0, 2.0], &[5.0, 5.0, 7.0]) - 1.0).abs() < 1e-12);
    }

    #[test]
    #[allow(clippy::float_cmp)]
    fn constant_sides_have_no_rank_correlation() {
        assert_eq!(kendall_tau(&[1.0, 1.0], &[1.0, 2.0]), 0.0);
        assert_eq!(spearman(&[1.0, 1.0], &[1.0, 2.0]), 0.0);
    }
}
