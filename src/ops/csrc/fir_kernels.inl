// Upsampling, filtering and downsampling of images by separable filters. Every output row is made in two steps: the
// input rows that it depends on are summed, weighted, into a buffer; then the buffer is filtered along the row.

template <int COUNT, class T, class Sum, class Out>
PRIVFACE_INLINE void sum_fixed(Out* __restrict out, const T* values, long stride, const Sum* term_weights, long length) {
  Sum weights[COUNT];
  for (int k = 0; k < COUNT; ++k) weights[k] = term_weights[k];
  for (long i = 0; i < length; ++i) {
    Sum sum = 0;
#pragma GCC unroll 12
    for (int k = 0; k < COUNT; ++k) sum += weights[k] * load(values + k * stride, i);
    store(out, i, sum);
  }
}

// out[i] = sum over k of weights[k] * values[i + k * stride], for i < length
template <class T, class Sum, class Out>
PRIVFACE_INLINE void sum_terms(Out* __restrict out, const T* values, long stride, const Sum* weights, long count,
                               long length) {
  switch (count) {
    case 1:
      return sum_fixed<1>(out, values, stride, weights, length);
    case 2:
      return sum_fixed<2>(out, values, stride, weights, length);
    case 3:
      return sum_fixed<3>(out, values, stride, weights, length);
    case 4:
      return sum_fixed<4>(out, values, stride, weights, length);
    case 6:
      return sum_fixed<6>(out, values, stride, weights, length);
    case 12:
      return sum_fixed<12>(out, values, stride, weights, length);
    default:
      break;
  }
  constexpr long block = 256;
  for (long first = 0; first < length; first += block) {
    const long size = length - first < block ? length - first : block;
    Sum sums[block] = {};
    for (long k = 0; k < count; ++k) {
      const T* row = values + first + k * stride;
      const Sum weight = weights[k];
      for (long i = 0; i < size; ++i) sums[i] += weight * load(row, i);
    }
    for (long i = 0; i < size; ++i) store(out, first + i, sums[i]);
  }
}

// Filters a row with zeros around it, not upsampled.
template <int DOWN, int TAPS, class Sum, class Out>
PRIVFACE_INLINE void filter_row(Out* __restrict out, const Sum* row, const Axis<Sum>& axis) {
  Sum taps[TAPS];
  for (int k = 0; k < TAPS; ++k) taps[k] = axis.taps[k];
  const Sum* values = row - axis.before;
  const long length = axis.output;
  for (long i = 0; i < length; ++i) {
    Sum sum = 0;
#pragma GCC unroll 12
    for (int k = 0; k < TAPS; ++k) sum += taps[k] * values[i * DOWN + k];
    store(out, i, sum);
  }
}

// Filters a row with zeros around it, upsampled by 2: even and odd outputs see every second tap.
template <int TAPS, class Sum, class Out>
PRIVFACE_INLINE void filter_row_up2(Out* __restrict out, const Sum* row, const Axis<Sum>& axis) {
  // The input from which an output starts, rounded up; what is left over tells the first tap.
  const long even_index = (1 - axis.before) >> 1, odd_index = (2 - axis.before) >> 1;
  const Sum *even_values = row + even_index, *odd_values = row + odd_index;
  Sum even_taps[TAPS / 2], odd_taps[TAPS / 2];
  for (int k = 0; k < TAPS / 2; ++k) {
    even_taps[k] = axis.taps[2 * even_index + axis.before + 2 * k];
    odd_taps[k] = axis.taps[2 * odd_index - 1 + axis.before + 2 * k];
  }
  const long pairs = axis.output / 2;
  for (long i = 0; i < pairs; ++i) {
    Sum even = 0, odd = 0;
#pragma GCC unroll 6
    for (int k = 0; k < TAPS / 2; ++k) {
      even += even_taps[k] * even_values[i + k];
      odd += odd_taps[k] * odd_values[i + k];
    }
    store(out, 2 * i, even);
    store(out, 2 * i + 1, odd);
  }
  if (axis.output % 2) {
    Sum even = 0;
    for (int k = 0; k < TAPS / 2; ++k) even += even_taps[k] * even_values[pairs + k];
    store(out, 2 * pairs, even);
  }
}

// Filters a row by whatever the axis says.
template <class Sum, class Out>
PRIVFACE_INLINE void filter_row_any(Out* __restrict out, const Sum* row, const Axis<Sum>& axis) {
  for (long i = 0; i < axis.output; ++i) {
    const Terms<Sum>& terms = axis.terms[i];
    Sum sum = 0;
    for (long k = 0; k < terms.count; ++k) sum += terms.weights[k] * row[terms.first + k];
    store(out, i, sum);
  }
}

template <class Sum, class Out>
PRIVFACE_INLINE void filter_row_by(Out* __restrict out, const Sum* row, const Axis<Sum>& axis) {
  const long up = axis.up, down = axis.down, taps = axis.tap_count;
  if (up == 1 && down == 1 && taps == 4) return filter_row<1, 4>(out, row, axis);
  if (up == 1 && down == 2 && taps == 4) return filter_row<2, 4>(out, row, axis);
  if (up == 2 && down == 1 && taps == 4) return filter_row_up2<4>(out, row, axis);
  if (up == 1 && down == 1 && taps == 12) return filter_row<1, 12>(out, row, axis);
  if (up == 1 && down == 2 && taps == 12) return filter_row<2, 12>(out, row, axis);
  if (up == 2 && down == 1 && taps == 12) return filter_row_up2<12>(out, row, axis);
  filter_row_any(out, row, axis);
}

// Output rows begin to end of contiguous planes, counted over all planes. `row` is a buffer for a row of the input, with
// zeros before and after it as far as the filter reaches.
template <class T, class Sum>
static void filter_planes(const T* x, T* y, long begin, long end, Axis<Sum> vertical, Axis<Sum> horizontal, Sum* row) {
  const long width = horizontal.input;
  const T* image = x + begin / vertical.output * vertical.input * width;
  long line = begin % vertical.output;
  for (long i = begin; i < end; ++i) {
    const Terms<Sum>& terms = vertical.terms[line];
    sum_terms(row, image + terms.first * width, width, terms.weights, terms.count, width);
    filter_row_by(y + i * horizontal.output, row, horizontal);
    if (++line == vertical.output) {
      line = 0;
      image += vertical.input * width;
    }
  }
}

// Output rows begin to end of images whose channels lie innermost, counted over all images. `row` is a buffer for a row
// of the input.
template <class T, class Sum>
static void filter_channels_last(const T* x, T* y, long begin, long end, long channels, Axis<Sum> vertical,
                                 Axis<Sum> horizontal, Sum* row) {
  const long width = horizontal.input * channels;
  for (long i = begin; i < end; ++i) {
    const T* image = x + i / vertical.output * vertical.input * width;
    const Terms<Sum>& terms = vertical.terms[i % vertical.output];
    sum_terms(row, image + terms.first * width, width, terms.weights, terms.count, width);
    for (long column = 0; column < horizontal.output; ++column) {
      const Terms<Sum>& row_terms = horizontal.terms[column];
      sum_terms(y + (i * horizontal.output + column) * channels, row + row_terms.first * channels, channels,
                row_terms.weights, row_terms.count, channels);
    }
  }
}
