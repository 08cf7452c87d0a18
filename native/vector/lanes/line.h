/* Codes by single precision (kernel.h, beta_line), and the lines that they need. Behind lanes.h, whose PART reads the first lanes. */

/* Round half to even for |x| < 2^22: the low bits of the sum are the integer's. */
#define SINGLE_ROUNDER 12582912.0f

#ifndef FLOATS_PARTS
PART(floats, float, floats_load_part, floats_load)
PART(floats, int16_t, floats_of_int16_part, floats_of_int16)
PART(floats, int32_t, floats_of_int32_part, floats_of_int32)
#endif

INLINE floats singles_at(const float *p, uint32_t left) { return left == LANES ? floats_load(p) : floats_load_part(p, left); }

INLINE floats numbers_at(const void *row, beta_numbers type, uint32_t i, uint32_t left) {
  switch (type) {
    case BETA_FLOATS: return singles_at((const float *)row + i, left);
    case BETA_INT16: return left == LANES ? floats_of_int16((const int16_t *)row + i) : floats_of_int16_part((const int16_t *)row + i, left);
    default: return left == LANES ? floats_of_int32((const int32_t *)row + i) : floats_of_int32_part((const int32_t *)row + i, left);
  }
}

/* Codes of a row plus SINGLE_ROUNDER, the operands of each column in arrays or not. */
INLINE uint32_t chunk_codes(const beta_line l, uint32_t width, beta_numbers type, bool slopes, bool bases, bool floors, uint8_t *codes,
                            uint16_t *doubtful) {
  const floats slope = floats_set(l.slope), base = floats_set(l.base), low = floats_set(l.low), high = floats_set(l.high);
  const floats rounder = floats_set(SINGLE_ROUNDER), clear = floats_set(l.clear);
  uint32_t doubts = 0;
  for (uint32_t begin = 0; begin < width; begin += BETA_LINE_CHUNK) {
    floats z[BETA_LINE_CHUNK / LANES], farthest = floats_set(0);
    const uint32_t chunk = width - begin;
#define GROUP(k, left)                                                                                                       \
  do {                                                                                                                       \
    const uint32_t i = begin + (k)*LANES;                                                                                    \
    floats q = floats_mul_add(numbers_at(l.numbers, type, i, left), slopes ? singles_at(l.slopes + i, left) : slope,         \
                              bases ? singles_at(l.bases + i, left) : base);                                                 \
    q = floats_min(floats_max(q, floors ? singles_at(l.floors + i, left) : low), high);                                      \
    z[k] = floats_add(q, rounder);                                                                                           \
    const floats apart = floats_sub(q, floats_sub(z[k], rounder));                                                           \
    farthest = floats_farther(farthest, (left) == LANES ? apart : floats_first(apart, left));                                \
  } while (0)
    if (chunk >= BETA_LINE_CHUNK) {
      for (uint32_t k = 0; k < BETA_LINE_CHUNK / LANES; k++) GROUP(k, LANES);
    } else {
      for (uint32_t k = 0; k < BETA_LINE_CHUNK / LANES; k++) {
        z[k] = rounder;
        if (k * LANES < chunk) {
          const uint32_t left = chunk - k * LANES < LANES ? chunk - k * LANES : LANES;
          GROUP(k, left);
        }
      }
    }
#undef GROUP
    floats_low_bytes(codes + begin, z);
    if (__builtin_expect(floats_any_above(farthest, clear), 0)) doubtful[doubts++] = (uint16_t)(begin / BETA_LINE_CHUNK);
  }
  return doubts;
}

INLINE uint32_t integer_codes(const beta_line *l, uint32_t width, beta_numbers type, uint8_t *codes, uint16_t *doubtful) {
  if (l->slopes && l->floors) return chunk_codes(*l, width, type, true, true, true, codes, doubtful);
  if (l->slopes) return chunk_codes(*l, width, type, true, true, false, codes, doubtful);
  if (l->floors) return chunk_codes(*l, width, type, false, true, true, codes, doubtful);
  if (l->bases) return chunk_codes(*l, width, type, false, true, false, codes, doubtful);
  return chunk_codes(*l, width, type, false, false, false, codes, doubtful);
}

static uint32_t line_codes(const beta_line *l, uint32_t width, uint8_t *codes, uint16_t *doubtful) {
  switch (l->type) {
    case BETA_INT16: return integer_codes(l, width, BETA_INT16, codes, doubtful);
    case BETA_INT32: return integer_codes(l, width, BETA_INT32, codes, doubtful);
    default: break;
  }
  if (l->bases) return chunk_codes(*l, width, BETA_FLOATS, false, true, false, codes, doubtful);
  return chunk_codes(*l, width, BETA_FLOATS, false, false, false, codes, doubtful);
}

static bool line_columns(const beta_sum *sum, const beta_coder *coder, double *steepest_seen, double *weight_seen, float *slopes, float *bases,
                         float *floors) {
  const beta_sum s = *sum;
  const beta_coder c = *coder;
  const lanes inverse = lanes_set(c.inverse), offset = lanes_set(s.offset), t = lanes_set(c.t), low = lanes_set(c.low), zero = lanes_set(0);
  const lanes scale = lanes_set(s.scale * c.inverse), apart = lanes_abs(t);
  /* `all` becomes NaN where any operand is. */
  lanes most = zero;
  lanes steepest = zero;
  lanes all = zero;
  EACH_LANES(s.width, i, left, {
    lanes base = zero;
    lanes weight = apart;
    if (s.sums || s.sums_int32) {
      base = lanes_mul(offset, s.sums ? doubles_at(s.sums + i, left) : int32_at(s.sums_int32 + i, left));
      weight = lanes_add(weight, lanes_abs(base));
    }
    if (s.bias) {
      const lanes bias = floats_at(s.bias + i, left);
      base = lanes_add(base, bias);
      weight = lanes_add(weight, lanes_abs(bias));
    }
    lanes lift = lanes_sub(zero, t);
    if (c.shift) {
      const lanes shift = floats_at(c.shift + i, left);
      lift = lanes_add(shift, lift);
      weight = lanes_add(weight, lanes_abs(shift));
    }
    weight = lanes_mul(weight, inverse);
    put_floats(bases + i, lanes_mul(lanes_add(base, lift), inverse), left);
    if (floors) put_floats(floors + i, lanes_max(lanes_mul(lift, inverse), low), left);
    if (slopes) {
      const lanes slope = lanes_mul(doubles_at(s.scales + i, left), scale);
      put_floats(slopes + i, slope, left);
      steepest = lanes_max(keep(lanes_abs(slope), left, 0), steepest);
      all = lanes_add(all, slope);
    }
    most = lanes_max(keep(weight, left, 0), most);
    all = lanes_add(all, weight);
  });
  double weights[LANES], steep[LANES];
  lanes_store(weights, most);
  lanes_store(steep, steepest);
  for (unsigned i = 0; i < LANES; i++) {
    if (weights[i] > *weight_seen) *weight_seen = weights[i];
    if (steep[i] > *steepest_seen) *steepest_seen = steep[i];
  }
  return isfinite(lanes_total(all));
}
