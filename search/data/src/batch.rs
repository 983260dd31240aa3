//! Batches: normalised, and augmented by our own seeded augmentation.

use netfit_spaces::{Random, Shape};

use crate::{Dataset, Normalization};

/// What training does to each image, at random: pad-crop, then mirror.
///
/// Pad-crop: the image is padded by `pad` black pixels on each side and a window of the original size is cut out,
/// every place equally likely (He et al., CVPR 2016, section 4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Augment {
    /// Padding in pixels; 0: none.
    pub pad: usize,
    /// Whether half of the images are mirrored left to right.
    pub flip: bool,
}

/// A data set from which batches are made.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    dataset: &'a Dataset,
    /// Per channel, the normalised value of each pixel value.
    tables: Vec<[f32; 256]>,
}

/// Where a window lies in the padded image, and whether it is mirrored.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    top: usize,
    left: usize,
    pad: usize,
    flip: bool,
}

impl<'a> Batches<'a> {
    /// Batches of these images under this normalisation.
    ///
    /// # Panics
    /// Where the normalisation has another number of channels than the images.
    pub fn new(dataset: &'a Dataset, normalization: &Normalization) -> Self {
        let tables = normalization.tables();
        assert_eq!(tables.len(), dataset.shape.channels, "one mean and deviation per channel");
        Self { dataset, tables }
    }

    /// Writes the images of `indices`, normalised and augmented, to `out`: N x C x H x W, contiguous.
    ///
    /// Random numbers are drawn image after image: top, left (only with padding), mirror (only with flips).
    ///
    /// # Panics
    /// Where `out` has another length than `indices.len() * C * H * W`, or there is no such image.
    pub fn fill(
        &self,
        indices: &[usize],
        augment: Option<&Augment>,
        random: &mut Random,
        out: &mut [f32],
    ) {
        let size = self.dataset.shape.elements();
        assert_eq!(out.len(), indices.len() * size, "room for {} images", indices.len());
        for (&index, out) in indices.iter().zip(out.chunks_exact_mut(size)) {
            let window = augment.map(|augment| augment.draw(random));
            self.fill_image(self.dataset.image(index), window, out);
        }
    }

    /// The classes of `indices`, as libtorch takes them.
    ///
    /// # Panics
    /// Where there is no such image.
    pub fn targets(&self, indices: &[usize]) -> Vec<i64> {
        indices.iter().map(|&index| i64::from(self.dataset.targets[index])).collect()
    }

    fn fill_image(&self, image: &[u8], window: Option<Window>, out: &mut [f32]) {
        let Shape { height, width, .. } = self.dataset.shape;
        let plane = height * width;
        let planes = image.chunks_exact(plane).zip(out.chunks_exact_mut(plane));
        for ((image, out), table) in planes.zip(&self.tables) {
            match window {
                None => look_up(image.iter(), table, out),
                Some(window) => {
                    for (row, out) in out.chunks_exact_mut(width).enumerate() {
                        let source = (row + window.top).checked_sub(window.pad);
                        let source = source.filter(|&row| row < height);
                        let source = source.map(|row| &image[row * width..(row + 1) * width]);
                        window.fill_row(source, table, out);
                    }
                }
            }
        }
    }
}

impl Augment {
    /// One image's window; where there is nothing to choose, no number is drawn.
    pub fn draw(&self, random: &mut Random) -> Window {
        let places = 2 * self.pad + 1;
        let (top, left) = match self.pad {
            0 => (0, 0),
            _ => (random.below(places), random.below(places)),
        };
        Window { top, left, pad: self.pad, flip: self.flip && random.chance(0.5) }
    }
}

impl Window {
    /// The image's row and column at the first pixel of a window of this width, and the step from one column to the
    /// next: 1, or -1 where it is mirrored. Rows and columns outside of the image are those of the padding.
    pub fn origin(&self, width: usize) -> [i64; 3] {
        let pad = self.pad as i64;
        let (row, column) = (self.top as i64 - pad, self.left as i64 - pad);
        if self.flip { [row, column + width as i64 - 1, -1] } else { [row, column, 1] }
    }

    /// One row of the window; `source` is the image's row, or none in the padding.
    fn fill_row(self, source: Option<&[u8]>, table: &[f32; 256], out: &mut [f32]) {
        let Some(source) = source else { return out.fill(table[0]) };
        let width = out.len();
        // Column x of the window is column x + left - pad of the image.
        let begin = self.pad.saturating_sub(self.left).min(width);
        let end = (width + self.pad).saturating_sub(self.left).min(width).max(begin);
        out[..begin].fill(table[0]);
        out[end..].fill(table[0]);
        if begin < end {
            let first = begin + self.left - self.pad;
            let pixels = &source[first..first + (end - begin)];
            look_up(pixels.iter(), table, &mut out[begin..end]);
        }
        if self.flip {
            out.reverse();
        }
    }
}

fn look_up<'a>(pixels: impl Iterator<Item = &'a u8>, table: &[f32; 256], out: &mut [f32]) {
    for (out, &pixel) in out.iter_mut().zip(pixels) {
        *out = table[usize::from(pixel)];
    }
}

/// A random order of `n` images: the same for the same seed and epoch, whatever was drawn before.
pub fn order(n: usize, seed: u64, epoch: u64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    Random::at(seed, "order", &[epoch]).shuffle(&mut order);
    order
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashSet;

    use super::*;

    /// Pixels are kept as they are: (pixel / 255 - 0) / (1 / 255).
    fn identity(channels: usize) -> Normalization {
        Normalization { mean: vec![0.0; channels], std: vec![1.0 / 255.0; channels] }
    }

    /// Images of 1x2x3 with pixels 1 to 6, 11 to 16, ...
    fn images(n: u8) -> Dataset {
        Dataset {
            shape: Shape::new(1, 2, 3),
            labels: vec!["a".to_owned()],
            images: (0..n).flat_map(|i| (1..=6).map(move |p| 10 * i + p)).collect(),
            targets: vec![0; n.into()],
        }
    }

    fn rounded(batch: &[f32]) -> Vec<u8> {
        batch.iter().map(|value| value.round() as u8).collect()
    }

    fn window(top: usize, left: usize, flip: bool) -> Vec<u8> {
        let dataset = images(1);
        let mut out = vec![f32::NAN; 6];
        let window = Window { top, left, pad: 2, flip };
        Batches::new(&dataset, &identity(1)).fill_image(dataset.image(0), Some(window), &mut out);
        rounded(&out)
    }

    #[test]
    fn windows_are_those_of_the_padded_image() {
        assert_eq!(window(2, 2, false), [1, 2, 3, 4, 5, 6]);
        assert_eq!(window(2, 2, true), [3, 2, 1, 6, 5, 4]);
        assert_eq!(window(1, 2, false), [0, 0, 0, 1, 2, 3]);
        assert_eq!(window(3, 1, false), [0, 4, 5, 0, 0, 0]);
        assert_eq!(window(3, 1, true), [5, 4, 0, 0, 0, 0]);
        assert_eq!(window(2, 4, false), [3, 0, 0, 6, 0, 0]);
        assert_eq!(window(0, 0, false), [0; 6]);
    }

    #[test]
    fn padding_wider_than_the_image_is_black() {
        let dataset = images(1);
        let mut out = vec![f32::NAN; 6];
        let window = Window { top: 7, left: 14, pad: 7, flip: false };
        let batches = Batches::new(&dataset, &identity(1));
        batches.fill_image(dataset.image(0), Some(window), &mut out);
        assert_eq!(rounded(&out), [0; 6]);
        batches.fill_image(dataset.image(0), Some(Window { left: 0, ..window }), &mut out);
        assert_eq!(rounded(&out), [0; 6]);
    }

    #[test]
    fn every_place_is_drawn_and_half_are_mirrored() {
        let augment = Augment { pad: 1, flip: true };
        let mut random = Random::new(3, "augment");
        let windows: Vec<Window> = (0..900).map(|_| augment.draw(&mut random)).collect();
        let places: HashSet<_> = windows.iter().map(|w| (w.top, w.left)).collect();
        assert_eq!(places.len(), 9);
        let mirrored = windows.iter().filter(|w| w.flip).count();
        assert!((390..510).contains(&mirrored), "{mirrored}");
    }

    #[test]
    fn origins_and_steps_lead_to_the_pixels_that_are_filled_in() {
        let dataset = images(1);
        for place in 0..5 * 5 * 2 {
            let (top, left, flip) = (place / 10, place / 2 % 5, place % 2 == 1);
            let [row, column, step] = Window { top, left, pad: 2, flip }.origin(3);
            let pixel = |at: i64| {
                let (row, column) = (row + at / 3, column + step * (at % 3));
                let inside = (0..2).contains(&row) && (0..3).contains(&column);
                if inside { dataset.images[(3 * row + column) as usize] } else { 0 }
            };
            assert_eq!(window(top, left, flip), (0..6).map(pixel).collect::<Vec<_>>(), "{place}");
        }
    }

    #[test]
    fn padding_is_black_after_normalisation() {
        let dataset = images(1);
        let normalization = Normalization { mean: vec![0.5], std: vec![0.25] };
        let mut out = vec![0.0; 6];
        let window = Window { top: 0, left: 0, pad: 2, flip: false };
        Batches::new(&dataset, &normalization).fill_image(dataset.image(0), Some(window), &mut out);
        assert_eq!(out, [-2.0; 6]);
    }

    #[test]
    fn channels_move_together_and_are_normalised_apart() {
        let dataset = Dataset { shape: Shape::new(2, 1, 3), ..images(1) };
        let normalization =
            Normalization { mean: vec![0.0; 2], std: vec![1.0 / 255.0, 0.5 / 255.0] };
        let mut out = vec![0.0; 6];
        let window = Window { top: 1, left: 2, pad: 1, flip: true };
        Batches::new(&dataset, &normalization).fill_image(dataset.image(0), Some(window), &mut out);
        assert_eq!(rounded(&out), [0, 3, 2, 0, 12, 10]);
    }

    #[test]
    fn a_batch_depends_on_nothing_but_its_seed() {
        let dataset = images(20);
        let batches = Batches::new(&dataset, &identity(1));
        let indices = order(20, 5, 1);
        let augment = Augment { pad: 2, flip: true };
        let batch = |step: u64| {
            let mut out = vec![0.0; 120];
            batches.fill(
                &indices,
                Some(&augment),
                &mut Random::at(5, "augment", &[1, step]),
                &mut out,
            );
            out
        };
        assert_eq!(batch(4), batch(4));
        assert_ne!(batch(4), batch(5));
    }

    #[test]
    fn without_augmentation_images_are_as_stored() {
        let dataset = images(3);
        let mut out = vec![0.0; 12];
        let mut random = Random::new(0, "augment");
        let batches = Batches::new(&dataset, &identity(1));
        batches.fill(&[2, 0], None, &mut random, &mut out);
        assert_eq!(rounded(&out), [21, 22, 23, 24, 25, 26, 1, 2, 3, 4, 5, 6]);
        assert_eq!(random.bits(), Random::new(0, "augment").bits());
        assert_eq!(batches.targets(&[2, 0]), [0, 0]);
    }

    #[test]
    fn an_order_is_a_permutation_that_changes_with_the_epoch() {
        let mut first = order(100, 1, 0);
        assert_eq!(first, order(100, 1, 0));
        assert_ne!(first, order(100, 1, 1));
        first.sort_unstable();
        assert_eq!(first, (0..100).collect::<Vec<_>>());
    }
}
