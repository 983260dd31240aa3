//! Lets every program of this crate find libtorch at run time, and hands its path on.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let Ok(library) = std::env::var("DEP_TCH_LIBTORCH_LIB") else {
        println!("cargo::error=libtorch is not set up; hint: run `make setup`, or set LIBTORCH");
        return;
    };
    println!("cargo::rustc-link-arg=-Wl,-rpath,{library}");
    println!("cargo::metadata=libtorch_lib={library}");
}
