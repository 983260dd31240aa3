//! A run that is asked for more than a latency.

use std::path::Path;

use netfit_profiler::{FakeDevice, ProfileOptions, profile};
use netfit_spaces::{Random, Space};
use serde_json::{Value, json};

use crate::cli::{configure, json as json_of, text};

/// The configuration of a run, and how many parameters it allows: a part of the networks has more.
pub(crate) fn with_budgets(folder: &Path) -> (String, u64) {
    let space = folder.join("space.toml");
    configure(folder, "90% of full", "");
    let parameters = |network: &str| {
        json_of(&["space", text(&space), "--network", network])["parameters"].as_u64().unwrap()
    };
    let (least, most) = (parameters("smallest"), parameters("largest"));
    let most = least + (most - least) * 3 / 5;
    // Four bytes a parameter, and names: what binds are the parameters.
    let (table, budget) = elsewhere(folder, most);
    let also = format!("[[also]]\ntable = \"{table}\"\nbudget = \"{budget}\"");
    let lines =
        format!("seed = 5\nmax_parameters = {most}\nmax_bytes = {}\n{also}", 4 * most + 60_000);
    (configure(folder, "90% of full", &lines), most)
}

/// The latency table of the run's space on a device that is not here, and a budget there that a part of the networks of so
/// many parameters does not keep to.
fn elsewhere(folder: &Path, most: u64) -> (&'static str, String) {
    let space = Space::load(text(&folder.join("space.toml"))).unwrap();
    let options = ProfileOptions { accept_noise: true, ..ProfileOptions::default() };
    let table = profile(&space, &mut FakeDevice::new(1), &options, &mut |_| {}).unwrap();
    table.save(&folder.join("phone.json")).unwrap();
    let mut random = Random::new(0, "small networks");
    let small = std::iter::repeat_with(|| space.network(&space.sample(&mut random)));
    let small = small.take(500).filter(|network| network.parameters().0 <= most);
    let mut seconds: Vec<f64> =
        small.map(|network| table.predict(&network).unwrap().high_s).collect();
    seconds.sort_by(f64::total_cmp);
    assert!(seconds[0] < seconds[seconds.len() * 3 / 4]);
    // A time whose digits are no sum of powers of two.
    ("phone.json", format!("{}ms", seconds[seconds.len() * 3 / 4] * 1e3 + 1e-9))
}

/// The networks of such a run keep to all that was asked for, but for the full one.
pub(crate) fn are_kept(run: &Path, result: &Value, most: u64) {
    let number = |value: &Value| value.as_f64().unwrap();
    assert_eq!(result["budgets"][1], json!({ "metric": "parameters", "max": most }));
    assert_eq!(result["budgets"][2]["metric"], "bytes");
    let phone = &result["budgets"][3];
    assert_eq!((&phone["metric"], &phone["predicted"]), (&"latency".into(), &true.into()));
    assert!(number(&result["full"]["elsewhere"][0]["latency_s"]) > number(&phone["seconds"]));
    assert!(run.join("elsewhere/1.json").is_file());
    for name in ["chosen", "random_best", "random_equal_latency"] {
        assert!(result[name]["parameters"].as_u64().unwrap() <= most, "{name}");
        let there = &result[name]["elsewhere"][0];
        assert_eq!(there["device"], phone["device"]);
        assert!(number(&there["latency_interval_s"][1]) <= number(&phone["seconds"]), "{name}");
    }
}
