// Leaky ReLU of x + bias, times a gain, clamped; and its gradient, which the output is enough to tell.

template <class Sum>
PRIVFACE_INLINE Sum activate(Sum value, Activation<Sum> activation) {
  value *= value > 0 ? activation.gain : activation.negative_gain;
  value = value > activation.clamp ? activation.clamp : value;
  return value < -activation.clamp ? -activation.clamp : value;
}

template <class Sum>
PRIVFACE_INLINE Sum differentiate(Sum gradient, Sum output, Activation<Sum> activation) {
  const Sum factor = output > 0 ? activation.gain : activation.negative_gain;
  const bool outside = output >= activation.clamp || output <= -activation.clamp;
  return outside ? 0 : gradient * factor;
}

// A run of values that share a bias.
template <class T, class Sum>
static void activate_plane(const T* __restrict x, T* __restrict y, long size, Sum bias, Activation<Sum> activation) {
  for (long i = 0; i < size; ++i) store(y, i, activate(load(x, i) + bias, activation));
}

// One pixel, a value and a bias for each channel.
template <class T, class Sum>
static void activate_pixels(const T* __restrict x, T* __restrict y, long pixels, long channels,
                            const T* __restrict bias, Activation<Sum> activation) {
  for (long pixel = 0; pixel < pixels; ++pixel, x += channels, y += channels)
    for (long i = 0; i < channels; ++i) store(y, i, activate(load(x, i) + load(bias, i), activation));
}

template <class T, class Sum>
static void differentiate_run(const T* __restrict gradient, const T* __restrict y, T* __restrict out, long size,
                              Activation<Sum> activation) {
  for (long i = 0; i < size; ++i) store(out, i, differentiate(load(gradient, i), load(y, i), activation));
}

// As above; returns the sum of what it writes. The sum is kept in lanes, for it to be vectorised, and rounded alike
// whatever the number of threads.
template <class T, class Sum>
static Sum differentiate_plane(const T* __restrict gradient, const T* __restrict y, T* __restrict out, long size,
                               Activation<Sum> activation) {
  constexpr long lanes = 32;
  Sum sums[lanes] = {};
  long first = 0;
  for (; first + lanes <= size; first += lanes)
    for (long i = 0; i < lanes; ++i) {
      const Sum value = differentiate(load(gradient, first + i), load(y, first + i), activation);
      store(out, first + i, value);
      sums[i] += value;
    }
  for (long i = 0; first + i < size; ++i) {
    const Sum value = differentiate(load(gradient, first + i), load(y, first + i), activation);
    store(out, first + i, value);
    sums[i] += value;
  }
  for (long half = lanes / 2; half > 0; half /= 2)
    for (long i = 0; i < half; ++i) sums[i] += sums[i + half];
  return sums[0];
}

// As above for pixels; adds what it writes to the sums, one for each channel.
template <class T, class Sum>
static void differentiate_pixels(const T* __restrict gradient, const T* __restrict y, T* __restrict out, long pixels,
                                 long channels, Sum* __restrict sums, Activation<Sum> activation) {
  for (long pixel = 0; pixel < pixels; ++pixel, gradient += channels, y += channels, out += channels)
    for (long i = 0; i < channels; ++i) {
      const Sum value = differentiate(load(gradient, i), load(y, i), activation);
      store(out, i, value);
      sums[i] += value;
    }
}
