// Compiles the file named by PRIVFACE_KERNELS once for every instruction set, each in a namespace of its own:
//
//   #define PRIVFACE_KERNELS "example_kernels.inl"
//   #include "each_isa.h"
//   ... pick(scalar::kernel<T>, avx2::kernel<T>, avx512::kernel<T>)(arguments);
//
// The file holds plain functions only. A function template of the standard library would be compiled for the lowest
// instruction set and called, not inlined.
#include "isa.h"

namespace privface {
namespace {

namespace scalar {
#include PRIVFACE_KERNELS
}

#if PRIVFACE_X86

#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3")
namespace avx2 {
#include PRIVFACE_KERNELS
}
#pragma GCC pop_options

#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4,prefer-vector-width=512")
namespace avx512 {
#include PRIVFACE_KERNELS
}
#pragma GCC pop_options

#else

namespace avx2 = scalar;
namespace avx512 = scalar;

#endif

}  // namespace
}  // namespace privface

#undef PRIVFACE_KERNELS
