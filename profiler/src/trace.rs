//! The runtime's own record of a model's calls, split among the blocks of the network.
//!
//! ONNX Runtime fuses nodes and keeps a blocked layout across blocks. Its kernels are named after a node or after an
//! output tensor of the model that it was given, both of which carry the block's name. Kernels without such a name
//! (reorders between layouts) belong to the block that made what they read or, at the start, reads what they make.

use std::{collections::HashMap, path::Path};

use netfit_export::{Node, block_of};
use serde::Deserialize;

use crate::{BlockTimes, Error, Result};

/// The clock of the record has whole microseconds and rounds down; the mean of what it takes away is half of one.
const ROUNDED_S: f64 = 0.5e-6;
const KERNEL: &str = "_kernel_time";

#[derive(Deserialize)]
struct Event {
    cat: String,
    name: String,
    /// Microseconds.
    ts: f64,
    /// Microseconds.
    dur: f64,
    #[serde(default)]
    args: Arguments,
}

#[derive(Default, Deserialize)]
struct Arguments {
    #[serde(default)]
    provider: String,
}

/// Splits the record in `path` among `blocks` blocks. `timed` tells which calls count; `optimized` are the nodes that
/// the runtime ran.
pub(crate) fn read(
    path: &Path,
    optimized: &[Node],
    blocks: usize,
    timed: &[bool],
) -> Result<BlockTimes> {
    let file = std::fs::File::open(path).map_err(Error::io("read", path))?;
    let fail = |reason: String| Error::Model { path: path.to_owned(), reason };
    let events: Vec<Event> = serde_json::from_reader(std::io::BufReader::new(file))
        .map_err(|error| fail(format!("not a record of ONNX Runtime: {error}")))?;
    split(events, optimized, blocks, timed).map_err(fail)
}

fn split(
    events: Vec<Event>,
    optimized: &[Node],
    blocks: usize,
    timed: &[bool],
) -> std::result::Result<BlockTimes, String> {
    let (mut calls, mut kernels) = (Vec::new(), Vec::new());
    for event in events {
        if event.cat == "Session" && event.name == "model_run" {
            calls.push(event);
        } else if event.cat == "Node" && event.name.ends_with(KERNEL) {
            kernels.push(event);
        }
    }
    if calls.len() != timed.len() {
        return Err(format!("expected {} calls in the record, found {}", timed.len(), calls.len()));
    }
    if let Some(event) = kernels.iter().find(|event| event.args.provider != "CPUExecutionProvider")
    {
        return Err(format!(
            "node `{}` ran on `{}`, expected CPUExecutionProvider",
            event.name, event.args.provider
        ));
    }
    calls.sort_by(|a, b| a.ts.total_cmp(&b.ts));
    let owners = owners(optimized);
    let mut split = BlockTimes {
        blocks: vec![vec![0.0; calls.len()]; blocks],
        kernels: vec![0.0; blocks],
        overhead: calls.iter().map(|call| call.dur * 1e-6).collect(),
    };
    for kernel in &kernels {
        let call = calls.partition_point(|call| call.ts <= kernel.ts).checked_sub(1);
        let call = call.ok_or_else(|| format!("node `{}` ran outside any call", kernel.name))?;
        let seconds = kernel.dur * 1e-6 + ROUNDED_S;
        split.overhead[call] -= seconds;
        let name = kernel.name.strip_suffix(KERNEL).unwrap_or(&kernel.name);
        let owner = owners.get(name).copied().flatten().or_else(|| block_of(name));
        let block = owner
            .filter(|&index| index < blocks)
            .ok_or_else(|| format!("node `{name}` belongs to no block"))?;
        split.blocks[block][call] += seconds;
        split.kernels[block] += 1.0;
    }
    split.kernels.iter_mut().for_each(|kernels| *kernels /= calls.len() as f64);
    for samples in split.blocks.iter_mut().chain([&mut split.overhead]) {
        let mut keep = timed.iter();
        samples.retain(|_| *keep.next().unwrap_or(&false));
    }
    Ok(split)
}

/// The block of each node by the node's name: its own name's, else its output's, else that of what it reads, else that
/// of what reads it.
fn owners(nodes: &[Node]) -> HashMap<&str, Option<usize>> {
    let named = |node: &Node| {
        block_of(&node.name).or_else(|| node.outputs.iter().find_map(|name| block_of(name)))
    };
    let mut owners: Vec<Option<usize>> = nodes.iter().map(named).collect();
    // A chain of nameless nodes is resolved from its named end, one node a pass.
    for _ in 0..nodes.len() {
        let (before, mut changed) = (owners.clone(), false);
        let maker: HashMap<&str, usize> = nodes
            .iter()
            .zip(&before)
            .filter_map(|(node, owner)| Some((node, (*owner)?)))
            .flat_map(|(node, owner)| node.outputs.iter().map(move |name| (name.as_str(), owner)))
            .collect();
        for (index, node) in nodes.iter().enumerate() {
            if before[index].is_none() {
                let reads = |other: &&Node| other.inputs.iter().any(|i| node.outputs.contains(i));
                let reader = || {
                    nodes.iter().zip(&before).find(|(other, owner)| owner.is_some() && reads(other))
                };
                owners[index] = node
                    .inputs
                    .iter()
                    .find_map(|name| maker.get(name.as_str()).copied().or_else(|| block_of(name)))
                    .or_else(|| reader().and_then(|(_, owner)| *owner));
                changed |= owners[index].is_some();
            }
        }
        if !changed {
            break;
        }
    }
    nodes.iter().map(|node| node.name.as_str()).zip(owners).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, inputs: &[&str], outputs: &[&str]) -> Node {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Node { name: name.into(), op: "Conv".into(), inputs: list(inputs), outputs: list(outputs) }
    }

    fn event(cat: &str, name: &str, ts: f64, dur: f64) -> Event {
        let args = Arguments { provider: "CPUExecutionProvider".into() };
        Event { cat: cat.into(), name: name.into(), ts, dur, args }
    }

    fn nodes() -> Vec<Node> {
        vec![
            node("ReorderInput", &["images"], &["reorder"]),
            node("b00_conv/conv/conv:0_nchwc", &["reorder"], &["b00_nchwc"]),
            node("ReorderOutput", &["b00_nchwc"], &["b00_conv/conv/conv:0"]),
            node("fused b01_pool/pool/mean", &["b00_conv/conv/conv:0"], &["pooled"]),
        ]
    }

    #[test]
    fn reorders_go_to_their_neighbours() {
        let nodes = nodes();
        let owners = owners(&nodes);
        assert_eq!(owners["ReorderInput"], Some(0));
        assert_eq!(owners["ReorderOutput"], Some(0));
        assert_eq!(owners["fused b01_pool/pool/mean"], Some(1));
    }

    #[test]
    fn time_is_split_and_none_is_lost() {
        let events = || {
            let mut events = Vec::new();
            for start in [0.0, 100.0] {
                events.push(event("Node", "ReorderInput_kernel_time", start + 2.0, 3.0));
                events.push(event(
                    "Node",
                    "b00_conv/conv/conv:0_nchwc_kernel_time",
                    start + 6.0,
                    10.0,
                ));
                events.push(event(
                    "Node",
                    "fused b01_pool/pool/mean_kernel_time",
                    start + 20.0,
                    5.0,
                ));
                events.push(event("Session", "model_run", start, 40.0 + start));
            }
            events
        };
        let times = split(events(), &nodes(), 2, &[false, true]).unwrap();
        let micros = |samples: &[f64]| (samples[0] * 1e6 * 10.0).round() / 10.0;
        assert_eq!(times.blocks[0].len(), 1);
        assert!((micros(&times.blocks[0]) - 14.0).abs() < 1e-9);
        assert!((micros(&times.blocks[1]) - 5.5).abs() < 1e-9);
        assert!((times.kernels[0] - 2.0).abs() < 1e-9 && (times.kernels[1] - 1.0).abs() < 1e-9);
        assert!((micros(&times.overhead) - (140.0 - 19.5)).abs() < 1e-9);
        let message = split(events(), &nodes(), 2, &[true]).unwrap_err();
        assert!(message.contains("expected 1 calls in the record, found 2"), "{message}");
    }

    #[test]
    fn a_node_of_no_block_or_another_provider_is_an_error() {
        let stray = vec![
            event("Session", "model_run", 0.0, 9.0),
            event("Node", "mystery_kernel_time", 1.0, 1.0),
        ];
        let message = split(stray, &[], 1, &[true]).unwrap_err();
        assert!(message.contains("`mystery` belongs to no block"), "{message}");
        let mut other = event("Node", "b00_conv/conv/conv_kernel_time", 1.0, 1.0);
        other.args.provider = "CUDAExecutionProvider".into();
        let message = split(vec![event("Session", "model_run", 0.0, 9.0), other], &[], 1, &[true]);
        assert!(message.unwrap_err().contains("ran on `CUDAExecutionProvider`"));
    }
}
