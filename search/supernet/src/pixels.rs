//! Batches that are made on a device, from 8-bit images that lie there.

use netfit_data::{Augment, Dataset, Normalization};
use netfit_spaces::{Random, Shape};
use tch::{Device, Kind, Tensor};

/// Bytes that are brought to a device at once.
const STRETCH: usize = 64 << 20;
/// Bytes for which there is room on a GPU that does not tell what is free.
const UNTOLD: u64 = 2 << 30;

/// 8-bit images and their classes, on one device.
#[derive(Debug)]
pub(crate) struct Pixels {
    /// `[N, H, W, C]`
    images: Tensor,
    /// `[N]`
    targets: Tensor,
}

/// What each pixel value becomes, on a device.
#[derive(Debug)]
pub(crate) struct Palette {
    /// The normalised value of each pixel value, `[C * 256]`.
    values: Tensor,
    /// Where each channel's begin, `[C]`.
    offsets: Tensor,
}

/// A batch's images as they are and where its windows lie in them: what crosses to a device that makes the batch.
#[derive(Debug)]
pub(crate) struct Gathered {
    /// `[N, C, H, W]`, 8 bits each.
    images: Tensor,
    /// `[N]`
    targets: Tensor,
    /// As [`places`] gives them.
    places: Tensor,
}

/// Images that stay on a device, and how batches are made of them.
#[derive(Debug)]
pub(crate) struct Resident {
    pixels: Pixels,
    palette: Palette,
}

impl Pixels {
    /// The images of `indices`, brought there a stretch at a time: two copies need not fit.
    fn new(dataset: &Dataset, indices: &[usize], device: Device, stretch: usize) -> Self {
        let Shape { channels, height, width } = dataset.shape;
        let sides = [indices.len(), height, width, channels].map(|side| side as i64);
        let images = Tensor::empty(sides, (Kind::Uint8, device));
        let size = (stretch / dataset.shape.elements()).max(1);
        for (number, chunk) in indices.chunks(size).enumerate() {
            let mut part = images.narrow(0, (number * size) as i64, chunk.len() as i64);
            part.copy_(&gather(dataset, chunk).to_device(device).permute([0, 2, 3, 1]));
        }
        Self { images, targets: classes(dataset, indices).to_device(device) }
    }
}

impl Palette {
    /// # Panics
    /// Where the normalisation has another number of channels than the images.
    pub(crate) fn new(normalization: &Normalization, shape: Shape, device: Device) -> Self {
        let tables = normalization.tables();
        assert_eq!(tables.len(), shape.channels, "one mean and deviation per channel");
        let end = 256 * tables.len() as i64;
        Self {
            values: Tensor::from_slice(&tables.concat()).to_device(device),
            offsets: Tensor::arange_start_step(0, end, 256, (Kind::Int, device)),
        }
    }

    /// Normalised images `[N, C, H, W]`, channels last, and their classes `[N]`: those windows of `pixels` that
    /// [`places`] tells. Their values are those of [`netfit_data::Batches`], bit for bit.
    pub(crate) fn batch(&self, pixels: &Pixels, places: &Tensor) -> (Tensor, Tensor) {
        let (sides, options) = (pixels.images.size(), (Kind::Int64, places.device()));
        let place = |column: i64| places.select(1, column).view([-1, 1, 1]);
        let (height, width) = (sides[1], sides[2]);
        let rows = Tensor::arange(height, options).view([1, -1, 1]) + place(1);
        let columns = Tensor::arange(width, options).view([1, 1, -1]) * place(3) + place(2);
        let inside = within(&rows, height).logical_and(&within(&columns, width)).unsqueeze(-1);
        let from = [place(0), rows.clamp(0, height - 1), columns.clamp(0, width - 1)];
        // Padding is black.
        let chosen = pixels.images.index(&from.each_ref().map(Some)) * inside;
        let images = self.values.index(&[Some(chosen.to_kind(Kind::Int) + &self.offsets)]);
        let targets = pixels.targets.index_select(0, &places.select(1, 0).contiguous());
        (images.permute([0, 3, 1, 2]), targets)
    }
}

impl Gathered {
    /// The images of `indices`, and windows that are drawn for them as [`netfit_data::Batches`] draws them.
    pub(crate) fn new(
        dataset: &Dataset,
        indices: &[usize],
        augment: &Augment,
        random: &mut Random,
    ) -> Self {
        Self {
            images: gather(dataset, indices),
            targets: classes(dataset, indices),
            places: places(0..indices.len(), augment, random, dataset.shape),
        }
    }

    /// The same in memory from which a GPU can fetch it by itself.
    pub(crate) fn pinned(self, gpu: Device) -> Self {
        // `pin_memory` with a device warns of it each time; without one tch has none.
        self.each(|tensor| tensor.internal_pin_memory(gpu))
    }

    /// The batch, made on a device that need not have it yet when this returns.
    pub(crate) fn batch(self, palette: &Palette, device: Device) -> (Tensor, Tensor) {
        let Self { images, targets, places } = self.each(|tensor| sent(tensor, device));
        let images = images.permute([0, 2, 3, 1]).contiguous();
        palette.batch(&Pixels { images, targets }, &places)
    }

    fn each(self, change: impl Fn(&Tensor) -> Tensor) -> Self {
        let Self { images, targets, places } = self;
        Self { images: change(&images), targets: change(&targets), places: change(&places) }
    }
}

impl Resident {
    /// Whether there is room for images of so many bytes where so many are free: half of it is left to training.
    pub(crate) fn fits(bytes: usize, free_bytes: Option<u64>) -> bool {
        bytes as u64 <= free_bytes.map_or(UNTOLD, |free| free / 2)
    }

    /// The images of `indices`, which are counted anew from 0 there.
    ///
    /// # Panics
    /// Where the normalisation has another number of channels than the images.
    pub(crate) fn new(
        dataset: &Dataset,
        indices: &[usize],
        normalization: &Normalization,
        device: Device,
    ) -> Self {
        Self {
            pixels: Pixels::new(dataset, indices, device, STRETCH),
            palette: Palette::new(normalization, dataset.shape, device),
        }
    }

    /// A batch of the images with these numbers; see [`Palette::batch`].
    pub(crate) fn batch(
        &self,
        numbers: impl IntoIterator<Item = usize>,
        augment: &Augment,
        random: &mut Random,
    ) -> (Tensor, Tensor) {
        let images = &self.pixels.images;
        let [height, width, channels] = [1, 2, 3].map(|side| images.size()[side] as usize);
        let places = places(numbers, augment, random, Shape::new(channels, height, width));
        self.palette.batch(&self.pixels, &sent(&places, images.device()))
    }
}

/// Where a batch's windows lie, `[N, 4]`: the image's number, its row and column at the window's first pixel, and the
/// step from one column to the next (see [`netfit_data::Window::origin`]).
fn places(
    numbers: impl IntoIterator<Item = usize>,
    augment: &Augment,
    random: &mut Random,
    shape: Shape,
) -> Tensor {
    let place = |number: usize| {
        let [row, column, step] = augment.draw(random).origin(shape.width);
        [number as i64, row, column, step]
    };
    let places: Vec<i64> = numbers.into_iter().flat_map(place).collect();
    Tensor::from_slice(&places).view([-1, 4])
}

/// Which places lie within a side of so many pixels.
fn within(places: &Tensor, side: i64) -> Tensor {
    places.ge(0).logical_and(&places.lt(side))
}

/// On its way to a device, which is not waited for. Memory that is not pinned is copied before this returns.
fn sent(tensor: &Tensor, device: Device) -> Tensor {
    tensor.to_device_(device, tensor.kind(), true, false)
}

/// Images as they are, `[N, C, H, W]` of 8 bits.
fn gather(dataset: &Dataset, indices: &[usize]) -> Tensor {
    let Shape { channels, height, width } = dataset.shape;
    let sides = [indices.len(), channels, height, width].map(|side| side as i64);
    let mut pixels = Vec::with_capacity(indices.len() * dataset.shape.elements());
    for &index in indices {
        pixels.extend_from_slice(dataset.image(index));
    }
    Tensor::from_slice(&pixels).view(sides)
}

/// Classes, `[N]`.
fn classes(dataset: &Dataset, indices: &[usize]) -> Tensor {
    let classes: Vec<i64> = indices.iter().map(|&index| dataset.targets[index].into()).collect();
    Tensor::from_slice(&classes)
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
            // Some of the images, in another order.
            let kept = [3, 5, 0, 4];
            let resident = Resident::new(&dataset, &kept, &normalization, Device::Cpu);
            let numbers = [1, 2, 0, 0, 3, 1];
            let indices = numbers.map(|number| kept[number]);
            // Padding wider than the image, too.
            for (pad, flip) in [(0, false), (0, true), (2, true), (7, false)] {
                let augment = Augment { pad, flip };
                let random = || Random::new(5, "pixels");
                let mut randoms = [random(), random(), random()];
                let expected = host.batch(&indices, Some(&augment), &mut randoms[0]);
                let palette = Palette::new(&normalization, shape, Device::Cpu);
                for (images, targets) in [
                    resident.batch(numbers, &augment, &mut randoms[1]),
                    Gathered::new(&dataset, &indices, &augment, &mut randoms[2])
                        .batch(&palette, Device::Cpu),
                ] {
                    assert_eq!(images.size(), expected.0.size());
                    assert!(images.equal(&expected.0) && targets.equal(&expected.1), "{augment:?}");
                    assert_eq!(images.stride(), layout::strides(&images.size()));
                }
                let drawn = randoms.map(|mut random| random.bits());
                assert!(drawn.iter().all(|bits| *bits == drawn[0]), "{drawn:?}");
            }
        }
    }

    #[test]
    fn images_that_cross_in_several_stretches_keep_their_places() {
        let _alone = alone();
        let dataset = crate::tests::splits(7).train;
        let indices = [6, 2, 0, 5, 1];
        let pixels = |stretch| Pixels::new(&dataset, &indices, Device::Cpu, stretch);
        let whole = pixels(STRETCH);
        // Images have 81 pixels: two a stretch, one, and one where not even that fits.
        for stretch in [170, 81, 1] {
            let parts = pixels(stretch);
            assert!(parts.images.equal(&whole.images) && parts.targets.equal(&whole.targets));
        }
        let found = Vec::<u8>::try_from(whole.images.get(3).flatten(0, -1));
        assert_eq!(found.as_deref().ok(), Some(dataset.image(5)));
    }

    #[test]
    fn images_stay_where_they_take_half_of_what_is_free_at_most() {
        assert!(Resident::fits(50, Some(100)) && !Resident::fits(51, Some(100)));
        assert!(Resident::fits(2 << 30, None) && !Resident::fits((2 << 30) + 1, None));
        assert!(!Resident::fits(1, Some(0)) && Resident::fits(0, Some(0)));
    }
}
