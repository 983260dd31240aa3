//! How large an exported file can become, before there is one.

use netfit_spaces::{Activation, Block, Network, Op, Shape, Skip};
use prost::Message;

use crate::{
    Error, ModelInfo, Result, Tensor, Weights, block_of,
    graph::Graph,
    proto::{GraphProto, NodeProto, TensorProto},
    quantize::{any_ranges_of, quantized},
};

/// What a file has beside its blocks and its information: names, versions, the input and the output, how it was
/// quantised.
const FRAME: usize = 640;
/// What a node or a constant may take more among others than alone: the prefix of a message, the names of the tensor that
/// the block before writes and of its own, a longer number of the block, and its share of what brings a vector into the
/// shape of an image where another kind of block stands before.
const AMONG_OTHERS: usize = 64;

/// Bytes that a block takes at most in an ONNX file of 32-bit numbers, so that those of all blocks bound the file's: less
/// than 200 above them for each node of the graph.
///
/// # Errors
/// None for a block of a space.
pub fn block_bytes(block: &Block) -> Result<u64> {
    let network = Network::new(vec![block.clone()])?;
    let weights = zeros(&network);
    let Graph { nodes, constants, .. } = Graph::new(&network, &weights)?;
    Ok(bytes(block, &nodes, &constants))
}

/// The same of a file of 8-bit numbers, as [`crate::quantize`] leaves it; `first` is whether the block reads images.
///
/// # Errors
/// None for a block of a space.
pub fn quantized_block_bytes(block: &Block, first: bool) -> Result<u64> {
    let beside = |input: Shape, channels: usize| {
        let (activation, skip) = (Activation::None, Skip::None);
        Block::new(
            Op::Conv { kernel: 1, stride: 1, squeeze: None, activation, skip },
            input,
            channels,
        )
    };
    let (input, place) = (block.input(), usize::from(!first));
    let thin = Shape { channels: 1, ..input };
    let mut blocks = vec![block.clone(), beside(block.output(), 1)?];
    if !first {
        blocks.insert(0, beside(thin, input.channels)?);
    }
    let network = Network::new(blocks)?;
    let weights = zeros(&network);
    let Graph { nodes: node, constants: initializer, .. } = Graph::new(&network, &weights)?;
    let graph = GraphProto { node, initializer, ..GraphProto::default() };
    let (mut nodes, mut constants) = quantized(&graph, &any_ranges_of(&graph), i8::MAX)?;
    nodes.retain(|node| block_of(&node.name) == Some(place));
    constants.retain(|constant| block_of(&constant.name) == Some(place));
    Ok(bytes(block, &nodes, &constants))
}

/// A block's nodes, its constants, and its line in the metadata.
fn bytes(block: &Block, nodes: &[NodeProto], constants: &[TensorProto]) -> u64 {
    (among_others(nodes) + among_others(constants) + block.to_string().len() + 1) as u64
}

/// Weights of a network's shapes.
fn zeros(network: &Network) -> Weights {
    let mut weights = Weights::new();
    for spec in network.weights() {
        let data = vec![0.0; spec.shape.iter().product()];
        weights.insert(spec.name, Tensor { shape: spec.shape, data });
    }
    weights
}

fn among_others(messages: &[impl Message]) -> usize {
    messages.iter().map(|message| message.encoded_len() + AMONG_OTHERS).sum()
}

impl ModelInfo {
    /// Bytes that a file takes at most beside its blocks.
    ///
    /// # Errors
    /// None for labels of a data set.
    pub fn bytes(&self) -> Result<u64> {
        let labels =
            serde_json::to_string(&self.labels).map_err(|error| Error::Info(error.to_string()))?;
        // A number of 32 bits has 16 characters at most, and a comma.
        let numbers = 17 * (self.mean.len() + self.std.len());
        let extra = self.extra.iter().map(|(key, value)| key.len() + value.len() + AMONG_OTHERS);
        Ok((FRAME + labels.len() + numbers + extra.sum::<usize>()) as u64)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use netfit_spaces::{Random, Space};

    use super::*;
    use crate::{any_ranges, model::tests::KINDS, nodes, quantize, to_onnx};

    /// The file of a network with random weights keeps to the bound, which is not much above it.
    fn holds(network: &Network, info: &ModelInfo) {
        let weights = Weights::random(network, &mut Random::new(0, "files"));
        let model = to_onnx(network, &weights, info).unwrap();
        let quantized = quantize(&model, &any_ranges(&model).unwrap(), false).unwrap();
        for (int8, model) in [model, quantized].iter().enumerate() {
            let (file, nodes) = (model.len() as u64, nodes(model).unwrap().len() as u64);
            let of_block = |(index, block): (usize, &Block)| match int8 {
                0 => block_bytes(block).unwrap(),
                _ => quantized_block_bytes(block, index == 0).unwrap(),
            };
            let blocks = network.blocks().iter().enumerate().map(of_block);
            let most = info.bytes().unwrap() + blocks.sum::<u64>();
            assert!(file <= most, "{file} of {most}\n{}", network.text());
            // Of a network of one block nothing is quantised.
            let slack = if network.blocks().len() == 1 { 400 * int8 as u64 } else { 0 };
            let less = file + 1000 + slack + 200 * nodes;
            assert!(most < less, "{file} of {most}\n{}", network.text());
        }
    }

    #[test]
    fn no_file_is_larger_and_none_is_much_smaller() {
        let mut random = Random::new(0, "networks");
        for preset in ["ofa-28", "nas-bench-macro", "mnasnet-28", "proxyless-28", "ofa-mbv3-multi"]
        {
            let space = Space::preset(preset).unwrap();
            for genotype in [space.smallest(), space.sample(&mut random), space.largest()] {
                let network = space.network(&genotype);
                let mut info = ModelInfo::unlabelled(&network);
                info.labels[0] = "a \"läbel\" \u{1}".repeat(99);
                info.mean.fill(-1.234_567_9e-30);
                info.extra = ["genotype", "space", "images"]
                    .map(|key| (key.to_owned(), genotype.to_string()))
                    .to_vec();
                holds(&network, &info);
            }
        }
    }

    #[test]
    fn every_kind_of_block_keeps_to_it_alone_and_in_long_networks() {
        let long = ["conv k1 s1 hswish res 3x4x4 -> 3x4x4"; 120].join("\n");
        let between = "linear relu 4x1x1 -> 6x1x1\nconv k1 s1 6x1x1 -> 6x1x1\n".to_owned()
            + "linear relu 6x1x1 -> 4x1x1";
        let repeated = [between.as_str(); 9].join("\n");
        for text in KINDS.into_iter().chain([&*long, &*repeated]) {
            let network = text.parse().unwrap();
            holds(&network, &ModelInfo::unlabelled(&network));
        }
    }
}
