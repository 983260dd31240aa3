//! The Once-for-All supernet (Cai et al., ICLR 2020, section 3.3; the authors' `dynamic_op.py`): one block a slot,
//! as large as the space allows, whose parts serve every smaller block. A supernet with several blocks a slot is one
//! whose candidates share no weights.

use std::collections::BTreeMap;

use netfit_spaces::{Block, Conv, Genotype, Layer, LayerKind, Network, Slot, Space};
use tch::{Device, Tensor};

use crate::{
    Mode, Parameters, Result,
    elastic_block::{Builder, ElasticBlock, ElasticConv, ElasticLayer, Norm, elastic_slots},
    layout::first,
    ops,
};

/// A supernet. Its networks are lists of (slot, block) as [`Space::blocks`] gives them.
#[derive(Debug)]
pub struct Supernet {
    space: Space,
    device: Device,
    slots: BTreeMap<Slot, Vec<Served>>,
    parameters: Parameters,
}

/// An elastic block, and the largest block that it serves.
#[derive(Debug)]
struct Served {
    largest: Block,
    by: ElasticBlock,
}

impl Supernet {
    /// A supernet with seeded initial weights (He et al., fan-out, as the authors' `he_fout`); transformation
    /// matrices start as the identity.
    ///
    /// # Errors
    /// A space whose slots cannot share weights, or with several resolutions.
    pub fn new(space: &Space, device: Device, seed: u64) -> Result<Self> {
        let slots = elastic_slots(space)?;
        let shared = slots.into_iter().map(|(slot, options)| (slot, vec![options]));
        Ok(Self::build(space, device, seed, shared))
    }

    /// A supernet of these slots. Each list of blocks shares weights, its largest comes last.
    pub(crate) fn build(
        space: &Space,
        device: Device,
        seed: u64,
        slots: impl Iterator<Item = (Slot, Vec<Vec<Block>>)>,
    ) -> Self {
        let mut builder = Builder::new(seed);
        let mut served = BTreeMap::new();
        for (slot, groups) in slots {
            let alone = groups.len() == 1;
            let serve = |(index, options): (usize, Vec<Block>)| {
                let place = if alone { slot.to_string() } else { format!("{slot}.{index}") };
                let by = builder.block(&place, &options);
                Served { largest: options[options.len() - 1].clone(), by }
            };
            served.insert(slot, groups.into_iter().enumerate().map(serve).collect());
        }
        let parameters = builder.parameters.build(device);
        Self { space: space.clone(), device, slots: served, parameters }
    }

    /// What serves a block in its slot: the only one there, or the one of its own.
    fn serving(&self, slot: Slot, block: &Block) -> &ElasticBlock {
        match &self.slots[&slot][..] {
            [only] => &only.by,
            several => {
                let own = several.iter().find(|served| served.largest == *block);
                &own.expect("a block of the space has its place in a supernet of it").by
            }
        }
    }

    /// The space whose networks it holds.
    pub fn space(&self) -> &Space {
        &self.space
    }

    /// Where its tensors are.
    pub fn device(&self) -> Device {
        self.device
    }

    /// Its learned tensors.
    pub fn parameters(&self) -> &Parameters {
        &self.parameters
    }

    pub(crate) fn blocks(&self) -> impl Iterator<Item = &ElasticBlock> {
        self.slots.values().flatten().map(|served| &served.by)
    }

    /// Logits `[N, classes]` of the network `blocks` for normalised images `[N, C, H, W]` in channels-last order.
    pub fn forward(&self, images: &Tensor, blocks: &[(Slot, Block)], mode: &mut Mode) -> Tensor {
        let mut x = images.shallow_clone();
        for (index, (slot, block)) in blocks.iter().enumerate() {
            if index + 1 == blocks.len() {
                x = mode.dropout(x);
            }
            x = self.block(&x, *slot, block, mode);
        }
        x
    }

    /// A block's output, its residual included.
    pub(crate) fn block(
        &self,
        input: &Tensor,
        slot: Slot,
        block: &Block,
        mode: &mut Mode,
    ) -> Tensor {
        let input = ops::input_of(block, input);
        ops::add_skip(self.branch(&input, slot, block, mode), &input, block)
    }

    /// A block's output without its residual.
    pub(crate) fn branch(
        &self,
        input: &Tensor,
        slot: Slot,
        block: &Block,
        mode: &mut Mode,
    ) -> Tensor {
        let mut x = input.shallow_clone();
        for (elastic, layer) in self.serving(slot, block).layers.iter().zip(block.layers()) {
            x = self.layer(&x, elastic, &layer, mode);
        }
        x
    }

    /// Logits of a genotype's network.
    pub fn logits(&self, images: &Tensor, genotype: &Genotype, mode: &mut Mode) -> Tensor {
        self.forward(images, &self.space.blocks(genotype), mode)
    }

    fn layer(&self, x: &Tensor, elastic: &ElasticLayer, layer: &Layer, mode: &mut Mode) -> Tensor {
        match (elastic, layer.kind) {
            (ElasticLayer::Conv(elastic), LayerKind::Conv(conv)) => {
                let filter = self.filter(elastic, layer, conv);
                let y = ops::convolve(x, &filter, None, conv.stride, conv.groups);
                ops::activate(self.normalise(&y, &elastic.norm, mode), conv.activation)
            }
            (ElasticLayer::SqueezeExcite(_), LayerKind::SqueezeExcite { squeeze }) => {
                let parts = self.gate(elastic, layer.input.channels, squeeze);
                ops::squeeze_excite(x, parts.each_ref())
            }
            (ElasticLayer::Linear { weight, bias }, LayerKind::Linear { activation, .. }) => {
                let bias = bias.map(|bias| self.parameters.get(bias));
                let y = x.flatten(1, -1).linear(self.parameters.get(*weight), bias);
                ops::activate(y, activation)
            }
            _ => ops::pool(x),
        }
    }

    fn normalise(&self, x: &Tensor, norm: &Norm, mode: &mut Mode) -> Tensor {
        let parts = self.norm(norm, x.size()[1] as usize);
        mode.normalise(norm.number, x, parts.each_ref())
    }

    /// Scale and shift of the first channels.
    pub(crate) fn norm(&self, norm: &Norm, channels: usize) -> [Tensor; 2] {
        [norm.scale, norm.shift].map(|number| first(self.parameters.get(number), 0, channels))
    }

    /// The active filter `[out, in / groups, k, k]`: first channels, and the transformed centre of the kernel.
    pub(crate) fn filter(&self, elastic: &ElasticConv, layer: &Layer, conv: Conv) -> Tensor {
        let weight = first(self.parameters.get(elastic.weight), 0, layer.output.channels);
        let mut weight = first(&weight, 1, layer.input.channels / conv.groups);
        for transform in elastic.used(conv.kernel) {
            let (from, to) = (transform.from as i64, transform.to as i64);
            let start = (from - to) / 2;
            let centre = weight.narrow(2, start, to).narrow(3, start, to);
            let [out, inputs, ..] = weight.size()[..] else { unreachable!("a filter has 4 sides") };
            weight = centre
                .reshape([out * inputs, to * to])
                .linear(self.parameters.get(transform.matrix), None::<&Tensor>)
                .view([out, inputs, to, to]);
        }
        weight
    }

    /// The active weights of squeeze-and-excite: `[s, c, 1, 1]`, `[s]`, `[c, s, 1, 1]`, `[c]`.
    pub(crate) fn gate(
        &self,
        layer: &ElasticLayer,
        channels: usize,
        squeeze: usize,
    ) -> [Tensor; 4] {
        let ElasticLayer::SqueezeExcite(numbers) = layer else {
            unreachable!("a gate is asked of a squeeze-and-excite layer only");
        };
        let [reduce, reduce_bias, expand, expand_bias] =
            numbers.map(|number| self.parameters.get(number));
        [
            first(&first(reduce, 0, squeeze), 1, channels),
            first(reduce_bias, 0, squeeze),
            first(&first(expand, 0, channels), 1, squeeze),
            first(expand_bias, 0, channels),
        ]
    }

    /// A network's layers beside the supernet's that serve them, with their weights' prefixes (see
    /// [`Network::weights`]).
    pub(crate) fn layers(
        &self,
        genotype: &Genotype,
    ) -> (Network, Vec<(String, &ElasticLayer, Layer)>) {
        let network = self.space.network(genotype);
        let mut layers = Vec::new();
        for (index, (slot, block)) in self.space.blocks(genotype).into_iter().enumerate() {
            let name = network.block_name(index);
            for (elastic, layer) in self.serving(slot, &block).layers.iter().zip(block.layers()) {
                layers.push((format!("{name}.{}", layer.name), elastic, layer));
            }
        }
        (network, layers)
    }

    /// Which parameters take part in a network.
    pub fn taking_part(&self, blocks: &[(Slot, Block)]) -> Vec<bool> {
        let mut taking_part = vec![false; self.parameters.len()];
        self.mark(blocks, &mut taking_part);
        taking_part
    }

    /// Marks the parameters that take part in a network.
    pub(crate) fn mark(&self, blocks: &[(Slot, Block)], taking_part: &mut [bool]) {
        for (slot, block) in blocks {
            for (elastic, layer) in self.serving(*slot, block).layers.iter().zip(block.layers()) {
                elastic.numbers(&layer).into_iter().for_each(|number| taking_part[number] = true);
            }
        }
    }
}
