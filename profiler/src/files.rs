//! Several ONNX files beside each other.

use std::{collections::BTreeMap, path::PathBuf};

use netfit_latency_tables::{Hygiene, LatencyTable, mad, median};
use netfit_spaces::Space;
use serde::{Deserialize, Serialize};

use crate::{
    Device, Model, ProfileOptions, Progress, Result, anchors::Anchors, gate::judge,
    journal::Journal, views::ModelTiming, whole::time,
};

/// The measured latency of a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileTiming {
    /// Raw seconds: what a budget is about. The median over processes, in each of which the drift is taken away.
    pub seconds: f64,
    /// The same in each process.
    pub processes_s: Vec<f64>,
    /// Median absolute deviation of the bursts, raw seconds.
    pub mad_s: f64,
    /// Seconds at the speed that the machine had when the table was made: the mean over processes.
    pub normalised_s: f64,
}

/// Times files, each given with the parameters of its network, side by side, beside some of the table's networks and in the
/// protocol of its calibration.
///
/// # Errors
/// A table of another space, a file that the device cannot run, or a machine that was disturbed.
pub fn time_files(
    table: &LatencyTable,
    space: &Space,
    device: &mut dyn Device,
    files: &[(PathBuf, u64)],
    options: &ProfileOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Vec<FileTiming>, Hygiene)> {
    table.check_space(space)?;
    options.check()?;
    let dimensions = BTreeMap::new();
    let models: Vec<Model<'_>> =
        files.iter().map(|(path, _)| Model::File { path, dimensions: &dimensions }).collect();
    let parameters: Vec<u64> = files.iter().map(|(_, parameters)| *parameters).collect();
    // A budget is about the machine as it is.
    let anchors = Anchors { any_speed: true, ..Anchors::of(table, space, models.len())? };
    let journal = &mut Journal::none();
    let timed = time(device, (&models, &parameters), &anchors, options, journal, progress)?;
    let hygiene = judge(&timed.gates, options)?;
    let reference_s = median(&timed.reference.processes_s);
    let timing = |model: &ModelTiming| {
        let bursts: Vec<f64> = model.ratios.iter().map(|ratio| ratio * reference_s).collect();
        FileTiming {
            seconds: median(&model.raw_s),
            mad_s: mad(&bursts),
            normalised_s: model.seconds(),
            processes_s: model.raw_s.clone(),
        }
    };
    Ok((timed.models.iter().map(timing).collect(), hygiene))
}
