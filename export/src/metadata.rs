//! What a model file says about itself.

use std::{
    collections::{BTreeMap, HashSet},
    fs::File,
    io::{BufReader, ErrorKind, Read, Seek, SeekFrom},
    path::Path,
};

use netfit_spaces::Network;
use prost::Message as _;

use crate::{Error, Result, proto::StringStringEntryProto};

/// Longest metadata entry in bytes.
const MAX_ENTRY: u64 = 16 << 20;
/// Field `metadata_props` of `ModelProto`.
const METADATA_FIELD: u64 = 14;

/// What a model's user must know beside the network; it goes into the file's metadata.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInfo {
    /// Names of the classes, in the order of the logits.
    pub labels: Vec<String>,
    /// Per channel, taken from pixel / 255.
    pub mean: Vec<f32>,
    /// Per channel, divides what is left.
    pub std: Vec<f32>,
    /// Further keys and values.
    pub extra: Vec<(String, String)>,
}

impl ModelInfo {
    /// Classes numbered from 0, pixels unchanged but for the division by 255.
    pub fn unlabelled(network: &Network) -> Self {
        let channels = network.input().channels;
        Self {
            labels: (0..network.classes()).map(|class| class.to_string()).collect(),
            mean: vec![0.0; channels],
            std: vec![1.0; channels],
            extra: Vec::new(),
        }
    }

    /// Keys and values: `preprocessing` is `{"mean": [...], "std": [...]}`, `labels` a JSON list, `network` its
    /// blocks' lines, then the extra ones.
    pub(crate) fn entries(&self, network: &Network) -> Result<Vec<StringStringEntryProto>> {
        self.check(network)?;
        // Not through `json!`, which would print the numbers with the digits of a double.
        let json = |error: serde_json::Error| Error::Info(error.to_string());
        let preprocessing = BTreeMap::from([("mean", &self.mean), ("std", &self.std)]);
        let entries = [
            ("preprocessing".to_owned(), serde_json::to_string(&preprocessing).map_err(json)?),
            ("labels".to_owned(), serde_json::to_string(&self.labels).map_err(json)?),
            ("network".to_owned(), network.text()),
        ];
        let entries: Vec<_> = entries
            .into_iter()
            .chain(self.extra.iter().cloned())
            .map(|(key, value)| StringStringEntryProto { key, value })
            .collect();
        let mut keys = HashSet::new();
        match entries.iter().find(|entry| !keys.insert(entry.key.as_str())) {
            Some(twice) => Err(Error::Info(format!(
                "expected each metadata key once, found `{}` twice",
                twice.key
            ))),
            None => Ok(entries),
        }
    }

    fn check(&self, network: &Network) -> Result<()> {
        let (classes, channels) = (network.classes(), network.input().channels);
        if self.labels.len() != classes {
            return Err(Error::Info(format!(
                "expected {classes} labels, one for each class, found {}",
                self.labels.len()
            )));
        }
        for (name, values) in [("mean", &self.mean), ("std", &self.std)] {
            if values.len() != channels {
                return Err(Error::Info(format!(
                    "expected {channels} values of `{name}`, one for each channel, found {}",
                    values.len()
                )));
            }
            let wrong = |value: &&f32| !value.is_finite() || (name == "std" && **value <= 0.0);
            if let Some(value) = values.iter().find(wrong) {
                let expected = if name == "std" { "positive numbers" } else { "finite numbers" };
                return Err(Error::Info(format!("expected {expected} as `{name}`, found {value}")));
            }
        }
        Ok(())
    }
}

/// The metadata of an ONNX file by key. The graph and its weights are skipped, not read.
///
/// # Errors
/// A file that cannot be read or is not an ONNX model.
pub fn read_metadata(path: &Path) -> Result<BTreeMap<String, String>> {
    let fail = |source: std::io::Error| match source.kind() {
        ErrorKind::InvalidData | ErrorKind::UnexpectedEof => {
            Error::Onnx { reason: format!("`{}`: {source}", path.display()) }
        }
        _ => Error::Read { path: path.to_owned(), source },
    };
    let file = File::open(path).map_err(fail)?;
    let length = file.metadata().map_err(fail)?.len();
    scan(&mut BufReader::new(file), length).map_err(fail)
}

/// Walks over the fields of a `ModelProto` of so many bytes.
fn scan(file: &mut (impl Read + Seek), length: u64) -> std::io::Result<BTreeMap<String, String>> {
    let mut entries = BTreeMap::new();
    let (mut at, mut ir_version) = (0, None);
    while at < length {
        let (key, size) = varint(file)?;
        at += size;
        match (key >> 3, key & 7) {
            (0, _) => return Err(invalid("found a field of number 0".into())),
            (field, 0) => {
                let (value, size) = varint(file)?;
                at += size;
                if field == 1 {
                    ir_version = Some(value);
                }
            }
            (field, 2) => {
                let (size, prefix) = varint(file)?;
                at += prefix;
                if size > length - at.min(length) {
                    return Err(invalid(format!(
                        "field {field} says {size} bytes, found {}",
                        length - at.min(length)
                    )));
                }
                if field == METADATA_FIELD {
                    let entry = entry(file, size)?;
                    entries.insert(entry.key, entry.value);
                } else {
                    file.seek(SeekFrom::Current(size as i64))?;
                }
                at += size;
            }
            (field, wire) => {
                return Err(invalid(format!("field {field} has the wire type {wire}")));
            }
        }
    }
    if ir_version.is_none() {
        return Err(invalid("expected a field `ir_version`, found none".into()));
    }
    Ok(entries)
}

fn entry(file: &mut impl Read, size: u64) -> std::io::Result<StringStringEntryProto> {
    if size > MAX_ENTRY {
        return Err(invalid(format!(
            "expected metadata entries of at most {MAX_ENTRY} bytes, found {size}"
        )));
    }
    let mut bytes = vec![0; size as usize];
    file.read_exact(&mut bytes)?;
    StringStringEntryProto::decode(&bytes[..]).map_err(|error| invalid(error.to_string()))
}

/// A protobuf varint, and how many bytes it took.
fn varint(file: &mut impl Read) -> std::io::Result<(u64, u64)> {
    let mut value = 0;
    for index in 0..10 {
        let mut byte = [0];
        file.read_exact(&mut byte)?;
        value |= u64::from(byte[0] & 0x7f) << (7 * index);
        if byte[0] < 0x80 {
            return Ok((value, index + 1));
        }
    }
    Err(invalid("found a number of more than 10 bytes".into()))
}

fn invalid(reason: String) -> std::io::Error {
    std::io::Error::new(ErrorKind::InvalidData, reason)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use netfit_spaces::Random;

    use super::*;
    use crate::{Weights, save_model, to_onnx};

    fn network() -> Network {
        "conv k1 s1 relu 2x3x3 -> 4x3x3\npool 4x3x3 -> 4x1x1\nlinear 4x1x1 -> 2x1x1"
            .parse()
            .unwrap()
    }

    fn info() -> ModelInfo {
        ModelInfo {
            labels: vec!["T-shirt \"top\"".into(), "sneaker, größer".into()],
            mean: vec![0.1, 0.2860],
            std: vec![0.25, 0.3530],
            extra: vec![("genotype".into(), "0123".into())],
        }
    }

    fn model(info: &ModelInfo) -> Result<Vec<u8>> {
        let network = network();
        let weights = Weights::random(&network, &mut Random::new(0, "weights"));
        to_onnx(&network, &weights, info)
    }

    #[test]
    fn metadata_comes_back_from_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        save_model(&path, &model(&info()).unwrap()).unwrap();
        let found = read_metadata(&path).unwrap();
        assert_eq!(found["preprocessing"], r#"{"mean":[0.1,0.286],"std":[0.25,0.353]}"#);
        let labels: Vec<String> = serde_json::from_str(&found["labels"]).unwrap();
        assert_eq!(labels, info().labels);
        assert_eq!(found["network"].parse::<Network>().unwrap(), network());
        assert_eq!(found["genotype"], "0123");
        assert_eq!(found.len(), 4);
    }

    #[test]
    fn what_is_no_whole_model_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.onnx");
        let bytes = model(&info()).unwrap();
        for damaged in [
            &bytes[..bytes.len() - 1],
            &bytes[..bytes.len() / 2],
            b"",
            b"not a model at all",
            &[0xff; 40],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        ] {
            std::fs::write(&path, damaged).unwrap();
            let text = read_metadata(&path).unwrap_err().to_string();
            assert!(text.contains("not an ONNX model") && text.contains("model.onnx"), "{text}");
        }
        let text = read_metadata(&folder.path().join("none")).unwrap_err().to_string();
        assert!(text.contains("cannot read"), "{text}");
    }

    #[test]
    fn facts_that_do_not_fit_the_network_are_refused() {
        let with = |change: &dyn Fn(&mut ModelInfo)| {
            let mut info = info();
            change(&mut info);
            model(&info).unwrap_err().to_string()
        };
        for (text, expected) in [
            (with(&|info| drop(info.labels.pop())), "expected 2 labels"),
            (with(&|info| info.mean.push(0.0)), "expected 2 values of `mean`"),
            (with(&|info| info.std[1] = 0.0), "positive numbers as `std`, found 0"),
            (with(&|info| info.mean[0] = f32::NAN), "finite numbers as `mean`, found NaN"),
            (with(&|info| info.extra.push(("labels".into(), "x".into()))), "`labels` twice"),
        ] {
            assert!(text.contains(expected), "{text}");
        }
    }
}
