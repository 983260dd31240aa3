//! Layers that leave out the zeros of their input: nearly all of a one-hot encoding, and about half of what a rectified
//! layer puts out. A dense product does more multiplications in a second, but also twice as many for a network.

// Only what is inlined into `pulp`'s dispatch is compiled for the processor's widest vectors.
#![allow(clippy::inline_always)]

use crate::dense::Dense;

/// Outputs of a panel: as many sums as stay in registers.
const WIDTH: usize = 80;
/// Inputs of a block: its weights for one panel, 20 kB, stay in the nearest cache while all rows pass. As many as a word
/// has bits, one for each.
const BLOCK: usize = u64::BITS as usize;
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

    /// Numbers that it puts out for each row: its outputs, filled up with zeros to whole panels.
    #[inline(always)]
    pub(crate) fn width(&self) -> usize {
        self.bias.len()
    }

    /// `out = bias + input w` for every row, where `input` is what is positive of the first numbers of every `width`. A
    /// row's result does not depend on the others. `positives` is room that is used again.
    #[inline(always)]
    pub(crate) fn apply(
        &self,
        (input, width): (&[f32], usize),
        positives: &mut Vec<u64>,
        out: &mut [f32],
    ) {
        for row in out.chunks_exact_mut(self.width()) {
            row.copy_from_slice(&self.bias);
        }
        let panels = self.width() / WIDTH;
        let blocks = self.weight.chunks(BLOCK * panels).zip((0..self.inputs).step_by(BLOCK));
        for (weight, start) in blocks {
            let inputs = weight.len() / panels;
            let rows = input.chunks_exact(width);
            positives.clear();
            // A loop: what `extend` calls would be compiled without vectors.
            for row in rows.clone() {
                positives.push(signs(&row[start..start + inputs]));
            }
            for (panel, weight) in weight.chunks(inputs).enumerate() {
                let sums = out.chunks_exact_mut(self.width());
                for ((&positive, row), sums) in positives.iter().zip(rows.clone()).zip(sums) {
                    add(
                        positive,
                        &row[start..],
                        weight,
                        &mut sums.as_chunks_mut::<WIDTH>().0[panel],
                    );
                }
            }
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

/// Which numbers of a block are positive: the first one's bit is the lowest.
#[inline(always)]
fn signs(numbers: &[f32]) -> u64 {
    let mut bits = 0;
    for (place, &number) in numbers.iter().enumerate() {
        bits |= u64::from(number > 0.0) << place;
    }
    bits
}

/// Adds each positive number times its input's weights. Products are rounded before they are added, on every processor:
/// one that has both in one step is not bound by them here.
#[inline(always)]
fn add(mut positive: u64, numbers: &[f32], weight: &[Panel], sums: &mut [f32; WIDTH]) {
    let mut registers = *sums;
    let numbers = &numbers[..weight.len()];
    while positive != 0 {
        let place = positive.trailing_zeros() as usize;
        // Without its lowest bit.
        positive &= positive - 1;
        let (number, Panel(weights)) = (numbers[place], &weight[place]);
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
            let sparse = SparseLayer::new(&layer);
            let mut found = vec![f32::NAN; rows * sparse.width()];
            sparse.apply((&input, width), &mut Vec::new(), &mut found);
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
