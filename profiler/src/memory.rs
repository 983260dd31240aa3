//! How many models fit into a process.

use netfit_spaces::{Block, Network, Shape};

/// Bytes that the models of one process may take, as far as their sizes tell.
const MEMORY: u64 = 4 << 30;
/// What a parameter takes in a runtime, and half as much again: a hundred networks of five million parameters made
/// ONNX Runtime's process 4.2 bytes larger for each.
const PARAMETER_BYTES: u64 = 6;
/// A number of an activation.
const NUMBER_BYTES: u64 = 4;

/// Bytes of so many parameters in a runtime.
pub(crate) fn of_weights(parameters: u64) -> u64 {
    PARAMETER_BYTES * parameters
}

/// Bytes that a runtime keeps between calls of a network of `batch` images, if it keeps what the widest layer needed: its
/// input and its output, and as much again, since it takes memory in powers of two.
fn of_activations(network: &Network, batch: usize) -> u64 {
    let numbers = |shape: Shape| shape.elements() as u64;
    let layers = network.blocks().iter().flat_map(Block::layers);
    let widest = layers.map(|layer| numbers(layer.input) + numbers(layer.output)).max();
    2 * NUMBER_BYTES * batch as u64 * widest.unwrap_or(0)
}

/// Bytes of a network in a runtime that keeps both.
pub(crate) fn of_session(network: &Network, batch: usize) -> u64 {
    of_weights(network.parameters().0) + of_activations(network, batch)
}

/// How many models of so many bytes fit into a process; one in any case.
pub(crate) fn room_for(bytes: u64) -> usize {
    usize::try_from(MEMORY / bytes.max(1)).unwrap_or(usize::MAX).max(1)
}

/// Places of what fits into a process each, of about equal size, given the bytes of all. What lies `beside` them in each
/// process leaves them half of it at least: more processes would not make that smaller.
pub(crate) fn groups(bytes: &[u64], beside: u64) -> Vec<Vec<usize>> {
    let all: u64 = bytes.iter().sum();
    let room = MEMORY.saturating_sub(beside).max(MEMORY / 2);
    let count = usize::try_from(all.div_ceil(room)).unwrap_or(1).clamp(1, bytes.len().max(1));
    // Dealt out like cards: each group has models from everywhere.
    (0..count).map(|first| (first..bytes.len()).step_by(count).collect()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use netfit_spaces::Space;

    use super::*;

    #[test]
    fn models_beyond_the_memory_are_dealt_into_groups() {
        let large = vec![of_weights(400_000_000); 7];
        let dealt = groups(&large, 0);
        assert_eq!(dealt.len(), 4);
        assert_eq!(dealt[1], [1, 5]);
        assert_eq!(groups(&[5; 40], 1 << 40).len(), 1);
        assert_eq!(groups(&[], 0), [Vec::<usize>::new()]);
        let gibibytes = [1 << 30; 4];
        assert_eq!([0, 1 << 30, 9 << 30].map(|beside| groups(&gibibytes, beside).len()), [1, 2, 2]);
        assert_eq!([1 << 30, 5 << 30].map(room_for), [4, 1]);
    }

    #[test]
    fn activations_grow_with_the_batch_and_the_widest_layer() {
        let network: Network = "conv k3 s2 hswish 3x8x8 -> 16x4x4\n\
             mbconv k5 m64 s1 hswish 16x4x4 -> 16x4x4\npool 16x4x4 -> 16x1x1\nlinear 16x1x1 -> 10x1x1"
            .parse()
            .unwrap();
        // Into and out of the depth-wise layer go 64 x 4 x 4 numbers each.
        assert_eq!(of_activations(&network, 3), 2 * 4 * 3 * 2 * 64 * 16);
        // 57 large networks of single images share a process; of 64 images they do not.
        let space = Space::preset("ofa-mbv3").unwrap();
        let largest = space.network(&space.largest());
        let bytes = |batch| of_session(&largest, batch);
        assert_eq!(groups(&[bytes(1); 57], 8 * bytes(1)).len(), 1);
        assert!(groups(&[bytes(64); 57], 0).len() > 4);
    }
}
