//! The processes and files around the command line.

use std::{
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use atomic_write_file::AtomicWriteFile;
use netfit_profiler::CpuDevice;

use crate::args::DeviceKind;

/// Writes a file whole or not at all; folders above it are made.
pub(crate) fn write_file(path: &Path, content: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let mut file = AtomicWriteFile::open(path)?;
    file.write_all(content)?;
    file.commit()
}

/// Fails before long work if a file could not be written at its end.
pub(crate) fn check_writable(path: &Path) -> Result<()> {
    let folder =
        path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder)
        .and_then(|()| AtomicWriteFile::open(path))
        .and_then(AtomicWriteFile::discard)
        .with_context(|| {
            format!("cannot write `{}`; hint: name another place with --out", path.display())
        })
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
pub(crate) fn device(kind: DeviceKind, threads: u16, batch: u16) -> Result<CpuDevice> {
    match kind {
        DeviceKind::Cpu => {
            let program = std::env::current_exe().context("cannot tell where this program is")?;
            Ok(CpuDevice::start(
                &program,
                &["device-worker"],
                usize::from(threads),
                usize::from(batch),
            )?)
        }
    }
}
