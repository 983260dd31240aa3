//! What every step of a run shares.

use std::path::Path;

use anyhow::Result;
use netfit_data::{Splits, describe, load};
use netfit_profiler::CpuDevice;
use netfit_search::{TorchProcess, job::Open};
use netfit_spaces::Space;

use super::Folder;
use crate::{config::Config, runtime};

/// A configuration, the space that it searches for its data, and the run folder.
pub(crate) struct Setting {
    pub(crate) config: Config,
    pub(crate) space: Space,
    pub(crate) folder: Folder,
}

impl Setting {
    /// Checks everything that a run needs, and only then makes the folder.
    pub(crate) fn begin(config: Config, folder: Folder) -> Result<Self> {
        let space = space(&config)?;
        runtime::torch_program()?;
        let folder = folder.begin(&config)?;
        Ok(Self { config, space, folder })
    }

    /// A run that was begun.
    pub(crate) fn existing(path: &Path) -> Result<Self> {
        let (folder, config) = Folder::existing(path)?;
        Ok(Self { space: space(&config)?, config, folder })
    }

    /// The images of all three parts.
    pub(crate) fn images(&self) -> Result<Splits> {
        Ok(load(&self.config.data, self.config.training.holdout, self.config.seed)?)
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

    /// Starts the process that measures.
    pub(crate) fn device(&self) -> Result<CpuDevice> {
        let device = &self.config.device;
        runtime::device(device.kind()?, device.threads, device.batch)
    }
}

/// The configured space, for the data's images and classes.
fn space(config: &Config) -> Result<Space> {
    let images = describe(&config.data)?;
    Ok(Space::load(&config.space)?.for_task(images.shape, images.classes())?)
}
