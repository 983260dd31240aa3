//! What must hold beside the latency that is measured here: counts of parameters and bytes, latencies on other devices.

use std::{
    collections::HashMap,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context as _, Error, Result, bail};
use clap::Args;
use netfit_export::{ModelInfo, block_bytes, quantized_block_bytes};
use netfit_latency_tables::{Fingerprint, LatencyTable};
use netfit_predictors::TableLatency;
use netfit_profiler::Precision;
use netfit_search::{Budget, LatencyConstraint, SideConstraints, SizeConstraint};
use netfit_spaces::{Block, Genotype, Space};
use serde::{Deserialize, Serialize};

use crate::{format, runtime::check_apart};

/// The percentile that is the median.
pub(crate) const MEDIAN: f64 = 50.0;

/// What is asked for.
#[derive(Args, Clone, Debug, Default, PartialEq)]
pub(crate) struct SideBudgets {
    /// Learned numbers that a network may have at most, for example 2500000. Default: no limit, or with supernet:RUN or
    /// train:CONFIG that of the run.
    #[arg(long, value_name = "COUNT")]
    pub(crate) max_parameters: Option<u64>,
    /// Bytes that its ONNX file may take at most, for example 10000000; the search keeps to a bound that is above the file by
    /// 1 kB and 200 bytes for each node of the graph, or less. Where no run tells the names of classes, they count as
    /// numbers. Default: as above.
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_bytes: Option<u64>,
    /// A latency that must hold on another device, too, by what its table of the same space predicts: for example
    /// phone.json=5ms, or phone.json=8ms@95 for a percentile that the table has. May be given several times. Default: all
    /// those of the run, as above.
    #[arg(long, value_name = "TABLE=BUDGET[@PERCENTILE]")]
    pub(crate) also: Vec<Also>,
}

/// A latency on another device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Also {
    /// The latency table of the same space there.
    pub(crate) table: PathBuf,
    /// What must hold, as a person wrote it; a share is of the full network as it is predicted there.
    pub(crate) budget: String,
    /// Of single calls; 50 is the median.
    #[serde(default = "median")]
    pub(crate) percentile: f64,
}

/// What must hold in a space: the constraints, how results tell them, and the tables of other devices in their order.
#[derive(Debug, Default)]
pub(crate) struct Bound {
    pub(crate) constraints: SideConstraints,
    beside: Vec<BudgetResult>,
    tables: Vec<LatencyTable>,
}

/// What had to hold, as results tell it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "metric", rename_all = "kebab-case")]
pub(crate) enum BudgetResult {
    Latency(LatencyBudget),
    Parameters { max: u64 },
    Bytes { max: u64 },
}

/// A latency that must hold, where it counts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LatencyBudget {
    pub(crate) device: String,
    pub(crate) percentile: f64,
    pub(crate) seconds: f64,
    /// As it was asked for.
    pub(crate) requested: String,
    /// The full network's latency, where the budget is a share of it.
    pub(crate) full_s: Option<f64>,
    /// Whether it is another device's: its table predicts it, and nothing is measured there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) predicted: bool,
}

/// A network's latency on another device, as its table predicts it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Elsewhere {
    pub(crate) device: String,
    pub(crate) percentile: f64,
    pub(crate) budget_s: f64,
    pub(crate) latency_s: f64,
    pub(crate) latency_interval_s: [f64; 2],
}

fn median() -> f64 {
    MEDIAN
}

impl LatencyBudget {
    /// Of a search by a table, on whose device the full network takes `full_s`.
    pub(crate) fn of_table(
        table: &LatencyTable,
        percentile: f64,
        budget: Budget,
        full_s: f64,
    ) -> Result<Self> {
        Ok(Self {
            device: device(&table.fingerprint),
            percentile,
            seconds: budget.resolve(full_s)?,
            requested: budget.to_string(),
            full_s: matches!(budget, Budget::ShareOfFull(_)).then_some(full_s),
            predicted: false,
        })
    }
}

impl SideBudgets {
    /// The same, with another's where there is none.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            max_parameters: self.max_parameters.or(other.max_parameters),
            max_bytes: self.max_bytes.or(other.max_bytes),
            also: if self.also.is_empty() { other.also } else { self.also },
        }
    }

    /// Refuses to write where another device's table is; that one may be the table of the search itself, for another
    /// percentile.
    pub(crate) fn refuse(&self, output: Option<&Path>) -> Result<()> {
        let both = self.also.iter().filter_map(|also| Some([output?, also.table.as_path()]));
        both.into_iter().try_for_each(check_apart)
    }

    /// The same in `space`, whose models say `info` about themselves and compute with 8-bit numbers or not.
    ///
    /// # Errors
    /// A budget that no network of the space keeps to; a table that cannot be read, or is another space's.
    pub(crate) fn bind(self, space: &Space, info: &ModelInfo, int8: bool) -> Result<Bound> {
        let mut bound = Bound::default();
        let SideConstraints { sizes, elsewhere } = &mut bound.constraints;
        if let Some(max) = self.max_parameters {
            sizes.push(SizeConstraint::parameters(space, max)?);
            bound.beside.push(BudgetResult::Parameters { max });
        }
        if let Some(max) = self.max_bytes {
            sizes.push(bytes(space, max, info, int8)?);
            bound.beside.push(BudgetResult::Bytes { max });
        }
        for also in self.also {
            let (constraint, table, budget) =
                also.bind(space, int8).with_context(|| also.name())?;
            elsewhere.push(constraint);
            bound.beside.push(BudgetResult::Latency(budget));
            bound.tables.push(table);
        }
        Ok(bound)
    }
}

impl Also {
    fn name(&self) -> String {
        format!("latency table `{}` of another device", self.table.display())
    }

    /// Refuses what is no budget.
    pub(crate) fn check(&self) -> Result<()> {
        self.budget.parse::<Budget>().map(drop).with_context(|| self.name())
    }

    fn bind(
        &self,
        space: &Space,
        int8: bool,
    ) -> Result<(LatencyConstraint, LatencyTable, LatencyBudget)> {
        let (table, percentile) = (LatencyTable::load(&self.table)?, self.percentile);
        table.check_space(space)?;
        if quantizes(&table) != int8 {
            let (there, here) = (&table.fingerprint.precision, if int8 { "" } else { "not " });
            bail!(
                "it is of networks in {there}, the model is {here}one of int8; hint: profile it there as it will run"
            );
        }
        let latency = TableLatency::at_percentile(space, &table, percentile)?;
        let full = table.predict_percentile(&space.network(&space.largest()), percentile)?;
        let budget = self.budget.parse()?;
        let budget = LatencyBudget::of_table(&table, percentile, budget, full.median_s)?;
        let words = budget.device.clone() + &format::at(percentile);
        let constraint = LatencyConstraint::new(space, words, latency, budget.seconds)?;
        Ok((constraint, table, LatencyBudget { predicted: true, ..budget }))
    }
}

/// What models of a space say about themselves where no data set is known: their classes are numbered.
pub(crate) fn unlabelled(space: &Space) -> ModelInfo {
    let largest = space.largest();
    let mut info = ModelInfo::unlabelled(&space.network(&largest));
    info.extra = vec![
        ("genotype".to_owned(), largest.to_string()),
        ("space".to_owned(), space.id().to_owned()),
    ];
    info
}

/// A device in words.
fn device(fingerprint: &Fingerprint) -> String {
    let Fingerprint { processor, provider, precision, threads, batch, .. } = fingerprint;
    format!("{processor} ({provider}, {precision}, {threads} thread(s), batch {batch})")
}

impl FromStr for Also {
    type Err = Error;

    /// `TABLE=BUDGET` or `TABLE=BUDGET@PERCENTILE`.
    fn from_str(text: &str) -> Result<Self> {
        let (table, rest) = text
            .rsplit_once('=')
            .filter(|(table, _)| !table.is_empty())
            .context("expected TABLE=BUDGET; hint: for example phone.json=5ms")?;
        let (budget, percentile) = match rest.rsplit_once('@') {
            None => (rest, MEDIAN),
            Some((budget, percentile)) => {
                let percentile = percentile.parse().ok().filter(|p: &f64| p.is_finite());
                let expected = "expected a number after `@`; hint: for example phone.json=8ms@95";
                (budget, percentile.context(expected)?)
            }
        };
        budget.parse::<Budget>()?;
        Ok(Self { table: table.into(), budget: budget.to_owned(), percentile })
    }
}

impl Bound {
    /// All that must hold, the latency here first.
    pub(crate) fn budgets(&self, here: LatencyBudget) -> Vec<BudgetResult> {
        [&[BudgetResult::Latency(here)], &self.beside[..]].concat()
    }

    /// A network's latencies on all other devices, in the order of their budgets.
    pub(crate) fn elsewhere(&self, genotype: &Genotype) -> Vec<Elsewhere> {
        let budgets = self.beside.iter().filter_map(|budget| match budget {
            BudgetResult::Latency(budget) => Some(budget),
            BudgetResult::Parameters { .. } | BudgetResult::Bytes { .. } => None,
        });
        let told = |(budget, there): (&LatencyBudget, &LatencyConstraint)| {
            let latency = there.predict(genotype);
            Elsewhere {
                device: budget.device.clone(),
                percentile: budget.percentile,
                budget_s: budget.seconds,
                latency_s: latency.median_s,
                latency_interval_s: [latency.low_s, latency.high_s],
            }
        };
        budgets.zip(&self.constraints.elsewhere).map(told).collect()
    }

    /// Tables of other devices.
    pub(crate) fn tables(&self) -> &[LatencyTable] {
        &self.tables
    }
}

impl BudgetResult {
    /// Whether it is on the latency that is measured here.
    pub(crate) fn is_measured(&self) -> bool {
        matches!(self, Self::Latency(latency) if !latency.predicted)
    }
}

impl fmt::Display for BudgetResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latency(LatencyBudget { seconds, device, percentile, .. }) => {
                let (seconds, at) = (format::seconds(*seconds), format::at(*percentile));
                write!(f, "within {seconds} on {device}{at}")
            }
            Self::Parameters { max } => write!(f, "at most {max} parameters"),
            Self::Bytes { max } => write!(f, "at most {max} bytes"),
        }
    }
}

/// Whether the networks of a table compute with 8-bit numbers.
pub(crate) fn quantizes(table: &LatencyTable) -> bool {
    table.fingerprint.precision == Precision::Int8.long_name()
}

fn bytes(space: &Space, most: u64, info: &ModelInfo, int8: bool) -> Result<SizeConstraint> {
    let of_block = |block: &Block| -> netfit_export::Result<u64> {
        if !int8 {
            return block_bytes(block);
        }
        let later = quantized_block_bytes(block, false)?;
        // What has an image's shape may stand first, or later all the same.
        let first = space.inputs().contains(&block.input());
        let first = if first { quantized_block_bytes(block, true)? } else { 0 };
        Ok(later.max(first))
    };
    let mut known = HashMap::new();
    let constraint = SizeConstraint::new(space, "bytes", most, info.bytes()?, |block| {
        let text = block.to_string();
        if let Some(bytes) = known.get(&text) {
            return Ok(*bytes);
        }
        let bytes =
            of_block(block).map_err(|error| netfit_predictors::Error::Source(Box::new(error)))?;
        known.insert(text, bytes);
        Ok(bytes)
    })?;
    Ok(constraint)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_latency_elsewhere_is_read_from_its_table_budget_and_percentile() {
        for (text, table, budget, percentile) in [
            ("phone.json=5ms", "phone.json", "5ms", 50.0),
            ("a=b.json=60% of full@95", "a=b.json", "60% of full", 95.0),
        ] {
            let also: Also = text.parse().unwrap();
            assert_eq!((also.table.to_str().unwrap(), also.percentile), (table, percentile));
            assert_eq!(also.budget, budget);
        }
        for (text, part) in [
            ("phone.json", "expected TABLE=BUDGET"),
            ("=5ms", "expected TABLE=BUDGET"),
            ("phone.json=5", "no unit"),
            ("phone.json=5ms@", "a number after `@`"),
            ("phone.json=5ms@nan", "a number after `@`"),
        ] {
            let message = text.parse::<Also>().unwrap_err().to_string();
            assert!(message.contains(part) && message.contains("hint: "), "{text}: {message}");
        }
    }
}
