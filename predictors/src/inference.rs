//! Predictions of fitted layers, in batches of a fixed size on as many threads as there are.

use std::sync::{Arc, Mutex};

use netfit_spaces::{Genotype, Space};

use crate::{
    Threads,
    dense::{Dense, Layers},
    panels::Panels,
    product,
    threads::next,
};

/// Genotypes a batch. It is fixed, and the last batch is filled up with what was there: a genotype's prediction then
/// depends neither on its company nor on the number of threads. Half a population of evolution keeps two threads busy.
const ROWS: usize = 50;
/// Partial sums in the last layer, and outputs of the first one that are summed at a time: they stay in registers.
const LANES: usize = 16;
/// Outputs of the first layer for which all genotypes of a batch are computed before the next: their weights then stay in
/// the nearest cache.
const WIDE: usize = 3 * LANES;

/// Layers as they are predicted with, and where.
#[derive(Debug)]
pub(crate) struct Inference {
    network: Arc<Fitted>,
    threads: Threads,
    /// One for each thread.
    scratch: Vec<Scratch>,
}

/// A copy shares the layers and the threads and has room of its own.
impl Clone for Inference {
    fn clone(&self) -> Self {
        let (network, threads) = (self.network.clone(), self.threads.clone());
        Self { network, threads, scratch: Vec::new() }
    }
}

#[derive(Debug)]
struct Fitted {
    /// None where there is one layer.
    first: Option<Dense>,
    hidden: Vec<Panels>,
    last: Dense,
}

/// Room for one batch.
#[derive(Debug, Default)]
struct Scratch {
    /// Where each genotype's encoding is 1, and where the next one's begin.
    ones: Vec<usize>,
    ends: Vec<usize>,
    input: Vec<f32>,
    output: Vec<f32>,
}

impl Inference {
    /// Predictions of `layers` on the caller's thread.
    ///
    /// # Panics
    /// Where there is no layer.
    pub(crate) fn new(layers: &Layers) -> Self {
        product::read_panels_in_place();
        let [before @ .., last] = &layers.0[..] else { panic!("a predictor has a layer") };
        let first = before.first().cloned();
        let hidden = before.iter().skip(1).map(Panels::new).collect();
        let network = Arc::new(Fitted { first, hidden, last: last.clone() });
        Self { network, threads: Threads::default(), scratch: Vec::new() }
    }

    /// The same on these threads.
    pub(crate) fn with_threads(self, threads: &Threads) -> Self {
        Self { threads: threads.clone(), ..self }
    }

    /// The output for each genotype.
    pub(crate) fn run(&mut self, space: &Space, genotypes: &[Genotype]) -> Vec<f32> {
        let Self { network, threads, scratch } = self;
        let mut out = vec![0.0; genotypes.len()];
        let rooms = threads.count().min(genotypes.len().div_ceil(ROWS));
        scratch.resize_with(rooms.max(scratch.len()), Scratch::default);
        let jobs = Mutex::new(genotypes.chunks(ROWS).zip(out.chunks_mut(ROWS)));
        threads.run(&mut scratch[..rooms], |scratch| {
            while let Some((genotypes, out)) = next(&jobs) {
                scratch.predict(network, space, genotypes, out);
            }
        });
        out
    }
}

impl Scratch {
    /// The outputs of one batch of at most [`ROWS`] genotypes.
    fn predict(
        &mut self,
        network: &Fitted,
        space: &Space,
        genotypes: &[Genotype],
        out: &mut [f32],
    ) {
        let Self { ones, ends, input, output } = self;
        let Fitted { first, hidden, last } = network;
        let Some(first) = first else {
            for (genotype, out) in genotypes.iter().zip(out) {
                let weights = space.encoded_ones(genotype).map(|place| last.weight[place]);
                *out = last.bias[0] + weights.sum::<f32>();
            }
            return;
        };
        ones.clear();
        ends.clear();
        for genotype in genotypes {
            ones.extend(space.encoded_ones(genotype));
            ends.push(ones.len());
        }
        input.resize(ROWS * first.outputs, 0.0);
        sums_of_rows(first, ones, ends, input);
        rectify(input);
        for layer in hidden {
            output.resize(ROWS * layer.outputs(), 0.0);
            layer.apply(input, output);
            rectify(output);
            std::mem::swap(input, output);
        }
        for (row, out) in input.chunks_exact(last.inputs).zip(out) {
            *out = last.bias[0] + dot(row, &last.weight);
        }
    }
}

/// `bias + x w` for every row `x`, which is 1 at its places among `ones` and 0 elsewhere.
fn sums_of_rows(layer: &Dense, ones: &[usize], ends: &[usize], out: &mut [f32]) {
    for row in out.chunks_exact_mut(layer.outputs) {
        row.copy_from_slice(&layer.bias);
    }
    let mut at = 0;
    while at + WIDE <= layer.outputs {
        add_weights::<WIDE>(layer, ones, ends, at, out);
        at += WIDE;
    }
    while at + LANES <= layer.outputs {
        add_weights::<LANES>(layer, ones, ends, at, out);
        at += LANES;
    }
    while at < layer.outputs {
        add_weights::<1>(layer, ones, ends, at, out);
        at += 1;
    }
}

/// Adds the weights for `N` outputs from `at` on.
fn add_weights<const N: usize>(
    layer: &Dense,
    ones: &[usize],
    ends: &[usize],
    at: usize,
    out: &mut [f32],
) {
    let mut begin = 0;
    for (&end, row) in ends.iter().zip(out.chunks_exact_mut(layer.outputs)) {
        let row = &mut row[at..at + N];
        let mut sums = [0.0; N];
        sums.copy_from_slice(row);
        for &one in &ones[begin..end] {
            let weights = &layer.weight[one * layer.outputs + at..][..N];
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += weight;
            }
        }
        row.copy_from_slice(&sums);
        begin = end;
    }
}

fn rectify(values: &mut [f32]) {
    for value in values {
        *value = value.max(0.0);
    }
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane] * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use netfit_spaces::Random;

    use super::*;
    use crate::dense::Pass;

    fn layers(space: &Space, hidden: &[usize]) -> Layers {
        let mut random = Random::new(5, "inference");
        let widths = [&[space.encoding_width()], hidden, &[1]].concat();
        let mut layers = Layers::new(&widths, &mut random);
        for layer in &mut layers.0 {
            for value in layer.weight.iter_mut().chain(&mut layer.bias) {
                *value += 0.1 * random.normal() as f32;
            }
        }
        layers
    }

    fn sample(space: &Space, count: usize) -> Vec<Genotype> {
        let mut random = Random::new(6, "inference");
        (0..count).map(|_| space.sample(&mut random)).collect()
    }

    fn run(threads: usize, layers: &Layers, space: &Space, genotypes: &[Genotype]) -> Vec<f32> {
        let threads = Threads::new(threads).unwrap();
        Inference::new(layers).with_threads(&threads).run(space, genotypes)
    }

    #[test]
    fn sparse_batches_agree_with_the_dense_forward_pass() {
        for preset in ["ofa-mbv3-multi", "nas-bench-macro"] {
            let space = Space::preset(preset).unwrap();
            let genotypes = sample(&space, 73);
            // Widths that no number of lanes divides, and a linear predictor.
            for hidden in [&[400, 400, 400][..], &[37], &[19, 53], &[]] {
                let layers = layers(&space, hidden);
                let mut pass = Pass::new(&layers, genotypes.len());
                let rows = pass.input().chunks_exact_mut(space.encoding_width());
                for (row, genotype) in rows.zip(&genotypes) {
                    space.encode(genotype, row);
                }
                let expected = pass.forward(&layers);
                for (found, expected) in run(1, &layers, &space, &genotypes).iter().zip(expected) {
                    assert!((found - expected).abs() < 1e-3 * (1.0 + expected.abs()), "{hidden:?}");
                }
            }
        }
    }

    #[test]
    fn predictions_depend_neither_on_company_nor_on_threads() {
        let space = Space::preset("ofa-mbv3-multi").unwrap();
        let (layers, genotypes) = (layers(&space, &[400, 400]), sample(&space, 230));
        let bits = |values: Vec<f32>| values.into_iter().map(f32::to_bits).collect::<Vec<_>>();
        let one = bits(run(1, &layers, &space, &genotypes));
        for threads in [2, 3, 8] {
            assert_eq!(one, bits(run(threads, &layers, &space, &genotypes)), "{threads} threads");
        }
        let mut reversed = genotypes.clone();
        reversed.reverse();
        let mut again = bits(run(2, &layers, &space, &reversed));
        again.reverse();
        assert_eq!(one, again);
        assert_eq!(one[101..108], bits(run(2, &layers, &space, &genotypes[101..108])));
        assert!(run(2, &layers, &space, &[]).is_empty());
    }
}
