//! MnasNet (Tan et al., CVPR 2019): a recurrent controller proposes networks, each is trained for a few epochs, the
//! controller learns from accuracy and latency, and the best are trained in full.
//!
//! The reward is the paper's soft one, with the budget as target. We depart in that only networks within the budget are
//! trained, so the budget holds whatever the reward. Where the best is measured over it all the same, the next finalist that
//! is predicted below what was missed takes its place. Random search trains as many networks by the same protocols, and
//! as many of its best in full.

use anyhow::Result;
use netfit_predictors::Threads;
use netfit_search::{
    Constraints, Evaluated, Reward, ScratchAccuracy, Search, SearchOptions, StrategyOptions,
    strategy_with,
};
use netfit_spaces::Genotype;

use super::{Choice, Work, best, equal, networks::Networks};

pub(super) fn choose(work: &mut Work<'_>) -> Result<Option<Choice>> {
    let (setting, aim_s) = (work.setting, work.limit.aim_s());
    let search = &setting.config.search;
    let mut networks = Networks::new(work)?;
    let searched = networks.search("mnasnet", Some(Reward::SOFT))?;
    let random = networks.search("random", None)?;
    networks.work.clock.lap("search");

    let found = networks.train(&top(&searched, search.finalists))?;
    let drawn = networks.train(&top(&random, search.finalists))?;
    let Some(chosen) = best_within(&found, aim_s) else { return Ok(None) };
    let equal = equal(setting, networks.constraints()?, chosen)?;
    let others = networks.train(&[equal, setting.space.largest()])?;
    networks.work.clock.lap("train");
    let compared = [chosen, best(&drawn)?, &others[0], &others[1]];
    let protocols = networks.protocols(true);
    networks.choice(compared, protocols, [searched, random]).map(Some)
}

/// The best of those whose predicted interval keeps to `aim_s`.
fn best_within(networks: &[Evaluated], aim_s: f64) -> Option<&Evaluated> {
    best(networks.iter().filter(|network| network.latency_interval_s[1] <= aim_s)).ok()
}

/// The best so many, best first.
fn top(networks: &[Evaluated], count: usize) -> Vec<Genotype> {
    let mut networks: Vec<&Evaluated> = networks.iter().collect();
    networks.sort_by(|a, b| a.better_first(b));
    networks.into_iter().take(count).map(|network| network.genotype.clone()).collect()
}

impl Networks<'_, '_> {
    /// The networks that a strategy proposes, by the proxy task.
    fn search(&mut self, name: &str, reward: Option<Reward>) -> Result<Vec<Evaluated>> {
        let Self { work, journal, latency, proxy, .. } = self;
        let Work { setting, limit, torch, progress, .. } = work;
        let (space, budget_s) = (&setting.space, limit.seconds);
        let others = &setting.bound()?.constraints;
        let goal = StrategyOptions { target_s: Some(budget_s), reward };
        let mut strategy = strategy_with(name, space, setting.config.seed, &goal)?;
        let mut accuracy = ScratchAccuracy {
            process: torch,
            scratch: setting.config.scratch.proxy(),
            protocol: proxy.clone(),
            progress: &mut |_| {},
        };
        let run = Search {
            space,
            strategy: strategy.as_mut(),
            accuracy: &mut accuracy,
            constraints: Constraints { latency, budget_s, others },
            journal: Some(journal),
            threads: Threads::default(),
        };
        // Each network is a training: the journal has it before the next one begins.
        let options = SearchOptions {
            evaluations: setting.config.search.evaluations,
            batch: 1,
            ..SearchOptions::default()
        };
        let stage = format!("training proposals of {name}");
        let mut shown = |step: netfit_search::Progress| {
            progress.update(&stage, step.done, step.total, &step.note);
        };
        let found = run.run(&options, &mut shown)?.evaluated;
        progress.finish();
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use netfit_predictors::Latency;
    use netfit_spaces::Space;

    use super::*;

    #[test]
    fn another_finalist_is_the_best_below_what_was_missed() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let network = |genotype: &str, accuracy, high_s| {
            let latency = Latency { median_s: high_s - 0.1, low_s: 0.0, high_s, relative: 1.0 };
            Evaluated::new(space.parse(genotype).unwrap(), accuracy, &latency)
        };
        let finalists = [
            network("00000001", 0.8, 3.0),
            network("00000002", 0.9, 5.0),
            network("00000011", 0.7, 2.0),
        ];
        let chosen = |aim_s| best_within(&finalists, aim_s).map(|network| network.accuracy);
        assert_eq!(
            [6.0, 4.9, 3.0, 2.9, 1.0].map(chosen),
            [Some(0.9), Some(0.8), Some(0.8), Some(0.7), None]
        );
    }
}
