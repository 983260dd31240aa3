//! The temporary folder of a device: models that only measuring reads, up to some gigabytes of them.

use std::{
    fs::{self, File},
    path::Path,
};

use tempfile::TempDir;

use crate::{Error, Result};

/// How the folders are called, below the system's folder for temporary files.
const PREFIX: &str = "netfit-models-";
/// A file that is locked as long as its folder is in use.
const LOCK: &str = ".netfit-lock";

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
    let unnamed = folder.join(".new");
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
        let (folder, name) = (entry.path(), entry.file_name());
        if name.to_string_lossy().starts_with(PREFIX)
            && is_model_folder(&folder)
            && File::open(folder.join(LOCK)).is_ok_and(|lock| lock.try_lock().is_ok())
        {
            let _ = fs::remove_dir_all(&folder);
        }
    }
}

/// Removes the folder of a device that was killed, and no other folder.
pub(crate) fn remove(folder: &Path) {
    if is_model_folder(folder) {
        // Nobody is there to be told; the next device tries once more.
        let _ = fs::remove_dir_all(folder);
    }
}

fn is_model_folder(folder: &Path) -> bool {
    folder.join(LOCK).symlink_metadata().is_ok_and(|lock| lock.is_file())
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
        let names = ["netfit-models-1", "netfit-models-2", "another"];
        for (folder, file) in names.into_iter().zip([LOCK, "model.onnx", LOCK]) {
            fs::create_dir(at(folder)).unwrap();
            fs::write(at(folder).join(file), "").unwrap();
        }
        let another = ModelFolder::below(temporary.path()).unwrap();
        assert!(!at(names[0]).exists(), "nobody holds its lock");
        assert!(at(names[1]).exists() && at(names[2]).exists(), "not known to be ours");
        assert!(used.path().exists() && another.path().exists());
    }
}
