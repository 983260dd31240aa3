//! NVIDIA GPUs as their driver tells of them (NVML), without libtorch or CUDA.

use std::time::{Duration, Instant};

use nvml_wrapper::{
    Nvml, bitmasks::device::ThrottleReasons, enum_wrappers::device::Clock, error::NvmlError,
};
use serde::Serialize;

use crate::{Error, Result};

/// How often a GPU's clock is read at most: to ask the driver takes as long as several calls of a small network.
const PERIOD: Duration = Duration::from_millis(100);

/// An NVIDIA GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gpu {
    /// Its number in CUDA: in the order of the PCI bus, as `CUDA_VISIBLE_DEVICES` leaves it.
    pub index: usize,
    /// Its name, for example `NVIDIA A100-SXM4-40GB`.
    pub name: String,
    /// Its memory, bytes, unless the driver keeps it for itself, as it may of a part of a GPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
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
    /// CUDA cores: lanes of all multiprocessors; 0 where the driver does not tell, as of a part of a GPU.
    pub(crate) cores: usize,
}

/// The NVIDIA driver.
#[derive(Debug)]
pub struct Driver {
    nvml: Nvml,
    /// `CUDA_VISIBLE_DEVICES`, where it is set.
    visible: Option<String>,
}

impl Driver {
    /// Finds the driver.
    ///
    /// # Errors
    /// It is not there, or does not answer.
    pub fn open() -> Result<Self> {
        match Nvml::init() {
            Ok(nvml) => Ok(Self { nvml, visible: std::env::var("CUDA_VISIBLE_DEVICES").ok() }),
            Err(NvmlError::LibloadingError(error)) => {
                Err(Error::Gpu(format!("there is no NVIDIA driver ({error})")))
            }
            Err(error) => Err(failed(&error)),
        }
    }

    /// The driver's version, if it tells.
    pub fn version(&self) -> Option<String> {
        self.nvml.sys_driver_version().ok()
    }

    /// All GPUs that CUDA shows, by their numbers there; for one that does not answer, why.
    ///
    /// # Errors
    /// The driver does not answer.
    pub fn gpus(&self) -> Result<Vec<Result<Gpu>>> {
        let names = self.names().map_err(|error| failed(&error))?;
        let gpu = |(index, device)| gpu(index, &device).map_err(|error| failed(&error));
        Ok(self.shown(&names).enumerate().map(gpu).collect())
    }

    /// What is known of the GPU that has this number in CUDA.
    ///
    /// # Errors
    /// There is none, or it is split into parts (MIG), and the number stands for one of them.
    pub(crate) fn chip(&self, gpu: usize) -> std::result::Result<Chip, String> {
        let names = self.names().map_err(|error| error.to_string())?;
        let none = || format!("the driver shows no GPU {gpu}");
        let device = self.shown(&names).nth(gpu).ok_or_else(none)?;
        let split = device.mig_mode().is_ok_and(|mode| mode.current == 1);
        if split && !names[gpu].starts_with("MIG-") {
            return Err(format!(
                "GPU {gpu} is split into parts (MIG); hint: name one in CUDA_VISIBLE_DEVICES"
            ));
        }
        let chip = || {
            let cores = match device.num_cores() {
                Err(NvmlError::NotSupported) => 0,
                cores => cores? as usize,
            };
            Ok::<_, NvmlError>(Chip { uuid: device.uuid()?, name: device.name()?, cores })
        };
        chip().map_err(|error| error.to_string())
    }

    /// What `CUDA_VISIBLE_DEVICES` names, or else the driver's own number of each GPU.
    fn names(&self) -> std::result::Result<Vec<String>, NvmlError> {
        Ok(match &self.visible {
            None => (0..self.nvml.device_count()?).map(|index| index.to_string()).collect(),
            Some(list) => list.split(',').map(|name| name.trim().to_owned()).collect(),
        })
    }

    /// The GPUs of these names. CUDA, too, ends the list at the first name that means nothing.
    fn shown<'a>(&'a self, names: &'a [String]) -> impl Iterator<Item = nvml_wrapper::Device<'a>> {
        names.iter().map_while(|name| self.device(name))
    }

    /// The GPU of this name: its number, or its identifier or the beginning of it.
    fn device(&self, name: &str) -> Option<nvml_wrapper::Device<'_>> {
        if let Ok(index) = name.parse() {
            return self.nvml.device_by_index(index).ok();
        }
        if let Ok(device) = self.nvml.device_by_uuid(name) {
            return Some(device);
        }
        let count = self.nvml.device_count().ok()?;
        let all = (0..count).filter_map(|index| self.nvml.device_by_index(index).ok());
        let mut begin = all.filter(|device| device.uuid().is_ok_and(|uuid| uuid.starts_with(name)));
        let first = begin.next()?;
        (begin.next().is_none() && name.starts_with("GPU-")).then_some(first)
    }
}

fn gpu(index: usize, device: &nvml_wrapper::Device<'_>) -> std::result::Result<Gpu, NvmlError> {
    let capability = device.cuda_compute_capability()?;
    Ok(Gpu {
        index,
        name: device.name()?,
        memory_bytes: device.memory_info().ok().map(|memory| memory.total),
        compute_capability: (capability.major, capability.minor),
        driver: device.nvml().sys_driver_version()?,
    })
}

/// How fast a GPU computes, as far as the driver tells.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Reading {
    /// Of its multiprocessors.
    pub hertz: Option<f64>,
    /// Whether its heat or its power supply slows it down. A limit to its power alone is how it always works.
    pub throttled: bool,
}

/// Watches one GPU's clock.
#[derive(Debug)]
pub struct GpuClock {
    driver: Driver,
    uuid: String,
    latest: Option<(Instant, Reading)>,
}

impl GpuClock {
    /// The clock of the GPU with this identifier (`GPU-...`): CUDA numbers GPUs in its own order.
    pub fn new(driver: Driver, uuid: String) -> Self {
        Self { driver, uuid, latest: None }
    }

    /// How fast the GPU computes now, or did a tenth of a second ago at most. Nothing is known of one that the driver does
    /// not tell of, as of a part of a GPU (MIG).
    pub fn read(&mut self) -> Reading {
        match self.latest {
            Some((read, reading)) if read.elapsed() < PERIOD => reading,
            _ => {
                let reading = self.ask();
                self.latest = Some((Instant::now(), reading));
                reading
            }
        }
    }

    fn ask(&self) -> Reading {
        let Ok(device) = self.driver.nvml.device_by_uuid(self.uuid.as_str()) else {
            return Reading::default();
        };
        let hertz = device.clock_info(Clock::SM).ok().map(|megahertz| f64::from(megahertz) * 1e6);
        let throttled = device.current_throttle_reasons().is_ok_and(slows_down);
        Reading { hertz, throttled }
    }
}

fn slows_down(reasons: ThrottleReasons) -> bool {
    reasons.intersects(
        ThrottleReasons::HW_SLOWDOWN
            | ThrottleReasons::SW_THERMAL_SLOWDOWN
            | ThrottleReasons::HW_THERMAL_SLOWDOWN
            | ThrottleReasons::HW_POWER_BRAKE_SLOWDOWN,
    )
}

fn failed(error: &NvmlError) -> Error {
    Error::Gpu(format!("the NVIDIA driver does not answer: {error}"))
}

#[cfg(test)]
mod tests;
