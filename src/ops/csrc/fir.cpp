// privface::upfirdn2d on the CPU.
#include <algorithm>
#include <utility>

#include "tensors.h"

namespace privface {

// The neighbouring inputs whose weighted sum is one output along an axis.
template <class Sum>
struct Terms {
  long first, count;
  const Sum* weights;
};

// What happens along one axis: `input` values, `up` - 1 zeros after each, `before` zeros in front (or so many values
// cropped), correlated with the taps, of which every `down`-th result makes up the `output` values.
template <class Sum>
struct Axis {
  long input, output, up, down, before;
  const Sum* taps;
  long tap_count;
  const Terms<Sum>* terms;
};

}  // namespace privface

#define PRIVFACE_KERNELS "fir_kernels.inl"
#include "each_isa.h"

namespace privface {
namespace {

// An axis and what it points to.
template <class Sum>
class OwnedAxis {
 public:
  OwnedAxis(int64_t input_size, int64_t output_size, int64_t up, int64_t down, int64_t before, const Tensor& filter)
      : taps_(filter.numel()), axis_{input_size, output_size, up, down, before, taps_.data(), filter.numel(), nullptr} {
    const Tensor dense = torch::stable::contiguous(filter);
    std::copy_n(input<float>(dense), taps_.size(), taps_.begin());
    // Every up-th tap, from each of the first on: the weights of neighbouring inputs.
    std::vector<long> phase_starts;
    for (long phase = 0; phase < up; ++phase) {
      phase_starts.push_back(static_cast<long>(phases_.size()));
      for (long tap = phase; tap < axis_.tap_count; tap += up) phases_.push_back(taps_[tap]);
    }
    phase_starts.push_back(static_cast<long>(phases_.size()));
    for (long i = 0; i < output_size; ++i) {
      const long origin = i * down - before;
      const long first = origin > 0 ? (origin + up - 1) / up : -(-origin / up);
      const long phase = first * up - origin;
      const long last = first + phase_starts[phase + 1] - phase_starts[phase];
      const long begin = std::clamp(first, 0L, axis_.input), end = std::clamp(last, begin, axis_.input);
      terms_.push_back({begin, end - begin, phases_.data() + phase_starts[phase] + begin - first});
    }
    axis_.terms = terms_.data();
  }
  OwnedAxis(const OwnedAxis&) = delete;
  OwnedAxis& operator=(const OwnedAxis&) = delete;

  const Axis<Sum>& operator*() const { return axis_; }

  // How many zeros the filter may read before and after a row.
  std::pair<long, long> margins() const {
    const long last = ((axis_.output - 1) * axis_.down + axis_.tap_count - axis_.before) / axis_.up + 1;
    return {std::max(axis_.before, 0L) + 1, std::max(last - axis_.input, 0L) + 1};
  }

 private:
  std::vector<Sum> taps_, phases_;
  std::vector<Terms<Sum>> terms_;
  Axis<Sum> axis_;
};

template <class T, class Sum>
void run_planes(const Tensor& x, Tensor& y, const OwnedAxis<Sum>& vertical, const OwnedAxis<Sum>& horizontal) {
  const auto kernel = pick(scalar::filter_planes<T, Sum>, avx2::filter_planes<T, Sum>, avx512::filter_planes<T, Sum>);
  const T* from = input<T>(x);
  T* to = output<T>(y);
  const auto [before, after] = horizontal.margins();
  const int64_t rows = y.size(0) * y.size(1) * y.size(2), row_elements = x.size(3) + y.size(3);
  torch::stable::parallel_for(0, rows, grain / row_elements + 1, [&](int64_t begin, int64_t end) {
    std::vector<Sum> row(before + x.size(3) + after);
    kernel(from, to, begin, end, *vertical, *horizontal, row.data() + before);
  });
}

template <class T, class Sum>
void run_channels_last(const Tensor& x, Tensor& y, const OwnedAxis<Sum>& vertical, const OwnedAxis<Sum>& horizontal) {
  const auto kernel = pick(scalar::filter_channels_last<T, Sum>, avx2::filter_channels_last<T, Sum>,
                           avx512::filter_channels_last<T, Sum>);
  const T* from = input<T>(x);
  T* to = output<T>(y);
  const int64_t channels = x.size(1), rows = y.size(0) * y.size(2);
  const int64_t row_elements = channels * (x.size(3) + y.size(3));
  torch::stable::parallel_for(0, rows, grain / row_elements + 1, [&](int64_t begin, int64_t end) {
    std::vector<Sum> row(x.size(3) * channels);
    kernel(from, to, begin, end, channels, *vertical, *horizontal, row.data());
  });
}

int64_t output_size(int64_t size, int64_t up, int64_t before, int64_t after, int64_t taps, int64_t down) {
  return (size * up + before + after - taps + down) / down;
}

Tensor upfirdn2d(Tensor x, Tensor filter_x, Tensor filter_y, int64_t up_x, int64_t up_y, int64_t down_x, int64_t down_y,
                 int64_t pad_x0, int64_t pad_x1, int64_t pad_y0, int64_t pad_y1) {
  STD_TORCH_CHECK(x.dim() == 4, "upfirdn2d: expected an input of 4 dimensions");
  for (const Tensor& filter : {filter_x, filter_y})
    STD_TORCH_CHECK(filter.dim() == 1 && filter.numel() > 0 && filter.scalar_type() == ScalarType::Float,
                    "upfirdn2d: expected filters of one dimension, float32");
  STD_TORCH_CHECK(std::min({up_x, up_y, down_x, down_y}) >= 1, "upfirdn2d: factors must be at least 1");
  const int64_t height = output_size(x.size(2), up_y, pad_y0, pad_y1, filter_y.numel(), down_y);
  const int64_t width = output_size(x.size(3), up_x, pad_x0, pad_x1, filter_x.numel(), down_x);
  STD_TORCH_CHECK(height >= 1 && width >= 1, "upfirdn2d: the output is empty");

  const MemoryFormat format = layout(x);
  // Loops over few channels are too short to be fast.
  const MemoryFormat inner_format = x.size(1) < 8 ? MemoryFormat::Contiguous : format;
  x = in_layout(x, inner_format);
  Tensor y = empty(x, {x.size(0), x.size(1), height, width}, inner_format);
  if (y.numel() == 0) return y;
  with_element_type(x, "upfirdn2d", [&](auto element) {
    using T = decltype(element);
    using Sum = typename Accumulator<T>::type;
    const OwnedAxis<Sum> vertical(x.size(2), height, up_y, down_y, pad_y0, filter_y);
    const OwnedAxis<Sum> horizontal(x.size(3), width, up_x, down_x, pad_x0, filter_x);
    inner_format == MemoryFormat::ChannelsLast ? run_channels_last<T>(x, y, vertical, horizontal)
                                               : run_planes<T>(x, y, vertical, horizontal);
  });
  return in_layout(y, format);
}

STABLE_TORCH_LIBRARY_IMPL(privface, CPU, library) { library.impl("upfirdn2d", TORCH_BOX(&upfirdn2d)); }

}  // namespace
}  // namespace privface
