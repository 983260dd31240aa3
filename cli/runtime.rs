//! The processes and files around the command line.

use std::{
    fs::{File, TryLockError},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, bail};
use atomic_write_file::AtomicWriteFile;
use netfit_latency_tables::LatencyTable;
use netfit_profiler::{CudaDevice, Device, OrtDevice};
use netfit_spaces::Space;

use crate::device::{DeviceSpec, Measures};

/// As many threads as were asked for, or as there are cores.
pub(crate) fn threads(asked: Option<u16>) -> usize {
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    asked.map_or_else(cores, usize::from)
}

/// Writes a file whole or not at all; folders above it are made.
pub(crate) fn write_file(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = AtomicWriteFile::open(path)?;
    file.write_all(content)?;
    file.commit()
}

/// Fails before long work if a file could not be written at its end; makes and leaves nothing.
pub(crate) fn check_writable(path: &Path) -> Result<()> {
    let above = path
        .ancestors()
        .skip(1)
        .map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder });
    let checked = if path.is_dir() {
        Err(io::ErrorKind::IsADirectory.into())
    } else {
        above
            .filter(|folder| folder.symlink_metadata().is_ok())
            .take(1)
            .try_for_each(|folder| tempfile::tempfile_in(folder).map(drop))
    };
    checked.map_err(|error: io::Error| {
        anyhow!("cannot write `{}`: {error}; hint: name another place", path.display())
    })
}

/// Refuses a file that is named twice: what is written last would take the place of what was read or written before.
pub(crate) fn check_apart<P: AsRef<Path>>(files: impl IntoIterator<Item = P>) -> Result<()> {
    let mut known = Vec::new();
    for file in files {
        let file = file.as_ref();
        let whole = whole(file);
        if known.contains(&whole) {
            bail!(
                "`{}` is named for two files; hint: what is written last would replace the other",
                file.display()
            );
        }
        known.push(whole);
    }
    Ok(())
}

/// A path from the root on, its folder's links followed.
pub(crate) fn whole(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    match (absolute.parent().and_then(|folder| folder.canonicalize().ok()), absolute.file_name()) {
        (Some(folder), Some(name)) => folder.join(name),
        _ => absolute,
    }
}

/// The space that an option names: a preset, a TOML file, or a latency table or run folder whose space it is.
pub(crate) fn space(name: &str) -> Result<Space> {
    if let Ok(preset) = Space::preset(name) {
        return Ok(preset);
    }
    let path = Path::new(name);
    let table = if path.is_dir() { path.join("table.json") } else { path.to_path_buf() };
    if is_table(&table) {
        return Ok(LatencyTable::load(&table)?.space()?);
    }
    Ok(Space::load(name)?)
}

/// The file that describes a space, if that is what names it; a latency table may be read for its space and for itself.
pub(crate) fn space_file(name: &str) -> Option<&Path> {
    let path = Path::new(name);
    (Space::is_file(name) && !is_table(path)).then_some(path)
}

fn is_table(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "json")
}

/// The file that a source of accuracies is read from, if it is one: `csv:FILE,...`, `predictor:FILE`, `journal:FILE,...`.
pub(crate) fn source_file(source: &str) -> Option<&Path> {
    match source.split_once(':') {
        Some(("csv" | "journal", text)) => text.split(',').next().map(Path::new),
        Some(("predictor", text)) => Some(Path::new(text)),
        _ => None,
    }
}

/// Makes the folders above a file.
pub(crate) fn make_folder_of(path: &Path) -> Result<()> {
    let folder = path.parent().unwrap_or(Path::new(""));
    std::fs::create_dir_all(folder).map_err(|error| {
        anyhow!("cannot make `{}`: {error}; hint: name another place", folder.display())
    })
}

/// Where the measurements of a table are kept until it is saved: beside it.
pub(crate) fn journal_of(table: &Path) -> PathBuf {
    let mut path = table.as_os_str().to_owned();
    path.push(".journal");
    path.into()
}

/// Forgets what a journal holds, unless another process writes it.
pub(crate) fn begin_anew(journal: &Path) -> Result<()> {
    let shown = journal.display();
    let file = match File::options().write(true).open(journal) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => bail!("cannot open the journal `{shown}`: {error}; hint: name another table"),
    };
    // A file system without locks is no reason to refuse it.
    if let Err(TryLockError::WouldBlock) = file.try_lock() {
        bail!(
            "journal `{shown}` is in use by another process; hint: wait for its end, or name another table"
        );
    }
    file.set_len(0).map_err(|error| {
        anyhow!(
            "cannot empty the journal `{shown}`: {error}; hint: remove it, or name another table"
        )
    })
}

/// The same error, without a hint at an option that only `netfit profile` has.
pub(crate) fn without_restart(error: netfit_profiler::Error) -> anyhow::Error {
    match error {
        netfit_profiler::Error::Journal { path, reason } => {
            let path = path.display();
            anyhow!("journal `{path}` cannot be gone on with: {reason}; hint: remove it")
        }
        error => error.into(),
    }
}

/// Removes a file, if it is there.
pub(crate) fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(anyhow!("cannot remove `{}`: {error}; hint: remove it yourself", path.display()))
        }
        _ => Ok(()),
    }
}

/// The program that trains: beside this one.
pub(crate) fn torch_program() -> Result<PathBuf> {
    let program = std::env::current_exe()
        .context("cannot tell where this program is")?
        .with_file_name("netfit-torch");
    if !program.exists() {
        bail!(
            "`{}` is missing; hint: `cargo build --release` makes both programs",
            program.display()
        );
    }
    Ok(program)
}

/// The body of `netfit device-worker`.
pub(crate) fn serve_device() -> Result<()> {
    netfit_profiler::worker::serve(io::stdin().lock(), io::stdout().lock())?;
    Ok(())
}

/// Starts a process of its own for the device.
pub(crate) fn device(spec: DeviceSpec) -> Result<Box<dyn Device>> {
    let arguments = ["device-worker"];
    match spec.measures() {
        Measures::Ort(options) => {
            let program = std::env::current_exe().context("cannot tell where this program is")?;
            Ok(Box::new(OrtDevice::start(&program, &arguments, options)?))
        }
        Measures::Torch(options) => {
            Ok(Box::new(CudaDevice::start(&torch_program()?, &arguments, options)?))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_one_purpose() {
        let apart = |files: &[&str]| check_apart(files);
        apart(&["a.json", "b.json", "c/a.json"]).unwrap();
        for twice in [["a.json", "a.json"], ["a.json", "./a.json"], ["c/../c/a", "c/../c/a"]] {
            let message = apart(&twice).unwrap_err().to_string();
            assert!(message.contains("is named for two files; hint"), "{message}");
        }
    }

    #[test]
    fn checking_a_place_makes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        std::fs::write(&file, "kept").unwrap();
        for fine in ["file", "new", "new/deep/down"] {
            check_writable(&folder.path().join(fine)).unwrap();
        }
        for wrong in ["file/below", "file/deep/down", ""] {
            let message = check_writable(&folder.path().join(wrong)).unwrap_err().to_string();
            assert!(message.contains("cannot write") && message.contains("hint:"), "{message}");
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "kept");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
