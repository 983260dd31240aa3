//! The latency table and the budget in seconds.

use std::fs;

use anyhow::{Context as _, Result, anyhow};
use netfit_latency_tables::LatencyTable;
use netfit_predictors::TableLatency;
use netfit_profiler::{ProfileOptions, Protocol, profile, time_networks};
use netfit_search::Budget;
use serde::{Deserialize, Serialize};

use super::Setting;
use crate::{
    commands,
    progress::Progress,
    runtime::{journal_of, remove, write_file},
};

/// The latency that must hold, at the configuration's percentile; kept, so that a run that is gone on with has the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Limit {
    /// As it was asked for.
    pub(crate) requested: Budget,
    pub(crate) seconds: f64,
    /// The full network's latency at that percentile, where the budget is a share of it.
    pub(crate) full_s: Option<f64>,
}

/// The run's table: measured, unless it is there already.
pub(crate) fn table(
    setting: &Setting,
    accept_noise: bool,
    progress: &mut Progress,
) -> Result<LatencyTable> {
    let path = setting.folder.table();
    let mut device = setting.device()?;
    if path.exists() {
        let table = LatencyTable::load(&path)?;
        table.check_space(&setting.space)?;
        table.check_device(&device.fingerprint())?;
        return Ok(table);
    }
    let journal = journal_of(&path);
    let options = ProfileOptions {
        seed: setting.config.seed,
        accept_noise,
        percentiles: setting.config.tail().into_iter().collect(),
        journal: Some(journal.clone()),
        ..ProfileOptions::default()
    };
    let table = profile(&setting.space, device.as_mut(), &options, &mut progress.of_profiler());
    // Its own hint names an option that a run does not have.
    let table = table.map_err(|error| match error {
        netfit_profiler::Error::Journal { path, reason } => {
            let path = path.display();
            anyhow!("journal `{path}` cannot be gone on with: {reason}; hint: remove it")
        }
        error => error.into(),
    })?;
    progress.finish();
    table.save(&path)?;
    remove(&journal)?;
    let (folder, networks) = (&setting.folder, &table.validation_networks);
    commands::profile::plot_networks(&folder.plot("latency"), &table, &setting.space, networks)?;
    commands::profile::plot_blocks(&folder.plot("blocks"), &table, &setting.space)?;
    Ok(table)
}

/// The budget in seconds; a share is of the full network as measured beside the table's reference network. Of a
/// percentile it is what the table says of the median that was measured.
pub(crate) fn limit(
    setting: &Setting,
    table: &LatencyTable,
    accept_noise: bool,
    progress: &mut Progress,
) -> Result<Limit> {
    let path = setting.folder.budget();
    let requested: Budget = setting.config.budget.parse()?;
    if let Ok(text) = fs::read_to_string(&path) {
        return serde_json::from_str(&text).with_context(|| format!("`{}`", path.display()));
    }
    let limit = match requested {
        Budget::Seconds(seconds) => Limit { requested, seconds, full_s: None },
        Budget::ShareOfFull(_) => {
            let full_s = full_network(setting, table, accept_noise, progress)?;
            Limit { requested, seconds: requested.resolve(full_s)?, full_s: Some(full_s) }
        }
    };
    let latency = TableLatency::at_percentile(&setting.space, table, setting.config.percentile)?;
    // An impossible budget ends here, before anything is trained.
    netfit_search::feasible(&setting.space, &latency, limit.seconds, 1, setting.config.seed)?;
    let text = serde_json::to_string_pretty(&limit)?;
    write_file(&path, text.as_bytes())
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    Ok(limit)
}

/// More processes and rounds than for a table: a budget hangs on each of these few networks.
pub(crate) fn careful() -> ProfileOptions {
    ProfileOptions {
        protocol: Protocol { rounds: 25, most_rounds: 25, ..Protocol::default() },
        processes: 6,
        ..ProfileOptions::default()
    }
}

fn full_network(
    setting: &Setting,
    table: &LatencyTable,
    accept_noise: bool,
    progress: &mut Progress,
) -> Result<f64> {
    let options = ProfileOptions { seed: setting.config.seed, accept_noise, ..careful() };
    let largest = [setting.space.largest()];
    let mut device = setting.device()?;
    let timed = time_networks(
        table,
        &setting.space,
        device.as_mut(),
        &largest,
        &options,
        &mut progress.of_profiler(),
    )?;
    progress.finish();
    Ok(table.latency_at(timed.networks[0].seconds, setting.config.percentile)?.median_s)
}
