//! Predictions of fitted layers, in batches on as many threads as there are.

use std::sync::{Arc, Mutex};

use netfit_spaces::{Genotype, Space};
use pulp::{Arch, NullaryFnOnce};

use crate::{
    Threads,
    dense::{Dense, Layers},
    sparse::{SparseLayer, dot_of_positives},
    threads::next,
};

/// Genotypes of a batch: half a population of evolution, which keeps two threads busy.
const ROWS: usize = 50;

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
    hidden: Vec<SparseLayer>,
    last: Dense,
}

/// Room for one batch.
#[derive(Debug, Default)]
struct Scratch {
    input: Vec<f32>,
    positives: Vec<u64>,
    output: Vec<f32>,
}

impl Inference {
    /// Predictions of `layers` on the caller's thread.
    ///
    /// # Panics
    /// Where there is no layer.
    pub(crate) fn new(layers: &Layers) -> Self {
        let [hidden @ .., last] = &layers.0[..] else { panic!("a predictor has a layer") };
        let hidden = hidden.iter().map(SparseLayer::new).collect();
        let network = Arc::new(Fitted { hidden, last: last.clone() });
        Self { network, threads: Threads::default(), scratch: Vec::new() }
    }

    /// The same on these threads.
    pub(crate) fn with_threads(self, threads: &Threads) -> Self {
        Self { threads: threads.clone(), ..self }
    }

    /// The output for each genotype, which depends neither on the others nor on the number of threads.
    pub(crate) fn run(&mut self, space: &Space, genotypes: &[Genotype]) -> Vec<f32> {
        let Self { network, threads, scratch } = self;
        let mut out = vec![0.0; genotypes.len()];
        let rooms = threads.count().min(genotypes.len().div_ceil(ROWS));
        scratch.resize_with(rooms.max(scratch.len()), Scratch::default);
        let jobs = Mutex::new(genotypes.chunks(ROWS).zip(out.chunks_mut(ROWS)));
        let arch = Arch::new();
        threads.run(&mut scratch[..rooms], |scratch| {
            while let Some((genotypes, out)) = next(&jobs) {
                arch.dispatch(Batch { network, space, genotypes, scratch, out });
            }
        });
        out
    }
}

/// One batch, computed with the widest vectors that the processor has.
struct Batch<'a> {
    network: &'a Fitted,
    space: &'a Space,
    genotypes: &'a [Genotype],
    scratch: &'a mut Scratch,
    out: &'a mut [f32],
}

impl NullaryFnOnce for Batch<'_> {
    type Output = ();

    // As in `sparse`.
    #[allow(clippy::inline_always)]
    #[inline(always)]
    fn call(self) {
        let Fitted { hidden, last } = self.network;
        let Scratch { input, positives, output } = self.scratch;
        let rows = self.genotypes.len();
        let mut width = self.space.encoding_width();
        input.resize(rows * width, 0.0);
        for (genotype, row) in self.genotypes.iter().zip(input.chunks_exact_mut(width)) {
            self.space.encode(genotype, row);
        }
        for layer in hidden {
            output.resize(rows * layer.width(), 0.0);
            layer.apply((input, width), positives, output);
            width = layer.width();
            std::mem::swap(input, output);
        }
        for (row, out) in input.chunks_exact(width).zip(self.out) {
            *out = last.bias[0] + dot_of_positives(&row[..last.inputs], &last.weight);
        }
    }
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
