//! `netfit report`: a finished run as one HTML page.

use anyhow::Result;
use serde_json::json;

use crate::{
    args::Report,
    output, report,
    run::{Folder, RunResult},
    runtime::{check_writable, whole},
};

pub(crate) fn execute(args: &Report, as_json: bool) -> Result<()> {
    let (folder, _) = Folder::existing(&args.run)?;
    let path = args.out.clone().unwrap_or_else(|| folder.report());
    if whole(&path) != whole(&folder.report()) {
        folder.refuse(&path)?;
    }
    check_writable(&path)?;
    report::write(&folder, &RunResult::of(&folder)?, &path)?;
    if as_json {
        return output::json(&json!({ "report": path.display().to_string() }));
    }
    output::text(&format!("report  {}", path.display()))
}
