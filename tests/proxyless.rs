//! `netfit run` with ProxylessNAS.

use std::{fs, path::Path};

use serde_json::Value;

use crate::cli::{advice, images, json, netfit, text};

const SPACE: &str = r#"
name = "small-candidates"
input = "1x14x14"
classes = 3
stem = ["conv k3 s2 relu6 o8"]
head = ["conv k1 s1 relu6 o32", "pool", "linear"]

[[stages]]
width = 12
stride = 1
depth = [2]
ops = ["skip", "mbconv k3 e2 relu6", "mbconv k7 e4 relu6"]

[[stages]]
width = 16
stride = 2
depth = [3]
ops = ["skip", "mbconv k3 e2 relu6", "mbconv k5 e4 relu6", "mbconv k7 e6 relu6"]
"#;

const TABLES: &str = r#"
[data]
format = "idx"
path = "data"
[training]
threads = 1
batch = 32
checkpoint_steps = 20
[proxyless]
warmup_epochs = 2
epochs = 8
rest_epochs = 0.5
interval = 2
architecture_learning_rate = 0.1
architecture_images = 0.2
[scratch]
epochs = 5
learning_rate = 0.1
"#;

fn configure(folder: &Path, space: &str) -> String {
    let data = folder.join("data");
    if !data.exists() {
        fs::create_dir(&data).unwrap();
        images(&data, 480, 90);
    }
    fs::write(folder.join("space.toml"), SPACE).unwrap();
    let path = folder.join("proxyless.toml");
    let first = "method = \"proxyless\"\nbudget = \"85% of full\"\nseed = 2";
    fs::write(&path, format!("space = \"{space}\"\n{first}\n{TABLES}")).unwrap();
    text(&path).to_owned()
}

#[test]
fn an_architecture_is_learnt_within_the_budget_and_trained_from_scratch() {
    let folder = tempfile::tempdir().unwrap();
    let config = configure(folder.path(), "space.toml");
    let out = folder.path().join("out");
    // `train` ends with the supernet; `run` goes on from there.
    let place = ["--out", text(&out), "--accept-noise"];
    let trained = json(&[&["train", &config][..], &place[..]].concat());
    assert!(trained["checkpoints"].is_string());
    let architecture = fs::read_to_string(out.join("architecture.json")).unwrap();
    let output = netfit(&[&["run", &config, "--json"][..], &place[..]].concat()).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 2)), "{errors}");
    assert_eq!(fs::read_to_string(out.join("architecture.json")).unwrap(), architecture);

    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let number = |value: &Value| value.as_f64().unwrap();
    let (chosen, found): (_, Value) =
        (&result["chosen"], serde_json::from_str(&architecture).unwrap());
    assert_eq!((&result["method"], &chosen["genotype"]), (&"proxyless".into(), &found["genotype"]));
    let budget = number(&result["budgets"][0]["seconds"]);
    assert!(number(&chosen["latency_interval_s"][1]) <= budget * (1.0 + 1e-9));
    assert!(number(&result["logits_max_difference"]) <= 1e-4);
    assert!(number(&chosen["accuracy_test"]) > 0.6, "chance is 0.33: {chosen}");
    for name in ["chosen", "random_best", "random_equal_latency", "full"] {
        for key in
            ["latency_predicted_s", "latency_measured_s", "accuracy_trained", "accuracy_test"]
        {
            assert!(result[name][key].is_number(), "{name} {key}");
        }
    }
    // Two epochs of warm-up and eight of search are two networks of five epochs, and the best is the better one.
    let best = number(&result["random_best"]["accuracy_trained"]);
    assert!(best >= number(&result["random_equal_latency"]["accuracy_trained"]));
    let journal = fs::read_to_string(out.join("journal.jsonl")).unwrap();
    assert!(journal.contains(chosen["genotype"].as_str().unwrap()) && journal.contains("scratch "));
}

#[test]
fn what_an_architecture_cannot_be_learnt_from_is_refused_before_anything_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let elastic = configure(folder.path(), "ofa-28");
    let message = advice(&["run", &elastic, "--out", text(&out)]);
    assert!(message.contains("cannot be trained as a supernet of candidates"), "{message}");
    let config = configure(folder.path(), "space.toml");
    let wrong = fs::read_to_string(&config).unwrap().replace("interval = 2", "interval = 0");
    fs::write(&config, wrong).unwrap();
    let message = crate::cli::error(&["run", &config, "--out", text(&out)]);
    assert!(message.contains("`[proxyless] interval`: expected at least 1, found 0"), "{message}");
    assert!(!out.exists());
}
