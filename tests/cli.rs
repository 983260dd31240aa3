//! Whole commands.

use std::{fs, path::Path};

use assert_cmd::Command;
use netfit_profiler::{FakeDevice, ProfileOptions, profile};
use netfit_spaces::{Random, Space};
use serde_json::Value;
use tempfile::TempDir;

pub(crate) fn netfit(arguments: &[&str]) -> Command {
    let mut command = Command::cargo_bin("netfit").unwrap();
    command.args(arguments);
    command
}

/// The object that a command prints.
pub(crate) fn json(arguments: &[&str]) -> Value {
    let output = netfit(arguments).arg("--json").output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// The one line that a failing command prints.
pub(crate) fn error(arguments: &[&str]) -> String {
    let output = netfit(arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}");
    assert!(output.stdout.is_empty(), "{arguments:?}");
    let errors = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> = errors.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!((lines.len(), errors.lines().last()), (1, Some(lines[0])), "{errors}");
    lines[0].to_owned()
}

/// The same of an error that says what to do.
pub(crate) fn advice(arguments: &[&str]) -> String {
    let message = error(arguments);
    assert!(message.contains("; hint: "), "{message}");
    message
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Grey 14x14 images of three classes, each with a bright band of its own, as four IDX files.
pub(crate) fn images(folder: &Path, train: usize, test: usize) {
    let mut random = Random::new(4, "images");
    for (name, count) in [("train", train), ("t10k", test)] {
        let header = |kind: u8, sides: &[usize]| {
            let mut bytes = vec![0, 0, 8, kind];
            for &side in sides {
                bytes.extend((side as u32).to_be_bytes());
            }
            bytes
        };
        let mut pixels = header(3, &[count, 14, 14]);
        let mut labels = header(1, &[count]);
        for image in 0..count {
            let class = image % 3;
            labels.push(class as u8);
            pixels.extend((0..196).map(|i| {
                let bright = i / 14 / 4 == class;
                random.below(110) as u8 + if bright { 140 } else { 0 }
            }));
        }
        fs::write(folder.join(format!("{name}-images-idx3-ubyte")), pixels).unwrap();
        fs::write(folder.join(format!("{name}-labels-idx1-ubyte")), labels).unwrap();
    }
}

const SPACE: &str = r#"
name = "small"
input = "1x14x14"
classes = 3
stem = ["conv k3 s2 hswish o8"]
head = ["conv k1 s1 hswish o32", "pool", "linear"]

[[stages]]
width = 12
stride = 1
depth = [1, 2]
kernel = [3, 5, 7]
expand = [2, 3, 4]
activation = "relu"

[[stages]]
width = 16
stride = 2
depth = [1, 2]
kernel = [3]
expand = [2, 4]
squeeze = 0.25
activation = "hswish"
"#;

/// A configuration in `folder`, whose data are in `folder/data`.
pub(crate) fn configure(folder: &Path, budget: &str, more: &str) -> String {
    fs::write(folder.join("space.toml"), SPACE).unwrap();
    let path = folder.join("netfit.toml");
    let config = format!(
        "space = \"space.toml\"\nbudget = \"{budget}\"\n{more}\n[data]\nformat = \"idx\"\npath = \"data\"\n\
         [training]\nthreads = 1\nbatch = 32\nfull_epochs = 8\nshrink_epochs = 10\ncheckpoint_steps = 50\n\
         [search]\nsamples = 24\nfinalists = 4\npopulation = 16\ngenerations = 4\n"
    );
    fs::write(&path, config).unwrap();
    text(&path).to_owned()
}

/// A table of a preset on the fake device.
fn table(folder: &TempDir, preset: &str) -> String {
    let space = Space::preset(preset).unwrap();
    let options = ProfileOptions { accept_noise: true, ..ProfileOptions::default() };
    let table = profile(&space, &mut FakeDevice::new(1), &options, &mut |_| {}).unwrap();
    let path = folder.path().join("table.json");
    table.save(&path).unwrap();
    text(&path).to_owned()
}

#[test]
fn bad_input_is_one_line_and_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let run = |config: &str, expected: &[&str]| {
        let message = advice(&["run", config, "--out", text(&out)]);
        for part in expected {
            assert!(message.contains(part), "`{part}` in: {message}");
        }
        assert!(!out.exists(), "{message}");
    };
    run("nowhere.toml", &["nowhere.toml"]);
    let config = configure(folder.path(), "2ms", "");
    run(&config, &["no data folder at `data`"]);

    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    images(&data, 60, 30);
    let pixels = data.join("train-images-idx3-ubyte");
    let whole = fs::read(&pixels).unwrap();
    fs::write(&pixels, &whole[..whole.len() / 2]).unwrap();
    run(&config, &["train-images-idx3-ubyte", "expected", "found"]);
    fs::write(&pixels, &whole).unwrap();

    for (budget, part) in [("3", "no unit"), ("-1ms", "more than 0"), ("60% of half", "of full")] {
        run(&configure(folder.path(), budget, ""), &[budget, part]);
    }
    run(
        &configure(folder.path(), "2ms", "sede = 3"),
        &["netfit.toml`, line 3", "unknown field `sede`"],
    );
    for (lines, parts) in [
        ("max_parameters = 9", ["with at most 9 parameters", "hint: allow at least"]),
        ("max_bytes = 9", ["with at most 9 bytes", "hint: allow at least"]),
        ("method = \"proxyless\"\nmax_bytes = 9", ["`proxyless` learns", "hint: `ofa`"]),
    ] {
        run(&configure(folder.path(), "2ms", lines), &parts);
    }
    let config = configure(folder.path(), "2ms", "");
    let presets = fs::read_to_string(&config).unwrap().replace("space.toml", "ofa-99");
    fs::write(&config, presets).unwrap();
    run(&config, &["ofa-99", "hint: presets are"]);
}

#[test]
fn an_empty_class_and_an_unwritable_folder_are_named() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("photos/train/cat")).unwrap();
    let config = configure(folder.path(), "2ms", "");
    let photos = fs::read_to_string(&config).unwrap().replace(
        "format = \"idx\"\npath = \"data\"",
        "format = \"folder\"\npath = \"photos\"\nsize = 14",
    );
    fs::write(&config, photos).unwrap();
    let out = folder.path().join("out");
    let message = advice(&["run", &config, "--out", text(&out)]);
    assert!(message.contains("class `cat` has no image") && !out.exists(), "{message}");

    let data = folder.path().join("data");
    fs::create_dir(&data).unwrap();
    images(&data, 60, 30);
    let config = configure(folder.path(), "2ms", "");
    let inside_a_file = folder.path().join("space.toml/out");
    let (new, file) = (folder.path().join("new/table.json"), text(&inside_a_file));
    for arguments in [
        &["run", &config, "--out", file][..],
        &["train", &config, "--out", file],
        &["profile", "--space", "ofa-28", "--out", file],
        &["profile", "--space", "ofa-28", "--out", text(&new), "--plot", file],
    ] {
        let message = advice(arguments);
        assert!(message.contains("space.toml/out"), "{message}");
        assert!(!folder.path().join("new").exists());
    }
    assert_eq!(fs::read_to_string(folder.path().join("space.toml")).unwrap(), SPACE);
}

#[test]
fn a_folder_whose_run_came_to_nothing_takes_another() {
    let folder = tempfile::tempdir().unwrap();
    let (data, out) = (folder.path().join("data"), folder.path().join("out"));
    fs::create_dir(&data).unwrap();
    images(&data, 60, 30);
    let run = |budget: &str| {
        let config = configure(folder.path(), budget, "[device]\nthreads = 1024");
        advice(&["run", &config, "--out", text(&out)])
    };
    for budget in ["2ms", "3ms"] {
        let message = run(budget);
        assert!(message.contains("threads: expected at most "), "{message}");
    }
    fs::write(out.join("table.json"), "worth keeping").unwrap();
    assert!(run("3ms").contains("threads"), "the last configuration goes on");
    assert!(run("2ms").contains("another configuration"));
    // One that a person wrote is never replaced.
    let config = configure(folder.path(), "2ms", "");
    let written = fs::read_to_string(&config).unwrap();
    let message = advice(&["run", &config, "--out", text(folder.path()), "--budget", "3ms"]);
    assert!(message.contains("configuration: `budget` is \"2ms\" and \"3ms\""), "{message}");
    assert_eq!(fs::read_to_string(&config).unwrap(), written);
}

/// Status 2 is kept for a missed budget.
#[test]
fn a_wrong_command_line_is_an_error_as_any_other() {
    assert!(advice(&["run"]).contains("<CONFIG>"));
    assert!(advice(&["frobnicate"]).contains("frobnicate"));
    assert!(advice(&["measure", "model.onnx", "--threads", "0"]).contains("--threads"));
    // No errors can be told of fewer than two networks.
    assert!(advice(&["validate", "table.json", "--networks", "1"]).contains("--networks"));
    let help = netfit(&["--help"]).output().unwrap();
    assert!(help.status.success() && help.stderr.is_empty());
    assert!(String::from_utf8(help.stdout).unwrap().contains("profile"));
    for (command, words) in [("run", "Exit status: 0"), ("compare", "Three comparisons.")] {
        let help = netfit(&[command, "--help"]).output().unwrap();
        assert!(String::from_utf8(help.stdout).unwrap().contains(words), "{command}");
    }
}

/// It starts in a moment, measures with an untouched allocator and runs where libtorch is not.
#[test]
#[allow(clippy::print_stderr)]
fn netfit_links_no_libtorch() {
    let program = netfit(&[]).get_program().to_owned();
    let Ok(read) = std::process::Command::new("readelf").arg("-d").arg(program).output() else {
        eprintln!("skipped: there is no readelf");
        return;
    };
    let needed = String::from_utf8(read.stdout).unwrap();
    assert!(needed.contains("libc.so"), "{needed}");
    for library in ["libtorch", "libc10", "onnxruntime"] {
        assert!(!needed.contains(library), "{needed}");
    }
}

#[test]
fn a_search_without_a_way_out_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(&folder, "nas-bench-macro");
    let csv = "csv:tests/data/nas-bench-macro.csv,genotype=arch,accuracy=mean_acc,unit=percent";
    let search = |space: &str, accuracy: &str, budget: &str| {
        error(&[
            "search",
            "--space",
            space,
            "--table",
            &table,
            "--accuracy",
            accuracy,
            "--budget",
            budget,
        ])
    };
    let message = search("nas-bench-macro", csv, "1ns");
    assert!(message.contains("fastest") && message.contains("hint: allow at least"), "{message}");
    assert!(search("nas-bench-macro", csv, "5").contains("no unit"));
    assert!(search("ofa-28", csv, "5ms").contains("ofa-28"));
    assert!(search("nas-bench-macro", "oracle:x", "5ms").contains("hint: csv:FILE"));
    assert!(search("nas-bench-macro", "csv:none.csv", "5ms").contains("none.csv"));
    assert!(search("nas-bench-macro", "predictor:none", "5ms").contains("none"));
    assert!(search("nas-bench-macro", "supernet:none", "5ms").contains("not a run folder"));
}

/// Random search that visits all 6,561 networks finds the optimum that enumeration finds; evolution is close.
#[test]
fn searches_find_the_known_optimum() {
    let folder = tempfile::tempdir().unwrap();
    let path = table(&folder, "nas-bench-macro");
    let space = Space::preset("nas-bench-macro").unwrap();
    let table = netfit_latency_tables::LatencyTable::load(Path::new(&path)).unwrap();
    let accuracy = |line: &str| {
        let cells: Vec<&str> = line.split(',').collect();
        let latency = table.predict(&space.network(&space.parse(cells[0]).unwrap())).unwrap();
        (latency, cells[4].parse::<f64>().unwrap() / 100.0)
    };
    let rows: Vec<_> =
        include_str!("data/nas-bench-macro.csv").lines().skip(1).map(accuracy).collect();
    let mut ends: Vec<f64> = rows.iter().map(|(latency, _)| latency.high_s).collect();
    ends.sort_by(f64::total_cmp);
    let budget = ends[ends.len() / 2];
    let feasible: Vec<f64> =
        rows.iter().filter(|(latency, _)| latency.high_s <= budget).map(|row| row.1).collect();
    let optimum = feasible.iter().copied().fold(0.0, f64::max);
    let budget = format!("{}us", budget * 1e6 * (1.0 + 1e-12));
    let search = |strategy: &str, evaluations: &str| {
        let csv = "csv:tests/data/nas-bench-macro.csv,genotype=arch,accuracy=mean_acc,unit=percent";
        let space = ["search", "--space", "nas-bench-macro", "--table", &path, "--accuracy", csv];
        let how = ["--budget", &budget, "--strategy", strategy, "--evaluations", evaluations];
        json(&[&space[..], &how[..]].concat())
    };
    let exhaustive = search("random", "6561");
    assert!((exhaustive["best"]["accuracy"].as_f64().unwrap() - optimum).abs() < 1e-12);
    assert_eq!(exhaustive["evaluations"], feasible.len());
    let evolution = search("evolution", "1000");
    assert!(evolution["best"]["accuracy"].as_f64().unwrap() > optimum - 0.002);
    assert!(evolution["networks_per_second"].as_f64().unwrap() > 0.0);
    let front = evolution["pareto"].as_array().unwrap();
    let numbers = |key: &str| front.iter().map(|n| n[key].as_f64().unwrap()).collect::<Vec<_>>();
    assert!(numbers("latency_s").is_sorted() && numbers("accuracy").is_sorted());
}

/// One journal serves searches by several sources of a kind, and mixes none up.
#[test]
fn a_journal_keeps_what_another_file_said_apart() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(&folder, "nas-bench-macro");
    let journal = folder.path().join("journal.jsonl");
    let search = |column: &str| {
        let csv = format!(
            "csv:tests/data/nas-bench-macro.csv,genotype=arch,accuracy={column},unit=percent"
        );
        let what = ["search", "--space", "nas-bench-macro", "--table", &table, "--accuracy", &csv];
        let how = ["--budget", "1s", "--strategy", "random", "--evaluations", "5"];
        let result = json(&[&what[..], &how, &["--journal", text(&journal)]].concat());
        (result["best"]["accuracy"].as_f64().unwrap(), result["scored"].as_u64().unwrap())
    };
    let (mean, one) = (search("mean_acc"), search("acc_1"));
    assert_eq!((mean.1, one.1), (5, 5));
    assert!((mean.0 - one.0).abs() > 1e-9, "{mean:?} {one:?}");
    assert_eq!(search("mean_acc"), (mean.0, 0));
}

/// Strategies that learn from rewards find good networks with and without one.
#[test]
fn a_reward_is_taken_by_strategies_that_learn_from_one() {
    let folder = tempfile::tempdir().unwrap();
    let table = table(&folder, "nas-bench-macro");
    let csv = "csv:tests/data/nas-bench-macro.csv,genotype=arch,accuracy=mean_acc,unit=percent";
    let search = |how: &[&str]| {
        let what = ["search", "--space", "nas-bench-macro", "--table", &table, "--accuracy", csv];
        let bounds = ["--budget", "60% of full", "--evaluations", "200"];
        [&what[..], &bounds, how].concat().into_iter().map(str::to_owned).collect::<Vec<_>>()
    };
    let found = |how: &[&str]| {
        let args = search(how);
        json(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    let fails = |how: &[&str]| {
        let args = search(how);
        error(&args.iter().map(String::as_str).collect::<Vec<_>>())
    };
    for strategy in ["mnasnet", "tunas", "proxyless-r", "aging-evolution"] {
        let result = found(&["--strategy", strategy]);
        assert_eq!(result["evaluations"], 200, "{strategy}");
        assert!(result["best"]["accuracy"].as_f64().unwrap() > 0.9, "{strategy}: {result}");
    }
    let result = found(&["--strategy", "tunas", "--reward", "absolute"]);
    assert!(result["best"]["genotype"].as_str().unwrap().len() == 8);
    let message = fails(&["--strategy", "evolution", "--reward", "absolute"]);
    assert!(message.contains("`evolution`: takes no reward") && message.contains("hint: mnasnet"));
    let message = fails(&["--strategy", "mnasnet", "--reward", "gold"]);
    assert!(message.contains("unknown reward `gold`; hint: rewards are mnasnet-soft"), "{message}");
}

#[test]
fn spaces_are_described_as_documented() {
    let space = json(&["space", "ofa-mbv3"]);
    assert_eq!((space["layers"].as_u64(), space["distinct_blocks"].as_u64()), (Some(20), Some(96)));
    let network = json(&["space", "nas-bench-macro", "--network", "00000000"]);
    assert_eq!(network["parameters"], 387_882);
    assert_eq!(network["multiply_adds"], 7_713_280);
    assert_eq!(network["blocks"][0], "conv k3 s1 relu 3x32x32 -> 32x32x32");
    assert!(
        error(&["space", "nas-bench-macro", "--network", "9"])
            .contains("expected 8 choices, found 1")
    );
}

#[test]
fn what_is_no_model_is_not_measured() {
    let folder = tempfile::tempdir().unwrap();
    assert!(error(&["measure", "none.onnx"]).contains("none.onnx"));
    let path = folder.path().join("notes.onnx");
    fs::write(&path, "no model").unwrap();
    assert!(error(&["measure", text(&path)]).contains("notes.onnx"));
}
