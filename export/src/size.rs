//! How large an exported file can become, before there is one.

use netfit_spaces::{Block, Network, Random};
use prost::Message;

use crate::{Error, ModelInfo, Result, Weights, graph::Graph};

/// What a file has beside its blocks and its information: names, versions, the input and the output.
const FRAME: usize = 512;
/// What a node or a constant may take more among others than alone: the prefix of a message, the name of the tensor that
/// the block before writes, and a longer number of the block.
const AMONG_OTHERS: usize = 32;

/// Bytes that a block takes at most in an ONNX file of 32-bit numbers; a hundred more for each of its operations, or less,
/// than it does.
///
/// # Errors
/// None for a block of a space.
pub fn block_bytes(block: &Block) -> Result<u64> {
    let network = Network::new(vec![block.clone()])?;
    let weights = Weights::random(&network, &mut Random::new(0, "size"));
    let Graph { nodes, constants, .. } = Graph::new(&network, &weights)?;
    // The metadata have its line, too.
    let line = network.text().len() + 1;
    Ok((among_others(&nodes) + among_others(&constants) + line) as u64)
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
    use netfit_spaces::Space;

    use super::*;
    use crate::to_onnx;

    #[test]
    fn no_file_is_larger_and_none_is_much_smaller() {
        let mut random = Random::new(0, "files");
        for preset in ["ofa-28", "nas-bench-macro", "mnasnet-28", "proxyless-28", "ofa-mbv3"] {
            let space = Space::preset(preset).unwrap();
            for genotype in [space.smallest(), space.sample(&mut random), space.largest()] {
                let network = space.network(&genotype);
                let mut info = ModelInfo::unlabelled(&network);
                info.labels[0] = "a \"label\" \u{1}".to_owned();
                info.extra = vec![("genotype".to_owned(), genotype.to_string())];
                let weights = Weights::random(&network, &mut random);
                let file = to_onnx(&network, &weights, &info).unwrap().len() as u64;
                let blocks = network.blocks().iter().map(|block| block_bytes(block).unwrap());
                let most = info.bytes().unwrap() + blocks.sum::<u64>();
                let operations: usize =
                    network.blocks().iter().map(|block| block.layers().len()).sum();
                assert!(file <= most, "{preset}: {file} of {most}");
                assert!(most < file + 1000 + 300 * operations as u64, "{preset}: {file} of {most}");
            }
        }
    }
}
