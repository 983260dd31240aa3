//! Devices as text: `cpu`, `cpu:threads=2`, `cpu:threads=2,batch=8`.

use std::{fmt, ops::RangeInclusive, str::FromStr};

use anyhow::{Error, Result, anyhow, bail};

const THREADS: RangeInclusive<u16> = 1..=1024;
const BATCH: RangeInclusive<u16> = 1..=4096;
const EXAMPLE: &str = "cpu:threads=2,batch=8";

/// The execution provider that is measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum DeviceKind {
    /// ONNX Runtime's CPU provider.
    #[default]
    Cpu,
}

impl FromStr for DeviceKind {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "cpu" => Ok(Self::Cpu),
            _ => bail!("this build profiles `cpu` only"),
        }
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
        }
    }
}

/// A device and its parameters; those that are not given are 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeviceSpec {
    pub(crate) kind: DeviceKind,
    /// Threads that one inference may use.
    threads: Option<u16>,
    /// Images a call.
    batch: Option<u16>,
}

impl DeviceSpec {
    /// A device with both parameters.
    pub(crate) fn new(kind: DeviceKind, threads: u16, batch: u16) -> Self {
        Self { kind, threads: Some(threads), batch: Some(batch) }
    }

    pub(crate) fn threads(self) -> u16 {
        self.threads.unwrap_or(1)
    }

    pub(crate) fn batch(self) -> u16 {
        self.batch.unwrap_or(1)
    }

    /// Takes from `--threads` and `--batch` what it does not say itself; a contradiction is an error.
    pub(crate) fn complete(self, threads: Option<u16>, batch: Option<u16>) -> Result<Self> {
        let one = |name: &str, own: Option<u16>, option: Option<u16>| match (own, option) {
            (Some(own), Some(option)) if own != option => Err(anyhow!(
                "--device `{self}` contradicts --{name} {option}; hint: leave one of them away"
            )),
            _ => Ok(own.or(option)),
        };
        let threads = one("threads", self.threads, threads)?;
        Ok(Self { kind: self.kind, threads, batch: one("batch", self.batch, batch)? })
    }

    /// As a part of a file's name: `cpu-threads2-batch8`.
    pub(crate) fn name(self) -> String {
        self.to_string().replace([':', ','], "-").replace('=', "")
    }

    /// Whether both are one device, whatever they spell out.
    pub(crate) fn same(self, other: Self) -> bool {
        let all = |spec: Self| (spec.kind, spec.threads(), spec.batch());
        all(self) == all(other)
    }
}

impl FromStr for DeviceSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        parse(text).map_err(|reason| anyhow!("--device `{text}`: {reason}; hint: {EXAMPLE}"))
    }
}

fn parse(text: &str) -> Result<DeviceSpec> {
    let (kind, parameters) =
        text.split_once(':').map_or((text, None), |(kind, rest)| (kind, Some(rest)));
    let mut spec = DeviceSpec { kind: kind.parse()?, ..DeviceSpec::default() };
    for parameter in parameters.into_iter().flat_map(|all| all.split(',')) {
        let Some((name, value)) = parameter.split_once('=') else {
            bail!("expected NAME=NUMBER, found `{parameter}`");
        };
        let (place, range) = match name {
            "threads" => (&mut spec.threads, THREADS),
            "batch" => (&mut spec.batch, BATCH),
            _ => bail!("unknown parameter `{name}`"),
        };
        let Some(number) = value.parse().ok().filter(|number| range.contains(number)) else {
            bail!("expected {name} from {} to {}, found `{value}`", range.start(), range.end());
        };
        if place.replace(number).is_some() {
            bail!("`{name}` is given twice");
        }
    }
    Ok(spec)
}

impl fmt::Display for DeviceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.kind)?;
        let parameters = [("threads", self.threads), ("batch", self.batch)];
        let given = parameters.iter().filter_map(|(name, value)| Some((name, (*value)?)));
        for (index, (name, value)) in given.enumerate() {
            write!(f, "{}{name}={value}", if index == 0 { ':' } else { ',' })?;
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
    }

    #[test]
    fn what_is_no_device_is_named_with_a_remedy() {
        for (text, reason) in [
            ("cpu:cores=2", "unknown parameter `cores`"),
            ("cuda:0", "this build profiles `cpu` only"),
            ("", "this build profiles `cpu` only"),
            ("cpu:", "expected NAME=NUMBER, found ``"),
            ("cpu:2", "expected NAME=NUMBER, found `2`"),
            ("cpu:threads=2,", "expected NAME=NUMBER, found ``"),
            ("cpu:threads=0", "expected threads from 1 to 1024, found `0`"),
            ("cpu:threads=1025", "expected threads from 1 to 1024, found `1025`"),
            ("cpu:batch=4097", "expected batch from 1 to 4096, found `4097`"),
            ("cpu:batch=-1", "expected batch from 1 to 4096, found `-1`"),
            ("cpu:batch=99999999999", "expected batch from 1 to 4096, found `99999999999`"),
            ("cpu:batch=2,batch=2", "`batch` is given twice"),
        ] {
            let message = text.parse::<DeviceSpec>().unwrap_err().to_string();
            let expected = format!("--device `{text}`: {reason}; hint: cpu:threads=2,batch=8");
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
        assert!(spec("cpu").same(spec("cpu:batch=1")) && !spec("cpu").same(spec("cpu:batch=2")));
    }
}
