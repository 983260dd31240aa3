//! Budgets on what can be counted before anything is measured: parameters, and bytes of the exported file.

use std::collections::HashMap;

use anyhow::Result;
use clap::Args;
use netfit_export::{ModelInfo, block_bytes};
use netfit_search::SizeConstraint;
use netfit_spaces::Space;

/// The most that a network may have.
#[derive(Args, Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sizes {
    /// Learned numbers that a network may have at most, for example 2500000.
    #[arg(long, value_name = "COUNT")]
    pub(crate) max_parameters: Option<u64>,
    /// Bytes that the ONNX file may take at most, for example 10000000. What is searched keeps to a bound that is about
    /// a hundred bytes an operation above the file.
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_bytes: Option<u64>,
}

impl Sizes {
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
        self.constraints(space, &ModelInfo::unlabelled(&space.network(&space.largest())))
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
