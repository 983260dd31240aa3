//! Networks: blocks in order.

use sha2::{Digest as _, Sha256};

use crate::{Block, Error, Layer, LayerKind, MultiplyAdds, Parameters, Result, Shape};

/// A feed-forward network: each block's output shape is the next block's input shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    blocks: Vec<Block>,
}

/// Name and shape of one weight tensor of a network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightSpec {
    /// For example `b03_mbconv.expand.weight` or `b03_mbconv.expand.norm.mean`.
    pub name: String,
    /// Convolutions `[out, in / groups, k, k]`, linear maps `[out, in]`, all others `[channels]`.
    pub shape: Vec<usize>,
}

impl Network {
    /// A network of these blocks.
    ///
    /// # Errors
    /// No block at all, or two neighbours whose shapes do not meet.
    pub fn new(blocks: Vec<Block>) -> Result<Self> {
        for pair in blocks.windows(2) {
            if pair[0].output() != pair[1].input() {
                let reason =
                    format!("expected the input {} of the block before it", pair[0].output());
                return Err(Error::Block { text: pair[1].to_string(), reason });
            }
        }
        if blocks.is_empty() {
            return Err(Error::Block {
                text: String::new(),
                reason: "expected at least one block".into(),
            });
        }
        Ok(Self { blocks })
    }

    /// The blocks, in order.
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// Shape of one input image.
    pub fn input(&self) -> Shape {
        self.blocks[0].input()
    }

    /// Number of logits.
    pub fn classes(&self) -> usize {
        self.blocks[self.blocks.len() - 1].output().channels
    }

    /// Learned numbers.
    pub fn parameters(&self) -> Parameters {
        self.blocks.iter().map(Block::parameters).sum()
    }

    /// Multiply-adds for one image.
    pub fn multiply_adds(&self) -> MultiplyAdds {
        self.blocks.iter().map(Block::multiply_adds).sum()
    }

    /// Name of the block at `index`, for example `b03_mbconv`: the prefix of its weights, nodes and tensors.
    pub fn block_name(&self, index: usize) -> String {
        format!("b{index:02}_{}", self.blocks[index].kind())
    }

    /// Every weight tensor, in the order in which the network uses them.
    pub fn weights(&self) -> Vec<WeightSpec> {
        let mut specs = Vec::new();
        for (index, block) in self.blocks.iter().enumerate() {
            for layer in block.layers() {
                layer.weights(&format!("{}.{}", self.block_name(index), layer.name), &mut specs);
            }
        }
        specs
    }

    /// The blocks' lines, one a line.
    pub fn text(&self) -> String {
        self.blocks.iter().fold(String::new(), |text, block| {
            text + &block.to_string()
                + "
"
        })
    }

    /// A short hash of the blocks' lines: equal networks have equal hashes.
    pub fn hash(&self) -> String {
        short_hash(self.text())
    }
}

impl std::str::FromStr for Network {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::new(
            text.lines()
                .filter(|line| !line.trim().is_empty())
                .map(str::parse)
                .collect::<Result<_>>()?,
        )
    }
}

impl Layer {
    fn weights(&self, prefix: &str, specs: &mut Vec<WeightSpec>) {
        let mut push = |name: &str, shape: &[usize]| {
            specs.push(WeightSpec { name: format!("{prefix}.{name}"), shape: shape.to_vec() });
        };
        let (inputs, outputs) = (self.input.channels, self.output.channels);
        match self.kind {
            LayerKind::Conv(conv) => {
                push("weight", &[outputs, inputs / conv.groups, conv.kernel, conv.kernel]);
                for name in ["norm.weight", "norm.bias", "norm.mean", "norm.variance"] {
                    push(name, &[outputs]);
                }
            }
            LayerKind::SqueezeExcite { squeeze } => {
                push("reduce.weight", &[squeeze, inputs, 1, 1]);
                push("reduce.bias", &[squeeze]);
                push("expand.weight", &[inputs, squeeze, 1, 1]);
                push("expand.bias", &[inputs]);
            }
            LayerKind::Pool => {}
            LayerKind::Linear { bias, .. } => {
                push("weight", &[outputs, inputs]);
                if bias {
                    push("bias", &[outputs]);
                }
            }
        }
    }
}

/// The first 16 hexadecimal digits of the text's SHA-256: what identifies spaces, networks and protocols.
pub fn short_hash(bytes: impl AsRef<[u8]>) -> String {
    let digest = Sha256::digest(bytes);
    let first = digest.iter().take(8).fold(0u64, |number, &byte| number << 8 | u64::from(byte));
    format!("{first:016x}")
}
