//! libtorch's CUDA part. It is opened when a GPU is asked for and not before: where it is missing all else works.
// The dynamic loader is C.
#![allow(unsafe_code)]

use std::{
    ffi::{CStr, c_char},
    sync::OnceLock,
};

const LIBRARY: &CStr = c"libtorch_cuda.so";

/// Opens it, once a process. This has to come before libtorch is first asked about CUDA, since it keeps its answer.
///
/// # Errors
/// What the dynamic loader says: which library is missing.
pub(crate) fn open() -> Result<(), String> {
    static OPENED: OnceLock<Result<(), String>> = OnceLock::new();
    OPENED.get_or_init(|| load(LIBRARY)).clone()
}

fn load(library: &CStr) -> Result<(), String> {
    // SAFETY: this runs the library's initialisers, as the loader would at the start of a program linked to it; its
    // symbols are for libtorch, which looks them up by itself.
    let opened = unsafe { libc::dlopen(library.as_ptr(), libc::RTLD_NOW | libc::RTLD_GLOBAL) };
    if !opened.is_null() {
        return Ok(());
    }
    // SAFETY: right after a failure on this thread it is a text, ours until the next call.
    let message: *const c_char = unsafe { libc::dlerror() };
    if message.is_null() {
        return Err(format!("{} cannot be opened", library.to_string_lossy()));
    }
    // SAFETY: see above.
    Err(unsafe { CStr::from_ptr(message) }.to_string_lossy().into_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_library_that_is_missing_is_named() {
        let message = load(c"libnetfit_nowhere.so").unwrap_err();
        assert!(message.contains("libnetfit_nowhere.so"), "{message}");
    }
}
