//! libtorch as a whole (`shim/context.cpp`).
// Two foreign functions: one returns a text that lives as long as the program, the other sets a flag.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};

unsafe extern "C" {
    fn netfit_torch_version() -> *const c_char;
    fn netfit_allow_tf32(allowed: bool);
}

/// The version of libtorch that this was compiled with.
pub fn torch_version() -> String {
    // SAFETY: it returns a literal.
    unsafe { CStr::from_ptr(netfit_torch_version()) }.to_string_lossy().into_owned()
}

/// Whether tensor cores may take 10 bits of each mantissa in products of 32-bit numbers. libtorch's own default is
/// yes for convolutions and no for matrices.
pub fn allow_tf32(allowed: bool) {
    // SAFETY: it sets two flags of libtorch's context, which it guards itself.
    unsafe { netfit_allow_tf32(allowed) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_that_is_installed() {
        assert!(torch_version().starts_with("2."), "{}", torch_version());
    }
}
