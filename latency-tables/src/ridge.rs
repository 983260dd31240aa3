//! A factor near 1 for each block, by ridge regression of what a simpler correction leaves (Hoerl and Kennard,
//! Technometrics 1970), in its dual form: there are fewer networks than blocks.

use std::collections::{BTreeMap, BTreeSet};

use netfit_spaces::Network;

use crate::{
    Correction, Source,
    fitting::Fitted,
    median,
    regression::{self, fits_without_one, row},
    rmspe,
};

/// Below so many networks the factors would follow the noise.
const LEAST: usize = 30;
/// From the factors of a careless table to almost none.
const PENALTIES: [f64; 5] = [1e-3, 5e-3, 2.5e-2, 0.125, 0.625];
/// A residual counts up to so many robust standard deviations: an outlier must not bend the factors of its blocks.
const CLIP: f64 = 3.0;

/// Seconds, kernels and parameters: what a correction weighs.
const FEATURES: usize = 3;

/// The times of networks by block.
pub(crate) struct Blocks {
    lines: Vec<String>,
    /// For each network and line its seconds, kernels and parameters.
    features: Vec<Vec<[f64; FEATURES]>>,
}

impl Blocks {
    /// The blocks of `networks` that have an entry.
    pub(crate) fn of(source: &Source, networks: &[(Network, f64)]) -> Self {
        let blocks = |network: &Network| {
            network.blocks().iter().map(ToString::to_string).collect::<Vec<String>>()
        };
        let used: BTreeSet<String> =
            networks.iter().flat_map(|(network, _)| blocks(network)).collect();
        let lines: Vec<String> =
            used.into_iter().filter(|line| source.entries.contains_key(line)).collect();
        let features = vec![vec![[0.0; FEATURES]; lines.len()]; networks.len()];
        let mut parts = Self { lines, features };
        for (i, (network, _)) in networks.iter().enumerate() {
            for block in network.blocks() {
                let line = block.to_string();
                if let Ok(j) = parts.lines.binary_search(&line) {
                    let entry = &source.entries[&line];
                    let parameters = block.parameters().0 as f64;
                    let found = [entry.timing.mean_s, entry.kernels, parameters];
                    for (sum, found) in parts.features[i][j].iter_mut().zip(found) {
                        *sum += found;
                    }
                }
            }
        }
        parts
    }
}

/// The ridge on top of the correction that is linear in `columns`: 1, seconds, perhaps kernels, perhaps parameters. None
/// where that is not determined, or the networks are too few.
pub(crate) fn fit(blocks: &Blocks, columns: &[&[f64]], measured: &[f64]) -> Option<Fitted> {
    if measured.len() < LEAST {
        return None;
    }
    let base = regression::fit(columns, measured)?;
    let problem = Problem { columns, measured, products: Products::of(blocks) };
    let (penalty, predicted) = problem.leave_one_out()?;
    let all: Vec<usize> = (0..measured.len()).collect();
    let weights = problem.weights(&base, &all, penalty)?;
    let slopes = slopes(&base);
    let factor = |j: usize| -> f64 {
        let changes = weights.iter().enumerate().map(|(i, weight)| {
            let seconds: f64 =
                slopes.iter().zip(blocks.features[i][j]).map(|(slope, x)| slope * x).sum();
            weight * seconds / measured[i]
        });
        1.0 + changes.sum::<f64>()
    };
    let factors: BTreeMap<String, f64> =
        blocks.lines.iter().enumerate().map(|(j, line)| (line.clone(), factor(j))).collect();
    let [slope, kernel_s, parameter_s] = slopes;
    let intercept_s = base[0];
    let correction =
        Correction::Ridge { intercept_s, slope, kernel_s, parameter_s, penalty, factors };
    Some(Fitted { correction, predicted })
}

/// What the base weighs seconds, kernels and parameters by; 0 for those that it does not know.
fn slopes(base: &[f64]) -> [f64; FEATURES] {
    std::array::from_fn(|feature| base.get(feature + 1).copied().unwrap_or(0.0))
}

/// With `t_i` network i's corrected block seconds over its measured latency, `T` the rows `t_i` and `r` the relative
/// residuals of the base: the factors minus 1 are `T' (T T' + penalty I)^-1 r`.
struct Problem<'a> {
    columns: &'a [&'a [f64]],
    measured: &'a [f64],
    products: Products,
}

impl Problem<'_> {
    /// `(T T' + penalty I)^-1 r` over the networks `rows`.
    fn weights(&self, base: &[f64], rows: &[usize], penalty: f64) -> Option<Vec<f64>> {
        let y = self.measured;
        let residuals: Vec<f64> =
            rows.iter().map(|&i| 1.0 - row(self.columns, base, i) / y[i]).collect();
        let sizes: Vec<f64> = residuals.iter().map(|r| r.abs()).collect();
        let bound = CLIP * 1.4826 * median(&sizes);
        let mut system: Vec<Vec<f64>> = rows
            .iter()
            .zip(&residuals)
            .map(|(&i, residual)| {
                let products = rows.iter().map(|&k| {
                    let product = self.products.at(base, i, k) / (y[i] * y[k]);
                    if i == k { product + penalty } else { product }
                });
                products.chain([residual.clamp(-bound, bound)]).collect()
            })
            .collect();
        regression::solve(&mut system)
    }

    /// The penalty of the least error, and its predictions, each by a fit of everything to all other networks.
    fn leave_one_out(&self) -> Option<(f64, Vec<f64>)> {
        let bases = fits_without_one(self.columns, self.measured)?;
        let mut best: Option<(f64, f64, Vec<f64>)> = None;
        for penalty in PENALTIES {
            let predict = |(i, base): (usize, &Vec<f64>)| {
                let rows: Vec<usize> = (0..self.measured.len()).filter(|&k| k != i).collect();
                let weights = self.weights(base, &rows, penalty)?;
                let changes = rows
                    .iter()
                    .zip(&weights)
                    .map(|(&k, weight)| weight * self.products.at(base, i, k) / self.measured[k]);
                Some(row(self.columns, base, i) + changes.sum::<f64>())
            };
            let predicted: Vec<f64> =
                bases.iter().enumerate().map(predict).collect::<Option<_>>()?;
            let error = rmspe(&predicted, self.measured);
            if best.as_ref().is_none_or(|(least, ..)| error < *least) {
                best = Some((error, penalty, predicted));
            }
        }
        best.map(|(_, penalty, predicted)| (penalty, predicted))
    }
}

/// Scalar products of the networks' features over blocks, from which those of their times under any correction follow.
struct Products(Vec<Vec<[[f64; FEATURES]; FEATURES]>>);

impl Products {
    fn of(blocks: &Blocks) -> Self {
        let product = |a: &[[f64; FEATURES]], b: &[[f64; FEATURES]]| {
            let mut sums = [[0.0; FEATURES]; FEATURES];
            for (a, b) in a.iter().zip(b) {
                for (sums, a) in sums.iter_mut().zip(a) {
                    for (sum, b) in sums.iter_mut().zip(b) {
                        *sum += a * b;
                    }
                }
            }
            sums
        };
        let rows = &blocks.features;
        Self(rows.iter().map(|a| rows.iter().map(|b| product(a, b)).collect()).collect())
    }

    /// The product of networks `i` and `k` under the correction `base`.
    fn at(&self, base: &[f64], i: usize, k: usize) -> f64 {
        let slopes = slopes(base);
        let row = |(a, sums): (&f64, &[f64; FEATURES])| -> f64 {
            a * slopes.iter().zip(sums).map(|(b, sum)| b * sum).sum::<f64>()
        };
        slopes.iter().zip(&self.0[i][k]).map(row).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Calibration, table::tests::table};
    use netfit_spaces::{Random, Space};

    /// The calibration of `count` networks of `ofa-28` whose block times are off by `spread` (relative standard
    /// deviation, by block), with noise of `noise` on whole networks; and the planted factors.
    fn calibrated(
        seed: u64,
        count: usize,
        spread: f64,
        noise: f64,
    ) -> (Calibration, BTreeMap<String, f64>) {
        let (table, space) = (table(), Space::preset("ofa-28").unwrap());
        let source = &table.sources["in-place"];
        let mut random = Random::new(seed, "factors");
        let planted: BTreeMap<String, f64> = source
            .entries
            .keys()
            .map(|line| (line.clone(), 1.0 + spread * random.normal()))
            .collect();
        let networks: Vec<_> = (0..count)
            .map(|_| {
                let network = space.network(&space.sample(&mut random));
                let blocks = network.blocks().iter().map(ToString::to_string);
                let sum: f64 =
                    blocks.map(|line| planted[&line] * source.entries[&line].timing.mean_s).sum();
                (network, (1e-5 + 2.0 * sum) * (1.0 + noise * random.normal()))
            })
            .collect();
        (Calibration::fit(&table.sources, &networks).unwrap(), planted)
    }

    fn error(calibration: &Calibration, name: &str) -> Option<f64> {
        let candidates = &calibration.candidates;
        Some(candidates.iter().find(|candidate| candidate.correction == name)?.rmspe)
    }

    #[test]
    fn planted_factors_are_recovered_and_the_error_falls() {
        let (calibration, planted) = calibrated(0, 90, 0.05, 1e-4);
        let Correction::Ridge { factors, slope, .. } = &calibration.correction else {
            panic!("{:?}", calibration.candidates)
        };
        let (ridge, affine) = (error(&calibration, "ridge"), error(&calibration, "affine"));
        assert!(ridge.unwrap() < 0.3 * affine.unwrap(), "{:?}", calibration.candidates);
        // Blocks of which every network has one share a shift that cannot be told from the constant.
        let choices =
            planted.iter().filter(|(line, _)| line.starts_with("mbconv") && line.contains(" res "));
        let (found, planted): (Vec<f64>, Vec<f64>) =
            choices.map(|(line, planted)| (factors[line] * slope / 2.0, planted)).unzip();
        assert!(crate::spearman(&found, &planted) > 0.95, "{found:?} {planted:?}");
        assert!(rmspe(&found, &planted) < 0.01, "{found:?} {planted:?}");
    }

    #[test]
    fn noise_is_not_taken_for_factors() {
        for seed in 0..6 {
            let (calibration, _) = calibrated(seed, 50, 0.0, 0.02);
            assert!(error(&calibration, "ridge").is_some());
            assert_eq!(calibration.correction.name(), "affine", "{:?}", calibration.candidates);
        }
    }

    #[test]
    fn few_networks_have_no_factors() {
        assert!(error(&calibrated(0, 29, 0.05, 1e-4).0, "ridge").is_none());
    }

    #[test]
    fn a_left_out_network_is_predicted_from_the_others_alone() {
        let (table, space) = (table(), Space::preset("ofa-28").unwrap());
        let source = &table.sources["in-place"];
        let mut random = Random::new(8, "networks");
        let mut networks: Vec<_> = (0..LEAST)
            .map(|_| {
                let network = space.network(&space.sample(&mut random));
                let seconds = source.sum(&network).unwrap().0 * (1.0 + 0.02 * random.normal());
                (network, seconds)
            })
            .collect();
        let fitted = |networks: &[(Network, f64)]| {
            let blocks = Blocks::of(source, networks);
            let measured: Vec<f64> = networks.iter().map(|(_, seconds)| *seconds).collect();
            let sums: Vec<f64> =
                networks.iter().map(|(network, _)| source.sum(network).unwrap().0).collect();
            let ones = vec![1.0; measured.len()];
            let columns = [&ones[..], &sums];
            let problem =
                Problem { columns: &columns, measured: &measured, products: Products::of(&blocks) };
            problem.leave_one_out().unwrap()
        };
        let (penalty, predicted) = fitted(&networks);
        networks[3].1 *= 1.001;
        let (again, changed) = fitted(&networks);
        assert!((penalty - again).abs() < 1e-12);
        assert!((predicted[3] / changed[3] - 1.0).abs() < 1e-12, "it saw its own latency");
        assert!((predicted[4] / changed[4] - 1.0).abs() > 1e-9, "the others see it");
    }
}
