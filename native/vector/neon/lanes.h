/* 16 lanes of doubles in eight vector registers of ARMv8.0. */
#ifndef BETA_VECTOR_NEON_LANES_H
#define BETA_VECTOR_NEON_LANES_H

#include <arm_neon.h>
#include <stdint.h>

#include "vector/kernel.h"

#define PAIRS 8
typedef struct lanes {
  float64x2_t v[PAIRS];
} lanes;
/* All ones in the lanes that are marked. */
typedef struct marks {
  uint64x2_t v[PAIRS];
} marks;

#define EACH for (int i = 0; i < PAIRS; i++)

static inline lanes lanes_load(const double *p) {
  lanes r;
  EACH r.v[i] = vld1q_f64(p + 2 * i);
  return r;
}
static inline void lanes_store(double *p, lanes a) { EACH vst1q_f64(p + 2 * i, a.v[i]); }
static inline lanes lanes_of_floats(const float *p) {
  lanes r;
  for (int i = 0; i < PAIRS; i += 2) {
    const float32x4_t four = vld1q_f32(p + 2 * i);
    r.v[i] = vcvt_f64_f32(vget_low_f32(four));
    r.v[i + 1] = vcvt_high_f64_f32(four);
  }
  return r;
}
static inline void lanes_to_floats(float *p, lanes a) {
  for (int i = 0; i < PAIRS; i += 2) vst1q_f32(p + 2 * i, vcvt_high_f32_f64(vcvt_f32_f64(a.v[i]), a.v[i + 1]));
}
static inline void convert_four(int32x4_t four, float64x2_t *two) {
  two[0] = vcvtq_f64_s64(vmovl_s32(vget_low_s32(four)));
  two[1] = vcvtq_f64_s64(vmovl_high_s32(four));
}
static inline lanes lanes_of_int32(const int32_t *p) {
  lanes r;
  for (int i = 0; i < PAIRS; i += 2) convert_four(vld1q_s32(p + 2 * i), &r.v[i]);
  return r;
}
static inline lanes lanes_of_int16(const int16_t *p) {
  lanes r;
  for (int i = 0; i < PAIRS; i += 4) {
    const int16x8_t eight = vld1q_s16(p + 2 * i);
    convert_four(vmovl_s16(vget_low_s16(eight)), &r.v[i]);
    convert_four(vmovl_high_s16(eight), &r.v[i + 2]);
  }
  return r;
}
static inline lanes lanes_set(double x) {
  lanes r;
  EACH r.v[i] = vdupq_n_f64(x);
  return r;
}
#define OPERATION(name, result, instruction) \
  static inline result name(lanes a, lanes b) { \
    result r;                                \
    EACH r.v[i] = instruction;               \
    return r;                                \
  }
OPERATION(lanes_add, lanes, vaddq_f64(a.v[i], b.v[i]))
OPERATION(lanes_sub, lanes, vsubq_f64(a.v[i], b.v[i]))
OPERATION(lanes_mul, lanes, vmulq_f64(a.v[i], b.v[i]))
OPERATION(lanes_div, lanes, vdivq_f64(a.v[i], b.v[i]))
/* a < b ? a : b, and so b where one of them is NaN; and a > b ? a : b. The instructions vmin and vmax would give NaN. */
OPERATION(lanes_min, lanes, vbslq_f64(vcltq_f64(a.v[i], b.v[i]), a.v[i], b.v[i]))
OPERATION(lanes_max, lanes, vbslq_f64(vcgtq_f64(a.v[i], b.v[i]), a.v[i], b.v[i]))
OPERATION(lanes_above, marks, vcgtq_f64(a.v[i], b.v[i]))
OPERATION(lanes_reach, marks, vcgeq_f64(a.v[i], b.v[i]))
#undef OPERATION
static inline lanes lanes_abs(lanes a) {
  EACH a.v[i] = vabsq_f64(a.v[i]);
  return a;
}
static inline marks marks_of(uint32_t bits) {
  marks m;
  EACH m.v[i] = vtstq_u64(vdupq_n_u64(bits >> 2 * i), vcombine_u64(vcreate_u64(1), vcreate_u64(2)));
  return m;
}
/* The marks as halves of a word: eight lanes of 16 bits each. */
static inline void narrow_marks(marks m, uint16x8_t *low, uint16x8_t *high) {
  uint32x4_t word[4];
  for (int i = 0; i < 4; i++) word[i] = vuzp1q_u32(vreinterpretq_u32_u64(m.v[2 * i]), vreinterpretq_u32_u64(m.v[2 * i + 1]));
  *low = vuzp1q_u16(vreinterpretq_u16_u32(word[0]), vreinterpretq_u16_u32(word[1]));
  *high = vuzp1q_u16(vreinterpretq_u16_u32(word[2]), vreinterpretq_u16_u32(word[3]));
}
static inline uint32_t halves_bits(uint16x8_t low, uint16x8_t high) {
  static const uint16_t bit[16] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};
  return vaddvq_u16(vorrq_u16(vandq_u16(low, vld1q_u16(bit)), vandq_u16(high, vld1q_u16(bit + 8))));
}
static inline uint32_t marks_bits(marks m) {
  uint16x8_t low, high;
  narrow_marks(m, &low, &high);
  return halves_bits(low, high);
}
static inline int marks_any(marks m) {
  uint64x2_t any = m.v[0];
  EACH any = vorrq_u64(any, m.v[i]);
  return (vgetq_lane_u64(any, 0) | vgetq_lane_u64(any, 1)) != 0;
}
static inline lanes lanes_choose(marks m, lanes yes, lanes no) {
  EACH no.v[i] = vbslq_f64(m.v[i], yes.v[i], no.v[i]);
  return no;
}
/* The sign of `sign` on the magnitude of `a`. */
static inline lanes lanes_sign(lanes a, lanes sign) {
  EACH a.v[i] = vbslq_f64(vdupq_n_u64(UINT64_C(1) << 63), sign.v[i], a.v[i]);
  return a;
}
/* The lowest byte of every lane's bits. */
static inline void lanes_low_bytes(uint8_t *p, lanes a) {
  marks m;
  uint16x8_t low, high;
  EACH m.v[i] = vreinterpretq_u64_f64(a.v[i]);
  narrow_marks(m, &low, &high);
  vst1q_u8(p, vuzp1q_u8(vreinterpretq_u8_u16(low), vreinterpretq_u8_u16(high)));
}
/* Sums in a fixed order: lane i with lane i + 8, then + 4, + 2, + 1. */
static inline double lanes_total(lanes a) {
  for (int half = PAIRS / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; i++) a.v[i] = vaddq_f64(a.v[i], a.v[i + half]);
  }
  return vgetq_lane_f64(a.v[0], 0) + vgetq_lane_f64(a.v[0], 1);
}

static inline uint64_t low_four_bits(float64x2_t a, int lane) {
  const uint64x2_t bits = vreinterpretq_u64_f64(a);
  return (lane ? vgetq_lane_u64(bits, 1) : vgetq_lane_u64(bits, 0)) & 15;
}
/* table[low four bits of a lane] */
static inline lanes lanes_of_16(const double table[16], lanes index) {
  EACH index.v[i] = vcombine_f64(vld1_f64(table + low_four_bits(index.v[i], 0)), vld1_f64(table + low_four_bits(index.v[i], 1)));
  return index;
}
/* The bits of a lane without the lowest eight. */
static inline lanes lanes_next_byte(lanes a) {
  EACH a.v[i] = vreinterpretq_f64_u64(vshrq_n_u64(vreinterpretq_u64_f64(a.v[i]), 8));
  return a;
}
#define LANES_PAIRS
/* The product that the low byte of a lane selects. */
static inline lanes lanes_of_pair(const beta_exponentials *e, unsigned pair, lanes index) {
  EACH {
    const uint64x2_t bits = vreinterpretq_u64_f64(index.v[i]);
    index.v[i] = vcombine_f64(vld1_f64(&e->pairs[pair][vgetq_lane_u64(bits, 0) & 255]), vld1_f64(&e->pairs[pair][vgetq_lane_u64(bits, 1) & 255]));
  }
  return index;
}
/* 2^(a lane's low 16 bits, signed, over 16), rounded down; within the range of normal numbers. */
static inline lanes lanes_power(lanes a) {
  EACH {
    const uint64x2_t whole = vbicq_u64(vreinterpretq_u64_f64(a.v[i]), vdupq_n_u64(15));
    a.v[i] = vreinterpretq_f64_u64(vaddq_u64(vshlq_n_u64(whole, 48), vdupq_n_u64(UINT64_C(1023) << 52)));
  }
  return a;
}
/* Horner's rule in u for the polynomial that a lane's low four bits select; rows[polynomial][power]. */
static inline lanes lanes_polynomial(const double (*rows)[16], unsigned degree, lanes index, lanes u) {
  EACH {
    const double *first = rows[low_four_bits(index.v[i], 0)], *second = rows[low_four_bits(index.v[i], 1)];
    float64x2_t y = vcombine_f64(vld1_f64(first + degree), vld1_f64(second + degree));
    for (unsigned power = degree; power-- > 0;)
      y = vaddq_f64(vmulq_f64(y, u.v[i]), vcombine_f64(vld1_f64(first + power), vld1_f64(second + power)));
    index.v[i] = y;
  }
  return index;
}

#undef EACH

/* Which of 16 floats plus `shift`, if any, are above 0; `equal` is not 0 where one of them is. */
static inline uint32_t float_signs(const float *x, const float *shift, uint32_t *equal) {
  uint32x4_t above[4], zero = vdupq_n_u32(0);
  for (int i = 0; i < 4; i++) {
    float32x4_t v = vld1q_f32(x + 4 * i);
    if (shift) v = vaddq_f32(v, vld1q_f32(shift + 4 * i));
    above[i] = vcgtzq_f32(v);
    zero = vorrq_u32(zero, vceqzq_f32(v));
  }
  *equal = vmaxvq_u32(zero);
  return halves_bits(vuzp1q_u16(vreinterpretq_u16_u32(above[0]), vreinterpretq_u16_u32(above[1])),
                     vuzp1q_u16(vreinterpretq_u16_u32(above[2]), vreinterpretq_u16_u32(above[3])));
}

/* Plane i of 128 codes: their bits i. Eight bytes of one bit each are added up pairwise into one. */
static inline void pack_block(const uint8_t *codes, unsigned bits, uint8_t *planes) {
  static const uint8_t place[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};
  const uint8x16_t at = vld1q_u8(place);
  uint8x16_t code[8];
  for (int i = 0; i < 8; i++) code[i] = vld1q_u8(codes + 16 * i);
  for (unsigned plane = 0; plane < bits; plane++) {
    const uint8x16_t bit = vdupq_n_u8((uint8_t)(1u << plane));
    uint8x16_t each[8];
    for (int i = 0; i < 8; i++) each[i] = vandq_u8(vtstq_u8(code[i], bit), at);
    for (int i = 0; i < 4; i++) each[i] = vpaddq_u8(each[2 * i], each[2 * i + 1]);
    for (int i = 0; i < 2; i++) each[i] = vpaddq_u8(each[2 * i], each[2 * i + 1]);
    vst1q_u8(planes + 16 * plane, vpaddq_u8(each[0], each[1]));
  }
}

#endif
