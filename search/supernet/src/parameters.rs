//! Named learned tensors that share one buffer.
//!
//! Values and gradients are views of one flat tensor each: an optimiser's step is then a handful of operations on
//! large ranges in place of several per tensor, and clearing the gradients is one.

use std::ops::Range;

use netfit_export::{self as export, Weights};
use tch::{Device, Kind, Tensor, no_grad};

use crate::{Result, layout};

/// Every tensor starts at a multiple of this many numbers (64 bytes, a vector register's width).
const ALIGNMENT: usize = 16;

/// Named learned tensors, numbered in the order in which they were added.
#[derive(Debug)]
pub struct Parameters {
    entries: Vec<Entry>,
    values: Tensor,
    gradients: Tensor,
    leaves: Vec<Tensor>,
}

#[derive(Debug)]
struct Entry {
    name: String,
    shape: Vec<usize>,
    range: Range<usize>,
}

/// Collects initial values before the shared buffer is made.
#[derive(Debug, Default)]
pub(crate) struct ParametersBuilder {
    entries: Vec<(String, export::Tensor)>,
}

impl ParametersBuilder {
    /// Adds a tensor and returns its number.
    pub(crate) fn add(&mut self, name: String, initial: export::Tensor) -> usize {
        self.entries.push((name, initial));
        self.entries.len() - 1
    }

    pub(crate) fn build(self, device: Device) -> Parameters {
        let mut end = 0;
        let mut entries = Vec::new();
        for (name, initial) in &self.entries {
            let range = end..end + initial.data.len();
            end = range.end.next_multiple_of(ALIGNMENT);
            entries.push(Entry { name: name.clone(), shape: initial.shape.clone(), range });
        }
        let flat = || Tensor::zeros([end as i64], (Kind::Float, device));
        let (values, gradients) = (flat(), flat());
        let leaves: Vec<Tensor> =
            entries.iter().map(|entry| entry.view(&values).set_requires_grad(true)).collect();
        for (leaf, (_, initial)) in leaves.iter().zip(&self.entries) {
            no_grad(|| leaf.shallow_clone().copy_(&layout::from_host(initial)));
        }
        let parameters = Parameters { entries, values, gradients, leaves };
        parameters.bind_gradients();
        parameters
    }
}

impl Entry {
    /// This tensor's part of a flat tensor.
    fn view(&self, flat: &Tensor) -> Tensor {
        let shape = layout::sides(&self.shape);
        flat.detach().as_strided(&shape, layout::strides(&shape), self.range.start as i64).detach()
    }
}

impl Parameters {
    /// Makes each leaf's gradient a view of the flat gradients. libtorch adds to a gradient that is there in place.
    fn bind_gradients(&self) {
        let nothing: Vec<Tensor> = self.leaves.iter().map(|leaf| leaf.sum(Kind::Float)).collect();
        (Tensor::stack(&nothing, 0).sum(Kind::Float) * 0.0).backward();
        for (leaf, entry) in self.leaves.iter().zip(&self.entries) {
            leaf.grad().set_data(&entry.view(&self.gradients));
        }
        self.clear_gradients();
    }

    /// How many tensors there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// A tensor by its number.
    pub fn get(&self, number: usize) -> &Tensor {
        &self.leaves[number]
    }

    /// A tensor by its name.
    pub fn named(&self, name: &str) -> Option<&Tensor> {
        self.entries.iter().position(|entry| entry.name == name).map(|number| &self.leaves[number])
    }

    /// A tensor's name, for example `stages.1.0.expand.weight`.
    pub fn name(&self, number: usize) -> &str {
        &self.entries[number].name
    }

    /// Sets all gradients to 0.
    pub fn clear_gradients(&self) {
        let _ = self.gradients.shallow_clone().zero_();
    }

    /// Whether all values are.
    pub(crate) fn finite(&self) -> bool {
        self.values.isfinite().all().int64_value(&[]) != 0
    }

    /// All values, flat.
    pub(crate) fn values(&self) -> &Tensor {
        &self.values
    }

    /// All gradients, flat.
    pub(crate) fn gradients(&self) -> &Tensor {
        &self.gradients
    }

    /// A flat tensor that holds one number for all of a tensor's elements.
    pub(crate) fn spread(&self, number: impl Fn(&[usize]) -> f32) -> Tensor {
        let spread = self.values.zeros_like();
        for entry in &self.entries {
            let mut part = entry.view(&spread);
            let _ = part.fill_(f64::from(number(&entry.shape)));
        }
        spread
    }

    /// The ranges of the flat tensors that the chosen tensors cover; neighbours are one range.
    pub(crate) fn runs(&self, chosen: &[bool]) -> Vec<Range<usize>> {
        let mut runs: Vec<Range<usize>> = Vec::new();
        for (entry, _) in self.entries.iter().zip(chosen).filter(|(_, chosen)| **chosen) {
            match runs.last_mut() {
                Some(run) if run.end.next_multiple_of(ALIGNMENT) == entry.range.start => {
                    run.end = entry.range.end;
                }
                _ => runs.push(entry.range.clone()),
            }
        }
        runs
    }

    /// Writes each tensor of `flat` (values, or an optimiser's state) into `weights` as `prefix` + name.
    pub(crate) fn save(&self, flat: &Tensor, prefix: &str, weights: &mut Weights) {
        for entry in &self.entries {
            weights.insert(format!("{prefix}{}", entry.name), layout::to_host(&entry.view(flat)));
        }
    }

    /// Reads back what [`Parameters::save`] wrote.
    ///
    /// # Errors
    /// A missing tensor, or one of another shape.
    pub(crate) fn load(&self, flat: &Tensor, prefix: &str, weights: &Weights) -> Result<()> {
        for entry in &self.entries {
            let name = format!("{prefix}{}", entry.name);
            layout::read(&mut entry.view(flat), &name, weights)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parameters() -> Parameters {
        let mut builder = ParametersBuilder::default();
        for (name, shape) in [("a", vec![2, 3, 2, 2]), ("b", vec![5]), ("c", vec![4, 4])] {
            let size: usize = shape.iter().product();
            let data = (0..size).map(|i| i as f32).collect();
            builder.add(name.to_owned(), export::Tensor { shape, data });
        }
        builder.build(Device::Cpu)
    }

    #[test]
    fn gradients_add_up_in_the_flat_buffer() {
        let parameters = parameters();
        for _ in 0..2 {
            (parameters.get(1) * 3.0).sum(Kind::Float).backward();
        }
        let flat = layout::to_host(parameters.gradients()).data;
        let start = 32; // 24 numbers of `a`, rounded up to 16
        assert!(flat[start..start + 5].iter().all(|&g| g.to_bits() == 6.0f32.to_bits()));
        assert!((flat.iter().sum::<f32>() - 30.0).abs() < 1e-6);
        parameters.clear_gradients();
        assert!(layout::to_host(&parameters.get(1).grad()).data.iter().all(|&g| g == 0.0));
    }

    #[test]
    fn values_keep_their_order_and_round_trip() {
        let parameters = parameters();
        let mut weights = Weights::new();
        parameters.save(parameters.values(), "x/", &mut weights);
        assert_eq!(weights.get("x/a").unwrap().data, (0..24).map(|i| i as f32).collect::<Vec<_>>());
        let _ = no_grad(|| parameters.values().shallow_clone().zero_());
        parameters.load(parameters.values(), "x/", &weights).unwrap();
        assert_eq!(layout::to_host(parameters.get(0)).data[23].to_bits(), 23.0f32.to_bits());
    }

    #[test]
    fn neighbours_are_one_run() {
        let parameters = parameters();
        assert_eq!(parameters.runs(&[true, true, false]), vec![Range { start: 0, end: 37 }]);
        assert_eq!(parameters.runs(&[true, false, true]), [0..24, 48..64]);
    }
}
