//! `netfit train`: the supernet of a run.

use anyhow::Result;
use serde_json::json;

use crate::{args::Train, config::Config, output, progress::Progress, run};

pub(crate) fn execute(args: &Train, as_json: bool) -> Result<()> {
    let mut config = Config::load(&args.config)?;
    args.training.apply(&mut config);
    let folder = run::Folder::place(&args.config, args.out.as_ref());
    let checkpoints = folder.path().join("checkpoints");
    run::train(config, folder, args.accept_noise, &mut Progress::new())?;
    if as_json {
        return output::json(&json!({ "checkpoints": checkpoints.display().to_string() }));
    }
    output::text(&format!("supernet  {}", checkpoints.display()))
}
