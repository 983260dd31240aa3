//! result.json: what a run found, measured on the exported files.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result, anyhow, bail};
use netfit_latency_tables::{Fingerprint, Hygiene, Validation, Verdict};
use netfit_predictors::Evaluation;
use netfit_spaces::{Genotype, MultiplyAdds, Network, Parameters};
use serde::{Deserialize, Serialize};

use super::{Folder, Method, methods::Protocols};
use crate::{
    budgets::{BudgetResult, Elsewhere, LatencyBudget},
    format, output,
    runtime::write_file,
};

/// The format version that this program writes.
pub(crate) const FORMAT: u32 = 1;

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunResult {
    pub(crate) format: u32,
    pub(crate) space: String,
    pub(crate) space_id: String,
    pub(crate) seed: u64,
    /// How the network was found.
    #[serde(default)]
    pub(crate) method: Method,
    pub(crate) budgets: Vec<BudgetResult>,
    pub(crate) within_budget: bool,
    pub(crate) devices: Vec<Fingerprint>,
    pub(crate) chosen: Candidate,
    /// The best of as many random networks within the budget as the search evaluated.
    pub(crate) random_best: Candidate,
    /// A random network whose predicted latency is the chosen one's.
    pub(crate) random_equal_latency: Candidate,
    pub(crate) full: Candidate,
    pub(crate) model: String,
    /// Subnets that a supernet evaluated for the search, and for random search.
    pub(crate) supernet_evaluations: u64,
    /// Largest difference between ONNX Runtime's and libtorch's logits on images of the test set, in 32-bit numbers.
    pub(crate) logits_max_difference: f64,
    pub(crate) test_images: usize,
    /// A hash of them; older results have none.
    #[serde(default)]
    pub(crate) test_hash: Option<String>,
    /// What the latency table's predictions are worth on networks that its calibration has not seen.
    pub(crate) validation: Option<Validation>,
    /// How well the accuracy predictor ranks, by cross-validation, where there is one.
    pub(crate) predictor: Option<Evaluation>,
    /// How networks were trained from scratch, where they were.
    #[serde(default)]
    pub(crate) protocols: Option<Protocols>,
    /// What was chosen and measured until the budget held, the last of which is `chosen`.
    #[serde(default)]
    pub(crate) attempts: Vec<Attempt>,
    /// Whether the machine was quiet while the exported files were measured.
    pub(crate) hygiene: Hygiene,
    /// Wall-clock seconds of each step of the unbroken part of the run.
    pub(crate) seconds: BTreeMap<String, f64>,
}

/// A network that was chosen and measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Attempt {
    pub(crate) genotype: Genotype,
    /// What its predicted interval kept to.
    pub(crate) aim_s: f64,
    pub(crate) latency_predicted_s: f64,
    pub(crate) latency_measured_s: Option<f64>,
}

impl Attempt {
    pub(crate) fn of(candidate: &Candidate, aim_s: f64) -> Self {
        Self {
            genotype: candidate.genotype.clone(),
            aim_s,
            latency_predicted_s: candidate.latency_predicted_s,
            latency_measured_s: candidate.latency_measured_s,
        }
    }
}

/// How a network stands to a budget.
pub(crate) struct Judged {
    pub(crate) holds: bool,
    /// What was found of it, where that is known.
    found: Option<String>,
}

/// How a network that was measured stands to each budget; those on other devices are in its own order.
pub(crate) fn judged(budgets: &[BudgetResult], network: &Candidate) -> Vec<Judged> {
    let mut elsewhere = network.elsewhere.iter();
    let judge = |budget: &BudgetResult| match budget {
        BudgetResult::Latency(latency) if latency.predicted => {
            let there = elsewhere.next();
            Judged {
                holds: there.is_some_and(|there| there.latency_interval_s[1] <= latency.seconds),
                found: there.map(|there| format!("{} predicted", format::seconds(there.latency_s))),
            }
        }
        BudgetResult::Latency(latency) => {
            let measured = network.latency_measured_s;
            Judged {
                holds: measured.is_some_and(|measured| measured <= latency.seconds),
                found: measured.map(format::seconds),
            }
        }
        BudgetResult::Parameters { max } => {
            let found = network.parameters.0;
            Judged { holds: found <= *max, found: Some(found.to_string()) }
        }
        BudgetResult::Bytes { max } => Judged {
            holds: network.model_bytes.is_some_and(|bytes| bytes <= *max),
            found: network.model_bytes.map(|bytes| bytes.to_string()),
        },
    };
    budgets.iter().map(judge).collect()
}

/// One network; what was not measured is null. Latencies are at the budget's percentile, their deviation is that of
/// the median. Accuracies are fractions of 1.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Candidate {
    pub(crate) genotype: Genotype,
    pub(crate) parameters: Parameters,
    pub(crate) multiply_adds: MultiplyAdds,
    /// Of the exported file.
    #[serde(default)]
    pub(crate) model_bytes: Option<u64>,
    pub(crate) latency_predicted_s: f64,
    pub(crate) latency_interval_s: [f64; 2],
    pub(crate) latency_measured_s: Option<f64>,
    pub(crate) latency_mad_s: Option<f64>,
    /// The batch over the measured median.
    #[serde(default)]
    pub(crate) images_per_second: Option<f64>,
    /// Latencies that are predicted for other devices with a budget.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) elsewhere: Vec<Elsewhere>,
    /// The measured latency at the speed that the reference network had when the table was made.
    pub(crate) latency_measured_normalised_s: Option<f64>,
    pub(crate) accuracy_predicted: Option<f64>,
    pub(crate) accuracy_supernet: Option<f64>,
    /// On the held-out images after a short training from scratch.
    #[serde(default)]
    pub(crate) accuracy_proxy: Option<f64>,
    /// On the held-out images after a training from scratch in full.
    #[serde(default)]
    pub(crate) accuracy_trained: Option<f64>,
    pub(crate) accuracy_test: Option<f64>,
    /// That of the same weights in 32-bit numbers, where the exported file has others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) accuracy_test_fp32: Option<f64>,
}

impl Candidate {
    /// The held-out accuracy by which the search compared it with others.
    pub(crate) fn accuracy_searched(&self) -> Option<f64> {
        self.accuracy_supernet.or(self.accuracy_proxy).or(self.accuracy_trained)
    }

    /// The held-out accuracy of its final weights.
    pub(crate) fn accuracy_held_out(&self) -> Option<f64> {
        self.accuracy_trained.or(self.accuracy_supernet)
    }

    /// A candidate of which only costs and predictions are known.
    pub(crate) fn new(
        genotype: Genotype,
        network: &Network,
        latency: netfit_latency_tables::Latency,
    ) -> Self {
        Self {
            genotype,
            parameters: network.parameters(),
            multiply_adds: network.multiply_adds(),
            model_bytes: None,
            latency_predicted_s: latency.median_s,
            latency_interval_s: [latency.low_s, latency.high_s],
            latency_measured_s: None,
            latency_mad_s: None,
            images_per_second: None,
            elsewhere: Vec::new(),
            latency_measured_normalised_s: None,
            accuracy_predicted: None,
            accuracy_supernet: None,
            accuracy_proxy: None,
            accuracy_trained: None,
            accuracy_test: None,
            accuracy_test_fp32: None,
        }
    }
}

impl RunResult {
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = fs::read_to_string(path).with_context(|| format!("cannot read `{shown}`"))?;
        let hint = "hint: remove it, and `netfit run` measures the exported files again";
        let result: Self = serde_json::from_str(&text)
            .map_err(|error| anyhow!("`{shown}` is not the result of a run: {error}; {hint}"))?;
        if result.format != FORMAT || result.budgets.is_empty() {
            bail!(
                "`{shown}`: expected format {FORMAT} and a budget, found format {} and {} budgets; {hint}",
                result.format,
                result.budgets.len()
            );
        }
        Ok(result)
    }

    pub(crate) fn save(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        write_file(path, text.as_bytes())
            .with_context(|| format!("cannot write `{}`", path.display()))
    }

    /// That of a finished run.
    pub(crate) fn of(folder: &Folder) -> Result<Self> {
        if !folder.result().exists() {
            bail!(
                "`{}` is not finished: it has no result.json; hint: `netfit run` goes on with it",
                folder.path().display()
            );
        }
        Self::load(&folder.result())
    }

    /// The four networks with their names for people, the chosen one first.
    pub(crate) fn candidates(&self) -> [(&'static str, &Candidate); 4] {
        [
            ("chosen", &self.chosen),
            ("random, equal latency", &self.random_equal_latency),
            ("random search's best", &self.random_best),
            ("full network", &self.full),
        ]
    }

    /// The latency that must hold here.
    ///
    /// # Errors
    /// A result without one, which is not `netfit run`'s.
    pub(crate) fn latency_budget(&self) -> Result<&LatencyBudget> {
        let latency = self.budgets.iter().find_map(|budget| match budget {
            BudgetResult::Latency(budget) => Some(budget).filter(|budget| !budget.predicted),
            BudgetResult::Parameters { .. } | BudgetResult::Bytes { .. } => None,
        });
        latency.context(
            "result.json: expected a budget on the measured latency, found none; hint: `netfit run` writes one",
        )
    }

    /// What had to hold beside it.
    pub(crate) fn side_budgets(&self) -> impl Iterator<Item = &BudgetResult> {
        self.budgets.iter().filter(|budget| !budget.is_measured())
    }

    /// Whether the budgets hold.
    pub(crate) fn verdict(&self) -> Result<String> {
        let LatencyBudget { seconds, requested, percentile, .. } = self.latency_budget()?;
        let measured =
            self.chosen.latency_measured_s.map_or_else(|| "-".to_owned(), format::seconds);
        let verdict = if self.within_budget { "within" } else { "OVER" };
        let disturbed = match self.hygiene.verdict {
            Verdict::NoiseAccepted => "; the machine was disturbed meanwhile (--accept-noise)",
            Verdict::Clean => "",
        };
        Ok(format!(
            "budget {requested}{} = {}; measured {} {measured}{}: {verdict} budget{disturbed}",
            format::at(*percentile),
            format::seconds(*seconds),
            format::percentile(*percentile),
            self.beside()
        ))
    }

    /// What is known of the chosen network beside its latency, where that has a budget.
    fn beside(&self) -> String {
        let judged = judged(&self.budgets, &self.chosen);
        let told = |(budget, judged): (&BudgetResult, Judged)| {
            let over = if judged.holds { "" } else { ", OVER" };
            format!("; {} ({budget}{over})", judged.found.unwrap_or_else(|| "-".to_owned()))
        };
        let beside = self.budgets.iter().zip(judged).filter(|(budget, _)| !budget.is_measured());
        beside.map(told).collect()
    }

    /// The four networks side by side, and the verdict.
    pub(crate) fn print(&self, folder: &Folder) -> Result<()> {
        let rows: Vec<Vec<String>> =
            self.candidates().iter().map(|(name, candidate)| row(name, candidate)).collect();
        output::text("")?;
        let mut header = vec![
            "network",
            "parameters",
            "mult-adds",
            "predicted",
            "measured",
            "held-out acc.",
            "test acc.",
        ];
        if self.chosen.accuracy_test_fp32.is_some() {
            header.push("in fp32");
        }
        output::table(&header, &rows)?;
        output::text(&self.verdict()?)?;
        output::text(&format!("model   {}", folder.model().display()))?;
        if folder.report().exists() {
            output::text(&format!("report  {}", folder.report().display()))?;
        }
        output::text(&format!("result  {}", folder.result().display()))
    }
}

fn row(name: &str, candidate: &Candidate) -> Vec<String> {
    let row = vec![
        name.to_owned(),
        candidate.parameters.to_string(),
        candidate.multiply_adds.to_string(),
        format::seconds(candidate.latency_predicted_s),
        candidate.latency_measured_s.map_or_else(|| "-".to_owned(), format::seconds),
        format::percent(candidate.accuracy_held_out()),
        format::percent(candidate.accuracy_test),
    ];
    let fp32 = candidate.accuracy_test_fp32.map(|accuracy| format::percent(Some(accuracy)));
    row.into_iter().chain(fp32).collect()
}
