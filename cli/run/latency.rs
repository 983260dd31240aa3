//! The latency table and the budget in seconds.

use std::{fs, io};

use anyhow::{Context as _, Result, anyhow, bail};
use netfit_latency_tables::LatencyTable;
use netfit_predictors::TableLatency;
use netfit_profiler::{ProfileOptions, profile, time_networks};
use netfit_search::{Budget, Constraints, Error, SideConstraints};
use serde::{Deserialize, Serialize};

use super::{Setting, result::Attempt};
use crate::{
    format,
    progress::Progress,
    runtime::{journal_of, remove, without_restart, write_file},
    table::{plot_blocks, plot_networks},
};

/// A search that is repeated aims lower than what it missed by this factor.
const MARGIN: f64 = 0.995;

/// The latency that must hold, at the configuration's percentile; kept, so that a run that is gone on with has the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Limit {
    /// As it was asked for.
    pub(crate) requested: Budget,
    pub(crate) seconds: f64,
    /// The full network's latency at that percentile, where the budget is a share of it.
    pub(crate) full_s: Option<f64>,
    /// What the search keeps to, where that is less since a network that it had chosen was measured over the budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aim_s: Option<f64>,
    /// What was chosen and measured so far.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) attempts: Vec<Attempt>,
}

impl Limit {
    /// The run's, where it has one already.
    pub(crate) fn load(setting: &Setting) -> Result<Option<Self>> {
        let path = setting.folder.budget();
        match fs::read_to_string(&path) {
            Ok(text) => serde_json::from_str(&text).map(Some).map_err(|error| {
                anyhow!("`{}`: {error}; hint: remove it to set the budget again", path.display())
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => {
                bail!("cannot read `{}`: {error}; hint: the run's budget is in it", path.display())
            }
        }
    }

    /// The latency that predictions have to keep to.
    pub(crate) fn aim_s(&self) -> f64 {
        self.aim_s.unwrap_or(self.seconds)
    }

    /// The same without what a network has missed before; none where none has.
    pub(crate) fn relaxed(&self) -> Option<Self> {
        self.aim_s.map(|_| Self { aim_s: None, ..self.clone() })
    }

    fn save(&self, setting: &Setting) -> Result<()> {
        let path = setting.folder.budget();
        let text = serde_json::to_string_pretty(self)?;
        write_file(&path, text.as_bytes())
            .with_context(|| format!("cannot write `{}`", path.display()))
    }
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
        plot(setting, &table)?;
        return Ok(table);
    }
    let journal = journal_of(&path);
    let options = ProfileOptions {
        percentiles: setting.config.tail().into_iter().collect(),
        journal: Some(journal.clone()),
        ..setting.profile_options(accept_noise)?
    };
    let table = profile(&setting.space, device.as_mut(), &options, &mut progress.of_profiler());
    let table = table.map_err(without_restart)?;
    progress.finish();
    table.save(&path)?;
    remove(&journal)?;
    plot(setting, &table)?;
    Ok(table)
}

/// The table's pictures, those that are not there yet.
fn plot(setting: &Setting, table: &LatencyTable) -> Result<()> {
    let (latency, blocks) = (setting.folder.plot("latency"), setting.folder.plot("blocks"));
    if !latency.exists() {
        let networks = &table.validation_networks;
        plot_networks(&latency, table, &setting.space, networks)?;
    }
    if !blocks.exists() {
        plot_blocks(&blocks, table, &setting.space)?;
    }
    Ok(())
}

/// The budget in seconds; a share is of the full network as measured beside the table's reference network. Of a
/// percentile it is what the table says of the median that was measured.
pub(crate) fn limit(
    setting: &Setting,
    table: &LatencyTable,
    accept_noise: bool,
    progress: &mut Progress,
) -> Result<Limit> {
    if let Some(limit) = Limit::load(setting)? {
        return Ok(limit);
    }
    let requested: Budget = setting.config.budget.parse()?;
    let full_s = match requested {
        Budget::Seconds(_) => None,
        Budget::ShareOfFull(_) => Some(full_network(setting, table, accept_noise, progress)?),
    };
    let seconds = requested.resolve(full_s.unwrap_or(f64::NAN))?;
    let limit = Limit { requested, seconds, full_s, aim_s: None, attempts: Vec::new() };
    // An impossible budget ends here, before anything is trained.
    let (latency, others) = (setting.latency(table)?, &setting.bound()?.constraints);
    let (found, need) = (within(setting, &latency, others, limit.seconds)?, need(setting));
    if found < need {
        bail!(
            "{found} networks of space `{}` found within {}{}{}, expected at least {need}; hint: relax one of them",
            setting.space.name(),
            format::seconds(limit.seconds),
            format::at(setting.config.percentile),
            setting.bound()?.constraints
        );
    }
    // What was decided by them is kept with it.
    setting.keep_elsewhere()?;
    limit.save(setting)?;
    Ok(limit)
}

/// The same limit where the chosen network was measured over it: the table promised too much there by `measured_s` over
/// the budget, so the next search has to find so much less, and a little more. None where too few networks are that fast.
pub(crate) fn tighten(
    setting: &Setting,
    table: &LatencyTable,
    limit: &Limit,
    measured_s: f64,
) -> Result<Option<Limit>> {
    let aim_s = limit.aim_s() * MARGIN * limit.seconds / measured_s;
    let (latency, others) = (setting.latency(table)?, &setting.bound()?.constraints);
    match within(setting, &latency, others, aim_s) {
        Ok(found) if found >= need(setting) => {}
        Ok(_) | Err(Error::Impossible { .. } | Error::Unmet { .. }) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let limit = Limit { aim_s: Some(aim_s), ..limit.clone() };
    limit.save(setting)?;
    Ok(Some(limit))
}

/// Networks without which the method cannot do.
fn need(setting: &Setting) -> usize {
    setting.config.method.least_networks()
}

/// How many networks keep to a budget, of as many as are needed.
fn within(
    setting: &Setting,
    latency: &TableLatency,
    others: &SideConstraints,
    budget_s: f64,
) -> netfit_search::Result<usize> {
    let (need, seed) = (need(setting), setting.config.seed);
    let constraints = Constraints { latency, budget_s, others };
    Ok(netfit_search::feasible(&setting.space, constraints, need, seed)?.len())
}

fn full_network(
    setting: &Setting,
    table: &LatencyTable,
    accept_noise: bool,
    progress: &mut Progress,
) -> Result<f64> {
    let options = setting.careful_options(accept_noise)?;
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
