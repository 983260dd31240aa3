//! The files of networks that are timed: every process loads the same ones, and writing one takes longer than loading it.

use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use netfit_export::{ModelInfo, to_onnx_at_batch};
use netfit_spaces::Network;

use crate::{Error, Result, conversation::random_weights};

/// Bytes that the files may take before they are removed.
const MOST_BYTES: u64 = 8 << 30;

/// Networks that were written with random weights, and how much room they take.
#[derive(Debug, Default)]
pub(super) struct Exported {
    files: HashMap<String, PathBuf>,
    bytes: u64,
    written: u64,
}

impl Exported {
    /// The network's file in `folder`, written where it is not there yet.
    pub(super) fn file(
        &mut self,
        network: &Network,
        batch: usize,
        folder: &Path,
    ) -> Result<PathBuf> {
        let text = network.text();
        if let Some(path) = self.files.get(&text) {
            return Ok(path.clone());
        }
        let weights = random_weights(network);
        let info = ModelInfo::unlabelled(network);
        let model = to_onnx_at_batch(network, &weights, &info, Some(batch))?;
        let bytes = model.len() as u64;
        if self.bytes + bytes > MOST_BYTES {
            self.clear();
        }
        let path = folder.join(format!("model-{}.onnx", self.written));
        if fs::write(&path, &model).is_err() {
            // The disk may be full of what can be written again.
            self.clear();
            fs::write(&path, &model).map_err(Error::io("write", &path))?;
        }
        self.written += 1;
        self.bytes += bytes;
        self.files.insert(text, path.clone());
        Ok(path)
    }

    fn clear(&mut self) {
        for (_, path) in self.files.drain() {
            // One that stays goes with the folder.
            let _ = fs::remove_file(path);
        }
        self.bytes = 0;
    }
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
        let file = |channels, exported: &mut Exported| {
            exported.file(&network(channels), 1, folder.path()).unwrap()
        };
        let first = file(4, &mut exported);
        assert_ne!(first, file(5, &mut exported));
        assert_eq!(first, file(4, &mut exported));
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
        let sizes: u64 =
            exported.files.values().map(|path| fs::metadata(path).unwrap().len()).sum();
        assert_eq!(exported.bytes, sizes);
    }

    #[test]
    fn files_make_room_for_others() {
        let folder = tempfile::tempdir().unwrap();
        let mut exported = Exported::default();
        let first = exported.file(&network(4), 1, folder.path()).unwrap();
        exported.bytes = MOST_BYTES;
        let second = exported.file(&network(5), 1, folder.path()).unwrap();
        assert!(!first.exists() && second.exists());
        assert_eq!(exported.bytes, fs::metadata(&second).unwrap().len());
        assert!(exported.file(&network(4), 1, folder.path()).unwrap().exists());
    }
}
