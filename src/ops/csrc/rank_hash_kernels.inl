// Index of the largest of every q neighbours, of equal ones the first; compiled once for every instruction set, with
// vectors of PRIVFACE_VECTOR bytes (0: without), see rank_hash.cpp.

// One group after the other.
template <class T>
static void argmax_plainly(const T* values, int64_t groups, int64_t q, uint8_t* indices) {
  for (int64_t group = 0; group < groups; ++group, values += q) {
    T largest = values[0];
    uint8_t index = 0;
    for (int64_t element = 1; element < q; ++element) {
      const bool larger = values[element] > largest;
      index = larger ? element : index;
      largest = larger ? values[element] : largest;
    }
    indices[group] = index;
  }
}

static void argmax(const double* values, int64_t groups, int64_t q, uint8_t* indices) {
  argmax_plainly(values, groups, q, indices);
}

#if PRIVFACE_VECTOR == 0

static void argmax(const float* values, int64_t groups, int64_t q, uint8_t* indices) {
  argmax_plainly(values, groups, q, indices);
}

#else

typedef float Values __attribute__((vector_size(PRIVFACE_VECTOR)));
typedef int32_t Places __attribute__((vector_size(PRIVFACE_VECTOR)));
typedef uint8_t Indices __attribute__((vector_size(PRIVFACE_VECTOR / 4)));
constexpr int lanes = PRIVFACE_VECTOR / 4;
// Shorter groups are gathered into lanes, longer ones read as they lie.
constexpr int64_t long_group = 64;

static inline Values gather(const float* values, Places places) {
#if PRIVFACE_VECTOR == 64
  return (Values)_mm512_i32gather_ps((__m512i)places, values, 4);
#else
  return (Values)_mm256_i32gather_ps(values, (__m256i)places, 4);
#endif
}

static inline Places lane_numbers() {
  Places numbers;
  for (int lane = 0; lane < lanes; ++lane) numbers[lane] = lane;
  return numbers;
}

// Neighbouring groups, one in each lane.
static inline void argmax_of_lanes(const float* values, int64_t q, uint8_t* indices) {
  const Places places = lane_numbers() * static_cast<int32_t>(q);
  Values largest = gather(values, places);
  Places index = {};
  for (int32_t element = 1; element < q; ++element) {
    const Values value = gather(values + element, places);
    const Places larger = value > largest;
    index = larger ? Places{} + element : index;
    largest = larger ? value : largest;
  }
  const Indices narrow = __builtin_convertvector(index, Indices);
  __builtin_memcpy(indices, &narrow, sizeof(narrow));
}

// A long group, whose elements are dealt out among the lanes.
static inline uint8_t argmax_across_lanes(const float* values, int64_t q) {
  Values largest;
  __builtin_memcpy(&largest, values, sizeof(largest));
  Places index = lane_numbers();
  for (int64_t element = lanes; element < q; element += lanes) {
    // The last ones may be looked at twice; they are not larger than themselves.
    const int32_t start = static_cast<int32_t>(element + lanes <= q ? element : q - lanes);
    Values value;
    __builtin_memcpy(&value, values + start, sizeof(value));
    const Places larger = value > largest;
    index = larger ? lane_numbers() + start : index;
    largest = larger ? value : largest;
  }
  for (int step = lanes / 2; step; step /= 2) {
    const Values value = __builtin_shuffle(largest, lane_numbers() ^ step);
    const Places other = __builtin_shuffle(index, lane_numbers() ^ step);
    const Places better = (value > largest) | ((value == largest) & (other < index));
    index = better ? other : index;
    largest = better ? value : largest;
  }
  return static_cast<uint8_t>(index[0]);
}

static void argmax(const float* values, int64_t groups, int64_t q, uint8_t* indices) {
  int64_t group = 0;
  if (q < long_group) {
    for (; group + lanes <= groups; group += lanes) argmax_of_lanes(values + group * q, q, indices + group);
    argmax_plainly(values + group * q, groups - group, q, indices + group);
  } else {
    for (; group < groups; ++group) indices[group] = argmax_across_lanes(values + group * q, q);
  }
}

#endif
