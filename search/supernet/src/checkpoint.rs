//! Checkpoints: tensors in one file, then the state that names it. What a state names is whole.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
};

use atomic_write_file::AtomicWriteFile;
use netfit_export::Weights;
use netfit_search::job::{ChoiceLatency, Proxyless, Scratch, Training};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result, schedule::Phase};

const FORMAT: u32 = 1;

/// How far training has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Place {
    /// Phases that are finished.
    pub(crate) phase: usize,
    /// Steps of the next phase that are done.
    pub(crate) step: u64,
}

/// What a checkpoint was made with; another run's is refused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Origin {
    pub(crate) space: String,
    pub(crate) seed: u64,
    pub(crate) training: Training,
    /// Training images.
    pub(crate) images: usize,
    /// [`netfit_data::Splits::hash`] of all that is trained on and judged by; not told by earlier versions.
    #[serde(default)]
    pub(crate) data: String,
    /// A network's hash and protocol, where one is trained from scratch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) network: Option<(String, Scratch)>,
    /// Of a supernet of candidates, how its architecture is learnt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) proxyless: Option<(Proxyless, ChoiceLatency)>,
    /// Of a supernet of candidates, the version of how the architecture's own images are drawn.
    #[serde(rename = "own_images", default, skip_serializing_if = "is_default")]
    pub(crate) split_version: u32,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

#[derive(Debug, Serialize, Deserialize)]
struct State {
    format: u32,
    origin: Origin,
    place: Place,
    tensors: String,
    /// What is learnt beside the tensors.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    beside: Value,
}

/// A folder of checkpoints.
#[derive(Debug)]
pub(crate) struct Checkpoints(PathBuf);

impl Checkpoints {
    pub(crate) fn new(folder: &Path) -> Self {
        Self(folder.to_path_buf())
    }

    fn state(&self) -> PathBuf {
        self.0.join("state.json")
    }

    /// The frozen full network.
    pub(crate) fn teacher(&self) -> PathBuf {
        self.0.join("teacher.safetensors")
    }

    pub(crate) fn make(&self) -> Result<()> {
        fs::create_dir_all(&self.0).map_err(|source| Error::File { path: self.0.clone(), source })
    }

    /// Removes the folder and what is in it, if it is there.
    pub(crate) fn remove(&self) -> Result<()> {
        match fs::remove_dir_all(&self.0) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::File { path: self.0.clone(), source })
            }
            _ => Ok(()),
        }
    }

    pub(crate) fn save(&self, origin: &Origin, place: Place, weights: &Weights) -> Result<()> {
        self.save_beside(origin, place, weights, Value::Null)
    }

    /// A checkpoint of tensors and of what is learnt beside them.
    pub(crate) fn save_beside(
        &self,
        origin: &Origin,
        place: Place,
        weights: &Weights,
        beside: Value,
    ) -> Result<()> {
        let tensors = format!("phase-{}-step-{}.safetensors", place.phase, place.step);
        weights.save(&self.0.join(&tensors))?;
        let state = State { format: FORMAT, origin: origin.clone(), place, tensors, beside };
        let text =
            serde_json::to_string_pretty(&state).expect("plain structures of text and numbers");
        let path = self.state();
        AtomicWriteFile::open(&path)
            .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.commit()))
            .map_err(|source| Error::File { path, source })?;
        self.remove_others(&state.tensors);
        Ok(())
    }

    /// The last checkpoint, if there is one.
    pub(crate) fn load(&self, origin: &Origin) -> Result<Option<(Place, Weights)>> {
        Ok(self.load_beside(origin)?.map(|(place, weights, _)| (place, weights)))
    }

    /// The last checkpoint with what was learnt beside its tensors, if there is one.
    pub(crate) fn load_beside(&self, origin: &Origin) -> Result<Option<(Place, Weights, Value)>> {
        let path = self.state();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::File { path, source }),
        };
        let broken = |reason: String| Error::BrokenCheckpoint { path: path.clone(), reason };
        let state: State =
            serde_json::from_str(&text).map_err(|error| broken(error.to_string()))?;
        if state.format != FORMAT {
            return Err(broken(format!("expected format {FORMAT}, found {}", state.format)));
        }
        if let Some(what) = origin.differs(&state.origin) {
            return Err(Error::Checkpoint { path, what: what.to_owned() });
        }
        Ok(Some((state.place, Weights::load(&self.0.join(&state.tensors))?, state.beside)))
    }

    /// Checks that a place is one of this training.
    pub(crate) fn check(&self, place: Place, phases: &[Phase]) -> Result<()> {
        let steps = phases.get(place.phase).map_or(0, |phase| phase.steps);
        if place.phase <= phases.len() && place.step <= steps {
            return Ok(());
        }
        let reason = format!("step {} of phase {} is beyond the schedule", place.step, place.phase);
        Err(Error::BrokenCheckpoint { path: self.state(), reason })
    }

    /// A state that does not hold together.
    pub(crate) fn broken(&self, reason: String) -> Error {
        Error::BrokenCheckpoint { path: self.state(), reason }
    }

    /// Older tensors are of no use; one that cannot be removed does no harm.
    fn remove_others(&self, kept: &str) {
        let Ok(entries) = fs::read_dir(&self.0) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with("phase-") && name != kept {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

impl Origin {
    fn differs(&self, other: &Self) -> Option<&'static str> {
        if self.space != other.space {
            Some("search space")
        } else if self.seed != other.seed {
            Some("seed")
        } else if self.training.fixed() != other.training.fixed() {
            Some("`[training]` table")
        } else if self.images != other.images || (self.data != other.data && !other.data.is_empty())
        {
            Some("data set: these images, their order or their classes are others")
        } else if self.network != other.network {
            Some("network or `[scratch]` table")
        } else if self.proxyless != other.proxyless {
            Some("`[proxyless]` table, latency table or budget")
        } else if self.split_version != other.split_version {
            Some("version of netfit, which draws the architecture's images otherwise")
        } else {
            None
        }
    }
}
