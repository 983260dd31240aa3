//! The architecture's own images.

use std::sync::Arc;

use netfit_data::{Dataset, Splits};
use netfit_search::job::{Proxyless, Training};
use netfit_spaces::Random;
use tch::Device;

use crate::{Error, Result, feed::Feed};

/// The version of how they are drawn; 0 did not go class by class.
pub(super) const VERSION: u32 = 1;

/// The training images of the weights, and those of the architecture.
pub(super) fn feeds(
    splits: &Splits,
    options: &Proxyless,
    training: &Training,
    seed: u64,
    device: Device,
) -> Result<[Feed; 2]> {
    let (weights, own) = parts(splits, options, training, seed)?;
    let own_seed = Random::new(seed, "images of the architecture").bits();
    Ok([Feed::new(Arc::new(weights), seed, device), Feed::new(Arc::new(own), own_seed, device)])
}

/// The training images in two parts, class by class, drawn by the seed: the weights' and the architecture's.
fn parts(
    splits: &Splits,
    options: &Proxyless,
    training: &Training,
    seed: u64,
) -> Result<(Splits, Splits)> {
    let mut random = Random::new(seed, "split for the architecture");
    let (weights, own) = splits.train.cut(options.architecture_images, &mut random);
    for (what, found) in [("the architecture", own.len()), ("the weights", weights.len())] {
        if found < training.batch {
            let expected = format!("at least one batch of {} images for {what}", training.batch);
            let remedy = "lower `[training] batch`, or move `[proxyless] architecture_images` towards a half";
            return Err(Error::Images { expected, found: found.to_string(), remedy });
        }
    }
    let of = |train: Dataset| {
        let none = train.subset(&[]);
        let normalization = splits.normalization.clone();
        Splits { train, holdout: none.clone(), test: none, normalization }
    };
    Ok((of(weights), of(own)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::tests::{splits, training};

    #[test]
    fn weights_and_architecture_see_each_class_in_its_share() {
        let options = Proxyless { architecture_images: 0.25, ..Proxyless::default() };
        let (weights, own) = parts(&splits(192), &options, &training(), 3).unwrap();
        for (part, expected) in [(weights, 48), (own, 16)] {
            let mut counts = [0; 3];
            part.train.targets.iter().for_each(|&class| counts[usize::from(class)] += 1);
            assert_eq!(counts, [expected; 3]);
        }
    }
}
