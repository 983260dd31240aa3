//! Layers that leave out the zeros of their input: nearly all of a one-hot encoding, and about half of what a rectified
//! layer puts out. A dense product does more multiplications in a second, but also twice as many for a network.

// Only what is inlined into `pulp`'s dispatch is compiled for the processor's widest vectors.
#![allow(clippy::inline_always)]

use crate::dense::Dense;

/// Outputs of a panel: as many sums as stay in registers.
const WIDTH: usize = 80;
/// Inputs of a block: its weights for one panel, 20 kB, stay in the nearest cache while all rows pass.
const BLOCK: usize = 64;
/// Partial sums of a dot product: they stay in registers.
const LANES: usize = 16;

/// The weights from one input to neighbouring outputs, on a cache line's boundary: vectors that straddled two lines
/// would be read twice.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Panel([f32; WIDTH]);

/// A layer whose weights lie in the order in which they are read.
#[derive(Debug)]
pub(crate) struct SparseLayer {
    inputs: usize,
    /// Filled up with zeros to whole panels.
    bias: Vec<f32>,
    /// Block by block of the inputs, panel by panel of the outputs, then one for each input.
    weight: Vec<Panel>,
}

/// The positive numbers of a batch, block by block of the inputs and within a block row by row.
#[derive(Debug, Default)]
pub(crate) struct Positives {
    /// Each with its place in its block; what comes after the last end means nothing.
    numbers: Vec<(u32, f32)>,
    /// Where each row of each block ends.
    ends: Vec<usize>,
}

impl Positives {
    /// Those among the first `inputs` of every `width` numbers.
    #[inline(always)]
    pub(crate) fn collect(&mut self, rows: &[f32], width: usize, inputs: usize) {
        self.ends.clear();
        self.numbers.resize(rows.len(), (0, 0.0));
        let mut end = 0;
        for block in (0..inputs).step_by(BLOCK) {
            for row in rows.chunks_exact(width) {
                let row = &row[block..inputs.min(block + BLOCK)];
                // Each number is written, and the next one over it unless it counts: no branch to guess wrongly.
                let room = &mut self.numbers[end..end + row.len()];
                let mut count = 0;
                for (place, &number) in row.iter().enumerate() {
                    room[count] = (place as u32, number);
                    count += usize::from(number > 0.0);
                }
                end += count;
                self.ends.push(end);
            }
        }
    }
}

impl SparseLayer {
    pub(crate) fn new(layer: &Dense) -> Self {
        let panels = layer.outputs.div_ceil(WIDTH);
        let mut bias = layer.bias.clone();
        bias.resize(panels * WIDTH, 0.0);
        let mut weight = Vec::with_capacity(layer.inputs * panels);
        for block in layer.weight.chunks(BLOCK * layer.outputs) {
            for panel in 0..panels {
                weight.extend(block.chunks_exact(layer.outputs).map(|row| Panel::of(row, panel)));
            }
        }
        Self { inputs: layer.inputs, bias, weight }
    }

    /// Numbers that it reads of each row.
    #[inline(always)]
    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Numbers that it puts out for each row: its outputs, filled up with zeros to whole panels.
    #[inline(always)]
    pub(crate) fn width(&self) -> usize {
        self.bias.len()
    }

    /// `out = bias + input w` for every row, where `input` is what is positive of it. A row's result does not depend on
    /// the others.
    #[inline(always)]
    pub(crate) fn apply(&self, input: &Positives, out: &mut [f32]) {
        let width = self.width();
        for row in out.chunks_exact_mut(width) {
            row.copy_from_slice(&self.bias);
        }
        let (rows, panels) = (out.len() / width, width / WIDTH);
        let mut begin = 0;
        for (weight, ends) in self.weight.chunks(BLOCK * panels).zip(input.ends.chunks(rows)) {
            for (panel, weight) in weight.chunks(weight.len() / panels).enumerate() {
                let mut from = begin;
                for (&end, row) in ends.iter().zip(out.chunks_exact_mut(width)) {
                    let sums = &mut row.as_chunks_mut::<WIDTH>().0[panel];
                    add(&input.numbers[from..end], weight, sums);
                    from = end;
                }
            }
            begin = ends[rows - 1];
        }
    }
}

impl Panel {
    /// A row's weights for a panel of outputs, filled up with zeros.
    fn of(row: &[f32], panel: usize) -> Self {
        let mut weights = [0.0; WIDTH];
        let own = row.chunks(WIDTH).nth(panel).unwrap_or_default();
        weights[..own.len()].copy_from_slice(own);
        Self(weights)
    }
}

/// Adds each number times its input's weights. Products are rounded before they are added, on every processor: one that
/// has both in one step is not bound by them here.
#[inline(always)]
fn add(numbers: &[(u32, f32)], weight: &[Panel], sums: &mut [f32; WIDTH]) {
    let mut registers = *sums;
    for &(place, number) in numbers {
        let Panel(weights) = &weight[place as usize];
        for (sum, weight) in registers.iter_mut().zip(weights) {
            *sum += number * weight;
        }
    }
    *sums = registers;
}

/// The dot product with what is positive of `a`.
#[inline(always)]
pub(crate) fn dot_of_positives(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            sums[lane] += a[lane].max(0.0) * b[lane];
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a.max(0.0) * b).sum();
    sums.iter().sum::<f32>() + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::float_cmp)] // Small whole numbers are exact.
    fn zeros_and_negative_numbers_are_left_out_and_nothing_else() {
        let rows = 7;
        for (inputs, outputs) in [(1, 1), (63, 79), (64, 80), (65, 81), (200, 170)] {
            let number = |at: usize| (at * 7 % 11) as f32 - 5.0;
            let layer = Dense {
                inputs,
                outputs,
                weight: (0..inputs * outputs).map(number).collect(),
                bias: (0..outputs).map(number).collect(),
            };
            // Rows that are wider than what the layer reads of them.
            let width = inputs + 3;
            let input: Vec<f32> = (3..3 + rows * width).map(number).collect();
            let (sparse, mut positives) = (SparseLayer::new(&layer), Positives::default());
            let mut found = vec![f32::NAN; rows * sparse.width()];
            positives.collect(&input, width, sparse.inputs());
            sparse.apply(&positives, &mut found);
            for (row, found) in input.chunks_exact(width).zip(found.chunks_exact(sparse.width())) {
                for (output, &found) in found.iter().enumerate() {
                    let product =
                        |input: usize| row[input].max(0.0) * layer.weight[input * outputs + output];
                    let expected = if output < outputs {
                        layer.bias[output] + (0..inputs).map(product).sum::<f32>()
                    } else {
                        0.0
                    };
                    assert_eq!(found, expected, "output {output} of {outputs}");
                }
            }
        }
    }
}
