//! Targets by rank, and the way back to accuracies.

use serde::{Deserialize, Serialize};

/// What a member of a predictor is fitted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The accuracies themselves.
    Accuracy,
    /// Ranks, spread evenly.
    Rank,
    /// The normal distribution's quantiles at the ranks.
    NormalScore,
}

impl Target {
    /// The targets of known accuracies. Ranks and scores have mean 0 and a variance of about 1, and equal accuracies
    /// have equal ones.
    pub(crate) fn of(self, accuracies: &[f64]) -> Vec<f64> {
        match self {
            Self::Accuracy => accuracies.to_vec(),
            // A uniform distribution's standard deviation is its width over the root of 12.
            Self::Rank => {
                shares(accuracies).into_iter().map(|p| (p - 0.5) * 12.0_f64.sqrt()).collect()
            }
            Self::NormalScore => shares(accuracies).into_iter().map(normal_quantile).collect(),
        }
    }
}

/// The share of accuracies below each one, half of its equals counted: above 0 and below 1.
fn shares(accuracies: &[f64]) -> Vec<f64> {
    let mut sorted = accuracies.to_vec();
    sorted.sort_by(f64::total_cmp);
    let share = |accuracy: &f64| {
        let below = sorted.partition_point(|other| other < accuracy);
        let through = sorted.partition_point(|other| other <= accuracy);
        (below + through) as f64 / (2 * sorted.len()) as f64
    };
    accuracies.iter().map(share).collect()
}

/// The standard normal distribution's quantile, by bisection.
fn normal_quantile(share: f64) -> f64 {
    let (mut low, mut high) = (-10.0, 10.0);
    for _ in 0..60 {
        let middle: f64 = 0.5 * (low + high);
        let below = 0.5 * libm::erfc(-middle / std::f64::consts::SQRT_2);
        if below < share { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// A rising function from scores to accuracies: linear between the training networks, and beyond them with the slope
/// of the whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Scale {
    /// `[score, accuracy]`, both ascending; at least two.
    knots: Vec<[f64; 2]>,
}

impl Scale {
    /// From the scores of known accuracies, which rise with them; not all accuracies are equal.
    pub(crate) fn new(scores: &[f64], accuracies: &[f64]) -> Self {
        let mut knots: Vec<[f64; 2]> =
            scores.iter().zip(accuracies).map(|(&score, &accuracy)| [score, accuracy]).collect();
        knots.sort_by(|a, b| a[1].total_cmp(&b[1]));
        knots.dedup_by(|later, earlier| later[1] <= earlier[1] || later[0] <= earlier[0]);
        Self { knots }
    }

    /// Whether it is one: what a file holds may be anything.
    pub(crate) fn is_sound(&self) -> bool {
        let rising = |pair: &[[f64; 2]]| pair[0][0] < pair[1][0] && pair[0][1] < pair[1][1];
        let finite = self.knots.iter().flatten().all(|value| value.is_finite());
        self.knots.len() >= 2 && finite && self.knots.windows(2).all(rising)
    }

    pub(crate) fn accuracy(&self, score: f64) -> f64 {
        let last = self.knots.len() - 1;
        let (from, to) = match self.knots.partition_point(|knot| knot[0] <= score) {
            0 => return line(self.knots[0], self.knots[last], self.knots[0], score),
            past if past > last => {
                return line(self.knots[0], self.knots[last], self.knots[last], score);
            }
            at => (self.knots[at - 1], self.knots[at]),
        };
        line(from, to, from, score)
    }
}

/// The line through `origin` with the slope from `a` to `b`.
fn line(a: [f64; 2], b: [f64; 2], origin: [f64; 2], score: f64) -> f64 {
    origin[1] + (b[1] - a[1]) / (b[0] - a[0]) * (score - origin[0])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
    }

    #[test]
    fn targets_follow_ranks_and_equals_are_equal() {
        let accuracies = [0.7, 0.2, 0.7, 0.9];
        let ranks = Target::Rank.of(&accuracies);
        // Shares 1/2, 1/8, 1/2, 7/8.
        close(&ranks, &[0.0, -1.29904, 0.0, 1.29904]);
        // The quantile at 7/8 is 1.15035.
        close(&Target::NormalScore.of(&accuracies), &[0.0, -1.15035, 0.0, 1.15035]);
        close(&Target::Accuracy.of(&accuracies), &accuracies);
    }

    #[test]
    fn scores_lead_back_to_accuracies_and_rise_everywhere() {
        let accuracies = [0.7, 0.2, 0.7, 0.9];
        let scores = Target::Rank.of(&accuracies);
        let scale = Scale::new(&scores, &accuracies);
        assert!(scale.is_sound());
        let back: Vec<f64> = scores.iter().map(|&score| scale.accuracy(score)).collect();
        close(&back, &accuracies);
        // Half-way between two networks, and beyond the last by the whole's slope 0.7 / 2.59808.
        close(&[scale.accuracy(-0.64952), scale.accuracy(2.29904)], &[0.45, 1.16943]);
        let line: Vec<f64> = (-40..40).map(|at| scale.accuracy(f64::from(at) / 10.0)).collect();
        assert!(line.windows(2).all(|pair| pair[0] < pair[1]), "{line:?}");
    }

    #[test]
    fn what_does_not_rise_is_no_scale() {
        for knots in
            [vec![[0.0, 1.0]], vec![[0.0, 1.0], [1.0, 1.0]], vec![[0.0, 0.0], [1.0, f64::NAN]]]
        {
            assert!(!Scale { knots }.is_sound());
        }
    }
}
