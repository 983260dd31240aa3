//! `netfit compare RUN...`: finished runs beside each other.

use std::{fs, path::Path};

use serde_json::{Value, json};

use crate::cli::{advice, json as output, netfit, text};

/// What a run folder says of itself.
struct Told {
    method: &'static str,
    seed: u64,
    budget_s: f64,
    threads: usize,
    precision: &'static str,
    /// Test accuracy and measured latency of the chosen network; the random ones have a point less.
    chosen: (f64, f64),
    test_hash: Option<&'static str>,
}

const OFA: Told = Told {
    method: "ofa",
    seed: 0,
    budget_s: 2e-4,
    threads: 1,
    precision: "float32",
    chosen: (0.92, 1.9e-4),
    test_hash: Some("a b"),
};

fn candidate(accuracy: f64, latency_s: f64) -> Value {
    json!({
        "genotype": "01", "parameters": 10, "multiply_adds": 20, "latency_predicted_s": latency_s,
        "latency_interval_s": [latency_s, latency_s], "latency_measured_s": latency_s, "latency_mad_s": 1e-6,
        "latency_measured_normalised_s": latency_s, "accuracy_predicted": null, "accuracy_supernet": null,
        "accuracy_test": accuracy,
    })
}

fn write(folder: &Path, told: &Told) -> String {
    fs::create_dir_all(folder).unwrap();
    let config = format!(
        "space = \"ofa-28\"\nbudget = \"200us\"\nseed = {}\n[data]\nformat = \"idx\"\npath = \"images\"\n",
        told.seed
    );
    let device = if told.precision == "int8" { "[device]\nprecision = \"int8\"\n" } else { "" };
    fs::write(folder.join("netfit.toml"), config + device).unwrap();
    let (accuracy, latency_s) = told.chosen;
    let random = candidate(accuracy - 0.01, latency_s);
    let result = json!({
        "format": 1, "space": "ofa-28", "space_id": "x", "seed": told.seed, "method": told.method,
        "budgets": [{
            "metric": "latency", "device": "cpu", "percentile": 50.0, "seconds": told.budget_s,
            "requested": "200us", "full_s": null,
        }],
        "within_budget": latency_s <= told.budget_s,
        "devices": [{
            "processor": "abacus", "cores": 2, "runtime": "fingers", "runtime_version": "1", "provider": "thumb",
            "threads": told.threads, "precision": told.precision, "batch": 1,
        }],
        "chosen": candidate(accuracy, latency_s), "random_best": random, "random_equal_latency": random,
        "full": candidate(0.93, 3e-4), "model": "model.onnx", "supernet_evaluations": 100,
        "logits_max_difference": 1e-6, "test_images": 10_000, "test_hash": told.test_hash, "validation": null, "predictor": null,
        "hygiene": { "verdict": "clean", "bursts": 1, "repeated": 0, "disturbed": 0, "reference_drift": 0.0 },
        "seconds": { "profile": 10.0, "train": 90.0 },
    });
    fs::write(folder.join("result.json"), result.to_string()).unwrap();
    text(folder).to_owned()
}

/// What networks compute in is told apart, on one and the same device.
#[test]
fn runs_in_8_and_in_32_bits_stand_side_by_side() {
    let folder = tempfile::tempdir().unwrap();
    let exact = write(&folder.path().join("exact"), &OFA);
    let told = Told { precision: "int8", chosen: (0.91, 1.5e-4), ..OFA };
    let compared = output(&["compare", &exact, &write(&folder.path().join("int8"), &told)]);
    let methods = compared["methods"].as_array().unwrap();
    let names: Vec<&str> =
        methods.iter().map(|method| method["method"].as_str().unwrap()).collect();
    assert_eq!(names, ["ofa", "ofa: `device.precision` is not set and \"int8\""]);
}

#[test]
fn runs_of_a_method_are_taken_together() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let mut runs = Vec::new();
    for seed in 0..5 {
        let told = Told { seed, chosen: (0.92 + 0.001 * seed as f64, 1.9e-4), ..OFA };
        runs.push(write(&place(&seed.to_string()), &told));
    }
    let plot = place("plots/runs.svg");
    let mut command = vec!["compare", "--plot", text(&plot)];
    command.extend(runs.iter().map(String::as_str));
    let result = output(&command);
    let method = &result["methods"][0];
    let close = |value: &Value, expected: f64| (value.as_f64().unwrap() - expected).abs() < 1e-9;
    assert!(close(&method["accuracy"]["value"], 0.922), "{method}");
    assert!(close(&method["latency_gap"], 0.05) && close(&method["random_search"], 0.912));
    let over: f64 = (0..5).map(|seed| 1.0 / (0.91 + 0.001 * f64::from(seed))).sum::<f64>() / 5.0;
    assert!(close(&method["relative_improvement"]["value"], over), "{method}");
    assert_eq!(method["verdict"], "better than random");
    assert!(result["note"].is_null());
    assert_eq!(method["runs"][4]["seconds"], 100.0);
    assert!(fs::read_to_string(plot).unwrap().contains("budget 200 us"));
}

#[test]
fn runs_over_the_budget_and_other_settings_are_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let mut runs = Vec::new();
    for seed in 0..11 {
        let slow = if seed == 3 { 2.1e-4 } else { 1.9e-4 };
        let told = Told { seed, chosen: (0.92 + 0.001 * seed as f64, slow), ..OFA };
        let run = folder.path().join(seed.to_string());
        runs.push(write(&run, &told));
        if seed >= 5 {
            let config = run.join("netfit.toml");
            let more = if seed == 10 { "dropout = 0.2\n" } else { "" };
            let text = fs::read_to_string(&config).unwrap() + "[training]\nbatch = 64\n" + more;
            fs::write(config, text).unwrap();
        }
    }
    let mut command = vec!["compare"];
    command.extend(runs.iter().map(String::as_str));
    let result = output(&command);
    let [first, second, third] = &result["methods"].as_array().unwrap()[..] else {
        panic!("{result}")
    };
    assert_eq!((&first["method"], &first["over_budget"]), (&"ofa".into(), &1.into()));
    assert!(first["verdict"].is_null() && first["runs"][3]["within_budget"] == false);
    assert_eq!(second["method"], "ofa: `training.batch` is 128 and 64");
    assert_eq!(second["verdict"], "better than random");
    assert_eq!(third["method"], "ofa: `training.batch` is 128 and 64 (2)");
    assert_eq!(third["runs"].as_array().unwrap().len(), 1);
    assert!(result["note"].as_str().unwrap().contains("over the budget"));
    let printed = netfit(&command).output().unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert!(printed.contains("5 (1 over budget)"), "{printed}");
}

#[test]
fn few_runs_allow_no_conclusion() {
    let folder = tempfile::tempdir().unwrap();
    let run = write(&folder.path().join("run"), &OFA);
    let result = output(&["compare", &run]);
    assert_eq!(result["note"], "too few seeds: no conclusion");
    assert!(result["methods"][0]["verdict"].is_null());
    let printed = netfit(&["compare", &run]).output().unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert!(printed.contains("92.00 %") && printed.contains("no conclusion"), "{printed}");
}

#[test]
fn runs_that_cannot_be_compared_are_refused_by_what_differs() {
    let folder = tempfile::tempdir().unwrap();
    let place = |name: &str| folder.path().join(name);
    let first = write(&place("first"), &OFA);
    let fail = |told: &Told, name: &str| advice(&["compare", &first, &write(&place(name), told)]);
    let message = fail(&Told { budget_s: 3e-4, ..OFA }, "budget");
    assert!(message.contains("200 us") && message.contains("--budget 200us"), "{message}");
    let message = fail(&Told { threads: 2, ..OFA }, "device");
    assert!(message.contains("threads is 1 and 2"), "{message}");
    let message = fail(&Told { test_hash: Some("c d"), ..OFA }, "test");
    assert!(message.contains("were tested on different images; hint"), "{message}");
    let smaller = write(&place("smaller"), &Told { seed: 1, ..OFA });
    let path = place("smaller").join("result.json");
    let mut result: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    let bytes = json!({ "metric": "bytes", "max": 9 });
    result["budgets"].as_array_mut().unwrap().push(bytes.clone());
    fs::write(&path, result.to_string()).unwrap();
    let message = advice(&["compare", &first, &smaller]);
    let words = "had to keep to the latency, `";
    assert!(
        message.contains(words) && message.contains("the latency, at most 9 bytes; hint"),
        "{message}"
    );
    assert_eq!(output(&["compare", &smaller])["budgets"][1], bytes);
    // The same limits in another order, asked for in another way.
    let there = |seconds: f64, requested: &str| {
        json!({
            "metric": "latency", "device": "phone", "percentile": 50.0, "seconds": seconds, "requested": requested,
            "full_s": null, "predicted": true,
        })
    };
    let beside = |seed, more: [Value; 2]| {
        let run = write(&place(&format!("beside{seed}")), &Told { seed, ..OFA });
        let path = Path::new(&run).join("result.json");
        let mut result: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        result["budgets"].as_array_mut().unwrap().extend(more);
        fs::write(&path, result.to_string()).unwrap();
        run
    };
    let runs = [
        beside(0, [bytes.clone(), there(5e-3, "5ms")]),
        beside(1, [there(5.001e-3, "50% of full"), bytes.clone()]),
        beside(2, [there(6e-3, "6ms"), bytes]),
    ];
    assert_eq!(output(&["compare", &runs[0], &runs[1]])["methods"].as_array().unwrap().len(), 1);
    let message = advice(&["compare", &runs[0], &runs[2]]);
    assert!(
        message.contains("within 5.00 ms on phone") && message.contains("within 6.00 ms"),
        "{message}"
    );
    assert!(fail(&OFA, "twin").contains("with seed 0"));
    fs::remove_file(place("twin").join("result.json")).unwrap();
    assert!(advice(&["compare", text(&place("twin"))]).contains("not finished"));
    assert!(advice(&["compare", text(&place("nowhere"))]).contains("not a run folder"));
    assert!(advice(&["compare"]).contains("--space"));
    assert!(advice(&["compare", &first, &first, "--retrain", "5"]).contains("one run folder"));
    assert!(advice(&["compare", &first, "--space", "ofa-28"]).contains("table"));
    assert!(advice(&["compare", &first, "--max-bytes", "9"]).contains("belong to strategies"));
}
