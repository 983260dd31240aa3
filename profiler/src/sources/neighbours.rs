//! Blocks between two cheap neighbours: a 1x1 convolution from a few channels before the block and one to a few
//! channels after it, so that the runtime keeps its blocked layout across the block as it does inside a network. What
//! the neighbours take is measured by themselves and taken away.
//!
//! All models are visited in turn, one call each, so that each starts with cold caches, as a block of a network does.

use std::collections::{BTreeMap, BTreeSet};

use netfit_spaces::{Activation, Block, Network, Op, Random, Shape, Skip, Space};

use super::{NEIGHBOURS, part};
use crate::{
    Device, Model, ProfileOptions, Progress, Protocol, Result,
    journal::{Journal, Part},
    memory,
    protocol::load,
    samples::Sample,
};

/// Channels at the outer ends of the neighbours.
const FEW: usize = 8;
/// Visits of each model in a process: at least, and where times are noisy at most.
const VISITS: (usize, usize) = (8, 32);
/// Relative standard error of a block's time at which no more visits are made.
const PRECISION: f64 = 0.02;

/// Every block of a space and which neighbours it has, by what shares a process.
pub(super) struct Neighbours(Vec<Vec<(Block, Sides)>>);

impl Neighbours {
    pub(super) fn of(space: &Space, device: &dyn Device) -> Result<Self> {
        Self::that_take(space, |network| device.bytes(network))
    }

    /// `bytes` are what a network takes.
    fn that_take(space: &Space, bytes: impl Fn(&Network) -> u64) -> Result<Self> {
        let (mut blocks, mut taken) = (Vec::new(), Vec::new());
        for block in space.distinct_blocks() {
            let sides = Sides::of(space, &block);
            taken.push(bytes(&surrounded(&block, sides)?));
            blocks.push((block, sides));
        }
        let of_group =
            |places: Vec<usize>| places.into_iter().map(|place| blocks[place].clone()).collect();
        Ok(Self(memory::groups(&taken, 0).into_iter().map(of_group).collect()))
    }

    /// A part for each group of these blocks.
    pub(super) fn measure(
        &self,
        process: usize,
        device: &mut dyn Device,
        options: &ProfileOptions,
        journal: &mut Journal,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Vec<Part>> {
        let mut parts = Vec::new();
        for (number, group) in self.0.iter().enumerate() {
            let number = process * self.0.len() + number;
            let stage = format!("{NEIGHBOURS} {number}");
            let mut random = Random::at(options.seed, "order of blocks", &[number as u64]);
            let place = format!("process {} of {}", number + 1, options.processes * self.0.len());
            let mut told = |what: &str, done: usize, of: usize| {
                progress(Progress::new(format!("{what}, {place}"), done, of));
            };
            parts.push(part(&stage, options, journal, || {
                visit(group, device, options, &mut random, &mut told)
            })?);
        }
        Ok(parts)
    }
}

/// Which neighbours a block has: images have no channels to spare before a network's first block, and nothing follows
/// its last.
#[derive(Clone, Copy)]
struct Sides {
    before: bool,
    after: bool,
}

impl Sides {
    fn of(space: &Space, block: &Block) -> Self {
        let first = space.inputs().contains(&block.input());
        let last = block.kind() == "linear" && block.output().channels == space.spec().classes;
        Self { before: !first, after: !last }
    }
}

fn neighbour(input: Shape, channels: usize) -> Result<Block> {
    let (activation, skip) = (Activation::None, Skip::None);
    let op = Op::Conv { kernel: 1, stride: 1, squeeze: None, activation, skip };
    Ok(Block::new(op, input, channels)?)
}

/// The two neighbours of a shape, without anything between them.
fn pair(shape: Shape) -> Result<[Block; 2]> {
    let few = Shape::new(FEW, shape.height, shape.width);
    Ok([neighbour(few, shape.channels)?, neighbour(shape, FEW)?])
}

fn surrounded(block: &Block, sides: Sides) -> Result<Network> {
    let mut blocks = Vec::new();
    if sides.before {
        let [before, _] = pair(block.input())?;
        blocks.push(before);
    }
    blocks.push(block.clone());
    if sides.after {
        let [_, after] = pair(block.output())?;
        blocks.push(after);
    }
    Ok(Network::new(blocks)?)
}

/// One process.
fn visit(
    blocks: &[(Block, Sides)],
    device: &mut dyn Device,
    options: &ProfileOptions,
    random: &mut Random,
    progress: &mut dyn FnMut(&str, usize, usize),
) -> Result<Part> {
    let mut networks = Vec::new();
    for (block, sides) in blocks {
        networks.push(surrounded(block, *sides)?);
    }
    let shapes: BTreeSet<Shape> = blocks
        .iter()
        .flat_map(|(block, sides)| {
            [sides.before.then(|| block.input()), sides.after.then(|| block.output())]
        })
        .flatten()
        .collect();
    for &shape in &shapes {
        networks.push(Network::new(pair(shape)?.to_vec())?);
    }
    let whole: Vec<Model<'_>> = networks.iter().map(Model::Network).collect();
    let models =
        load(device, &whole, random, &mut |done, of| progress("loading blocks", done, of))?;
    let protocol = Protocol {
        rounds: VISITS.0,
        most_rounds: VISITS.1,
        precision: PRECISION,
        warm_up: 0,
        calls: 1,
        burst_s: 0.0,
        ..options.measuring()
    };
    let keep = &mut |_: &[Sample]| Ok(());
    let told = &mut |done, of| progress("blocks between neighbours", done, of);
    let sitting = protocol.measure(device, &models, Vec::new(), random, keep, told)?;
    let levels = sitting.split.models[blocks.len()..].iter().map(|level| level.exp());
    let pairs: BTreeMap<Shape, f64> = shapes.into_iter().zip(levels).collect();
    let mut part = Part { gate: sitting.gate(), ..Part::default() };
    for (model, (block, sides)) in blocks.iter().enumerate() {
        // Two halves of pairs make up both neighbours, and what one call costs beside its kernels.
        let half = |side: bool, shape: Shape| {
            if side { pairs[&shape] / 2.0 } else { 0.0 }
        };
        let beside = half(sides.before, block.input()) + half(sides.after, block.output());
        let bursts = sitting.samples.iter().zip(&sitting.split.drifts);
        let seconds: Vec<f64> = bursts
            .filter(|(sample, _)| sample.model == model)
            .map(|(sample, drift)| sample.seconds / drift.exp() - beside)
            .collect();
        part.overhead.push(beside);
        // One for each block: what a block costs beside its kernels is the same for all.
        part.blocks.insert(block.to_string(), (seconds, vec![1.0]));
    }
    Ok(part)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use netfit_spaces::PRESETS;

    use super::*;

    #[test]
    fn blocks_of_single_images_share_a_process_and_many_images_do_not() {
        let groups = |space: &Space, batch| {
            let kept = |network: &Network| memory::of_session(network, batch);
            Neighbours::that_take(space, kept).unwrap().0
        };
        for (name, _) in PRESETS {
            // The full space of MnasNet has thousands of blocks.
            let most = if name == "mnasnet" { 2 } else { 1 };
            assert!(groups(&Space::preset(name).unwrap(), 1).len() <= most, "{name}");
        }
        let space = Space::preset("ofa-mbv3").unwrap();
        let groups = groups(&space, 64);
        let blocks: usize = groups.iter().map(Vec::len).sum();
        assert!(groups.len() > 2 && blocks == space.distinct_blocks().len(), "{}", groups.len());
    }
}
