// Rank hashing: see src/ops/hashing.py.
#include <torch/csrc/stable/library.h>

#include <vector>

#include "isa.h"
#include "tensors.h"

#if PRIVFACE_X86
#include <immintrin.h>
#endif

namespace privface {
namespace {

namespace scalar {
#define PRIVFACE_VECTOR 0
#include "rank_hash_kernels.inl"
#undef PRIVFACE_VECTOR
}  // namespace scalar
#if PRIVFACE_X86
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3")
namespace avx2 {
#define PRIVFACE_VECTOR 32
#include "rank_hash_kernels.inl"
#undef PRIVFACE_VECTOR
}  // namespace avx2
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4,prefer-vector-width=512")
namespace avx512 {
#define PRIVFACE_VECTOR 64
#include "rank_hash_kernels.inl"
#undef PRIVFACE_VECTOR
}  // namespace avx512
#pragma GCC pop_options
#else
namespace avx2 = scalar;
namespace avx512 = scalar;
#endif

template <class T>
void argmax(const Tensor& logits, int64_t q, const Tensor& indices) {
  using Kernel = void (*)(const T*, int64_t, int64_t, uint8_t*);
  const auto kernel = pick<Kernel>(scalar::argmax, avx2::argmax, avx512::argmax);
  const T* values = input<T>(logits);
  uint8_t* result = output<uint8_t>(indices);
  torch::stable::parallel_for(0, indices.numel(), grain / q + 1, [&](int64_t begin, int64_t end) {
    kernel(values + begin * q, end - begin, q, result + begin);
  });
}

Tensor group_argmax(const Tensor& given, int64_t q) {
  STD_TORCH_CHECK(given.dim() >= 1 && 1 <= q && q <= 256 && given.size(-1) % q == 0,
                  "group_argmax: expected logits [..., m * q] and q from 1 to 256");
  const Tensor logits = torch::stable::contiguous(given);
  std::vector<int64_t> shape;
  for (int64_t dimension = 0; dimension < logits.dim(); ++dimension) shape.push_back(logits.size(dimension));
  shape.back() /= q;
  const Tensor indices = torch::stable::empty(shape, ScalarType::Byte);
  switch (logits.scalar_type()) {
    case ScalarType::Float:
      argmax<float>(logits, q, indices);
      return indices;
    case ScalarType::Double:
      argmax<double>(logits, q, indices);
      return indices;
    default:
      STD_TORCH_CHECK(false, "group_argmax: expected float32 or float64");
  }
}

STABLE_TORCH_LIBRARY_IMPL(privface, CPU, library) { library.impl("group_argmax", TORCH_BOX(&group_argmax)); }

}  // namespace
}  // namespace privface
