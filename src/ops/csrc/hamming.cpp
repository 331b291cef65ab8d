// Search among packed codes, and their distances: see src/ops/hamming.py.
//
// Each thread takes a range of the codes. It puts a tile of them, which stays in the second-level cache, into the order
// that the kernels want, and lets all queries pass, some at a time.
#include <torch/csrc/stable/library.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <mutex>
#include <tuple>
#include <vector>

#include "isa.h"
#include "tensors.h"

#if PRIVFACE_X86
#include <immintrin.h>
#endif

namespace privface {
namespace {

constexpr int64_t block_codes = 16;
constexpr int64_t queries_at_once = 4;
constexpr int64_t chunk_codes = 512;              // their distances stay in the first-level cache
constexpr int64_t tile_words = (256 << 10) / 8;  // they stay in the second-level cache

// One word of several codes.
struct alignas(64) Block {
  uint64_t lane[block_codes];
};

// Rows of words, or none.
struct Words {
  const uint64_t* start = nullptr;
  int64_t stride = 0;

  const uint64_t* row(int64_t number) const { return start + number * stride; }
};

// Words of a run, and runs of a code.
struct Shape {
  int64_t words;
  int64_t runs;
};

namespace scalar {
#define PRIVFACE_VECTOR 16
#include "hamming_kernels.inl"
#undef PRIVFACE_VECTOR
}  // namespace scalar
#if PRIVFACE_X86
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v3")
namespace avx2 {
#define PRIVFACE_VECTOR 32
#include "hamming_kernels.inl"
#undef PRIVFACE_VECTOR
}  // namespace avx2
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("arch=x86-64-v4,avx512vpopcntdq,prefer-vector-width=512")
namespace avx512_vpopcntdq {
#define PRIVFACE_VECTOR 64
#include "hamming_kernels.inl"
#undef PRIVFACE_VECTOR
}  // namespace avx512_vpopcntdq
#pragma GCC pop_options
#else
namespace avx2 = scalar;
namespace avx512_vpopcntdq = scalar;
#endif

struct Kernels {
  decltype(&scalar::interleave_codes) interleave;
  decltype(&scalar::compare_all) compare;
  decltype(&scalar::least) least;
};

#define PRIVFACE_HAMMING(level) Kernels{level::interleave_codes, level::compare_all, level::least}

Kernels kernels() {
  if (isa() >= Isa::avx512_vpopcntdq) return PRIVFACE_HAMMING(avx512_vpopcntdq);
  return isa() >= Isa::avx2 ? PRIVFACE_HAMMING(avx2) : PRIVFACE_HAMMING(scalar);
}

// Words of a row must lie side by side; the rows need not, so that no memory map is copied.
Tensor whole_rows(const Tensor& words) {
  STD_TORCH_CHECK(words.dim() == 2 && words.scalar_type() == ScalarType::Long, "hamming: expected int64 [N, W]");
  return words.size(1) <= 1 || words.stride(1) == 1 ? words : torch::stable::contiguous(words);
}

Words rows_of(const Tensor& words) { return {input<uint64_t>(words), words.stride(0)}; }

// The nearest codes so far of a query, as distance * 2^row_bits + row, so that one number orders both; a heap.
class Nearest {
 public:
  Nearest(int64_t k, int row_bits) : k_(k), row_bits_(row_bits) {}

  // Nothing that comes in ascending order of rows is kept unless it is nearer than this.
  int32_t bound() const { return bound_; }

  void offer(int32_t distance, int64_t row) { offer(static_cast<uint64_t>(distance) << row_bits_ | row); }

  void merge(const Nearest& other) {
    for (const uint64_t entry : other.kept_) offer(entry);
  }

  void write(int32_t* distances, int64_t* ids) {
    std::sort(kept_.begin(), kept_.end());
    for (const uint64_t entry : kept_) {
      *distances++ = static_cast<int32_t>(entry >> row_bits_);
      *ids++ = static_cast<int64_t>(entry & ((uint64_t{1} << row_bits_) - 1));
    }
  }

 private:
  void offer(uint64_t entry) {
    if (static_cast<int64_t>(kept_.size()) == k_) {
      if (entry > kept_.front()) return;
      std::pop_heap(kept_.begin(), kept_.end());
      kept_.back() = entry;
    } else {
      kept_.push_back(entry);
    }
    std::push_heap(kept_.begin(), kept_.end());
    if (static_cast<int64_t>(kept_.size()) == k_) bound_ = static_cast<int32_t>(kept_.front() >> row_bits_);
  }

  int64_t k_;
  int row_bits_;
  int32_t bound_ = INT32_MAX;
  std::vector<uint64_t> kept_;
};

// Codes and queries, checked.
class Comparison {
 public:
  Comparison(const Tensor& codes, const Tensor& queries, const std::optional<Tensor>& key, int64_t runs)
      : codes_(whole_rows(codes)), queries_(torch::stable::contiguous(whole_rows(queries))), kernels_(kernels()) {
    STD_TORCH_CHECK(queries.size(1) == width() && runs >= 1 && width() % runs == 0 && width() < 1 << 25,
                    "hamming: expected queries as wide as codes, and their words a multiple of runs");
    if (key) key_ = whole_rows(*key);
    STD_TORCH_CHECK(!key || (key->size(0) == this->codes() && key->size(1) == width()),
                    "hamming: expected a key of the shape of codes");
    shape_ = {width() / runs, runs};
    const int64_t fair = this->codes() / torch::stable::get_num_threads() + 1;
    const int64_t blocks = std::min(tile_words / std::max<int64_t>(1, width()), fair) / block_codes;
    tile_ = std::max<int64_t>(1, blocks) * block_codes;
  }

  int64_t codes() const { return codes_.size(0); }
  int64_t queries() const { return queries_.size(0); }
  int64_t width() const { return codes_.size(1); }

  // Calls work(begin, end) for ranges of the codes, one in each thread.
  template <class Work>
  void in_parallel(const Work& work) const {
    torch::stable::parallel_for(0, (codes() + tile_ - 1) / tile_, 1, [&](int64_t begin, int64_t end) {
      work(begin * tile_, std::min(end * tile_, codes()));
    });
  }

  // Calls visit with a query, the number of the first of some codes, their distances to the query and how many they
  // are, until all queries have seen the codes from begin to end, in this order.
  template <class Visit>
  void compare(int64_t begin, int64_t end, const Visit& visit) const {
    std::vector<Block> blocks(tile_ / block_codes * width());
    for (int64_t first = begin; first < end; first += tile_) {
      compare_tile(first, std::min(tile_, end - first), blocks.data(), visit);
    }
  }

  // Offers the codes from number `first` on. Most stretches hold nothing near, which is seen without a look at each.
  void offer(const int32_t* distances, int64_t count, int64_t first, Nearest& nearest) const {
    constexpr int64_t step = 64;
    for (int64_t start = 0; start < count; start += step) {
      const int64_t end = std::min(start + step, count);
      if (kernels_.least(distances + start, end - start) >= nearest.bound()) continue;
      for (int64_t i = start; i < end; ++i) {
        if (distances[i] < nearest.bound()) nearest.offer(distances[i], first + i);
      }
    }
  }

 private:
  template <class Visit>
  void compare_tile(int64_t first, int64_t count, Block* blocks, const Visit& visit) const {
    alignas(64) int32_t distances[queries_at_once * chunk_codes];
    const Words codes = rows_of(codes_), key = key_ ? rows_of(*key_) : Words{};
    kernels_.interleave({codes.row(first), codes.stride}, {key.start ? key.row(first) : nullptr, key.stride}, count,
                        width(), blocks);
    for (int64_t query = 0; query < queries(); query += queries_at_once) {
      const int64_t present = std::min(queries_at_once, queries() - query);
      for (int64_t start = 0; start < count; start += chunk_codes) {
        const int64_t size = std::min(chunk_codes, count - start);
        kernels_.compare(blocks + start / block_codes * width(), (size + block_codes - 1) / block_codes,
                         input<uint64_t>(queries_) + query * width(), present, shape_, distances);
        for (int64_t q = 0; q < present; ++q) visit(query + q, first + start, distances + q * chunk_codes, size);
      }
    }
  }

  Tensor codes_, queries_;
  std::optional<Tensor> key_;
  Shape shape_;
  int64_t tile_;
  Kernels kernels_;
};

std::tuple<Tensor, Tensor> hamming_topk(const Tensor& codes, const Tensor& queries, std::optional<Tensor> key,
                                        int64_t k, int64_t runs) {
  const Comparison comparison(codes, queries, key, runs);
  k = std::min(k, comparison.codes());
  const Tensor distances = torch::stable::empty({comparison.queries(), k}, ScalarType::Int);
  const Tensor ids = torch::stable::empty({comparison.queries(), k}, ScalarType::Long);
  if (k < 1) return {distances, ids};
  const uint64_t bits = 64 * std::max<int64_t>(1, comparison.width());
  const int row_bits = std::countl_zero(bits);
  const std::vector<Nearest> none(comparison.queries(), Nearest(k, row_bits));
  std::vector<Nearest> all = none;
  std::mutex mutex;
  comparison.in_parallel([&](int64_t begin, int64_t end) {
    std::vector<Nearest> nearest = none;
    comparison.compare(begin, end, [&](int64_t query, int64_t first, const int32_t* distances, int64_t count) {
      comparison.offer(distances, count, first, nearest[query]);
    });
    const std::lock_guard lock(mutex);
    for (int64_t query = 0; query < comparison.queries(); ++query) all[query].merge(nearest[query]);
  });
  for (int64_t query = 0; query < comparison.queries(); ++query) {
    all[query].write(output<int32_t>(distances) + query * k, output<int64_t>(ids) + query * k);
  }
  return {distances, ids};
}

Tensor hamming_distances(const Tensor& codes, const Tensor& queries, std::optional<Tensor> key, int64_t runs) {
  const Comparison comparison(codes, queries, key, runs);
  const int64_t columns = comparison.codes();
  const Tensor result = torch::stable::empty({comparison.queries(), columns}, ScalarType::Int);
  int32_t* const start = output<int32_t>(result);
  comparison.in_parallel([&](int64_t begin, int64_t end) {
    comparison.compare(begin, end, [&](int64_t query, int64_t first, const int32_t* distances, int64_t count) {
      std::memcpy(start + query * columns + first, distances, count * sizeof(int32_t));
    });
  });
  return result;
}

STABLE_TORCH_LIBRARY_IMPL(privface, CPU, library) {
  library.impl("hamming_topk", TORCH_BOX(&hamming_topk));
  library.impl("hamming_distances", TORCH_BOX(&hamming_distances));
}

}  // namespace
}  // namespace privface
