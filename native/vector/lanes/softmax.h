/* Rows of scores. Those in double are written in lanes; those in integers in C that compilers turn into vectors. */

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

static double weigh(const void *scores, bool int16, uint32_t width, int32_t most, double scale, double *e) {
  const lanes top = lanes_set(most), minus = lanes_set(-scale);
  sums s = sums_none();
  EACH_PAIR(width, i, left, odd, {
    const lanes w = keep(exp_lanes(lanes_mul(minus, lanes_sub(top, integers_at(scores, int16, i, left)))), left, 0);
    sums_add(&s, odd, w);
    put_doubles(e + i, w, left);
  });
  return sums_total(s);
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

static void distances(const void *scores, bool int16, uint32_t width, int32_t most, uint8_t *distances) {
  if (int16) EACH_SCORE(int16_t, distances[i] = (uint8_t)(most - score[i]));
  else EACH_SCORE(int32_t, distances[i] = (uint8_t)(most - score[i]));
}

#ifndef LANES_TABLES
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
    for (uint32_t i = 0; i < left; i++)
      reached[i] = (int16 ? ((const int16_t *)scores)[begin + i] : ((const int32_t *)scores)[begin + i]) >= threshold;
    pack_block(reached, 1, plane);
  }
}
#endif
