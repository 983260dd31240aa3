#![allow(clippy::unwrap_used)]
use std::collections::HashSet;

use netfit_spaces::{Network, Random, Space};

use super::*;
use crate::{
    ModelInfo, Node, Tensor, Weights, block_of,
    model::tests::{KINDS, images, tract},
    nodes,
    proto::INT8,
    to_onnx,
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
    seen.collect()
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

/// A network of this block behind one that stays in 32 bits.
fn behind_another(text: &str) -> Network {
    let first: Network = text.parse().unwrap();
    let input = first.input();
    format!("conv k1 s1 {input} -> {input}\n{text}").parse().unwrap()
}

#[test]
fn every_kind_of_block_computes_about_the_same() {
    for text in KINDS {
        let network = behind_another(text);
        let (full, reduced) = (error(&network, false), error(&network, true));
        assert!(full > 1e-4 && full < 0.03, "{full}\n{text}");
        assert!(reduced < 0.08 && reduced.to_bits() != full.to_bits(), "{reduced}\n{text}");
    }
}

#[test]
fn whole_networks_compute_about_the_same() {
    for preset in ["ofa-28", "proxyless-28", "nas-bench-macro"] {
        let space = Space::preset(preset).unwrap();
        let error = error(&space.network(&space.smallest()), false);
        assert!(error > 1e-3 && error < 0.05, "{preset}: {error}");
    }
}

/// A model in 8 bits and its nodes.
fn in_8_bits(network: &Network) -> (Vec<u8>, Vec<Node>) {
    let model = model(network);
    let quantized = quantize(&model, &any_ranges(&model).unwrap(), false).unwrap();
    let nodes = nodes(&quantized).unwrap();
    (quantized, nodes)
}

#[test]
fn names_are_those_of_blocks_in_order_and_every_constant_is_read() {
    let space = Space::preset("ofa-mbv3").unwrap();
    for network in [space.network(&space.largest()), behind_another(KINDS[11])] {
        let (model, nodes) = in_8_bits(&network);
        let blocks: Vec<usize> = nodes.iter().map(|node| block_of(&node.name).unwrap()).collect();
        assert!(blocks.is_sorted(), "{blocks:?}");
        let unique: HashSet<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        assert_eq!(unique.len(), nodes.len());
        let read: HashSet<&str> =
            nodes.iter().flat_map(|node| node.inputs.iter().map(String::as_str)).collect();
        for constant in decode(&model).unwrap().1.initializer {
            assert!(read.contains(constant.name.as_str()), "{}", constant.name);
            assert!(block_of(&constant.name).is_some(), "{}", constant.name);
        }
    }
}

/// Every convolution behind the first block reads and writes whole numbers: what a runtime fuses.
#[test]
fn nodes_with_weights_stand_between_whole_numbers() {
    let space = Space::preset("mnasnet-28").unwrap();
    let (_, nodes) = in_8_bits(&space.network(&space.largest()));
    let makes = |tensor: &String| nodes.iter().find(|node| node.outputs.contains(tensor));
    let readers = |tensor: &String| -> Vec<&str> {
        let reads = |node: &&Node| node.inputs.contains(tensor);
        nodes.iter().filter(reads).map(|node| node.op.as_str()).collect()
    };
    for node in nodes.iter().filter(|node| LINEAR.contains(&node.op.as_str())) {
        if block_of(&node.name) == Some(0) {
            continue;
        }
        for input in &node.inputs {
            assert_eq!(makes(input).unwrap().op, "DequantizeLinear", "{} of {}", input, node.name);
        }
        let output = &node.outputs[0];
        let expected = if output == OUTPUT { vec![] } else { vec!["QuantizeLinear"] };
        assert_eq!(readers(output), expected, "{}", node.name);
    }
    let in_first =
        |node: &&Node| block_of(&node.name) == Some(0) && node.op.ends_with("uantizeLinear");
    // Its result, and back.
    assert_eq!(nodes.iter().filter(in_first).count(), 2);
    let cut = |node: &Node| CLAMPS.contains(&node.op.as_str()) && block_of(&node.name) != Some(0);
    assert!(!nodes.iter().any(cut));
}

#[test]
fn logits_are_not_cut_to_a_range_whatever_leaves_them() {
    for last in
        ["conv k1 s1 relu 5x1x1 -> 7x1x1", "pool 5x3x3 -> 5x1x1", "linear relu 5x1x1 -> 7x1x1"]
    {
        let network: Network = last.parse().unwrap();
        let input = network.input();
        let text =
            format!("conv k1 s1 {input} -> {input}\nconv k1 s1 relu {input} -> {input}\n{last}");
        let (_, nodes) = in_8_bits(&text.parse().unwrap());
        let makes = |tensor: &str| nodes.iter().find(|node| node.outputs[0] == tensor).unwrap();
        let mut end = makes(OUTPUT);
        if SHAPES.contains(&end.op.as_str()) {
            end = makes(&end.inputs[0]);
        }
        assert_ne!(end.op, "DequantizeLinear", "{last}");
        assert_eq!(end.op == "Relu", last.contains("relu"), "{end:?}");
    }
}

/// Two products of such weights with 8-bit numbers fit into 16 bits.
#[test]
fn a_reduced_range_has_7_bits() {
    let model = model(&behind_another(KINDS[6]));
    let ranges = any_ranges(&model).unwrap();
    for (reduce_range, most, bits) in [(false, 127, "8"), (true, 63, "7")] {
        let (model, graph) = decode(&quantize(&model, &ranges, reduce_range).unwrap()).unwrap();
        let whole = graph.initializer.iter().filter(|constant| constant.data_type == INT8);
        let largest = whole.flat_map(|constant| &constant.raw_data).map(|&byte| (byte as i8).abs());
        assert_eq!(largest.max(), Some(most));
        let told = &model.metadata_props.iter().find(|entry| entry.key == METADATA).unwrap().value;
        assert!(told.contains(&format!("\"weight_bits\":{bits}")), "{told}");
    }
}

#[test]
fn what_cannot_be_quantised_is_an_error() {
    let model = model(&behind_another(KINDS[6]));
    let whole = any_ranges(&model).unwrap();
    for wrong in [[f32::NAN, 1.0], [0.0, f32::INFINITY], [1.0, -1.0]] {
        let mut ranges = whole.clone();
        ranges.insert("b01_mbconv/project/conv:0".to_owned(), wrong);
        let message = quantize(&model, &ranges, false).map(drop).unwrap_err().to_string();
        assert!(
            message.contains("`b01_mbconv/project/conv:0`") && message.contains("hint"),
            "{message}"
        );
    }
    let missing = quantize(&model, &Ranges::new(), false).map(drop).unwrap_err().to_string();
    assert!(missing.contains("`b00_conv/conv/conv:0`") && missing.contains("NaN"), "{missing}");
    let (quantized, _) = in_8_bits(&behind_another(KINDS[6]));
    let twice = quantize(&quantized, &whole, false).map(drop).unwrap_err().to_string();
    assert!(twice.contains("is a QuantizeLinear, which is not quantised"), "{twice}");
    assert!(is_quantized(&quantized).unwrap() && !is_quantized(&model).unwrap());
    assert!(quantize(b"no model", &whole, false).is_err() && is_quantized(&[0xff]).is_err());
}
