//! Exporting, measuring and testing what was chosen: on the exported files.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow, bail};
use netfit_data::{Dataset, Splits};
use netfit_export::{Weights, save_model, to_onnx};
use netfit_latency_tables::{Hygiene, LatencyTable, Verdict};
use netfit_profiler::{Device, MeasureOptions, Protocol, Session, measure, time_files};
use netfit_search::TorchProcess;
use netfit_spaces::Genotype;
use tempfile::TempPath;

use super::{Choice, Setting, result::Candidate};
use crate::{
    progress::Progress,
    runtime::{self, make_folder_of},
};

/// Test images on which ONNX Runtime's logits are compared with torch's.
const COMPARED: usize = 64;
/// Largest difference between them that is rounding, as a share of the largest logit where that is above 1.
const TOLERANCE: f64 = 1e-4;
/// Single calls that a percentile is taken of, and the time for them.
const CALLS: usize = 3000;
const CALLS_S: f64 = 15.0;
/// How often they are timed where the machine is disturbed.
const ATTEMPTS: usize = 3;
/// Images of a batch of the test, and their pixels (height x width) together, at most.
const LARGEST_BATCH: (usize, usize) = (200, 4_000_000);

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
    let mut candidates: Vec<(&mut Candidate, PathBuf)> = Vec::new();
    let mut difference: f64 = 0.0;
    for (done, (name, candidate)) in choice.candidates().into_iter().enumerate() {
        progress.update("exporting networks", done as u64, 4, "");
        let weights = setting.folder.network(name, "safetensors");
        let path = model(setting, name);
        let (unnamed, found) = write_model(setting, torch, &candidate.genotype, &weights, &path)?;
        put(unnamed, &path)?;
        let file = path.metadata();
        candidate.model_bytes = Some(file.with_context(|| path.display().to_string())?.len());
        difference = difference.max(found);
        candidates.push((candidate, path));
    }
    progress.finish();
    let paths: Vec<PathBuf> = candidates.iter().map(|(_, path)| path.clone()).collect();
    let options = setting.careful_options(accept_noise)?;
    let mut device = setting.device()?;
    let (timings, mut hygiene) = time_files(
        table,
        &setting.space,
        device.as_mut(),
        &paths,
        &options,
        &mut progress.of_profiler(),
    )?;
    progress.finish();
    for ((candidate, path), timing) in candidates.iter_mut().zip(timings) {
        candidate.latency_measured_s = Some(timing.seconds);
        candidate.latency_mad_s = Some(timing.mad_s);
        candidate.images_per_second = Some(f64::from(setting.config.device.batch) / timing.seconds);
        candidate.latency_measured_normalised_s = Some(timing.normalised_s);
        if let Some(percentile) = setting.config.tail() {
            let (seconds, verdict) =
                tail(path, percentile, device.as_mut(), accept_noise, progress)?;
            hygiene.verdict = hygiene.verdict.max(verdict);
            candidate.latency_measured_s = Some(seconds);
            candidate.latency_measured_normalised_s =
                Some(seconds * timing.normalised_s / timing.seconds);
        }
    }
    Ok((difference, hygiene))
}

/// Tests the exported files on the test images: once, when nothing is chosen any more.
pub(crate) fn test(setting: &Setting, choice: &mut Choice, progress: &mut Progress) -> Result<()> {
    let images = &setting.images;
    for (name, candidate) in choice.candidates() {
        let mut session = Session::open(&model(setting, name), runtime::threads(None))?;
        candidate.accuracy_test = Some(accuracy(&mut session, images, &images.test, progress)?);
    }
    progress.finish();
    Ok(())
}

/// Where a candidate's ONNX file is.
fn model(setting: &Setting, name: &str) -> PathBuf {
    if name == "chosen" { setting.folder.model() } else { setting.folder.network(name, "onnx") }
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

/// Cuts a subnet out of the supernet and writes its weights and its ONNX file once both are known to be right; returns
/// the largest difference between the two runtimes' logits.
pub(crate) fn export(
    setting: &Setting,
    torch: &mut TorchProcess,
    genotype: &Genotype,
    weights: &Path,
    model: &Path,
) -> Result<f64> {
    make_folder_of(weights)?;
    let unchecked = unchecked(weights)?;
    torch.extract(genotype, &unchecked)?;
    let (unnamed, difference) = write_model(setting, torch, genotype, &unchecked, model)?;
    put(unchecked, weights)?;
    put(unnamed, model)?;
    Ok(difference)
}

/// Where a file waits, beside its place, until it is known to be right; it goes if it does not come to that.
fn unchecked(path: &Path) -> Result<TempPath> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let name = format!(".unchecked-{}-{name}", std::process::id());
    Ok(TempPath::try_from_path(path.with_file_name(name))?)
}

/// Puts a file that is known to be right into its place.
fn put(unchecked: TempPath, path: &Path) -> Result<()> {
    unchecked.persist(path).map_err(|error| {
        anyhow!("cannot write `{}`: {}; hint: name another place", path.display(), error.error)
    })
}

/// Writes the ONNX file of a network with these weights beside its place `model`; returns it, and the largest difference
/// between ONNX Runtime's and torch's logits on real images.
fn write_model(
    setting: &Setting,
    torch: &mut TorchProcess,
    genotype: &Genotype,
    weights: &Path,
    model: &Path,
) -> Result<(TempPath, f64)> {
    let (network, images) = (setting.space.network(genotype), &setting.images);
    let info = setting.model_info(genotype);
    let unchecked = unchecked(model)?;
    save_model(&unchecked, &to_onnx(&network, &Weights::load(weights)?, &info)?)?;
    let count = COMPARED.min(images.test.len());
    let expected = torch.logits(genotype, weights, count)?;
    let mut session = Session::open(&unchecked, runtime::threads(None))?;
    let found = logits(&mut session, images, &images.test, 0, count)?;
    match agreement(&expected.concat(), &found) {
        Ok(difference) => Ok((unchecked, difference)),
        Err(reason) => bail!(
            "`{}`: {reason}; hint: this is a fault of netfit, please report it with the file",
            unchecked.keep()?.display()
        ),
    }
}

/// The largest difference between logits of torch and of ONNX Runtime, where it is rounding; else what is wrong.
fn agreement(expected: &[f32], found: &[f32]) -> std::result::Result<f64, String> {
    if expected.len() != found.len() {
        return Err(format!(
            "expected {} logits as from torch, found {} from ONNX Runtime",
            expected.len(),
            found.len()
        ));
    }
    if let Some(wrong) = expected.iter().chain(found).find(|logit| !logit.is_finite()) {
        return Err(format!("expected finite logits, found {wrong}"));
    }
    let largest = |values: &mut dyn Iterator<Item = f32>| f64::from(values.fold(0.0, f32::max));
    let difference = largest(&mut expected.iter().zip(found).map(|(a, b)| (a - b).abs()));
    let most = TOLERANCE * largest(&mut expected.iter().map(|logit| logit.abs())).max(1.0);
    if difference > most {
        return Err(format!(
            "ONNX Runtime's logits differ from torch's by {difference:.1e}, expected at most {most:.1e}"
        ));
    }
    Ok(difference)
}

fn accuracy(
    session: &mut Session,
    splits: &Splits,
    dataset: &Dataset,
    progress: &mut Progress,
) -> Result<f64> {
    let mut correct = 0;
    let (images, pixels) = LARGEST_BATCH;
    let batch = (pixels / (dataset.shape.height * dataset.shape.width)).clamp(1, images);
    for start in (0..dataset.len()).step_by(batch) {
        progress.update("testing in ONNX Runtime", start as u64, dataset.len() as u64, "");
        let count = batch.min(dataset.len() - start);
        let logits = logits(session, splits, dataset, start, count)?;
        let classes = logits.len() / count;
        for (row, target) in logits.chunks(classes).zip(&dataset.targets[start..]) {
            let guess = (0..classes).max_by(|&a, &b| row[a].total_cmp(&row[b]));
            correct += usize::from(guess == Some(usize::from(*target)));
        }
    }
    Ok(correct as f64 / dataset.len() as f64)
}

/// Logits of `count` images from `start` on, row-major.
fn logits(
    session: &mut Session,
    splits: &Splits,
    dataset: &Dataset,
    start: usize,
    count: usize,
) -> Result<Vec<f32>> {
    let shape = dataset.shape;
    let size = shape.elements();
    let pixels = &dataset.images[start * size..(start + count) * size];
    let input = splits.normalization.apply(pixels, shape);
    Ok(session.logits(&input, &[count, shape.channels, shape.height, shape.width])?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_agree_up_to_rounding_and_are_all_compared() {
        let torch = [1.0, -200.0, 3.0];
        let difference = agreement(&torch, &[1.0, -200.01, 3.005]).unwrap();
        assert!((difference - 0.01).abs() < 1e-4, "{difference}");
        for (found, reason) in [
            (&[1.0, -200.0, 3.03][..], "differ from torch's by 3.0e-2, expected at most 2.0e-2"),
            (&[f32::NAN, -200.0, 3.0], "found NaN"),
            (&[1.0, f32::NEG_INFINITY, 3.0], "found -inf"),
            (&[1.0, -200.0], "expected 3 logits"),
        ] {
            let message = agreement(&torch, found).unwrap_err();
            assert!(message.contains(reason), "{message}");
        }
        // Below 1 the tolerance is absolute.
        assert!(agreement(&[0.0, 0.1], &[9e-5, 0.1]).is_ok());
        assert!(agreement(&[0.0, 0.1], &[1.1e-4, 0.1]).is_err());
    }
}
