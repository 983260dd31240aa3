//! The C allocator's thresholds.
// The foreign function sets two numbers of glibc's allocator and touches no memory of ours.
#![allow(unsafe_code)]

/// Keeps large buffers in the process: glibc would return them to the system after every training step, and libtorch
/// would fault them in again. To be called first in `main`; does nothing where the C library is another.
pub fn keep_large_buffers() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: no other thread runs yet, and both options are documented.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, 1 << 30);
        libc::mallopt(libc::M_TRIM_THRESHOLD, i32::MAX);
    }
}
