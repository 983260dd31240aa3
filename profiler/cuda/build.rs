//! Lets the tests of this crate find libtorch at run time.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if let Ok(library) = std::env::var("DEP_NETFIT_SUPERNET_LIBTORCH_LIB") {
        println!("cargo::rustc-link-arg=-Wl,-rpath,{library}");
    }
}
