//! The architecture's own images.

use std::sync::Arc;

use netfit_data::{Dataset, Splits};
use netfit_search::job::{Proxyless, Training};
use netfit_spaces::Random;
use tch::Device;

use crate::{Error, Result, feed::Feed};

/// The training images of the weights, and those of the architecture.
pub(super) fn feeds(
    splits: &Splits,
    options: &Proxyless,
    training: &Training,
    seed: u64,
    device: Device,
) -> Result<[Feed; 2]> {
    let (weights, judges) = parts(splits, options, training, seed)?;
    let own_seed = Random::new(seed, "images of the architecture").bits();
    Ok([Feed::new(Arc::new(weights), seed, device), Feed::new(Arc::new(judges), own_seed, device)])
}

/// The training images in two parts, drawn by the seed: the weights' and the architecture's.
fn parts(
    splits: &Splits,
    options: &Proxyless,
    training: &Training,
    seed: u64,
) -> Result<(Splits, Splits)> {
    let mut indices: Vec<usize> = (0..splits.train.len()).collect();
    Random::new(seed, "split for the architecture").shuffle(&mut indices);
    let own = (options.architecture_images * indices.len() as f64).round() as usize;
    let (judges, weights) = indices.split_at(own.min(indices.len()));
    for (what, found) in [("the architecture", judges.len()), ("the weights", weights.len())] {
        if found < training.batch {
            let expected = format!("at least one batch of {} images for {what}", training.batch);
            let remedy = "lower `[training] batch`, or move `[proxyless] architecture_images` towards a half";
            return Err(Error::Images { expected, found: found.to_string(), remedy });
        }
    }
    let of = |indices: &[usize]| {
        let train = splits.train.subset(indices);
        let none = Dataset { images: Vec::new(), targets: Vec::new(), ..train.clone() };
        let normalization = splits.normalization.clone();
        Splits { train, holdout: none.clone(), test: none, normalization }
    };
    Ok((of(weights), of(judges)))
}
