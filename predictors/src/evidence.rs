//! Constants of a kernel by the evidence: the probability of the training targets under them.

use crate::{KernelOptions, cholesky::Cholesky, kernel::Kernel};

/// Decay of Adam's running mean of gradients (Kingma and Ba, ICLR 2015).
const BETA_1: f64 = 0.9;
/// Decay of Adam's running mean of squared gradients: shorter than usual, the ascent has few steps.
const BETA_2: f64 = 0.99;
const EPSILON: f64 = 1e-9;

/// What the data choose; all above 0.
#[derive(Clone, Debug)]
pub(crate) struct Constants {
    /// The weight of each place of the encoding.
    pub(crate) weights: Vec<f64>,
    /// The kernel's `r`.
    pub(crate) ratio: f64,
    /// Variance of the noise, in units of the kernel's.
    pub(crate) noise: f64,
}

/// Networks as the places of their encodings' ones.
pub(crate) type Rows = [Vec<usize>];

impl Constants {
    /// The start: every network has a weight of 1 in all.
    fn start(rows: &Rows, width: usize, options: &KernelOptions) -> Self {
        let ones = rows.iter().map(Vec::len).max().unwrap_or(1).max(1);
        Self { weights: vec![1.0 / ones as f64; width], ratio: options.ratio, noise: options.noise }
    }

    fn logarithms(&self) -> Vec<f64> {
        self.weights.iter().chain([&self.ratio, &self.noise]).map(|value| value.ln()).collect()
    }

    fn of(logarithms: &[f64]) -> Self {
        let width = logarithms.len() - 2;
        let value = |at: usize| logarithms[at].exp();
        let weights = (0..width).map(value).collect();
        Self { weights, ratio: value(width), noise: value(width + 1) }
    }

    /// Each network's own sum of weights.
    pub(crate) fn own(&self, rows: &Rows) -> Vec<f64> {
        rows.iter().map(|row| row.iter().map(|&place| self.weights[place]).sum()).collect()
    }

    /// What every pair of networks shares, `[rows, rows]`.
    fn shared(&self, rows: &Rows) -> Vec<f64> {
        let mut shared = vec![0.0; rows.len() * rows.len()];
        let mut dense = vec![0.0; self.weights.len()];
        for (row, out) in rows.iter().zip(shared.chunks_exact_mut(rows.len())) {
            for &place in row {
                dense[place] = self.weights[place];
            }
            for (other, out) in rows.iter().zip(out) {
                *out = other.iter().map(|&place| dense[place]).sum();
            }
            for &place in row {
                dense[place] = 0.0;
            }
        }
        shared
    }

    /// The kernel's values for every pair, the noise on the diagonal, decomposed; none where that fails.
    pub(crate) fn system(&self, kernel: Kernel, rows: &Rows) -> Option<Cholesky> {
        self.decomposed(kernel, &self.shared(rows), &self.own(rows))
    }

    fn decomposed(&self, kernel: Kernel, shared: &[f64], own: &[f64]) -> Option<Cholesky> {
        let size = own.len();
        let mut matrix = vec![0.0; size * size];
        for (i, row) in matrix.chunks_exact_mut(size).enumerate() {
            for j in 0..=i {
                row[j] = kernel.value(shared[i * size + j], own[i], own[j], self.ratio);
            }
            row[i] += self.noise;
        }
        Cholesky::new(matrix, size)
    }
}

/// The constants that make `targets` (mean 0) most probable, by gradient ascent.
///
/// The kernel's scale has its best value in closed form, so the evidence is
/// `-n/2 ln(t' A^-1 t / n) - ln|A| / 2` with `A` the kernel's values plus the noise (Rasmussen and Williams, Gaussian
/// Processes for Machine Learning, section 5.4). Logarithms of weights are drawn to their mean, so that few networks do
/// not overfit many weights. Where a step leads out of what can be decomposed, the ascent ends before it.
pub(crate) fn choose(
    kernel: Kernel,
    rows: &Rows,
    width: usize,
    targets: &[f64],
    options: &KernelOptions,
) -> Constants {
    let mut at = Constants::start(rows, width, options).logarithms();
    let mut ascent = Ascent::new(at.len());
    let mut best = (f64::NEG_INFINITY, at.clone());
    for _ in 0..=options.iterations {
        let Some((value, slopes)) = evidence(kernel, rows, targets, &at, options) else { break };
        if value > best.0 {
            best = (value, at.clone());
        }
        ascent.step(&mut at, &slopes, options.step);
        let noise = at.len() - 1;
        at[noise] = at[noise].max(options.least_noise.ln());
    }
    Constants::of(&best.1)
}

/// The evidence with the prior, and its slopes with the logarithms of the constants.
fn evidence(
    kernel: Kernel,
    rows: &Rows,
    targets: &[f64],
    logarithms: &[f64],
    options: &KernelOptions,
) -> Option<(f64, Vec<f64>)> {
    let constants = Constants::of(logarithms);
    let (size, width, ratio) = (rows.len(), constants.weights.len(), constants.ratio);
    let (shared, own) = (constants.shared(rows), constants.own(rows));
    let system = constants.decomposed(kernel, &shared, &own)?;
    let solution = system.solve(targets);
    let scale = solution.iter().zip(targets).map(|(s, t)| s * t).sum::<f64>() / size as f64;
    let mut value = -0.5 * (size as f64 * scale.ln() + system.log_determinant());
    let inverse = system.inverse();
    let mut slopes = vec![0.0; logarithms.len()];
    let mut along = vec![0.0; width];
    let mut ends = vec![0.0; size];
    for i in 0..size {
        along.fill(0.0);
        // The matrix is symmetric: what is off its diagonal counts twice.
        for j in 0..=i {
            let pull = solution[i] * solution[j] / scale - inverse[i * size + j];
            let pull = if i == j { 0.5 * pull } else { pull };
            let slope = kernel.slopes(shared[i * size + j], own[i], own[j], ratio);
            slopes[width] += pull * slope.ratio;
            ends[i] += pull * slope.own;
            ends[j] += pull * slope.own;
            rows[j].iter().for_each(|&place| along[place] += pull * slope.shared);
            if i == j {
                slopes[width + 1] += pull * constants.noise;
            }
        }
        rows[i].iter().for_each(|&place| slopes[place] += along[place] * constants.weights[place]);
    }
    for (row, end) in rows.iter().zip(&ends) {
        for &place in row {
            slopes[place] += end * constants.weights[place];
        }
    }
    let mean = logarithms[..width].iter().sum::<f64>() / width as f64;
    let variance = options.spread * options.spread;
    for (slope, logarithm) in slopes.iter_mut().zip(&logarithms[..width]) {
        *slope -= (logarithm - mean) / variance;
        value -= 0.5 * (logarithm - mean).powi(2) / variance;
    }
    let finite = value.is_finite() && slopes.iter().all(|slope| slope.is_finite());
    finite.then_some((value, slopes))
}

/// Adam, upwards.
struct Ascent {
    mean: Vec<f64>,
    square: Vec<f64>,
    steps: i32,
}

impl Ascent {
    fn new(size: usize) -> Self {
        Self { mean: vec![0.0; size], square: vec![0.0; size], steps: 0 }
    }

    fn step(&mut self, at: &mut [f64], slopes: &[f64], rate: f64) {
        self.steps += 1;
        let shares = (1.0 - BETA_1.powi(self.steps), 1.0 - BETA_2.powi(self.steps));
        for (place, slope) in slopes.iter().enumerate() {
            let (mean, square) = (&mut self.mean[place], &mut self.square[place]);
            *mean += (1.0 - BETA_1) * (slope - *mean);
            *square += (1.0 - BETA_2) * (slope * slope - *square);
            at[place] += rate * (*mean / shares.0) / ((*square / shares.1).sqrt() + EPSILON);
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use netfit_spaces::{Random, Space};

    use super::*;

    fn example(size: usize) -> (Vec<Vec<usize>>, usize, Vec<f64>) {
        let space = Space::preset("nas-bench-macro").unwrap();
        let mut random = Random::new(0, "evidence");
        let genotypes: Vec<_> = (0..size).map(|_| space.sample(&mut random)).collect();
        let rows: Vec<Vec<usize>> =
            genotypes.iter().map(|genotype| space.encoded_ones(genotype).collect()).collect();
        // The first choice matters, the others hardly.
        let target = |row: &Vec<usize>| row[0] as f64 + 0.01 * random.normal();
        let mut targets: Vec<f64> = rows.iter().map(target).collect();
        let mean = targets.iter().sum::<f64>() / size as f64;
        for target in &mut targets {
            *target -= mean;
        }
        (rows, space.encoding_width(), targets)
    }

    #[test]
    fn slopes_agree_with_numeric_derivatives() {
        let (rows, width, targets) = example(25);
        let options = KernelOptions::default();
        let mut random = Random::new(1, "evidence");
        let start = Constants::start(&rows, width, &options).logarithms();
        let at: Vec<f64> = start.iter().map(|value| value + 0.3 * random.normal()).collect();
        for kernel in [Kernel::Radial, Kernel::SecondOrder] {
            let value = |at: &[f64]| evidence(kernel, &rows, &targets, at, &options).unwrap();
            let slopes = value(&at).1;
            for (place, slope) in slopes.iter().enumerate() {
                let moved = |step: f64| {
                    let mut at = at.clone();
                    at[place] += step;
                    value(&at).0
                };
                let numeric = (moved(1e-4) - moved(-1e-4)) / 2e-4;
                assert!((numeric - slope).abs() < 1e-4 * (1.0 + slope.abs()), "{numeric} {slope}");
            }
        }
    }

    #[test]
    fn what_matters_gets_weight_and_the_evidence_rises() {
        let (rows, width, targets) = example(40);
        let options = KernelOptions::default();
        let start = Constants::start(&rows, width, &options).logarithms();
        for kernel in [Kernel::Radial, Kernel::SecondOrder] {
            let chosen = choose(kernel, &rows, width, &targets, &options);
            let mean = |range: std::ops::Range<usize>| {
                range.clone().map(|place| chosen.weights[place]).sum::<f64>() / range.len() as f64
            };
            assert!(mean(0..3) > 5.0 * mean(3..width), "{chosen:?}");
            let value = |at: &[f64]| evidence(kernel, &rows, &targets, at, &options).unwrap().0;
            assert!(value(&chosen.logarithms()) > value(&start) + 10.0);
        }
    }
}
