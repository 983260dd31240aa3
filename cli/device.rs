//! Devices as text: `cpu`, `cpu:threads=2,batch=8,precision=int8`, `cuda:0`, `cuda:0,batch=8,precision=fp16`,
//! `tensorrt:0,precision=fp16`.

mod kind;

use std::{fmt, ops::RangeInclusive, str::FromStr};

use anyhow::{Context as _, Error, Result, anyhow, bail};
use netfit_latency_tables::Fingerprint;
use netfit_profiler::{CudaOptions, OrtOptions, Precision, ProfileOptions, Provider};

pub(crate) use self::kind::{DeviceKind, GPUS};

const THREADS: RangeInclusive<u16> = 1..=1024;
const BATCH: RangeInclusive<u16> = 1..=4096;
const EXAMPLE: &str = "cpu:threads=2,batch=8 or cuda:0,batch=8,precision=fp16";

/// What measures a device, and what it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Measures {
    /// ONNX Runtime.
    Ort(OrtOptions),
    /// libtorch on a GPU.
    Torch(CudaOptions),
}

impl Measures {
    /// The provider in a table's fingerprint.
    fn provider(self) -> String {
        match self {
            Self::Ort(options) => options.provider.name().to_owned(),
            Self::Torch(options) => options.provider(),
        }
    }
}

/// A device and its parameters; those that are not given are 1, the kind's first precision and warm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeviceSpec {
    pub(crate) kind: DeviceKind,
    /// Threads that one inference may use, on a processor.
    threads: Option<u16>,
    /// Images a call.
    batch: Option<u16>,
    /// The numbers that it computes with.
    precision: Option<Precision>,
    /// Whether a GPU's cache is flushed before each call.
    cold: Option<bool>,
}

impl DeviceSpec {
    /// A device with no parameters.
    pub(crate) fn new(kind: DeviceKind) -> Self {
        Self { kind, ..Self::default() }
    }

    /// The same with one more parameter.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Result<Self> {
        self.set(name, value)?;
        Ok(self)
    }

    pub(crate) fn threads(self) -> u16 {
        self.threads.unwrap_or(1)
    }

    pub(crate) fn batch(self) -> u16 {
        self.batch.unwrap_or(1)
    }

    pub(crate) fn precision(self) -> Precision {
        let usual = self.kind.precisions().first().copied();
        self.precision.or(usual).unwrap_or_default()
    }

    /// What measures it.
    pub(crate) fn measures(self) -> Measures {
        let (threads, batch) = (usize::from(self.threads()), usize::from(self.batch()));
        let precision = self.precision();
        let ort = |provider| Measures::Ort(OrtOptions { provider, threads, batch });
        match self.kind {
            DeviceKind::Cpu => ort(Provider::Cpu { precision }),
            DeviceKind::CudaOrt(gpu) => ort(Provider::Cuda { gpu, precision }),
            DeviceKind::TensorRt(gpu) => ort(Provider::TensorRt { gpu, precision }),
            DeviceKind::Cuda(gpu) => {
                let flush = self.cold.unwrap_or_default();
                Measures::Torch(CudaOptions { gpu, batch, precision, flush })
            }
        }
    }

    /// How its tables are made.
    pub(crate) fn profile_options(self) -> ProfileOptions {
        if self.kind == DeviceKind::Cpu {
            ProfileOptions::default()
        } else {
            ProfileOptions::of_gpu()
        }
    }

    /// The device that a table's fingerprint is of, on this machine; of several GPUs the one with this number.
    pub(crate) fn of(fingerprint: &Fingerprint, gpu: usize) -> Result<Self> {
        let batch = Some(u16::try_from(fingerprint.batch)?);
        let warm = GPUS.map(|(_, kind)| Self::new(kind(gpu)));
        let cold = Self { cold: Some(true), ..Self::new(DeviceKind::Cuda(gpu)) };
        let measured = |spec: &Self| spec.measures().provider() == fingerprint.provider;
        let gpu = warm.into_iter().chain([cold]).find(measured);
        let threads = u16::try_from(fingerprint.threads)?;
        let spec = gpu.unwrap_or(Self { threads: Some(threads), ..Self::default() });
        let named = |known: &&Precision| known.long_name() == fingerprint.precision;
        let precision = spec.kind.precisions().iter().find(named).copied();
        Ok(Self { batch, precision, ..spec })
    }

    /// Takes from `--threads` and `--batch` what it does not say itself; a contradiction is an error.
    pub(crate) fn complete(self, threads: Option<u16>, batch: Option<u16>) -> Result<Self> {
        if self.kind != DeviceKind::Cpu && threads.is_some() {
            bail!("--device `{self}` has no --threads; hint: leave them away");
        }
        let one = |name: &str, own: Option<u16>, option: Option<u16>| match (own, option) {
            (Some(own), Some(option)) if own != option => Err(anyhow!(
                "--device `{self}` contradicts --{name} {option}; hint: leave one of them away"
            )),
            _ => Ok(own.or(option)),
        };
        let threads = one("threads", self.threads, threads)?;
        Ok(Self { threads, batch: one("batch", self.batch, batch)?, ..self })
    }

    /// The same for a file, which says itself what a processor computes with; a contradiction is an error.
    pub(crate) fn computing(self, precision: Precision) -> Result<Self> {
        if self.kind != DeviceKind::Cpu {
            return Ok(self);
        }
        if self.precision.is_some_and(|asked| asked != precision) {
            bail!(
                "--device `{self}`: the file computes in {}; hint: leave `precision` away",
                precision.name()
            );
        }
        Ok(Self { precision: Some(precision), ..self })
    }

    /// As a part of a file's name: `cpu-threads2-batch8`.
    pub(crate) fn name(self) -> String {
        self.to_string().replace([':', ','], "-").replace('=', "")
    }

    /// Whether both are one device, whatever they spell out.
    pub(crate) fn same(self, other: Self) -> bool {
        self.measures() == other.measures()
    }

    /// Takes `name=value`.
    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let precisions = self.kind.precisions();
        let number = |range: RangeInclusive<u16>| {
            let found = value.parse().ok().filter(|number| range.contains(number));
            found.with_context(|| {
                format!(
                    "expected {name} from {} to {}, found `{value}`",
                    range.start(),
                    range.end()
                )
            })
        };
        let again = match name {
            "threads" if self.kind == DeviceKind::Cpu => {
                self.threads.replace(number(THREADS)?).is_some()
            }
            "batch" => self.batch.replace(number(BATCH)?).is_some(),
            "precision" => {
                let known = precisions.iter().find(|known| known.name() == value);
                let names: Vec<&str> = precisions.iter().map(|known| known.name()).collect();
                let found = known.with_context(|| {
                    format!("expected {name} of {}, found `{value}`", names.join(", "))
                })?;
                self.precision.replace(*found).is_some()
            }
            "cache" if matches!(self.kind, DeviceKind::Cuda(_)) => {
                let cold = match value {
                    "warm" => false,
                    "cold" => true,
                    _ => bail!("expected {name} of warm, cold, found `{value}`"),
                };
                self.cold.replace(cold).is_some()
            }
            _ => bail!("unknown parameter `{name}`"),
        };
        if again {
            bail!("`{name}` is given twice");
        }
        Ok(())
    }
}

impl FromStr for DeviceSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text).map_err(|reason| anyhow!("--device `{text}`: {reason}; hint: {EXAMPLE}"))
    }
}

fn parse(text: &str) -> Result<DeviceSpec> {
    // A GPU's number follows a colon, so its parameters follow a comma.
    let name = text.split(':').next().unwrap_or_default();
    let gpu = GPUS.iter().any(|(known, _)| *known == name);
    let end = text.find(if gpu { ',' } else { ':' });
    let (kind, parameters) = end.map_or((text, None), |at| (&text[..at], Some(&text[at + 1..])));
    let mut spec = DeviceSpec { kind: kind.parse()?, ..DeviceSpec::default() };
    for parameter in parameters.into_iter().flat_map(|all| all.split(',')) {
        match parameter.split_once('=') {
            Some((name, value)) => spec.set(name, value)?,
            None => bail!("expected NAME=VALUE, found `{parameter}`"),
        }
    }
    Ok(spec)
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        let parameters = [
            ("threads", self.threads.map(|number| number.to_string())),
            ("batch", self.batch.map(|number| number.to_string())),
            ("precision", self.precision.map(|precision| precision.name().to_owned())),
            ("cache", self.cold.map(|cold| if cold { "cold" } else { "warm" }.to_owned())),
        ];
        let mut separator = if self.kind == DeviceKind::Cpu { ':' } else { ',' };
        for (name, value) in parameters {
            if let Some(value) = value {
                write!(f, "{separator}{name}={value}")?;
                separator = ',';
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: &str = "expected `cpu`, `cuda:NUMBER`, `cuda-ort:NUMBER` or `tensorrt:NUMBER`";

    fn spec(text: &str) -> DeviceSpec {
        text.parse().unwrap()
    }

    #[test]
    fn devices_print_and_parse_back() {
        for (text, name, threads, batch) in [
            ("cpu", "cpu", 1, 1),
            ("cpu:threads=2", "cpu-threads2", 2, 1),
            ("cpu:batch=4096", "cpu-batch4096", 1, 4096),
            ("cpu:threads=1024,batch=8", "cpu-threads1024-batch8", 1024, 8),
        ] {
            let spec = spec(text);
            assert_eq!((spec.to_string(), spec.name()), (text.to_owned(), name.to_owned()));
            assert_eq!((spec.threads(), spec.batch()), (threads, batch));
        }
        assert_eq!(spec("cpu:batch=8,threads=2").to_string(), "cpu:threads=2,batch=8");
        for (text, name, options) in [
            ("cuda:0", "cuda-0", (0, 1, Precision::Fp32, false)),
            ("cuda:3,batch=64", "cuda-3-batch64", (3, 64, Precision::Fp32, false)),
            (
                "cuda:1,batch=8,precision=bf16,cache=cold",
                "cuda-1-batch8-precisionbf16-cachecold",
                (1, 8, Precision::Bf16, true),
            ),
        ] {
            let spec = spec(text);
            assert_eq!((spec.to_string(), spec.name()), (text.to_owned(), name.to_owned()));
            let (gpu, batch, precision, flush) = options;
            let options = CudaOptions { gpu, batch, precision, flush };
            assert_eq!(spec.measures(), Measures::Torch(options));
        }
    }

    #[test]
    fn providers_of_onnx_runtime_are_devices_of_their_own() {
        let (gpu, precision) = (1, Precision::Tf32);
        for (text, provider) in [
            ("cpu:threads=2", Provider::default()),
            ("cpu:precision=int8", Provider::Cpu { precision: Precision::Int8 }),
            ("cuda-ort:1,precision=tf32", Provider::Cuda { gpu, precision }),
            ("tensorrt:1", Provider::TensorRt { gpu, precision }),
        ] {
            let Measures::Ort(options) = spec(text).measures() else { panic!("{text}") };
            assert_eq!(options.provider, provider, "{text}");
        }
        assert!(!spec("cuda:0").same(spec("cuda-ort:0")));
        assert!(spec("tensorrt:0").same(spec("tensorrt:0,precision=tf32")));
    }

    /// A table's device is told from its fingerprint.
    #[test]
    fn fingerprints_name_their_device() {
        for text in [
            "cpu:threads=2,batch=8",
            "cpu:threads=2,batch=8,precision=int8",
            "cuda:3,batch=8,precision=bf16,cache=cold",
            "cuda-ort:3,batch=4,precision=tf32",
            "tensorrt:3,batch=1,precision=fp16",
        ] {
            let spec = spec(text);
            let fingerprint = Fingerprint {
                processor: "any".into(),
                cores: 1,
                runtime: "any".into(),
                runtime_version: "1".into(),
                provider: spec.measures().provider(),
                threads: usize::from(spec.threads()),
                precision: spec.precision().long_name().into(),
                batch: usize::from(spec.batch()),
            };
            assert!(DeviceSpec::of(&fingerprint, 3).unwrap().same(spec), "{text}");
        }
    }

    #[test]
    fn what_is_no_device_is_named_with_a_remedy() {
        for (text, reason) in [
            ("cpu:cores=2", "unknown parameter `cores`"),
            ("cuda", KINDS),
            ("cuda:", KINDS),
            ("cuda-ort:x", KINDS),
            ("tensorrt:-1", KINDS),
            ("", KINDS),
            ("cuda-ort:0,precision=fp16", "expected precision of fp32, tf32, found `fp16`"),
            ("tensorrt:0,precision=fp32", "expected precision of tf32, fp16, bf16, found `fp32`"),
            ("tensorrt:0,cache=cold", "unknown parameter `cache`"),
            ("cpu:", "expected NAME=VALUE, found ``"),
            ("cpu:2", "expected NAME=VALUE, found `2`"),
            ("cpu:threads=2,", "expected NAME=VALUE, found ``"),
            ("cpu:precision=fp16", "expected precision of fp32, int8, found `fp16`"),
            ("cuda:0,threads=2", "unknown parameter `threads`"),
            ("cuda:0,precision=int8", "expected precision of fp32, tf32, fp16, bf16, found `int8`"),
            ("cuda:0,cache=hot", "expected cache of warm, cold, found `hot`"),
            ("cpu:threads=0", "expected threads from 1 to 1024, found `0`"),
            ("cpu:threads=1025", "expected threads from 1 to 1024, found `1025`"),
            ("cpu:batch=4097", "expected batch from 1 to 4096, found `4097`"),
            ("cpu:batch=-1", "expected batch from 1 to 4096, found `-1`"),
            ("cpu:batch=99999999999", "expected batch from 1 to 4096, found `99999999999`"),
            ("cpu:batch=2,batch=2", "`batch` is given twice"),
        ] {
            let message = text.parse::<DeviceSpec>().unwrap_err().to_string();
            let expected = format!("--device `{text}`: {reason}; hint: {EXAMPLE}");
            assert_eq!(message, expected);
        }
    }

    #[test]
    fn options_fill_in_and_may_not_contradict() {
        assert_eq!(spec("cpu").complete(Some(2), None).unwrap(), spec("cpu:threads=2"));
        let both = spec("cpu:threads=2").complete(Some(2), Some(8)).unwrap();
        assert_eq!(both, spec("cpu:threads=2,batch=8"));
        let message = spec("cpu:batch=4").complete(None, Some(8)).unwrap_err().to_string();
        assert!(message.contains("--device `cpu:batch=4` contradicts --batch 8"), "{message}");
        let message = spec("cuda:0").complete(Some(2), None).unwrap_err().to_string();
        assert!(message.contains("has no --threads"), "{message}");
        assert!(spec("cuda:0").same(spec("cuda:0,cache=warm,precision=fp32")));
        assert!(spec("cpu").same(spec("cpu:batch=1")) && !spec("cpu").same(spec("cpu:batch=2")));
    }
}
