//! `benches/gpu_check.py` with programs that a shell stands in for: what is wrong is never told as right, and one part
//! does not take the others with it.

use std::{fs, path::Path, process::Command};

use serde_json::Value;
use tempfile::TempDir;

use crate::cli::text;

/// Runs these parts; `examples` print these texts.
fn check(parts: &[&str], (step, check): (&str, &str)) -> (Option<i32>, Value) {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("examples")).unwrap();
    let netfit = "case $1 in
        devices) echo '{\"devices\": [{\"device\": \"cuda:0\"}]}';;
        space) echo '{\"largest\": \"400000000\", \"blocks\": []}';;
        *) echo 'error: out of order' >&2; exit 1;;
    esac";
    for (name, body) in
        [("netfit", netfit), ("examples/training_step", step), ("examples/gpu_check", check)]
    {
        program(&folder.path().join(name), body);
    }
    let out = folder.path().join("found.json");
    let mut command = Command::new("python3");
    command.args(["benches/gpu_check.py", "--out", text(&out), "--programs", text(folder.path())]);
    for part in parts {
        command.args(["--only", part]);
    }
    let status = command.output().unwrap().status;
    (status.code(), serde_json::from_slice(&fs::read(&out).unwrap()).unwrap())
}

fn program(path: &Path, body: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::write(path, format!("#!/bin/sh\n{body}\n")).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

const FINE: (&str, &str) = (
    "echo '{\"losses\": [2.5, 2.25], \"full\": [0.5, 0.25, 0.5], \"subnet\": [0.25], \"peak_memory_bytes\": 7}'",
    "case $1 in
        clocks) echo '[{\"events_s\": 0.001, \"host_s\": 0.002}]';;
        parity) echo '{\"largest_difference\": 1e-6, \"largest_logit\": 0.5}';;
    esac",
);

#[test]
fn what_a_gpu_tells_goes_into_one_file() {
    let (status, found) = check(&["devices", "clocks", "losses", "parity"], FINE);
    assert_eq!(status, Some(0), "{found}");
    assert_eq!(found["devices"][0]["device"], "cuda:0");
    assert_eq!(found["clocks"][0]["events_s"], 0.001);
    assert_eq!(
        (&found["losses"]["relative"], &found["parity"]["largest_logit"]),
        (&0.0.into(), &0.5.into())
    );
    assert!(found["seconds"]["parity"].is_number());
}

#[test]
fn what_is_wrong_is_an_error_and_the_other_parts_go_on() {
    // A loss that is no number is null, and on both sides.
    let lost = "echo '{\"losses\": [2.5, null]}'";
    let slow = "case $1 in
        clocks) echo '[{\"events_s\": 0.003, \"host_s\": 0.002}]';;
        parity) echo 'Error: \"logits differ\"' >&2; exit 1;;
    esac";
    let (status, found) = check(&["losses", "clocks", "parity", "table", "devices"], (lost, slow));
    assert_eq!(status, Some(1), "{found}");
    for (part, words) in [
        ("losses", "differ by more than"),
        ("clocks", "contradict the host's clock"),
        ("parity", "logits differ"),
        ("table", "error: out of order"),
    ] {
        let error = found[part]["error"].as_str().unwrap_or_default();
        assert!(error.contains(words), "{part}: {found}");
    }
    assert_eq!(found["devices"][0]["device"], "cuda:0");
}

#[test]
fn training_is_told_in_images_a_second_and_what_fails_there_is_not_lost() {
    let (status, found) = check(&["training"], FINE);
    // Python's PyTorch is not there, or has no network to build.
    assert_eq!(status, Some(1), "{found}");
    let case = &found["training"]["ofa-mbv3 bf16"];
    assert_eq!(case["netfit"]["full_images_per_s"], 256.0);
    assert_eq!(case["netfit"]["peak_memory_bytes"], 7);
    assert!(case["PyTorch"]["error"].is_string(), "{found}");
}
