//! Layers in the order in which their products read them.

use crate::{
    dense::Dense,
    product::{Matrix, product_at},
};

/// Outputs of a panel: what the product's inner loop computes at a time on today's processors.
const WIDTH: usize = 16;

/// A layer whose weights are cut into panels of a few outputs each, one panel after the other.
///
/// Row by row, a product would bring the weights into this order again for every batch: 8 % of a predictor's time.
#[derive(Debug)]
pub(crate) struct Panels {
    inputs: usize,
    bias: Vec<f32>,
    /// `[inputs, WIDTH]` for each panel; the last one may be narrower.
    weight: Vec<f32>,
}

impl Panels {
    pub(crate) fn new(layer: &Dense) -> Self {
        let Dense { inputs, outputs, bias, weight } = layer;
        let panel = |at: usize| {
            let width = WIDTH.min(outputs - at);
            weight.chunks_exact(*outputs).flat_map(move |row| &row[at..at + width])
        };
        let weight = (0..*outputs).step_by(WIDTH).flat_map(panel).copied().collect();
        Self { inputs: *inputs, bias: bias.clone(), weight }
    }

    /// Numbers that the layer puts out for each row.
    pub(crate) fn outputs(&self) -> usize {
        self.bias.len()
    }

    /// `out = bias + input w`, for as many rows as `input` has.
    pub(crate) fn apply(&self, input: &[f32], out: &mut [f32]) {
        let (inputs, outputs) = (self.inputs, self.outputs());
        for row in out.chunks_exact_mut(outputs) {
            row.copy_from_slice(&self.bias);
        }
        let input = Matrix::new(input, input.len() / inputs, inputs);
        for (panel, weight) in self.weight.chunks(inputs * WIDTH).enumerate() {
            let weight = Matrix::new(weight, inputs, weight.len() / inputs);
            product_at(out, panel * WIDTH, outputs, 1.0, input, weight);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::float_cmp)] // Small whole numbers are exact.
    fn panels_give_what_rows_give() {
        let (rows, inputs) = (7, 5);
        for outputs in [1, 15, 16, 17, 40] {
            let number = |at: usize| (at * 7 % 11) as f32 - 5.0;
            let layer = Dense {
                inputs,
                outputs,
                weight: (0..inputs * outputs).map(number).collect(),
                bias: (0..outputs).map(number).collect(),
            };
            let input: Vec<f32> = (3..3 + rows * inputs).map(number).collect();
            let mut found = vec![f32::NAN; rows * outputs];
            Panels::new(&layer).apply(&input, &mut found);
            for (row, found) in input.chunks_exact(inputs).zip(found.chunks_exact(outputs)) {
                for (output, &found) in found.iter().enumerate() {
                    let products = (0..inputs)
                        .map(|input| row[input] * layer.weight[input * outputs + output]);
                    assert_eq!(found, layer.bias[output] + products.sum::<f32>());
                }
            }
        }
    }
}
