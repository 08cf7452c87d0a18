/* 16 floats in plain C: four at a time, which most CPUs have vectors for. */
#ifndef BETA_VECTOR_PORTABLE_SINGLES_H
#define BETA_VECTOR_PORTABLE_SINGLES_H

typedef float four __attribute__((vector_size(16)));
typedef int32_t four_bits __attribute__((vector_size(16)));

typedef struct floats {
  four v[4];
} floats;

#define EACH for (int i = 0; i < 4; i++)

static inline floats floats_set(float x) {
  floats r;
  EACH r.v[i] = (four){x, x, x, x};
  return r;
}
static inline floats floats_load(const float *p) {
  floats r;
  memcpy(r.v, p, sizeof r.v);
  return r;
}
#define CONVERTED(type, name)                                                                                           \
  static inline floats name(const type *p) {                                                                           \
    floats r;                                                                                                          \
    EACH r.v[i] = __builtin_convertvector(((four_bits){p[4 * i], p[4 * i + 1], p[4 * i + 2], p[4 * i + 3]}), four); \
    return r;                                                                                                          \
  }
CONVERTED(int16_t, floats_of_int16)
CONVERTED(int32_t, floats_of_int32)
#undef CONVERTED
static inline floats floats_add(floats a, floats b) {
  EACH a.v[i] += b.v[i];
  return a;
}
static inline floats floats_sub(floats a, floats b) {
  EACH a.v[i] -= b.v[i];
  return a;
}
/* a * b + c, rounded once or twice. */
static inline floats floats_mul_add(floats a, floats b, floats c) {
  EACH c.v[i] += a.v[i] * b.v[i];
  return c;
}
static inline four four_choose(four_bits m, four yes, four no) { return (four)(((four_bits)yes & m) | ((four_bits)no & ~m)); }
/* a < b ? a : b and a > b ? a : b */
static inline floats floats_min(floats a, floats b) {
  EACH a.v[i] = four_choose(a.v[i] < b.v[i], a.v[i], b.v[i]);
  return a;
}
static inline floats floats_max(floats a, floats b) {
  EACH a.v[i] = four_choose(a.v[i] > b.v[i], a.v[i], b.v[i]);
  return a;
}
static inline void floats_store(float *p, floats a) { memcpy(p, a.v, sizeof a.v); }
/* The sum, in any order. */
static inline float floats_total(floats a) {
  const four sum = (a.v[0] + a.v[1]) + (a.v[2] + a.v[3]);
  return (sum[0] + sum[1]) + (sum[2] + sum[3]);
}
/* a * 2^(the integer in the low bits of z) */
static inline floats floats_scaled(floats a, floats z) {
  typedef uint32_t words __attribute__((vector_size(16)));
  EACH a.v[i] = (four)((words)a.v[i] + ((words)z.v[i] << 23));
  return a;
}
/* The larger magnitude; a is one. */
static inline floats floats_farther(floats a, floats b) {
  EACH b.v[i] = (four)((four_bits)b.v[i] & (four_bits){INT32_MAX, INT32_MAX, INT32_MAX, INT32_MAX});
  return floats_max(b, a);
}
/* The first `left` lanes, the others 0. */
static inline floats floats_first(floats a, uint32_t left) {
  const int32_t end = (int32_t)left;
  EACH a.v[i] = (four)((four_bits)a.v[i] & ((four_bits){4 * i, 4 * i + 1, 4 * i + 2, 4 * i + 3} < (four_bits){end, end, end, end}));
  return a;
}
static inline int floats_any_above(floats a, floats b) {
  four_bits any = {0};
  EACH any |= a.v[i] > b.v[i];
  return (any[0] | any[1] | any[2] | any[3]) != 0;
}
/* The lowest bytes of four times 16 lanes' bits. */
static inline void floats_low_bytes(uint8_t *p, const floats a[4]) {
  for (int k = 0; k < 4; k++) {
    EACH {
      const four_bits bits = (four_bits)a[k].v[i];
      for (int j = 0; j < 4; j++) p[16 * k + 4 * i + j] = (uint8_t)bits[j];
    }
  }
}

#undef EACH

#endif
