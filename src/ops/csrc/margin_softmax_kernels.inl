// Passes over the rows of a block of cosines, and over vectors of which the gradient is taken. T is the type of the
// matrix products, A what is computed in. Every loop takes its scalars by value: what a lambda captures by reference
// could alias the stores, and the loop would not vectorise.

// Sums and maxima are kept in so many lanes, since without -ffast-math the compiler must not reorder a single one. More
// than fit the registers: the lanes of one step must not wait for those of the step before.
constexpr long lane_count = 128;

PRIVFACE_INLINE long shorter(long a, long b) { return a < b ? a : b; }

template <class A>
PRIVFACE_INLINE A add_lanes(A* lanes) {
  for (long half = lane_count / 2; half > 0; half /= 2)
    for (long k = 0; k < half; ++k) lanes[k] += lanes[half + k];
  return lanes[0];
}

// e^x for x <= 0 to about one unit in the last place, 0 below -87.3.
PRIVFACE_INLINE float exponential(float x) {
  constexpr float lowest = -87.3f, to_binary = 1.44269504f;
  constexpr float round = 12582912.f;  // 1.5 * 2^23: adding it leaves the nearest integer in the lowest bits
  constexpr float ln2_high = 0.693145752f, ln2_low = 1.42860677e-6f;
  union {
    float value;
    int bits;
  } power, result;
  const float bounded = x < lowest ? lowest : x;  // a NaN stays one
  power.value = bounded * to_binary + round;
  const float n = power.value - round;
  const float r = (bounded - n * ln2_high) - n * ln2_low;
  // (e^r - 1 - r) / r^2 on [-ln 2 / 2, ln 2 / 2], fitted so that the greatest relative error of e^r is 3e-9.
  float p = 1.38145988e-3f;
  p = p * r + 8.36871658e-3f;
  p = p * r + 4.1668389e-2f;
  p = p * r + 1.66665211e-1f;
  p = p * r + 4.9999994e-1f;
  result.value = p * r * r + r + 1.0f;
  result.bits += power.bits << 23;
  return x < lowest ? 0.0f : result.value;
}
PRIVFACE_INLINE double exponential(double x) { return __builtin_exp(x); }

// What takes part in the softmax: a class that is suspiciously close counts as one at a right angle.
template <class A>
PRIVFACE_INLINE A considered(A cosine, A threshold) {
  return cosine > threshold ? A(0) : cosine;
}

template <class A>
PRIVFACE_INLINE A greatest(const A* cosines, long size, A threshold) {
  A lanes[lane_count];
  for (long k = 0; k < lane_count; ++k) lanes[k] = -1;
  for (long first = 0; first < size; first += lane_count)
    for (long k = 0; k < shorter(lane_count, size - first); ++k) {
      const A value = considered(cosines[first + k], threshold);
      lanes[k] = value > lanes[k] ? value : lanes[k];
    }
  for (long half = lane_count / 2; half > 0; half /= 2)
    for (long k = 0; k < half; ++k) lanes[k] = lanes[half + k] > lanes[k] ? lanes[half + k] : lanes[k];
  return lanes[0];
}

template <class A>
PRIVFACE_INLINE A sum_of_exponentials(const A* cosines, long size, A threshold, A shift, A scale) {
  A lanes[lane_count] = {};
  for (long first = 0; first < size; first += lane_count)
    for (long k = 0; k < shorter(lane_count, size - first); ++k)
      lanes[k] += exponential(scale * (considered(cosines[first + k], threshold) - shift));
  return add_lanes(lanes);
}

// Cosines from products with vectors that are not normalised; then the maximum and the sum of exponentials of all but
// the target's, which is set to minus infinity. A target outside [0, size) is in another block.
template <class T, class A>
static void statistics(const T* products, const A* inverse_norms, long size, long target, A scale, A threshold,
                       A* cosines, A* maximum, A* sum) {
  for (long i = 0; i < size; ++i) {
    A cosine = load(products, i) * inverse_norms[i];
    cosine = cosine < A(-1) ? A(-1) : cosine;
    cosines[i] = cosine > A(1) ? A(1) : cosine;
  }
  if (target >= 0 && target < size) cosines[target] = -INFINITY;
  *maximum = greatest(cosines, size, threshold);
  *sum = sum_of_exponentials(cosines, size, threshold, *maximum, scale);
}

// Gradient of the products.
template <class T, class A>
static void gradient(const A* cosines, const A* inverse_norms, long size, long target, A shift, A factor,
                     A target_gradient, A scale, A threshold, T* result) {
  for (long i = 0; i < size; ++i) {
    const A cosine = cosines[i];
    const A value = exponential(scale * (cosine - shift)) * factor * inverse_norms[i];
    store(result, i, cosine > threshold ? A(0) : value);
  }
  if (target >= 0 && target < size) store(result, target, target_gradient * inverse_norms[target]);
}

// What is left of a gradient without its part along a vector.
template <class T, class A>
static void tangential(const T* gradients, const A* vector, A inverse_norm, long size, A* result) {
  A lanes[lane_count] = {};
  for (long first = 0; first < size; first += lane_count)
    for (long k = 0; k < shorter(lane_count, size - first); ++k)
      lanes[k] += load(gradients, first + k) * vector[first + k];
  const A along = add_lanes(lanes) * inverse_norm * inverse_norm;
  for (long i = 0; i < size; ++i) result[i] = load(gradients, i) - along * vector[i];
}
