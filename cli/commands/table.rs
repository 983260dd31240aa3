//! `netfit table`: what a latency table holds, where two differ, and two as one.

use anyhow::{Context as _, Result, bail};
use netfit_latency_tables::{LatencyTable, TableDiff};
use netfit_spaces::Space;
use serde_json::{Value, json};

use crate::{
    args::{TableCommand, TableDiffer, TableMerge, TableShow},
    commands::predict,
    format, output,
    runtime::{self, check_apart, check_writable, make_folder_of, write_file},
    table::{ERRORS, coverage, error_rows, errors, facts},
};

/// Blocks that are listed for people where they do not say how many.
const BLOCKS: usize = 10;
/// Relative changes below this print as none.
const SHOWN: f64 = 5e-5;

pub(crate) fn execute(command: &TableCommand, as_json: bool) -> Result<()> {
    match command {
        TableCommand::Show(args) => show(args, as_json),
        TableCommand::Diff(args) => differ(args, as_json),
        TableCommand::Merge(args) => merge(args, as_json),
        TableCommand::Predict(args) => predict::execute(args, as_json),
    }
}

fn show(args: &TableShow, as_json: bool) -> Result<()> {
    args.csv.iter().try_for_each(|path| check_writable(path))?;
    check_apart(std::iter::once(&args.table).chain(&args.csv))?;
    let table = LatencyTable::load(&args.table)?;
    if let Some(path) = &args.csv {
        write_file(path, table.to_csv().as_bytes())
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    let blocks = slowest(&table, args.blocks);
    if as_json {
        let mut result = described(&table);
        result["blocks"] = blocks
            .iter()
            .map(|(line, seconds)| json!({"block": line, "calibrated_s": seconds}))
            .collect();
        return output::json(&result);
    }
    tell(&table)?;
    let rows: Vec<Vec<String>> = blocks
        .into_iter()
        .map(|(line, seconds)| vec![line.to_owned(), format::seconds(seconds)])
        .collect();
    if rows.is_empty() { Ok(()) } else { output::table(&["slowest blocks", "calibrated"], &rows) }
}

/// Calibrated seconds of the `number` slowest blocks.
fn slowest(table: &LatencyTable, number: usize) -> Vec<(&str, f64)> {
    let mut blocks: Vec<(&str, f64)> =
        table.entries().filter_map(|(line, _)| Some((line, table.entry(line)?))).collect();
    blocks.sort_by(|a, b| b.1.total_cmp(&a.1));
    blocks.truncate(number);
    blocks
}

fn described(table: &LatencyTable) -> Value {
    json!({
        "space": table.space_name, "space_id": table.space_id, "fingerprint": table.fingerprint,
        "reference": table.reference, "entries": table.entries().count(),
        "source": table.calibration.source, "calibration": table.calibration,
        "calibration_networks": table.calibration_networks.len(), "validation": table.validation,
        "validation_networks": table.validation_networks.len(), "hygiene": table.hygiene,
        "tails": table.tails, "seed": table.seed, "seconds": table.seconds,
    })
}

fn tell(table: &LatencyTable) -> Result<()> {
    for (name, text) in facts(table) {
        output::text(&format!("{name:<11}{text}"))?;
    }
    candidates(table)?;
    tell_errors(table)?;
    tails(table)
}

fn candidates(table: &LatencyTable) -> Result<()> {
    let calibration = &table.calibration;
    let rows: Vec<Vec<String>> = calibration
        .candidates
        .iter()
        .map(|candidate| {
            let chosen = candidate.source == calibration.source
                && candidate.correction == calibration.correction.name();
            vec![
                format!("{}, {}", candidate.source, candidate.correction),
                format::percent(Some(candidate.rmspe)),
                if chosen { "yes" } else { "" }.to_owned(),
            ]
        })
        .collect();
    output::table(&["source, correction", "leave-one-out RMSPE", "chosen"], &rows)
}

fn tell_errors(table: &LatencyTable) -> Result<()> {
    output::table(&ERRORS, &error_rows(table))?;
    table
        .validation
        .as_ref()
        .map_or(Ok(()), |validation| output::text(&coverage(table, validation)))
}

fn tails(table: &LatencyTable) -> Result<()> {
    let rows: Vec<Vec<String>> = table
        .tails
        .iter()
        .map(|tail| {
            let validation = tail.validation.as_ref();
            vec![
                format!("p{}", tail.percentile),
                tail.errors.networks.to_string(),
                format::percent(Some(tail.errors.rmspe)),
                format::percent(validation.map(|validation| validation.errors.rmspe)),
                format::percent(validation.and_then(|validation| validation.noise_floor_rmspe)),
                format::percent(Some(tail.interval)),
                format::percent(validation.map(|validation| validation.interval_coverage)),
            ]
        })
        .collect();
    if rows.is_empty() {
        return output::text("percentiles: none; netfit profile --percentiles 95,99 measures them");
    }
    let header =
        ["percentile", "networks", "RMSPE", "validation", "noise floor", "interval", "inside"];
    output::table(&header, &rows)
}

fn differ(args: &TableDiffer, as_json: bool) -> Result<()> {
    let (first, second) = (LatencyTable::load(&args.first)?, LatencyTable::load(&args.second)?);
    let diff = first.diff(&second);
    if as_json {
        return output::json(&diff);
    }
    differences(&diff)?;
    changes(&diff)?;
    let rows: Vec<Vec<String>> = ["validation, first", "validation, second"]
        .iter()
        .zip(&diff.validations)
        .filter_map(|(name, validation)| {
            validation.as_ref().map(|validation| errors(name, &validation.errors))
        })
        .collect();
    if rows.is_empty() { Ok(()) } else { output::table(&ERRORS, &rows) }
}

fn differences(diff: &TableDiff) -> Result<()> {
    let mut rows: Vec<Vec<String>> = diff
        .fingerprint
        .iter()
        .map(|field| vec![field.field.to_owned(), field.first.clone(), field.second.clone()])
        .collect();
    for (name, pair) in [
        ("space id", &diff.space_ids),
        ("source", &diff.sources),
        ("correction", &diff.corrections),
    ] {
        if pair[0] != pair[1] {
            rows.push(vec![name.to_owned(), pair[0].clone(), pair[1].clone()]);
        }
    }
    rows.push(vec![
        "constant".to_owned(),
        format::seconds(diff.constants_s[0]),
        format::seconds(diff.constants_s[1]),
    ]);
    rows.push(vec![
        "blocks of its own".to_owned(),
        diff.only_first.len().to_string(),
        diff.only_second.len().to_string(),
    ]);
    output::table(&["differs", "first", "second"], &rows)
}

fn changes(diff: &TableDiff) -> Result<()> {
    let rows: Vec<Vec<String>> = diff
        .blocks
        .iter()
        .filter(|block| block.change.abs() >= SHOWN || block.change.is_nan())
        .take(BLOCKS)
        .map(|block| {
            vec![
                block.block.clone(),
                format::seconds(block.first_s),
                format::seconds(block.second_s),
                format!("{:+.2} %", block.change * 100.0),
            ]
        })
        .collect();
    if !rows.is_empty() {
        output::table(&["most changed blocks", "first", "second", "change"], &rows)?;
    }
    output::text(&format!(
        "{} common blocks: median change {}, largest {}",
        diff.blocks.len(),
        format::percent(diff.median_change),
        format::percent(diff.largest_change)
    ))
}

fn merge(args: &TableMerge, as_json: bool) -> Result<()> {
    check_writable(&args.out)?;
    check_apart([&args.first, &args.out])?;
    check_apart([&args.second, &args.out])?;
    let (first, second) = (LatencyTable::load(&args.first)?, LatencyTable::load(&args.second)?);
    if let Some(difference) = first.fingerprint.differs(&second.fingerprint) {
        bail!(
            "the latency tables are of two devices: {} is `{}` and `{}`; hint: merge tables of one device",
            difference.field,
            difference.ours,
            difference.theirs
        );
    }
    let space = space(args, &first, &second)?;
    let merged = first.merge(&second, &space)?;
    make_folder_of(&args.out)?;
    merged.save(&args.out)?;
    if as_json {
        let mut result = described(&merged);
        result["table"] = json!(args.out.display().to_string());
        return output::json(&result);
    }
    tell(&merged)?;
    output::text(&format!("table      {}", args.out.display()))
}

/// The space of both tables.
fn space(args: &TableMerge, first: &LatencyTable, second: &LatencyTable) -> Result<Space> {
    if first.space_id != second.space_id {
        bail!(
            "the latency tables are of two spaces: `{}` ({}) and `{}` ({}); hint: merge tables of one space",
            first.space_name,
            first.space_id,
            second.space_name,
            second.space_id
        );
    }
    let space = match &args.space {
        Some(space) => runtime::space(space)?,
        None => first.space()?,
    };
    if space.id() != first.space_id {
        bail!(
            "space `{}` ({}) is not that of the latency tables, `{}` ({}); hint: name its file with --space",
            space.name(),
            space.id(),
            first.space_name,
            first.space_id
        );
    }
    Ok(space)
}
