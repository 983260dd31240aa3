//! The tool on a GPU. `scripts/gpu-tests` runs this where there is one.

use crate::cli::{json, text};

#[test]
#[ignore = "needs a GPU"]
fn a_gpu_is_listed_and_its_table_holds_on_fresh_networks() {
    let listed = json(&["devices"]);
    let devices = listed["devices"].as_array().unwrap();
    let gpu = devices.iter().find(|device| device["device"] == "cuda:0").unwrap();
    assert!(gpu["gpu"]["memory_bytes"].as_u64().unwrap() > 1 << 30, "{gpu}");
    assert_eq!(gpu["fingerprint"]["provider"], "CUDA");

    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("table.json");
    let profile =
        ["profile", "--space", "ofa-28", "--device", "cuda:0,batch=64", "--out", text(&table)];
    let made = json(&[&profile[..], &["--accept-noise"]].concat());
    assert!(made["entries"].as_u64().unwrap() > 50, "{made}");
    let validate = ["validate", text(&table), "--networks", "40", "--accept-noise"];
    let judged = json(&validate);
    assert!(judged["within_10"].as_f64().unwrap() > 0.9, "{judged}");
}
