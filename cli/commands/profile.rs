//! `netfit profile`: a latency table of a search space on a device.

use anyhow::Result;
use netfit_latency_tables::{Errors, LatencyTable};
use netfit_profiler::{ProfileOptions, profile};
use netfit_spaces::Space;
use serde_json::json;

use crate::{
    args::Profile,
    format, output, plots,
    progress::Progress,
    runtime::{self, check_writable, make_folder_of},
};

pub(crate) fn execute(args: &Profile, as_json: bool) -> Result<()> {
    let spec = args.parameters.device(&args.device)?;
    let space = Space::load(&args.space)?;
    std::iter::once(&args.out).chain(&args.plot).try_for_each(|path| check_writable(path))?;
    let options = ProfileOptions {
        calibration: args.calibration,
        validation: args.validation,
        seed: args.seed,
        accept_noise: args.accept_noise,
        ..ProfileOptions::default()
    };
    let mut device = runtime::device(spec)?;
    let mut progress = Progress::new();
    let table = profile(&space, &mut device, &options, &mut progress.of_profiler())?;
    progress.finish();
    make_folder_of(&args.out)?;
    table.save(&args.out)?;
    if let Some(path) = &args.plot {
        plot(path, &table, &space)?;
    }
    if as_json {
        return output::json(&json!({
            "entries": table.entries().count(), "seconds": table.seconds, "source": table.calibration.source,
            "calibration": table.calibration, "validation": table.validation, "hygiene": table.hygiene,
            "fingerprint": table.fingerprint, "table": args.out,
        }));
    }
    summary(&table)?;
    output::text(&format!("table   {}", args.out.display()))
}

/// Predicted against measured latency of the validation networks.
pub(crate) fn plot(path: &std::path::Path, table: &LatencyTable, space: &Space) -> Result<()> {
    let mut networks = Vec::new();
    for timing in &table.validation_networks {
        let latency = table.predict(&space.network(&timing.genotype))?;
        networks.push((timing.seconds, [latency.low_s, latency.median_s, latency.high_s]));
    }
    plots::predicted_against_measured(path, &networks)
}

fn summary(table: &LatencyTable) -> Result<()> {
    let fingerprint = &table.fingerprint;
    output::text(&format!(
        "{} blocks of {} on {} ({} {}, {} thread(s), batch {}) in {}",
        table.entries().count(),
        table.space_name,
        fingerprint.processor,
        fingerprint.runtime,
        fingerprint.runtime_version,
        fingerprint.threads,
        fingerprint.batch,
        format::seconds(table.seconds)
    ))?;
    let calibration = &table.calibration;
    let mut rows = vec![
        errors("calibration, table", &calibration.errors),
        errors("calibration, multiply-adds", &calibration.multiply_adds_errors),
    ];
    if let Some(validation) = &table.validation {
        rows.push(errors("validation, table", &validation.errors));
        rows.push(errors("validation, multiply-adds", &validation.multiply_adds));
    }
    output::table(&ERRORS, &rows)?;
    if let Some(floor) =
        table.validation.as_ref().and_then(|validation| validation.noise_floor_rmspe)
    {
        output::text(&format!(
            "noise floor of the measurements: RMSPE {}",
            format::percent(Some(floor))
        ))?;
    }
    Ok(())
}

/// The columns of [`errors`].
pub(crate) const ERRORS: [&str; 7] =
    ["whole networks", "number", "RMSPE", "within 2 %", "within 5 %", "within 10 %", "Kendall tau"];

/// A row of prediction errors.
pub(crate) fn errors(name: &str, errors: &Errors) -> Vec<String> {
    let share = |share: f64| format!("{:.0} %", share * 100.0);
    vec![
        name.to_owned(),
        errors.networks.to_string(),
        format::percent(Some(errors.rmspe)),
        share(errors.within_2),
        share(errors.within_5),
        share(errors.within_10),
        format!("{:.3}", errors.kendall_tau),
    ]
}
