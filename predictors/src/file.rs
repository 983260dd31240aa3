//! The file of a predictor: safetensors. The header says of which space it is; weights of perceptrons are tensors, and
//! one tensor of bytes holds all other models as JSON. A checksum of all tensors is in the header: trees that were edited
//! could lead anywhere.

use std::{collections::HashMap, io::Write as _, path::Path};

use atomic_write_file::AtomicWriteFile;
use netfit_spaces::{Space, short_hash};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Error, Method, Mlp, Predictor, Result, Threads,
    dense::{Dense, Layers},
    forest::Forest,
    inference::Inference,
    kernel_regression::{KernelRegression, Stored},
    method::Model,
    predictor::Member,
    ridge::Ridge,
    scale::{Scale, Target},
};

const FORMAT: &str = "netfit-predictor-2";
/// A perceptron alone; still read. Files of other versions are refused.
const FIRST_FORMAT: &str = "netfit-predictor-1";
/// Key of the header's JSON.
const KEY: &str = "netfit";
/// Key of the header's checksum; the first files of this version have none.
const CHECKSUM: &str = "checksum";
/// The tensor of bytes.
const STATE: &str = "state";
/// Larger files are no predictors.
const LARGEST_FILE: u64 = 1 << 30;

/// What both versions begin with.
#[derive(Serialize, Deserialize)]
struct Identity {
    format: String,
    space: String,
    space_name: String,
    networks: usize,
}

/// What the first version had besides.
#[derive(Deserialize)]
struct First {
    #[serde(flatten)]
    perceptron: Perceptron,
}

#[derive(Serialize, Deserialize)]
struct Perceptron {
    widths: Vec<usize>,
    base: f64,
    scale: f64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    method: Method,
    base: f64,
    scale: Option<Scale>,
    members: Vec<MemberState>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct MemberState {
    scale: Option<Scale>,
    model: ModelState,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum ModelState {
    Mlp(Perceptron),
    Kernel(Stored),
    Ridge(Ridge),
    Forest(Forest),
}

impl ModelState {
    /// Whether a method's fit leaves such a model.
    fn is_of(&self, method: Method) -> bool {
        match self {
            Self::Mlp(_) => matches!(method, Method::RankedMlp | Method::Mlp),
            Self::Kernel(_) => matches!(method, Method::GaussianProcess | Method::SecondOrderRidge),
            Self::Ridge(_) => method == Method::Ridge,
            Self::Forest(_) => method == Method::RandomForest,
        }
    }
}

type Tensors = Vec<(String, Dtype, Vec<usize>, Vec<u8>)>;

impl Predictor {
    /// Writes the predictor; a reader finds either the old file or the whole new one.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let write = |source| Error::Write { path: path.to_owned(), source };
        let data = self.bytes().map_err(|error| write(std::io::Error::other(error)))?;
        let mut file = AtomicWriteFile::open(path).map_err(write)?;
        file.write_all(&data).map_err(write)?;
        file.commit().map_err(write)
    }

    fn bytes(&self) -> std::result::Result<Vec<u8>, Box<dyn std::error::Error + Send + Sync>> {
        let mut tensors = Tensors::new();
        let members = self.members.iter().enumerate();
        let state = State {
            method: self.method,
            base: self.base,
            scale: self.scale.clone(),
            members: members.map(|(at, member)| member.state(at, &mut tensors)).collect(),
        };
        let state = serde_json::to_vec(&state)?;
        tensors.push((STATE.to_owned(), Dtype::U8, vec![state.len()], state));
        let identity = Identity {
            format: FORMAT.to_owned(),
            space: self.space.id().to_owned(),
            space_name: self.space.name().to_owned(),
            networks: self.networks,
        };
        let named = tensors.iter().map(|(name, _, _, data)| (&**name, &**data));
        let metadata = HashMap::from([
            (KEY.to_owned(), serde_json::to_string(&identity)?),
            (CHECKSUM.to_owned(), checksum(named.collect())),
        ]);
        let mut views = Vec::with_capacity(tensors.len());
        for (name, kind, shape, data) in &tensors {
            views.push((name, TensorView::new(*kind, shape.clone(), data)?));
        }
        Ok(safetensors::serialize(views, Some(metadata))?)
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
        let identity: Identity = parse(json.as_bytes()).map_err(fail)?;
        if ![FORMAT, FIRST_FORMAT].contains(&&*identity.format) {
            return Err(fail(format!("expected format `{FORMAT}`, found `{}`", identity.format)));
        }
        if identity.space != space.id() {
            return Err(Error::OtherSpace {
                path: path.to_owned(),
                found: identity.space,
                found_name: identity.space_name,
                expected: space.id().to_owned(),
                expected_name: space.name().to_owned(),
            });
        }
        let tensors = SafeTensors::deserialize(&data).map_err(|error| damaged(&error))?;
        if identity.format == FIRST_FORMAT {
            let First { perceptron } = parse(json.as_bytes()).map_err(fail)?;
            let mlp = perceptron.restore(space, identity.networks, &tensors, "").map_err(fail)?;
            return Ok(mlp.into());
        }
        let predictor = restore(space, identity.networks, &tensors).map_err(fail)?;
        let known = metadata.metadata().as_ref().and_then(|entries| entries.get(CHECKSUM));
        let all = tensors.tensors();
        let found = checksum(all.iter().map(|(name, view)| (&**name, view.data())).collect());
        match known {
            Some(known) if *known != found => {
                Err(fail(format!("damaged (checksum {found}, expected {known})")))
            }
            _ => Ok(predictor),
        }
    }
}

/// A hash of tensors with their names.
fn checksum(mut tensors: Vec<(&str, &[u8])>) -> String {
    tensors.sort_unstable();
    let parts = tensors.iter().flat_map(|(name, data)| [name.as_bytes(), data]);
    short_hash(parts.collect::<Vec<_>>().concat())
}

impl Mlp {
    /// Writes it as a [`Predictor`].
    ///
    /// # Errors
    /// As [`Predictor::save`].
    pub fn save(&self, path: &Path) -> Result<()> {
        Predictor::from(self.clone()).save(path)
    }

    /// Reads a predictor of `space` that is a perceptron alone.
    ///
    /// # Errors
    /// As [`Predictor::load`]; a predictor by another method.
    pub fn load(path: &Path, space: &Space) -> Result<Self> {
        let Predictor { mut members, method, .. } = Predictor::load(path, space)?;
        match members.pop() {
            Some(Member { model: Model::Mlp(mlp), .. }) if method == Method::Mlp => Ok(*mlp),
            _ => {
                let reason = format!("expected method `mlp`, found `{method}`");
                Err(Error::Predictor { path: path.to_owned(), reason })
            }
        }
    }
}

fn restore(
    space: &Space,
    networks: usize,
    tensors: &SafeTensors<'_>,
) -> std::result::Result<Predictor, String> {
    let state = tensors.tensor(STATE).map_err(|_| format!("expected a tensor `{STATE}`"))?;
    let State { method, base, scale, members } = parse(state.data())?;
    let methods = method.members();
    // Equal accuracies have no members.
    if !members.is_empty() && members.len() != methods.len() {
        return Err(format!("expected {} models, found {}", methods.len(), members.len()));
    }
    let ranked = |method: &Method| method.target() != Target::Accuracy;
    let mut wanted =
        members.iter().zip(&methods).map(|(member, method)| (&member.scale, ranked(method)));
    let whole = (&scale, !members.is_empty() && methods.iter().any(ranked));
    let sound = |(scale, wanted): (&Option<Scale>, bool)| match scale {
        Some(scale) => wanted && scale.is_sound(),
        None => !wanted,
    };
    if !(base.is_finite() && sound(whole) && wanted.all(sound)) {
        return Err("expected finite scales that rise, one for each model fitted to ranks".into());
    }
    let member = |(at, member): (usize, MemberState)| {
        if !member.model.is_of(methods[at]) {
            return Err(format!("expected a model of method `{}`, found another", methods[at]));
        }
        let model = match member.model {
            ModelState::Mlp(perceptron) => {
                let mlp = perceptron.restore(space, networks, tensors, &prefix(at))?;
                Model::Mlp(Box::new(mlp))
            }
            ModelState::Kernel(stored) => {
                Model::Kernel(Box::new(KernelRegression::restore(space, stored)?))
            }
            ModelState::Ridge(ridge) if ridge.weights.len() == space.encoding_width() => {
                Model::Ridge(ridge)
            }
            ModelState::Ridge(_) => return Err("a ridge of another width".to_owned()),
            ModelState::Forest(forest) => Model::Forest(forest),
        };
        Ok(Member { model, scale: member.scale })
    };
    let members =
        members.into_iter().enumerate().map(member).collect::<std::result::Result<_, _>>()?;
    Ok(Predictor {
        space: space.clone(),
        method,
        networks,
        base,
        members,
        scale,
        threads: Threads::default(),
    })
}

impl Member {
    fn state(&self, at: usize, tensors: &mut Tensors) -> MemberState {
        let model = match &self.model {
            Model::Mlp(mlp) => {
                for (index, layer) in mlp.layers.0.iter().enumerate() {
                    let name = |what: &str| format!("{}layers.{index}.{what}", prefix(at));
                    let shape = vec![layer.inputs, layer.outputs];
                    tensors.push((name("weight"), Dtype::F32, shape, bytes(&layer.weight)));
                    let shape = vec![layer.outputs];
                    tensors.push((name("bias"), Dtype::F32, shape, bytes(&layer.bias)));
                }
                let inputs = mlp.layers.0.iter().take(1).map(|layer| layer.inputs);
                let widths = inputs.chain(mlp.layers.0.iter().map(|layer| layer.outputs)).collect();
                ModelState::Mlp(Perceptron { widths, base: mlp.base, scale: mlp.scale })
            }
            Model::Kernel(kernel) => ModelState::Kernel(kernel.stored().clone()),
            Model::Ridge(ridge) => ModelState::Ridge(ridge.clone()),
            Model::Forest(forest) => ModelState::Forest(forest.clone()),
        };
        MemberState { scale: self.scale.clone(), model }
    }
}

/// Before the names of a member's tensors.
fn prefix(at: usize) -> String {
    format!("members.{at}.")
}

fn parse<T: DeserializeOwned>(json: &[u8]) -> std::result::Result<T, String> {
    serde_json::from_slice(json).map_err(|error| format!("damaged ({error})"))
}

impl Perceptron {
    fn restore(
        self,
        space: &Space,
        networks: usize,
        tensors: &SafeTensors<'_>,
        prefix: &str,
    ) -> std::result::Result<Mlp, String> {
        let (widths, inputs) = (&self.widths, space.encoding_width());
        if widths.len() < 2
            || widths[0] != inputs
            || widths[widths.len() - 1] != 1
            || widths.contains(&0)
        {
            return Err(format!("expected widths from {inputs} to 1, found {widths:?}"));
        }
        let layer = |(index, pair): (usize, &[usize])| {
            let (inputs, outputs) = (pair[0], pair[1]);
            let name = |what: &str| format!("{prefix}layers.{index}.{what}");
            let weight = tensor(tensors, &name("weight"), &[inputs, outputs])?;
            let bias = tensor(tensors, &name("bias"), &[outputs])?;
            Ok(Dense { inputs, outputs, weight, bias })
        };
        let layers = widths.windows(2).enumerate().map(layer);
        let layers = Layers(layers.collect::<std::result::Result<_, String>>()?);
        let (space, inference) = (space.clone(), Inference::new(&layers));
        Ok(Mlp { space, layers, base: self.base, scale: self.scale, networks, inference })
    }
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
mod tests;
