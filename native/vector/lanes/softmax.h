/* Rows of scores. Those in double are written in lanes; those in integers in C that compilers turn into vectors. */

static void powers(double scale, beta_exponentials *e) {
  double digit[LANES];
  for (unsigned j = 0; j < LANES; j++) digit[j] = j;
  for (unsigned k = 0; k < BETA_DIGITS; k++, scale *= 16) {
    lanes_store(e->powers[k], exp_lanes(lanes_mul(lanes_set(-scale), lanes_load(digit))));
    e->powers[k][0] = 1; /* whatever the scale is */
  }
#ifdef LANES_PAIRS
  for (unsigned pair = 0; pair < BETA_DIGITS / 2; pair++) {
    for (unsigned byte = 0; byte < 256; byte++) e->pairs[pair][byte] = e->powers[2 * pair][byte & 15] * e->powers[2 * pair + 1][byte >> 4];
  }
#endif
}

/* Digits are taken in pairs, whose products kernels may have in tables; a power of the digit 0 is 1, so how many are taken does not matter. */
INLINE double weigh_pairs(const void *scores, bool int16, uint32_t width, int32_t most, const beta_exponentials *exponentials, unsigned pairs,
                          double *e) {
  const lanes top = lanes_set(most), rounder = lanes_set(ROUNDER);
  sums s = sums_none();
  EACH_PAIR(width, i, left, odd, {
    lanes z = lanes_add(lanes_sub(top, integers_at(scores, int16, i, left)), rounder);
    lanes w = lanes_of_pair(exponentials, 0, z);
    for (unsigned k = 1; k < pairs; k++) {
      z = lanes_next_byte(z);
      w = lanes_mul(w, lanes_of_pair(exponentials, k, z));
    }
    w = keep(w, left, 0);
    sums_add(&s, odd, w);
    put_doubles(e + i, w, left);
  });
  return sums_total(s);
}

static double weigh(const void *scores, bool int16, uint32_t width, int32_t most, uint32_t furthest, const beta_exponentials *exponentials,
                    double *e) {
  if (furthest < 1u << 16) return weigh_pairs(scores, int16, width, most, exponentials, 2, e);
  if (furthest < 1u << 24) return weigh_pairs(scores, int16, width, most, exponentials, 3, e);
  return weigh_pairs(scores, int16, width, most, exponentials, 4, e);
}

/* 2^y for -126 <= y <= 0: a polynomial for the fraction, within 2^-22.5 of itself, and the whole part to the exponent. */
INLINE floats power_singles(floats y) {
  static const float factors[] = {0x1.3d1070p-7f, 0x1.c6af6cp-5f, 0x1.ebf906p-3f, 0x1.62e430p-1f, 0x1.000002p+0f};
  const floats rounder = floats_set(SINGLE_ROUNDER), z = floats_add(y, rounder), f = floats_sub(y, floats_sub(z, rounder));
  floats p = floats_set(0x1.5f0890p-10f);
  for (unsigned k = 0; k < sizeof factors / sizeof factors[0]; k++) p = floats_mul_add(p, f, floats_set(factors[k]));
  return floats_scaled(p, z);
}

#define LOG2_E 1.4426950408889634

static float approximate(const void *scores, bool int16, uint32_t width, int32_t most, double scale, float *e) {
  const beta_numbers type = int16 ? BETA_INT16 : BETA_INT32;
  const floats top = floats_set((float)most), unit = floats_set((float)(scale * LOG2_E)), least = floats_set(-126), none = floats_set(0);
  floats sum = none;
  EACH_LANES(width, i, left, {
    const floats y = floats_mul_add(floats_sub(numbers_at(scores, type, i, left), top), unit, none);
    floats w = power_singles(floats_min(floats_max(y, least), none));
    if (left != LANES) w = floats_first(w, left);
    sum = floats_add(sum, w);
    floats_store(e + i, w);
  });
  return floats_total(sum);
}

static double weigh_moved(const void *scores, bool int16, uint32_t width, const int32_t *key_sums, double step, double t, double scale,
                          double *e) {
  const lanes steps = lanes_set(step), offset = lanes_set(t);
  lanes most = lanes_set(-INFINITY);
  EACH_LANES(width, i, left, {
    const lanes y = lanes_add(lanes_mul(steps, integers_at(scores, int16, i, left)), lanes_mul(offset, int32_at(key_sums + i, left)));
    most = lanes_max(keep(y, left, -INFINITY), most);
    put_doubles(e + i, y, left);
  });
  double each[LANES], largest = -INFINITY;
  lanes_store(each, most);
  for (unsigned i = 0; i < LANES; i++) largest = each[i] > largest ? each[i] : largest;
  const lanes top = lanes_set(largest), minus = lanes_set(-scale);
  sums s = sums_none();
  EACH_PAIR(width, i, left, odd, {
    const lanes w = keep(exp_lanes(lanes_mul(minus, lanes_sub(top, doubles_at(e + i, left)))), left, 0);
    sums_add(&s, odd, w);
    put_doubles(e + i, w, left);
  });
  return sums_total(s);
}

#ifndef LANES_TABLES
#define EACH_SCORE(type, body)                        \
  do {                                                \
    const type *score = scores;                       \
    for (uint32_t i = 0; i < width; i++) body;        \
  } while (0)

static void extremes(const void *scores, bool int16, uint32_t width, int32_t *least, int32_t *most) {
  if (int16) {
    int16_t low = INT16_MAX, high = INT16_MIN;
    EACH_SCORE(int16_t, {
      low = score[i] < low ? score[i] : low;
      high = score[i] > high ? score[i] : high;
    });
    *least = low;
    *most = high;
  } else {
    int32_t low = INT32_MAX, high = INT32_MIN;
    EACH_SCORE(int32_t, {
      low = score[i] < low ? score[i] : low;
      high = score[i] > high ? score[i] : high;
    });
    *least = low;
    *most = high;
  }
}

static void distances(const void *scores, bool int16, uint32_t width, int32_t most, uint8_t *distances) {
  if (int16) EACH_SCORE(int16_t, distances[i] = (uint8_t)(most - score[i]));
  else EACH_SCORE(int32_t, distances[i] = (uint8_t)(most - score[i]));
}

static int64_t total(const beta_exponentials *exponentials, const uint8_t *distances, uint32_t width, uint32_t furthest) {
  (void)furthest;
  int64_t four[4] = {0};
  uint32_t i = 0;
  for (; i + 4 <= width; i += 4) {
    for (unsigned j = 0; j < 4; j++) four[j] += exponentials->fixed[distances[i + j]];
  }
  for (; i < width; i++) four[0] += exponentials->fixed[distances[i]];
  return four[0] + four[1] + four[2] + four[3];
}

static void look_up(const uint8_t *table, const uint8_t *distances, uint32_t width, uint32_t furthest, uint8_t *codes) {
  (void)furthest;
  for (uint32_t i = 0; i < width; i++) codes[i] = table[distances[i]];
}

static void reach(const void *scores, bool int16, uint32_t width, int32_t threshold, uint8_t *plane) {
  uint8_t reached[BETA_BLOCK_ELEMENTS];
  for (uint32_t begin = 0; begin < width; begin += BETA_BLOCK_ELEMENTS, plane += BETA_BEAT_BYTES) {
    const uint32_t left = width - begin < BETA_BLOCK_ELEMENTS ? width - begin : BETA_BLOCK_ELEMENTS;
    if (left < BETA_BLOCK_ELEMENTS) memset(reached, 0, sizeof reached);
    if (int16) {
      const int16_t *score = (const int16_t *)scores + begin, least = (int16_t)threshold;
      for (uint32_t i = 0; i < left; i++) reached[i] = score[i] >= least;
    } else {
      const int32_t *score = (const int32_t *)scores + begin;
      for (uint32_t i = 0; i < left; i++) reached[i] = score[i] >= threshold;
    }
    pack_block(reached, 1, plane);
  }
}
#endif
