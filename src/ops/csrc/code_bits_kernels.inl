// Planes of bits; compiled once for every instruction set, with vectors of PRIVFACE_VECTOR bytes (0: without), see
// code_bits.cpp.

// The first word of every plane of up to 64 symbols; a symbol is `planes` bytes, 0 or not.
static void pack_some(const uint8_t* symbols, int64_t count, int64_t planes, int64_t plane_words, uint64_t* words) {
  for (int64_t plane = 0; plane < planes; ++plane) {
    uint64_t word = 0;
    for (int64_t i = 0; i < count; ++i) word |= static_cast<uint64_t>(symbols[i * planes + plane] != 0) << i;
    words[plane * plane_words] = word;
  }
}

// A whole code, or what is left of one.
static void pack_rest(const uint8_t* symbols, int64_t count, int64_t planes, int64_t plane_words, uint64_t* words) {
  for (; count > 0; count -= 64, symbols += 64 * planes, ++words) {
    pack_some(symbols, count < 64 ? count : 64, planes, plane_words, words);
  }
}

#if PRIVFACE_VECTOR == 0

static void pack_codes(const uint8_t* symbols, int64_t codes, int64_t count, int64_t planes, uint64_t* words) {
  const int64_t plane_words = (count + 63) / 64;
  for (int64_t code = 0; code < codes; ++code) {
    pack_rest(symbols + code * count * planes, count, planes, plane_words, words + code * planes * plane_words);
  }
}

#else

// Which of 64 bytes are not 0.
static inline uint64_t bits_of(const uint8_t* bytes) {
  const __m256i zero = _mm256_setzero_si256();
  const __m256i low = _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i*)bytes), zero);
  const __m256i high = _mm256_cmpeq_epi8(_mm256_loadu_si256((const __m256i*)(bytes + 32)), zero);
  return ~(static_cast<uint64_t>(static_cast<uint32_t>(_mm256_movemask_epi8(high))) << 32 |
           static_cast<uint32_t>(_mm256_movemask_epi8(low)));
}

// Packs the bytes of 64 symbols side by side, and takes every so many-th bit of that for a plane.
static void pack_codes(const uint8_t* symbols, int64_t codes, int64_t count, int64_t planes, uint64_t* words) {
  const int64_t plane_words = (count + 63) / 64;
  const int64_t whole = planes > 0 && planes <= 64 ? count / 64 : 0;
  uint64_t every[64] = {};  // bits r, r + planes, r + 2 planes ... of a word
  for (int64_t bit = 0; bit < 64 && whole; ++bit) every[bit % planes] |= uint64_t{1} << bit;
  for (int64_t code = 0; code < codes; ++code, words += planes * plane_words) {
    for (int64_t word = 0; word < whole; ++word, symbols += 64 * planes) {
      uint64_t packed[64];
      for (int64_t part = 0; part < planes; ++part) packed[part] = bits_of(symbols + 64 * part);
      for (int64_t plane = 0; plane < planes; ++plane) {
        uint64_t result = 0;
        int64_t filled = 0, first = plane;  // the first bit of the plane in a word
        for (int64_t part = 0; part < planes; ++part) {
          result |= _pext_u64(packed[part], every[first]) << filled;
          const int64_t taken = _mm_popcnt_u64(every[first]);
          filled += taken;
          first += taken * planes - 64;
        }
        words[plane * plane_words + word] = result;
      }
    }
    pack_rest(symbols, count - 64 * whole, planes, plane_words, words + whole);
    symbols += (count - 64 * whole) * planes;
  }
}

#endif
