//! Stochastic gradient descent with Nesterov momentum, as PyTorch defines it:
//! `d = gradient + decay * w`, `v = momentum * v + d`, `w -= rate * (d + momentum * v)`.

use netfit_export::Weights;
use tch::{Tensor, no_grad};

use crate::{Parameters, Result};

/// Before the names of velocities.
const VELOCITY: &str = "velocity/";

/// The optimiser's settings and its velocity `v`, one flat tensor.
#[derive(Debug)]
pub struct Sgd {
    momentum: f64,
    decay: Tensor,
    velocity: Tensor,
}

impl Sgd {
    /// An optimiser at rest. Weight decay acts on filters and matrices, not on batch normalisation or biases.
    pub fn new(parameters: &Parameters, momentum: f64, weight_decay: f64) -> Self {
        let decay = |shape: &[usize]| if shape.len() >= 2 { weight_decay as f32 } else { 0.0 };
        let velocity = parameters.values().zeros_like();
        Self { momentum, decay: parameters.spread(decay), velocity }
    }

    /// One step, which uses up the gradients. A tensor that took no part in the loss is left alone: neither its weight
    /// decay nor its momentum acts (in PyTorch, its gradient is none).
    pub fn step(&mut self, parameters: &Parameters, taking_part: &[bool], rate: f64) {
        no_grad(|| {
            for run in parameters.runs(taking_part) {
                let part = |flat: &Tensor| flat.narrow(0, run.start as i64, run.len() as i64);
                let mut values = part(parameters.values());
                let mut gradients = part(parameters.gradients());
                let mut velocity = part(&self.velocity);
                let _ = gradients.addcmul_(&values, &part(&self.decay));
                let _ = velocity.g_mul_scalar_(self.momentum).g_add_(&gradients);
                let _ = gradients.g_add_(&velocity.g_mul_scalar(self.momentum));
                let _ = values.g_sub_(&gradients.g_mul_scalar_(rate));
            }
        });
    }

    /// Sets the velocity to 0, as at the start of each phase.
    pub fn rest(&mut self) {
        let _ = self.velocity.zero_();
    }

    /// The parameters under their names, and the velocity of each: all that the next step depends on.
    pub(crate) fn save(&self, parameters: &Parameters) -> Weights {
        let mut weights = Weights::new();
        parameters.save(parameters.values(), "", &mut weights);
        parameters.save(&self.velocity, VELOCITY, &mut weights);
        weights
    }

    /// Reads back what [`Sgd::save`] wrote.
    ///
    /// # Errors
    /// A missing tensor, or one of another shape.
    pub(crate) fn load(&mut self, parameters: &Parameters, weights: &Weights) -> Result<()> {
        parameters.load(parameters.values(), "", weights)?;
        parameters.load(&self.velocity, VELOCITY, weights)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use netfit_export as export;
    use tch::Device;

    use super::*;
    use crate::{layout, parameters::ParametersBuilder};

    /// Two steps by hand: momentum 0.9, decay 0.5 on the matrix only, rate 0.1, gradient 2 everywhere.
    #[test]
    fn steps_are_those_of_nesterov_momentum_and_absent_tensors_rest() {
        let mut builder = ParametersBuilder::default();
        for (name, shape) in [("matrix", vec![1, 1]), ("bias", vec![1]), ("absent", vec![1, 1])] {
            builder.add(name.to_owned(), export::Tensor { shape, data: vec![1.0] });
        }
        let parameters = builder.build(Device::Cpu);
        let mut sgd = Sgd::new(&parameters, 0.9, 0.5);
        let (mut matrix, mut bias) = ((1.0, 0.0), (1.0, 0.0));
        for _ in 0..2 {
            let _ = parameters.gradients().shallow_clone().fill_(2.0);
            sgd.step(&parameters, &[true, true, false], 0.1);
            for (state, decay) in [(&mut matrix, 0.5), (&mut bias, 0.0)] {
                let d: f64 = 2.0 + decay * state.0;
                state.1 = 0.9 * state.1 + d;
                state.0 -= 0.1 * (d + 0.9 * state.1);
            }
        }
        let value =
            |name: &str| f64::from(layout::to_host(parameters.named(name).unwrap()).data[0]);
        assert!((value("matrix") - matrix.0).abs() < 1e-6 && (value("bias") - bias.0).abs() < 1e-6);
        assert!((value("absent") - 1.0).abs() < 1e-12);
    }
}
