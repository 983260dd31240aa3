//! `netfit measure`: any ONNX file.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, bail};
use netfit_export::is_quantized;
use netfit_profiler::{MeasureOptions, Precision, Protocol, measure};

use crate::{args::Measure, device::DeviceKind, format, output, progress::Progress, runtime};

/// Relative distance of a process from the others that is told.
const DRIFT: f64 = 0.1;

pub(crate) fn execute(args: &Measure, as_json: bool) -> Result<()> {
    let spec = args.parameters.device(&args.device)?;
    if let DeviceKind::Cuda(gpu) = spec.kind {
        bail!(
            "device `{spec}`: libtorch runs networks of a space, not ONNX files; hint: measure it on `cuda-ort:{gpu}` or `tensorrt:{gpu}`"
        );
    }
    if !args.model.is_file() {
        bail!("there is no file `{}`; hint: give the path of an ONNX file", args.model.display());
    }
    let spec = spec.computing(numbers_of(&args.model)?)?;
    let mut dimensions = BTreeMap::new();
    for text in &args.dimensions {
        match text.split_once('=').map(|(name, size)| (name, size.parse::<usize>())) {
            Some(("batch", Ok(size))) => {
                bail!("--dimension {text}: the device has the batch; hint: --batch {size}")
            }
            Some((name, Ok(size))) if size > 0 => dimensions.insert(name.to_owned(), size),
            _ => bail!("--dimension `{text}`: expected NAME=SIZE, for example height=224"),
        };
    }
    let options = MeasureOptions { samples: args.samples, dimensions, ..MeasureOptions::default() };
    let mut device = runtime::device(spec)?;
    let mut progress = Progress::new();
    let measured = measure(&args.model, device.as_mut(), &options, &mut progress.of_profiler())?;
    progress.finish();
    if as_json {
        return output::json(&measured);
    }
    let row =
        [measured.median_s, measured.mad_s, measured.p95_s, measured.p99_s].map(format::seconds);
    let row: Vec<String> = std::iter::once(args.model.display().to_string())
        .chain(row)
        .chain([measured.samples.to_string()])
        .collect();
    output::table(&["model", "median", "MAD", "p95", "p99", "calls"], &[row])?;
    if measured.drift > DRIFT {
        output::text(&format!(
            "its processes took {}: the machine's speed changes, measure again",
            measured
                .processes_s
                .iter()
                .map(|&seconds| format::seconds(seconds))
                .collect::<Vec<_>>()
                .join(", ")
        ))?;
    }
    if measured.throttled {
        output::text("the GPU was slowed down by its heat or its power supply: measure again")?;
    }
    let busy = measured.load.filter(|load| *load > Protocol::default().load);
    busy.map_or(Ok(()), |load| {
        output::text(&format!("other processes used {load:.1} cores meanwhile: measure again"))
    })
}

/// What a processor computes with where it runs this file; what is no ONNX model is left to the runtime to refuse.
fn numbers_of(model: &Path) -> Result<Precision> {
    let bytes = fs::read(model)
        .with_context(|| format!("cannot read `{}`; hint: may you read it?", model.display()))?;
    let int8 = is_quantized(&bytes).unwrap_or_default();
    Ok(if int8 { Precision::Int8 } else { Precision::Fp32 })
}
