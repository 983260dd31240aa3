//! Exported models in 8-bit numbers, by what their tensors hold on training images.

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use netfit_export::{Ranges, observable, quantize, save_model};
use netfit_profiler::{Session, range, sums_saturate};
use netfit_spaces::Random;

use super::{
    Setting,
    export::unchecked,
    inference::{batches, input},
};
use crate::runtime;

/// Training images that a model is run on.
const IMAGES: usize = 512;
/// Pixels of a batch at most: all tensors of a network are kept, a hundred numbers or more for each.
const PIXELS: usize = 200_000;

/// The model in the file `exact`, whose numbers have 32 bits, in 8 bits.
pub(super) fn quantized(setting: &Setting, exact: &Path) -> Result<Vec<u8>> {
    let model = fs::read(exact)
        .with_context(|| format!("cannot read `{}`, just written", exact.display()))?;
    let (observed, _) = observable(&model)?;
    let file = unchecked(exact)?;
    save_model(&file, &observed)?;
    let ranges = ranges(setting, &file)?;
    Ok(quantize(&model, &ranges, sums_saturate())?)
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
            *known = range(&[*known, found].concat());
        }
    }
    Ok(ranges)
}
