/* 16 floats in four vector registers. */
#ifndef BETA_VECTOR_NEON_SINGLES_H
#define BETA_VECTOR_NEON_SINGLES_H

typedef struct floats {
  float32x4_t v[4];
} floats;

#define EACH for (int i = 0; i < 4; i++)

static inline floats floats_set(float x) {
  floats r;
  EACH r.v[i] = vdupq_n_f32(x);
  return r;
}
static inline floats floats_load(const float *p) {
  floats r;
  EACH r.v[i] = vld1q_f32(p + 4 * i);
  return r;
}
static inline floats floats_of_int16(const int16_t *p) {
  floats r;
  EACH r.v[i] = vcvtq_f32_s32(vmovl_s16(vld1_s16(p + 4 * i)));
  return r;
}
static inline floats floats_of_int32(const int32_t *p) {
  floats r;
  EACH r.v[i] = vcvtq_f32_s32(vld1q_s32(p + 4 * i));
  return r;
}
#define OPERATION(name, instruction)              \
  static inline floats name(floats a, floats b) { \
    EACH a.v[i] = instruction;                    \
    return a;                                     \
  }
OPERATION(floats_add, vaddq_f32(a.v[i], b.v[i]))
OPERATION(floats_sub, vsubq_f32(a.v[i], b.v[i]))
/* a < b ? a : b and a > b ? a : b: the instructions vmin and vmax would give NaN. */
OPERATION(floats_min, vbslq_f32(vcltq_f32(a.v[i], b.v[i]), a.v[i], b.v[i]))
OPERATION(floats_max, vbslq_f32(vcgtq_f32(a.v[i], b.v[i]), a.v[i], b.v[i]))
/* The larger magnitude; a is one. */
OPERATION(floats_farther, vmaxq_f32(a.v[i], vabsq_f32(b.v[i])))
#undef OPERATION
/* a * b + c, rounded once or twice. */
static inline floats floats_mul_add(floats a, floats b, floats c) {
  EACH c.v[i] = vfmaq_f32(c.v[i], a.v[i], b.v[i]);
  return c;
}
/* The sum, in any order. */
static inline float floats_total(floats a) {
  return vaddvq_f32(vaddq_f32(vaddq_f32(a.v[0], a.v[1]), vaddq_f32(a.v[2], a.v[3])));
}
/* a * 2^(the integer in the low bits of z) */
static inline floats floats_scaled(floats a, floats z) {
  EACH a.v[i] = vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(a.v[i]), vshlq_n_u32(vreinterpretq_u32_f32(z.v[i]), 23)));
  return a;
}
static inline void floats_store(float *p, floats a) { EACH vst1q_f32(p + 4 * i, a.v[i]); }
/* The first `left` lanes, the others 0. */
static inline floats floats_first(floats a, uint32_t left) {
  static const uint32_t lane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  EACH a.v[i] = vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(a.v[i]), vcltq_u32(vld1q_u32(lane + 4 * i), vdupq_n_u32(left))));
  return a;
}
static inline int floats_any_above(floats a, floats b) {
  uint32x4_t any = vdupq_n_u32(0);
  EACH any = vorrq_u32(any, vcgtq_f32(a.v[i], b.v[i]));
  return vmaxvq_u32(any) != 0;
}
/* The lowest bytes of four times 16 lanes' bits. */
static inline void floats_low_bytes(uint8_t *p, const floats a[4]) {
  for (int k = 0; k < 4; k++) {
    const uint16x8_t low = vuzp1q_u16(vreinterpretq_u16_f32(a[k].v[0]), vreinterpretq_u16_f32(a[k].v[1]));
    const uint16x8_t high = vuzp1q_u16(vreinterpretq_u16_f32(a[k].v[2]), vreinterpretq_u16_f32(a[k].v[3]));
    vst1q_u8(p + 16 * k, vuzp1q_u8(vreinterpretq_u8_u16(low), vreinterpretq_u8_u16(high)));
  }
}

#undef EACH

#endif
