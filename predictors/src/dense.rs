//! Fully connected layers with their gradients, and Adam.

use netfit_spaces::Random;

use crate::product::{Matrix, product};

/// Decay of Adam's running mean of gradients (Kingma and Ba, ICLR 2015).
const BETA_1: f32 = 0.9;
/// Decay of Adam's running mean of squared gradients.
const BETA_2: f32 = 0.999;
/// Keeps Adam's quotient finite.
const EPSILON: f32 = 1e-8;

/// A layer: `y = x w + b`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dense {
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
    /// `[inputs, outputs]`
    pub(crate) weight: Vec<f32>,
    /// `[outputs]`
    pub(crate) bias: Vec<f32>,
}

/// Layers with ReLU between them; the last one has one output and no activation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layers(pub(crate) Vec<Dense>);

impl Layers {
    /// Layers of these widths (inputs first), with He's normal initialisation; the last layer starts at 0, so that
    /// the untrained network predicts the mean.
    pub(crate) fn new(widths: &[usize], random: &mut Random) -> Self {
        let last = widths.len() - 2;
        let layer = |(index, pair): (usize, &[usize])| {
            let (inputs, outputs) = (pair[0], pair[1]);
            let scale = if index == last { 0.0 } else { (2.0 / inputs as f64).sqrt() };
            let weight = (0..inputs * outputs).map(|_| (scale * random.normal()) as f32).collect();
            Dense { inputs, outputs, weight, bias: vec![0.0; outputs] }
        };
        Self(widths.windows(2).enumerate().map(layer).collect())
    }

    /// Zeros in the same shapes.
    fn zeros(&self) -> Self {
        let zero = |layer: &Dense| Dense {
            weight: vec![0.0; layer.weight.len()],
            bias: vec![0.0; layer.outputs],
            ..*layer
        };
        Self(self.0.iter().map(zero).collect())
    }
}

/// The activations of one batch and their gradients.
#[derive(Clone, Debug)]
pub(crate) struct Pass {
    rows: usize,
    /// `[rows, width]` each: the input, then every layer's output.
    activations: Vec<Vec<f32>>,
    deltas: Vec<Vec<f32>>,
    ones: Vec<f32>,
}

impl Pass {
    /// Room for batches of `rows`.
    pub(crate) fn new(layers: &Layers, rows: usize) -> Self {
        let inputs = layers.0.iter().take(1).map(|layer| layer.inputs);
        let widths = inputs.chain(layers.0.iter().map(|layer| layer.outputs));
        let activations: Vec<Vec<f32>> = widths.map(|width| vec![0.0; rows * width]).collect();
        Self { rows, deltas: activations.clone(), activations, ones: vec![1.0; rows] }
    }

    /// The batch's input, `[rows, inputs]`.
    pub(crate) fn input(&mut self) -> &mut [f32] {
        &mut self.activations[0]
    }

    /// Computes the outputs, `[rows]`.
    pub(crate) fn forward(&mut self, layers: &Layers) -> &[f32] {
        let last = layers.0.len() - 1;
        for (index, layer) in layers.0.iter().enumerate() {
            let (before, after) = self.activations.split_at_mut(index + 1);
            let out = &mut after[0];
            for row in out.chunks_exact_mut(layer.outputs) {
                row.copy_from_slice(&layer.bias);
            }
            let input = Matrix::new(&before[index], self.rows, layer.inputs);
            product(out, 1.0, input, Matrix::new(&layer.weight, layer.inputs, layer.outputs));
            if index < last {
                for value in out {
                    *value = value.max(0.0);
                }
            }
        }
        &self.activations[layers.0.len()]
    }

    /// The gradient of `mean((output - target)^2)` after [`Pass::forward`], into `gradient`; returns the loss.
    pub(crate) fn backward(
        &mut self,
        layers: &Layers,
        target: &[f32],
        gradient: &mut Layers,
    ) -> f64 {
        let rows = self.rows;
        let mut loss = 0.0;
        for (row, delta) in self.deltas[layers.0.len()].iter_mut().enumerate() {
            let error = self.activations[layers.0.len()][row] - target[row];
            loss += f64::from(error * error);
            *delta = 2.0 * error / rows as f32;
        }
        for (index, layer) in layers.0.iter().enumerate().rev() {
            let (before, after) = self.deltas.split_at_mut(index + 1);
            let (input, delta) = (&self.activations[index], &after[0]);
            let out = &mut gradient.0[index];
            let delta = Matrix::new(delta, rows, layer.outputs);
            let input_columns = Matrix::new(input, rows, layer.inputs).transposed();
            product(&mut out.weight, 0.0, input_columns, delta);
            product(&mut out.bias, 0.0, Matrix::new(&self.ones, 1, rows), delta);
            if index > 0 {
                let weight = Matrix::new(&layer.weight, layer.inputs, layer.outputs);
                product(&mut before[index], 0.0, delta, weight.transposed());
                for (slope, &value) in before[index].iter_mut().zip(input) {
                    if value <= 0.0 {
                        *slope = 0.0;
                    }
                }
            }
        }
        loss / rows as f64
    }
}

/// Adam with an L2 penalty added to the gradient, as in PyTorch's `Adam(weight_decay)`; biases are not decayed.
pub(crate) struct Adam {
    mean: Layers,
    square: Layers,
    pub(crate) gradient: Layers,
    weight_decay: f32,
    step: i32,
}

impl Adam {
    pub(crate) fn new(layers: &Layers, weight_decay: f64) -> Self {
        let zeros = layers.zeros();
        Self {
            mean: zeros.clone(),
            square: zeros.clone(),
            gradient: zeros,
            weight_decay: weight_decay as f32,
            step: 0,
        }
    }

    /// Moves `layers` against `self.gradient`.
    pub(crate) fn step(&mut self, layers: &mut Layers, learning_rate: f64) {
        self.step += 1;
        let (mean_share, square_share) =
            (1.0 - BETA_1.powi(self.step), 1.0 - BETA_2.powi(self.step));
        let rate = learning_rate as f32 / mean_share;
        let root = 1.0 / square_share.sqrt();
        for (index, layer) in layers.0.iter_mut().enumerate() {
            let (mean, square) = (&mut self.mean.0[index], &mut self.square.0[index]);
            let gradient = &self.gradient.0[index];
            let weights = (&mut layer.weight[..], &gradient.weight[..]);
            update(weights, &mut mean.weight, &mut square.weight, self.weight_decay, rate, root);
            let biases = (&mut layer.bias[..], &gradient.bias[..]);
            update(biases, &mut mean.bias, &mut square.bias, 0.0, rate, root);
        }
    }
}

fn update(
    (values, gradient): (&mut [f32], &[f32]),
    mean: &mut [f32],
    square: &mut [f32],
    decay: f32,
    rate: f32,
    root: f32,
) {
    // Plain indices: zipped iterators cost several times as much where this crate is compiled without optimisation.
    for at in 0..values.len() {
        let slope = gradient[at] + decay * values[at];
        let first = mean[at] + (1.0 - BETA_1) * (slope - mean[at]);
        let second = square[at] + (1.0 - BETA_2) * (slope * slope - square[at]);
        (mean[at], square[at]) = (first, second);
        values[at] -= rate * first / (second.sqrt() * root + EPSILON);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn loss(layers: &Layers, input: &[f32], target: &[f32]) -> f64 {
        let mut pass = Pass::new(layers, target.len());
        pass.input().copy_from_slice(input);
        let out = pass.forward(layers);
        let errors = out.iter().zip(target).map(|(o, t)| f64::from(o - t).powi(2));
        errors.sum::<f64>() / target.len() as f64
    }

    #[test]
    fn gradients_agree_with_numeric_derivatives() {
        let mut random = Random::new(3, "gradient");
        let mut layers = Layers::new(&[5, 7, 6, 1], &mut random);
        for layer in &mut layers.0 {
            for value in layer.weight.iter_mut().chain(&mut layer.bias) {
                *value += 0.3 * random.normal() as f32;
            }
        }
        let input: Vec<f32> = (0..4 * 5).map(|_| random.normal() as f32).collect();
        let target: Vec<f32> = (0..4).map(|_| random.normal() as f32).collect();
        let mut pass = Pass::new(&layers, 4);
        pass.input().copy_from_slice(&input);
        pass.forward(&layers);
        let mut gradient = layers.zeros();
        let value = pass.backward(&layers, &target, &mut gradient);
        assert!((value - loss(&layers, &input, &target)).abs() < 1e-6);
        let step = 1e-3_f32;
        for index in 0..layers.0.len() {
            for at in 0..layers.0[index].weight.len() + layers.0[index].outputs {
                let weights = layers.0[index].weight.len();
                let place = |layers: &mut Layers, change: f32| {
                    let layer = &mut layers.0[index];
                    if at < weights {
                        layer.weight[at] += change;
                    } else {
                        layer.bias[at - weights] += change;
                    }
                    loss(layers, &input, &target)
                };
                let (mut up, mut down) = (layers.clone(), layers.clone());
                let numeric =
                    (place(&mut up, step) - place(&mut down, -step)) / (2.0 * f64::from(step));
                let exact = if at < weights {
                    gradient.0[index].weight[at]
                } else {
                    gradient.0[index].bias[at - weights]
                };
                let exact = f64::from(exact);
                assert!(
                    (numeric - exact).abs() < 2e-3 * (1.0 + exact.abs()),
                    "layer {index}, weight {at}: {numeric} against {exact}"
                );
            }
        }
    }

    #[test]
    fn the_first_step_of_adam_has_the_size_of_the_learning_rate() {
        let mut layers = Layers::new(&[2, 1], &mut Random::new(0, "adam"));
        let mut adam = Adam::new(&layers, 0.0);
        adam.gradient.0[0].weight = vec![0.5, -4.0];
        adam.step(&mut layers, 0.01);
        assert!((layers.0[0].weight[0] + 0.01).abs() < 1e-6);
        assert!((layers.0[0].weight[1] - 0.01).abs() < 1e-6);
        assert_eq!(layers.0[0].bias, [0.0]);
    }
}
