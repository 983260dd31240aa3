//! ONNX models of networks.

use std::path::Path;

use netfit_spaces::Network;
use prost::Message as _;

use crate::{
    Error, INPUT, ModelInfo, OUTPUT, Result, Weights,
    graph::Graph,
    proto::{
        Dimension, DimensionProto, FLOAT, GraphProto, ModelProto, OperatorSetIdProto,
        TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
    },
    weights::write_file,
};

/// Version of the operators: has every one that netfit uses in its present form, and is read by runtimes since 2022.
const OPSET: i64 = 17;
/// Version of the file format that came with that operator set.
const IR_VERSION: i64 = 8;
/// Protobuf's limit.
const MAX_BYTES: usize = i32::MAX as usize;

/// The network as an ONNX model for any number of images.
///
/// Operator set 17, file format 8. Input `images` `[batch, C, H, W]`: normalised pixels, preprocessing is not in the
/// graph; output `logits` `[batch, classes]`, or an image where the last block leaves more than one pixel. Batch
/// normalisation is folded into the convolutions. Names: see [`crate::block_of`]; metadata: see [`ModelInfo`].
///
/// # Errors
/// Weights that are not the network's or not finite; information that does not fit it.
pub fn to_onnx(network: &Network, weights: &Weights, info: &ModelInfo) -> Result<Vec<u8>> {
    to_onnx_at_batch(network, weights, info, None)
}

/// As [`to_onnx`], for exactly `batch` images at a time where a number is given.
///
/// # Errors
/// As [`to_onnx`], and a batch of 0.
pub fn to_onnx_at_batch(
    network: &Network,
    weights: &Weights,
    info: &ModelInfo,
    batch: Option<usize>,
) -> Result<Vec<u8>> {
    if batch == Some(0) {
        return Err(Error::Info("expected a batch of at least 1, found 0".into()));
    }
    weights.check(network)?;
    let metadata_props = info.entries(network)?;
    let Graph { nodes, constants, .. } = Graph::new(network, weights)?;
    let input = network.input();
    let output = network.blocks()[network.blocks().len() - 1].output();
    let image = [output.channels, output.height, output.width];
    let logits = if image[1..] == [1, 1] { &image[..1] } else { &image[..] };
    let model = ModelProto {
        ir_version: IR_VERSION,
        producer_name: "netfit".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(GraphProto {
            node: nodes,
            name: format!("netfit-{}", network.hash()),
            initializer: constants,
            input: vec![value(INPUT, batch, &[input.channels, input.height, input.width])],
            output: vec![value(OUTPUT, batch, logits)],
        }),
        opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
        metadata_props,
    };
    let bytes = model.encoded_len();
    if bytes > MAX_BYTES {
        return Err(Error::TooLarge { bytes, limit: MAX_BYTES });
    }
    Ok(model.encode_to_vec())
}

/// Writes a model's bytes to a file, whole or not at all.
///
/// # Errors
/// A path that cannot be written.
pub fn save_model(path: &Path, model: &[u8]) -> Result<()> {
    write_file(path, model).map_err(|source| Error::Write { path: path.to_owned(), source })
}

/// A node of an ONNX graph.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Its operator, for example `Conv`.
    pub op: String,
    /// Tensors that it reads, constants included.
    pub inputs: Vec<String>,
    /// Tensors that it writes.
    pub outputs: Vec<String>,
}

/// The nodes of any ONNX model, in order: one of ours, or the optimised one that a runtime has written.
///
/// # Errors
/// Bytes that are not an ONNX model.
pub fn nodes(model: &[u8]) -> Result<Vec<Node>> {
    let (_, graph) = decode(model)?;
    Ok(graph
        .node
        .into_iter()
        .map(|node| Node {
            name: node.name,
            op: node.op_type,
            inputs: node.input,
            outputs: node.output,
        })
        .collect())
}

/// A model apart from its graph, and its graph.
pub(crate) fn decode(model: &[u8]) -> Result<(ModelProto, GraphProto)> {
    let mut model =
        ModelProto::decode(model).map_err(|error| Error::Onnx { reason: error.to_string() })?;
    let graph = model.graph.take();
    let graph =
        graph.ok_or_else(|| Error::Onnx { reason: "expected a graph, found none".into() })?;
    Ok((model, graph))
}

/// A tensor `[batch, sides...]` of floats.
fn value(name: &str, batch: Option<usize>, sides: &[usize]) -> ValueInfoProto {
    let batch = match batch {
        Some(images) => Dimension::Value(images as i64),
        None => Dimension::Named("batch".into()),
    };
    let sides = sides.iter().map(|&side| Dimension::Value(side as i64));
    let dim = std::iter::once(batch)
        .chain(sides)
        .map(|side| DimensionProto { value: Some(side) })
        .collect();
    let tensor_type =
        Some(TensorTypeProto { elem_type: FLOAT, shape: Some(TensorShapeProto { dim }) });
    ValueInfoProto { name: name.to_owned(), r#type: Some(TypeProto { tensor_type }) }
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashSet;

    use netfit_spaces::{Random, Space};
    use tract_onnx::prelude::{
        DatumType, Framework as _, InferenceFact, InferenceModelExt as _, IntoRunnable as _,
        TValue, tvec,
    };

    use super::*;
    use crate::{Tensor, block_of, reference};

    fn weights(network: &Network) -> Weights {
        Weights::random(network, &mut Random::new(5, "weights"))
    }

    fn model(network: &Network, batch: Option<usize>) -> Vec<u8> {
        let info = ModelInfo::unlabelled(network);
        to_onnx_at_batch(network, &weights(network), &info, batch).unwrap()
    }

    /// The model's outputs in tract, an independent runtime, for as many images as the input holds.
    pub(crate) fn tract(model: &[u8], images: &Tensor) -> Vec<Vec<f32>> {
        let input = tract_onnx::prelude::Tensor::from_shape(&images.shape, &images.data).unwrap();
        let fact = InferenceFact::dt_shape(DatumType::F32, &images.shape);
        let plan = tract_onnx::onnx()
            .model_for_read(&mut &model[..])
            .unwrap()
            .with_input_fact(0, fact)
            .unwrap()
            .into_optimized()
            .unwrap()
            .into_runnable()
            .unwrap();
        let outputs = plan.run(tvec!(input.into())).unwrap();
        let numbers = |output: &TValue| {
            output.to_plain_array_view::<f32>().unwrap().iter().copied().collect()
        };
        outputs.iter().map(numbers).collect()
    }

    pub(crate) fn images(network: &Network, count: usize) -> Tensor {
        let (shape, mut random) = (network.input(), Random::new(9, "images"));
        let data = (0..count * shape.elements()).map(|_| random.normal() as f32).collect();
        Tensor { shape: vec![count, shape.channels, shape.height, shape.width], data }
    }

    /// tract on the folded model and nested loops on the unfolded weights give the same.
    fn agrees(network: &Network, count: usize) {
        let images = images(network, count);
        let expected = reference::evaluate(network, &weights(network), &images);
        let outputs = tract(&model(network, None), &images);
        assert_eq!(outputs.len(), 1);
        let found = &outputs[0];
        assert_eq!(found.len(), expected.len());
        let size = expected.iter().fold(1.0_f64, |size, x| size.max(x.abs()));
        let spread = expected.iter().fold(f64::MIN, |a, &x| a.max(x))
            - expected.iter().fold(f64::MAX, |a, &x| a.min(x));
        assert!(spread > 1e-2, "a constant output would prove nothing: {expected:?}");
        for (x, y) in expected.iter().zip(found) {
            assert!(
                (x - f64::from(*y)).abs() < 1e-4 * size,
                "{expected:?} {found:?}\n{}",
                network.text()
            );
        }
    }

    pub(crate) const KINDS: [&str; 16] = [
        "conv k3 s2 relu 3x9x7 -> 5x5x4",
        "conv k1 s2 3x9x7 -> 5x5x4",
        "conv k5 s3 relu6 2x8x11 -> 4x3x4",
        "conv k7 s1 hswish 2x5x5 -> 3x5x5",
        "dsconv k3 s1 relu res 6x5x5 -> 6x5x5",
        "dsconv k5 s2 se8 relu6 6x7x5 -> 4x4x3",
        "mbconv k3 m12 s1 relu6 res 4x6x5 -> 4x6x5",
        "mbconv k5 m16 s2 se8 hswish 4x9x9 -> 6x5x5",
        "mbconv k7 m8 s1 se4 relu res 4x5x5 -> 4x5x5",
        "mbconv k3 m8 s2 3x8x8 -> 5x4x4",
        "conv k1 s1 hswish 3x4x4 -> 8x4x4\npool 8x4x4 -> 8x1x1\nlinear nobias hswish 8x1x1 -> 12x1x1\nlinear 12x1x1 -> 5x1x1",
        "linear relu 4x1x1 -> 6x1x1\nconv k3 s1 relu 6x1x1 -> 5x1x1\npool 5x1x1 -> 5x1x1\nlinear nobias 5x1x1 -> 3x1x1",
        "linear relu 4x1x1 -> 6x1x1\nconv k1 s1 relu res 6x1x1 -> 6x1x1\nlinear 6x1x1 -> 3x1x1",
        "conv k3 s1 se8 relu6 respool 4x5x6 -> 4x5x6",
        "dsconv k5 s1 relu6 respool 4x2x3 -> 4x2x3",
        "conv k3 s1 se4 relu6 res 4x1x4 -> 4x1x4\nmbconv k3 m8 s1 relu6 respool 4x1x4 -> 4x1x4",
    ];

    #[test]
    fn every_kind_of_block_computes_what_its_layers_say() {
        for text in KINDS {
            agrees(&text.parse().unwrap(), 2);
        }
    }

    #[test]
    fn whole_networks_compute_what_their_layers_say() {
        for preset in ["ofa-28", "nas-bench-macro", "mnasnet-28"] {
            let space = Space::preset(preset).unwrap();
            agrees(&space.network(&space.smallest()), 1);
        }
    }

    #[test]
    fn a_fixed_batch_is_fixed() {
        let network: Network = KINDS[10].parse().unwrap();
        let (one, any) = (model(&network, Some(1)), model(&network, None));
        let first = |model: &[u8]| {
            let graph = ModelProto::decode(model).unwrap().graph.unwrap();
            let shape = |value: &ValueInfoProto| {
                value.r#type.clone().unwrap().tensor_type.unwrap().shape.unwrap().dim[0]
                    .value
                    .clone()
            };
            (shape(&graph.input[0]), shape(&graph.output[0]))
        };
        let named = Some(Dimension::Named("batch".into()));
        assert_eq!(first(&one), (Some(Dimension::Value(1)), Some(Dimension::Value(1))));
        assert_eq!(first(&any), (named.clone(), named));
        let image = images(&network, 1);
        assert_eq!(tract(&one, &image), tract(&any, &image));
        let info = ModelInfo::unlabelled(&network);
        assert!(to_onnx_at_batch(&network, &weights(&network), &info, Some(0)).is_err());
    }

    #[test]
    fn every_node_and_tensor_is_named_after_its_block_and_every_constant_is_used() {
        let space = Space::preset("ofa-mbv3").unwrap();
        for network in [space.network(&space.largest()), KINDS[11].parse().unwrap()] {
            let graph = ModelProto::decode(&model(&network, None)[..]).unwrap().graph.unwrap();
            let mut seen = HashSet::new();
            for node in &graph.node {
                let block = block_of(&node.name).unwrap();
                assert!(node.name.starts_with(&network.block_name(block)), "{}", node.name);
                assert!(seen.insert(block) || block + 1 == seen.len(), "{}", node.name);
                for tensor in node.output.iter().filter(|name| *name != OUTPUT) {
                    assert_eq!(tensor, &format!("{}:0", node.name));
                }
            }
            assert_eq!(seen.len(), network.blocks().len());
            let unique: HashSet<&str> = graph.node.iter().map(|node| node.name.as_str()).collect();
            assert_eq!(unique.len(), graph.node.len());
            let read: HashSet<&str> =
                graph.node.iter().flat_map(|node| node.input.iter().map(String::as_str)).collect();
            for constant in &graph.initializer {
                assert!(read.contains(constant.name.as_str()), "{}", constant.name);
                assert!(block_of(&constant.name).is_some(), "{}", constant.name);
            }
        }
    }

    #[test]
    fn weights_that_are_not_finite_are_not_exported() {
        let network: Network = KINDS[10].parse().unwrap();
        let mut weights = weights(&network);
        let name = "b03_linear.linear.weight";
        let mut tensor = weights.get(name).unwrap().clone();
        tensor.data[3] = f32::INFINITY;
        weights.insert(name, tensor);
        let error = to_onnx(&network, &weights, &ModelInfo::unlabelled(&network)).unwrap_err();
        assert!(error.to_string().contains("`b03_linear.linear.weight`: found inf"), "{error}");
    }

    #[test]
    fn bytes_that_are_no_model_have_no_nodes() {
        assert!(nodes(&[0xff; 9]).unwrap_err().to_string().contains("not an ONNX model"));
        assert!(nodes(&[]).unwrap_err().to_string().contains("expected a graph"));
    }
}
