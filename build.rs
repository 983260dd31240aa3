//! Lets `netfit-torch` find libtorch at run time. `netfit` itself links none.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if let Ok(library) = std::env::var("DEP_NETFIT_SUPERNET_LIBTORCH_LIB") {
        println!("cargo::rustc-link-arg-bin=netfit-torch=-Wl,-rpath,{library}");
    }
}
