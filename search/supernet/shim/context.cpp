// What libtorch's Rust interface does not reach: its version, and whether tensor cores may round 32-bit products.
#include <ATen/Context.h>
#include <torch/version.h>

extern "C" const char* netfit_torch_version() { return TORCH_VERSION; }

extern "C" void netfit_allow_tf32(bool allowed) {
  at::globalContext().setAllowTF32CuBLAS(allowed);
  at::globalContext().setAllowTF32CuDNN(allowed);
}
