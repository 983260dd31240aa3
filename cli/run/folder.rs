//! The run folder: every file of a run, and what of it is there already.

use std::{
    fs::{self, File, TryLockError},
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::{
    config::Config,
    runtime::{journal_of, whole, write_file},
};

/// The first line of the configuration that a run keeps. One without it is a person's, and is never replaced.
const HEADER: &str = "# The configuration of this run, as `netfit` has read it.\n";

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

    /// The folder at a path, whatever is there.
    pub(crate) fn at(path: &Path) -> Self {
        Self(path.to_path_buf())
    }

    /// Refuses a folder that holds a run of another configuration, if anything came of it.
    pub(crate) fn check(&self, config: &Config) -> Result<()> {
        if self.is_bare()? { Ok(()) } else { self.check_same(config) }
    }

    /// Refuses a folder whose configuration is another one.
    pub(crate) fn check_same(&self, config: &Config) -> Result<()> {
        let begun = Config::load(&self.config())?;
        if !begun.same_run(config) {
            let difference = begun.difference(config).unwrap_or_default();
            bail!(
                "`{}` holds a run of another configuration: {difference}; hint: name another folder with --out, or give the \
                 value that it was begun with",
                self.0.display()
            );
        }
        Ok(())
    }

    /// Whether there is no run in the folder, or nothing but the configuration of one that came to nothing.
    fn is_bare(&self) -> Result<bool> {
        let config = self.config();
        if !config.exists() {
            return Ok(true);
        }
        if !fs::read_to_string(&config).is_ok_and(|text| text.starts_with(HEADER)) {
            return Ok(false);
        }
        let entries =
            fs::read_dir(&self.0).with_context(|| format!("cannot read `{}`", self.0.display()))?;
        let mut others =
            entries.filter(|entry| entry.as_ref().map_or(true, |entry| entry.path() != config));
        Ok(others.next().is_none())
    }

    /// Makes the folder and copies the configuration into it; a run that was begun is gone on with.
    pub(crate) fn begin(&self, config: &Config) -> Result<()> {
        if !self.is_bare()? {
            return Ok(());
        }
        // The lock of another process that has just begun is on the file that is there.
        let _begun = self.config().exists().then(|| self.lock()).transpose()?;
        let text = HEADER.to_owned() + &toml::to_string(config)?;
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
        let folder = Self::at(path);
        if !folder.config().exists() {
            bail!(
                "`{}` is not a run folder: it has no netfit.toml; hint: `netfit run` makes one",
                path.display()
            );
        }
        let config = Config::load(&folder.config())?;
        Ok((folder, config))
    }

    /// Refuses to write to a file that is the run's own.
    pub(crate) fn refuse(&self, path: &Path) -> Result<()> {
        if self.owns(path) {
            bail!("`{}` is a file of the run itself; hint: name another", path.display());
        }
        Ok(())
    }

    /// Whether a path is that of a file that a run writes.
    fn owns(&self, path: &Path) -> bool {
        let path = whole(path);
        let files = [
            self.config(),
            self.table(),
            journal_of(&self.table()),
            self.budget(),
            self.journal(),
            self.predictor(),
            self.architecture(),
            self.model(),
            self.result(),
            self.report(),
        ];
        let folders =
            ["networks", "checkpoints", "plots", "elsewhere"].map(|name| self.0.join(name));
        files.iter().any(|file| path == whole(file))
            || folders.iter().any(|folder| path.parent() == Some(whole(folder).as_path()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// What people call the run: the folder's own name.
    pub(crate) fn name(&self) -> String {
        whole(&self.0).file_name().unwrap_or_default().to_string_lossy().into_owned()
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

    /// The latency table of another device with a budget, by its number among them.
    pub(crate) fn elsewhere(&self, number: usize) -> PathBuf {
        self.0.join("elsewhere").join(format!("{number}.json"))
    }

    /// The page for people.
    pub(crate) fn report(&self) -> PathBuf {
        self.0.join("report.html")
    }

    pub(crate) fn result(&self) -> PathBuf {
        self.0.join("result.json")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_owns_what_it_writes() {
        let folder = Folder("runs/x".into());
        for own in ["runs/x/model.onnx", "./runs/x/result.json", "runs/x/networks/full.onnx"] {
            assert!(folder.owns(Path::new(own)), "{own}");
        }
        for free in ["runs/x/mine.onnx", "runs/y/model.onnx", "model.onnx", "runs/x/networks.onnx"]
        {
            assert!(!folder.owns(Path::new(free)), "{free}");
        }
    }
}
