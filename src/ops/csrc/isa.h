// Which vector instructions the kernels may use, decided once for the process.
#pragma once

#include <torch/headeronly/util/Exception.h>

#include <cstdlib>
#include <string>

// Clang knows no target pragma, so that its kernels are those of the base instruction set.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define PRIVFACE_X86 1
#else
#define PRIVFACE_X86 0
#endif

namespace privface {

// Every level includes those before it.
enum class Isa { scalar, avx2, avx512, avx512_vpopcntdq };

inline constexpr const char* isa_names[] = {"scalar", "avx2", "avx512", "avx512_vpopcntdq"};

// The highest level that this processor has.
inline Isa detect_isa() {
#if PRIVFACE_X86
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512vl");
  if (avx512) return __builtin_cpu_supports("avx512vpopcntdq") ? Isa::avx512_vpopcntdq : Isa::avx512;
  if (avx2) return Isa::avx2;
#endif
  return Isa::scalar;
}

// The level of PRIVFACE_ISA, or the highest one where that is not set.
inline Isa choose_isa() {
  const Isa highest = detect_isa();
  const char* wanted = std::getenv("PRIVFACE_ISA");
  if (wanted == nullptr || *wanted == '\0') return highest;
  std::string choices;
  for (int level = 0; level <= static_cast<int>(highest); ++level) {
    if (std::string(wanted) == isa_names[level]) return static_cast<Isa>(level);
    choices += (level ? ", " : "") + std::string(isa_names[level]);
  }
  STD_TORCH_CHECK(false, "PRIVFACE_ISA: this processor can do ", choices, ", found '", wanted, "'");
}

inline Isa isa() {
  static const Isa level = choose_isa();
  return level;
}

// The variant of a kernel for the level in force; see each_isa.h.
template <class Kernel>
Kernel pick(Kernel scalar, Kernel avx2, Kernel avx512) {
  return isa() >= Isa::avx512 ? avx512 : isa() == Isa::avx2 ? avx2 : scalar;
}

}  // namespace privface
