//! `netfit space`: size and blocks of a space, or the costs of one of its networks.

use anyhow::Result;
use netfit_spaces::{Genotype, Space};
use serde_json::json;

use crate::{args::SpaceArgs, output, runtime};

pub(crate) fn execute(args: &SpaceArgs, as_json: bool) -> Result<()> {
    let space = runtime::space(&args.space)?;
    match &args.network {
        Some(word) => network(&space, &space.parse(word)?, as_json),
        None => summary(&space, as_json),
    }
}

fn summary(space: &Space, as_json: bool) -> Result<()> {
    let blocks = space.distinct_blocks();
    if as_json {
        return output::json(&json!({
            "space": space.name(), "id": space.id(), "log10_size": space.log10_size(), "layers": space.layers(),
            "choices": space.choices().len(), "distinct_blocks": blocks.len(),
            "smallest": space.smallest(), "largest": space.largest(),
        }));
    }
    output::text(&format!(
        "{}: 10^{:.1} networks, {} searched layers",
        space.name(),
        space.log10_size(),
        space.layers()
    ))?;
    output::text(&format!(
        "{} choices, {} distinct blocks\n",
        space.choices().len(),
        blocks.len()
    ))?;
    let row = |name: &str, genotype: &Genotype| {
        let network = space.network(genotype);
        vec![
            name.into(),
            genotype.to_string(),
            network.parameters().to_string(),
            network.multiply_adds().to_string(),
        ]
    };
    let rows = [row("smallest", &space.smallest()), row("largest", &space.largest())];
    output::table(&["network", "genotype", "parameters", "multiply-adds"], &rows)
}

fn network(space: &Space, genotype: &Genotype, as_json: bool) -> Result<()> {
    let network = space.network(genotype);
    if as_json {
        let blocks: Vec<String> = network.blocks().iter().map(ToString::to_string).collect();
        return output::json(&json!({
            "genotype": genotype, "parameters": network.parameters(), "multiply_adds": network.multiply_adds(),
            "blocks": blocks, "hash": network.hash(),
        }));
    }
    let rows: Vec<Vec<String>> = network
        .blocks()
        .iter()
        .map(|block| {
            vec![
                block.to_string(),
                block.parameters().to_string(),
                block.multiply_adds().to_string(),
            ]
        })
        .chain([vec![
            "total".into(),
            network.parameters().to_string(),
            network.multiply_adds().to_string(),
        ]])
        .collect();
    output::table(&["block", "parameters", "multiply-adds"], &rows)
}
