//! Several ONNX files beside each other.

use std::{collections::BTreeMap, path::PathBuf};

use netfit_latency_tables::{Hygiene, LatencyTable, mad, median};
use netfit_spaces::Network;
use serde::{Deserialize, Serialize};

use crate::{
    Device, Model, ProfileOptions, Progress, Result,
    pairing::estimate,
    whole::{judge, one_process},
};

/// The measured latency of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileTiming {
    /// Raw seconds: what a budget is about. The median over processes of each one's median burst.
    pub seconds: f64,
    /// The same in each process.
    pub processes_s: Vec<f64>,
    /// Median absolute deviation of the bursts, raw seconds.
    pub mad_s: f64,
    /// Seconds at the speed that the reference network had when the table was made: the table's own estimate.
    pub normalised_s: f64,
}

/// Times files in turn, beside the table's reference network and in the protocol of its calibration.
///
/// # Errors
/// A file that the device cannot run, or a machine that was disturbed.
pub fn time_files(
    table: &LatencyTable,
    device: &mut dyn Device,
    paths: &[PathBuf],
    options: &ProfileOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Vec<FileTiming>, Hygiene)> {
    options.check()?;
    let reference: Network = table.reference.network.parse()?;
    let dimensions = BTreeMap::new();
    let models: Vec<Model<'_>> =
        paths.iter().map(|path| Model::File { path, dimensions: &dimensions }).collect();
    let mut processes = Vec::new();
    for process in 0..options.processes {
        let label = format!("process {} of {}", process + 1, options.processes);
        processes.push(one_process(
            device,
            &models,
            &reference,
            (process, &label),
            options,
            progress,
        )?);
    }
    let hygiene = judge(&processes, options)?;
    let timings = (0..paths.len()).map(|index| {
        let relative: Vec<f64> =
            processes.iter().map(|paired| estimate(&paired.ratios[index])).collect();
        let processes_s: Vec<f64> = processes
            .iter()
            .map(|paired| median(&paired.ratios[index]) * paired.reference_s)
            .collect();
        let bursts: Vec<f64> = processes
            .iter()
            .flat_map(|paired| paired.ratios[index].iter().map(|ratio| ratio * paired.reference_s))
            .collect();
        FileTiming {
            seconds: median(&processes_s),
            mad_s: mad(&bursts),
            normalised_s: relative.iter().sum::<f64>() / relative.len() as f64
                * table.reference.median_s,
            processes_s,
        }
    });
    Ok((timings.collect(), hygiene))
}
