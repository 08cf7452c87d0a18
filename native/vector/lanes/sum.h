/* Rows from operands: terms and biases, word tables, floats. */

/* `single`: one term without offsets. A copy of the record, which the stores to x then cannot change. */
INLINE void sum_row(const beta_sum s, bool single, bool int16, double *x) {
  const lanes scale = lanes_set(s.scale), offset = lanes_set(s.offset), zero = lanes_set(0);
  EACH_LANES(s.width, i, left, {
    lanes y = lanes_mul(s.scales ? lanes_mul(doubles_at(s.scales + i, left), scale) : scale, integers_at(s.acc, int16, i, left));
    if (!single) {
      if (s.adds) y = lanes_add(doubles_at(x + i, left), y);
      if (s.sums) y = lanes_add(y, lanes_mul(offset, doubles_at(s.sums + i, left)));
      if (s.sums_int32) y = lanes_add(y, lanes_mul(offset, int32_at(s.sums_int32 + i, left)));
      if (s.has_constant) y = lanes_add(y, lanes_set(s.constant));
      if (s.has_bias_of_row) y = lanes_add(y, lanes_set(s.bias_of_row));
    }
    if (s.bias) y = lanes_add(y, floats_at(s.bias + i, left));
    if (s.residual) y = lanes_add(y, floats_at(s.residual + i, left));
    if (s.relu) y = lanes_max(y, zero);
    put_doubles(x + i, y, left);
  });
}

static void sum(const beta_sum *s, double *x) {
  const bool single = !s->adds && !s->sums && !s->sums_int32 && !s->has_constant && !s->has_bias_of_row;
  if (single && s->acc_int16) sum_row(*s, true, true, x);
  else if (single) sum_row(*s, true, false, x);
  else sum_row(*s, false, s->acc_int16, x);
}

INLINE uint32_t two_bytes(const uint8_t *p) {
  uint16_t bytes;
  memcpy(&bytes, p, sizeof bytes);
  return bytes;
}

static void word(const uint8_t *planes, bool ternary, double scale, uint32_t width, double *x) {
  const unsigned bits = ternary ? 2 : 1;
  const lanes plus = lanes_set(scale), minus = lanes_set(-scale), zero = lanes_set(0);
  /* Rows are whole blocks, and working rows have room: no end to look after. */
  for (uint32_t i = 0; i < width; i += LANES) {
    const uint8_t *p = plane_bytes((uint8_t *)(uintptr_t)planes, bits, i);
    const uint32_t low = two_bytes(p);
    lanes value;
    if (ternary) value = lanes_choose(marks_of(low), lanes_choose(marks_of(two_bytes(p + BETA_BEAT_BYTES)), minus, plus), zero);
    else value = lanes_choose(marks_of(low), plus, minus);
    lanes_store(x + i, lanes_add(lanes_load(x + i), value));
  }
}

static void widen(const float *from, uint32_t width, double *x) {
  EACH_LANES(width, i, left, { put_doubles(x + i, floats_at(from + i, left), left); });
}

static void narrow(const double *x, uint32_t width, float *to) {
  EACH_LANES(width, i, left, { put_floats(to + i, doubles_at(x + i, left), left); });
}

static void add(const float *from, uint32_t width, double *x) {
  EACH_LANES(width, i, left, { put_doubles(x + i, lanes_add(doubles_at(x + i, left), floats_at(from + i, left)), left); });
}

static void scale_row(double factor, uint32_t width, double *x) {
  const lanes f = lanes_set(factor);
  EACH_LANES(width, i, left, { put_doubles(x + i, lanes_mul(doubles_at(x + i, left), f), left); });
}

static double dot(const float *a, const float *b, uint32_t width) {
  sums s = sums_none();
  EACH_PAIR(width, i, left, odd, { sums_add(&s, odd, lanes_mul(floats_at(a + i, left), floats_at(b + i, left))); });
  return sums_total(s);
}

static void blend(const double *weights, uint32_t count, const float *rows, uint32_t stride, uint32_t width, double *x) {
  EACH_LANES(width, i, left, {
    lanes y = lanes_set(0);
    for (uint32_t k = 0; k < count; k++)
      y = lanes_add(y, lanes_mul(lanes_set(weights[k]), floats_at(rows + (size_t)k * stride + i, left)));
    put_doubles(x + i, y, left);
  });
}
