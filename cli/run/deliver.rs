//! Measuring and testing what was chosen: on the exported files.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use netfit_latency_tables::{Hygiene, LatencyTable, Verdict};
use netfit_profiler::{Device, MeasureOptions, Protocol, Session, measure, time_files};
use netfit_search::TorchProcess;

use super::{
    Choice, Setting,
    export::{write_model, write_quantized},
    inference::accuracy,
};
use crate::{progress::Progress, runtime};

/// Single calls that a percentile is taken of, and the time for them.
const CALLS: usize = 3000;
const CALLS_S: f64 = 15.0;
/// How often they are timed where the machine is disturbed.
const ATTEMPTS: usize = 3;

/// Exports and measures all candidates; returns the largest difference between the two runtimes' logits, and whether the
/// machine was quiet.
pub(crate) fn deliver(
    setting: &Setting,
    table: &LatencyTable,
    torch: &mut TorchProcess,
    choice: &mut Choice,
    accept_noise: bool,
    progress: &mut Progress,
) -> Result<(f64, Hygiene)> {
    let difference = export_all(setting, torch, choice, progress)?;
    let hygiene = measure_all(setting, table, choice, accept_noise, progress)?;
    Ok((difference, hygiene))
}

fn export_all(
    setting: &Setting,
    torch: &mut TorchProcess,
    choice: &mut Choice,
    progress: &mut Progress,
) -> Result<f64> {
    let mut difference: f64 = 0.0;
    for (done, (name, candidate)) in choice.candidates().into_iter().enumerate() {
        progress.update("exporting networks", done as u64, 4, "");
        let weights = setting.folder.network(name, "safetensors");
        let (path, fp32) = (model(setting, name), fp32(setting, name));
        let written = fp32.as_ref().unwrap_or(&path);
        let found = write_model(setting, torch, &candidate.genotype, &weights, written)?;
        if let Some(fp32) = &fp32 {
            write_quantized(setting, fp32, &path)?;
        }
        let file = path.metadata().with_context(|| {
            format!(
                "cannot read `{}`, just written; hint: is the run folder still there?",
                path.display()
            )
        })?;
        candidate.model_bytes = Some(file.len());
        difference = difference.max(found);
    }
    progress.finish();
    Ok(difference)
}

/// The latencies of all candidates' files, side by side, at the configuration's percentile.
fn measure_all(
    setting: &Setting,
    table: &LatencyTable,
    choice: &mut Choice,
    accept_noise: bool,
    progress: &mut Progress,
) -> Result<Hygiene> {
    let candidates = choice.candidates();
    let files = candidates
        .each_ref()
        .map(|(name, candidate)| (model(setting, name), candidate.parameters.0));
    let options = setting.careful_options(accept_noise)?;
    let mut device = setting.device()?;
    let (timings, mut hygiene) = time_files(
        table,
        &setting.space,
        device.as_mut(),
        &files,
        &options,
        &mut progress.of_profiler(),
    )?;
    progress.finish();
    for (((_, candidate), (path, _)), timing) in candidates.into_iter().zip(&files).zip(timings) {
        candidate.latency_mad_s = Some(timing.mad_s);
        candidate.images_per_second = Some(f64::from(setting.config.device.batch) / timing.seconds);
        let (seconds, normalised_s) = match setting.config.tail() {
            None => (timing.seconds, timing.normalised_s),
            Some(percentile) => {
                let (seconds, verdict) =
                    tail(path, percentile, device.as_mut(), accept_noise, progress)?;
                hygiene.verdict = hygiene.verdict.max(verdict);
                (seconds, seconds * timing.normalised_s / timing.seconds)
            }
        };
        candidate.latency_measured_s = Some(seconds);
        candidate.latency_measured_normalised_s = Some(normalised_s);
    }
    Ok(hygiene)
}

/// Tests the exported files on the test images: once, when nothing is chosen any more.
pub(crate) fn test(setting: &Setting, choice: &mut Choice, progress: &mut Progress) -> Result<()> {
    let images = &setting.images;
    let mut tested = |model: &Path| {
        let mut session = Session::open(model, runtime::threads(None))?;
        accuracy(&mut session, images, &images.test, progress)
    };
    for (name, candidate) in choice.candidates() {
        candidate.accuracy_test = Some(tested(&model(setting, name))?);
        candidate.accuracy_test_fp32 = fp32(setting, name).map(|fp32| tested(&fp32)).transpose()?;
    }
    progress.finish();
    Ok(())
}

/// Where a candidate's ONNX file is.
fn model(setting: &Setting, name: &str) -> PathBuf {
    if name == "chosen" { setting.folder.model() } else { setting.folder.network(name, "onnx") }
}

/// Where the same is in 32-bit numbers, where its own file has others.
fn fp32(setting: &Setting, name: &str) -> Option<PathBuf> {
    setting.quantizes().then(|| setting.folder.network(&format!("{name}-fp32"), "onnx"))
}

/// The measured percentile of single calls, 95 or 99 as the configuration was checked, and whether the machine was quiet
/// meanwhile; where noise is not accepted, it was.
fn tail(
    model: &Path,
    percentile: f64,
    device: &mut dyn Device,
    accept_noise: bool,
    progress: &mut Progress,
) -> Result<(f64, Verdict)> {
    let options = MeasureOptions { samples: CALLS, seconds: CALLS_S, ..MeasureOptions::default() };
    let most = Protocol::default().load;
    let mut attempt = 1;
    loop {
        let measured = measure(model, device, &options, &mut progress.of_profiler())?;
        progress.finish();
        let seconds = if percentile > 95.0 { measured.p99_s } else { measured.p95_s };
        let load = measured.load.unwrap_or(0.0);
        if load <= most && !measured.throttled {
            return Ok((seconds, Verdict::Clean));
        }
        if accept_noise {
            return Ok((seconds, Verdict::NoiseAccepted));
        }
        if attempt == ATTEMPTS {
            let why = if measured.throttled {
                "the GPU was slowed down by its heat or its power supply".to_owned()
            } else {
                format!("other programs used {load:.2} cores, expected at most {most}")
            };
            bail!(
                "`{}`: {why} while its single calls were timed, {ATTEMPTS} times; hint: end other programs, or accept it with \
                 --accept-noise",
                model.display()
            );
        }
        attempt += 1;
    }
}
