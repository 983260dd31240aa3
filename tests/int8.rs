//! Runs whose models compute in 8 bits.

use std::{fs, path::Path};

use netfit_export::{is_quantized, read_metadata};
use serde_json::Value;

use crate::{
    cli::{advice, json as json_of, netfit, text},
    run::both_runtimes,
};

/// What is trained already, searched and delivered for 8 bits: files and times are of these, and what it costs is told.
pub(crate) fn the_same_in_8_bits(run: &Path) {
    let int8 = run.with_file_name("int8");
    fs::create_dir_all(int8.join("checkpoints")).unwrap();
    for file in fs::read_dir(run.join("checkpoints")).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), int8.join("checkpoints").join(file.file_name())).unwrap();
    }
    let config = int8.join("netfit.toml");
    let text_of = |path: &Path| fs::read_to_string(path).unwrap();
    let told = text_of(&run.join("netfit.toml"));
    let mut changed = told.replace("[device]", "[device]\nprecision = \"int8\"");
    // A latency elsewhere in 32 bits says nothing of a network in 8.
    let table = changed.find("[[also]]").unwrap();
    changed.replace_range(table..table + changed[table..].find("\n\n").unwrap(), "");
    let elsewhere = text(&run.join("elsewhere/1.json")).to_owned();
    let also = format!("{changed}\n[[also]]\ntable = \"{elsewhere}\"\nbudget = \"1s\"\n");
    fs::write(&config, also).unwrap();
    let message = advice(&["run", text(&config), "--out", text(&int8)]);
    assert!(message.contains("of networks in float32, the model is one of int8"), "{message}");
    fs::write(&config, changed).unwrap();
    let arguments = ["run", text(&config), "--out", text(&int8), "--accept-noise", "--json"];
    let output = netfit(&arguments).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(matches!(output.status.code(), Some(0 | 2)), "{errors}");
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["devices"][0]["precision"], "int8");
    for name in ["chosen", "random_best", "random_equal_latency", "full"] {
        let accuracy = |key: &str| result[name][key].as_f64().unwrap();
        let cost = accuracy("accuracy_test_fp32") - accuracy("accuracy_test");
        assert!(cost.abs() < 0.1, "{name}: {cost}");
    }
    for name in ["random-best", "random-equal-latency", "full"] {
        let fp32 = |path: &str| !is_quantized(&fs::read(int8.join(path)).unwrap()).unwrap();
        assert!(fp32(&format!("networks/{name}-fp32.onnx")), "{name}");
        assert!(!fp32(&format!("networks/{name}.onnx")), "{name}");
    }
    let (model, exact) = (int8.join("model.onnx"), int8.join("networks/chosen-fp32.onnx"));
    let bytes = [&model, &exact].map(|path| fs::read(path).unwrap());
    assert_eq!(bytes.each_ref().map(|bytes| is_quantized(bytes).unwrap()), [true, false]);
    assert_eq!(result["chosen"]["model_bytes"], bytes[0].len());
    bytes_are_those_of_8_bits(run, &int8);
    assert!(read_metadata(&model).unwrap()["quantization"].contains("\"weight_bits\":"));
    assert!(text_of(&int8.join("report.html")).contains("<small>fp32 "));
    // Sums of whole numbers in one runtime, of what they stand for in the other.
    let (found, expected) = both_runtimes(&model);
    let in_32_bits = both_runtimes(&exact).0;
    assert_ne!(found, in_32_bits);
    let apart = found.iter().zip(&in_32_bits).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(apart < 0.5 * largest_of(&in_32_bits), "{found:?} {in_32_bits:?}");
    let largest = largest_of(&expected);
    for (a, b) in found.iter().zip(&expected) {
        assert!((a - b).abs() < 0.05 * largest, "{found:?} {expected:?}");
    }
    a_file_says_what_it_computes_in(&int8, &model, &exact);
}

fn largest_of(logits: &[f32]) -> f32 {
    logits.iter().fold(0.0, |most: f32, logit| most.max(logit.abs()))
}

/// How many bytes the smallest network takes at most is another number.
fn bytes_are_those_of_8_bits(run: &Path, int8: &Path) {
    let refused = |run: &Path| {
        let (table, supernet) = (run.join("table.json"), format!("supernet:{}", text(run)));
        let search = ["search", "--space", text(run), "--table", text(&table), "--budget", "1s"];
        advice(&[&search[..], &["--accuracy", &supernet, "--max-bytes", "9"]].concat())
    };
    assert!(refused(int8).contains("with at most 9 bytes: the smallest"), "{}", refused(int8));
    assert_ne!(refused(run), refused(int8));
}

fn a_file_says_what_it_computes_in(run: &Path, model: &Path, exact: &Path) {
    for (file, precision) in [(model, "int8"), (exact, "float32")] {
        let measured = json_of(&["measure", text(file), "--samples", "30"]);
        assert_eq!(measured["fingerprint"]["precision"], precision);
    }
    let message = advice(&["measure", text(exact), "--device", "cpu:precision=int8"]);
    assert!(message.contains("the file computes in fp32"), "{message}");
    let out = run.with_file_name("exported.onnx");
    let export = ["export", "--run", text(run), "--genotype", "smallest", "--out", text(&out)];
    for (asked, int8) in [(&[][..], true), (&["--precision", "fp32"], false)] {
        let told = json_of(&[&export[..], asked].concat());
        assert_eq!(told["precision"], if int8 { "int8" } else { "fp32" });
        assert_eq!(is_quantized(&fs::read(&out).unwrap()).unwrap(), int8, "{asked:?}");
    }
}
