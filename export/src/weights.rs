//! Weights: named tensors, and their file.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, HashSet},
    fs::File,
    io::{Read as _, Write as _},
    path::Path,
};

use atomic_write_file::AtomicWriteFile;
use netfit_spaces::Network;
use safetensors::{Dtype, SafeTensors, View};

use crate::{Error, Result};

/// Longest header of a weights file in bytes; a network of 10,000 tensors takes about 1 MB.
const MAX_HEADER: u64 = 16 << 20;
/// Metadata key of a weights file, and the version of its format.
const FORMAT: (&str, &str) = ("netfit-weights", "1");

/// Numbers with a shape: contiguous, the last dimension fastest (NCHW).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tensor {
    /// Sides, outermost first.
    pub shape: Vec<usize>,
    /// As many numbers as the product of the sides.
    pub data: Vec<f32>,
}

/// A network's weights by name; the names and shapes are those of [`Network::weights`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Weights {
    tensors: BTreeMap<String, Tensor>,
}

impl Weights {
    /// No weights.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tensor, or replaces the one of that name.
    pub fn insert(&mut self, name: impl Into<String>, tensor: Tensor) {
        self.tensors.insert(name.into(), tensor);
    }

    /// The tensor of that name.
    ///
    /// # Errors
    /// There is none.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        self.tensors
            .get(name)
            .ok_or_else(|| Error::Missing { name: name.to_owned(), count: self.tensors.len() })
    }

    /// Names and tensors, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Whether all numbers are.
    pub fn finite(&self) -> bool {
        self.tensors.values().flat_map(|tensor| &tensor.data).all(|number| number.is_finite())
    }

    /// Whether these are the network's weights: each of [`Network::weights`] with its shape, and nothing more.
    ///
    /// # Errors
    /// A tensor that is missing, of another shape, not whole, or not the network's.
    pub fn check(&self, network: &Network) -> Result<()> {
        let specs = network.weights();
        for spec in &specs {
            let tensor = self.get(&spec.name)?;
            if tensor.shape != spec.shape {
                return Err(Error::Shape {
                    name: spec.name.clone(),
                    expected: spec.shape.clone(),
                    found: tensor.shape.clone(),
                });
            }
            tensor.check(&spec.name)?;
        }
        let known: HashSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        match self.tensors.keys().find(|name| !known.contains(name.as_str())) {
            Some(name) => Err(Error::Unexpected { name: name.clone() }),
            None => Ok(()),
        }
    }

    /// Writes a safetensors file, whole or not at all.
    ///
    /// # Errors
    /// A tensor whose shape and data disagree; a path that cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        for (name, tensor) in &self.tensors {
            tensor.check(name)?;
        }
        let fail = |source| Error::Write { path: path.to_owned(), source };
        let format = HashMap::from([(FORMAT.0.to_owned(), FORMAT.1.to_owned())]);
        let bytes = safetensors::serialize(&self.tensors, Some(format))
            .map_err(|error| fail(std::io::Error::other(error)))?;
        write_file(path, &bytes).map_err(fail)
    }

    /// Reads a safetensors file.
    ///
    /// # Errors
    /// A file that cannot be read, is truncated, has a header of more than 16 MiB or another format version, or
    /// holds anything but 32-bit floats.
    pub fn load(path: &Path) -> Result<Self> {
        let fail = |reason: String| Error::Format { path: path.to_owned(), reason };
        let bytes = read_bounded(path)?;
        let (_, metadata) =
            SafeTensors::read_metadata(&bytes).map_err(|error| fail(error.to_string()))?;
        let version = metadata.metadata().as_ref().and_then(|pairs| pairs.get(FORMAT.0));
        if let Some(version) = version.filter(|version| *version != FORMAT.1) {
            return Err(fail(format!("expected format version {}, found {version}", FORMAT.1)));
        }
        let file = SafeTensors::deserialize(&bytes).map_err(|error| fail(error.to_string()))?;
        let mut weights = Self::new();
        for (name, view) in file.iter() {
            if view.dtype() != Dtype::F32 {
                return Err(fail(format!("tensor `{name}`: expected F32, found {}", view.dtype())));
            }
            let (numbers, _) = view.data().as_chunks::<4>();
            let data = numbers.iter().map(|&number| f32::from_le_bytes(number)).collect();
            weights.insert(name, Tensor { shape: view.shape().to_vec(), data });
        }
        Ok(weights)
    }
}

impl Tensor {
    fn check(&self, name: &str) -> Result<()> {
        let elements = self.shape.iter().try_fold(1_usize, |all, &side| all.checked_mul(side));
        if elements == Some(self.data.len()) {
            return Ok(());
        }
        Err(Error::Elements {
            name: name.to_owned(),
            shape: self.shape.clone(),
            found: self.data.len(),
        })
    }

    /// The numbers as ONNX and safetensors store them.
    pub(crate) fn bytes(data: &[f32]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(4 * data.len());
        for number in data {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes
    }
}

impl View for &Tensor {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Tensor::bytes(&self.data).into()
    }

    fn data_len(&self) -> usize {
        4 * self.data.len()
    }
}

/// Replaces the file by these bytes, whole or not at all.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut file = AtomicWriteFile::open(path)?;
    file.write_all(bytes)?;
    file.commit()
}

/// The file's bytes, once its header's stated length is known to be sane.
fn read_bounded(path: &Path) -> Result<Vec<u8>> {
    let fail = |source| Error::Read { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(fail)?;
    let length = file.metadata().map_err(fail)?.len();
    let mut prefix = [0; 8];
    if length < 8 {
        let reason = format!("expected at least 8 bytes, found {length}");
        return Err(Error::Format { path: path.to_owned(), reason });
    }
    file.read_exact(&mut prefix).map_err(fail)?;
    let header = u64::from_le_bytes(prefix);
    if header > MAX_HEADER.min(length - 8) {
        let reason = format!(
            "expected a header of at most {} bytes, found {header}",
            MAX_HEADER.min(length - 8)
        );
        return Err(Error::Format { path: path.to_owned(), reason });
    }
    let mut bytes = prefix.to_vec();
    bytes.reserve_exact(length as usize - 8);
    file.read_to_end(&mut bytes).map_err(fail)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use netfit_spaces::Random;

    use super::*;

    const NETWORK: &str =
        "conv k3 s1 relu 2x4x4 -> 3x4x4\npool 3x4x4 -> 3x1x1\nlinear 3x1x1 -> 2x1x1";

    fn sample() -> (Network, Weights) {
        let network: Network = NETWORK.parse().unwrap();
        let weights = Weights::random(&network, &mut Random::new(1, "weights"));
        (network, weights)
    }

    fn message(result: Result<impl std::fmt::Debug>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn weights_come_back_from_their_file_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        let (network, mut weights) = sample();
        weights.tensors.get_mut("b02_linear.linear.bias").unwrap().data =
            vec![f32::MIN_POSITIVE / 2.0, -0.0];
        weights.save(&path).unwrap();
        weights.save(&path).unwrap();
        let back = Weights::load(&path).unwrap();
        back.check(&network).unwrap();
        assert_eq!(back.tensors.len(), 7);
        for ((name, tensor), (other, read)) in weights.iter().zip(back.iter()) {
            assert_eq!((name, &tensor.shape), (other, &read.shape));
            assert_eq!(Tensor::bytes(&tensor.data), Tensor::bytes(&read.data), "{name}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn every_truncation_of_a_file_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights.safetensors");
        sample().1.save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for length in (0..bytes.len()).step_by(7).chain([7, 8, bytes.len() - 1]) {
            std::fs::write(&path, &bytes[..length]).unwrap();
            let text = message(Weights::load(&path));
            assert!(text.contains("weights.safetensors") && text.contains("hint"), "{text}");
        }
    }

    #[test]
    fn damaged_files_say_what_is_wrong() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("w.safetensors");
        let file = |header: &str, data: usize| {
            let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
            bytes.extend(header.as_bytes());
            bytes.resize(bytes.len() + data, 0);
            bytes
        };
        let mut long = u64::MAX.to_le_bytes().to_vec();
        long.extend([b' '; 64]);
        let tensor = |dtype: &str, shape: &str, end: usize| {
            format!(r#"{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[0,{end}]}}}}"#)
        };
        for (bytes, reason) in [
            (long, "at most 64 bytes, found 18446744073709551615"),
            (file("{", 0), "JSON"),
            (file(&tensor("F32", "[2]", 8), 4), ""),
            (file(&tensor("F32", "[2]", 8), 12), ""),
            (file(&tensor("F32", "[3]", 8), 8), ""),
            (file(&tensor("F32", "[4294967296,4294967296]", 8), 8), ""),
            (file(&tensor("F16", "[4]", 8), 8), "`a`: expected F32, found F16"),
            (file(r#"{"__metadata__":{"netfit-weights":"9"}}"#, 0), "version 1, found 9"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let text = message(Weights::load(&path));
            assert!(text.contains(reason) && text.contains('`') && text.contains("hint"), "{text}");
        }
        assert!(message(Weights::load(&folder.path().join("none"))).contains("cannot read"));
    }

    #[test]
    fn weights_of_another_network_are_refused_by_name() {
        let (network, weights) = sample();
        let changed = |change: &dyn Fn(&mut BTreeMap<String, Tensor>)| {
            let mut other = weights.clone();
            change(&mut other.tensors);
            message(other.check(&network))
        };
        let missing = changed(&|tensors| drop(tensors.remove("b00_conv.conv.norm.mean")));
        assert!(missing.contains("no tensor `b00_conv.conv.norm.mean` among 6"), "{missing}");
        let shape = changed(&|t| t.get_mut("b02_linear.linear.weight").unwrap().shape = vec![3, 2]);
        assert!(shape.contains("expected the shape [2, 3], found [3, 2]"), "{shape}");
        let short = changed(&|t| t.get_mut("b02_linear.linear.weight").unwrap().data.truncate(5));
        assert!(short.contains("expected 6 numbers for the shape [2, 3], found 5"), "{short}");
        let extra = changed(&|t| drop(t.insert("b03_conv.x".into(), Tensor::default())));
        assert!(extra.contains("unexpected tensor `b03_conv.x`"), "{extra}");
    }

    #[test]
    fn a_file_that_cannot_be_written_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/w.safetensors");
        assert!(message(sample().1.save(&path)).contains("missing/w.safetensors"));
    }
}
