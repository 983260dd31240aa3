//! The run folder: every file of a run, and what of it is there already.

use std::{
    fs::{File, TryLockError},
    path::{Path, PathBuf},
};

use anyhow::{Result, anyhow, bail};

use crate::{config::Config, runtime::write_file};

/// A run's folder. Files in it are whole or absent.
#[derive(Clone, Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    /// The folder of a configuration: `out`, or `runs/<name of the configuration>`.
    pub(crate) fn place(config: &Path, out: Option<&PathBuf>) -> Self {
        Self(
            out.cloned()
                .unwrap_or_else(|| Path::new("runs").join(config.file_stem().unwrap_or_default())),
        )
    }

    /// Refuses a folder that holds a run of another configuration.
    pub(crate) fn check(&self, config: &Config) -> Result<()> {
        if self.config().exists() && !Config::load(&self.config())?.same_run(config) {
            bail!(
                "`{}` holds a run of another configuration; hint: name another folder with --out, or remove it",
                self.0.display()
            );
        }
        Ok(())
    }

    /// Makes the folder and copies the configuration into it; a run that was begun is gone on with.
    pub(crate) fn begin(&self, config: &Config) -> Result<()> {
        if self.config().exists() {
            return Ok(());
        }
        let text = toml::to_string(config)?;
        write_file(&self.config(), text.as_bytes()).map_err(|error| {
            anyhow!(
                "cannot make the run folder `{}`: {error}; hint: name another with --out",
                self.0.display()
            )
        })
    }

    /// Keeps other processes from working in the folder for as long as what it returns is kept.
    pub(crate) fn lock(&self) -> Result<File> {
        let path = self.config();
        let file = File::open(&path)
            .map_err(|error| anyhow!("cannot open `{}`: {error}", path.display()))?;
        // A file system without locks is no reason to refuse it.
        if let Err(TryLockError::WouldBlock) = file.try_lock() {
            bail!(
                "another process works in `{}`; hint: wait for its end, or name another folder with --out",
                self.0.display()
            );
        }
        Ok(file)
    }

    /// A folder in which a run was begun, with its configuration.
    pub(crate) fn existing(path: &Path) -> Result<(Self, Config)> {
        let folder = Self(path.to_path_buf());
        if !folder.config().exists() {
            bail!(
                "`{}` is not a run folder: it has no netfit.toml; hint: `netfit run` makes one",
                path.display()
            );
        }
        let config = Config::load(&folder.config())?;
        Ok((folder, config))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.0.join("netfit.toml")
    }

    pub(crate) fn table(&self) -> PathBuf {
        self.0.join("table.json")
    }

    /// The budget in seconds.
    pub(crate) fn budget(&self) -> PathBuf {
        self.0.join("budget.json")
    }

    pub(crate) fn journal(&self) -> PathBuf {
        self.0.join("journal.jsonl")
    }

    pub(crate) fn predictor(&self) -> PathBuf {
        self.0.join("predictor.safetensors")
    }

    /// What the training of an architecture has found.
    pub(crate) fn architecture(&self) -> PathBuf {
        self.0.join("architecture.json")
    }

    pub(crate) fn model(&self) -> PathBuf {
        self.0.join("model.onnx")
    }

    /// A network kept beside the model for comparison.
    pub(crate) fn network(&self, name: &str, ending: &str) -> PathBuf {
        self.0.join("networks").join(format!("{name}.{ending}"))
    }

    pub(crate) fn plot(&self, name: &str) -> PathBuf {
        self.0.join("plots").join(format!("{name}.svg"))
    }

    pub(crate) fn result(&self) -> PathBuf {
        self.0.join("result.json")
    }
}
