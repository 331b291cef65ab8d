// Distances of packed codes; compiled once for every instruction set, with vectors of PRIVFACE_VECTOR bytes, see
// hamming.cpp.
//
// A Vector holds the same word of several codes, one in each of its lanes, so that nothing is ever added across lanes.
// `also` adds to the bits in which codes differ from a query those of one more run. `count` gives the ones of a word,
// possibly spread over its bytes; as many such counts as `counts_at_once` says can be added before `total` has to
// gather them into one number per lane.

typedef uint64_t Vector __attribute__((vector_size(PRIVFACE_VECTOR)));
typedef int32_t Distances __attribute__((vector_size(PRIVFACE_VECTOR / 2)));

#if PRIVFACE_VECTOR == 64

constexpr int64_t counts_at_once = INT64_MAX;

static inline Vector count(Vector word) { return (Vector)_mm512_popcnt_epi64((__m512i)word); }
static inline Vector total(Vector counts) { return counts; }
static inline Vector also(Vector differs, Vector code, uint64_t query) {
  return (Vector)_mm512_ternarylogic_epi64((__m512i)differs, (__m512i)code, _mm512_set1_epi64(query), 0xf6);
}

#elif PRIVFACE_VECTOR == 32

constexpr int64_t counts_at_once = 31;  // of up to 8 each in a byte

// The ones of every byte: a table of those of its halves.
static inline Vector count(Vector word) {
  const __m256i half = _mm256_set1_epi8(15);
  const __m256i ones = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
  const __m256i low = _mm256_and_si256((__m256i)word, half);
  const __m256i high = _mm256_and_si256((__m256i)(word >> 4), half);
  return (Vector)_mm256_add_epi8(_mm256_shuffle_epi8(ones, low), _mm256_shuffle_epi8(ones, high));
}
static inline Vector total(Vector counts) {
  return (Vector)_mm256_sad_epu8((__m256i)counts, _mm256_setzero_si256());
}

#else

constexpr int64_t counts_at_once = 31;  // of up to 8 each in a byte

// The ones of every byte: those of pairs of bits, of fours, of eights.
static inline Vector count(Vector word) {
  word -= (word >> 1) & 0x5555555555555555u;
  word = (word & 0x3333333333333333u) + ((word >> 2) & 0x3333333333333333u);
  return (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0fu;
}
static inline Vector total(Vector counts) {
  counts = (counts & 0x00ff00ff00ff00ffu) + ((counts >> 8) & 0x00ff00ff00ff00ffu);
  counts += counts >> 32;
  return (counts + (counts >> 16)) & 0xffffu;
}

#endif

#if PRIVFACE_VECTOR < 64
static inline Vector also(Vector differs, Vector code, uint64_t query) { return differs | (code ^ query); }
#endif

constexpr int lanes = sizeof(Vector) / sizeof(uint64_t);
constexpr int together = PRIVFACE_VECTOR == 64 ? 2 : 1;

// Lane i is that number places[i] of both vectors, one put behind the other.
static inline Vector choose(Vector first, Vector second, Vector places) {
#ifdef __clang__
  Vector result;
  for (int lane = 0; lane < lanes; ++lane) {
    result[lane] = places[lane] < lanes ? first[places[lane]] : second[places[lane] - lanes];
  }
  return result;
#else
  return __builtin_shuffle(first, second, places);
#endif
}

// Exchange rows and columns of `lanes` vectors: with step 1 within squares of 2 x 2, then those in ones of 4 x 4 ...
template <int step>
static inline __attribute__((always_inline)) void transpose(Vector* rows) {
  if constexpr (step < lanes) {
    Vector low = {}, high = {};
    for (int lane = 0; lane < lanes; ++lane) {
      low[lane] = lane & step ? lanes + lane - step : lane;
      high[lane] = lane & step ? lanes + lane : lane + step;
    }
    for (int row = 0; row < lanes; ++row) {
      if (row & step) continue;
      const Vector first = rows[row], second = rows[row + step];
      rows[row] = choose(first, second, low);
      rows[row + step] = choose(first, second, high);
    }
    transpose<2 * step>(rows);
  }
}

static inline Vector unaligned(const uint64_t* words) {
  Vector result;
  __builtin_memcpy(&result, words, sizeof(Vector));
  return result;
}

// Put `rows` codes, XORed with their key where there is one, side by side; lanes without a code are 0.
template <bool keyed>
static void interleave(Words codes, Words key, int64_t rows, int64_t words, Block* blocks) {
  for (int64_t first = 0; first < rows; first += block_codes, blocks += words) {
    for (int part = 0; part < block_codes; part += lanes) {
      const int64_t row = first + part;
      const bool whole = row + lanes <= rows;
      int64_t word = 0;
      for (; whole && word + lanes <= words; word += lanes) {
        Vector square[lanes];
        for (int lane = 0; lane < lanes; ++lane) {
          square[lane] = unaligned(codes.row(row + lane) + word);
          if (keyed) square[lane] ^= unaligned(key.row(row + lane) + word);
        }
        transpose<1>(square);
        for (int lane = 0; lane < lanes; ++lane) *(Vector*)&blocks[word + lane].lane[part] = square[lane];
      }
      for (; word < words; ++word) {
        for (int lane = 0; lane < lanes; ++lane) {
          const bool present = row + lane < rows;
          const uint64_t pad = keyed && present ? key.row(row + lane)[word] : 0;
          blocks[word].lane[part + lane] = present ? codes.row(row + lane)[word] ^ pad : 0;
        }
      }
    }
  }
}

static void interleave_codes(Words codes, Words key, int64_t rows, int64_t words, Block* blocks) {
  if (key.start == nullptr) return interleave<false>(codes, key, rows, words, blocks);
  interleave<true>(codes, key, rows, words, blocks);
}

// Distances of some codes to `queries` neighbouring queries. A word differs where it does in any of the `runs` of its
// code; 0 stands for as many as there are at run time.
template <int queries, int runs>
static void compare(const Block* codes, int64_t blocks, const uint64_t* query, Shape shape, int32_t* distances) {
  const int64_t words = shape.words, row = shape.words * shape.runs;
  for (int64_t block = 0; block < blocks; ++block, codes += row) {
    for (int part = 0; part < block_codes; part += lanes * together) {
      Vector sums[queries][together] = {};
      for (int64_t begin = 0; begin < words; begin += counts_at_once < words ? counts_at_once : words) {
        const int64_t end = counts_at_once < words - begin ? begin + counts_at_once : words;
        Vector counts[queries][together] = {};
        for (int64_t word = begin; word < end; ++word) {
          for (int q = 0; q < queries; ++q) {
            for (int t = 0; t < together; ++t) {
              const Vector* code = (const Vector*)&codes[word].lane[part] + t;
              Vector differs = *code ^ query[q * row + word];
              for (int run = 1; run < (runs ? runs : shape.runs); ++run) {
                const int64_t place = run * words + word;
                const Vector* other = (const Vector*)&codes[place].lane[part] + t;
                differs = also(differs, *other, query[q * row + place]);
              }
              counts[q][t] += count(differs);
            }
          }
        }
        for (int q = 0; q < queries; ++q) {
          for (int t = 0; t < together; ++t) sums[q][t] += total(counts[q][t]);
        }
      }
      for (int q = 0; q < queries; ++q) {
        Distances* result = (Distances*)&distances[q * chunk_codes + block * block_codes + part];
        for (int t = 0; t < together; ++t) result[t] = __builtin_convertvector(sums[q][t], Distances);
      }
    }
  }
}

template <int queries>
static void compare_runs(const Block* codes, int64_t blocks, const uint64_t* query, Shape shape, int32_t* distances) {
  switch (shape.runs) {
    case 1:
      return compare<queries, 1>(codes, blocks, query, shape, distances);
    case 2:
      return compare<queries, 2>(codes, blocks, query, shape, distances);
    case 3:
      return compare<queries, 3>(codes, blocks, query, shape, distances);
    case 4:
      return compare<queries, 4>(codes, blocks, query, shape, distances);
    default:
      return compare<queries, 0>(codes, blocks, query, shape, distances);
  }
}

// Distances of up to chunk_codes codes to up to `queries_at_once` queries, whose rows are chunk_codes apart.
static void compare_all(const Block* codes, int64_t blocks, const uint64_t* query, int64_t queries, Shape shape,
                        int32_t* distances) {
  if (queries == queries_at_once) return compare_runs<queries_at_once>(codes, blocks, query, shape, distances);
  for (int64_t q = 0; q < queries; ++q) {
    compare_runs<1>(codes, blocks, query + q * shape.words * shape.runs, shape, distances + q * chunk_codes);
  }
}

static int32_t least(const int32_t* distances, int64_t count) {
  int32_t result = INT32_MAX;
  for (int64_t i = 0; i < count; ++i) result = distances[i] < result ? distances[i] : result;
  return result;
}
