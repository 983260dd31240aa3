//! `netfit run` from end to end.

use std::{fs, path::Path};

use netfit_spaces::Random;
use serde_json::{Value, json};

use crate::{
    beside,
    cli::{advice, configure, error, images, json as json_from, netfit, text},
    int8,
};

/// The main job on a small problem: every file is there, and the numbers in them agree with each other.
#[test]
fn a_run_ends_in_a_measured_model() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    images(&data, 480, 90);
    let (config, most) = beside::with_budgets(folder.path());
    let out = folder.path().join("out");
    let arguments = ["run", &config, "--out", text(&out), "--accept-noise", "--json"];
    let output = netfit(&arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code();
    assert!(code == Some(0) || code == Some(2), "{errors}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let stored: Value =
        serde_json::from_str(&fs::read_to_string(out.join("result.json")).unwrap()).unwrap();
    assert_eq!(result, stored);

    let (chosen, full) = (&result["chosen"], &result["full"]);
    let number = |value: &Value| value.as_f64().unwrap();
    let budget = number(&result["budgets"][0]["seconds"]);
    assert_eq!(result["within_budget"], number(&chosen["latency_measured_s"]) <= budget);
    assert_eq!(code == Some(0), result["within_budget"] == true);
    beside::are_kept(&out, &result, most);
    // What was decided by it is gone on with, whatever becomes of it.
    fs::remove_file(folder.path().join("phone.json")).unwrap();
    assert!((number(&result["budgets"][0]["full_s"]) * 0.9 - budget).abs() < 1e-12);
    assert!(number(&chosen["latency_interval_s"][1]) <= budget);
    let calls = number(&chosen["images_per_second"]) * number(&chosen["latency_measured_s"]);
    assert!((calls - 1.0).abs() < 1e-9, "one image a call: {chosen}");
    assert!(number(&chosen["parameters"]) <= number(&full["parameters"]));
    assert!(number(&result["logits_max_difference"]) <= 1e-4);
    assert!(number(&chosen["accuracy_test"]) > 0.6, "chance is 0.33: {chosen}");
    for name in ["chosen", "random_best", "random_equal_latency", "full"] {
        for key in
            ["latency_predicted_s", "latency_measured_s", "accuracy_supernet", "accuracy_test"]
        {
            assert!(result[name][key].is_number(), "{name} {key}");
        }
    }
    let best = |name: &str| number(&result[name]["accuracy_supernet"]);
    assert!(best("chosen") <= 1.0 && best("random_best") <= 1.0);
    for file in [
        "table.json",
        "journal.jsonl",
        "predictor.safetensors",
        "plots/pareto.svg",
        "plots/latency.svg",
        "plots/blocks.svg",
    ] {
        assert!(out.join(file).is_file(), "{file}");
    }

    let model = out.join("model.onnx");
    assert_eq!(chosen["model_bytes"], fs::metadata(&model).unwrap().len());
    let metadata = netfit_export::read_metadata(&model).unwrap();
    assert_eq!(metadata["labels"], r#"["0","1","2"]"#);
    let preprocessing: netfit_data::Normalization =
        serde_json::from_str(&metadata["preprocessing"]).unwrap();
    let spec = netfit_data::DataSpec::Idx { path: data.clone(), labels: None };
    assert_eq!(preprocessing, netfit_data::load(&spec, 1.0 / 6.0, 5).unwrap().normalization);
    assert_eq!(metadata["genotype"], chosen["genotype"].as_str().unwrap());
    runtimes_agree(&model);
    let measured = json_from(&["measure", text(&model), "--samples", "60"]);
    let times = ["median_s", "p95_s", "p99_s"].map(|key| number(&measured[key]));
    assert!(times[0] > 0.0 && times.is_sorted(), "{measured}");
    assert_eq!((&measured["samples"], &measured["fingerprint"]["batch"]), (&60.into(), &1.into()));
    assert!(number(&measured["mad_s"]) >= 0.0 && number(&measured["drift"]) >= 0.0, "{measured}");
    only_its_own_space(&out);
    one_page_tells_it(&out, &result);
    int8::the_same_in_8_bits(&out);

    searches_again_below_what_was_missed(&arguments, &out);

    // A complete run is shown again, and a folder of another configuration is refused.
    assert_eq!(json_of(&arguments), result);
    let other = configure(folder.path(), "95% of full", "seed = 5");
    assert!(error(&["run", &other, "--out", text(&out)]).contains("another configuration"));
}

/// The page needs no other file, holds the run's numbers and pictures, and is the same when it is written anew.
fn one_page_tells_it(run: &Path, result: &Value) {
    let page = fs::read_to_string(run.join("report.html")).unwrap();
    for name in ["chosen", "random_best", "random_equal_latency", "full"] {
        assert!(page.contains(result[name]["genotype"].as_str().unwrap()), "{name}");
    }
    assert_eq!(page.matches("<svg").count(), 3);
    for outside in ["src=", "href=", "<script", "@import", "url("] {
        assert!(!page.contains(outside), "{outside}");
    }
    let again = run.with_file_name("anew <b>.html");
    let told = json_from(&["report", text(run), "--out", text(&again)]);
    assert_eq!(told["report"], text(&again));
    assert_eq!(page, fs::read_to_string(&again).unwrap());
    // What names and files say is text, never markup.
    let renamed = run.with_file_name("<script>&");
    fs::create_dir(&renamed).unwrap();
    for file in ["netfit.toml", "result.json", "table.json", "model.onnx"] {
        fs::copy(run.join(file), renamed.join(file)).unwrap();
    }
    netfit(&["report", text(&renamed)]).assert().success();
    let page = fs::read_to_string(renamed.join("report.html")).unwrap();
    assert!(page.contains("<h1>&lt;script&gt;&amp;</h1>") && !page.contains("<svg"), "{page}");
    let message = error(&["report", text(run), "--out", text(&run.join("model.onnx"))]);
    assert!(message.contains("is a file of the run itself"), "{message}");
    fs::remove_file(renamed.join("result.json")).unwrap();
    assert!(error(&["report", text(&renamed)]).contains("is not finished"));
}

/// With a budget that no network keeps to, and an aim that all keep to, every search is repeated below what the one before
/// has missed, and there are five of them.
fn searches_again_below_what_was_missed(arguments: &[&str], run: &Path) {
    let first: Value =
        serde_json::from_str(&fs::read_to_string(run.join("result.json")).unwrap()).unwrap();
    let seconds = 0.01 * first["chosen"]["latency_interval_s"][0].as_f64().unwrap();
    let result = again_with(arguments, run, seconds, 1e6);
    let attempts = result["attempts"].as_array().unwrap();
    let of = |attempt: &Value, key: &str| attempt[key].as_f64().unwrap();
    assert_eq!((attempts.len(), &result["within_budget"]), (5, &false.into()), "{attempts:?}");
    for pair in attempts.windows(2) {
        let missed = seconds / of(&pair[0], "latency_measured_s");
        let expected = 0.995 * missed * of(&pair[0], "aim_s");
        assert!((of(&pair[1], "aim_s") / expected - 1.0).abs() < 1e-9, "{attempts:?}");
    }
    assert_eq!(attempts[attempts.len() - 1]["genotype"], result["chosen"]["genotype"]);
}

/// The result of a run that goes on with a budget of so many seconds, under which it aims so high.
fn again_with(arguments: &[&str], run: &Path, seconds: f64, aim_s: f64) -> Value {
    let again = run.with_file_name("again");
    for folder in ["", "checkpoints", "networks", "elsewhere"] {
        fs::create_dir(again.join(folder)).unwrap();
        for entry in fs::read_dir(run.join(folder)).into_iter().flatten().map(Result::unwrap) {
            if entry.path().is_file() && entry.file_name() != "result.json" {
                fs::copy(entry.path(), again.join(folder).join(entry.file_name())).unwrap();
            }
        }
    }
    let budget =
        json!({ "requested": "90% of full", "seconds": seconds, "full_s": 1.0, "aim_s": aim_s });
    fs::write(again.join("budget.json"), budget.to_string()).unwrap();
    let place = arguments.iter().position(|argument| *argument == "--out").unwrap() + 1;
    let mut arguments = arguments.to_vec();
    arguments[place] = text(&again);
    let output = netfit(&arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    let result: Value = serde_json::from_slice(&output.stdout).expect(&errors);
    assert_eq!(result["within_budget"] == true, output.status.code() == Some(0), "{errors}");
    result
}

/// A GPU that is not there is an error before anything is made, never a training on the CPU.
#[test]
fn where_it_trains_is_checked_first() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    images(&data, 96, 9);
    let config = configure(folder.path(), "90% of full", "");
    let out = folder.path().join("out");
    for (device, expected) in
        [("gpu", "device `gpu`: expected `cpu` or `cuda:N`"), ("cuda:99", "device `cuda:99`: ")]
    {
        for command in ["run", "train"] {
            let arguments = [command, &config, "--out", text(&out), "--train-device", device];
            let message = advice(&arguments);
            assert!(message.contains(expected), "{message}");
            assert!(!out.exists());
        }
    }
}

/// A supernet is searched in its own space and no other.
fn only_its_own_space(run: &Path) {
    let (table, supernet) = (run.join("table.json"), format!("supernet:{}", text(run)));
    let search = ["search", "--table", text(&table), "--accuracy", &supernet, "--budget", "1s"];
    let message = advice(&[&search[..], &["--space", "ofa-28"]].concat());
    assert!(message.contains("--space `ofa-28` is not that of"), "{message}");
    let space = run.with_file_name("space.toml");
    let found =
        json_from(&[&search[..], &["--space", text(&space), "--evaluations", "3"]].concat());
    assert_eq!(found["evaluations"], 3);
    for key in ["genotype", "accuracy", "latency_s", "latency_interval_s"] {
        assert!(!found["best"][key].is_null(), "{key}: {found}");
    }
    // What the run was asked for holds here, too, unless something else is asked for.
    let metrics = |found: &Value| -> Vec<Value> {
        found["budgets"].as_array().unwrap().iter().map(|budget| budget["metric"].clone()).collect()
    };
    assert_eq!(metrics(&found), ["latency", "parameters", "bytes", "latency"], "{found}");
    let tight = [&search[..], &["--space", text(&space), "--max-parameters", "9"]].concat();
    assert!(advice(&tight).contains("with at most 9 parameters"));
    // The run and its table stand for the space of the run's images.
    let id = &json_from(&["table", "show", text(&table)])["space_id"];
    for own in [text(run), text(&table)] {
        assert_eq!(&json_from(&["space", own])["id"], id);
        let found = json_from(&[&search[..], &["--space", own, "--evaluations", "3"]].concat());
        assert_eq!(found["evaluations"], 3);
    }
    assert_ne!(&json_from(&["space", "ofa-28"])["id"], id);
    let validated = json_from(&["validate", text(&table), "--networks", "3", "--accept-noise"]);
    assert_eq!(validated["networks"], 3);
}

fn json_of(arguments: &[&str]) -> Value {
    serde_json::from_slice(&netfit(arguments).output().unwrap().stdout).unwrap()
}

fn runtimes_agree(model: &Path) {
    let (first, second) = both_runtimes(model);
    for (a, b) in first.iter().zip(&second) {
        assert!((a - b).abs() < 1e-4, "{a} {b}");
    }
}

/// Logits of a run's model for the same images in ONNX Runtime and tract, two independent runtimes.
pub(crate) fn both_runtimes(model: &Path) -> (Vec<f32>, Vec<f32>) {
    use tract_onnx::prelude::*;
    let mut random = Random::new(9, "pixels");
    let pixels: Vec<f32> = (0..2 * 196).map(|_| random.normal() as f32).collect();
    let mut session = netfit_profiler::Session::open(model, 1).unwrap();
    let first = session.logits(&pixels, &[2, 1, 14, 14]).unwrap();
    let input = Tensor::from_shape(&[2, 1, 14, 14], &pixels).unwrap();
    let plan = tract_onnx::onnx()
        .model_for_path(model)
        .unwrap()
        .with_input_fact(0, f32::fact([2, 1, 14, 14]).into())
        .unwrap()
        .into_optimized()
        .unwrap()
        .into_runnable()
        .unwrap();
    let outputs = plan.run(tvec!(input.into())).unwrap();
    (first, outputs[0].to_plain_array_view::<f32>().unwrap().iter().copied().collect())
}

/// Layers all alike, few options: a controller proposes, networks are trained from scratch.
const ALIKE: &str = r#"
name = "alike"
input = "1x14x14"
classes = 3
stem = ["conv k3 s2 relu6 o8"]
head = ["conv k1 s1 relu6 o32", "pool", "linear"]

[[stages]]
width = 16
stride = 1
depth = [1, 2]
[stages.alike]
ops = ["dsconv relu6", "mbconv e3 relu6"]
kernel = [3, 5]
squeeze = [0.0, 0.25]
skip = ["none", "pool", "identity"]
filters = [0.5, 1.0]
"#;

/// Of the model's file: less than the full network's takes.
const MNASNET_BYTES: u64 = 24_000;

fn mnasnet(folder: &Path) -> String {
    let data = folder.join("data");
    fs::create_dir(&data).unwrap();
    images(&data, 480, 90);
    let lines = format!("method = \"mnasnet\"\nseed = 5\nmax_bytes = {MNASNET_BYTES}");
    let config = configure(folder, "95% of full", &lines);
    fs::write(folder.join("space.toml"), ALIKE).unwrap();
    let search = "[scratch]\nepochs = 6\nproxy_epochs = 2\nlearning_rate = 0.05\n[search]\nevaluations = 4\nfinalists = 2\n";
    let text = fs::read_to_string(&config).unwrap();
    let kept = text.split("[search]").next().unwrap();
    fs::write(&config, format!("{kept}{search}")).unwrap();
    config
}

/// A run that was cut off after all its finalists were found too slow ends with what it chose first, and trains nothing.
fn goes_on_where_nothing_is_left(arguments: &[&str], run: &Path, first: &Value) {
    let seconds = first["budgets"][0]["seconds"].as_f64().unwrap();
    let result = again_with(arguments, run, seconds, 1e-9);
    assert_eq!(result["attempts"][0]["genotype"], first["attempts"][0]["genotype"]);
    let journal = |run: &Path| fs::read_to_string(run.join("journal.jsonl")).unwrap();
    // Another choice has another network of equal latency beside it.
    if result["attempts"].as_array().unwrap().len() == 1 {
        assert_eq!(journal(run), journal(&run.with_file_name("again")));
    }
}

#[test]
fn a_run_of_mnasnet_ends_in_a_measured_model_of_a_network_trained_on_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (config, out) = (mnasnet(folder.path()), folder.path().join("out"));
    let arguments = ["run", &config, "--out", text(&out), "--accept-noise", "--json"];
    let output = netfit(&arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 2)), "{errors}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["method"], "mnasnet");
    for name in ["chosen", "random_best", "random_equal_latency"] {
        assert!(result[name]["model_bytes"].as_u64().unwrap() <= MNASNET_BYTES, "{name}");
    }
    assert!(result["full"]["model_bytes"].as_u64().unwrap() > MNASNET_BYTES);
    let number = |value: &Value| value.as_f64().unwrap();
    for name in ["chosen", "random_best", "random_equal_latency", "full"] {
        for key in ["latency_measured_s", "accuracy_trained", "accuracy_test"] {
            assert!(result[name][key].is_number(), "{name} {key}");
        }
        assert!(result[name]["accuracy_supernet"].is_null(), "{name}");
    }
    assert!(number(&result["chosen"]["accuracy_proxy"]) <= 1.0);
    assert!(number(&result["chosen"]["accuracy_test"]) > 0.6, "chance is 0.33: {result}");
    // Each accuracy stands in the journal beside its protocol: 4 to 8 short trainings, 3 to 6 in full.
    let journal = fs::read_to_string(out.join("journal.jsonl")).unwrap();
    let count = |protocol: &str| {
        let source = format!("scratch {}", result["protocols"][protocol].as_str().unwrap());
        journal.matches(&source).count()
    };
    assert!((4..=8).contains(&count("proxy")) && (3..=6).contains(&count("full")), "{journal}");
    runtimes_agree(&out.join("model.onnx"));
    goes_on_where_nothing_is_left(&arguments, &out, &result);
    let other = ["run", &config, "--out", text(&out), "--budget", "3ms"];
    assert!(error(&other).contains("another configuration"));
    assert!(advice(&["run", &config, "--out", text(&out), "--budget", "3"]).contains("no unit"));
    are_an_accuracy_source(folder.path(), &config, &out);
}

/// The same networks again, as an accuracy source of a search: cut off after one, then gone on with.
fn are_an_accuracy_source(folder: &Path, config: &str, out: &Path) {
    let (table, space) = (out.join("table.json"), folder.join("space.toml"));
    let source = format!("train:{config}");
    let search = |journal: &str, evaluations: &str| {
        let journal = folder.join(journal);
        json_from(&[
            "search",
            "--space",
            text(&space),
            "--table",
            text(&table),
            "--accuracy",
            &source,
            "--budget",
            "1s",
            "--strategy",
            "mnasnet",
            "--evaluations",
            evaluations,
            "--journal",
            text(&journal),
        ])
    };
    search("broken.jsonl", "1");
    let (broken, whole) = (search("broken.jsonl", "2"), search("whole.jsonl", "2"));
    assert_eq!((&broken["best"], &broken["evaluations"]), (&whole["best"], &2.into()));
    let wrong = ["search", "--space", "mnasnet-28", "--table", text(&table), "--accuracy", &source];
    let message = advice(&[&wrong[..], &["--budget", "1s"]].concat());
    assert!(message.contains("--space `mnasnet-28` is not that of"), "{message}");
}
