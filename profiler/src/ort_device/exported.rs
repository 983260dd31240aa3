//! The files of networks that are timed: every process loads the same ones, and writing one takes longer than loading it.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    path::{Path, PathBuf},
};

use netfit_export::{ModelInfo, any_ranges, quantize, to_onnx_at_batch};
use netfit_spaces::Network;

use crate::{
    Error, OrtOptions, Precision, Result,
    conversation::random_weights,
    cores::{cores, on_threads},
};

/// Bytes that the files may take before they are removed.
const MOST_BYTES: u64 = 8 << 30;

/// Networks that were written with random weights, and how much room they take.
#[derive(Debug, Default)]
pub(super) struct Exported {
    files: HashMap<String, PathBuf>,
    bytes: u64,
    written: usize,
}

impl Exported {
    /// The networks' files in `folder`; those that are not there yet are written, several at a time.
    pub(super) fn files(
        &mut self,
        networks: &[&Network],
        options: OrtOptions,
        folder: &Path,
    ) -> Result<Vec<PathBuf>> {
        let wanted: BTreeMap<String, &Network> =
            networks.iter().map(|&network| (network.text(), network)).collect();
        if self.bytes >= MOST_BYTES {
            self.keep_only(&wanted);
        }
        if self.write(&wanted, options, folder).is_err() {
            // The disk may be full of what can be written again.
            self.keep_only(&wanted);
            self.write(&wanted, options, folder)?;
        }
        Ok(networks.iter().map(|network| self.files[&network.text()].clone()).collect())
    }

    /// Writes those that are not there.
    fn write(
        &mut self,
        wanted: &BTreeMap<String, &Network>,
        options: OrtOptions,
        folder: &Path,
    ) -> Result<()> {
        let missing: Vec<(&String, &Network, PathBuf)> = wanted
            .iter()
            .filter(|(text, _)| !self.files.contains_key(*text))
            .zip(self.written..)
            .map(|((text, network), number)| {
                (text, *network, folder.join(format!("model-{number}.onnx")))
            })
            .collect();
        self.written += missing.len();
        let sizes =
            on_threads(cores(), &missing, |(_, network, path)| write_file(network, options, path));
        let mut all = Ok(());
        for ((text, _, path), bytes) in missing.into_iter().zip(sizes) {
            match bytes {
                Ok(bytes) => {
                    self.bytes += bytes;
                    self.files.insert(text.clone(), path);
                }
                Err(error) => all = Err(error),
            }
        }
        all
    }

    /// Removes all others.
    fn keep_only(&mut self, wanted: &BTreeMap<String, &Network>) {
        for (_, path) in self.files.extract_if(|text, _| !wanted.contains_key(text)) {
            self.bytes -= fs::metadata(&path).map_or(0, |file| file.len());
            // One that stays goes with the folder.
            let _ = fs::remove_file(path);
        }
    }
}

/// Writes a network with random weights and tells its file's bytes; a file that cannot be written whole is removed.
fn write_file(network: &Network, options: OrtOptions, path: &Path) -> Result<u64> {
    let info = ModelInfo::unlabelled(network);
    let model = to_onnx_at_batch(network, &random_weights(network), &info, Some(options.batch))?;
    let int8 = options.provider.precision() == Precision::Int8;
    let model = if int8 { quantize(&model, &any_ranges(&model)?, false)? } else { model };
    fs::write(path, &model).map_err(|source| {
        let _ = fs::remove_file(path);
        Error::io("write", path)(source)
    })?;
    Ok(model.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(channels: usize) -> Network {
        format!("conv k3 s1 relu 3x4x4 -> {channels}x4x4").parse().unwrap()
    }

    #[test]
    fn a_network_is_written_once() {
        let folder = tempfile::tempdir().unwrap();
        let mut exported = Exported::default();
        let (four, five) = (network(4), network(5));
        let first =
            exported.files(&[&four, &five, &four], OrtOptions::default(), folder.path()).unwrap();
        assert_eq!(first[0], first[2]);
        assert_ne!(first[0], first[1]);
        assert_eq!(
            exported.files(&[&five, &four], OrtOptions::default(), folder.path()).unwrap(),
            [first[1].clone(), first[0].clone()]
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        let sizes: u64 =
            exported.files.values().map(|path| fs::metadata(path).unwrap().len()).sum();
        assert_eq!(exported.bytes, sizes);
    }

    #[test]
    fn files_make_room_for_others() {
        let folder = tempfile::tempdir().unwrap();
        let mut exported = Exported::default();
        let mut files = |channels: &[usize], others: u64| {
            let networks: Vec<Network> = channels.iter().map(|&count| network(count)).collect();
            exported.bytes += others;
            let files = exported.files(
                &networks.iter().collect::<Vec<_>>(),
                OrtOptions::default(),
                folder.path(),
            );
            exported.bytes -= others;
            files.unwrap()
        };
        let first = files(&[4, 5], 0);
        let second = files(&[5, 6], MOST_BYTES);
        // What is wanted stays.
        assert!(!first[0].exists() && first[1].exists());
        assert_eq!(first[1], second[0]);
        assert!(second[1].exists() && files(&[4], 0)[0].exists());
        let sizes = fs::read_dir(folder.path()).unwrap().map(|file| file.unwrap().metadata());
        assert_eq!(exported.bytes, sizes.map(|file| file.unwrap().len()).sum::<u64>());
    }
}
