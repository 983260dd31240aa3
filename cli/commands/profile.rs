//! `netfit profile`: latency tables of a search space on one device or several.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use netfit_latency_tables::{LatencyTable, Verdict};
use netfit_profiler::{ProfileOptions, profile};
use netfit_spaces::Space;
use serde_json::{Value, json};

use crate::{
    args::Profile,
    device::DeviceSpec,
    format, output,
    progress::Progress,
    runtime::{self, check_apart, check_writable, journal_of, make_folder_of, remove, space_file},
    table::{ERRORS, another_speed, error_rows, errors, launch_bound, plot_blocks, plot_networks},
};

pub(crate) fn execute(args: &Profile, as_json: bool) -> Result<()> {
    let targets = targets(args)?;
    let space = runtime::space(&args.space)?;
    for target in &targets {
        target.files().try_for_each(|path| check_writable(&path))?;
    }
    let read = space_file(&args.space).map(Path::to_path_buf);
    check_apart(targets.iter().flat_map(Target::files).chain(read))?;
    let mut tables = Vec::new();
    for target in &targets {
        let table = measure(args, target, &space)?;
        if as_json {
            tables.push(object(&table, &target.table));
        } else {
            summary(&table)?;
            output::text(&format!("table   {}", target.table.display()))?;
        }
    }
    match tables.as_slice() {
        [] => Ok(()),
        [table] => output::json(table),
        tables => output::json(&json!({ "tables": tables })),
    }
}

/// A device and the files of its table.
struct Target {
    device: DeviceSpec,
    table: PathBuf,
    plot: Option<PathBuf>,
}

impl Target {
    fn files(&self) -> impl Iterator<Item = PathBuf> {
        let pictures = self.plot.iter().flat_map(|plot| [plot.clone(), named(plot, "blocks")]);
        std::iter::once(self.table.clone()).chain(pictures)
    }
}

/// One for each `--device`, all distinct; of several each has files of its own.
fn targets(args: &Profile) -> Result<Vec<Target>> {
    let mut targets: Vec<Target> = Vec::new();
    for text in &args.devices {
        let device = args.parameters.device(text)?;
        if targets.iter().any(|target| target.device.same(device)) {
            bail!("--device `{text}` is given twice; hint: each device has one table");
        }
        let file = |path: &PathBuf| match args.devices.len() {
            1 => path.clone(),
            _ => named(path, &device.name()),
        };
        targets.push(Target { device, table: file(&args.out), plot: args.plot.as_ref().map(file) });
    }
    Ok(targets)
}

/// `table.json` and `cpu-threads2` make `table.cpu-threads2.json`, in the same folder.
fn named(path: &Path, part: &str) -> PathBuf {
    let mut name = path.file_stem().unwrap_or_default().to_owned();
    name.push(".");
    name.push(part);
    if let Some(ending) = path.extension() {
        name.push(".");
        name.push(ending);
    }
    path.with_file_name(name)
}

/// Measures, saves and pictures one table.
fn measure(args: &Profile, target: &Target, space: &Space) -> Result<LatencyTable> {
    let mut percentiles = args.percentiles.clone();
    percentiles.sort_by(f64::total_cmp);
    percentiles.dedup();
    let journal = journal_of(&target.table);
    if args.restart {
        runtime::begin_anew(&journal)?;
    }
    let options = ProfileOptions {
        calibration: args.calibration,
        validation: args.validation,
        seed: args.seed,
        accept_noise: args.accept_noise,
        percentiles,
        journal: Some(journal.clone()),
        ..target.device.profile_options()
    };
    let mut device = runtime::device(target.device)?;
    let mut progress = Progress::new();
    if args.devices.len() > 1 {
        progress.line(&target.device.to_string());
    }
    make_folder_of(&target.table)?;
    let table = profile(space, device.as_mut(), &options, &mut progress.of_profiler())?;
    progress.finish();
    table.save(&target.table)?;
    remove(&journal)?;
    if let Some(path) = &target.plot {
        plot_networks(path, &table, space, &table.validation_networks)?;
        plot_blocks(&named(path, "blocks"), &table, space)?;
    }
    Ok(table)
}

fn object(table: &LatencyTable, path: &Path) -> Value {
    json!({
        "entries": table.entries().count(), "seconds": table.seconds, "source": table.calibration.source,
        "calibration": table.calibration, "validation": table.validation, "tails": table.tails, "hygiene": table.hygiene,
        "fingerprint": table.fingerprint, "table": path.display().to_string(),
    })
}

fn summary(table: &LatencyTable) -> Result<()> {
    let fingerprint = &table.fingerprint;
    output::text(&format!(
        "{} blocks of {} on {} ({} {}, {}, {} thread(s), batch {}) in {}",
        table.entries().count(),
        table.space_name,
        fingerprint.processor,
        fingerprint.runtime,
        fingerprint.runtime_version,
        fingerprint.precision,
        fingerprint.threads,
        fingerprint.batch,
        format::seconds(table.seconds)
    ))?;
    let mut rows = error_rows(table);
    for tail in &table.tails {
        let name = format::percentile(tail.percentile);
        rows.push(errors(&format!("calibration, {name}"), &tail.errors));
        if let Some(validation) = &tail.validation {
            rows.push(errors(&format!("validation, {name}"), &validation.errors));
        }
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
    if let Some(told) = another_speed(&table.hygiene) {
        output::text(&format!(
            "{told} than in most; these count only where fewer than two others are left"
        ))?;
    }
    if table.hygiene.verdict == Verdict::NoiseAccepted {
        output::text("the machine was disturbed, and the table is marked for it (--accept-noise)")?;
    }
    if let Some(told) = launch_bound(&table.hygiene) {
        output::text(&told)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Command};

    fn files(arguments: &str) -> Result<Vec<(String, Vec<String>)>> {
        let words = "netfit profile --space ofa-28 --out out/table.v2.json".split(' ');
        let cli = Cli::try_parse_from(words.chain(arguments.split_whitespace()))?;
        let Command::Profile(args) = cli.command else { panic!("{:?}", cli.command) };
        let text = |path: PathBuf| path.display().to_string();
        let of = |target: Target| (target.device.to_string(), target.files().map(text).collect());
        Ok(targets(&args)?.into_iter().map(of).collect())
    }

    #[test]
    fn one_device_has_the_named_files_and_several_have_their_own() {
        let one = files("--device cpu:threads=2 --plot p.svg").unwrap();
        assert_eq!(one[0].1, ["out/table.v2.json", "p.svg", "p.blocks.svg"]);
        assert_eq!(files("").unwrap()[0].0, "cpu");
        let sweep = "--device cpu:threads=1 --device cpu:threads=2,batch=8 --plot p.svg";
        let [(_, first), (_, second)] = &files(sweep).unwrap()[..] else { panic!("two devices") };
        let table = "out/table.v2.cpu-threads2-batch8.json";
        assert_eq!(first[0], "out/table.v2.cpu-threads1.json");
        assert_eq!(
            second[..],
            [table, "p.cpu-threads2-batch8.svg", "p.cpu-threads2-batch8.blocks.svg"]
        );
        let message = files("--device cpu --device cpu:threads=1").unwrap_err().to_string();
        assert!(message.contains("--device `cpu:threads=1` is given twice"), "{message}");
    }

    #[test]
    fn options_hold_for_every_device_that_does_not_say() {
        let devices = |arguments| {
            let targets = files(arguments)?.into_iter();
            anyhow::Ok(targets.map(|(device, _)| device).collect::<Vec<_>>())
        };
        let both = devices("--device cpu --device cpu:threads=4 --batch 8").unwrap();
        assert_eq!(both, ["cpu:batch=8", "cpu:threads=4,batch=8"]);
        let message = devices("--device cpu:threads=4 --threads 2").unwrap_err().to_string();
        assert!(message.contains("contradicts --threads 2"), "{message}");
    }
}
