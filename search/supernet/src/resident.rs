//! Images that stay on the device, and batches that are made there.

use netfit_data::{Augment, Dataset, Normalization};
use netfit_spaces::{Random, Shape};
use tch::{Device, Kind, Tensor};

/// A data set's images on a device. Batches have the pixels that [`netfit_data::Batches`] gives them, bit for bit; what
/// crosses to the device for one is where its images begin.
#[derive(Debug)]
pub(crate) struct Resident {
    shape: Shape,
    /// `[N, H, W, C]`, 8 bits each.
    images: Tensor,
    /// `[N]`
    targets: Tensor,
    /// The normalised value of each pixel value, `[C * 256]`, and where each channel's begin, `[C]`.
    values: (Tensor, Tensor),
}

impl Resident {
    /// # Panics
    /// Where the normalisation has another number of channels than the images.
    pub(crate) fn new(dataset: &Dataset, normalization: &Normalization, device: Device) -> Self {
        let shape = dataset.shape;
        let sides = [dataset.len(), shape.channels, shape.height, shape.width];
        let tables = normalization.tables();
        assert_eq!(tables.len(), shape.channels, "one mean and deviation per channel");
        let targets: Vec<i64> = dataset.targets.iter().map(|&target| target.into()).collect();
        let offsets =
            Tensor::arange_start_step(0, 256 * tables.len() as i64, 256, (Kind::Int, device));
        Self {
            shape,
            images: Tensor::from_slice(&dataset.images)
                .view(sides.map(|side| side as i64))
                .to_device(device)
                .permute([0, 2, 3, 1])
                .contiguous(),
            targets: Tensor::from_slice(&targets).to_device(device),
            values: (Tensor::from_slice(&tables.concat()).to_device(device), offsets),
        }
    }

    /// Normalised images `[N, C, H, W]`, channels last, and their classes `[N]`.
    pub(crate) fn batch(
        &self,
        indices: &[usize],
        augment: Option<&Augment>,
        random: &mut Random,
    ) -> (Tensor, Tensor) {
        let Shape { height, width, .. } = self.shape;
        let augment = augment.copied().unwrap_or_default();
        let (mut rows, mut columns) = (Vec::new(), Vec::new());
        for _ in indices {
            let sources = augment.draw(random).sources(height, width);
            rows.extend(sources.0);
            columns.extend(sources.1);
        }
        let chosen: Vec<i64> = indices.iter().map(|&index| index as i64).collect();
        let chosen = Tensor::from_slice(&chosen).to_device(self.images.device());
        let rows = self.places(&rows, [-1, height as i64, 1]);
        let columns = self.places(&columns, [-1, 1, width as i64]);
        let inside = rows.ge(0).logical_and(&columns.ge(0)).unsqueeze(-1);
        let from = [&chosen.view([-1, 1, 1]), &rows.clamp_min(0), &columns.clamp_min(0)];
        // Padding is black.
        let pixels = self.images.index(&from.map(Some)) * inside;
        let (values, offsets) = &self.values;
        let images = values.index(&[Some(pixels.to_kind(Kind::Int) + offsets)]);
        (images.permute([0, 3, 1, 2]), self.targets.index_select(0, &chosen))
    }

    fn places(&self, places: &[i64], shape: [i64; 3]) -> Tensor {
        Tensor::from_slice(places).view(shape).to_device(self.images.device())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{images::Images, layout, tests::alone};

    #[test]
    fn batches_are_those_of_the_host_bit_for_bit() {
        let _alone = alone();
        for channels in [1, 3] {
            let shape = Shape::new(channels, 4, 5);
            let pixel = |at: usize| (at * 37 % 256) as u8;
            let dataset = Dataset {
                shape,
                labels: (0..3).map(|label: u8| label.to_string()).collect(),
                images: (0..6 * shape.elements()).map(pixel).collect(),
                targets: vec![0, 1, 2, 2, 1, 0],
            };
            let normalization = Normalization {
                mean: [0.3, 0.5, 0.1][..channels].to_vec(),
                std: [0.2, 0.7, 0.4][..channels].to_vec(),
            };
            let host = Images::new(&dataset, &normalization, Device::Cpu);
            let resident = Resident::new(&dataset, &normalization, Device::Cpu);
            let indices = [5, 0, 3, 3, 1, 4, 2, 0, 5];
            // Padding wider than the image, too.
            for augment in [None, Some((0, true)), Some((2, true)), Some((7, false))] {
                let augment = augment.map(|(pad, flip)| Augment { pad, flip });
                let mut randoms = [Random::new(5, "resident"), Random::new(5, "resident")];
                let expected = host.batch(&indices, augment.as_ref(), &mut randoms[0]);
                let found = resident.batch(&indices, augment.as_ref(), &mut randoms[1]);
                assert_eq!(found.0.size(), expected.0.size());
                assert!(found.0.equal(&expected.0) && found.1.equal(&expected.1), "{augment:?}");
                assert_eq!(found.0.stride(), layout::strides(&found.0.size()));
                assert_eq!(randoms[0].bits(), randoms[1].bits());
            }
        }
    }
}
