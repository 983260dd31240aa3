//! Methods: from a table and a budget to networks with weights. One file each.

mod mnasnet;
mod networks;
mod ofa;
mod proxyless;

pub(super) use self::proxyless::search as search_architecture;

use std::fmt;

use anyhow::{Result, anyhow};
use netfit_latency_tables::LatencyTable;
use netfit_predictors::{Evaluation, LatencyModel, TableLatency};
use netfit_search::{Constraints, Evaluated, TorchProcess, equal_latency};
use netfit_spaces::Genotype;
use serde::{Deserialize, Serialize};

use super::{Clock, Limit, Setting, result::Candidate};
use crate::{config::Config, progress::Progress};

/// Random networks among which one of equal latency is sought.
const DRAWS: usize = 2000;

/// How a run finds its network: the configuration's `method`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Method {
    /// Once-for-All: one supernet serves every network; a predictor and evolution choose among them.
    #[default]
    Ofa,
    /// MnasNet: a controller learns from networks that are trained for a few epochs each; the best are trained in full.
    // As the paper is written: one word.
    #[serde(rename = "mnasnet")]
    MnasNet,
    /// ProxylessNAS: a supernet of candidates learns its own architecture by gradients; the network that it stands for is
    /// trained from scratch.
    Proxyless,
}

/// Identities of the protocols by which networks were trained from scratch; accuracies compare only within one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Protocols {
    /// Of the short trainings by which a search judges, where it does.
    pub(crate) proxy: Option<String>,
    /// Of the trainings that a run ends with.
    pub(crate) full: String,
}

impl fmt::Display for Method {
    /// As it stands in a configuration.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// What a method works with.
pub(crate) struct Work<'a> {
    pub(crate) setting: &'a Setting,
    pub(crate) table: &'a LatencyTable,
    pub(crate) limit: &'a Limit,
    pub(crate) torch: TorchProcess,
    pub(crate) progress: &'a mut Progress,
    pub(crate) clock: &'a mut Clock,
}

/// What was chosen, and what it is compared with. The weights of each network lie in the run folder under the names of
/// [`Choice::candidates`].
pub(crate) struct Choice {
    pub(crate) chosen: Candidate,
    pub(crate) random_best: Candidate,
    pub(crate) random_equal_latency: Candidate,
    pub(crate) full: Candidate,
    /// Networks that the search evaluated.
    pub(crate) searched: Vec<Evaluated>,
    /// Networks that random search evaluated.
    pub(crate) random: Vec<Evaluated>,
    /// Subnets that a supernet evaluated, for the search and for random search.
    pub(crate) supernet_evaluations: usize,
    /// How well the accuracy predictor ranks, by cross-validation, where there is one.
    pub(crate) predictor: Option<Evaluation>,
    /// How networks were trained from scratch, where they were.
    pub(crate) protocols: Option<Protocols>,
}

impl Choice {
    /// The four networks and their names in the run folder.
    pub(crate) fn candidates(&mut self) -> [(&'static str, &mut Candidate); 4] {
        [
            ("chosen", &mut self.chosen),
            ("random-best", &mut self.random_best),
            ("random-equal-latency", &mut self.random_equal_latency),
            ("full", &mut self.full),
        ]
    }
}

impl Method {
    /// Refuses what the method cannot work with, before anything is made.
    pub(crate) fn check(self, config: &Config, torch: &mut TorchProcess) -> Result<()> {
        match self {
            Self::Ofa => Ok(torch.prepare()?),
            Self::MnasNet => Ok(()),
            Self::Proxyless => Ok(torch.prepare_proxyless(&config.proxyless)?),
        }
    }

    /// Whether another network can be chosen for one that was measured over the budget without training anew: of a
    /// supernet, or among the finalists, but not of an architecture that was learnt.
    pub(crate) fn chooses_again(self) -> bool {
        match self {
            Self::Ofa | Self::MnasNet => true,
            Self::Proxyless => false,
        }
    }

    /// Networks within the budget without which it cannot do: those that a predictor learns from, or the chosen one and
    /// one to compare it with.
    pub(crate) fn least_networks(self) -> usize {
        match self {
            Self::Ofa => 2 * ofa::FOLDS,
            Self::MnasNet | Self::Proxyless => 2,
        }
    }

    /// Trains, searches and trains again as the method does, and goes on with what was begun; none where nothing is left
    /// to choose below what was missed before.
    pub(crate) fn choose(self, work: &mut Work<'_>) -> Result<Option<Choice>> {
        match self {
            Self::Ofa => ofa::choose(work).map(Some),
            Self::MnasNet => mnasnet::choose(work),
            Self::Proxyless => proxyless::choose(work).map(Some),
        }
    }
}

impl Work<'_> {
    /// A network with what is known of it beforehand.
    fn candidate(&self, genotype: &Genotype) -> Result<Candidate> {
        let network = self.setting.space.network(genotype);
        let latency = self.table.predict_percentile(&network, self.setting.config.percentile)?;
        Ok(Candidate {
            elsewhere: self.setting.bound()?.elsewhere(genotype),
            ..Candidate::new(genotype.clone(), &network, latency)
        })
    }

    /// Latencies at the configuration's percentile.
    fn latency(&self) -> Result<TableLatency> {
        self.setting.latency(self.table)
    }
}

/// A random network that keeps to the same, of the chosen one's predicted latency.
fn equal(setting: &Setting, within: Constraints<'_>, chosen: &Evaluated) -> Result<Genotype> {
    let own = std::slice::from_ref(&chosen.genotype);
    Ok(equal_latency(&setting.space, within, chosen.latency_s, DRAWS, own, setting.config.seed)?)
}

/// Networks with their accuracies and their latencies beside them.
pub(crate) fn describe(
    latency: &dyn LatencyModel,
    networks: impl IntoIterator<Item = (Genotype, f64)>,
) -> Vec<Evaluated> {
    let described = |(genotype, accuracy): (Genotype, f64)| {
        let latency = latency.latency(&genotype);
        Evaluated::new(genotype, accuracy, &latency)
    };
    networks.into_iter().map(described).collect()
}

fn best<'a>(networks: impl IntoIterator<Item = &'a Evaluated>) -> Result<&'a Evaluated> {
    let best = networks.into_iter().min_by(|a, b| a.better_first(b));
    best.ok_or_else(|| anyhow!("no network was evaluated"))
}
