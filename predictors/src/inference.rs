//! Predictions of fitted layers, in batches of a fixed size on as many threads as there are.

use std::sync::{Arc, Mutex, PoisonError};

use netfit_spaces::{Genotype, Space};
use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::{
    Error, Result,
    dense::{Dense, Layers},
    product::{Matrix, product},
};

/// Genotypes a batch. It is fixed, and the last batch is filled up with what was there: a genotype's prediction then
/// depends neither on its company nor on the number of threads. Half a population of evolution keeps two threads busy.
const ROWS: usize = 50;
/// Outputs that are summed at a time in the first layer, and partial sums in the last one: they stay in registers.
const LANES: usize = 16;

/// Where predictions are computed.
#[derive(Debug, Default)]
pub(crate) struct Inference {
    /// All threads but the caller's.
    others: Option<Arc<ThreadPool>>,
    /// One for each thread.
    scratch: Vec<Scratch>,
}

/// A copy shares the threads and has room of its own.
impl Clone for Inference {
    fn clone(&self) -> Self {
        Self { others: self.others.clone(), scratch: Vec::new() }
    }
}

/// Room for one batch.
#[derive(Debug, Default)]
struct Scratch {
    ones: Vec<usize>,
    input: Vec<f32>,
    output: Vec<f32>,
}

impl Inference {
    /// On so many threads.
    pub(crate) fn new(threads: usize) -> Result<Self> {
        if threads < 2 {
            return Ok(Self::default());
        }
        let pool = ThreadPoolBuilder::new().num_threads(threads - 1).build();
        let pool = pool.map_err(|source| Error::Threads { threads, source: Box::new(source) })?;
        Ok(Self { others: Some(Arc::new(pool)), scratch: Vec::new() })
    }

    /// The output of `layers` for each genotype.
    pub(crate) fn run(
        &mut self,
        layers: &Layers,
        space: &Space,
        genotypes: &[Genotype],
        out: &mut [f32],
    ) {
        let Self { others, scratch } = self;
        let threads = 1 + others.as_ref().map_or(0, |pool| pool.current_num_threads());
        scratch.resize_with(threads, Scratch::default);
        let batches = genotypes.len().div_ceil(ROWS);
        let jobs = Mutex::new(genotypes.chunks(ROWS).zip(out.chunks_mut(ROWS)));
        let work = |scratch: &mut Scratch| {
            loop {
                let next = jobs.lock().unwrap_or_else(PoisonError::into_inner).next();
                let Some((genotypes, out)) = next else { return };
                scratch.predict(layers, space, genotypes, out);
            }
        };
        let Some((first, rest)) = scratch.split_first_mut() else { return };
        match others {
            Some(pool) if batches > 1 => pool.in_place_scope(|scope| {
                for scratch in rest.iter_mut().take(batches - 1) {
                    scope.spawn(|_| work(scratch));
                }
                work(first);
            }),
            _ => work(first),
        }
    }
}

impl Scratch {
    /// The outputs of one batch of at most [`ROWS`] genotypes.
    fn predict(&mut self, layers: &Layers, space: &Space, genotypes: &[Genotype], out: &mut [f32]) {
        let Self { ones, input, output } = self;
        let [first, hidden @ .., last] = &layers.0[..] else {
            let layer = &layers.0[0];
            for (genotype, out) in genotypes.iter().zip(out) {
                *out = layer.bias[0]
                    + space.encoded_ones(genotype).map(|place| layer.weight[place]).sum::<f32>();
            }
            return;
        };
        input.resize(ROWS * first.outputs, 0.0);
        for (genotype, row) in genotypes.iter().zip(input.chunks_exact_mut(first.outputs)) {
            ones.clear();
            ones.extend(space.encoded_ones(genotype));
            sum_of_rows(first, ones, row);
        }
        rectify(input);
        for layer in hidden {
            output.resize(ROWS * layer.outputs, 0.0);
            for row in output.chunks_exact_mut(layer.outputs) {
                row.copy_from_slice(&layer.bias);
            }
            let rows = Matrix::new(input, ROWS, layer.inputs);
            product(output, 1.0, rows, Matrix::new(&layer.weight, layer.inputs, layer.outputs));
            rectify(output);
            std::mem::swap(input, output);
        }
        for (row, out) in input.chunks_exact(last.inputs).zip(out) {
            *out = last.bias[0] + dot(row, &last.weight);
        }
    }
}

/// `bias + x w` for an `x` that is 1 at the places `ones` and 0 elsewhere.
fn sum_of_rows(layer: &Dense, ones: &[usize], out: &mut [f32]) {
    out.copy_from_slice(&layer.bias);
    let width = layer.outputs;
    let (blocks, rest) = out.as_chunks_mut::<LANES>();
    for (block, sums) in blocks.iter_mut().enumerate() {
        let mut local = *sums;
        for &one in ones {
            let weights = &layer.weight[one * width + block * LANES..][..LANES];
            for (sum, weight) in local.iter_mut().zip(weights) {
                *sum += weight;
            }
        }
        *sums = local;
    }
    let at = width - rest.len();
    for &one in ones {
        for (sum, weight) in rest.iter_mut().zip(&layer.weight[one * width + at..]) {
            *sum += weight;
        }
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
        let mut out = vec![0.0; genotypes.len()];
        Inference::new(threads).unwrap().run(layers, space, genotypes, &mut out);
        out
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
