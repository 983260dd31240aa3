//! `netfit devices`: what can be profiled here.

use anyhow::Result;
use netfit_profiler::Device as _;
use serde_json::json;

use crate::{device::DeviceSpec, output, runtime};

pub(crate) fn execute(as_json: bool) -> Result<()> {
    let mut rows = Vec::new();
    match runtime::device(DeviceSpec::default()) {
        Ok(device) => rows.push(("cpu", device.fingerprint(), None)),
        Err(error) => return Err(error),
    }
    if as_json {
        let devices: Vec<_> = rows
            .iter()
            .map(|(kind, fingerprint, reason): &(&str, _, Option<String>)| {
                json!({"device": kind, "fingerprint": fingerprint, "unusable": reason})
            })
            .collect();
        return output::json(&json!({ "devices": devices }));
    }
    let rows: Vec<Vec<String>> = rows
        .into_iter()
        .map(|(kind, fingerprint, _)| {
            vec![
                kind.to_owned(),
                fingerprint.processor,
                fingerprint.cores.to_string(),
                format!("{} {}", fingerprint.runtime, fingerprint.runtime_version),
                fingerprint.provider,
            ]
        })
        .collect();
    output::table(&["device", "processor", "cores", "runtime", "provider"], &rows)
}
