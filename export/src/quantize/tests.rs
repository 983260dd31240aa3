#![allow(clippy::unwrap_used)]
use std::collections::HashSet;

use netfit_spaces::{Network, Random, Space};

use super::*;
use crate::{
    ModelInfo, Node, Tensor, Weights, block_of,
    model::tests::{KINDS, images, tract},
    nodes, to_onnx,
};

fn model(network: &Network) -> Vec<u8> {
    let weights = Weights::random(network, &mut Random::new(5, "weights"));
    to_onnx(network, &weights, &ModelInfo::unlabelled(network)).unwrap()
}

/// What the tensors of a model hold on these images, by a runtime that is not the one that people use.
fn observe(model: &[u8], images: &Tensor) -> Ranges {
    let (model, names) = observable(model).unwrap();
    let outputs = tract(&model, images);
    assert_eq!(outputs.len(), 1 + names.len());
    let range = |numbers: &[f32]| {
        [
            numbers.iter().copied().fold(f32::MAX, f32::min),
            numbers.iter().copied().fold(f32::MIN, f32::max),
        ]
    };
    let seen = names.into_iter().zip(&outputs[1..]).map(|(name, numbers)| (name, range(numbers)));
    seen.chain([(INPUT.to_owned(), range(&images.data))]).collect()
}

/// The error of a network's quantised outputs, as a share of their own deviation.
fn error(network: &Network, reduce_range: bool) -> f64 {
    let (model, images) = (model(network), images(network, 4));
    let ranges = observe(&model, &images);
    let quantized = quantize(&model, &ranges, reduce_range).unwrap();
    let (exact, found) = (tract(&model, &images).remove(0), tract(&quantized, &images).remove(0));
    assert_eq!(exact.len(), found.len());
    let mean = exact.iter().map(|&x| f64::from(x)).sum::<f64>() / exact.len() as f64;
    let squares = |numbers: &mut dyn Iterator<Item = f64>| numbers.map(|x| x * x).sum::<f64>();
    let error = squares(&mut exact.iter().zip(&found).map(|(&x, &y)| f64::from(x) - f64::from(y)));
    (error / squares(&mut exact.iter().map(|&x| f64::from(x) - mean))).sqrt()
}

#[test]
fn every_kind_of_block_computes_about_the_same() {
    for text in KINDS {
        let network = text.parse().unwrap();
        let (full, reduced) = (error(&network, false), error(&network, true));
        eprintln!("{full:.4} {reduced:.4} {text}");
        assert!(full > 0.0 && full < 0.03, "{full}\n{text}");
        assert!(reduced < 0.05, "{reduced}\n{text}");
    }
}
