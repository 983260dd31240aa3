// Depth-wise convolution whose weight gradient is our own for large kernels on a CPU: without AVX-512, libtorch's is
// slow for them, and falls back to a path ten times slower still where the kernel is larger than the image.
#include <ATen/autocast_mode.h>
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace {

constexpr int64_t LANES = 8;
typedef float Lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));

#if defined(__x86_64__)
#define VECTORISED __attribute__((target("avx2,fma")))
bool vectorised() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
#else
#define VECTORISED
bool vectorised() { return true; }
#endif

struct Geometry {
  int64_t channels, height, width, out_height, out_width, stride;
};

// Copies `count` pixels' channels [first, first + LANES) side by side; channels beyond the last are zero.
VECTORISED inline void gather(const float* from, float* to, int64_t count, int64_t first, int64_t channels) {
  from += first;
  if (first + LANES <= channels) {
    for (int64_t i = 0; i < count; ++i) std::memcpy(to + i * LANES, from + i * channels, LANES * sizeof(float));
  } else {
    std::fill(to, to + count * LANES, 0.f);
    for (int64_t i = 0; i < count; ++i) std::memcpy(to + i * LANES, from + i * channels, (channels - first) * sizeof(float));
  }
}

// sums[kh][kw] += gradient[oh][ow] * image[oh * stride + kh - pad][ow * stride + kw - pad], for LANES channels.
template <int64_t K>
VECTORISED void accumulate(const Geometry& g, const float* image, const float* gradient, float* sums, float* row) {
  constexpr int64_t PAD = K / 2;
  for (int64_t ih = 0; ih < g.height; ++ih) {
    std::memcpy(row + PAD * LANES, image + ih * g.width * LANES, g.width * LANES * sizeof(float));
    for (int64_t kh = 0; kh < K; ++kh) {
      const int64_t reach = ih + PAD - kh;
      if (reach < 0 || reach % g.stride != 0 || reach / g.stride >= g.out_height) continue;
      const float* line = gradient + reach / g.stride * g.out_width * LANES;
      Lanes sum[K];
      std::memcpy(sum, sums + kh * K * LANES, sizeof sum);
      for (int64_t ow = 0; ow < g.out_width; ++ow) {
        const Lanes slope = *reinterpret_cast<const Lanes*>(line + ow * LANES);
        const float* at = row + ow * g.stride * LANES;
#pragma GCC unroll 8
        for (int64_t kw = 0; kw < K; ++kw) sum[kw] += slope * *reinterpret_cast<const Lanes*>(at + kw * LANES);
      }
      std::memcpy(sums + kh * K * LANES, sum, sizeof sum);
    }
  }
}

// x [N, C, H, W] and gradient [N, C, H', W'], both channels_last -> [C, 1, K, K].
template <int64_t K>
at::Tensor weight_gradient(const at::Tensor& x, const at::Tensor& gradient, int64_t stride) {
  const Geometry g{x.size(1), x.size(2), x.size(3), gradient.size(2), gradient.size(3), stride};
  const int64_t blocks = (g.channels + LANES - 1) / LANES, pixels = g.height * g.width;
  const int64_t out_pixels = g.out_height * g.out_width, threads = at::get_num_threads();
  at::Tensor partial = at::zeros({threads, blocks, K * K, LANES}, x.options().memory_format(at::MemoryFormat::Contiguous));
  const float *images = x.const_data_ptr<float>(), *slopes = gradient.const_data_ptr<float>();
  float* sums = partial.mutable_data_ptr<float>();
  at::parallel_for(0, x.size(0), 1, [&](int64_t begin, int64_t end) {
    std::vector<float> image(pixels * LANES), slope(out_pixels * LANES), row((g.width + 2 * K + g.stride) * LANES);
    float* own = sums + at::get_thread_num() * blocks * K * K * LANES;
    for (int64_t n = begin; n < end; ++n) {
      for (int64_t block = 0; block < blocks; ++block) {
        const int64_t first = block * LANES;
        gather(images + n * pixels * g.channels, image.data(), pixels, first, g.channels);
        gather(slopes + n * out_pixels * g.channels, slope.data(), out_pixels, first, g.channels);
        accumulate<K>(g, image.data(), slope.data(), own + block * K * K * LANES, row.data());
      }
    }
  });
  return partial.sum(0).permute({0, 2, 1}).reshape({blocks * LANES, 1, K, K}).narrow(0, 0, g.channels);
}

// libtorch's gradient is the faster one for small kernels inside the image.
bool ours(const at::Tensor& x, int64_t kernel) {
  const bool slow = kernel >= 5 || kernel > std::min(x.size(2), x.size(3));
  return slow && kernel <= 7 && kernel > 1 && x.device().is_cpu() && x.scalar_type() == at::kFloat && vectorised();
}

struct Depthwise : torch::autograd::Function<Depthwise> {
  static at::Tensor forward(torch::autograd::AutogradContext* context, const at::Tensor& x, const at::Tensor& weight,
                            int64_t stride) {
    context->save_for_backward({x, weight});
    context->saved_data["stride"] = stride;
    const int64_t pad = weight.size(2) / 2;
    return at::conv2d(x, weight, {}, {stride, stride}, {pad, pad}, {1, 1}, x.size(1));
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const at::Tensor &x = saved[0], &weight = saved[1], &gradient = gradients[0];
    const int64_t stride = context->saved_data["stride"].toInt(), kernel = weight.size(2), pad = kernel / 2;
    const bool own = ours(x, kernel);
    auto [to_x, to_weight, none] = at::convolution_backward(
        gradient, x, weight, {}, {stride, stride}, {pad, pad}, {1, 1}, false, {0, 0}, x.size(1),
        {context->needs_input_grad(0), !own && context->needs_input_grad(1), false});
    if (own && context->needs_input_grad(1)) {
      const at::Tensor image = x.contiguous(at::MemoryFormat::ChannelsLast);
      const at::Tensor slope = gradient.contiguous(at::MemoryFormat::ChannelsLast);
      to_weight = kernel == 3   ? weight_gradient<3>(image, slope, stride)
                  : kernel == 5 ? weight_gradient<5>(image, slope, stride)
                                : weight_gradient<7>(image, slope, stride);
    }
    return {to_x, to_weight, at::Tensor()};
  }
};

}  // namespace

// The convolution with kernel / 2 padding, or null with a message of at most `room` bytes.
extern "C" at::Tensor* netfit_depthwise(const at::Tensor* x, const at::Tensor* weight, int64_t stride, char* message,
                                        size_t room) {
  try {
    // Mixed precision is libtorch's own: it would give one of our factors 16 bits and leave the other.
    if (!x->is_cpu() || at::autocast::is_autocast_enabled(at::kCPU)) {
      const int64_t pad = weight->size(2) / 2;
      return new at::Tensor(at::conv2d(*x, *weight, {}, {stride, stride}, {pad, pad}, {1, 1}, x->size(1)));
    }
    return new at::Tensor(Depthwise::apply(*x, *weight, stride));
  } catch (const std::exception& error) {
    std::strncpy(message, error.what(), room - 1);
    return nullptr;
  }
}
