//! What a latency table says, in words and pictures.

use std::path::Path;

use anyhow::Result;
use netfit_latency_tables::{
    Correction, Errors, Hygiene, LatencyTable, NetworkTiming, Validation, Verdict,
};
use netfit_spaces::{Block, Space};

use crate::{format, plots};

/// What a table is of and how it was made, for people.
pub(crate) fn facts(table: &LatencyTable) -> Vec<(&'static str, String)> {
    let (fingerprint, calibration) = (&table.fingerprint, &table.calibration);
    vec![
        (
            "space",
            format!(
                "{} ({}), {} blocks, seed {}, measured in {}",
                table.space_name,
                table.space_id,
                table.entries().count(),
                table.seed,
                format::duration(table.seconds)
            ),
        ),
        (
            "device",
            format!(
                "{}, {} core(s), {} {}, {}, {} thread(s), {}, batch {}",
                fingerprint.processor,
                fingerprint.cores,
                fingerprint.runtime,
                fingerprint.runtime_version,
                fingerprint.provider,
                fingerprint.threads,
                fingerprint.precision,
                fingerprint.batch
            ),
        ),
        ("reference", format::seconds(table.reference.median_s)),
        ("source", format!("{}, {}", calibration.source, correction(&calibration.correction))),
        (
            "interval",
            format!(
                "{} either side, nominal coverage {:.0} %",
                format::percent(Some(calibration.interval)),
                calibration.coverage * 100.0
            ),
        ),
        ("machine", machine(&table.hygiene)),
    ]
}

fn correction(correction: &Correction) -> String {
    let constant = format::seconds(correction.constant_s());
    let term = |microseconds: f64, what: &str| {
        if microseconds.abs() > 0.0 {
            format!(" {microseconds:+.3} us x {what}")
        } else {
            String::new()
        }
    };
    let kernel = |seconds: f64| term(seconds * 1e6, "kernels");
    let parameters = |seconds: f64| term(seconds * 1e12, "million parameters");
    match correction {
        Correction::Affine(line) => format!("affine: {constant} + {:.4} x sum", line.slope),
        Correction::Recorded { slope, kernel_s, .. } => {
            format!("recorded: {constant} + {slope:.4} x sum{}", kernel(*kernel_s))
        }
        Correction::Memory { slope, kernel_s, parameter_s, .. } => format!(
            "memory: {constant} + {slope:.4} x sum{}{}",
            kernel(*kernel_s),
            parameters(*parameter_s)
        ),
        Correction::Ridge { slope, kernel_s, parameter_s, factors, penalty, .. } => format!(
            "ridge: {constant} + {slope:.4} x sum{}{}, {} block factor(s), penalty {penalty}",
            kernel(*kernel_s),
            parameters(*parameter_s),
            factors.len()
        ),
        Correction::Bent { base, bend } => format!(
            "{}; bent by {:+.3} ({} of {} become {})",
            self::correction(base),
            bend.strength,
            format::seconds(bend.most_s),
            format::seconds(bend.middle_s),
            format::seconds(bend.at(bend.most_s)),
        ),
        // The library may learn others.
        other => other.name().to_owned(),
    }
}

/// How quiet a machine was, for people.
pub(crate) fn machine(hygiene: &Hygiene) -> String {
    let verdict = match hygiene.verdict {
        Verdict::Clean => "clean",
        Verdict::NoiseAccepted => "DISTURBED, noise accepted",
    };
    let reasons: Vec<String> =
        hygiene.repeated_for.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
    let reasons =
        if reasons.is_empty() { String::new() } else { format!(" ({})", reasons.join(", ")) };
    let load = hygiene.load.map_or_else(|| "-".to_owned(), |load| format!("{load:.2} cores"));
    let bound = launch_bound(hygiene).map_or_else(String::new, |told| format!("; {told}"));
    let elsewhere = another_speed(hygiene).map_or_else(String::new, |told| format!("; {told}"));
    format!(
        "{verdict}: {} bursts, {} repeated{reasons}, {} disturbed, {} on a shared core; {} calls replaced; \
         reference drift {}, other load {load}, frequency change {}{bound}{elsewhere}",
        hygiene.bursts,
        hygiene.repeated,
        hygiene.disturbed,
        hygiene.shared,
        hygiene.calls_replaced,
        format::percent(Some(hygiene.reference_drift)),
        format::percent(hygiene.frequency_change)
    )
}

/// In how many processes the machine was at another speed, if in any.
pub(crate) fn another_speed(hygiene: &Hygiene) -> Option<String> {
    match hygiene.processes_at_another_speed {
        0 => None,
        1 => Some("in 1 process the machine was at another speed".to_owned()),
        count => Some(format!("in {count} processes the machine was at another speed")),
    }
}

/// How often a GPU waited for its host, if it did.
pub(crate) fn launch_bound(hygiene: &Hygiene) -> Option<String> {
    let share = hygiene.launch_bound.filter(|share| *share > 0.0)?;
    Some(format!(
        "launch-bound in {} of the bursts: a faster GPU would gain nothing there, a larger batch would",
        format::percent(Some(share))
    ))
}

/// The columns of [`errors`].
pub(crate) const ERRORS: [&str; 7] =
    ["whole networks", "number", "RMSPE", "within 2 %", "within 5 %", "within 10 %", "Kendall tau"];

/// A row of prediction errors.
pub(crate) fn errors(name: &str, errors: &Errors) -> Vec<String> {
    vec![
        name.to_owned(),
        errors.networks.to_string(),
        format::percent(Some(errors.rmspe)),
        format::share(errors.within_2),
        format::share(errors.within_5),
        format::share(errors.within_10),
        format!("{:.3}", errors.kendall_tau),
    ]
}

/// Rows of [`ERRORS`].
pub(crate) fn error_rows(table: &LatencyTable) -> Vec<Vec<String>> {
    let calibration = &table.calibration;
    let mut rows = vec![
        errors("calibration, table", &calibration.errors),
        errors("calibration, multiply-adds", &calibration.multiply_adds_errors),
    ];
    if let Some(validation) = &table.validation {
        rows.push(errors("validation, table", &validation.errors));
        rows.push(errors("validation, multiply-adds", &validation.multiply_adds));
    }
    rows
}

/// How many measurements the table's interval holds, and how exact they are.
pub(crate) fn coverage(table: &LatencyTable, validation: &Validation) -> String {
    let agreeing = validation.interval_agreement;
    format!(
        "noise floor RMSPE {}; {} inside the {} interval of +-{}{}",
        format::percent(validation.noise_floor_rmspe),
        format::share(validation.interval_coverage),
        format::share(table.calibration.coverage),
        format::percent(Some(table.calibration.interval)),
        agreeing.map_or(String::new(), |share| {
            format!(", {} in view of their own noise", format::share(share))
        })
    )
}

/// Predicted against measured latency of networks.
pub(crate) fn plot_networks(
    path: &Path,
    table: &LatencyTable,
    space: &Space,
    timings: &[NetworkTiming],
) -> Result<()> {
    let mut networks = Vec::new();
    for timing in timings {
        let latency = table.predict(&space.network(&timing.genotype))?;
        networks.push((timing.seconds, [latency.low_s, latency.median_s, latency.high_s]));
    }
    plots::predicted_against_measured(path, &networks)
}

/// Calibrated seconds of every block at each slot, at the space's largest input.
pub(crate) fn plot_blocks(path: &Path, table: &LatencyTable, space: &Space) -> Result<()> {
    let input = space.inputs().len() - 1;
    let mut slots = Vec::new();
    for (slot, blocks) in space.slots(input) {
        let seconds = |block: &Block| {
            let line = block.to_string();
            table.entry(&line).ok_or_else(|| table.missing(&line))
        };
        let seconds = blocks.iter().map(seconds).collect::<Result<Vec<f64>, _>>()?;
        slots.push((slot.to_string(), seconds));
    }
    let title = format!("Time of each block of {} at {}", space.name(), space.inputs()[input]);
    plots::blocks(path, &title, &slots)
}

#[cfg(test)]
mod tests {
    use netfit_profiler::{FakeDevice, ProfileOptions, profile};

    use super::*;

    #[test]
    fn pictures_show_every_slot_and_network() {
        let folder = tempfile::tempdir().unwrap();
        let space = Space::preset("ofa-28").unwrap();
        let (options, mut device) = (ProfileOptions::default(), FakeDevice::new(1));
        let table = profile(&space, &mut device, &options, &mut |_| {}).unwrap();
        let path = folder.path().join("new/plot.svg");
        plot_blocks(&path, &table, &space).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        let slots = space.slots(0);
        for (slot, _) in &slots {
            assert_eq!(svg.matches(&slot.to_string()).count(), 1, "{slot}");
        }
        // One dot for each option, and one in the legend.
        let options: usize = slots.iter().map(|(_, blocks)| blocks.len()).sum();
        assert_eq!(svg.matches("<circle").count(), options + 1);
        plot_networks(&path, &table, &space, &table.validation_networks).unwrap();
        let svg = std::fs::read_to_string(&path).unwrap();
        assert_eq!(svg.matches("<circle").count(), 16 + 1);
    }
}
