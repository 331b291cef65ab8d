// privface::bias_leaky_relu and its gradients on the CPU.
#include <algorithm>
#include <cmath>
#include <tuple>
#include <utility>

#include "tensors.h"

namespace privface {

// Factors of positive and of other values, and the bound of the result.
template <class Sum>
struct Activation {
  Sum gain, negative_gain, clamp;
};

}  // namespace privface

#define PRIVFACE_KERNELS "bias_activation_kernels.inl"
#include "each_isa.h"

namespace privface {
namespace {

// The bound is rounded as outputs are, so that a clamped output is recognised. Nothing is beyond NaN.
template <class T, class Sum = typename Accumulator<T>::type>
Activation<Sum> activation_of(double slope, double gain, double clamp) {
  T bound;
  store(&bound, 0, static_cast<Sum>(clamp < 0 ? NAN : clamp));
  return {static_cast<Sum>(gain), static_cast<Sum>(gain * slope), load(&bound, 0)};
}

int64_t values_per_channel(const Tensor& x) { return x.numel() / (x.size(0) * x.size(1)); }

Tensor bias_leaky_relu(Tensor x, Tensor bias, double slope, double gain, double clamp) {
  STD_TORCH_CHECK(x.dim() >= 2 && bias.dim() == 1 && bias.size(0) == x.size(1) &&
                      bias.scalar_type() == x.scalar_type(),
                  "bias_leaky_relu: expected a bias for each channel, of the type of the input");
  const MemoryFormat format = layout(x);
  x = in_layout(x, format);
  bias = torch::stable::contiguous(bias);
  Tensor y = torch::stable::empty_like(x);
  if (x.numel() == 0) return y;
  const int64_t channels = x.size(1), size = values_per_channel(x);
  with_element_type(x, "bias_leaky_relu", [&](auto element) {
    using T = decltype(element);
    using Sum = typename Accumulator<T>::type;
    const Activation<Sum> activation = activation_of<T>(slope, gain, clamp);
    const T *from = input<T>(x), *biases = input<T>(bias);
    T* to = output<T>(y);
    if (format == MemoryFormat::ChannelsLast) {
      const auto kernel = pick(scalar::activate_pixels<T, Sum>, avx2::activate_pixels<T, Sum>,
                               avx512::activate_pixels<T, Sum>);
      torch::stable::parallel_for(0, x.size(0) * size, grain / channels + 1, [&](int64_t begin, int64_t end) {
        kernel(from + begin * channels, to + begin * channels, end - begin, channels, biases, activation);
      });
    } else {
      const auto kernel = pick(scalar::activate_plane<T, Sum>, avx2::activate_plane<T, Sum>,
                               avx512::activate_plane<T, Sum>);
      torch::stable::parallel_for(0, x.size(0) * channels, grain / size + 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
          kernel(from + i * size, to + i * size, size, load(biases, i % channels), activation);
      });
    }
  });
  return y;
}

// Gradient and output, both in the layout of the output.
std::pair<Tensor, Tensor> aligned(const Tensor& gradient, const Tensor& y) {
  STD_TORCH_CHECK(gradient.numel() == y.numel() && gradient.dim() == y.dim() &&
                      gradient.scalar_type() == y.scalar_type(),
                  "bias_leaky_relu: expected a gradient of the shape and type of the output");
  const MemoryFormat format = layout(y);
  return {in_layout(gradient, format), in_layout(y, format)};
}

Tensor bias_leaky_relu_gradient(Tensor gradient, Tensor y, double slope, double gain, double clamp) {
  std::tie(gradient, y) = aligned(gradient, y);
  Tensor result = torch::stable::empty_like(y);
  with_element_type(y, "bias_leaky_relu_gradient", [&](auto element) {
    using T = decltype(element);
    using Sum = typename Accumulator<T>::type;
    const Activation<Sum> activation = activation_of<T>(slope, gain, clamp);
    const auto kernel = pick(scalar::differentiate_run<T, Sum>, avx2::differentiate_run<T, Sum>,
                             avx512::differentiate_run<T, Sum>);
    const T *from = input<T>(gradient), *outputs = input<T>(y);
    T* to = output<T>(result);
    torch::stable::parallel_for(0, y.numel(), grain, [&](int64_t begin, int64_t end) {
      kernel(from + begin, outputs + begin, to + begin, end - begin, activation);
    });
  });
  return result;
}

// Rows of sums, added up in their order and rounded once.
template <class T, class Sum>
void add_rows(const std::vector<Sum>& rows, Tensor& total) {
  const size_t channels = total.numel();
  std::vector<Sum> sums(channels);
  for (size_t i = 0; i < rows.size(); ++i) sums[i % channels] += rows[i];
  T* to = output<T>(total);
  for (size_t i = 0; i < channels; ++i) store(to, i, sums[i]);
}

std::tuple<Tensor, Tensor> bias_leaky_relu_gradients(Tensor gradient, Tensor y, double slope, double gain,
                                                     double clamp) {
  STD_TORCH_CHECK(y.dim() >= 2, "bias_leaky_relu_gradients: expected an output of at least 2 dimensions");
  std::tie(gradient, y) = aligned(gradient, y);
  Tensor result = torch::stable::empty_like(y), bias_gradient = empty(y, {y.size(1)});
  const int64_t channels = y.size(1), size = y.numel() ? values_per_channel(y) : 0;
  with_element_type(y, "bias_leaky_relu_gradients", [&](auto element) {
    using T = decltype(element);
    using Sum = typename Accumulator<T>::type;
    const Activation<Sum> activation = activation_of<T>(slope, gain, clamp);
    const T *from = input<T>(gradient), *outputs = input<T>(y);
    T* to = output<T>(result);
    std::vector<Sum> sums;
    if (is_channels_last(y)) {
      // The division into blocks must not depend on the number of threads: the sums would be rounded differently.
      const int64_t pixels = y.size(0) * size, block = grain / channels + 1, blocks = (pixels + block - 1) / block;
      const auto kernel = pick(scalar::differentiate_pixels<T, Sum>, avx2::differentiate_pixels<T, Sum>,
                               avx512::differentiate_pixels<T, Sum>);
      sums.resize(blocks * channels);
      torch::stable::parallel_for(0, blocks, 1, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i) {
          const int64_t first = i * block * channels;
          kernel(from + first, outputs + first, to + first, std::min(block, pixels - i * block), channels,
                 sums.data() + i * channels, activation);
        }
      });
    } else {
      const auto kernel = pick(scalar::differentiate_plane<T, Sum>, avx2::differentiate_plane<T, Sum>,
                               avx512::differentiate_plane<T, Sum>);
      sums.resize(size ? y.size(0) * channels : 0);
      torch::stable::parallel_for(0, static_cast<int64_t>(sums.size()), grain / (size + 1) + 1,
                                  [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
          sums[i] = kernel(from + i * size, outputs + i * size, to + i * size, size, activation);
      });
    }
    add_rows<T>(sums, bias_gradient);
  });
  return {result, bias_gradient};
}

STABLE_TORCH_LIBRARY_IMPL(privface, CPU, library) {
  library.impl("bias_leaky_relu", TORCH_BOX(&bias_leaky_relu));
  library.impl("bias_leaky_relu_gradient", TORCH_BOX(&bias_leaky_relu_gradient));
  library.impl("bias_leaky_relu_gradients", TORCH_BOX(&bias_leaky_relu_gradients));
}

}  // namespace
}  // namespace privface
