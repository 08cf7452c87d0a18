/* 16 lanes of doubles in two zmm registers. */
#ifndef BETA_VECTOR_AVX512_LANES_H
#define BETA_VECTOR_AVX512_LANES_H

#include <immintrin.h>
#include <stdint.h>

typedef struct lanes {
  __m512d low, high;
} lanes;
typedef uint32_t marks; /* a bit for each lane */

static inline lanes lanes_load(const double *p) { return (lanes){_mm512_loadu_pd(p), _mm512_loadu_pd(p + 8)}; }
static inline void lanes_store(double *p, lanes a) {
  _mm512_storeu_pd(p, a.low);
  _mm512_storeu_pd(p + 8, a.high);
}
static inline lanes lanes_of_floats(const float *p) {
  return (lanes){_mm512_cvtps_pd(_mm256_loadu_ps(p)), _mm512_cvtps_pd(_mm256_loadu_ps(p + 8))};
}
static inline void lanes_to_floats(float *p, lanes a) {
  _mm256_storeu_ps(p, _mm512_cvtpd_ps(a.low));
  _mm256_storeu_ps(p + 8, _mm512_cvtpd_ps(a.high));
}
static inline lanes lanes_of_int32(const int32_t *p) {
  return (lanes){_mm512_cvtepi32_pd(_mm256_loadu_si256((const void *)p)), _mm512_cvtepi32_pd(_mm256_loadu_si256((const void *)(p + 8)))};
}
static inline lanes lanes_of_int16(const int16_t *p) {
  return (lanes){_mm512_cvtepi32_pd(_mm256_cvtepi16_epi32(_mm_loadu_si128((const void *)p))),
                 _mm512_cvtepi32_pd(_mm256_cvtepi16_epi32(_mm_loadu_si128((const void *)(p + 8))))};
}
static inline lanes lanes_set(double x) { return (lanes){_mm512_set1_pd(x), _mm512_set1_pd(x)}; }
static inline lanes lanes_add(lanes a, lanes b) { return (lanes){_mm512_add_pd(a.low, b.low), _mm512_add_pd(a.high, b.high)}; }
static inline lanes lanes_sub(lanes a, lanes b) { return (lanes){_mm512_sub_pd(a.low, b.low), _mm512_sub_pd(a.high, b.high)}; }
static inline lanes lanes_mul(lanes a, lanes b) { return (lanes){_mm512_mul_pd(a.low, b.low), _mm512_mul_pd(a.high, b.high)}; }
static inline lanes lanes_div(lanes a, lanes b) { return (lanes){_mm512_div_pd(a.low, b.low), _mm512_div_pd(a.high, b.high)}; }
/* a < b ? a : b, and so b where one of them is NaN. */
static inline lanes lanes_min(lanes a, lanes b) { return (lanes){_mm512_min_pd(a.low, b.low), _mm512_min_pd(a.high, b.high)}; }
/* a > b ? a : b */
static inline lanes lanes_max(lanes a, lanes b) { return (lanes){_mm512_max_pd(a.low, b.low), _mm512_max_pd(a.high, b.high)}; }
static inline lanes lanes_abs(lanes a) { return (lanes){_mm512_abs_pd(a.low), _mm512_abs_pd(a.high)}; }
static inline marks lanes_above(lanes a, lanes b) {
  return _cvtmask8_u32(_mm512_cmp_pd_mask(a.low, b.low, _CMP_GT_OQ)) | _cvtmask8_u32(_mm512_cmp_pd_mask(a.high, b.high, _CMP_GT_OQ)) << 8;
}
static inline marks lanes_reach(lanes a, lanes b) {
  return _cvtmask8_u32(_mm512_cmp_pd_mask(a.low, b.low, _CMP_GE_OQ)) | _cvtmask8_u32(_mm512_cmp_pd_mask(a.high, b.high, _CMP_GE_OQ)) << 8;
}
static inline marks marks_of(uint32_t bits) { return bits; }
static inline int marks_any(marks m) { return m != 0; }
static inline uint32_t marks_bits(marks m) { return m; }
static inline lanes lanes_choose(marks m, lanes yes, lanes no) {
  return (lanes){_mm512_mask_blend_pd((__mmask8)m, no.low, yes.low), _mm512_mask_blend_pd((__mmask8)(m >> 8), no.high, yes.high)};
}
/* The first `left` lanes, the others 0. */
#define LANES_PARTS 1
static inline __mmask16 part_mask(uint32_t left) { return (__mmask16)((1u << left) - 1); }
static inline lanes lanes_load_part(const double *p, uint32_t left) {
  const __mmask16 m = part_mask(left);
  return (lanes){_mm512_maskz_loadu_pd((__mmask8)m, p), _mm512_maskz_loadu_pd((__mmask8)(m >> 8), p + 8)};
}
static inline lanes lanes_of_floats_part(const float *p, uint32_t left) {
  const __m512 v = _mm512_maskz_loadu_ps(part_mask(left), p);
  return (lanes){_mm512_cvtps_pd(_mm512_castps512_ps256(v)), _mm512_cvtps_pd(_mm512_extractf32x8_ps(v, 1))};
}
static inline lanes lanes_of_int32_part(const int32_t *p, uint32_t left) {
  const __m512i v = _mm512_maskz_loadu_epi32(part_mask(left), p);
  return (lanes){_mm512_cvtepi32_pd(_mm512_castsi512_si256(v)), _mm512_cvtepi32_pd(_mm512_extracti32x8_epi32(v, 1))};
}
static inline lanes lanes_of_int16_part(const int16_t *p, uint32_t left) {
  const __m512i v = _mm512_cvtepi16_epi32(_mm256_maskz_loadu_epi16(part_mask(left), p));
  return (lanes){_mm512_cvtepi32_pd(_mm512_castsi512_si256(v)), _mm512_cvtepi32_pd(_mm512_extracti32x8_epi32(v, 1))};
}
static inline void lanes_store_part(double *p, lanes a, uint32_t left) {
  const __mmask16 m = part_mask(left);
  _mm512_mask_storeu_pd(p, (__mmask8)m, a.low);
  _mm512_mask_storeu_pd(p + 8, (__mmask8)(m >> 8), a.high);
}
static inline void lanes_to_floats_part(float *p, lanes a, uint32_t left) {
  const __m512 v = _mm512_insertf32x8(_mm512_castps256_ps512(_mm512_cvtpd_ps(a.low)), _mm512_cvtpd_ps(a.high), 1);
  _mm512_mask_storeu_ps(p, part_mask(left), v);
}
/* The sign of `sign` on the magnitude of `a`. */
static inline lanes lanes_sign(lanes a, lanes sign) {
  const __m512d bit = _mm512_set1_pd(-0.0);
  return (lanes){_mm512_or_pd(_mm512_andnot_pd(bit, a.low), _mm512_and_pd(bit, sign.low)),
                 _mm512_or_pd(_mm512_andnot_pd(bit, a.high), _mm512_and_pd(bit, sign.high))};
}
/* The lowest byte of every lane's bits. */
static inline void lanes_low_bytes(uint8_t *p, lanes a) {
  const __m128i low = _mm512_cvtepi64_epi8(_mm512_castpd_si512(a.low)), high = _mm512_cvtepi64_epi8(_mm512_castpd_si512(a.high));
  _mm_storeu_si128((void *)p, _mm_unpacklo_epi64(low, high));
}
/* Sums in a fixed order: lane i with lane i + 8, then + 4, + 2, + 1. */
static inline double lanes_total(lanes a) {
  const __m512d eight = _mm512_add_pd(a.low, a.high);
  const __m256d four = _mm256_add_pd(_mm512_castpd512_pd256(eight), _mm512_extractf64x4_pd(eight, 1));
  const __m128d two = _mm_add_pd(_mm256_castpd256_pd128(four), _mm256_extractf128_pd(four, 1));
  return _mm_cvtsd_f64(two) + _mm_cvtsd_f64(_mm_unpackhi_pd(two, two));
}

/* table[low four bits of a lane] */
static inline lanes lanes_of_16(const double table[16], lanes index) {
  const __m512d a = _mm512_loadu_pd(table), b = _mm512_loadu_pd(table + 8);
  return (lanes){_mm512_permutex2var_pd(a, _mm512_castpd_si512(index.low), b),
                 _mm512_permutex2var_pd(a, _mm512_castpd_si512(index.high), b)};
}
/* 2^(a lane's low 16 bits, signed, over 16), rounded down; within the range of normal numbers. */
static inline __m512d half_power(__m512d a) {
  const __m512i whole = _mm512_andnot_si512(_mm512_set1_epi64(15), _mm512_castpd_si512(a));
  return _mm512_castsi512_pd(_mm512_add_epi64(_mm512_slli_epi64(whole, 48), _mm512_set1_epi64(INT64_C(1023) << 52)));
}
static inline lanes lanes_power(lanes a) { return (lanes){half_power(a.low), half_power(a.high)}; }
/* Horner's rule in u for the polynomial that a lane's low four bits select; rows[power][polynomial]. */
#define LANES_TURNED 1
static inline lanes lanes_polynomial(const double (*rows)[16], unsigned degree, lanes index, lanes u) {
  lanes y = lanes_of_16(rows[degree], index);
  for (unsigned power = degree; power-- > 0;) y = lanes_add(lanes_mul(y, u), lanes_of_16(rows[power], index));
  return y;
}

/* Which of 16 floats plus `shift`, if any, are above 0; `equal` is not 0 where one of them is. */
static inline uint32_t float_signs(const float *x, const float *shift, uint32_t *equal) {
  __m512 v = _mm512_loadu_ps(x);
  if (shift) v = _mm512_add_ps(v, _mm512_loadu_ps(shift));
  *equal = _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_EQ_OQ);
  return _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_GT_OQ);
}

/* Plane i of 128 codes: their bits i. */
static inline void pack_block(const uint8_t *codes, unsigned bits, uint8_t *planes) {
  const __m512i low = _mm512_loadu_si512(codes), high = _mm512_loadu_si512(codes + 64);
  for (unsigned plane = 0; plane < bits; plane++) {
    const __m512i bit = _mm512_set1_epi8((char)(1u << plane));
    _store_mask64((__mmask64 *)(void *)(planes + 16 * plane), _mm512_test_epi8_mask(low, bit));
    _store_mask64((__mmask64 *)(void *)(planes + 16 * plane + 8), _mm512_test_epi8_mask(high, bit));
  }
}

#endif
