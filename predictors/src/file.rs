//! The file of a predictor: safetensors, with what is not a tensor as JSON in the header.

use std::{collections::HashMap, io::Write as _, path::Path};

use atomic_write_file::AtomicWriteFile;
use netfit_spaces::Space;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};

use crate::{
    Error, Mlp, Result,
    dense::{Dense, Layers},
    inference::Inference,
};

/// Files of another version are refused.
const FORMAT: &str = "netfit-predictor-1";
/// Key of the header's JSON.
const KEY: &str = "netfit";
/// Larger files are no predictors.
const LARGEST_FILE: u64 = 1 << 30;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    format: String,
    space: String,
    space_name: String,
    widths: Vec<usize>,
    base: f64,
    scale: f64,
    networks: usize,
}

impl Mlp {
    /// Writes the predictor; a reader finds either the old file or the whole new one.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let inputs = self.layers.0.iter().take(1).map(|layer| layer.inputs);
        let header = Header {
            format: FORMAT.to_owned(),
            space: self.space.id().to_owned(),
            space_name: self.space.name().to_owned(),
            widths: inputs.chain(self.layers.0.iter().map(|layer| layer.outputs)).collect(),
            base: self.base,
            scale: self.scale,
            networks: self.networks,
        };
        let write = |source| Error::Write { path: path.to_owned(), source };
        let other = |error: &dyn std::fmt::Display| write(std::io::Error::other(error.to_string()));
        let json = serde_json::to_string(&header).map_err(|error| other(&error))?;
        let tensors: Vec<(String, Vec<usize>, Vec<u8>)> = self
            .layers
            .0
            .iter()
            .enumerate()
            .flat_map(|(index, layer)| {
                let (weight, bias) = (bytes(&layer.weight), bytes(&layer.bias));
                [
                    (format!("layers.{index}.weight"), vec![layer.inputs, layer.outputs], weight),
                    (format!("layers.{index}.bias"), vec![layer.outputs], bias),
                ]
            })
            .collect();
        let views = tensors
            .iter()
            .map(|(name, shape, data)| {
                Ok((name, TensorView::new(Dtype::F32, shape.clone(), data)?))
            })
            .collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(|error| other(&error))?;
        let metadata = HashMap::from([(KEY.to_owned(), json)]);
        let data = safetensors::serialize(views, Some(metadata)).map_err(|error| other(&error))?;
        let mut file = AtomicWriteFile::open(path).map_err(write)?;
        file.write_all(&data).map_err(write)?;
        file.commit().map_err(write)
    }

    /// Reads a predictor of `space`.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged or of another version, or a predictor of another space.
    pub fn load(path: &Path, space: &Space) -> Result<Self> {
        let read = |source| Error::Read { path: path.to_owned(), source };
        let fail = |reason: String| Error::Predictor { path: path.to_owned(), reason };
        let length = std::fs::metadata(path).map_err(read)?.len();
        if length > LARGEST_FILE {
            return Err(fail(format!("expected at most {LARGEST_FILE} bytes, found {length}")));
        }
        let data = std::fs::read(path).map_err(read)?;
        let damaged = |error: &dyn std::fmt::Display| fail(format!("damaged ({error})"));
        let (_, metadata) = SafeTensors::read_metadata(&data).map_err(|error| damaged(&error))?;
        let json = metadata.metadata().as_ref().and_then(|entries| entries.get(KEY));
        let json = json.ok_or_else(|| fail(format!("expected a header `{KEY}`")))?;
        let header: Header = serde_json::from_str(json).map_err(|error| damaged(&error))?;
        if header.format != FORMAT {
            return Err(fail(format!("expected format `{FORMAT}`, found `{}`", header.format)));
        }
        if header.space != space.id() {
            return Err(Error::OtherSpace {
                path: path.to_owned(),
                found: header.space,
                found_name: header.space_name,
                expected: space.id().to_owned(),
                expected_name: space.name().to_owned(),
            });
        }
        let tensors = SafeTensors::deserialize(&data).map_err(|error| damaged(&error))?;
        let layers = layers(&header, &tensors, space.encoding_width()).map_err(fail)?;
        Ok(Self {
            space: space.clone(),
            layers,
            base: header.base,
            scale: header.scale,
            networks: header.networks,
            inference: Inference::default(),
        })
    }
}

fn layers(
    header: &Header,
    tensors: &SafeTensors<'_>,
    inputs: usize,
) -> std::result::Result<Layers, String> {
    let widths = &header.widths;
    if widths.len() < 2 || widths[0] != inputs || widths[widths.len() - 1] != 1 {
        return Err(format!("expected widths from {inputs} to 1, found {widths:?}"));
    }
    let layer = |(index, pair): (usize, &[usize])| {
        let (inputs, outputs) = (pair[0], pair[1]);
        let weight = tensor(tensors, &format!("layers.{index}.weight"), &[inputs, outputs])?;
        let bias = tensor(tensors, &format!("layers.{index}.bias"), &[outputs])?;
        Ok(Dense { inputs, outputs, weight, bias })
    };
    widths.windows(2).enumerate().map(layer).collect::<std::result::Result<_, _>>().map(Layers)
}

fn tensor(
    tensors: &SafeTensors<'_>,
    name: &str,
    shape: &[usize],
) -> std::result::Result<Vec<f32>, String> {
    let view = tensors.tensor(name).map_err(|_| format!("expected a tensor `{name}`"))?;
    if view.dtype() != Dtype::F32 || view.shape() != shape {
        let found = view.shape();
        return Err(format!("tensor `{name}`: expected f32 of {shape:?}, found {found:?}"));
    }
    let number = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    let values: Vec<f32> = view.data().chunks_exact(4).map(number).collect();
    if values.iter().any(|value| !value.is_finite()) {
        return Err(format!("tensor `{name}` holds a number that is not finite"));
    }
    Ok(values)
}

fn bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use netfit_spaces::Random;

    use super::*;
    use crate::MlpOptions;

    fn predictor(space: &Space) -> Mlp {
        let mut random = Random::new(0, "file");
        let known: Vec<_> =
            (0..10).map(|n| (space.sample(&mut random), 0.1 * f64::from(n))).collect();
        let options = MlpOptions { layers: vec![8], epochs: 2, ..MlpOptions::default() };
        Mlp::fit(space, &known, &options).unwrap()
    }

    #[test]
    fn a_predictor_is_read_back_as_it_was_written() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictor.safetensors");
        let written = predictor(&space);
        written.save(&path).unwrap();
        let read = Mlp::load(&path, &space).unwrap();
        let genotypes: Vec<_> = space.enumerate().take(100).collect();
        assert_eq!(read.predict(&genotypes), written.predict(&genotypes));
        assert_eq!(read.networks(), 10);
    }

    #[test]
    fn predictors_of_another_space_and_damaged_files_are_refused() {
        let space = Space::preset("nas-bench-macro").unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("predictor.safetensors");
        predictor(&space).save(&path).unwrap();
        let other = Space::preset("ofa-28").unwrap();
        let message = Mlp::load(&path, &other).unwrap_err().to_string();
        assert!(message.contains("`nas-bench-macro`") && message.contains("`ofa-28`"), "{message}");
        let whole = std::fs::read(&path).unwrap();
        for length in [0, 7, 50, whole.len() - 1] {
            std::fs::write(&path, &whole[..length]).unwrap();
            let message = Mlp::load(&path, &space).unwrap_err().to_string();
            assert!(message.contains("damaged") && message.contains("hint:"), "{message}");
        }
        let missing = predictor(&space).save(&folder.path().join("no/such/file")).unwrap_err();
        assert!(missing.to_string().contains("cannot write"), "{missing}");
    }
}
