//! Batches of images as tensors.

use netfit_data::{Augment, Batches, Dataset, Normalization};
use netfit_export as export;
use netfit_spaces::Random;
use tch::{Device, Tensor};

use crate::layout;

/// A data set's images as channels-last tensors on a device.
pub(crate) struct Images<'a> {
    dataset: &'a Dataset,
    batches: Batches<'a>,
    device: Device,
}

impl<'a> Images<'a> {
    pub(crate) fn new(dataset: &'a Dataset, normalization: &Normalization, device: Device) -> Self {
        Self { dataset, batches: Batches::new(dataset, normalization), device }
    }

    /// Normalised images `[N, C, H, W]` and their classes `[N]`.
    pub(crate) fn batch(
        &self,
        indices: &[usize],
        augment: Option<&Augment>,
        random: &mut Random,
    ) -> (Tensor, Tensor) {
        let shape = self.dataset.shape;
        let mut data = vec![0.0; indices.len() * shape.elements()];
        self.batches.fill(indices, augment, random, &mut data);
        let shape = vec![indices.len(), shape.channels, shape.height, shape.width];
        let images = layout::from_host(&export::Tensor { shape, data });
        let targets = Tensor::from_slice(&self.batches.targets(indices)).to_device(self.device);
        (layout::channels_last(&images, self.device), targets)
    }
}
