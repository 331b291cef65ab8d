// Bits of codes in planes: see src/ops/code_bits.py.
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
#include "code_bits_kernels.inl"
#undef PRIVFACE_VECTOR
}  // namespace scalar
#if PRIVFACE_X86
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3")
namespace avx2 {
#define PRIVFACE_VECTOR 32
#include "code_bits_kernels.inl"
#undef PRIVFACE_VECTOR
}  // namespace avx2
#pragma GCC pop_options
#else
namespace avx2 = scalar;
#endif

Tensor pack_planes(const Tensor& given) {
  STD_TORCH_CHECK(given.dim() >= 2 && given.scalar_type() == ScalarType::Byte,
                  "pack_planes: expected uint8 [..., m, b]");
  const Tensor bits = torch::stable::contiguous(given);
  const int64_t symbols = bits.size(-2), planes = bits.size(-1), plane_words = (symbols + 63) / 64;
  std::vector<int64_t> shape;
  int64_t codes = 1;
  for (int64_t dimension = 0; dimension < bits.dim() - 2; ++dimension) {
    shape.push_back(bits.size(dimension));
    codes *= bits.size(dimension);
  }
  shape.push_back(planes * plane_words);
  const Tensor words = torch::stable::empty(shape, ScalarType::Long);
  const auto kernel = pick(scalar::pack_codes, avx2::pack_codes, avx2::pack_codes);
  const uint8_t* from = input<uint8_t>(bits);
  uint64_t* to = output<uint64_t>(words);
  torch::stable::parallel_for(0, codes, grain / (symbols * planes + 1) + 1, [&](int64_t begin, int64_t end) {
    kernel(from + begin * symbols * planes, end - begin, symbols, planes, to + begin * planes * plane_words);
  });
  return words;
}

STABLE_TORCH_LIBRARY_IMPL(privface, CPU, library) { library.impl("pack_planes", TORCH_BOX(&pack_planes)); }

}  // namespace
}  // namespace privface
