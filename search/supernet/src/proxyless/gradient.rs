//! Gradients of the architecture's parameters (Cai et al., ICLR 2019, sections 3.2 and 3.3).

use netfit_search::Baseline;

use super::architecture::Pair;

/// From gates to the logits of their softmax: `dL/dalpha_i = sum_j dL/dg_j p_j (delta_ij - p_i)`, which is
/// `p_i (dL/dg_i - sum_j p_j dL/dg_j)`.
pub(crate) fn to_alphas(gates: &[f64], p: &[f64]) -> Vec<f64> {
    let mean: f64 = gates.iter().zip(p).map(|(gate, p)| gate * p).sum();
    gates.iter().zip(p).map(|(gate, p)| p * (gate - mean)).collect()
}

/// The same over two candidates alone, whose probabilities are renormalised; 0 for all others (appendix of the paper;
/// `set_arch_param_grad` of the authors' code).
pub(crate) fn to_pair(gates: [f64; 2], p: &[f64], pair: Pair) -> Vec<f64> {
    let involved = pair.involved();
    let sum: f64 = involved.iter().map(|&option| p[option]).sum();
    let slopes = to_alphas(&gates, &involved.map(|option| p[option] / sum));
    let mut gradient = vec![0.0; p.len()];
    involved.iter().zip(slopes).for_each(|(&option, slope)| gradient[option] = slope);
    gradient
}

/// REINFORCE: descends `-E[R]`, by the mean over paths of `-(R - b) d ln p`, where `b` is the moving mean reward
/// before this update; the first update takes its own.
pub(crate) fn reinforce(
    paths: &[Vec<usize>],
    rewards: &[f64],
    probabilities: &[Vec<f64>],
    baseline: &mut Baseline,
) -> Vec<Vec<f64>> {
    let expected =
        baseline.value().unwrap_or_else(|| rewards.iter().sum::<f64>() / rewards.len() as f64);
    let mut gradient: Vec<Vec<f64>> = probabilities.iter().map(|p| vec![0.0; p.len()]).collect();
    for (path, reward) in paths.iter().zip(rewards) {
        let advantage = (reward - expected) / paths.len() as f64;
        for ((gradient, p), &chosen) in gradient.iter_mut().zip(probabilities).zip(path) {
            for (option, (slope, p)) in gradient.iter_mut().zip(p).enumerate() {
                *slope -= advantage * (f64::from(u8::from(option == chosen)) - p);
            }
        }
    }
    baseline.with(rewards);
    gradient
}

#[cfg(test)]
mod tests {
    use super::*;

    fn softmax(alphas: &[f64]) -> Vec<f64> {
        let sum: f64 = alphas.iter().map(|a| a.exp()).sum();
        alphas.iter().map(|a| a.exp() / sum).collect()
    }

    /// `L = sum_k w_k p_k(alpha)` by central differences.
    #[test]
    fn gates_reach_the_logits_by_the_derivative_of_the_softmax() {
        let (alphas, weights) = ([0.3, -0.2, 0.9], [1.5, -0.7, 0.2]);
        let loss = |alphas: &[f64]| {
            softmax(alphas).iter().zip(weights).map(|(p, weight)| p * weight).sum::<f64>()
        };
        let found = to_alphas(&weights, &softmax(&alphas));
        for (place, found) in found.iter().enumerate() {
            let moved = |by: f64| {
                let mut alphas = alphas;
                alphas[place] += by;
                loss(&alphas)
            };
            assert!((found - (moved(1e-5) - moved(-1e-5)) / 2e-5).abs() < 1e-9);
        }
    }

    #[test]
    fn a_pair_moves_against_each_other_and_nothing_else_moves() {
        let found = to_pair([2.0, -1.0], &[0.2, 0.5, 0.3], Pair { active: 2, other: 0 });
        // p = 0.6 and 0.4, mean 0.8.
        assert!((found[2] - 0.6 * 1.2).abs() < 1e-12 && (found[0] + 0.4 * 1.8).abs() < 1e-12);
        assert!(found[1].abs() < f64::MIN_POSITIVE && found.iter().sum::<f64>().abs() < 1e-12);
    }

    /// Averaged over all paths with their probabilities, it is the exact gradient of `-E[R]`.
    #[test]
    fn reinforce_follows_the_gradient_of_the_mean_reward() {
        let p = vec![softmax(&[0.1, 0.4, -0.3])];
        let rewards = [0.3, 0.9, 0.5];
        let exact: Vec<f64> = to_alphas(&rewards, &p[0]).iter().map(|slope| -slope).collect();
        let mut sum = [0.0; 3];
        for option in 0..3 {
            let mut baseline = Baseline::new(0.8);
            baseline.with(&[0.55]);
            let found = reinforce(&[vec![option]], &[rewards[option]], &p, &mut baseline);
            sum.iter_mut().zip(&found[0]).for_each(|(sum, slope)| *sum += p[0][option] * slope);
        }
        assert!(sum.iter().zip(&exact).all(|(a, b)| (a - b).abs() < 1e-12), "{sum:?} {exact:?}");
    }
}
