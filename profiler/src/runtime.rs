//! ONNX Runtime: where its library is, the one environment of a process, sessions and their inputs.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Mutex,
};

use netfit_spaces::Random;
use ort::{
    environment::{Environment, GlobalThreadPoolOptions},
    session::{
        Session, SessionInputValue, builder::GraphOptimizationLevel, builder::SessionBuilder,
    },
    value::{Outlet, PrimitiveTensorElementType, Tensor, TensorElementType, ValueType},
};

use crate::{Error, Provider, Result, error::words};

/// Where the Python package puts the library, below a folder that holds the executable or is the current one.
const CAPI: &str = ".deps/python/onnxruntime/capi";

/// The path of ONNX Runtime's shared library: `ORT_DYLIB_PATH`, else `.deps/python/onnxruntime/capi` in a folder
/// above the executable or the current folder.
///
/// # Errors
/// It is in none of these places.
pub fn library() -> Result<PathBuf> {
    if let Some(path) = std::env::var_os("ORT_DYLIB_PATH") {
        let path = PathBuf::from(path);
        if path.is_file() {
            return Ok(path);
        }
        let reason = format!("ORT_DYLIB_PATH names `{}`, which is no file", path.display());
        return Err(Error::Library { reason });
    }
    let starts = [std::env::current_exe().ok(), std::env::current_dir().ok()];
    starts
        .iter()
        .flatten()
        .flat_map(|start| start.ancestors())
        .find_map(|folder| newest_library(&folder.join(CAPI)))
        .ok_or_else(|| Error::Library {
            reason: format!("no folder above this program or the current folder has `{CAPI}`"),
        })
}

fn newest_library(folder: &Path) -> Option<PathBuf> {
    let is_library = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("libonnxruntime.so")
            || name == "libonnxruntime.dylib"
            || name == "onnxruntime.dll"
    };
    std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path()).filter(is_library).max()
}

/// The environment of this process and the threads of its pool. ONNX Runtime allows one a process.
static ENVIRONMENT: Mutex<Option<(usize, Environment)>> = Mutex::new(None);

/// The process's environment, with one pool of `threads` threads that all sessions share: a pool for each session would
/// leave workers that spin while other sessions are timed.
pub(crate) fn environment(library: &Path, threads: usize) -> Result<Environment> {
    if threads == 0 {
        return Err(Error::Setting {
            what: "threads",
            expected: "at least 1".into(),
            found: "0".into(),
        });
    }
    let mut held = ENVIRONMENT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some((pool, environment)) = &*held {
        if *pool == threads {
            return Ok(environment.clone());
        }
        return Err(Error::Setting {
            what: "threads of ONNX Runtime in this process",
            expected: format!("{pool}, with which it was started"),
            found: threads.to_string(),
        });
    }
    let builder = ort::init_from(library)
        .map_err(|error| Error::Library { reason: error.to_string() })?
        .with_telemetry(false)
        .with_global_thread_pool(
            GlobalThreadPoolOptions::default()
                .with_intra_threads(threads)?
                .with_inter_threads(1)?,
        );
    let environment = builder.build()?;
    *held = Some((threads, environment.clone()));
    Ok(environment)
}

/// The version of the loaded library.
pub(crate) fn version(library: &Path) -> String {
    let info = ort::info();
    let branch = info.split("git-branch=").nth(1).and_then(|rest| rest.split(',').next());
    let file = library.canonicalize().unwrap_or_else(|_| library.to_owned());
    let name = file.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let from_name = name.split_once(".so.").map(|(_, version)| version);
    let from_branch = branch.and_then(|branch| branch.strip_prefix("rel-"));
    from_branch.or(from_name).unwrap_or(info).to_owned()
}

/// A builder of sessions on this provider and no other, with all graph optimisations. `cache` is for what the provider
/// builds.
pub(crate) fn builder(
    environment: &Environment,
    provider: Provider,
    cache: &Path,
) -> Result<SessionBuilder> {
    let dispatch = provider.dispatch(cache)?;
    let builder =
        Session::builder(environment)?.with_optimization_level(GraphOptimizationLevel::All)?;
    if provider.gpu().is_none() {
        return Ok(builder.with_execution_providers([dispatch])?);
    }
    let failed = |error: ort::Error<_>| provider.unusable(&words(&error.to_string()));
    let builder = builder.with_execution_providers([dispatch]).map_err(failed)?;
    // A node that the provider does not know is an error: the processor would take it without a word.
    Ok(builder.with_disable_cpu_fallback()?)
}

/// Random values for every input of a session, in its order.
pub(crate) fn inputs(
    path: &Path,
    session: &Session,
    dimensions: &BTreeMap<String, usize>,
    seed: u64,
) -> Result<Vec<SessionInputValue<'static>>> {
    let mut random = Random::new(seed, "inputs");
    let dynamic: Vec<String> = session.inputs().iter().flat_map(dynamic).flatten().collect();
    // `batch` is the device's own.
    let unknown = |name: &&String| *name != "batch" && !dynamic.contains(name);
    if let Some(name) = dimensions.keys().find(unknown) {
        let known = if dynamic.is_empty() { "none".to_owned() } else { dynamic.join(", ") };
        return Err(Error::Model {
            path: path.to_owned(),
            reason: format!("it has no dynamic dimension `{name}`; hint: it has {known}"),
        });
    }
    session
        .inputs()
        .iter()
        .map(|input| random_input(path, input, dimensions, &mut random))
        .collect()
}

/// For each dimension of an input its name where it is dynamic: its own, or `INPUT.NUMBER`.
fn dynamic(input: &Outlet) -> Vec<Option<String>> {
    let ValueType::Tensor { shape, dimension_symbols, .. } = input.dtype() else {
        return Vec::new();
    };
    let name = |(index, &size): (usize, &i64)| {
        let own = dimension_symbols.get(index).filter(|symbol| !symbol.is_empty());
        let named = || own.map_or_else(|| format!("{}.{index}", input.name()), ToString::to_string);
        (size < 0).then(named)
    };
    shape.iter().enumerate().map(name).collect()
}

fn random_input(
    path: &Path,
    input: &Outlet,
    dimensions: &BTreeMap<String, usize>,
    random: &mut Random,
) -> Result<SessionInputValue<'static>> {
    let fail = |reason: String| Error::Model { path: path.to_owned(), reason };
    let ValueType::Tensor { ty, shape, .. } = input.dtype() else {
        return Err(fail(format!(
            "input `{}` is {}, expected a tensor",
            input.name(),
            input.dtype()
        )));
    };
    let mut sizes = Vec::new();
    for (index, (&size, name)) in shape.iter().zip(dynamic(input)).enumerate() {
        sizes.push(match name {
            None => size as usize,
            Some(name) => *dimensions.get(&name).ok_or_else(|| {
                fail(format!(
                    "dimension {} of input `{}` is dynamic; hint: give its size with --dimension {name}=SIZE",
                    index + 1,
                    input.name()
                ))
            })?,
        });
    }
    let elements = sizes
        .iter()
        .try_fold(1_usize, |product, &size| product.checked_mul(size))
        .filter(|&elements| elements <= 1 << 31)
        .ok_or_else(|| fail(format!("input `{}` of {sizes:?} is too large", input.name())))?;
    Ok(match ty {
        TensorElementType::Float32 => filled(sizes, elements, || random.normal() as f32)?,
        TensorElementType::Float64 => filled(sizes, elements, || random.normal())?,
        // Whole numbers are often indices: 0 and 1 are the safest.
        TensorElementType::Int64 => filled(sizes, elements, || random.below(2) as i64)?,
        TensorElementType::Int32 => filled(sizes, elements, || random.below(2) as i32)?,
        TensorElementType::Bool => filled(sizes, elements, || random.chance(0.5))?,
        TensorElementType::Uint8 => filled(sizes, elements, || random.below(256) as u8)?,
        TensorElementType::Int8 => filled(sizes, elements, || random.below(256) as u8 as i8)?,
        other => {
            return Err(fail(format!(
                "input `{}` has elements of type {other}; supported are f32, f64, i64, i32, i8, u8 and bool",
                input.name()
            )));
        }
    })
}

fn filled<T: PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static>(
    sizes: Vec<usize>,
    elements: usize,
    draw: impl FnMut() -> T,
) -> Result<SessionInputValue<'static>> {
    let data: Vec<T> = std::iter::repeat_with(draw).take(elements).collect();
    Ok(Tensor::from_array((sizes, data))?.into())
}
