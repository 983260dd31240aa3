// What libtorch's Rust interface does not reach: its version, and flags of its context.
#include <ATen/Context.h>
#include <ATen/DeviceAccelerator.h>
#include <ATen/autocast_mode.h>
#include <torch/version.h>

extern "C" const char* netfit_torch_version() { return TORCH_VERSION; }

struct Tf32 {
  bool matrices, convolutions;
};

extern "C" Tf32 netfit_tf32() {
  const auto allowed = [](at::Float32Op op) {
    return at::globalContext().float32Precision(at::Float32Backend::CUDA, op) == at::Float32Precision::TF32;
  };
  return {allowed(at::Float32Op::MATMUL), allowed(at::Float32Op::CONV)};
}

extern "C" void netfit_allow_tf32(Tf32 allowed) {
  at::globalContext().setAllowTF32CuBLAS(allowed.matrices);
  at::globalContext().setAllowTF32CuDNN(allowed.convolutions);
}

extern "C" void netfit_deterministic(bool wanted) {
  at::globalContext().setDeterministicCuDNN(wanted);
  at::globalContext().setDeterministicAlgorithms(wanted, /*warn_only=*/false);
  // New tensors are written before they are read: to fill each first would only cost time.
  at::globalContext().setDeterministicFillUninitializedMemory(false);
}

// Begins or ends a stretch of this thread in which products are computed in bfloat16.
extern "C" void netfit_autocast(bool gpu, bool begin) {
  const at::DeviceType device = gpu ? at::kCUDA : at::kCPU;
  at::autocast::set_autocast_dtype(device, at::kBFloat16);
  at::autocast::set_autocast_enabled(device, begin);
  if (begin) {
    at::autocast::increment_nesting();
  } else if (at::autocast::decrement_nesting() == 0) {
    // 16-bit copies of weights, which the optimiser is about to change.
    at::autocast::clear_cache();
  }
}

static const auto TOTAL = static_cast<size_t>(at::CachingDeviceAllocator::StatType::AGGREGATE);

// What libtorch's allocator counts on a GPU; it throws before the first tensor there.
static auto stats_of(int gpu) {
  return at::getDeviceAllocator(at::kCUDA)->getDeviceStats(static_cast<c10::DeviceIndex>(gpu));
}

// The most bytes that tensors took on a GPU at one time; 0 where libtorch does not tell.
extern "C" uint64_t netfit_peak_memory(int gpu) {
  try {
    return stats_of(gpu).allocated_bytes[TOTAL].peak;
  } catch (const std::exception&) {
    return 0;
  }
}

// The bytes that libtorch holds for its next tensors.
static uint64_t kept_memory(int gpu) {
  try {
    const auto stats = stats_of(gpu);
    return stats.reserved_bytes[TOTAL].current - stats.allocated_bytes[TOTAL].current;
  } catch (const std::exception&) {
    return 0;
  }
}

// The bytes that a GPU has for new tensors; 0 where libtorch does not tell.
extern "C" uint64_t netfit_free_memory(int gpu) {
  try {
    const auto allocator = at::getDeviceAllocator(at::kCUDA);
    return allocator->getMemoryInfo(static_cast<c10::DeviceIndex>(gpu)).first + kept_memory(gpu);
  } catch (const std::exception&) {
    return 0;
  }
}
