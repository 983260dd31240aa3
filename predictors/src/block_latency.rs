//! Latencies of blocks that a table does not hold, from those that it holds.

use std::collections::{BTreeMap, BTreeSet};

use netfit_latency_tables::{LatencyTable, median, rmspe, within};
use netfit_spaces::Block;
use serde::{Deserialize, Serialize};

use crate::{
    Error, Result,
    block_cost::{COSTS, Ranges, costs, family},
};

/// Sweeps of the fit at most; it has far fewer unknowns.
const SWEEPS: usize = 2000;
/// Weight of squared coefficients, of columns scaled to length 1: costs that always go together share their time.
const PENALTY: f64 = 1e-6;
/// Fewer blocks allow no statement about errors.
const LEAST: usize = 4;

/// Seconds of blocks as a sum of what their parts cost: `sum over costs of weight * cost`, no weight below 0.
///
/// Costs are multiply-adds (of dense and depth-wise convolutions and of linear maps), numbers that squeeze-and-excite
/// goes over, numbers read and written, parameters, layers, and h-swishes. Weights are those of the least relative
/// errors against the table's calibrated seconds, for convolutions, pools and linear maps each. A sum without negative
/// weights rises with every cost, so that it stays sensible between and beyond the blocks that it was fitted to.
/// Beyond the range of the known blocks' features it is refused all the same, unless asked for.
///
/// Its error is judged by leaving out a group of blocks at a time: all with the same output width and size.
#[derive(Clone, Debug)]
pub struct BlockLatency {
    weights: Weights,
    ranges: Ranges,
    errors: BlockErrors,
}

/// What the predictions of a [`BlockLatency`] are worth: each group of blocks predicted from all others.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BlockErrors {
    /// Blocks that were predicted.
    pub blocks: usize,
    /// Root mean square of their relative errors, fraction of 1.
    pub rmspe: f64,
    /// Median of the relative errors' sizes.
    pub median: f64,
    /// Share of the blocks within 10 %.
    pub within_10: f64,
    /// The RMSPE of seconds that are affine in multiply-adds, fitted to the same blocks.
    pub multiply_adds_rmspe: f64,
    /// For each group.
    pub groups: Vec<GroupError>,
}

/// The error of a group of blocks that was left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GroupError {
    /// The blocks' output, for example `40x28x28`.
    pub output: String,
    /// How many blocks there are.
    pub blocks: usize,
    /// Root mean square of their relative errors, fraction of 1.
    pub rmspe: f64,
}

/// Weights of costs for each family of blocks.
type Weights = BTreeMap<&'static str, Vec<f64>>;

impl BlockLatency {
    /// The predictor of the blocks of this table's device.
    ///
    /// # Errors
    /// Fewer than four blocks, or none that can be predicted from others.
    pub fn fit(table: &LatencyTable) -> Result<Self> {
        let known: Vec<(Block, f64)> = table
            .entries()
            .filter_map(|(line, _)| Some((line.parse().ok()?, table.entry(line)?)))
            // A correction may take a block of next to no time below 0.
            .filter(|(_, seconds): &(Block, f64)| *seconds > 0.0)
            .collect();
        let few = |found: usize| Error::Blocks { space: table.space_name.clone(), found };
        if known.len() < LEAST {
            return Err(few(known.len()));
        }
        let errors = judge(&known).ok_or_else(|| few(known.len()))?;
        let weights = weigh(known.iter(), |block| costs(block).to_vec());
        Ok(Self { weights, ranges: Ranges::of(known.iter().map(|(block, _)| block)), errors })
    }

    /// Calibrated seconds that the block adds to a network. With `extrapolate` also where it is outside the range of the
    /// table's blocks, whose errors then say nothing.
    ///
    /// # Errors
    /// A block outside that range; one of a kind of which the table has none.
    pub fn predict(&self, block: &Block, extrapolate: bool) -> Result<f64> {
        let outside = if extrapolate { None } else { self.ranges.outside(block) };
        if let Some(reason) = outside {
            return Err(Error::Extrapolation { block: block.to_string(), reason });
        }
        let weights = self.weights.get(family(block));
        let weights = weights.ok_or_else(|| Error::Unlike { block: block.to_string() })?;
        Ok(product(weights, &costs(block)))
    }

    /// Whether the block is within the range of the table's blocks.
    pub fn covers(&self, block: &Block) -> bool {
        self.ranges.outside(block).is_none()
    }

    /// What its predictions are worth.
    pub fn errors(&self) -> &BlockErrors {
        &self.errors
    }
}

/// Every group predicted from all others; none where nothing is predicted.
fn judge(known: &[(Block, f64)]) -> Option<BlockErrors> {
    let outputs: BTreeSet<_> = known.iter().map(|(block, _)| block.output()).collect();
    let affine = |block: &Block| vec![1.0, block.multiply_adds().0 as f64];
    let (mut groups, mut baseline) = (Vec::new(), Vec::new());
    let (mut predicted, mut measured) = (Vec::new(), Vec::new());
    for output in outputs {
        let others = || known.iter().filter(|(block, _)| block.output() != output);
        let (weights, lines) = (weigh(others(), |b| costs(b).to_vec()), weigh(others(), affine));
        let start = predicted.len();
        for (block, seconds) in known.iter().filter(|(block, _)| block.output() == output) {
            let family = family(block);
            let (Some(weights), Some(line)) = (weights.get(family), lines.get(family)) else {
                continue;
            };
            predicted.push(product(weights, &costs(block)));
            baseline.push(product(line, &affine(block)));
            measured.push(*seconds);
        }
        if start < predicted.len() {
            groups.push(GroupError {
                output: output.to_string(),
                blocks: predicted.len() - start,
                rmspe: rmspe(&predicted[start..], &measured[start..]),
            });
        }
    }
    let sizes: Vec<f64> =
        predicted.iter().zip(&measured).map(|(p, m)| (p / m - 1.0).abs()).collect();
    (!sizes.is_empty()).then(|| BlockErrors {
        blocks: sizes.len(),
        rmspe: rmspe(&predicted, &measured),
        median: median(&sizes),
        within_10: within(&predicted, &measured, 0.1),
        multiply_adds_rmspe: rmspe(&baseline, &measured),
        groups,
    })
}

/// The weights of each family's columns.
fn weigh<'a>(
    known: impl Iterator<Item = &'a (Block, f64)>,
    columns: impl Fn(&Block) -> Vec<f64>,
) -> Weights {
    let mut rows: BTreeMap<&'static str, Vec<Vec<f64>>> = BTreeMap::new();
    for (block, seconds) in known {
        let relative = columns(block).into_iter().map(|column| column / seconds).collect();
        rows.entry(family(block)).or_default().push(relative);
    }
    rows.into_iter().map(|(family, rows)| (family, non_negative(&rows))).collect()
}

fn product(weights: &[f64], columns: &[f64]) -> f64 {
    weights.iter().zip(columns).map(|(weight, column)| weight * column).sum()
}

/// The weights, none below 0, under which `rows` come nearest to 1, by coordinate descent on the normal equations.
fn non_negative(rows: &[Vec<f64>]) -> Vec<f64> {
    let columns = rows.first().map_or(COSTS, Vec::len);
    let sum = |of: &dyn Fn(&Vec<f64>) -> f64| rows.iter().map(of).sum::<f64>();
    let lengths: Vec<f64> = (0..columns).map(|j| sum(&|row| row[j] * row[j]).sqrt()).collect();
    let scale = |j: usize| if lengths[j] > 0.0 { lengths[j] } else { 1.0 };
    let target: Vec<f64> = (0..columns).map(|j| sum(&|row| row[j]) / scale(j)).collect();
    let products: Vec<Vec<f64>> = (0..columns)
        .map(|i| {
            (0..columns).map(|j| sum(&|row| row[i] * row[j]) / (scale(i) * scale(j))).collect()
        })
        .collect();
    let mut weights = vec![0.0; columns];
    for _ in 0..SWEEPS {
        let mut change: f64 = 0.0;
        for j in 0..columns {
            let slope = target[j] - product(&products[j], &weights) - PENALTY * weights[j];
            let next = (weights[j] + slope / (products[j][j] + PENALTY)).max(0.0);
            change = change.max((next - weights[j]).abs());
            weights[j] = next;
        }
        if change < 1e-12 * (1.0 + target.iter().copied().fold(0.0, f64::max)) {
            break;
        }
    }
    weights.iter().enumerate().map(|(j, weight)| weight / scale(j)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use netfit_spaces::{Random, Space};

    use super::*;

    /// Seconds that follow from costs, with noise.
    fn planted(block: &Block, noise: f64, random: &mut Random) -> f64 {
        let [dense, depthwise, linear, squeezed, moved, _, layers, _] = costs(block);
        let seconds = 4e-11 * dense + 2e-10 * depthwise + 1e-10 * linear + 3e-10 * squeezed;
        (seconds + 1e-10 * moved + 2e-6 * layers) * (1.0 + noise * random.normal())
    }

    fn known(preset: &str, noise: f64) -> Vec<(Block, f64)> {
        let mut random = Random::new(0, "blocks");
        let blocks = Space::preset(preset).unwrap().distinct_blocks().into_iter();
        blocks
            .map(|block| {
                let seconds = planted(&block, noise, &mut random);
                (block, seconds)
            })
            .collect()
    }

    #[test]
    fn a_planted_sum_is_found_from_other_groups() {
        let errors = judge(&known("ofa-mbv3-multi", 0.0)).unwrap();
        assert!(errors.rmspe < 0.02, "{errors:?}");
        assert!(errors.multiply_adds_rmspe > 4.0 * errors.rmspe, "{errors:?}");
        assert_eq!(errors.blocks, errors.groups.iter().map(|group| group.blocks).sum::<usize>());
        let noisy = judge(&known("ofa-mbv3-multi", 0.05)).unwrap();
        assert!((0.04..0.08).contains(&noisy.rmspe), "{noisy:?}");
    }

    #[test]
    fn weights_are_those_of_the_bounded_optimum() {
        let rows = vec![vec![1.0, 1.0], vec![1.0, -1.0], vec![1.0, 3.0]];
        let weights = non_negative(&rows);
        assert!((weights[0] - 1.0).abs() < 1e-4 && weights[1].abs() < 1e-4, "{weights:?}");
        // Without the bound (1, -2); with it the mean of two equations of one unknown.
        let weights = non_negative(&[vec![1.0, 0.0], vec![3.0, 1.0]]);
        assert!((weights[0] - 0.4).abs() < 1e-3 && weights[1].abs() < 1e-6, "{weights:?}");
        let rows = vec![vec![0.5, 4.0], vec![1.0, 4.0]];
        let weights = non_negative(&rows);
        assert!(weights[0].abs() < 1e-3 && (weights[1] - 0.25).abs() < 1e-3, "{weights:?}");
    }
}
