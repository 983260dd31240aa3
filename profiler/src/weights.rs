//! How much each process counts: machines are not equally quiet all the time.

use std::collections::BTreeMap;

/// How often weights and means are found from each other.
const PASSES: usize = 3;

/// One weight for each process, from the logarithms of its models' times by model: the inverse of the mean square of how
/// far they lie from what the other processes say. A process is never compared with itself, so none gains by agreeing
/// with its own noise; of two processes neither counts more.
pub(crate) fn weights(processes: &[BTreeMap<usize, f64>]) -> Vec<f64> {
    let mut weights = vec![1.0; processes.len()];
    for _ in 0..PASSES {
        weights = (0..processes.len())
            .map(|process| apart(processes, &weights, process).map_or(1.0, |apart| 1.0 / apart))
            .collect();
    }
    weights
}

/// The mean square distance of a process's times from the weighted means of the others; none where nobody else has its
/// models, or all agree to the last digit.
fn apart(processes: &[BTreeMap<usize, f64>], weights: &[f64], process: usize) -> Option<f64> {
    let mut squares = Vec::new();
    for (model, level) in &processes[process] {
        let (mut sum, mut total) = (0.0, 0.0);
        for (other, levels) in processes.iter().enumerate().filter(|(other, _)| *other != process) {
            if let Some(known) = levels.get(model) {
                sum += weights[other] * known;
                total += weights[other];
            }
        }
        if total > 0.0 {
            squares.push((level - sum / total).powi(2));
        }
    }
    let mean = squares.iter().sum::<f64>() / squares.len().max(1) as f64;
    (mean > 0.0).then_some(mean)
}

#[cfg(test)]
mod tests {
    use netfit_spaces::Random;

    use super::*;

    /// Processes with noise of these standard deviations, 200 models each.
    fn noisy(deviations: &[f64]) -> Vec<BTreeMap<usize, f64>> {
        let mut random = Random::new(3, "processes");
        let process =
            |deviation: &f64| (0..200).map(|model| (model, deviation * random.normal())).collect();
        deviations.iter().map(process).collect()
    }

    #[test]
    fn noisy_processes_count_less_and_the_mean_is_closer() {
        let processes = noisy(&[0.01, 0.01, 0.03, 0.01, 0.01, 0.04]);
        let weights = weights(&processes);
        let largest = weights.iter().copied().fold(0.0, f64::max);
        let shares: Vec<f64> = weights.iter().map(|weight| weight / largest).collect();
        for (process, share) in shares.iter().enumerate() {
            // The inverse squares of 0.03 and 0.04 are 9 and 16 times smaller; the others' own noise lessens that a little.
            let noisy = process == 2 || process == 5;
            assert!(if noisy { *share < 0.2 } else { *share > 0.7 }, "{shares:?}");
        }
        let error = |weights: &[f64]| {
            let total: f64 = weights.iter().sum();
            let mean = |model: usize| {
                processes.iter().zip(weights).map(|(p, w)| w * p[&model]).sum::<f64>() / total
            };
            (0..200).map(|model| mean(model).powi(2)).sum::<f64>()
        };
        assert!(error(&weights) < 0.4 * error(&[1.0; 6]), "less than the half of the variance");
    }

    #[test]
    fn one_two_or_equal_processes_count_alike() {
        for count in [1, 2] {
            let weights = weights(&noisy(&[0.01, 0.05][..count]));
            assert!(weights.iter().all(|weight| (weight / weights[0] - 1.0).abs() < 1e-9));
        }
        let same = vec![BTreeMap::from([(0, 1.5), (1, 2.0)]); 3];
        assert!(weights(&same).iter().all(|weight| (weight - 1.0).abs() < 1e-12));
        // Nobody else has its model.
        let alone = [BTreeMap::from([(0, 1.0)]), BTreeMap::from([(1, 1.0)])];
        assert!(weights(&alone).iter().all(|weight| (weight - 1.0).abs() < 1e-12));
    }
}
