//! What must hold beside the latency that a search is about: counts of parameters and bytes, latencies on other devices.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    str::FromStr,
};

use anyhow::{Context as _, Error, Result};
use clap::Args;
use netfit_export::{ModelInfo, block_bytes};
use netfit_latency_tables::LatencyTable;
use netfit_predictors::TableLatency;
use netfit_search::{Budget, LatencyConstraint, Others, SizeConstraint};
use netfit_spaces::{Genotype, Space};
use serde::{Deserialize, Serialize};

use crate::{format, runtime::check_apart};

/// What is asked for.
#[derive(Args, Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Limits {
    /// Learned numbers that a network may have at most, for example 2500000. Default: no limit, or that of the run of
    /// supernet:RUN or train:CONFIG.
    #[arg(long, value_name = "COUNT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_parameters: Option<u64>,
    /// Bytes that its ONNX file may take at most, for example 10000000; the search keeps to a bound that is up to a hundred
    /// bytes above the file for each node of the graph. Where no run tells the names of classes, they count as numbers.
    /// Default: as above.
    #[arg(long, value_name = "BYTES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) max_bytes: Option<u64>,
    /// A latency that must hold on another device, too, by what its table of the same space predicts: for example
    /// phone.json=5ms, or phone.json=8ms@95 for a percentile that the table has. May be given several times. Default: as
    /// above.
    #[arg(long, value_name = "TABLE=BUDGET[@PERCENTILE]")]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) also: Vec<Also>,
}

/// A latency on another device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Also {
    /// The latency table of the same space there.
    pub(crate) table: PathBuf,
    /// What must hold; a share is of the full network as it is predicted there.
    pub(crate) budget: Budget,
    /// Of single calls; 50 is the median.
    #[serde(default = "median")]
    pub(crate) percentile: f64,
}

/// A network's latency on another device, as its table predicts it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Elsewhere {
    pub(crate) device: String,
    pub(crate) budget_s: f64,
    pub(crate) latency_s: f64,
    pub(crate) latency_interval_s: [f64; 2],
}

fn median() -> f64 {
    50.0
}

impl Limits {
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

    /// The same for a search of `space` whose models say `info` about themselves.
    ///
    /// # Errors
    /// A limit that no network of the space keeps to; a table that cannot be read, or is another space's.
    pub(crate) fn others(&self, space: &Space, info: &ModelInfo) -> Result<Others> {
        let mut others = Others::default();
        if let Some(most) = self.max_parameters {
            others.sizes.push(SizeConstraint::parameters(space, most)?);
        }
        if let Some(most) = self.max_bytes {
            others.sizes.push(bytes(space, most, info)?);
        }
        for also in &self.also {
            others.elsewhere.push(also.constraint(space)?);
        }
        Ok(others)
    }

    /// The same where no data set is known: classes are numbered.
    pub(crate) fn unlabelled(&self, space: &Space) -> Result<Others> {
        let largest = space.largest();
        let mut info = ModelInfo::unlabelled(&space.network(&largest));
        info.extra = vec![
            ("genotype".to_owned(), largest.to_string()),
            ("space".to_owned(), space.id().to_owned()),
        ];
        self.others(space, &info)
    }
}

impl Also {
    fn constraint(&self, space: &Space) -> Result<LatencyConstraint> {
        let shown = || format!("latency table `{}` of another device", self.table.display());
        let table = LatencyTable::load(&self.table)?;
        table.check_space(space).with_context(shown)?;
        let latency =
            TableLatency::at_percentile(space, &table, self.percentile).with_context(shown)?;
        let full = table.predict_percentile(&space.network(&space.largest()), self.percentile)?;
        let budget_s = self.budget.resolve(full.median_s)?;
        let device = &table.fingerprint;
        let words = format!(
            "{} ({}, {} thread(s), batch {}){}",
            device.processor,
            device.provider,
            device.threads,
            device.batch,
            format::at(self.percentile)
        );
        LatencyConstraint::new(space, words, latency, budget_s).with_context(shown)
    }
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
            None => (rest, median()),
            Some((budget, percentile)) => {
                let percentile = percentile.parse().ok().filter(|p: &f64| p.is_finite());
                let expected = "expected a number after `@`; hint: for example phone.json=8ms@95";
                (budget, percentile.context(expected)?)
            }
        };
        Ok(Self { table: table.into(), budget: budget.parse()?, percentile })
    }
}

/// A network's latencies on all other devices.
pub(crate) fn elsewhere(others: &Others, genotype: &Genotype) -> Vec<Elsewhere> {
    let told = |other: &LatencyConstraint| {
        let latency = other.predict(genotype);
        Elsewhere {
            device: other.device().to_owned(),
            budget_s: other.budget_s(),
            latency_s: latency.median_s,
            latency_interval_s: [latency.low_s, latency.high_s],
        }
    };
    others.elsewhere.iter().map(told).collect()
}

fn bytes(space: &Space, most: u64, info: &ModelInfo) -> Result<SizeConstraint> {
    let mut known = HashMap::new();
    let constraint = SizeConstraint::new(space, "bytes", most, info.bytes()?, |block| {
        let text = block.to_string();
        if let Some(bytes) = known.get(&text) {
            return Ok(*bytes);
        }
        let bytes = block_bytes(block)
            .map_err(|error| netfit_predictors::Error::Source(Box::new(error)))?;
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
            assert_eq!(also.budget, budget.parse().unwrap());
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
