//! Stochastic gradient descent with Nesterov momentum, as PyTorch defines it:
//! `d = gradient + decay * w`, `v = momentum * v + d`, `w -= rate * (d + momentum * v)`.

use netfit_export::Weights;
use tch::{Tensor, no_grad};

use crate::{Parameters, Result};

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
                let part =
                    |flat: &Tensor| flat.narrow(0, run.start as i64, run.len() as i64);
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

    pub(crate) fn save(&self, parameters: &Parameters, weights: &mut Weights) {
        parameters.save(&self.velocity, "velocity/", weights);
    }

    pub(crate) fn load(&mut self, parameters: &Parameters, weights: &Weights) -> Result<()> {
        parameters.load(&self.velocity, "velocity/", weights)
    }
}
