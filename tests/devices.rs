//! Devices as text, sweeps over them, and percentiles.

use std::{fs, path::Path};

use netfit_latency_tables::LatencyTable;
use netfit_profiler::{FakeDevice, ProfileOptions, Provider, conversation::Request, profile};
use netfit_spaces::Space;
use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{advice, configure, images, json, netfit, text};

const CSV: &str = "csv:tests/data/nas-bench-macro.csv,genotype=arch,accuracy=mean_acc,unit=percent";

/// The names in a folder, sorted.
fn names(folder: &Path) -> Vec<String> {
    let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|e| name(e).into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn what_is_no_device_is_named_and_nothing_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("model.onnx");
    fs::write(&model, "no model").unwrap();
    let out = folder.path().join("table.json");
    let (measure, profile) =
        (["measure", text(&model)], ["profile", "--space", "ofa-28", "--out", text(&out)]);
    for (more, expected) in [
        (&["--device", "cpu:cores=2"][..], "--device `cpu:cores=2`: unknown parameter `cores`"),
        (&["--device", "gpu"], "--device `gpu`: expected `cpu`, `cuda:NUMBER`, "),
        (&["--device", "cuda:99"], "device `cuda:99`: "),
        (&["--device", "cuda-ort:99"], "CUDAExecutionProvider cannot be used: "),
        (&["--device", "tensorrt:99"], "TensorrtExecutionProvider cannot be used: "),
        (&["--device", "cuda:0", "--threads", "2"], "--device `cuda:0` has no --threads"),
        (&["--device", "cpu:threads=0"], "expected threads from 1 to 1024, found `0`"),
        (&["--device", "cpu:batch=8", "--batch", "4"], "contradicts --batch 4"),
    ] {
        for command in [&measure[..], &profile[..]] {
            let message = advice(&[command, more].concat());
            assert!(message.contains(expected), "{message}");
        }
    }
    let twice = ["--device", "cpu:threads=1", "--device", "cpu"];
    let message = advice(&[&profile[..], &twice[..]].concat());
    assert!(message.contains("--device `cpu` is given twice"), "{message}");
    assert_eq!(names(folder.path()), ["model.onnx"]);
}

#[test]
fn a_sweep_checks_every_file_before_it_measures() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (out, plot) = (at("table.json"), at("plot.svg"));
    let sweep = ["profile", "--space", "ofa-28", "--out", text(&out), "--plot", text(&plot)];
    let devices = ["--device", "cpu", "--device", "cpu:threads=2,batch=8"];
    for taken in [
        "table.cpu-threads2-batch8.json",
        "plot.cpu-threads2-batch8.svg",
        "plot.cpu.blocks.svg",
        "plot.cpu-threads2-batch8.blocks.svg",
    ] {
        fs::create_dir(at(taken)).unwrap();
        let message = advice(&[&sweep[..], &devices[..]].concat());
        assert!(message.contains(taken), "{message}");
        assert_eq!(names(folder.path()), [taken]);
        fs::remove_dir(at(taken)).unwrap();
    }
}

/// The driver is a stand-in that `profiler/src/gpu/stand_in.cpp` describes.
#[test]
fn gpus_are_listed_with_what_the_driver_tells_and_why_they_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let compiled = std::process::Command::new("c++")
        .args(["-shared", "-fPIC", "-o", text(&folder.path().join("libnvidia-ml.so.1"))])
        .arg("profiler/src/gpu/stand_in.cpp")
        .status();
    assert!(compiled.unwrap().success());
    let mut devices = netfit(&["devices", "--json"]);
    let mut libraries = folder.path().as_os_str().to_owned();
    if let Some(others) = std::env::var_os("LD_LIBRARY_PATH") {
        libraries.push(":");
        libraries.push(others);
    }
    devices.env("LD_LIBRARY_PATH", libraries).env_remove("CUDA_VISIBLE_DEVICES");
    let listed: Value = serde_json::from_slice(&devices.output().unwrap().stdout).unwrap();
    let listed = listed["devices"].as_array().unwrap();
    let names: Vec<&str> = listed.iter().map(|found| found["device"].as_str().unwrap()).collect();
    assert_eq!(
        names.join(" "),
        "cpu cuda:0 cuda-ort:0 tensorrt:0 cuda:1 cuda-ort:1 tensorrt:1 cuda:2"
    );
    for found in listed {
        assert_eq!(found["fingerprint"].is_null(), found["unusable"].is_string(), "{found}");
    }
    let gpu = &listed[1]["gpu"];
    assert_eq!((&gpu["name"], &gpu["driver"]), (&"Stand-in A".into(), &"999.88.77".into()));
    assert_eq!(gpu["memory_bytes"], 40_u64 << 30);
    assert_eq!(gpu["compute_capability"], serde_json::json!([8, 0]));
    let lost = listed[7]["unusable"].as_str().unwrap();
    assert!(lost.contains("does not answer"), "{lost}");
}

/// Only a killed one leaves its measuring process to come to the end of what it is asked.
#[test]
fn the_models_of_a_killed_device_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let models = folder.path().join("models");
    fs::create_dir(&models).unwrap();
    for file in ["model-0.onnx", ".netfit-lock"] {
        fs::write(models.join(file), "").unwrap();
    }
    let open = Request::Open {
        library: netfit_profiler::library().unwrap(),
        threads: 1,
        provider: Provider::default(),
        cache: models,
        canary_s: None,
    };
    let asked = serde_json::to_string(&open).unwrap() + "\n";
    let output = netfit(&["device-worker"]).write_stdin(asked).output().unwrap();
    let answers = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && answers.contains("\"answer\":\"opened\""), "{answers}");
    assert!(names(folder.path()).is_empty());
}

#[test]
fn more_threads_than_cores_are_refused() {
    let message = advice(&["measure", "Cargo.toml", "--threads", "1024"]);
    assert!(message.contains("threads: expected at most "), "{message}");
}

#[test]
fn senseless_percentiles_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("table.json");
    for wrong in ["50", "100", "-1", "nan", "95,x", "95,,99"] {
        let percentiles = format!("--percentiles={wrong}");
        let arguments = ["profile", "--space", "ofa-28", "--out", text(&out), &percentiles];
        assert!(advice(&arguments).contains("a number above 50 and below 100"), "{wrong}");
    }
    fs::create_dir(folder.path().join("data")).unwrap();
    images(&folder.path().join("data"), 60, 30);
    let run = folder.path().join("run");
    for (key, part) in [("90", "`percentile` is 90"), ("0.95", "is 0.95"), ("nan", "is NaN")] {
        let config = configure(folder.path(), "2ms", &format!("percentile = {key}"));
        let message = advice(&["run", &config, "--out", text(&run)]);
        assert!(message.contains(part) && message.contains("50, 95 or 99"), "{message}");
        assert!(!run.exists());
    }
}

/// A table of `nas-bench-macro` on the fake device, whose calls scatter.
fn table(folder: &TempDir, percentiles: &[f64]) -> (String, LatencyTable, Space) {
    let space = Space::preset("nas-bench-macro").unwrap();
    let mut device = FakeDevice::new(1);
    device.noise = 0.1;
    let options = ProfileOptions {
        accept_noise: true,
        percentiles: percentiles.to_vec(),
        ..ProfileOptions::default()
    };
    let table = profile(&space, &mut device, &options, &mut |_| {}).unwrap();
    let path = folder.path().join("table.json");
    table.save(&path).unwrap();
    (text(&path).to_owned(), table, space)
}

#[test]
fn a_budget_on_a_percentile_needs_a_table_that_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _, _) = table(&folder, &[]);
    let search = ["search", "--space", "nas-bench-macro", "--table", &path, "--accuracy", CSV];
    let percentile = ["--budget", "60% of full", "--percentile", "95"];
    let message = advice(&[&search[..], &percentile[..]].concat());
    assert!(message.contains("no percentile 95") && message.contains("--percentiles"), "{message}");
}

#[test]
fn a_search_keeps_to_its_sizes() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _, space) = table(&folder, &[]);
    let what = ["search", "--space", "nas-bench-macro", "--table", &path, "--accuracy", CSV];
    let how = ["--budget", "100% of full", "--evaluations", "200"];
    let searched = |sizes: &[&str]| json(&[&what[..], &how[..], sizes].concat());
    let refused = |sizes: &[&str]| advice(&[&what[..], &how[..], sizes].concat());
    let count = |found: &serde_json::Value, key: &str| {
        let genotype = found["best"]["genotype"].as_str().unwrap();
        let network = json(&["space", "nas-bench-macro", "--network", genotype]);
        network[key].as_u64().unwrap()
    };
    let free = count(&searched(&[]), "parameters");
    let most = (free * 2 / 3).to_string();
    assert!(count(&searched(&["--max-parameters", &most]), "parameters") <= free * 2 / 3);
    // Four bytes a parameter, and names.
    let bytes = (free * 8 / 3).to_string();
    let found = count(&searched(&["--max-bytes", &bytes]), "parameters");
    assert!(found <= free * 2 / 3 && found > free / 2, "{found} of {free}");

    let least = space.network(&space.smallest()).parameters().0;
    let message = refused(&["--max-parameters", "9"]);
    let words =
        format!("with at most 9 parameters: the smallest, `{}`, needs {least}", space.smallest());
    assert!(message.contains(&words), "{message}");
    assert!(refused(&["--max-bytes", "9"]).contains("with at most 9 bytes"));
}

/// A table of the same space on a device where each kernel costs most.
fn phone(folder: &TempDir, space: &Space) -> (String, LatencyTable) {
    let mut device = FakeDevice::new(2);
    (device.kernel_s, device.noise) = (5e-5, 0.1);
    let percentiles = vec![95.0];
    let options = ProfileOptions { accept_noise: true, percentiles, ..ProfileOptions::default() };
    let table = profile(space, &mut device, &options, &mut |_| {}).unwrap();
    let path = folder.path().join("phone.json");
    table.save(&path).unwrap();
    (text(&path).to_owned(), table)
}

#[test]
fn a_search_keeps_to_its_latency_on_another_device() {
    let folder = tempfile::tempdir().unwrap();
    let (path, _, space) = table(&folder, &[95.0]);
    let (phone, there) = phone(&folder, &space);
    let what = ["search", "--space", "nas-bench-macro", "--table", &path, "--accuracy", CSV];
    let how = ["--budget", "100% of full", "--evaluations", "200"];
    let searched = |also: &str| json(&[&what[..], &how[..], &["--also", also]].concat());
    let refused = |also: &str| advice(&[&what[..], &how[..], &["--also", also]].concat());
    let full = space.network(&space.largest());
    for (suffix, percentile) in [("", 50.0), ("@95", 95.0)] {
        let found = searched(&format!("{phone}=50% of full{suffix}"));
        let full_s = there.predict_percentile(&full, percentile).unwrap().median_s;
        let budget = &found["budgets"][1];
        let seconds = budget["seconds"].as_f64().unwrap();
        assert!((seconds / (0.5 * full_s) - 1.0).abs() < 1e-9, "{found}");
        assert_eq!(
            (&budget["predicted"], &budget["percentile"]),
            (&true.into(), &percentile.into())
        );
        assert!(found["budgets"][0]["predicted"].is_null());
        let networks = found["pareto"].as_array().unwrap();
        let told = found["elsewhere"]["pareto"].as_array().unwrap();
        assert_eq!(networks.len(), told.len());
        let best = (&found["best"], &found["elsewhere"]["best"]);
        for (network, told) in networks.iter().zip(told).chain([best]) {
            let genotype = space.parse(network["genotype"].as_str().unwrap()).unwrap();
            let network = space.network(&genotype);
            let expected = there.predict_percentile(&network, percentile).unwrap();
            let shown = told[0]["latency_s"].as_f64().unwrap();
            assert!((shown / expected.median_s - 1.0).abs() < 1e-9, "{told}");
            assert!(expected.high_s <= seconds, "{told}");
        }
    }
    // Another percentile of the same table, and nothing is written over one that is read.
    let found = searched(&format!("{path}=50% of full@95"));
    assert_eq!(found["budgets"][1]["requested"], "50% of full");
    let also = format!("{phone}=5ms");
    let over = ["--also", &also, "--journal", &phone];
    assert!(advice(&[&what[..], &how[..], &over].concat()).contains("named for two files"));
    let message = refused(&format!("{phone}=1ns"));
    assert!(
        message.contains("phone.json` of another device") && message.contains("within 1.00 ns")
    );
    let message = refused(&format!("{phone}=5ms@99"));
    assert!(
        message.contains("of another device") && message.contains("no percentile 99"),
        "{message}"
    );
}

#[test]
fn a_search_keeps_to_its_percentile() {
    let folder = tempfile::tempdir().unwrap();
    let (path, table, space) = table(&folder, &[95.0]);
    let full = space.network(&space.largest());
    let search = |percentile: &[&str]| {
        let what = ["search", "--space", "nas-bench-macro", "--table", &path, "--accuracy", CSV];
        let how = ["--budget", "60% of full", "--evaluations", "300"];
        json(&[&what[..], &how[..], percentile].concat())
    };
    for (arguments, percentile) in [(&[][..], 50.0), (&["--percentile", "95"], 95.0)] {
        let found = search(arguments);
        assert_eq!(found["percentile"], percentile);
        let budget = 0.6 * table.predict_percentile(&full, percentile).unwrap().median_s;
        assert!((found["budget_s"].as_f64().unwrap() / budget - 1.0).abs() < 1e-12);
        let genotype = space.parse(found["best"]["genotype"].as_str().unwrap()).unwrap();
        let latency = table.predict_percentile(&space.network(&genotype), percentile).unwrap();
        let shown = found["best"]["latency_s"].as_f64().unwrap();
        assert!((shown / latency.median_s - 1.0).abs() < 1e-9, "{found}");
        assert!(found["best"]["latency_interval_s"][1].as_f64().unwrap() <= budget);
    }
    // Calls scatter by 10 %: 95 % of them end within 1.645 deviations.
    let ratio = table.predict_percentile(&full, 95.0).unwrap().median_s
        / table.predict(&full).unwrap().median_s;
    assert!((ratio / 0.1645_f64.exp() - 1.0).abs() < 0.05, "{ratio}");
}
