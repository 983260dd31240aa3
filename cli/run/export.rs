//! Weights as ONNX files, each checked against torch before it is put into its place.

use std::path::Path;

use anyhow::{Result, anyhow, bail};
use netfit_export::{Weights, save_model, to_onnx};
use netfit_profiler::Session;
use netfit_search::TorchProcess;
use netfit_spaces::Genotype;
use tempfile::TempPath;

use super::{Setting, inference::logits, quantize::quantized};
use crate::runtime::{self, make_folder_of};

/// Test images on which ONNX Runtime's logits are compared with torch's.
pub(super) const COMPARED: usize = 64;
/// Largest difference between them that is rounding, as a share of the largest logit where that is above 1.
const TOLERANCE: f64 = 1e-4;

/// Cuts a subnet out of the supernet and writes its weights and its ONNX file once both are known to be right; returns
/// the largest difference between the two runtimes' logits. In 8 bits it is what the file is made of that is compared.
pub(crate) fn export(
    setting: &Setting,
    torch: &mut TorchProcess,
    genotype: &Genotype,
    weights: &Path,
    (model, int8): (&Path, bool),
) -> Result<f64> {
    make_folder_of(weights)?;
    let unchecked = unchecked(weights)?;
    torch.extract(genotype, &unchecked)?;
    let (unnamed, difference) = checked(setting, torch, genotype, &unchecked, model)?;
    let unnamed = if int8 { quantized(setting, &unnamed, model)? } else { unnamed };
    put(unchecked, weights)?;
    put(unnamed, model)?;
    Ok(difference)
}

/// Where a file waits, beside its place, until it is known to be right; it goes if it does not come to that.
pub(super) fn unchecked(path: &Path) -> Result<TempPath> {
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

/// Writes the ONNX file of a network with these weights once it is known to be right; returns the largest difference
/// between the two runtimes' logits.
pub(super) fn write_model(
    setting: &Setting,
    torch: &mut TorchProcess,
    genotype: &Genotype,
    weights: &Path,
    model: &Path,
) -> Result<f64> {
    let (unnamed, difference) = checked(setting, torch, genotype, weights, model)?;
    put(unnamed, model)?;
    Ok(difference)
}

/// Writes the model in the file `exact` in 8-bit numbers.
pub(super) fn write_quantized(setting: &Setting, exact: &Path, model: &Path) -> Result<()> {
    put(quantized(setting, exact, model)?, model)
}

/// Writes the ONNX file of a network with these weights beside its place `model`; returns it, and the largest difference
/// between ONNX Runtime's and torch's logits on real images.
fn checked(
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
    let found = logits(&mut session, images, &images.test, 0..count)?;
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
