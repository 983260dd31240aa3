//! Running a model for its results.

use std::path::Path;

use ort::value::TensorRef;

use crate::{Error, Provider, Result, error::words, runtime};

/// A model in this process. It is for results; times are taken in processes of their own.
#[derive(Debug)]
pub struct Session {
    session: ort::session::Session,
    path: std::path::PathBuf,
}

impl Session {
    /// Loads an ONNX file. All sessions of a process share one pool of `threads` threads.
    ///
    /// # Errors
    /// ONNX Runtime is missing or was started with another number of threads; a file that is no model or has not
    /// exactly one input.
    pub fn open(path: &Path, threads: usize) -> Result<Self> {
        let environment = runtime::environment(&runtime::library()?, threads)?;
        let mut builder = runtime::builder(&environment, Provider::default(), Path::new(""))?;
        let session = load(&mut builder, path)?;
        if session.inputs().len() != 1 {
            let reason = format!("expected one input, found {}", session.inputs().len());
            return Err(Error::Model { path: path.to_owned(), reason });
        }
        Ok(Self { session, path: path.to_owned() })
    }

    /// The model's first output for an input of `shape` (NCHW with N first): its numbers in row-major order.
    ///
    /// # Errors
    /// An input that is not of the model's shape, or an output that is not made of 32-bit floats.
    pub fn logits(&mut self, input: &[f32], shape: &[usize]) -> Result<Vec<f32>> {
        let logits = self.run(input, shape, 1, <[f32]>::to_vec)?;
        Ok(logits.into_iter().flat_map(|(_, numbers)| numbers).collect())
    }

    /// The model's outputs for an input of `shape` (NCHW with N first): the name of each, and the smallest and the largest of
    /// its numbers.
    ///
    /// # Errors
    /// As of [`Session::logits`].
    pub fn ranges(&mut self, input: &[f32], shape: &[usize]) -> Result<Vec<(String, [f32; 2])>> {
        self.run(input, shape, usize::MAX, extremes)
    }

    /// What is `kept` of each of the first `most` outputs.
    fn run<T>(
        &mut self,
        input: &[f32],
        shape: &[usize],
        most: usize,
        kept: impl Fn(&[f32]) -> T,
    ) -> Result<Vec<(String, T)>> {
        if shape.iter().product::<usize>() != input.len() {
            return Err(Error::Setting {
                what: "numbers of an input",
                expected: format!("those of {shape:?}"),
                found: input.len().to_string(),
            });
        }
        let fail =
            |error: ort::Error| Error::Model { path: self.path.clone(), reason: error.to_string() };
        let tensor = TensorRef::from_array_view((shape, input)).map_err(fail)?;
        let outputs = self.session.run(ort::inputs![tensor]).map_err(fail)?;
        let mut all = Vec::new();
        for (name, output) in outputs.iter().take(most) {
            let (_, numbers) = output.try_extract_tensor::<f32>().map_err(fail)?;
            all.push((name.to_owned(), kept(numbers)));
        }
        Ok(all)
    }
}

/// The smallest and the largest number; not a number where one of them is not.
pub fn extremes(numbers: &[f32]) -> [f32; 2] {
    if numbers.iter().any(|number| number.is_nan()) {
        return [f32::NAN; 2];
    }
    numbers.iter().fold([f32::INFINITY, f32::NEG_INFINITY], |[low, high], &number| {
        [low.min(number), high.max(number)]
    })
}

/// A session of the model in `path`.
pub(crate) fn load(
    builder: &mut ort::session::builder::SessionBuilder,
    path: &Path,
) -> Result<ort::session::Session> {
    builder.commit_from_file(path).map_err(|error| {
        let said = words(&error.to_string());
        let hint = if said.contains("fallback to CPU EP") {
            "ONNX Runtime keeps what computes shapes on the processor: export it with fixed sizes, or measure it on `cpu`"
        } else {
            "give an ONNX file"
        };
        Error::Model { path: path.to_owned(), reason: format!("{said}; hint: {hint}") }
    })
}
