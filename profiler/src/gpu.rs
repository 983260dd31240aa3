//! NVIDIA GPUs as their driver tells of them (NVML), without libtorch or CUDA.

use nvml_wrapper::{Nvml, enum_wrappers::device::Clock, error::NvmlError};
use serde::Serialize;

use crate::{Error, Result};

/// An NVIDIA GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gpu {
    /// Its number in the order of the PCI bus.
    pub index: usize,
    /// Its name, for example `NVIDIA A100-SXM4-40GB`.
    pub name: String,
    /// Its memory, bytes.
    pub memory_bytes: u64,
    /// Major and minor version of what it can compute.
    pub compute_capability: (i32, i32),
    /// The driver's version.
    pub driver: String,
}

/// What tells one GPU from another.
#[derive(Debug)]
pub(crate) struct Chip {
    /// The driver's identifier, `GPU-...`.
    pub(crate) uuid: String,
    pub(crate) name: String,
    /// CUDA cores: lanes of all multiprocessors.
    pub(crate) cores: usize,
}

/// The NVIDIA driver.
#[derive(Debug)]
pub struct Driver(Nvml);

impl Driver {
    /// Finds the driver.
    ///
    /// # Errors
    /// It is not there, or does not answer.
    pub fn open() -> Result<Self> {
        match Nvml::init() {
            Ok(nvml) => Ok(Self(nvml)),
            Err(NvmlError::LibloadingError(error)) => {
                Err(Error::Gpu(format!("there is no NVIDIA driver ({error})")))
            }
            Err(error) => Err(failed(&error)),
        }
    }

    /// All GPUs.
    ///
    /// # Errors
    /// The driver does not answer.
    pub fn gpus(&self) -> Result<Vec<Gpu>> {
        let count = self.0.device_count().map_err(|error| failed(&error))?;
        (0..count).map(|index| self.gpu(index).map_err(|error| failed(&error))).collect()
    }

    fn gpu(&self, index: u32) -> std::result::Result<Gpu, NvmlError> {
        let device = self.0.device_by_index(index)?;
        let capability = device.cuda_compute_capability()?;
        Ok(Gpu {
            index: index as usize,
            name: device.name()?,
            memory_bytes: device.memory_info()?.total,
            compute_capability: (capability.major, capability.minor),
            driver: self.0.sys_driver_version()?,
        })
    }

    /// The driver's version, if it tells.
    pub fn version(&self) -> Option<String> {
        self.0.sys_driver_version().ok()
    }

    /// The GPU with this number or identifier (`GPU-...`), if there is one.
    pub(crate) fn chip(&self, shown: &str) -> Option<Chip> {
        let device = match shown.parse() {
            Ok(index) => self.0.device_by_index(index),
            Err(_) => self.0.device_by_uuid(shown),
        };
        let device = device.ok()?;
        Some(Chip {
            uuid: device.uuid().ok()?,
            name: device.name().ok()?,
            cores: device.num_cores().ok()? as usize,
        })
    }

    /// How fast the multiprocessors of a GPU run now, if it tells. Of several GPUs the one with this identifier
    /// (`GPU-...`) is meant: CUDA numbers them in its own order.
    pub fn hertz(&self, uuid: &str) -> Option<f64> {
        let device = self.0.device_by_uuid(uuid).ok()?;
        let megahertz = device.clock_info(Clock::SM).ok()?;
        Some(f64::from(megahertz) * 1e6)
    }
}

fn failed(error: &NvmlError) -> Error {
    Error::Gpu(format!("the NVIDIA driver does not answer: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With a driver its GPUs are told apart, without one the reason is.
    #[test]
    fn gpus_are_listed_or_the_reason_is() {
        match Driver::open() {
            Err(error) => {
                let message = error.to_string();
                assert!(message.contains("NVIDIA driver") && message.contains("hint"), "{message}");
            }
            Ok(driver) => {
                for (index, gpu) in driver.gpus().unwrap().into_iter().enumerate() {
                    assert!(gpu.index == index && gpu.memory_bytes > 0, "{gpu:?}");
                    assert!(!gpu.name.is_empty() && gpu.compute_capability.0 > 0, "{gpu:?}");
                }
            }
        }
    }
}
