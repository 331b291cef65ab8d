// Reading and writing of elements as the type that sums are kept in.
#pragma once

#define PRIVFACE_INLINE static inline __attribute__((always_inline))

namespace privface {

struct BFloat16 {
  unsigned short bits;
};

// float32 for bfloat16 and float32, float64 for float64.
template <class T>
struct Accumulator {
  using type = float;
};
template <>
struct Accumulator<double> {
  using type = double;
};

PRIVFACE_INLINE float load(const float* values, long i) { return values[i]; }
PRIVFACE_INLINE double load(const double* values, long i) { return values[i]; }
PRIVFACE_INLINE float load(const BFloat16* values, long i) {
  union {
    unsigned bits;
    float value;
  } word;
  word.bits = static_cast<unsigned>(values[i].bits) << 16;
  return word.value;
}

PRIVFACE_INLINE void store(float* values, long i, float value) { values[i] = value; }
PRIVFACE_INLINE void store(double* values, long i, double value) { values[i] = value; }
// Rounds to nearest, ties to even. NaN stays NaN: the carry could only reach the sign of one whose last 16 bits are set,
// and arithmetic sets them in none.
PRIVFACE_INLINE void store(BFloat16* values, long i, float value) {
  union {
    unsigned bits;
    float value;
  } word;
  word.value = value;
  values[i].bits = static_cast<unsigned short>((word.bits + 0x7fffu + ((word.bits >> 16) & 1u)) >> 16);
}

}  // namespace privface
