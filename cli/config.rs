//! netfit.toml: the configuration of a run.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, anyhow, bail};
use netfit_data::DataSpec;
use netfit_search::{
    Budget,
    job::{Proxyless, Scratch, Training},
};
use netfit_spaces::Space;
use serde::{Deserialize, Serialize};

use crate::{
    budgets::{Also, MEDIAN, SideBudgets},
    device::{DeviceKind, DeviceSpec},
    run::Method,
};

/// The percentiles that are measured on exported files.
const PERCENTILES: [f64; 3] = [MEDIAN, 95.0, 99.0];
const COMPLETE: &str = "examples/fashion-mnist.toml is a complete one";

/// A run: space, data, device and budget; everything else has a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Config {
    /// How the network is found: `ofa`, `mnasnet` or `proxyless`.
    #[serde(default)]
    pub(crate) method: Method,
    /// A preset, or a TOML file relative to the configuration. Its input shape and classes become the data's.
    pub(crate) space: String,
    /// The latency that must hold, for example `"3ms"` or `"60% of full"`.
    pub(crate) budget: String,
    /// The percentile of single calls that must keep to it: 50 (the median), 95 or 99.
    #[serde(default = "median")]
    pub(crate) percentile: f64,
    /// Learned numbers that the network may have at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_parameters: Option<u64>,
    /// Bytes that the model's file may take at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) max_bytes: Option<u64>,
    /// Everything random follows from it.
    #[serde(default)]
    pub(crate) seed: u64,
    /// Latencies that must hold on other devices, too, by what their tables predict.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) also: Vec<Also>,
    /// The images.
    pub(crate) data: DataSpec,
    /// What the network will run on.
    #[serde(default)]
    pub(crate) device: DeviceConfig,
    /// How the supernet is trained.
    #[serde(default)]
    pub(crate) training: Training,
    /// How networks are trained from scratch, where they are.
    #[serde(default)]
    pub(crate) scratch: ScratchConfig,
    /// `proxyless`: how the architecture is learnt.
    #[serde(default)]
    pub(crate) proxyless: Proxyless,
    /// How the network is chosen.
    #[serde(default)]
    pub(crate) search: SearchConfig,
}

/// The `[device]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct DeviceConfig {
    /// One of ONNX Runtime's providers: `cpu`, `cuda-ort:0`, `tensorrt:0`.
    pub(crate) kind: String,
    /// Threads that one inference may use, on a processor.
    pub(crate) threads: u16,
    /// Images a call.
    pub(crate) batch: u16,
    /// The numbers that it computes with, where they are not its usual ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) precision: Option<String>,
}

impl Default for DeviceConfig {
    fn default() -> Self {
        Self { kind: "cpu".to_owned(), threads: 1, batch: 1, precision: None }
    }
}

/// The `[scratch]` table: networks that are trained on their own. What is not said here is as in `[training]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ScratchConfig {
    /// Epochs of the networks that a run ends with.
    pub(crate) epochs: f64,
    /// Epochs of each network that a search trains to learn its accuracy: the proxy task. Parts of one count.
    pub(crate) proxy_epochs: f64,
    /// Peak learning rate of both.
    pub(crate) learning_rate: f64,
}

impl Default for ScratchConfig {
    fn default() -> Self {
        Self { epochs: 180.0, proxy_epochs: 5.0, learning_rate: 0.1 }
    }
}

impl ScratchConfig {
    /// A training in full.
    pub(crate) fn full(&self) -> Scratch {
        Scratch { epochs: self.epochs, learning_rate: self.learning_rate }
    }

    /// The proxy task.
    pub(crate) fn proxy(&self) -> Scratch {
        Scratch { epochs: self.proxy_epochs, ..self.full() }
    }
}

/// The `[search]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SearchConfig {
    /// `mnasnet`: networks that the search trains by the proxy task, and as many again for random search.
    pub(crate) evaluations: usize,
    /// `ofa`: random subnets within the budget that the supernet evaluates, from which the accuracy predictor learns.
    pub(crate) samples: usize,
    /// `ofa`: the best subnets by the predictor that the supernet then evaluates. `mnasnet`: the best networks by the
    /// proxy task that are then trained in full, and as many of random search. The best becomes the model.
    pub(crate) finalists: usize,
    /// `ofa`: population of the evolution.
    pub(crate) population: usize,
    /// `ofa`: generations of the evolution.
    pub(crate) generations: usize,
}

impl Default for SearchConfig {
    fn default() -> Self {
        Self { evaluations: 100, samples: 100, finalists: 30, population: 100, generations: 100 }
    }
}

fn median() -> f64 {
    MEDIAN
}

impl Config {
    /// Reads and checks a configuration; relative paths are taken from its folder, or else from the current one.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| {
            anyhow!("cannot read the configuration `{shown}`: {error}; hint: {COMPLETE}")
        })?;
        let mut config: Self = toml::from_str(&text).map_err(|error| {
            let line = error.span().map_or_else(String::new, |span| {
                format!(", line {}", text[..span.start].matches('\n').count() + 1)
            });
            anyhow!("configuration `{shown}`{line}: {}; hint: {COMPLETE}", error.message())
        })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        if Space::is_file(&config.space) {
            let path = resolve(folder, Path::new(&config.space));
            config.space = path.to_str().map(str::to_owned).with_context(|| {
                format!("space `{}`: expected a name in UTF-8; hint: rename it", path.display())
            })?;
        }
        let data = config.data.path().to_path_buf();
        config.data = config.data.with_path(resolve(folder, &data));
        for also in &mut config.also {
            let found = resolve(folder, &also.table);
            // A run goes on without it, which keeps its own: its name is still the same.
            let gone = || Some(folder.canonicalize().ok()?.join(&found));
            also.table = if found.exists() { found } else { gone().unwrap_or(found) };
        }
        config.check().with_context(|| format!("configuration `{shown}`"))?;
        Ok(config)
    }

    /// Whether a run of this configuration goes on with one of `other`: where and on how many threads they train may
    /// differ, and what else [`Training::fixed`] leaves open.
    pub(crate) fn same_run(&self, other: &Self) -> bool {
        self.fixed() == other.fixed()
    }

    /// What is not open to a run that goes on.
    fn fixed(&self) -> Self {
        Self { training: self.training.fixed(), ..self.clone() }
    }

    /// The first setting, by name, in which a run of this configuration is not one of `other`, and its value in both.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let table = |config: &Self| toml::Value::try_from(config.fixed()).ok();
        difference("", table(self).as_ref(), table(other).as_ref())
    }

    /// The percentile, where it is not the median.
    pub(crate) fn tail(&self) -> Option<f64> {
        (self.percentile > MEDIAN).then_some(self.percentile)
    }

    /// What must hold beside the latency.
    pub(crate) fn side_budgets(&self) -> SideBudgets {
        let Self { max_parameters, max_bytes, also, .. } = self;
        SideBudgets { max_parameters: *max_parameters, max_bytes: *max_bytes, also: also.clone() }
    }

    /// What would be noticed only after hours otherwise.
    fn check_training(&self) -> Result<()> {
        let holdout = self.training.holdout;
        if !(holdout > 0.0 && holdout < 1.0) {
            bail!(
                "[training] expected `holdout` above 0 and below 1, found {holdout}; hint: networks are judged by the images \
                 that are held out"
            );
        }
        // JSON has no other numbers than finite ones.
        let settings = serde_json::to_value(&self.training)?;
        let settings = settings.as_object().into_iter().flatten();
        match settings.into_iter().find(|(_, value)| value.is_null()) {
            Some((key, _)) => bail!(
                "[training] expected a finite number for `{key}`, found NaN or an infinity; hint: left out it has a default"
            ),
            None => Ok(()),
        }
    }

    fn check(&self) -> Result<()> {
        if !PERCENTILES.contains(&self.percentile) {
            bail!(
                "`percentile` is {}, expected 50, 95 or 99; hint: these are measured on the exported model",
                self.percentile
            );
        }
        if self.method == Method::Proxyless && self.side_budgets() != SideBudgets::default() {
            bail!(
                "method `proxyless` learns its network under a latency budget alone; hint: `ofa` and `mnasnet` keep to \
                 `max_parameters`, `max_bytes` and `also`"
            );
        }
        self.device.spec()?;
        self.budget.parse::<Budget>()?;
        self.also.iter().try_for_each(Also::check)?;
        self.check_training()?;
        let ScratchConfig { epochs, proxy_epochs, learning_rate } = self.scratch;
        for (name, value) in
            [("epochs", epochs), ("proxy_epochs", proxy_epochs), ("learning_rate", learning_rate)]
        {
            if !(value > 0.0 && value.is_finite()) {
                bail!("[scratch] expected `{name}` above 0, found {value}");
            }
        }
        let search = &self.search;
        for (name, value, least) in [
            ("evaluations", search.evaluations, 1),
            ("samples", search.samples, 10),
            ("finalists", search.finalists, 1),
            ("population", search.population, 4),
            ("generations", search.generations, 1),
        ] {
            if value < least {
                bail!("[search] expected `{name}` of at least {least}, found {value}");
            }
        }
        Ok(())
    }
}

impl DeviceConfig {
    /// The device.
    pub(crate) fn spec(&self) -> Result<DeviceSpec> {
        let kind: DeviceKind = self.kind.parse().map_err(|reason| {
            anyhow!(
                "[device] unknown kind `{}`: {reason}; hint: `netfit devices` lists those of this machine",
                self.kind
            )
        })?;
        if let DeviceKind::Cuda(gpu) = kind {
            bail!(
                "[device] kind `{kind}`: a run delivers an ONNX file and measures it in ONNX Runtime, expected `cpu`, \
                 `cuda-ort:{gpu}` or `tensorrt:{gpu}`; hint: `netfit profile` and `netfit search` work for libtorch's \
                 devices, and `[training] device` trains on one"
            );
        }
        let batch = self.batch.to_string();
        let threads =
            (kind == DeviceKind::Cpu || self.threads != 1).then(|| self.threads.to_string());
        let parameters =
            [("batch", Some(batch)), ("threads", threads), ("precision", self.precision.clone())];
        let mut spec = DeviceSpec::new(kind);
        for (name, value) in parameters {
            if let Some(value) = value {
                spec = spec.with(name, &value).map_err(|reason| {
                    anyhow!("[device] {reason}; hint: kind `{kind}` does not take it so")
                })?;
            }
        }
        Ok(spec)
    }
}

/// Where two values differ first: the key and both values.
fn difference(key: &str, a: Option<&toml::Value>, b: Option<&toml::Value>) -> Option<String> {
    if let (Some(toml::Value::Table(a)), Some(toml::Value::Table(b))) = (a, b) {
        let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
        let place =
            |name: &str| if key.is_empty() { name.to_owned() } else { format!("{key}.{name}") };
        return keys
            .into_iter()
            .find_map(|name| difference(&place(name), a.get(name), b.get(name)));
    }
    let shown =
        |value: Option<&toml::Value>| value.map_or("not set".to_owned(), ToString::to_string);
    (a != b).then(|| format!("`{key}` is {} and {}", shown(a), shown(b)))
}

/// Beside the configuration if it is there, else as seen from the current folder; absolute where it exists, so that the
/// copy in the run folder means the same from anywhere.
fn resolve(folder: &Path, path: &Path) -> PathBuf {
    let beside = folder.join(path);
    let found = if path.is_relative() && beside.exists() { beside } else { path.to_path_buf() };
    found.canonicalize().unwrap_or(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_run_goes_on_elsewhere_and_not_with_other_settings() {
        let config = Config::load(Path::new("examples/fashion-mnist.toml")).unwrap();
        let with = |training: Training| config.same_run(&Config { training, ..config.clone() });
        let own = || config.training.clone();
        assert!(with(Training { device: "cuda:0".to_owned(), threads: 7, ..own() }));
        assert!(with(Training { deterministic: true, checkpoint_steps: 3, ..own() }));
        assert!(!with(Training { batch: 7, ..own() }));
        assert!(!config.same_run(&Config { seed: 7, ..config.clone() }));
    }

    #[test]
    fn what_differs_is_told_with_both_values() {
        let config = Config::load(Path::new("examples/fashion-mnist.toml")).unwrap();
        assert_eq!(config.difference(&config), None);
        let training = Training { batch: 7, threads: 9, ..config.training.clone() };
        let other = Config { training, ..config.clone() };
        assert_eq!(config.difference(&other).unwrap(), "`training.batch` is 128 and 7");
        let other = Config { budget: "3ms".to_owned(), ..config.clone() };
        let told = config.difference(&other).unwrap();
        assert_eq!(told, "`budget` is \"60% of full\" and \"3ms\"");
        let other = Config { percentile: 95.0, ..config.clone() };
        assert!(config.difference(&other).unwrap().starts_with("`percentile` is 50"), "{told}");
    }

    #[test]
    fn a_training_that_could_not_end_is_refused_at_once() {
        let text = std::fs::read_to_string("examples/fashion-mnist.toml").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("netfit.toml");
        for (key, value) in [("holdout", "0.0"), ("holdout", "nan"), ("full_learning_rate", "inf")]
        {
            let lines = text.lines().filter(|line| !line.starts_with(key)).collect::<Vec<_>>();
            let setting = format!("[training]\n{key} = {value}");
            std::fs::write(&path, lines.join("\n").replace("[training]", &setting)).unwrap();
            let message = format!("{:#}", Config::load(&path).unwrap_err());
            assert!(message.contains("[training]") && message.contains(key), "{message}");
        }
    }
}
