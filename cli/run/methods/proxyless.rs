//! ProxylessNAS (Cai et al., ICLR 2019): a supernet of candidates learns its own architecture by gradients, with the
//! expected latency in its loss; the network that it stands for is trained from scratch.
//!
//! Random search trains as many networks as all of that would have trained in full: those of the search's epochs, and the
//! one that was found. A random network of equal latency is trained besides.

use anyhow::{Context as _, Result, anyhow};
use netfit_predictors::LatencyModel as _;
use netfit_search::{
    feasible,
    job::{ChoiceLatency, ProxylessFound},
};

use super::{Choice, Work, best, equal, networks::Networks};
use crate::runtime::write_file;

pub(super) fn choose(work: &mut Work<'_>) -> Result<Choice> {
    let found = search(work)?;
    work.clock.lap("search");

    let setting = work.setting;
    let (config, space, seed) = (&setting.config, &setting.space, setting.config.seed);
    let mut networks = Networks::new(work)?;
    let searched = networks.train(&[found.genotype])?;
    let chosen = best(&searched)?;
    let within = networks.constraints()?;
    let equal = equal(setting, within, chosen)?;
    let epochs = config.proxyless.warmup_epochs + config.proxyless.epochs;
    let count = 1 + (epochs / config.scratch.epochs) as usize;
    let drawn = feasible(space, within, count, seed)?;
    let random = networks.train(&drawn)?;
    let others = networks.train(&[equal, space.largest()])?;
    networks.work.clock.lap("train");

    let compared = [chosen, best(&random)?, &others[0], &others[1]];
    let protocols = networks.protocols(false);
    networks.choice(compared, protocols, [searched.clone(), random.clone()])
}

/// Trains the supernet and its architecture; what it found lies in the run folder.
pub(in crate::run) fn search(work: &mut Work<'_>) -> Result<ProxylessFound> {
    let told = latency(work)?;
    let options = &work.setting.config.proxyless;
    let found = work.torch.train_proxyless(options, &told, &mut work.progress.of_search())?;
    work.progress.finish();
    let path = work.setting.folder.architecture();
    write_file(&path, (serde_json::to_string_pretty(&found)? + "\n").as_bytes())
        .with_context(|| format!("cannot write `{}`", path.display()))?;
    Ok(found)
}

/// Options' latencies at the configuration's percentile. The search aims where the upper end of a prediction's interval
/// is the budget.
fn latency(work: &Work<'_>) -> Result<ChoiceLatency> {
    let latency = work.latency()?;
    let (_, fastest) = latency.fastest();
    let target_s = work.limit.seconds * fastest.median_s / fastest.high_s;
    let (fixed_s, options_s) = latency.by_choice(target_s).ok_or_else(|| {
        anyhow!(
            "space `{}` has other choices than `ops`; hint: `proxyless-28` is one for this method",
            work.setting.space.name()
        )
    })?;
    Ok(ChoiceLatency { fixed_s, options_s, target_s })
}
