//! A model of 32-bit numbers as one of 8-bit numbers, by what its tensors were seen to hold.
//!
//! Static quantisation after training (Jacob et al., CVPR 2018, section 2; Krishnamoorthi, arXiv:1806.08342, section 3):
//! tensors between nodes are unsigned and have a scale and a zero point each, weights are signed, symmetric, with a scale
//! for each output channel; biases have 32 bits. It is written as pairs of `QuantizeLinear` and `DequantizeLinear` around
//! the nodes of the model, which any runtime can run as they stand and most fuse into nodes of whole numbers.

mod affine;
mod graph;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use prost::Message as _;

use crate::{
    Error, OUTPUT, Result, block_of,
    model::decode,
    proto::{GraphProto, ModelProto, NodeProto, StringStringEntryProto, ValueInfoProto},
};
pub(crate) use graph::quantized;

/// The smallest and the largest number of tensors, by name.
pub type Ranges = BTreeMap<String, [f32; 2]>;

/// Key of the metadata of a quantised model.
const METADATA: &str = "quantization";

/// A model of this crate with one more output for each tensor whose range [`quantize`] asks for, and their names.
///
/// # Errors
/// Bytes that are not a model of this crate.
pub fn observable(model: &[u8]) -> Result<(Vec<u8>, Vec<String>)> {
    let (mut model, graph) = opened(model)?;
    let names = observed(&without_clamps(&graph.node));
    let outputs = names.iter().map(|name| ValueInfoProto::of_floats(name.clone()));
    let output = graph.output.into_iter().chain(outputs).collect();
    model.graph = Some(GraphProto { output, ..graph });
    Ok((model.encode_to_vec(), names))
}

/// A model of this crate with 8-bit numbers between its nodes. Its first block and its logits stay in 32 bits; its names are
/// those of [`crate::block_of`].
///
/// `ranges` are those of what [`observable`] names. A number beyond its range is cut to it, which is all that `Relu` and
/// `Clip` do: they go. With `reduce_range` weights take 7 bits, for processors whose sums of two products of 8-bit numbers
/// saturate at 16 bits (x86-64 without VNNI).
///
/// # Errors
/// Bytes that are not a model of this crate, a range that is missing or not finite.
pub fn quantize(model: &[u8], ranges: &Ranges, reduce_range: bool) -> Result<Vec<u8>> {
    let (mut model, graph) = opened(model)?;
    let most = if reduce_range { i8::MAX / 2 } else { i8::MAX };
    let (node, initializer) = quantized(&graph, ranges, most)?;
    model.graph = Some(GraphProto { node, initializer, ..graph });
    let bits = 8 - u8::from(reduce_range);
    model.metadata_props.push(StringStringEntryProto {
        key: METADATA.to_owned(),
        value: format!(r#"{{"activations":"uint8","weights":"int8","weight_bits":{bits}}}"#),
    });
    Ok(model.encode_to_vec())
}

/// Ranges of a model of which nothing but its speed is asked.
///
/// # Errors
/// Bytes that are not a model of this crate.
pub fn any_ranges(model: &[u8]) -> Result<Ranges> {
    let (_, graph) = opened(model)?;
    Ok(any_ranges_of(&graph))
}

/// Whether an ONNX model computes in 8 bits somewhere.
///
/// # Errors
/// Bytes that are not an ONNX model.
pub fn is_quantized(model: &[u8]) -> Result<bool> {
    let whole = |node: &crate::Node| {
        let known =
            ["QuantizeLinear", "DynamicQuantizeLinear", "ConvInteger", "MatMulInteger", "QGemm"];
        known.contains(&node.op.as_str()) || node.op.starts_with("QLinear")
    };
    Ok(crate::nodes(model)?.iter().any(whole))
}

/// A model and its graph, every node of which can be quantised.
fn opened(model: &[u8]) -> Result<(ModelProto, GraphProto)> {
    let (model, graph) = decode(model)?;
    for node in &graph.node {
        let known = [&LINEAR[..], &CLAMPS, &SHAPES, &OTHERS].iter().any(|kinds| is(node, kinds));
        let inputs = if is(node, &LINEAR) { 2 } else { 1 };
        if !known || node.output.len() != 1 || node.input.len() < inputs {
            return Err(Error::Quantize { node: node.name.clone(), op: node.op_type.clone() });
        }
    }
    Ok((model, graph))
}

/// Nodes with weights.
const LINEAR: [&str; 2] = ["Conv", "Gemm"];
/// Nodes that cut numbers to a range.
const CLAMPS: [&str; 2] = ["Relu", "Clip"];
/// Nodes that only change a shape.
const SHAPES: [&str; 2] = ["Flatten", "Unsqueeze"];
const OTHERS: [&str; 5] = ["Add", "Mul", "HardSigmoid", "AveragePool", "GlobalAveragePool"];

fn is(node: &NodeProto, kinds: &[&str]) -> bool {
    kinds.contains(&node.op_type.as_str())
}

/// Whether a tensor stays one of 32-bit numbers: logits, in whatever shape, and those within the first block. Its filters
/// have an image's few channels, so it computes no faster in 8 bits, and its channels differ most in what they hold.
fn stays(tensor: &str, nodes: &[NodeProto]) -> bool {
    let first = |name: &str| block_of(name) == Some(0);
    let mut readers = nodes.iter().filter(|node| node.input.iter().any(|input| input == tensor));
    let shaped = |node: &NodeProto| is(node, &SHAPES) && node.output[0] == OUTPUT;
    tensor == OUTPUT
        || readers.clone().any(shaped)
        || (first(tensor) && readers.all(|node| first(&node.name)))
}

/// The nodes without those whose only effect is that their result has a range, where it is quantised by one: the node before
/// has their output.
fn without_clamps(nodes: &[NodeProto]) -> Vec<NodeProto> {
    let readers = |tensor: &str| {
        nodes.iter().flat_map(|node| &node.input).filter(|input| *input == tensor).count()
    };
    let mut kept: Vec<NodeProto> = Vec::with_capacity(nodes.len());
    for node in nodes {
        let (input, output) = (&node.input[0], &node.output[0]);
        let goes = is(node, &CLAMPS) && readers(input) == 1 && !stays(output, nodes);
        match kept.last_mut() {
            // A shape has no range of its own.
            Some(before) if goes && before.output[0] == *input && !is(before, &SHAPES) => {
                before.output.clone_from(&node.output);
            }
            _ => kept.push(node.clone()),
        }
    }
    kept
}

/// Tensors that are quantised by a range of their own.
fn observed(nodes: &[NodeProto]) -> Vec<String> {
    let clamped =
        |tensor: &String| nodes.iter().any(|node| is(node, &CLAMPS) && node.input[0] == *tensor);
    nodes
        .iter()
        .filter(|node| !is(node, &SHAPES))
        .map(|node| &node.output[0])
        .filter(|tensor| !stays(tensor, nodes) && !clamped(tensor))
        .cloned()
        .collect()
}

/// Ranges as networks have them, whatever their weights are.
pub(crate) fn any_ranges_of(graph: &GraphProto) -> Ranges {
    let made_by = |tensor: &str| graph.node.iter().find(|node| node.output[0] == tensor);
    let range = |tensor: &String| match made_by(tensor) {
        Some(node) if is(node, &["HardSigmoid"]) => [0.0, 1.0],
        Some(node) if is(node, &CLAMPS) => [0.0, 6.0],
        _ => [-6.0, 6.0],
    };
    let observed = observed(&without_clamps(&graph.node));
    observed.into_iter().map(|tensor| (tensor.clone(), range(&tensor))).collect()
}
