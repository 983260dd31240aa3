//! `netfit table`.

use std::{fs, path::Path};

use netfit_latency_tables::LatencyTable;
use netfit_profiler::{FakeDevice, ProfileOptions, profile};
use netfit_spaces::{Block, Op, Space};
use tempfile::TempDir;

use crate::cli::{advice, json, netfit, text};

/// A table of `ofa-28` on the fake device with some noise, so that no two measurements are equal.
fn table(folder: &TempDir, seed: u64) -> String {
    let mut device = FakeDevice::new(seed);
    device.noise = 0.01;
    let options = ProfileOptions { seed, accept_noise: true, ..ProfileOptions::default() };
    let space = Space::preset("ofa-28").unwrap();
    let table = profile(&space, &mut device, &options, &mut |_| {}).unwrap();
    let path = folder.path().join(format!("table-{seed}.json"));
    table.save(&path).unwrap();
    text(&path).to_owned()
}

fn load(path: &str) -> LatencyTable {
    LatencyTable::load(Path::new(path)).unwrap()
}

fn printed(arguments: &[&str]) -> String {
    let output = netfit(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_table_is_shown_with_all_that_it_knows_of_itself() {
    let folder = tempfile::tempdir().unwrap();
    let path = table(&folder, 1);
    let known = load(&path);
    let csv = folder.path().join("new/blocks.csv");
    let shown = json(&["table", "show", &path, "--csv", text(&csv), "--blocks", "3"]);
    assert_eq!(shown["space_id"], known.space_id);
    assert_eq!(shown["entries"], known.entries().count());
    assert_eq!(shown["fingerprint"]["threads"], known.fingerprint.threads);
    assert_eq!(shown["calibration"]["interval"], known.calibration.interval);
    assert!(!shown["calibration"]["candidates"].as_array().unwrap().is_empty());
    let mut slowest: Vec<f64> =
        known.entries().map(|(line, _)| known.entry(line).unwrap()).collect();
    slowest.sort_by(|a, b| b.total_cmp(a));
    let blocks = shown["blocks"].as_array().unwrap();
    let seconds: Vec<f64> = blocks.iter().map(|b| b["calibrated_s"].as_f64().unwrap()).collect();
    assert_eq!(seconds, slowest[..3]);
    assert_eq!(fs::read_to_string(csv).unwrap(), known.to_csv());

    let words = printed(&["table", "show", &path]);
    for part in [
        "ofa-28",
        &known.fingerprint.processor,
        "leave-one-out RMSPE",
        "validation, multiply-adds",
        "noise floor",
        "in view of their own noise",
        "percentiles: none",
        "slowest blocks",
    ] {
        assert!(words.contains(part), "`{part}` in: {words}");
    }
}

/// A table of an earlier version, which does not hold its space.
#[test]
fn a_table_without_its_space_is_of_the_preset_of_its_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = table(&folder, 1);
    let old = LatencyTable { space: None, ..load(&path) };
    old.save(Path::new(&path)).unwrap();
    let text = fs::read_to_string(&path).unwrap();
    assert!(!text.contains("\"space\":"), "{text}");
    assert_eq!(load(&path), old);
    let preset = Space::preset("ofa-28").unwrap();
    assert_eq!(json(&["space", &path])["id"], preset.id());
    let elsewhere = LatencyTable { space_name: "photos".to_owned(), ..old };
    elsewhere.save(Path::new(&path)).unwrap();
    let message = advice(&["space", &path]);
    assert!(message.contains("unknown space `photos`"), "{message}");
    assert!(message.contains("or give it with --space"), "{message}");
}

#[test]
fn a_journal_that_another_process_writes_is_not_begun_anew() {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("table.json");
    let journal = folder.path().join("table.json.journal");
    fs::write(&journal, "measured").unwrap();
    let file = fs::File::open(&journal).unwrap();
    file.lock().unwrap();
    let restart = ["profile", "--space", "ofa-28", "--out", text(&table), "--restart"];
    let message = advice(&restart);
    assert!(message.contains("in use by another process"), "{message}");
    assert_eq!(fs::read_to_string(&journal).unwrap(), "measured");
}

#[test]
fn something_else_is_no_journal_of_a_validation() {
    let folder = tempfile::tempdir().unwrap();
    let path = table(&folder, 1);
    let journal = folder.path().join("journal");
    fs::write(&journal, "{\"shopping\": \"list\"}\n").unwrap();
    let message = advice(&["validate", &path, "--force", "--journal", text(&journal)]);
    assert!(message.contains("cannot be gone on with: line 1"), "{message}");
    assert!(message.contains("remove it") && !message.contains("--restart"), "{message}");
    assert_eq!(fs::read_to_string(journal).unwrap(), "{\"shopping\": \"list\"}\n");
}

#[test]
fn two_tables_are_compared_and_merged() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (table(&folder, 1), table(&folder, 2));
    let diff = json(&["table", "diff", &a, &b]);
    let (first, second) = (load(&a), load(&b));
    assert_eq!(diff, serde_json::to_value(first.diff(&second)).unwrap());
    assert!(printed(&["table", "diff", &a, &b]).contains("common blocks: median change"));
    let same = json(&["table", "diff", &a, &a]);
    assert_eq!(
        (same["largest_change"].as_f64(), same["only_first"].as_array().unwrap().len()),
        (Some(0.0), 0)
    );

    let out = folder.path().join("new/merged.json");
    let merged = json(&["table", "merge", &a, &b, "--out", text(&out)]);
    let networks = first.calibration_networks.len() + second.calibration_networks.len();
    assert_eq!(merged["calibration_networks"], networks);
    let expected = first.merge(&second, &Space::preset("ofa-28").unwrap()).unwrap();
    assert_eq!(load(text(&out)), expected);
}

#[test]
fn tables_that_do_not_belong_together_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let a = table(&folder, 1);
    let out = folder.path().join("merged.json");
    let merge = |b: &str, more: &[&str]| {
        let message = advice(&[&["table", "merge", &a, b, "--out", text(&out)], more].concat());
        assert!(!out.exists(), "{message}");
        message
    };
    assert!(merge(&a, &[]).contains("the same measurements"));
    assert!(merge("nowhere.json", &[]).contains("nowhere.json"));
    assert!(
        merge(&a, &["--space", "nas-bench-macro"]).contains("is not that of the latency tables")
    );
    let changed = |change: fn(&mut LatencyTable)| {
        let path = folder.path().join("changed.json");
        let mut table = load(&a);
        change(&mut table);
        table.save(&path).unwrap();
        text(&path).to_owned()
    };
    let threads = changed(|table| table.fingerprint.threads = 7);
    assert!(merge(&threads, &[]).contains("threads is `1` and `7`"));
    let space = changed(|table| table.space_id = "0".into());
    assert!(merge(&space, &[]).contains("two spaces"));
    let broken = folder.path().join("broken.json");
    fs::write(&broken, &fs::read_to_string(&a).unwrap()[..200]).unwrap();
    assert!(advice(&["table", "show", text(&broken)]).contains("not a whole latency table"));
    assert!(advice(&["table", "diff", &a, text(&broken)]).contains("not a whole latency table"));
    let under_a_file = format!("{a}/blocks.csv");
    assert!(advice(&["table", "show", &a, "--csv", &under_a_file]).contains("blocks.csv"));
}

#[test]
fn blocks_that_a_table_does_not_hold_are_predicted_from_those_that_it_holds() {
    let folder = tempfile::tempdir().unwrap();
    let space = Space::preset("ofa-28").unwrap();
    let path = table(&folder, 1);
    let known = space.distinct_blocks().into_iter().find(|block| block.kind() == "mbconv").unwrap();
    let Op::MbConv { kernel, middle, stride, squeeze, activation, skip } = *known.op() else {
        unreachable!()
    };
    let op = |middle| Op::MbConv { kernel, middle, stride, squeeze, activation, skip };
    let block = |middle| {
        Block::new(op(middle), known.input(), known.output().channels).unwrap().to_string()
    };
    let (known, new, beyond) = (known.to_string(), block(middle + 1), block(100 * middle));
    let found = json(&["table", "predict", &path, &known, &new]);
    let seconds = |place: usize, key: &str| found["blocks"][place][key].as_f64();
    let (measured, predicted) =
        (seconds(0, "calibrated_s").unwrap(), seconds(0, "predicted_s").unwrap());
    assert!((predicted / measured - 1.0).abs() < 0.5, "{found}");
    assert_eq!(seconds(1, "calibrated_s"), None);
    assert!(seconds(1, "predicted_s").unwrap() > predicted, "{found}");
    assert!(found["errors"]["rmspe"].as_f64().unwrap() > 0.0, "{found}");
    let message = advice(&["table", "predict", &path, &beyond]);
    assert!(message.contains("middle channels from") && message.contains("--allow-extrapolation"));
    let found = json(&["table", "predict", &path, &beyond, "--allow-extrapolation"]);
    assert_eq!(found["blocks"][0]["extrapolated"], true);
}
