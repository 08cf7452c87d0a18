/* Activation quantisers: real values to codes to bit-planes (contract, section 4). */

/* What is quantised: shifted, and clipped where the quantiser learned bounds. NaN becomes the lower bound. */
INLINE lanes prepared(const beta_coder *c, const double *x, uint32_t i, uint32_t left) {
  lanes v = doubles_at(x + i, left);
  if (c->shift) v = lanes_add(v, floats_at(c->shift + i, left));
  return c->clips ? lanes_min(lanes_max(v, lanes_set(c->clip_low)), lanes_set(c->clip_high)) : v;
}

static void range(const beta_coder *c, const double *x, uint32_t width, beta_range *range) {
  lanes low = lanes_set(range->low);
  lanes high = lanes_set(range->high);
  EACH_LANES(width, i, left, {
    const lanes v = prepared(c, x, i, left);
    low = lanes_min(keep(v, left, INFINITY), low);
    high = lanes_max(keep(v, left, -INFINITY), high);
  });
  double lows[LANES], highs[LANES];
  lanes_store(lows, low);
  lanes_store(highs, high);
  for (unsigned i = 0; i < LANES; i++) {
    if (lows[i] < range->low) range->low = lows[i];
    if (highs[i] > range->high) range->high = highs[i];
  }
}

INLINE void put_marks(uint8_t *p, uint32_t bits, uint32_t left) {
  const uint16_t two = (uint16_t)(left == LANES ? bits : bits & marks_up_to(left));
  memcpy(p, &two, sizeof two);
}

/*
 * Whether x + shift >= 0, by single precision where that decides: rounding x keeps its order with -shift, which is a float, so only
 * where the two come out equal is x itself asked.
 */
INLINE uint32_t reach_zero(const double *x, const float *rounded, const float *shift, uint32_t i, uint32_t left) {
  if (rounded && left == LANES) {
    uint32_t equal;
    const uint32_t above = float_signs(rounded + i, shift ? shift + i : NULL, &equal);
    if (__builtin_expect(equal == 0, 1)) return above;
  }
  const lanes v = doubles_at(x + i, left);
  return marks_bits(lanes_reach(shift ? lanes_add(v, floats_at(shift + i, left)) : v, lanes_set(0)));
}

static void signs(const double *x, const float *rounded, const float *shift, uint32_t width, bool pm1, unsigned bits, uint8_t *planes) {
  /* The last block is zeroed whole, and then its elements are written. */
  if (width % BETA_BLOCK_ELEMENTS != 0) memset(planes + (size_t)(whole_blocks(width) - 1) * BETA_BEAT_BYTES * bits, 0, BETA_BEAT_BYTES * bits);
  if (pm1) {
    EACH_LANES(width, i, left, { put_marks(planes + i / 8, reach_zero(x, rounded, shift, i, left), left); });
    return;
  }
  const lanes zero = lanes_set(0);
  EACH_LANES(width, i, left, {
    lanes v = doubles_at(x + i, left);
    if (shift) v = lanes_add(v, floats_at(shift + i, left));
    uint8_t *p = plane_bytes(planes, bits, i);
    const uint32_t below = marks_bits(lanes_above(zero, v));
    put_marks(p, marks_bits(lanes_above(v, zero)) | below, left);
    for (unsigned plane = 1; plane < bits; plane++) put_marks(p + plane * BETA_BEAT_BYTES, below, left);
  });
}

/*
 * Codes of a division decide, but a multiplication by the inverse is nearer than 2^-40 to the quotient as long as that is a code's
 * size. So only where a value lies that close to the middle between two codes is anything divided.
 */
#define CLEAR (0.5 - 0x1p-40)

typedef struct coding {
  lanes t, step, inverse, low, high;
  bool divides;
} coding;

INLINE coding coding_of(const beta_coder *c) {
  return (coding){lanes_set(c->t), lanes_set(c->step), lanes_set(c->inverse), lanes_set(c->low), lanes_set(c->high), c->inverse == 0};
}

/* Codes of prepared values, plus ROUNDER. */
INLINE lanes coded(const coding *c, lanes value) {
  const lanes rounder = lanes_set(ROUNDER), v = lanes_sub(value, c->t);
  const lanes q = lanes_min(lanes_max(lanes_mul(v, c->inverse), c->low), c->high);
  const lanes z = lanes_add(q, rounder);
  const marks near = lanes_above(lanes_abs(lanes_sub(q, lanes_sub(z, rounder))), lanes_set(CLEAR));
  if (__builtin_expect(!c->divides && !marks_any(near), 1)) return z;
  return lanes_add(lanes_min(lanes_max(lanes_div(v, c->step), c->low), c->high), rounder);
}

static void codes(const beta_coder *coder, const double *x, uint32_t width, uint8_t *codes) {
  const coding c = coding_of(coder);
  const beta_coder copy = *coder;
  EACH_LANES(width, i, left, { lanes_low_bytes(codes + i, coded(&c, prepared(&copy, x, i, left))); });
}

static double decide(const beta_coder *coder, const double *x, double factor, uint32_t groups, uint8_t *codes) {
  const coding c = coding_of(coder);
  const lanes f = lanes_set(factor), low = lanes_set(coder->clip_low), high = lanes_set(coder->clip_high);
  lanes sum = lanes_set(0);
  for (uint32_t i = 0; i < groups * LANES; i += LANES) {
    const lanes v = lanes_mul(lanes_load(x + i), f);
    const lanes z = coded(&c, coder->clips ? lanes_min(lanes_max(v, low), high) : v);
    sum = lanes_add(sum, lanes_sub(z, lanes_set(ROUNDER)));
    lanes_low_bytes(codes + i, z);
  }
  return lanes_total(sum);
}

static void pack(uint8_t *codes, uint32_t width, unsigned bits, uint8_t *planes) {
  const uint32_t blocks = whole_blocks(width);
  memset(codes + width, 0, (size_t)blocks * BETA_BLOCK_ELEMENTS - width);
  for (uint32_t block = 0; block < blocks; block++)
    pack_block(codes + (size_t)block * BETA_BLOCK_ELEMENTS, bits, planes + (size_t)block * BETA_BEAT_BYTES * bits);
}
