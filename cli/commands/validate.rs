//! `netfit validate`: fresh random whole networks, predicted against measured.

use anyhow::{Result, bail};
use netfit_latency_tables::{LatencyTable, NetworkTiming, Validation, Verdict};
use netfit_profiler::{ProfileOptions, TimedNetworks, validate};
use netfit_spaces::Space;

use crate::{
    args::Validate,
    device::{DeviceKind, DeviceSpec},
    format, output,
    progress::Progress,
    runtime::{self, check_apart, check_writable, make_folder_of, without_restart},
    table::{ERRORS, another_speed, coverage, errors, launch_bound, plot_networks},
};

pub(crate) fn execute(args: &Validate, as_json: bool) -> Result<()> {
    args.plot.iter().chain(&args.journal).try_for_each(|path| check_writable(path))?;
    let files = [Some(&args.table), args.journal.as_ref(), args.plot.as_ref()];
    check_apart(files.into_iter().flatten())?;
    let table = LatencyTable::load(&args.table)?;
    let space = match &args.space {
        Some(space) => runtime::space(space)?,
        None => table.space()?,
    };
    table.check_space(&space)?;
    let fingerprint = &table.fingerprint;
    let Ok(spec) = DeviceSpec::of(fingerprint, args.gpu) else {
        bail!("`{}`: expected threads and batch below 65,536", args.table.display());
    };
    if args.gpu != 0 && spec.kind == DeviceKind::Cpu {
        bail!("--gpu {}: the table is of a processor; hint: leave it away", args.gpu);
    }
    let mut device = runtime::device(spec)?;
    if !args.force {
        table.check_device(&device.fingerprint())?;
    }
    args.journal.iter().try_for_each(|path| make_folder_of(path))?;
    let mut progress = Progress::new();
    let (validation, timed) = validate(
        &table,
        &space,
        device.as_mut(),
        usize::from(args.networks),
        &options(args, spec),
        &mut progress.of_profiler(),
    )
    .map_err(without_restart)?;
    progress.finish();
    if let Some(path) = &args.plot {
        plot_networks(path, &table, &space, &timed.networks)?;
    }
    if as_json {
        return output::json(&object(&table, &space, &validation, &timed)?);
    }
    print(&table, &validation, &timed)
}

fn options(args: &Validate, spec: DeviceSpec) -> ProfileOptions {
    let mut options = ProfileOptions {
        seed: args.seed,
        accept_noise: args.accept_noise,
        processes: usize::from(args.processes),
        journal: args.journal.clone(),
        ..spec.profile_options()
    };
    if let Some(rounds) = args.rounds.map(usize::from) {
        (options.protocol.rounds, options.protocol.most_rounds) = (rounds, rounds);
    }
    options
}

fn object(
    table: &LatencyTable,
    space: &Space,
    validation: &Validation,
    timed: &TimedNetworks,
) -> Result<serde_json::Value> {
    let mut result = serde_json::to_value(validation)?;
    result["hygiene"] = serde_json::to_value(&timed.hygiene)?;
    result["results"] = results(table, space, &timed.networks)?;
    result["interval"] = table.calibration.interval.into();
    result["reference"] = serde_json::json!({
        "table_s": table.reference.median_s, "processes_s": timed.reference.processes_s,
    });
    Ok(result)
}

/// Errors, noise floor and interval, and how fast the machine is now.
fn print(table: &LatencyTable, validation: &Validation, timed: &TimedNetworks) -> Result<()> {
    let rows =
        [errors("table", &validation.errors), errors("multiply-adds", &validation.multiply_adds)];
    output::table(&ERRORS, &rows)?;
    output::text(&coverage(table, validation))?;
    let now: Vec<String> =
        timed.reference.processes_s.iter().map(|&seconds| format::seconds(seconds)).collect();
    output::text(&format!(
        "the reference network takes {} in the table, {} now",
        format::seconds(table.reference.median_s),
        now.join(" and ")
    ))?;
    if let Some(told) = another_speed(&timed.hygiene) {
        output::text(&format!(
            "{told} than in the table; these count only where fewer than two others are left"
        ))?;
    }
    if let Some(told) = launch_bound(&timed.hygiene) {
        output::text(&told)?;
    }
    if timed.hygiene.verdict == Verdict::NoiseAccepted {
        output::text(
            "the machine was disturbed while the networks were measured (--accept-noise)",
        )?;
    }
    Ok(())
}

/// Each network's prediction beside its measurements.
fn results(
    table: &LatencyTable,
    space: &Space,
    networks: &[NetworkTiming],
) -> Result<serde_json::Value> {
    let mut results = Vec::new();
    for timing in networks {
        let latency = table.predict(&space.network(&timing.genotype))?;
        results.push(serde_json::json!({
            "genotype": timing.genotype, "predicted_s": latency.median_s,
            "interval_s": [latency.low_s, latency.high_s],
            "measured_s": timing.seconds, "processes_s": timing.processes_s, "weights": timing.shares(),
        }));
    }
    Ok(results.into())
}
