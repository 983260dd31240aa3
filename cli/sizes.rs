//! Budgets on what can be counted before anything is measured: parameters, and bytes of the exported file.

use std::{collections::HashMap, fmt};

use anyhow::Result;
use clap::Args;
use netfit_export::{ModelInfo, block_bytes};
use netfit_search::SizeConstraint;
use netfit_spaces::Space;
use serde::Serialize;

/// The most that a network may have.
#[derive(Args, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Sizes {
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
}

impl Sizes {
    /// The same, with another's where there is none.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            max_parameters: self.max_parameters.or(other.max_parameters),
            max_bytes: self.max_bytes.or(other.max_bytes),
        }
    }

    /// The same for a search of `space` whose models say `info` about themselves.
    pub(crate) fn constraints(
        self,
        space: &Space,
        info: &ModelInfo,
    ) -> Result<Vec<SizeConstraint>> {
        let mut constraints = Vec::new();
        if let Some(most) = self.max_parameters {
            constraints.push(SizeConstraint::parameters(space, most)?);
        }
        if let Some(most) = self.max_bytes {
            constraints.push(bytes(space, most, info)?);
        }
        Ok(constraints)
    }

    /// The same where no data set is known: classes are numbered.
    pub(crate) fn unlabelled(self, space: &Space) -> Result<Vec<SizeConstraint>> {
        let largest = space.largest();
        let mut info = ModelInfo::unlabelled(&space.network(&largest));
        info.extra = vec![
            ("genotype".to_owned(), largest.to_string()),
            ("space".to_owned(), space.id().to_owned()),
        ];
        self.constraints(space, &info)
    }
}

impl fmt::Display for Sizes {
    /// What follows a latency, or nothing.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (most, unit) in [(self.max_parameters, "parameters"), (self.max_bytes, "bytes")] {
            if let Some(most) = most {
                write!(f, ", at most {most} {unit}")?;
            }
        }
        Ok(())
    }
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
