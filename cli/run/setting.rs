//! What every step of a run shares.

use std::{cell::OnceCell, fs::File, path::Path};

use anyhow::{Result, bail};
use netfit_data::{DataSpec, FolderSpec, Splits, load};
use netfit_export::ModelInfo;
use netfit_latency_tables::LatencyTable;
use netfit_predictors::TableLatency;
use netfit_profiler::{Device, Precision, ProfileOptions, Protocol};
use netfit_search::{
    TorchProcess,
    job::{Open, Scratch},
};
use netfit_spaces::{Genotype, Space};

use super::Folder;
use crate::{
    args::TrainDevice,
    budgets::{Bound, SideBudgets},
    config::Config,
    runtime::{self, make_folder_of},
};

/// A configuration, its images, the space that it searches for them, and the run folder.
pub(crate) struct Setting {
    pub(crate) config: Config,
    pub(crate) images: Splits,
    pub(crate) space: Space,
    pub(crate) folder: Folder,
    /// What its networks keep to beside the latency, once it was asked for.
    bound: OnceCell<Bound>,
    /// Of a run that goes on: nobody else works in its folder.
    lock: Option<File>,
}

impl Setting {
    /// Checks everything that a run needs, what can be trained included, and only then makes the folder.
    pub(crate) fn begin(config: Config, folder: Folder) -> Result<Self> {
        check_threads(config.training.threads)?;
        folder.check(&config)?;
        runtime::check_writable(&folder.config())?;
        let mut setting = Self::new(config, folder)?;
        setting.bound()?;
        setting.config.method.check(&setting.config, &mut setting.torch()?)?;
        setting.folder.begin(&setting.config)?;
        setting.lock = Some(setting.folder.lock()?);
        // Another process may have begun a run meanwhile.
        setting.folder.check_same(&setting.config)?;
        Ok(setting)
    }

    /// A run that was begun.
    pub(crate) fn existing(path: &Path) -> Result<Self> {
        let (folder, config) = Folder::existing(path)?;
        Self::new(config, folder)
    }

    /// A configuration whose networks are trained beside its run, where it has one: nobody else is at work there.
    pub(crate) fn beside(config: Config, folder: Folder) -> Result<Self> {
        let mut setting = Self::new(config, folder)?;
        if setting.folder.config().exists() {
            setting.lock = Some(setting.folder.lock()?);
        }
        Ok(setting)
    }

    /// The same, with libtorch elsewhere.
    pub(crate) fn training_on(mut self, device: &TrainDevice) -> Self {
        device.apply(&mut self.config);
        self
    }

    /// A configuration with its images and its space; nothing is made.
    pub(crate) fn new(config: Config, folder: Folder) -> Result<Self> {
        let images = load(&config.data, config.training.holdout, config.seed)?;
        let (shape, classes) = (images.train.shape, images.train.labels.len());
        let space = Space::load(&config.space)?.for_task(shape, classes)?;
        if space.inputs() != [shape] {
            bail!(
                "space `{}` has {} input sizes, the images have one, {shape}; hint: a copy of the space without `resolutions`",
                space.name(),
                space.inputs().len()
            );
        }
        Ok(Self { config, images, space, folder, bound: OnceCell::new(), lock: None })
    }

    /// What its networks keep to beside the latency.
    pub(crate) fn bound(&self) -> Result<&Bound> {
        if let Some(bound) = self.bound.get() {
            return Ok(bound);
        }
        let info = self.model_info(&self.space.largest());
        let bound = self.side_budgets().bind(&self.space, &info, self.quantizes())?;
        Ok(self.bound.get_or_init(|| bound))
    }

    /// What it was asked for beside the latency. Tables of other devices are those that the run keeps, where it has them.
    pub(crate) fn side_budgets(&self) -> SideBudgets {
        let mut beside = self.config.side_budgets();
        for (number, also) in beside.also.iter_mut().enumerate() {
            let kept = self.folder.elsewhere(number + 1);
            if kept.exists() {
                also.table = kept;
            }
        }
        beside
    }

    /// Keeps the tables of other devices in the run folder: what was decided by them is gone on with.
    pub(crate) fn keep_elsewhere(&self) -> Result<()> {
        for (number, table) in self.bound()?.tables().iter().enumerate() {
            let path = self.folder.elsewhere(number + 1);
            make_folder_of(&path)?;
            table.save(&path)?;
        }
        Ok(())
    }

    /// What a model of this setting says about itself: labels, normalisation, the network, and how its images were
    /// brought to size.
    pub(crate) fn model_info(&self, genotype: &Genotype) -> ModelInfo {
        let normalization = &self.images.normalization;
        let mut extra = vec![
            ("genotype".to_owned(), genotype.to_string()),
            ("space".to_owned(), self.space.id().to_owned()),
        ];
        if let DataSpec::Folder(FolderSpec { size, channels, resize, alpha, .. }) =
            &self.config.data
        {
            let images = serde_json::json!({
                "size": size.sides(), "channels": channels, "resize": resize, "alpha": alpha,
            });
            extra.push(("images".to_owned(), images.to_string()));
        }
        ModelInfo {
            labels: self.images.test.labels.clone(),
            mean: normalization.mean.clone(),
            std: normalization.std.clone(),
            extra,
        }
    }

    /// Latencies of its networks at its percentile.
    pub(crate) fn latency(&self, table: &LatencyTable) -> Result<TableLatency> {
        Ok(TableLatency::at_percentile(&self.space, table, self.config.percentile)?)
    }

    /// The identity of a protocol in this setting.
    pub(crate) fn protocol(&self, scratch: &Scratch) -> String {
        scratch.protocol(&self.config.training, &self.images, self.config.seed)
    }

    /// Starts the process that trains.
    pub(crate) fn torch(&self) -> Result<TorchProcess> {
        let open = Open {
            space: self.space.spec().clone(),
            data: self.config.data.clone(),
            training: self.config.training.clone(),
            run: self.folder.path().to_path_buf(),
            seed: self.config.seed,
        };
        Ok(TorchProcess::start(&runtime::torch_program()?, open)?)
    }

    /// How its device is measured.
    pub(crate) fn profile_options(&self, accept_noise: bool) -> Result<ProfileOptions> {
        let usual = self.config.device.spec()?.profile_options();
        Ok(ProfileOptions { seed: self.config.seed, accept_noise, ..usual })
    }

    /// The same for a few networks on which a budget hangs: with more processes and rounds than a table has.
    pub(crate) fn careful_options(&self, accept_noise: bool) -> Result<ProfileOptions> {
        let usual = self.profile_options(accept_noise)?;
        let protocol = Protocol { rounds: 25, most_rounds: 25, ..usual.protocol };
        Ok(ProfileOptions { protocol, processes: 6, ..usual })
    }

    /// Whether its models compute in 8-bit numbers.
    pub(crate) fn quantizes(&self) -> bool {
        self.config.device.spec().is_ok_and(|spec| spec.precision() == Precision::Int8)
    }

    /// Starts the process that measures.
    pub(crate) fn device(&self) -> Result<Box<dyn Device>> {
        runtime::device(self.config.device.spec()?)
    }
}

fn check_threads(asked: usize) -> Result<()> {
    let most = runtime::threads(None);
    if asked > most {
        bail!(
            "[training] expected `threads` of at most {most}, as many as can run here at once, or 0 for these, found {asked}; \
             hint: a run may go on with other `threads`"
        );
    }
    Ok(())
}
