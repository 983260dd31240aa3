//! The temporary folder of a device: models that only measuring reads, up to some gigabytes of them.

use std::{
    fs::{self, File, TryLockError},
    path::Path,
};

use tempfile::TempDir;

use crate::{Error, Result};

/// How the folders are called, below the system's folder for temporary files.
const PREFIX: &str = "netfit-";
/// A file that is locked as long as its folder is in use.
const LOCK: &str = "lock";

/// A folder that goes when it is dropped. Where the process that made it is killed, its measuring process removes it;
/// where both are, the next device does.
#[derive(Debug)]
pub(crate) struct ModelFolder {
    folder: TempDir,
    _lock: File,
}

impl ModelFolder {
    pub(crate) fn new() -> Result<Self> {
        Self::below(&std::env::temp_dir())
    }

    fn below(temporary: &Path) -> Result<Self> {
        let fail = Error::io("make a temporary folder in", temporary);
        remove_abandoned(temporary);
        let made = tempfile::Builder::new().prefix(PREFIX).tempdir_in(temporary);
        let (folder, lock) = made
            .and_then(|folder| {
                let lock = locked(folder.path())?;
                Ok((folder, lock))
            })
            .map_err(fail)?;
        Ok(Self { folder, _lock: lock })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// The lock gets its name once it is held, so that no other process finds it free before.
fn locked(folder: &Path) -> std::io::Result<File> {
    let unnamed = folder.join("new");
    let lock = File::create(&unnamed)?;
    // A file system without locks is no reason to measure nothing: there, what is abandoned stays.
    if lock.try_lock().is_ok() {
        fs::rename(&unnamed, folder.join(LOCK))?;
    }
    Ok(lock)
}

/// Removes folders that no process uses any more. What cannot be removed is another user's.
fn remove_abandoned(temporary: &Path) {
    for entry in fs::read_dir(temporary).into_iter().flatten().flatten() {
        let is_ours = entry.file_name().to_string_lossy().starts_with(PREFIX);
        let folder = entry.path();
        if let Some(lock) = is_ours.then(|| File::open(folder.join(LOCK)).ok()).flatten()
            && !matches!(lock.try_lock(), Err(TryLockError::WouldBlock | TryLockError::Error(_)))
        {
            let _ = fs::remove_dir_all(&folder);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_with_its_owner() {
        let temporary = tempfile::tempdir().unwrap();
        let folder = ModelFolder::below(temporary.path()).unwrap();
        fs::write(folder.path().join("model.onnx"), "model").unwrap();
        drop(folder);
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_a_killed_process_left_is_removed_and_nothing_else() {
        let temporary = tempfile::tempdir().unwrap();
        let at = |name: &str| temporary.path().join(name);
        let used = ModelFolder::below(temporary.path()).unwrap();
        for (folder, file) in [("netfit-1", LOCK), ("netfit-2", "model.onnx"), ("another", LOCK)] {
            fs::create_dir(at(folder)).unwrap();
            fs::write(at(folder).join(file), "").unwrap();
        }
        let another = ModelFolder::below(temporary.path()).unwrap();
        assert!(!at("netfit-1").exists(), "nobody holds its lock");
        assert!(at("netfit-2").exists() && at("another").exists(), "not known to be ours");
        assert!(used.path().exists() && another.path().exists());
    }
}
