//! Images in memory, and what is known about their pixels.

use netfit_spaces::{Random, Shape, short_hash};
use serde::{Deserialize, Serialize};

use crate::{Error, Result, load, split};

/// Labelled images of one size, in memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dataset {
    /// Shape of each image.
    pub shape: Shape,
    /// Names of the classes; a target is an index into them.
    pub labels: Vec<String>,
    /// Pixels, image after image, each channels x height x width (NCHW).
    pub images: Vec<u8>,
    /// The class of each image.
    pub targets: Vec<u16>,
}

impl Dataset {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// A hash of its images and their classes.
    pub fn hash(&self) -> String {
        let targets: Vec<u8> = self.targets.iter().flat_map(|t| t.to_le_bytes()).collect();
        [short_hash(&self.images), short_hash(targets)].join(" ")
    }

    /// Whether there is no image.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// The pixels of one image, channels x height x width.
    ///
    /// # Panics
    /// Where there is no such image.
    pub fn image(&self, index: usize) -> &[u8] {
        let size = self.shape.elements();
        &self.images[index * size..(index + 1) * size]
    }

    /// Number of images of each class.
    pub fn counts(&self) -> Vec<usize> {
        load::count(&self.targets, self.labels.len())
    }

    /// The images of these indices, in their order.
    ///
    /// # Panics
    /// Where there is no such image.
    pub fn subset(&self, indices: &[usize]) -> Self {
        let mut images = Vec::with_capacity(indices.len() * self.shape.elements());
        for &index in indices {
            images.extend_from_slice(self.image(index));
        }
        let targets = indices.iter().map(|&index| self.targets[index]).collect();
        Self { shape: self.shape, labels: self.labels.clone(), images, targets }
    }

    /// Two parts, the second with this share (0 to below 1) of each class, each in the order of the whole.
    ///
    /// Of a class of two or more images at least one goes into each part, unless the share is 0.
    pub fn cut(&self, share: f64, random: &mut Random) -> (Self, Self) {
        let (kept, cut) = split::stratified(&self.targets, share, random);
        (self.subset(&kept), self.subset(&cut))
    }
}

/// Per channel, the mean and standard deviation of pixel / 255; networks see `(pixel / 255 - mean) / std`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Normalization {
    /// Mean of each channel.
    pub mean: Vec<f32>,
    /// Standard deviation of each channel, above 0.
    pub std: Vec<f32>,
}

impl Normalization {
    /// That of these images (the training part's, by rights). Exact: it does not depend on the images' order.
    ///
    /// # Errors
    /// Where a channel has no spread, or there is no image.
    pub fn of(dataset: &Dataset) -> Result<Self> {
        let Shape { channels, height, width } = dataset.shape;
        let mut counts = vec![[0u64; 256]; channels];
        for (plane, pixels) in dataset.images.chunks_exact(height * width).enumerate() {
            let counts = &mut counts[plane % channels];
            for &pixel in pixels {
                counts[usize::from(pixel)] += 1;
            }
        }
        let (mut mean, mut std) = (Vec::new(), Vec::new());
        for (channel, counts) in counts.iter().enumerate() {
            if counts.iter().filter(|&&count| count > 0).count() < 2 {
                return Err(Error::Constant { channel });
            }
            let moment = |power: u32| -> u64 {
                counts.iter().zip(0u64..).map(|(count, pixel)| count * pixel.pow(power)).sum()
            };
            let pixels = moment(0) as f64;
            let channel_mean = moment(1) as f64 / pixels;
            let variance = moment(2) as f64 / pixels - channel_mean * channel_mean;
            mean.push((channel_mean / 255.0) as f32);
            std.push((variance.sqrt() / 255.0) as f32);
        }
        Ok(Self { mean, std })
    }

    /// Normalised pixels of images of this shape, in the same order (NCHW).
    ///
    /// # Panics
    /// Where the shape has more channels than the normalisation.
    pub fn apply(&self, pixels: &[u8], shape: Shape) -> Vec<f32> {
        let tables = self.tables();
        let mut normalized = Vec::with_capacity(pixels.len());
        for (plane, pixels) in pixels.chunks(shape.height * shape.width).enumerate() {
            let table = &tables[plane % shape.channels];
            normalized.extend(pixels.iter().map(|&pixel| table[usize::from(pixel)]));
        }
        normalized
    }

    /// Per channel, what each of the 256 pixel values becomes.
    pub fn tables(&self) -> Vec<[f32; 256]> {
        let table = |(mean, std): (&f32, &f32)| {
            std::array::from_fn(|pixel| (pixel as f32 / 255.0 - mean) / std)
        };
        self.mean.iter().zip(&self.std).map(table).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn two_channels() -> Dataset {
        // Channel 0: 0, 51 | 102, 153; channel 1: 255, 255 | 255, 0.
        Dataset {
            shape: Shape::new(2, 1, 2),
            labels: vec!["a".to_owned(), "b".to_owned(), "c".to_owned()],
            images: vec![0, 51, 255, 255, 102, 153, 255, 0],
            targets: vec![2, 0],
        }
    }

    #[test]
    fn normalisation_is_mean_and_deviation_of_each_channel() {
        let normalization = Normalization::of(&two_channels()).unwrap();
        // 0, 0.2, 0.4, 0.6: mean 0.3, variance 0.05. 1, 1, 1, 0: mean 0.75, variance 0.1875.
        let close = |a: f32, b: f64| (f64::from(a) - b).abs() < 1e-6;
        assert!(close(normalization.mean[0], 0.3) && close(normalization.mean[1], 0.75));
        assert!(close(normalization.std[0], 0.05f64.sqrt()));
        assert!(close(normalization.std[1], 0.1875f64.sqrt()));
    }

    #[test]
    fn normalised_training_images_have_mean_0_and_variance_1() {
        let dataset = two_channels();
        let normalized = Normalization::of(&dataset).unwrap().apply(&dataset.images, dataset.shape);
        for channel in 0..2 {
            let values: Vec<f32> = (0..2)
                .flat_map(|image| normalized[image * 4 + channel * 2..][..2].to_vec())
                .collect();
            let mean = values.iter().sum::<f32>() / 4.0;
            let variance = values.iter().map(|v| v * v).sum::<f32>() / 4.0;
            assert!(mean.abs() < 1e-6 && (variance - 1.0).abs() < 1e-5, "{mean} {variance}");
        }
    }

    #[test]
    fn a_channel_without_spread_is_an_error() {
        let mut dataset = two_channels();
        dataset.images = vec![0, 51, 7, 7, 102, 153, 7, 7];
        let error = Normalization::of(&dataset).unwrap_err();
        assert!(matches!(error, Error::Constant { channel: 1 }), "{error}");
        dataset.images.clear();
        assert!(Normalization::of(&dataset).is_err());
    }

    #[test]
    fn a_subset_keeps_the_given_order() {
        let dataset = two_channels();
        let subset = dataset.subset(&[1, 0, 1]);
        assert_eq!(subset.targets, [0, 2, 0]);
        assert_eq!(subset.image(0), dataset.image(1));
        assert_eq!(subset.image(1), [0, 51, 255, 255]);
        assert_eq!(subset.counts(), [2, 0, 1]);
    }
}
