//! How fast a process is: what turns its seconds into those of the average process of a table's measurements.

use netfit_latency_tables::{Affine, median, rmspe};

/// An affine speed has to leave less than this share of a proportional one's error on the anchors.
const PARSIMONY: f64 = 0.8;

/// `seconds here = extra_s + slower * normalised seconds`.
///
/// Mostly a process is slower by a factor. Where memory has become slow, all networks of a space lose about the same time,
/// that of fetching the weights which they have in common, and a factor would be wrong for the fast and the slow ones.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Speed {
    extra_s: f64,
    slower: f64,
}

impl Speed {
    pub(crate) fn proportional(slower: f64) -> Self {
        Self { extra_s: 0.0, slower }
    }

    /// From networks whose normalised seconds are known to those that they take here, pair by pair. Leaving each out
    /// in turn decides on the form.
    pub(crate) fn of(known_s: &[f64], here_s: &[f64]) -> Self {
        let proportional = |known: &[f64], here: &[f64]| {
            let ratios: Vec<f64> =
                here.iter().zip(known).map(|(here, known)| here / known).collect();
            Some(Self::proportional(median(&ratios)))
        };
        let affine = |known: &[f64], here: &[f64]| {
            let line = Affine::fit(known, here).filter(|line| line.slope > 0.0)?;
            Some(Self { extra_s: line.intercept_s, slower: line.slope })
        };
        let simple = proportional(known_s, here_s).unwrap_or(Self::proportional(1.0));
        let bound = PARSIMONY * left_out(&proportional, known_s, here_s);
        match affine(known_s, here_s) {
            Some(line) if left_out(&affine, known_s, here_s) < bound => line,
            _ => simple,
        }
    }

    /// Normalised seconds of what takes `seconds` here.
    pub(crate) fn normalised(self, seconds: f64) -> f64 {
        (seconds - self.extra_s) / self.slower
    }
}

/// The same speeds times a common factor, with which the networks that are known have their known seconds on average over
/// all processes. Noise makes times longer more often than shorter, so the median that a speed comes from lies below the
/// mean, and everything measured beside it would seem slower than it is.
pub(crate) fn centred(speeds: &[Speed], known_s: &[f64], processes_s: &[Vec<f64>]) -> Vec<Speed> {
    let mut ratios = Vec::new();
    for (speed, here_s) in speeds.iter().zip(processes_s) {
        let ratio = |(here, known): (&f64, &f64)| speed.normalised(*here) / known;
        ratios.extend(here_s.iter().zip(known_s).map(ratio));
    }
    let common = ratios.iter().sum::<f64>() / ratios.len().max(1) as f64;
    let scaled = |speed: &Speed| Speed { slower: speed.slower * common, ..*speed };
    speeds.iter().map(scaled).collect()
}

/// The error on each pair of what the others tell; infinite where they do not tell.
fn left_out(
    fit: &impl Fn(&[f64], &[f64]) -> Option<Speed>,
    known_s: &[f64],
    here_s: &[f64],
) -> f64 {
    let without = |values: &[f64], at: usize| [&values[..at], &values[at + 1..]].concat();
    let predicted: Option<Vec<f64>> = (0..known_s.len())
        .map(|at| {
            let speed = fit(&without(known_s, at), &without(here_s, at))?;
            Some(speed.extra_s + speed.slower * known_s[at])
        })
        .collect();
    predicted.map_or(f64::INFINITY, |predicted| rmspe(&predicted, here_s))
}

/// The speeds of processes of which nothing is known but the logarithmic levels of models that they share, each
/// process's in the same order: factors around the average process.
pub(crate) fn between(processes: &[Vec<f64>]) -> Vec<Speed> {
    let shared = processes.first().map_or(0, Vec::len);
    let mean = |model: usize| {
        processes.iter().map(|levels| levels[model]).sum::<f64>() / processes.len() as f64
    };
    let apart = |levels: &Vec<f64>| {
        median(&(0..shared).map(|model| levels[model] - mean(model)).collect::<Vec<f64>>())
    };
    let shifts: Vec<f64> = processes.iter().map(apart).collect();
    let middle = shifts.iter().sum::<f64>() / shifts.len() as f64;
    shifts.iter().map(|shift| Speed::proportional((shift - middle).exp())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processes_of_different_speed_agree_on_ratios() {
        let speeds = between(&[vec![1.0, 2.0, 3.0, 4.0, 5.0], vec![1.2, 2.2, 3.2, 4.2, 5.9]]);
        let ratio = speeds[1].slower / speeds[0].slower;
        assert!((ratio.ln() - 0.2).abs() < 1e-9, "{speeds:?}");
        assert!((speeds[0].slower * speeds[1].slower - 1.0).abs() < 1e-9, "{speeds:?}");
    }

    #[test]
    fn a_factor_is_found_among_outliers() {
        let known = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let here = [1.1, 2.2, 3.3, 4.4, 5.5, 9.9];
        let speed = Speed::of(&known, &here);
        assert!((speed.normalised(1.1) - 1.0).abs() < 1e-9, "{speed:?}");
    }

    /// In every process another one of five networks is 10 % slower than it should be.
    #[test]
    fn networks_that_are_known_keep_their_seconds_on_average() {
        let known = [1.0, 2.0, 3.0, 4.0, 5.0];
        let here = |slow: usize| -> Vec<f64> {
            let factor = |network: usize| if network == slow { 1.1 } else { 1.0 };
            known.iter().enumerate().map(|(network, known)| factor(network) * known).collect()
        };
        let processes: Vec<Vec<f64>> = (0..5).map(here).collect();
        let speeds: Vec<Speed> = processes.iter().map(|here| Speed::of(&known, here)).collect();
        let centred = centred(&speeds, &known, &processes);
        for (network, known) in known.iter().enumerate() {
            let normalised =
                centred.iter().zip(&processes).map(|(speed, here)| speed.normalised(here[network]));
            assert!((normalised.sum::<f64>() / 5.0 / known - 1.0).abs() < 1e-9);
        }
    }

    #[test]
    fn slow_memory_costs_all_networks_the_same() {
        let known: [f64; 6] = [7e-3, 8e-3, 9e-3, 10e-3, 11e-3, 12e-3];
        let here = known.map(|known| 0.9e-3 + 1.02 * known);
        let speed = Speed::of(&known, &here);
        assert!(
            (speed.extra_s / 0.9e-3 - 1.0).abs() < 1e-6 && (speed.slower / 1.02 - 1.0).abs() < 1e-6
        );
        assert!((speed.normalised(here[2]) - known[2]).abs() < 1e-12);
    }

    #[test]
    fn networks_of_one_latency_tell_a_factor_only() {
        let speed = Speed::of(&[2.0; 4], &[3.0; 4]);
        assert_eq!(speed, Speed::proportional(1.5));
    }
}
