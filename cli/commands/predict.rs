//! `netfit table predict`: blocks that a table does not hold.

use anyhow::Result;
use netfit_latency_tables::LatencyTable;
use netfit_predictors::{BlockErrors, BlockLatency};
use netfit_spaces::Block;
use serde_json::json;

use crate::{args::TablePredict, format, output};

/// A block with its predicted seconds and those that the table holds, calibrated.
struct Predicted {
    line: String,
    seconds: f64,
    measured_s: Option<f64>,
    extrapolated: bool,
}

pub(crate) fn execute(args: &TablePredict, as_json: bool) -> Result<()> {
    let table = LatencyTable::load(&args.table)?;
    let latency = BlockLatency::fit(&table)?;
    let predict = |text: &String| {
        let block: Block = text.parse()?;
        let line = block.to_string();
        anyhow::Ok(Predicted {
            seconds: latency.predict(&block, args.allow_extrapolation)?,
            measured_s: table.entry(&line),
            extrapolated: !latency.covers(&block),
            line,
        })
    };
    let blocks = args.blocks.iter().map(predict).collect::<Result<Vec<_>>>()?;
    if as_json {
        let described = |block: &Predicted| {
            json!({
                "block": block.line, "predicted_s": block.seconds, "calibrated_s": block.measured_s,
                "extrapolated": block.extrapolated,
            })
        };
        let described: Vec<_> = blocks.iter().map(described).collect();
        return output::json(&json!({ "blocks": described, "errors": latency.errors() }));
    }
    print(&blocks, latency.errors())
}

fn print(blocks: &[Predicted], errors: &BlockErrors) -> Result<()> {
    if !blocks.is_empty() {
        let row = |block: &Predicted| {
            vec![
                block.line.clone(),
                format::seconds(block.seconds),
                block.measured_s.map_or_else(|| "-".to_owned(), format::seconds),
                if block.extrapolated { "extrapolated" } else { "" }.to_owned(),
            ]
        };
        let rows: Vec<_> = blocks.iter().map(row).collect();
        output::table(&["block", "predicted", "in the table", ""], &rows)?;
    }
    let rows: Vec<_> = errors
        .groups
        .iter()
        .map(|group| {
            let error = format::percent(Some(group.rmspe));
            vec![group.output.clone(), group.blocks.to_string(), error]
        })
        .collect();
    output::table(&["output left out", "blocks", "RMSPE"], &rows)?;
    output::text(&format!(
        "{} blocks, each output's predicted from all others: RMSPE {}, median {}, {:.0} % within 10 %; \
         multiply-adds alone: RMSPE {}",
        errors.blocks,
        format::percent(Some(errors.rmspe)),
        format::percent(Some(errors.median)),
        100.0 * errors.within_10,
        format::percent(Some(errors.multiply_adds_rmspe))
    ))
}
