//! `netfit devices`: what can be profiled here.

use netfit_profiler::{Driver, Gpu};
use serde::Serialize;
use serde_json::json;

use crate::{
    device::{DeviceSpec, GPUS},
    output, runtime,
};

/// A device, and why it cannot be used, if so.
#[derive(Serialize)]
struct Found {
    device: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    gpu: Option<Gpu>,
    fingerprint: Option<netfit_latency_tables::Fingerprint>,
    unusable: Option<String>,
}

pub(crate) fn execute(as_json: bool) -> anyhow::Result<()> {
    let mut found = vec![Found::of(DeviceSpec::default(), None)];
    let gpus = Driver::open().and_then(|driver| driver.gpus());
    match gpus {
        Ok(gpus) if gpus.is_empty() => {
            found.push(Found::unusable("cuda", "the NVIDIA driver shows no GPU".to_owned()));
        }
        Ok(gpus) => {
            for (index, gpu) in gpus.into_iter().enumerate() {
                found.extend(on_gpu(index, gpu.map_err(|error| error.to_string())));
            }
        }
        Err(error) => found.push(Found::unusable("cuda", error.to_string())),
    }
    if as_json {
        return output::json(&json!({ "devices": found }));
    }
    let rows: Vec<Vec<String>> = found.iter().map(Found::row).collect();
    output::table(&["device", "processor", "cores", "runtime", "provider", "memory"], &rows)?;
    for found in &found {
        if let Some(reason) = &found.unusable {
            output::text(&format!("{} cannot be used: {reason}", found.device))?;
        }
    }
    Ok(())
}

/// All that can be measured on a GPU, if it answers.
fn on_gpu(index: usize, gpu: Result<Gpu, String>) -> Vec<Found> {
    match gpu {
        Ok(gpu) => {
            GPUS.map(|(_, kind)| Found::of(DeviceSpec::new(kind(index)), Some(gpu.clone()))).into()
        }
        Err(reason) => vec![Found::unusable(&format!("cuda:{index}"), reason)],
    }
}

impl Found {
    fn unusable(device: &str, reason: String) -> Self {
        Self { device: device.to_owned(), gpu: None, fingerprint: None, unusable: Some(reason) }
    }

    /// Opens the device to see whether it can be used.
    fn of(spec: DeviceSpec, gpu: Option<Gpu>) -> Self {
        let device = spec.to_string();
        match runtime::device(spec) {
            Ok(opened) => {
                Self { device, gpu, fingerprint: Some(opened.fingerprint()), unusable: None }
            }
            Err(error) => {
                Self { device, gpu, fingerprint: None, unusable: Some(error.to_string()) }
            }
        }
    }

    fn row(&self) -> Vec<String> {
        let of = |text: &dyn Fn(&netfit_latency_tables::Fingerprint) -> String| {
            self.fingerprint.as_ref().map(text)
        };
        let gpu = |text: &dyn Fn(&Gpu) -> String| self.gpu.as_ref().map(text);
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let capability = |gpu: &Gpu| {
            let (major, minor) = gpu.compute_capability;
            format!("{} (compute capability {major}.{minor}, driver {})", gpu.name, gpu.driver)
        };
        let memory = self.gpu.as_ref().and_then(|gpu| gpu.memory_bytes);
        vec![
            self.device.clone(),
            or_none(gpu(&capability).or_else(|| of(&|found| found.processor.clone()))),
            or_none(of(&|found| found.cores.to_string())),
            or_none(of(&|found| format!("{} {}", found.runtime, found.runtime_version))),
            or_none(of(&|found| found.provider.clone())),
            or_none(memory.map(|bytes| format!("{} MiB", bytes >> 20))),
        ]
    }
}
