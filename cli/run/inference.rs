//! Running exported files on images of a data set.

use std::ops::Range;

use anyhow::Result;
use netfit_data::{Dataset, Splits};
use netfit_profiler::Session;

use crate::progress::Progress;

/// Images of a batch at most.
const IMAGES: usize = 200;
/// Pixels (height x width) of a batch at most, where a network's logits are all that is kept.
const PIXELS: usize = 4_000_000;

/// The images of a data set in batches of so many pixels at most, or of one image.
pub(super) fn batches(dataset: &Dataset, pixels: usize) -> impl Iterator<Item = Range<usize>> {
    let batch = (pixels / (dataset.shape.height * dataset.shape.width)).clamp(1, IMAGES);
    let all = dataset.len();
    (0..all).step_by(batch).map(move |start| start..all.min(start + batch))
}

/// What a model is given of these images, and its shape.
pub(super) fn input(
    splits: &Splits,
    dataset: &Dataset,
    images: Range<usize>,
) -> (Vec<f32>, [usize; 4]) {
    let (shape, count) = (dataset.shape, images.len());
    let size = shape.elements();
    let pixels = &dataset.images[images.start * size..images.end * size];
    let input = splits.normalization.apply(pixels, shape);
    (input, [count, shape.channels, shape.height, shape.width])
}

/// Logits of these images, row-major.
pub(super) fn logits(
    session: &mut Session,
    splits: &Splits,
    dataset: &Dataset,
    images: Range<usize>,
) -> Result<Vec<f32>> {
    let (input, shape) = input(splits, dataset, images);
    Ok(session.logits(&input, &shape)?)
}

/// The share of a data set's images that a model gives their class.
pub(super) fn accuracy(
    session: &mut Session,
    splits: &Splits,
    dataset: &Dataset,
    progress: &mut Progress,
) -> Result<f64> {
    let mut correct = 0;
    for images in batches(dataset, PIXELS) {
        let (start, all) = (images.start as u64, dataset.len() as u64);
        progress.update("testing in ONNX Runtime", start, all, "");
        let targets = &dataset.targets[images.clone()];
        let logits = logits(session, splits, dataset, images)?;
        let classes = logits.len() / targets.len();
        for (row, target) in logits.chunks(classes).zip(targets) {
            let guess = (0..classes).max_by(|&a, &b| row[a].total_cmp(&row[b]));
            correct += usize::from(guess == Some(usize::from(*target)));
        }
    }
    Ok(correct as f64 / dataset.len() as f64)
}
