// What the library tells about itself.
#include <torch/csrc/stable/library.h>

#include <string>

#include "isa.h"

namespace privface {
namespace {

// src.ops.library looks for it in the file before it loads it.
[[gnu::used]] const char source_digest[] = PRIVFACE_SOURCE_DIGEST;

std::string isa_name() { return isa_names[static_cast<int>(isa())]; }

STABLE_TORCH_LIBRARY_FRAGMENT(privface, library) { library.def("isa() -> str"); }

STABLE_TORCH_LIBRARY_IMPL(privface, CompositeExplicitAutograd, library) { library.impl("isa", TORCH_BOX(&isa_name)); }

}  // namespace
}  // namespace privface
