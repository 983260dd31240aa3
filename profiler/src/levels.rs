//! How long each model takes on a machine whose speed drifts: every burst is judged by the bursts around it.
//!
//! The model is `log time = level of the model + drift of the moment + noise`. Each round visits all models in an order
//! drawn anew, so what neighbouring bursts have in common, whatever their models, is the machine's. Both parts are
//! estimated in turn, robustly: medians for a first guess, trimmed means from then on (median polish; Tukey,
//! *Exploratory Data Analysis*, 1977, with a smooth second factor).

use netfit_latency_tables::{median, trimmed_mean};

/// Bursts on either side that tell the drift of a moment.
const WINDOW: usize = 4;
/// Turns of the estimation.
const TURNS: usize = 8;
/// Share that the trimmed means leave out at each end.
const CUT: f64 = 0.25;
/// Logarithm of a change of speed that is a step, not noise: a burst then has the drift of the side that it belongs to.
const STEP: f64 = 0.15;

/// One burst in the order of time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// The model's index, from 0.
    pub(crate) model: usize,
    /// Bursts of one launch follow each other in one process; drift is not carried over to the next.
    pub(crate) launch: usize,
    /// Logarithm of the burst's seconds.
    pub(crate) log_s: f64,
}

/// The parts that the times of bursts were split into.
#[derive(Clone, Debug)]
pub(crate) struct Levels {
    /// Logarithm of each model's seconds; NaN for a model without a burst.
    pub(crate) models: Vec<f64>,
    /// For each burst: logarithm of how much slower the machine was than in the middle.
    pub(crate) drifts: Vec<f64>,
    /// For each burst: what is left.
    pub(crate) residuals: Vec<f64>,
}

impl Levels {
    /// Splits the times of bursts of `models` models.
    pub(crate) fn of(moments: &[Moment], models: usize) -> Self {
        let mut split = Self {
            models: vec![f64::NAN; models],
            drifts: vec![0.0; moments.len()],
            residuals: vec![0.0; moments.len()],
        };
        for turn in 0..TURNS {
            let middle = |values: &[f64]| {
                if turn == 0 { median(values) } else { trimmed_mean(values, CUT) }
            };
            let mut values = vec![Vec::new(); models];
            for (moment, drift) in moments.iter().zip(&split.drifts) {
                values[moment.model].push(moment.log_s - drift);
            }
            for (level, values) in split.models.iter_mut().zip(&values) {
                if !values.is_empty() {
                    *level = middle(values);
                }
            }
            let left: Vec<f64> =
                moments.iter().map(|moment| moment.log_s - split.models[moment.model]).collect();
            split.drifts =
                (0..moments.len()).map(|at| drift(moments, &left, at, &middle)).collect();
            split.centre(&left);
        }
        split
    }

    /// Moves what all drifts have in common into the levels, and takes stock of what is left.
    fn centre(&mut self, left: &[f64]) {
        let common = if self.drifts.is_empty() { 0.0 } else { median(&self.drifts) };
        self.models.iter_mut().for_each(|level| *level += common);
        self.drifts.iter_mut().for_each(|drift| *drift -= common);
        for (at, residual) in self.residuals.iter_mut().enumerate() {
            *residual = left[at] - common - self.drifts[at];
        }
    }
}

/// The drift at one burst, by what is `left` of those around it in the same launch and without itself; 0 where it is alone.
fn drift(moments: &[Moment], left: &[f64], at: usize, middle: &dyn Fn(&[f64]) -> f64) -> f64 {
    let near = |others: std::ops::Range<usize>| -> Vec<f64> {
        let same = others.filter(|&other| moments[other].launch == moments[at].launch);
        same.map(|other| left[other]).collect()
    };
    let before = near(at.saturating_sub(WINDOW)..at);
    let after = near(at + 1..(at + 1 + WINDOW).min(left.len()));
    let both = [&before[..], &after].concat();
    if both.is_empty() {
        return 0.0;
    }
    if !before.is_empty() && !after.is_empty() {
        let sides = [middle(&before), middle(&after)];
        if (sides[0] - sides[1]).abs() > STEP {
            let distance = |side: f64| (side - left[at]).abs();
            return if distance(sides[0]) < distance(sides[1]) { sides[0] } else { sides[1] };
        }
    }
    middle(&both)
}

#[cfg(test)]
mod tests {
    use netfit_spaces::Random;

    use super::*;

    /// Rounds over models of 1, 2, 3 ... ms in random order, with a drift and noise.
    fn moments(rounds: usize, drift: impl Fn(usize) -> f64, noise: f64) -> Vec<Moment> {
        let mut random = Random::new(1, "moments");
        let mut moments = Vec::new();
        for _ in 0..rounds {
            let mut order: Vec<usize> = (0..12).collect();
            random.shuffle(&mut order);
            for model in order {
                let log_s = (1e-3 * (model + 1) as f64).ln();
                let log_s = log_s + drift(moments.len()) + noise * random.normal();
                moments.push(Moment { model, launch: 0, log_s });
            }
        }
        moments
    }

    /// Largest error of a level against that of model 0.
    fn error(split: &Levels) -> f64 {
        let ratio = |model: usize| (split.models[model] - split.models[0]).exp();
        (0..12).map(|model| (ratio(model) / (model + 1) as f64 - 1.0).abs()).fold(0.0, f64::max)
    }

    #[test]
    fn a_steady_machine_has_exact_levels_and_no_drift() {
        let split = Levels::of(&moments(5, |_| 0.0, 0.0), 13);
        assert!(error(&split) < 1e-12 && split.models[12].is_nan());
        assert!(split.drifts.iter().chain(&split.residuals).all(|value| value.abs() < 1e-12));
    }

    #[test]
    fn drift_is_taken_away_and_told() {
        let slow = |at: usize| 0.2 * (at as f64 / 40.0).sin();
        let plain = moments(30, slow, 0.01);
        let split = Levels::of(&plain, 12);
        assert!(error(&split) < 0.012, "{}", error(&split));
        let middle = median(&(0..plain.len()).map(slow).collect::<Vec<_>>());
        let wrong = |at: usize| (split.drifts[at] - (slow(at) - middle)).abs();
        assert!(
            (10..350).all(|at| wrong(at) < 0.03),
            "{}",
            (10..350).map(wrong).fold(0.0, f64::max)
        );
    }

    #[test]
    fn a_step_is_told_to_the_burst() {
        for step in 60..72 {
            let moments = moments(10, |at| if at < step { 0.0 } else { 0.6 }, 0.01);
            let split = Levels::of(&moments, 12);
            assert!(error(&split) < 0.02, "{}", error(&split));
            let apart = |at: usize| split.drifts[at] - split.drifts[at - 1];
            assert!((apart(step) - 0.6).abs() < 0.05, "{}", apart(step));
            assert!(split.residuals.iter().all(|residual| residual.abs() < 0.05));
        }
    }

    #[test]
    fn one_burst_out_of_line_moves_nothing_and_stands_out() {
        let mut moments = moments(10, |_| 0.0, 0.0);
        moments[57].log_s += 0.5;
        let split = Levels::of(&moments, 12);
        assert!(error(&split) < 1e-9);
        assert!((split.residuals[57] - 0.5).abs() < 1e-9);
    }

    #[test]
    fn launches_of_different_speed_are_no_drift_of_their_neighbours() {
        let mut moments = moments(10, |at| if at < 60 { 0.0 } else { 0.3 }, 0.0);
        moments[60..].iter_mut().for_each(|moment| moment.launch = 1);
        let split = Levels::of(&moments, 12);
        assert!(error(&split) < 1e-9);
        assert!(split.residuals.iter().all(|residual| residual.abs() < 1e-9));
    }
}
