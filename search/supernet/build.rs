//! Compiles the C++ shims, lets every program of this crate find libtorch at run time, and hands its path on.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=shim");
    let Ok(library) = std::env::var("DEP_TCH_LIBTORCH_LIB") else {
        println!("cargo::error=libtorch is not set up; hint: run `make setup`, or set LIBTORCH");
        return;
    };
    let include = Path::new(&library).with_file_name("include");
    cc::Build::new()
        .cpp(true)
        .std("c++20")
        .opt_level(3)
        .warnings(false)
        // at::parallel_for is a header over OpenMP; without the flag it would run on one thread.
        .flag("-fopenmp")
        .files(["shim/context.cpp", "shim/depthwise.cpp"])
        .include(&include)
        .include(include.join("torch/csrc/api/include"))
        .compile("netfit_shim");
    println!("cargo::rustc-link-arg=-Wl,-rpath,{library}");
    println!("cargo::metadata=libtorch_lib={library}");
}
