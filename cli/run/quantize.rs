//! Exported models in 8-bit numbers, by what their tensors hold on training images.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, bail};
use netfit_export::{Ranges, observable, quantize, save_model};
use netfit_profiler::{Session, extremes, sums_saturate};
use netfit_spaces::Random;
use tempfile::TempPath;

use super::{
    Setting,
    export::{COMPARED, unchecked},
    inference::{batches, input, logits},
};
use crate::runtime;

/// Training images that a model is run on.
const IMAGES: usize = 512;
/// Pixels of a batch at most: all tensors of a network are kept, a hundred numbers or more for each.
const PIXELS: usize = 200_000;

/// Writes the model in the file `exact`, whose numbers have 32 bits, in 8 bits beside its place `model`; it was run.
pub(super) fn quantized(setting: &Setting, exact: &Path, model: &Path) -> Result<TempPath> {
    let shown = exact.display();
    let bytes = fs::read(exact).with_context(|| {
        format!("cannot read `{shown}`, just written; hint: is it still there?")
    })?;
    let observed = unchecked(&exact.with_extension("observed.onnx"))?;
    save_model(&observed, &observable(&bytes)?.0)?;
    let ranges = ranges(setting, &observed)?;
    let bytes = quantize(&bytes, &ranges, sums_saturate()).with_context(|| format!("`{shown}`"))?;
    let file = unchecked(&model.with_extension("int8.onnx"))?;
    save_model(&file, &bytes)?;
    let (test, mut session) = (&setting.images.test, Session::open(&file, runtime::threads(None))?);
    let logits = logits(&mut session, &setting.images, test, 0..COMPARED.min(test.len()))?;
    match logits.iter().find(|logit| !logit.is_finite()) {
        None => Ok(file),
        Some(wrong) => bail!(
            "`{shown}` in 8 bits: expected finite logits, found {wrong}; hint: this is a fault of netfit, please report it"
        ),
    }
}

/// The ranges of a model's outputs over training images, the same for all networks of a run.
fn ranges(setting: &Setting, observable: &Path) -> Result<Ranges> {
    let train = &setting.images.train;
    let mut indices: Vec<usize> = (0..train.len()).collect();
    Random::new(setting.config.seed, "run/quantization").shuffle(&mut indices);
    indices.truncate(IMAGES);
    let images = train.subset(&indices);
    let mut session = Session::open(observable, runtime::threads(None))?;
    let mut ranges = Ranges::new();
    for batch in batches(&images, PIXELS) {
        let (input, shape) = input(&setting.images, &images, batch);
        for (name, found) in session.ranges(&input, &shape)? {
            let known = ranges.entry(name).or_insert(found);
            // Their ends are numbers like any others.
            *known = extremes(&[*known, found].concat());
        }
    }
    Ok(ranges)
}
