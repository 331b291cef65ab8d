// Layout of tensors and choice of their element type.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/MemoryFormat.h>
#include <torch/headeronly/core/ScalarType.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "elements.h"

namespace privface {

using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

// Elements that are worth a thread of their own.
inline constexpr int64_t grain = 65536;

// Whether a tensor of four dimensions lies in memory with its channels innermost, and not contiguous as well.
inline bool is_channels_last(const Tensor& x) {
  if (x.dim() != 4 || x.numel() == 0 || x.size(1) == 1 || x.size(2) * x.size(3) == 1) return false;
  int64_t expected = 1;
  for (const int dimension : {1, 3, 2, 0}) {
    if (x.size(dimension) > 1 && x.stride(dimension) != expected) return false;
    expected *= x.size(dimension);
  }
  return true;
}

inline MemoryFormat layout(const Tensor& x) {
  return is_channels_last(x) ? MemoryFormat::ChannelsLast : MemoryFormat::Contiguous;
}

// The tensor itself where it already lies so, otherwise a copy.
inline Tensor in_layout(const Tensor& x, MemoryFormat wanted) {
  return layout(x) == wanted && wanted == MemoryFormat::ChannelsLast ? x : torch::stable::contiguous(x, wanted);
}

// An uninitialised tensor of the type and device of x.
inline Tensor empty(const Tensor& x, const std::vector<int64_t>& shape, MemoryFormat format = MemoryFormat::Contiguous) {
  return torch::stable::empty(shape, x.scalar_type(), std::nullopt, x.device(), std::nullopt, format);
}

template <class T>
const T* input(const Tensor& x) {
  return static_cast<const T*>(x.const_data_ptr());
}

template <class T>
T* output(const Tensor& x) {
  return static_cast<T*>(x.mutable_data_ptr());
}

// Calls function(T{}) with the element type of x: float, double or BFloat16.
template <class Function>
void with_element_type(const Tensor& x, const char* name, Function function) {
  switch (x.scalar_type()) {
    case ScalarType::Float:
      return function(float{});
    case ScalarType::Double:
      return function(double{});
    case ScalarType::BFloat16:
      return function(BFloat16{});
    default:
      STD_TORCH_CHECK(false, name, ": expected float32, float64 or bfloat16");
  }
}

}  // namespace privface
