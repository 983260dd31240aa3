//! `netfit compare`.

use std::{fs, path::Path};

use netfit_latency_tables::LatencyTable;
use netfit_predictors::{CsvAccuracy, Mlp, MlpOptions};
use netfit_profiler::{FakeDevice, ProfileOptions, profile};
use netfit_search::STRATEGIES;
use netfit_spaces::Space;
use serde_json::Value;
use tempfile::TempDir;

use crate::cli::{advice, json, netfit, text};

const CSV: &str = "csv:tests/data/nas-bench-macro.csv,genotype=arch,accuracy=mean_acc,unit=percent";

/// A table of `nas-bench-macro` on the fake device.
fn table(folder: &TempDir) -> String {
    let space = Space::preset("nas-bench-macro").unwrap();
    let options = ProfileOptions { accept_noise: true, ..ProfileOptions::default() };
    let table = profile(&space, &mut FakeDevice::new(1), &options, &mut |_| {}).unwrap();
    let path = folder.path().join("table.json");
    table.save(&path).unwrap();
    text(&path).to_owned()
}

/// A budget that the faster half of the space keeps to, and the accuracies of that half.
fn half(path: &str) -> (String, Vec<f64>) {
    let table = LatencyTable::load(Path::new(path)).unwrap();
    let space = Space::preset("nas-bench-macro").unwrap();
    let known = CsvAccuracy::load(CSV, &space).unwrap().pairs();
    let mut networks: Vec<(f64, f64)> = known
        .iter()
        .map(|(genotype, accuracy)| {
            (table.predict(&space.network(genotype)).unwrap().high_s, *accuracy)
        })
        .collect();
    networks.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (fits, _) = networks[networks.len() / 2];
    networks.retain(|network| network.0 <= fits);
    let accuracies = networks.into_iter().map(|network| network.1).collect();
    (format!("{}us", fits * 1e6 * (1.0 + 1e-12)), accuracies)
}

fn base<'a>(table: &'a str, accuracy: &'a str, budget: &'a str) -> Vec<&'a str> {
    let place = ["compare", "--space", "nas-bench-macro", "--table", table];
    [&place[..], &["--accuracy", accuracy, "--budget", budget]].concat()
}

fn strategies(result: &Value) -> &Vec<Value> {
    result["strategies"].as_array().unwrap()
}

#[test]
fn a_device_to_train_on_is_refused_where_nothing_is_trained() {
    let folder = tempfile::tempdir().unwrap();
    let path = table(&folder);
    let compared = base(&path, CSV, "1s");
    let searched = [&["search"], &compared[1..]].concat();
    for (command, what) in [(&compared, "without --retrain"), (&searched, "--accuracy csv:")] {
        let message = advice(&[&command[..], &["--train-device", "cuda:0"]].concat());
        assert!(message.contains("--train-device cuda:0: ") && message.contains(what), "{message}");
    }
}

#[test]
fn an_exhaustive_random_search_has_no_regret() {
    let folder = tempfile::tempdir().unwrap();
    let path = table(&folder);
    let (budget, accuracies) = half(&path);
    let base = base(&path, CSV, &budget);
    let exhaustive = ["--strategies", "random", "--evaluations", "6561", "--seeds", "2"];
    let result = json(&[&base[..], &exhaustive].concat());
    let optimum = accuracies.iter().copied().fold(0.0, f64::max);
    let lowest = accuracies.iter().copied().fold(1.0, f64::min);
    assert_eq!(result["truth"]["networks"], accuracies.len());
    assert_eq!(result["truth"]["optimum"]["accuracy"].as_f64(), Some(optimum));
    assert_eq!(result["best_accuracy"].as_f64(), Some(optimum));
    assert_eq!(result["reference"]["accuracy"].as_f64(), Some(lowest));
    assert_eq!(strategies(&result).len(), 2);
    for (outcome, name) in strategies(&result).iter().zip(["random", "random 2x"]) {
        assert_eq!(outcome["name"], name);
        assert_eq!(outcome["regret"]["value"].as_f64(), Some(0.0));
        assert_eq!(outcome["regret"]["interval"][1].as_f64(), Some(0.0));
        assert!((outcome["hypervolume"].as_f64().unwrap() - 1.0).abs() < 1e-12);
        assert_eq!(outcome["runs"][1]["evaluations"], accuracies.len());
        assert!(outcome["verdict"].is_null());
    }
    assert_eq!(result["note"], "too few seeds: no conclusion");
    smaller_networks_only(&[&base[..], &exhaustive].concat(), &result);
}

/// The same comparison with fewer parameters than the best network has: the truth is another one.
fn smaller_networks_only(arguments: &[&str], free: &Value) {
    let space = Space::preset("nas-bench-macro").unwrap();
    let parameters = |result: &Value| {
        let genotype = result["truth"]["optimum"]["genotype"].as_str().unwrap();
        space.network(&space.parse(genotype).unwrap()).parameters().0
    };
    let most = (parameters(free) - 1).to_string();
    let result = json(&[arguments, &["--max-parameters", &most]].concat());
    assert!(parameters(&result) < parameters(free));
    for outcome in strategies(&result) {
        assert_eq!(outcome["runs"][0]["evaluations"], result["truth"]["networks"]);
        assert_eq!(outcome["regret"]["value"].as_f64(), Some(0.0));
    }
}

#[test]
fn all_strategies_are_compared_pictured_and_judged() {
    let folder = tempfile::tempdir().unwrap();
    let path = table(&folder);
    let (budget, accuracies) = half(&path);
    let plot = folder.path().join("new/compare.svg");
    let base = base(&path, CSV, &budget);
    let small = ["--evaluations", "60", "--seeds", "5", "--seed", "3", "--plot", text(&plot)];
    let result = json(&[&base[..], &small].concat());
    let names: Vec<&str> =
        strategies(&result).iter().map(|outcome| outcome["name"].as_str().unwrap()).collect();
    let others = STRATEGIES.into_iter().filter(|&name| name != "random");
    let expected: Vec<&str> = ["random", "random 2x"].into_iter().chain(others).collect();
    assert_eq!(names, expected);
    let optimum = accuracies.iter().copied().fold(0.0, f64::max);
    for outcome in &strategies(&result)[2..] {
        let verdict = outcome["verdict"].as_str().unwrap();
        let [low, high] =
            [0, 1].map(|end| outcome["difference"]["interval"][end].as_f64().unwrap());
        let stated = match verdict {
            "better than random" => low > 0.0,
            "worse than random" => high < 0.0,
            "no difference shown" => low <= 0.0 && high >= 0.0,
            _ => false,
        };
        assert!(stated, "{outcome}");
        let best = outcome["accuracy"]["value"].as_f64().unwrap();
        let regret = outcome["regret"]["value"].as_f64().unwrap();
        assert!((best + regret - optimum).abs() < 1e-12 && regret >= 0.0, "{outcome}");
        assert_eq!(outcome["runs"][4]["seed"], 7);
    }
    let picture = fs::read_to_string(&plot).unwrap();
    assert!(picture.contains("<svg") && picture.contains("regret"), "{picture}");
    assert!(expected[1..].iter().all(|name| picture.contains(name)));

    let printed = netfit(&[&base[..], &small[..4]].concat()).output().unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    for part in ["baseline", "optimum", "regret is exact", "bootstrap intervals", "evolution"] {
        assert!(printed.contains(part), "`{part}` in: {printed}");
    }
}

/// What a predictor says is not the truth.
#[test]
fn a_predictor_gives_no_regret() {
    let folder = tempfile::tempdir().unwrap();
    let path = table(&folder);
    let (budget, _) = half(&path);
    let space = Space::preset("nas-bench-macro").unwrap();
    let known = CsvAccuracy::load(CSV, &space).unwrap().pairs();
    let few: Vec<_> = known.into_iter().step_by(200).collect();
    let options = MlpOptions { layers: vec![16], epochs: 20, ..MlpOptions::default() };
    let predictor = folder.path().join("predictor");
    Mlp::fit(&space, &few, &options).unwrap().save(&predictor).unwrap();
    let source = format!("predictor:{}", text(&predictor));
    let plot = folder.path().join("compare.svg");
    let small = ["--strategies", "evolution", "--evaluations", "40", "--seeds", "2"];
    let arguments = [&base(&path, &source, &budget)[..], &small, &["--plot", text(&plot)]].concat();
    let result = json(&arguments);
    assert!(result["truth"].is_null() && strategies(&result)[2]["regret"].is_null());
    assert_eq!(strategies(&result).len(), 3);
    assert!(fs::read_to_string(&plot).unwrap().contains("best accuracy"));
    let printed = netfit(&arguments).output().unwrap();
    let printed = String::from_utf8(printed.stdout).unwrap();
    assert!(printed.contains("too few seeds: no conclusion"), "{printed}");
    assert!(printed.contains("the optimum is not known"), "{printed}");
}

#[test]
fn what_cannot_be_compared_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let path = table(&folder);
    let fail = |more: &[&str]| advice(&[&base(&path, CSV, "1s")[..], more].concat());
    let message = fail(&["--strategies", "evolution,evolutoin"]);
    assert!(message.contains("`evolutoin`") && message.contains("strategies are random"));
    assert!(fail(&["--strategies", "evolution,evolution"]).contains("named twice"));
    assert!(fail(&["--seeds", "0"]).contains("--seeds"));
    assert!(fail(&["--evaluations", "0"]).contains("--evaluations"));
    let plot = folder.path().join("table.json/plot.svg");
    assert!(fail(&["--plot", text(&plot)]).contains("plot.svg"));
    assert!(fail(&["--percentile", "95"]).contains("95"));
    assert!(advice(&base(&path, "supernet:run", "1s")).contains("unknown source"));
    assert!(advice(&base(&path, CSV, "1ns")).contains("allow at least"));
    assert!(advice(&base(&path, CSV, "5")).contains("no unit"));
}

#[test]
fn the_help_tells_the_keys_of_the_json() {
    let folder = tempfile::tempdir().unwrap();
    let path = table(&folder);
    let help = netfit(&["compare", "--help"]).output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let arguments = ["--strategies", "random", "--evaluations", "5", "--seeds", "2"];
    let result = json(&[&base(&path, CSV, "1s")[..], &arguments].concat());
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let outcome = &strategies(&result)[0];
    for part in [&result, &result["truth"], &result["reference"], outcome, &outcome["runs"][0]] {
        for key in keys(part) {
            assert!(help.contains(&key), "`{key}` in: {help}");
        }
    }
}
