/* 16 lanes of doubles in four ymm registers. */
#ifndef BETA_VECTOR_AVX2_LANES_H
#define BETA_VECTOR_AVX2_LANES_H

#include <immintrin.h>
#include <stdint.h>

#include "vector/kernel.h"

typedef struct lanes {
  __m256d v[4];
} lanes;
/* All ones in the lanes that are marked. */
typedef lanes marks;

#define EACH(expression) ((lanes){{expression(0), expression(1), expression(2), expression(3)}})

static inline lanes lanes_load(const double *p) {
#define AT(i) _mm256_loadu_pd(p + 4 * i)
  return EACH(AT);
#undef AT
}
static inline void lanes_store(double *p, lanes a) {
  for (int i = 0; i < 4; i++) _mm256_storeu_pd(p + 4 * i, a.v[i]);
}
static inline lanes lanes_of_floats(const float *p) {
#define AT(i) _mm256_cvtps_pd(_mm_loadu_ps(p + 4 * i))
  return EACH(AT);
#undef AT
}
static inline void lanes_to_floats(float *p, lanes a) {
  for (int i = 0; i < 4; i++) _mm_storeu_ps(p + 4 * i, _mm256_cvtpd_ps(a.v[i]));
}
static inline lanes lanes_of_int32(const int32_t *p) {
#define AT(i) _mm256_cvtepi32_pd(_mm_loadu_si128((const void *)(p + 4 * i)))
  return EACH(AT);
#undef AT
}
static inline lanes lanes_of_int16(const int16_t *p) {
#define AT(i) _mm256_cvtepi32_pd(_mm_cvtepi16_epi32(_mm_loadl_epi64((const void *)(p + 4 * i))))
  return EACH(AT);
#undef AT
}
static inline lanes lanes_set(double x) {
  const __m256d v = _mm256_set1_pd(x);
  return (lanes){{v, v, v, v}};
}
#define OPERATION(name, instruction)                  \
  static inline lanes name(lanes a, lanes b) {        \
    for (int i = 0; i < 4; i++) a.v[i] = instruction; \
    return a;                                         \
  }
OPERATION(lanes_add, _mm256_add_pd(a.v[i], b.v[i]))
OPERATION(lanes_sub, _mm256_sub_pd(a.v[i], b.v[i]))
OPERATION(lanes_mul, _mm256_mul_pd(a.v[i], b.v[i]))
OPERATION(lanes_div, _mm256_div_pd(a.v[i], b.v[i]))
/* a < b ? a : b, and so b where one of them is NaN; and a > b ? a : b. */
OPERATION(lanes_min, _mm256_min_pd(a.v[i], b.v[i]))
OPERATION(lanes_max, _mm256_max_pd(a.v[i], b.v[i]))
OPERATION(lanes_above, _mm256_cmp_pd(a.v[i], b.v[i], _CMP_GT_OQ))
OPERATION(lanes_reach, _mm256_cmp_pd(a.v[i], b.v[i], _CMP_GE_OQ))
#undef OPERATION
static inline lanes lanes_abs(lanes a) {
  for (int i = 0; i < 4; i++) a.v[i] = _mm256_andnot_pd(_mm256_set1_pd(-0.0), a.v[i]);
  return a;
}
static inline marks marks_of(uint32_t bits) {
  const __m256i each = _mm256_set1_epi64x(bits);
  marks m;
  for (int i = 0; i < 4; i++) {
    const __m256i bit = _mm256_set_epi64x(8 << 4 * i, 4 << 4 * i, 2 << 4 * i, 1 << 4 * i);
    m.v[i] = _mm256_castsi256_pd(_mm256_cmpeq_epi64(_mm256_and_si256(each, bit), bit));
  }
  return m;
}
static inline uint32_t marks_bits(marks m) {
  uint32_t bits = 0;
  for (int i = 0; i < 4; i++) bits |= (uint32_t)_mm256_movemask_pd(m.v[i]) << 4 * i;
  return bits;
}
static inline int marks_any(marks m) {
  const __m256d any = _mm256_or_pd(_mm256_or_pd(m.v[0], m.v[1]), _mm256_or_pd(m.v[2], m.v[3]));
  return _mm256_movemask_pd(any) != 0;
}
static inline lanes lanes_choose(marks m, lanes yes, lanes no) {
  for (int i = 0; i < 4; i++) no.v[i] = _mm256_blendv_pd(no.v[i], yes.v[i], m.v[i]);
  return no;
}
/* The sign of `sign` on the magnitude of `a`. */
static inline lanes lanes_sign(lanes a, lanes sign) {
  const __m256d bit = _mm256_set1_pd(-0.0);
  for (int i = 0; i < 4; i++) a.v[i] = _mm256_or_pd(_mm256_andnot_pd(bit, a.v[i]), _mm256_and_pd(bit, sign.v[i]));
  return a;
}
/* The low halves of eight doubles' bits, in order. */
static inline __m256i low_words(__m256d a, __m256d b) {
  const __m256 even = _mm256_shuffle_ps(_mm256_castpd_ps(a), _mm256_castpd_ps(b), 0x88);
  return _mm256_permute4x64_epi64(_mm256_castps_si256(even), 0xD8);
}
/* The lowest byte of every lane's bits. */
static inline void lanes_low_bytes(uint8_t *p, lanes a) {
  const __m256i byte = _mm256_set1_epi32(0xFF);
  const __m256i low = _mm256_and_si256(low_words(a.v[0], a.v[1]), byte), high = _mm256_and_si256(low_words(a.v[2], a.v[3]), byte);
  const __m256i halves = _mm256_permute4x64_epi64(_mm256_packus_epi32(low, high), 0xD8);
  _mm_storeu_si128((void *)p, _mm_packus_epi16(_mm256_castsi256_si128(halves), _mm256_extracti128_si256(halves, 1)));
}
/* Sums in a fixed order: lane i with lane i + 8, then + 4, + 2, + 1. */
static inline double lanes_total(lanes a) {
  const __m256d four = _mm256_add_pd(_mm256_add_pd(a.v[0], a.v[2]), _mm256_add_pd(a.v[1], a.v[3]));
  const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
  return _mm_cvtsd_f64(two) + _mm_cvtsd_f64(_mm_unpackhi_pd(two, two));
}

static inline __m256i low_four_bits(__m256d a) { return _mm256_and_si256(_mm256_castpd_si256(a), _mm256_set1_epi64x(15)); }
/* table[low four bits of a lane] */
static inline lanes lanes_of_16(const double table[16], lanes index) {
  for (int i = 0; i < 4; i++) index.v[i] = _mm256_i64gather_pd(table, low_four_bits(index.v[i]), 8);
  return index;
}
/* The bits of a lane without the lowest eight. */
static inline lanes lanes_next_byte(lanes a) {
  for (int i = 0; i < 4; i++) a.v[i] = _mm256_castsi256_pd(_mm256_srli_epi64(_mm256_castpd_si256(a.v[i]), 8));
  return a;
}
#define LANES_PAIRS
/* The product that the low byte of a lane selects. */
static inline lanes lanes_of_pair(const beta_exponentials *e, unsigned pair, lanes index) {
  const __m256i byte = _mm256_set1_epi64x(255);
  for (int i = 0; i < 4; i++) index.v[i] = _mm256_i64gather_pd(e->pairs[pair], _mm256_and_si256(_mm256_castpd_si256(index.v[i]), byte), 8);
  return index;
}
/* 2^(a lane's low 16 bits, signed, over 16), rounded down; within the range of normal numbers. */
static inline lanes lanes_power(lanes a) {
  for (int i = 0; i < 4; i++) {
    const __m256i whole = _mm256_andnot_si256(_mm256_set1_epi64x(15), _mm256_castpd_si256(a.v[i]));
    a.v[i] = _mm256_castsi256_pd(_mm256_add_epi64(_mm256_slli_epi64(whole, 48), _mm256_set1_epi64x(INT64_C(1023) << 52)));
  }
  return a;
}

/* Coefficients power to power + 3 of four lanes' polynomials: a row each, turned. */
static inline void turned_rows(const double *const row[4], unsigned power, __m256d turned[4]) {
  const __m256d a = _mm256_loadu_pd(row[0] + power), b = _mm256_loadu_pd(row[1] + power);
  const __m256d c = _mm256_loadu_pd(row[2] + power), d = _mm256_loadu_pd(row[3] + power);
  const __m256d even = _mm256_unpacklo_pd(a, b), odd = _mm256_unpackhi_pd(a, b);
  const __m256d even2 = _mm256_unpacklo_pd(c, d), odd2 = _mm256_unpackhi_pd(c, d);
  turned[0] = _mm256_permute2f128_pd(even, even2, 0x20);
  turned[1] = _mm256_permute2f128_pd(odd, odd2, 0x20);
  turned[2] = _mm256_permute2f128_pd(even, even2, 0x31);
  turned[3] = _mm256_permute2f128_pd(odd, odd2, 0x31);
}
/* Horner's rule in u for the polynomial that a lane's low four bits select; rows[polynomial][power]. */
static inline lanes lanes_polynomial(const double (*rows)[16], unsigned degree, lanes index, lanes u) {
  for (int i = 0; i < 4; i++) {
    uint64_t at[4];
    _mm256_storeu_si256((void *)at, low_four_bits(index.v[i]));
    const double *const row[4] = {rows[at[0]], rows[at[1]], rows[at[2]], rows[at[3]]};
    /* Powers above the degree have coefficients of 0 there, and are left out. */
    unsigned power = degree;
    __m256d y = _mm256_setzero_pd(), turned[4];
    turned_rows(row, power & ~3u, turned);
    y = turned[power & 3];
    while (power > 0) {
      power--;
      if ((power & 3) == 3) turned_rows(row, power & ~3u, turned);
      y = _mm256_add_pd(_mm256_mul_pd(y, u.v[i]), turned[power & 3]);
    }
    index.v[i] = y;
  }
  return index;
}

#undef EACH

/* Which of 16 floats plus `shift`, if any, are above 0; `equal` is not 0 where one of them is. */
static inline uint32_t float_signs(const float *x, const float *shift, uint32_t *equal) {
  __m256 a = _mm256_loadu_ps(x), b = _mm256_loadu_ps(x + 8);
  if (shift) {
    a = _mm256_add_ps(a, _mm256_loadu_ps(shift));
    b = _mm256_add_ps(b, _mm256_loadu_ps(shift + 8));
  }
  const __m256 zero = _mm256_setzero_ps();
  const __m256 a0 = _mm256_cmp_ps(a, zero, _CMP_EQ_OQ), b0 = _mm256_cmp_ps(b, zero, _CMP_EQ_OQ);
  *equal = (uint32_t)_mm256_movemask_ps(_mm256_or_ps(a0, b0));
  return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a, zero, _CMP_GT_OQ)) |
         (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(b, zero, _CMP_GT_OQ)) << 8;
}

/* Plane i of 128 codes: their bits i, each moved to the top of its byte. */
static inline void pack_block(const uint8_t *codes, unsigned bits, uint8_t *planes) {
  for (int part = 0; part < 4; part++) {
    __m256i code = _mm256_loadu_si256((const void *)(codes + 32 * part));
    /* What moves into a byte from below does so under its top bit. */
    code = _mm256_slli_epi16(code, (int)(8 - bits));
    for (unsigned plane = bits; plane-- > 0;) {
      const uint32_t mask = (uint32_t)_mm256_movemask_epi8(code);
      memcpy(planes + 16 * plane + 4 * part, &mask, sizeof mask);
      code = _mm256_add_epi8(code, code);
    }
  }
}

#endif
