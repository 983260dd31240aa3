//! Devices as text: `cpu`, `cpu:threads=2,batch=8`, `cuda:0`, `cuda:0,batch=8,precision=fp16`.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use anyhow::{Context as _, Error, Result, anyhow, bail};
use netfit_latency_tables::Fingerprint;
use netfit_profiler::{CUDA, CudaOptions, Precision};

const THREADS: RangeInclusive<u16> = 1..=1024;
const BATCH: RangeInclusive<u16> = 1..=4096;
const EXAMPLE: &str = "cpu:threads=2,batch=8 or cuda:0,batch=8,precision=fp16";

/// What is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum DeviceKind {
    /// ONNX Runtime's CPU provider.
    #[default]
    Cpu,
    /// libtorch on the GPU of this number.
    Cuda(usize),
}

impl FromStr for DeviceKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "cpu" => Ok(Self::Cpu),
            _ => match text.strip_prefix("cuda:").map(str::parse) {
                Some(Ok(gpu)) => Ok(Self::Cuda(gpu)),
                _ => bail!("expected `cpu` or `cuda:NUMBER`"),
            },
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(gpu) => write!(f, "cuda:{gpu}"),
        }
    }
}

/// A device and its parameters; those that are not given are 1, fp32 and warm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeviceSpec {
    pub(crate) kind: DeviceKind,
    /// Threads that one inference may use, on a processor.
    threads: Option<u16>,
    /// Images a call.
    batch: Option<u16>,
    /// The numbers that a GPU computes with.
    precision: Option<Precision>,
    /// Whether a GPU's cache is flushed before each call.
    cold: Option<bool>,
}

impl DeviceSpec {
    /// A device with no parameters.
    pub(crate) fn new(kind: DeviceKind) -> Self {
        Self { kind, ..Self::default() }
    }

    /// A processor with both parameters.
    pub(crate) fn cpu(threads: u16, batch: u16) -> Self {
        Self { threads: Some(threads), batch: Some(batch), ..Self::default() }
    }

    pub(crate) fn threads(self) -> u16 {
        self.threads.unwrap_or(1)
    }

    pub(crate) fn batch(self) -> u16 {
        self.batch.unwrap_or(1)
    }

    /// What the GPU `gpu` is asked to do.
    pub(crate) fn cuda(self, gpu: usize) -> CudaOptions {
        CudaOptions {
            gpu,
            batch: usize::from(self.batch()),
            precision: self.precision.unwrap_or_default(),
            flush: self.cold.unwrap_or_default(),
        }
    }

    /// The device that a table's fingerprint is of, on this machine; of several GPUs, the first that CUDA shows.
    pub(crate) fn of(fingerprint: &Fingerprint) -> Result<Self> {
        let batch = Some(u16::try_from(fingerprint.batch)?);
        let Some(cache) = fingerprint.provider.strip_prefix(CUDA) else {
            let threads = Some(u16::try_from(fingerprint.threads)?);
            return Ok(Self { threads, batch, ..Self::default() });
        };
        let precision =
            Precision::ALL.into_iter().find(|known| known.long_name() == fingerprint.precision);
        Ok(Self {
            kind: DeviceKind::Cuda(0),
            batch,
            precision,
            cold: Some(!cache.is_empty()),
            ..Self::default()
        })
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

    /// As a part of a file's name: `cpu-threads2-batch8`.
    pub(crate) fn name(self) -> String {
        self.to_string().replace([':', ','], "-").replace('=', "")
    }

    /// Whether both are one device, whatever they spell out.
    pub(crate) fn same(self, other: Self) -> bool {
        let all = |spec: Self| (spec.kind, spec.threads(), spec.cuda(0));
        all(self) == all(other)
    }

    /// Takes `name=value`.
    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let gpu = self.kind != DeviceKind::Cpu;
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
            "threads" if !gpu => self.threads.replace(number(THREADS)?).is_some(),
            "batch" => self.batch.replace(number(BATCH)?).is_some(),
            "precision" if gpu => {
                let known = Precision::ALL.into_iter().find(|known| known.name() == value);
                let names = Precision::ALL.map(Precision::name).join(", ");
                let found = known
                    .with_context(|| format!("expected {name} of {names}, found `{value}`"))?;
                self.precision.replace(found).is_some()
            }
            "cache" if gpu => {
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
    let gpu = text.strip_prefix("cuda:");
    let end = match gpu {
        Some(rest) => rest.find(',').map(|at| text.len() - rest.len() + at),
        None => text.find(':'),
    };
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
            let DeviceKind::Cuda(gpu) = spec.kind else { panic!("{text}") };
            let (gpu, batch, precision, flush) = (gpu, options.1, options.2, options.3);
            assert_eq!(gpu, options.0);
            assert_eq!(spec.cuda(gpu), CudaOptions { gpu, batch, precision, flush });
        }
    }

    #[test]
    fn what_is_no_device_is_named_with_a_remedy() {
        for (text, reason) in [
            ("cpu:cores=2", "unknown parameter `cores`"),
            ("cuda", "expected `cpu` or `cuda:NUMBER`"),
            ("cuda:", "expected `cpu` or `cuda:NUMBER`"),
            ("cuda:x", "expected `cpu` or `cuda:NUMBER`"),
            ("", "expected `cpu` or `cuda:NUMBER`"),
            ("cpu:", "expected NAME=VALUE, found ``"),
            ("cpu:2", "expected NAME=VALUE, found `2`"),
            ("cpu:threads=2,", "expected NAME=VALUE, found ``"),
            ("cpu:precision=fp16", "unknown parameter `precision`"),
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
