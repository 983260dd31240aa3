//! Exporting, measuring and testing what was chosen: on the exported files.

use std::path::{Path, PathBuf};

use anyhow::{Result, anyhow, bail};
use netfit_data::{Dataset, Splits};
use netfit_export::{ModelInfo, Weights, save_model, to_onnx};
use netfit_latency_tables::{Hygiene, LatencyTable};
use netfit_profiler::{Device, MeasureOptions, Session, measure, time_files};
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
/// Largest difference between them that is rounding.
const TOLERANCE: f64 = 1e-4;
/// Single calls that a percentile is taken of, and the time for them.
const CALLS: usize = 3000;
const CALLS_S: f64 = 15.0;
/// Images a batch of the test.
const BATCH: usize = 200;

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
        let found = write_model(setting, torch, &candidate.genotype, &weights, &path)?;
        difference = difference.max(found);
        candidates.push((candidate, path));
    }
    progress.finish();
    let paths: Vec<PathBuf> = candidates.iter().map(|(_, path)| path.clone()).collect();
    let options = setting.careful_options(accept_noise)?;
    let mut device = setting.device()?;
    let (timings, hygiene) = time_files(
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
        candidate.latency_measured_normalised_s = Some(timing.normalised_s);
        if let Some(percentile) = setting.config.tail() {
            let seconds = tail(path, percentile, device.as_mut(), progress)?;
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

/// The measured percentile of single calls: 95 or 99, as the configuration was checked.
fn tail(
    model: &Path,
    percentile: f64,
    device: &mut dyn Device,
    progress: &mut Progress,
) -> Result<f64> {
    let options = MeasureOptions { samples: CALLS, seconds: CALLS_S, ..MeasureOptions::default() };
    let measured = measure(model, device, &options, &mut progress.of_profiler())?;
    progress.finish();
    Ok(if percentile > 95.0 { measured.p99_s } else { measured.p95_s })
}

/// Cuts a subnet out of the supernet and writes its weights and its ONNX file, both or none, as [`write_model`] does.
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
    let difference = write_model(setting, torch, genotype, &unchecked, model)?;
    put(unchecked, weights)?;
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

/// Writes the ONNX file of a network with these weights; returns the largest difference between ONNX Runtime's and
/// torch's logits on real images.
fn write_model(
    setting: &Setting,
    torch: &mut TorchProcess,
    genotype: &Genotype,
    weights: &Path,
    model: &Path,
) -> Result<f64> {
    let (network, images) = (setting.space.network(genotype), &setting.images);
    let normalization = &images.normalization;
    let info = ModelInfo {
        labels: images.test.labels.clone(),
        mean: normalization.mean.clone(),
        std: normalization.std.clone(),
        extra: vec![
            ("genotype".to_owned(), genotype.to_string()),
            ("space".to_owned(), setting.space.id().to_owned()),
        ],
    };
    let unchecked = unchecked(model)?;
    save_model(&unchecked, &to_onnx(&network, &Weights::load(weights)?, &info)?)?;
    let count = COMPARED.min(images.test.len());
    let expected = torch.logits(genotype, weights, count)?;
    let mut session = Session::open(&unchecked, runtime::threads(None))?;
    let found = logits(&mut session, images, &images.test, 0, count)?;
    let difference = expected
        .iter()
        .flatten()
        .zip(&found)
        .map(|(a, b)| f64::from((a - b).abs()))
        .fold(0.0, f64::max);
    if difference.is_nan() || difference > TOLERANCE {
        bail!(
            "`{}`: ONNX Runtime's logits differ from torch's by {difference:.1e}, expected at most {TOLERANCE:.0e}; hint: this is a fault of netfit, please report it with the file",
            unchecked.keep()?.display()
        );
    }
    put(unchecked, model)?;
    Ok(difference)
}

fn accuracy(
    session: &mut Session,
    splits: &Splits,
    dataset: &Dataset,
    progress: &mut Progress,
) -> Result<f64> {
    let mut correct = 0;
    for start in (0..dataset.len()).step_by(BATCH) {
        progress.update("testing in ONNX Runtime", start as u64, dataset.len() as u64, "");
        let count = BATCH.min(dataset.len() - start);
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
