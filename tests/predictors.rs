//! `netfit predictor`.

use std::fs;

use crate::cli::{advice, json, text};

const CSV: &str = "csv:tests/data/nas-bench-macro.csv,genotype=arch,accuracy=mean_acc,unit=percent";

#[test]
fn predictors_stand_beside_what_ranks_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let plot = folder.path().join("learning.svg");
    let base = ["predictor", "evaluate", "--space", "nas-bench-macro", "--data", CSV];
    let more = ["--predictor", "kernels,ridge", "--sizes", "30,120", "--repeats", "2"];
    let result = json(&[&base[..], &more, &["--plot", text(&plot)]].concat());
    assert_eq!((&result["networks"], &result["repeats"]), (&6561.into(), &2.into()));
    let sizes = result["sizes"].as_array().unwrap();
    assert_eq!(sizes.iter().map(|size| &size["size"]).collect::<Vec<_>>(), [30, 120]);
    let tau = |size: usize, ranker: usize| {
        sizes[size]["rankers"][ranker]["kendall_tau"]["value"].as_f64().unwrap()
    };
    let names: Vec<_> =
        (0..4).map(|at| sizes[0]["rankers"][at]["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["kernels", "ridge", "multiply-adds", "parameters"]);
    assert!(tau(1, 0) > 0.85 && tau(1, 0) > tau(0, 0) && tau(1, 0) > tau(1, 1));
    // Counted beforehand over all networks.
    assert!((tau(0, 2) - 0.556).abs() < 0.01 && (tau(0, 3) - 0.218).abs() < 0.01);
    let cost = &sizes[0]["rankers"][2];
    assert!(cost["rmse"].is_null() && cost["fit_seconds"].is_null());
    assert!(fs::read_to_string(&plot).unwrap().contains("multiply-adds"));
}

#[test]
fn a_fitted_predictor_is_of_its_space_and_journals_teach_too() {
    let folder = tempfile::tempdir().unwrap();
    let journal = folder.path().join("journal.jsonl");
    let space = netfit_spaces::Space::preset("nas-bench-macro").unwrap();
    let network = |(at, genotype): (u8, netfit_spaces::Genotype)| netfit_search::Evaluated {
        genotype,
        accuracy: 0.5 + 0.001 * f64::from(at),
        latency_s: 1e-3,
        latency_interval_s: [1e-3; 2],
    };
    let networks: Vec<_> = (0_u8..30).zip(space.enumerate().step_by(211)).map(network).collect();
    let mut written = netfit_search::Journal::open(&journal, &space).unwrap();
    written.append("supernet", &networks[..20]).unwrap();
    written.append("csv", &networks[20..]).unwrap();
    let data = format!("journal:{}", text(&journal));
    let of = |source: &str| format!("{data},source={source}");
    let out = folder.path().join("predictor.safetensors");
    let fit = ["predictor", "fit", "--space", "nas-bench-macro", "--out", text(&out), "--data"];
    let supernet = of("supernet");
    let fitted = json(&[&fit[..], &[supernet.as_str()]].concat());
    assert_eq!((&fitted["predictor"], &fitted["networks"]), (&"ensemble".into(), &20.into()));
    let read = netfit_predictors::Predictor::load(&out, &space).unwrap();
    let ends =
        read.predict(&[networks[0].genotype.clone(), networks[19].genotype.clone()]).unwrap();
    assert!(ends[0] < ends[1], "{ends:?}");

    let train = of("train");
    let missing = format!("{data}x");
    for (data, reason) in [
        (data.as_str(), "has accuracies of `csv`, `supernet`, expected one source; hint: "),
        (train.as_str(), "has no accuracies of source `train`, found `csv`, `supernet`"),
        (missing.as_str(), "no journal"),
        ("npz:x", "unknown kind; hint: csv:FILE, journal:FILE or run:FOLDER"),
    ] {
        let message = advice(&[&fit[..], &[data]].concat());
        assert!(message.contains(reason), "{message}");
    }
    let other = ["predictor", "fit", "--space", "ofa-28", "--out", text(&out), "--data", &supernet];
    assert!(advice(&other).contains("expected space `ofa-28`"));
    let unknown = [&fit[..], &[supernet.as_str(), "--predictor", "boosting"]].concat();
    assert!(advice(&unknown).contains("unknown predictor `boosting`"));
}
