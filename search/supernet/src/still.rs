//! Images that are looked at as they are, again and again: on them subnets are re-calibrated and judged.

use std::{ops::Range, sync::Arc};

use netfit_data::{Augment, Dataset, Splits};
use netfit_spaces::{Random, Shape};
use tch::{Device, Tensor};

use crate::{context, images::Images, pixels::Resident};

/// How large a batch may be: what is computed of one lies in memory at once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BatchLimit {
    pub(crate) images: usize,
    /// Height x width of all of them together.
    pub(crate) pixels: usize,
}

impl BatchLimit {
    /// Images of this shape in a batch, one at least.
    fn of(self, shape: Shape) -> usize {
        (self.pixels / (shape.height * shape.width)).clamp(1, self.images)
    }
}

/// Chosen images of one part of the data, without augmentation.
pub(crate) struct Still {
    splits: Arc<Splits>,
    part: fn(&Splits) -> &Dataset,
    chosen: Vec<usize>,
    device: Device,
    lie: Lie,
}

/// Where the images lie. Batches are the same.
enum Lie {
    /// On the CPU, where batches are made.
    Host,
    /// On the CPU; those of each batch are brought to the GPU, which makes it.
    Brought,
    /// On the GPU.
    Kept(Resident),
}

impl Still {
    /// On a GPU they are kept where there is room for them.
    pub(crate) fn new(
        splits: &Arc<Splits>,
        part: fn(&Splits) -> &Dataset,
        chosen: Vec<usize>,
        device: Device,
    ) -> Self {
        let dataset = part(splits);
        let bytes = chosen.len() * dataset.shape.elements();
        let lie = if !device.is_cuda() {
            Lie::Host
        } else if Resident::fits(bytes, context::free_memory(device)) {
            Lie::Kept(Resident::new(dataset, &chosen, &splits.normalization, device))
        } else {
            Lie::Brought
        };
        Self { splits: Arc::clone(splits), part, chosen, device, lie }
    }

    /// How many images there are.
    pub(crate) fn len(&self) -> usize {
        self.chosen.len()
    }

    /// Normalised images `[N, C, H, W]`, channels last, and their classes `[N]`, in batches of at most so many images and
    /// pixels (height x width). Each is made when it is asked for.
    pub(crate) fn batches(&self, most: BatchLimit) -> impl Iterator<Item = (Tensor, Tensor)> + '_ {
        let size = most.of((self.part)(&self.splits).shape);
        let starts = (0..self.len()).step_by(size);
        starts.map(move |start| self.batch(start..(start + size).min(self.len())))
    }

    fn batch(&self, numbers: Range<usize>) -> (Tensor, Tensor) {
        let (dataset, normalization) = ((self.part)(&self.splits), &self.splits.normalization);
        let indices = &self.chosen[numbers.clone()];
        let (plain, mut random) = (Augment::default(), Random::new(0, "plain"));
        match &self.lie {
            Lie::Host => {
                let images = Images::new(dataset, normalization, self.device);
                images.batch(indices, None, &mut random)
            }
            Lie::Brought => {
                let brought = Resident::new(dataset, indices, normalization, self.device);
                brought.batch(0..indices.len(), &plain, &mut random)
            }
            Lie::Kept(resident) => resident.batch(numbers, &plain, &mut random),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tests::{alone, splits};

    #[test]
    fn batches_of_large_images_are_smaller() {
        let most = BatchLimit { images: 500, pixels: 4_000_000 };
        let of = |side| most.of(Shape::new(3, side, side));
        assert_eq!([1, 28, 89, 90, 224, 2000, 5000].map(of), [500, 500, 500, 493, 79, 1, 1]);
    }

    #[test]
    fn images_are_the_same_wherever_they_lie() {
        let _alone = alone();
        let splits = Arc::new(splits(50));
        let chosen = vec![7, 0, 49, 3, 3, 20, 11];
        let three = BatchLimit { images: 3, pixels: 1000 };
        let still = |lie: Lie| {
            let still = Still::new(&splits, |splits| &splits.train, chosen.clone(), Device::Cpu);
            Still { lie, ..still }
        };
        let Splits { train, normalization, .. } = &*splits;
        let kept = Resident::new(train, &chosen, normalization, Device::Cpu);
        let host: Vec<_> = still(Lie::Host).batches(three).collect();
        assert_eq!(host.iter().map(|(_, targets)| targets.size1().unwrap_or(0)).sum::<i64>(), 7);
        for other in [still(Lie::Brought), still(Lie::Kept(kept))] {
            let found: Vec<_> = other.batches(three).collect();
            assert_eq!(found.len(), host.len());
            for ((images, targets), expected) in found.iter().zip(&host) {
                assert!(images.equal(&expected.0) && targets.equal(&expected.1));
            }
        }
    }
}
