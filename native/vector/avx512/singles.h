/* 16 floats in a zmm register. */
#ifndef BETA_VECTOR_AVX512_SINGLES_H
#define BETA_VECTOR_AVX512_SINGLES_H

typedef __m512 floats;

static inline floats floats_set(float x) { return _mm512_set1_ps(x); }
static inline floats floats_load(const float *p) { return _mm512_loadu_ps(p); }
static inline floats floats_of_int16(const int16_t *p) { return _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm256_loadu_si256((const void *)p))); }
static inline floats floats_of_int32(const int32_t *p) { return _mm512_cvtepi32_ps(_mm512_loadu_si512(p)); }
#define FLOATS_PARTS 1
static inline floats floats_load_part(const float *p, uint32_t left) { return _mm512_maskz_loadu_ps(part_mask(left), p); }
static inline floats floats_of_int16_part(const int16_t *p, uint32_t left) {
  return _mm512_cvtepi32_ps(_mm512_cvtepi16_epi32(_mm256_maskz_loadu_epi16(part_mask(left), p)));
}
static inline floats floats_of_int32_part(const int32_t *p, uint32_t left) {
  return _mm512_cvtepi32_ps(_mm512_maskz_loadu_epi32(part_mask(left), p));
}
static inline floats floats_add(floats a, floats b) { return _mm512_add_ps(a, b); }
static inline floats floats_sub(floats a, floats b) { return _mm512_sub_ps(a, b); }
/* a * b + c, rounded once or twice. */
static inline floats floats_mul_add(floats a, floats b, floats c) { return _mm512_fmadd_ps(a, b, c); }
/* a < b ? a : b and a > b ? a : b */
static inline floats floats_min(floats a, floats b) { return _mm512_min_ps(a, b); }
static inline floats floats_max(floats a, floats b) { return _mm512_max_ps(a, b); }
static inline void floats_store(float *p, floats a) { _mm512_storeu_ps(p, a); }
/* The sum, in any order. */
static inline float floats_total(floats a) { return _mm512_reduce_add_ps(a); }
/* a * 2^(the integer in the low bits of z) */
static inline floats floats_scaled(floats a, floats z) {
  return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(a), _mm512_slli_epi32(_mm512_castps_si512(z), 23)));
}
/* The larger magnitude. */
static inline floats floats_farther(floats a, floats b) { return _mm512_range_ps(a, b, 0xB); }
/* The first `left` lanes, the others 0. */
static inline floats floats_first(floats a, uint32_t left) { return _mm512_maskz_mov_ps(part_mask(left), a); }
static inline int floats_any_above(floats a, floats b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ) != 0; }
/* The lowest bytes of four times 16 lanes' bits. */
static inline void floats_low_bytes(uint8_t *p, const floats a[4]) {
  const __m512i each = _mm512_set_epi8(124, 120, 116, 112, 108, 104, 100, 96, 92, 88, 84, 80, 76, 72, 68, 64, 60, 56, 52, 48, 44, 40, 36, 32, 28, 24, 20, 16, 12, 8, 4, 0,
                                       124, 120, 116, 112, 108, 104, 100, 96, 92, 88, 84, 80, 76, 72, 68, 64, 60, 56, 52, 48, 44, 40, 36, 32, 28, 24, 20, 16, 12, 8, 4, 0);
  const __m512i low = _mm512_permutex2var_epi8(_mm512_castps_si512(a[0]), each, _mm512_castps_si512(a[1]));
  const __m512i high = _mm512_permutex2var_epi8(_mm512_castps_si512(a[2]), each, _mm512_castps_si512(a[3]));
  _mm512_storeu_si512(p, _mm512_inserti64x4(low, _mm512_castsi512_si256(high), 1));
}

#endif
