// Passes over the rows of the margin softmax. Matrix products and what is done once a row stand in margin_softmax.py,
// and so do the definitions of these operators.
#include <cmath>
#include <tuple>

#include "tensors.h"

#define PRIVFACE_KERNELS "margin_softmax_kernels.inl"
#include "each_isa.h"

namespace privface {
namespace {

template <class T>
using Sum = typename Accumulator<T>::type;

// Stops unless x has this shape and the type of which `like` is, with its last dimension contiguous.
void check(const Tensor& x, const std::vector<int64_t>& shape, ScalarType type, const char* name) {
  bool right = x.scalar_type() == type && x.dim() == static_cast<int64_t>(shape.size());
  for (size_t i = 0; right && i < shape.size(); ++i) right = x.size(i) == shape[i];
  right = right && (x.size(-1) <= 1 || x.stride(-1) == 1);
  STD_TORCH_CHECK(right, name, ": unexpected type, shape or layout");
}

// The type that the passes compute in where matrix products have the type of x.
ScalarType sum_type(const Tensor& x) {
  return x.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

int64_t rows_per_thread(int64_t size) { return grain / (size + 1) + 1; }

std::tuple<Tensor, Tensor> softmax_statistics(Tensor products, Tensor inverse_norms, Tensor target, double scale,
                                              double threshold, Tensor cosines) {
  const int64_t rows = products.size(0), size = products.size(1);
  const ScalarType type = sum_type(products);
  check(products, {rows, size}, products.scalar_type(), "products");
  check(inverse_norms, {size}, type, "inverse_norms");
  check(target, {rows}, ScalarType::Long, "target");
  check(cosines, {rows, size}, type, "cosines");
  Tensor maxima = empty(cosines, {rows}), sums = empty(cosines, {rows});
  with_element_type(products, "products", [&](auto element) {
    using T = decltype(element);
    using S = Sum<T>;
    const auto kernel = pick(scalar::statistics<T, S>, avx2::statistics<T, S>, avx512::statistics<T, S>);
    torch::stable::parallel_for(0, rows, rows_per_thread(size), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        kernel(input<T>(products) + row * products.stride(0), input<S>(inverse_norms), size,
               input<int64_t>(target)[row], scale, threshold, output<S>(cosines) + row * cosines.stride(0),
               output<S>(maxima) + row, output<S>(sums) + row);
    });
  });
  return {maxima, sums};
}

void softmax_gradient(Tensor cosines, Tensor inverse_norms, Tensor target, Tensor shift, Tensor factor,
                      Tensor target_gradient, double scale, double threshold, Tensor gradient) {
  const int64_t rows = cosines.size(0), size = cosines.size(1);
  const ScalarType type = sum_type(gradient);
  check(cosines, {rows, size}, type, "cosines");
  check(inverse_norms, {size}, type, "inverse_norms");
  check(target, {rows}, ScalarType::Long, "target");
  check(shift, {rows}, type, "shift");
  check(factor, {rows}, type, "factor");
  check(target_gradient, {rows}, type, "target_gradient");
  check(gradient, {rows, size}, gradient.scalar_type(), "gradient");
  with_element_type(gradient, "gradient", [&](auto element) {
    using T = decltype(element);
    using S = Sum<T>;
    const auto kernel = pick(scalar::gradient<T, S>, avx2::gradient<T, S>, avx512::gradient<T, S>);
    torch::stable::parallel_for(0, rows, rows_per_thread(size), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        kernel(input<S>(cosines) + row * cosines.stride(0), input<S>(inverse_norms), size, input<int64_t>(target)[row],
               input<S>(shift)[row], input<S>(factor)[row], input<S>(target_gradient)[row], scale, threshold,
               output<T>(gradient) + row * gradient.stride(0));
    });
  });
}

void tangential_part(Tensor gradient, Tensor vectors, Tensor inverse_norms, Tensor result) {
  const int64_t rows = gradient.size(0), size = gradient.size(1);
  const ScalarType type = sum_type(gradient);
  check(gradient, {rows, size}, gradient.scalar_type(), "gradient");
  check(vectors, {rows, size}, type, "vectors");
  check(inverse_norms, {rows}, type, "inverse_norms");
  check(result, {rows, size}, type, "result");
  with_element_type(gradient, "gradient", [&](auto element) {
    using T = decltype(element);
    using S = Sum<T>;
    const auto kernel = pick(scalar::tangential<T, S>, avx2::tangential<T, S>, avx512::tangential<T, S>);
    torch::stable::parallel_for(0, rows, rows_per_thread(size), [&](int64_t begin, int64_t end) {
      for (int64_t row = begin; row < end; ++row)
        kernel(input<T>(gradient) + row * gradient.stride(0), input<S>(vectors) + row * vectors.stride(0),
               input<S>(inverse_norms)[row], size, output<S>(result) + row * result.stride(0));
    });
  });
}

STABLE_TORCH_LIBRARY_IMPL(privface, CPU, library) {
  library.impl("softmax_statistics", TORCH_BOX(&softmax_statistics));
  library.impl("softmax_gradient", TORCH_BOX(&softmax_gradient));
  library.impl("tangential_part", TORCH_BOX(&tangential_part));
}

}  // namespace
}  // namespace privface
