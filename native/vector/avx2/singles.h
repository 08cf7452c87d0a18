/* 16 floats in two ymm registers. */
#ifndef BETA_VECTOR_AVX2_SINGLES_H
#define BETA_VECTOR_AVX2_SINGLES_H

typedef struct floats {
  __m256 low, high;
} floats;

static inline floats floats_set(float x) { return (floats){_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
static inline floats floats_load(const float *p) { return (floats){_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
static inline floats floats_of_int16(const int16_t *p) {
  return (floats){_mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm_loadu_si128((const void *)p))),
                  _mm256_cvtepi32_ps(_mm256_cvtepi16_epi32(_mm_loadu_si128((const void *)(p + 8))))};
}
static inline floats floats_of_int32(const int32_t *p) {
  return (floats){_mm256_cvtepi32_ps(_mm256_loadu_si256((const void *)p)), _mm256_cvtepi32_ps(_mm256_loadu_si256((const void *)(p + 8)))};
}
static inline floats floats_add(floats a, floats b) { return (floats){_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)}; }
static inline floats floats_sub(floats a, floats b) { return (floats){_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)}; }
/* a * b + c, rounded once or twice. */
static inline floats floats_mul_add(floats a, floats b, floats c) {
  return (floats){_mm256_add_ps(_mm256_mul_ps(a.low, b.low), c.low), _mm256_add_ps(_mm256_mul_ps(a.high, b.high), c.high)};
}
/* a < b ? a : b and a > b ? a : b */
static inline floats floats_min(floats a, floats b) { return (floats){_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)}; }
static inline floats floats_max(floats a, floats b) { return (floats){_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)}; }
static inline void floats_store(float *p, floats a) {
  _mm256_storeu_ps(p, a.low);
  _mm256_storeu_ps(p + 8, a.high);
}
/* The sum, in any order. */
static inline float floats_total(floats a) {
  const __m256 eight = _mm256_add_ps(a.low, a.high);
  const __m128 four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1)), two = _mm_add_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)));
}
static inline __m256 scaled(__m256 a, __m256 z) {
  return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(a), _mm256_slli_epi32(_mm256_castps_si256(z), 23)));
}
/* a * 2^(the integer in the low bits of z) */
static inline floats floats_scaled(floats a, floats z) { return (floats){scaled(a.low, z.low), scaled(a.high, z.high)}; }
static inline __m256 magnitude(__m256 a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
/* The larger magnitude; a is one. */
static inline floats floats_farther(floats a, floats b) {
  return (floats){_mm256_max_ps(magnitude(b.low), a.low), _mm256_max_ps(magnitude(b.high), a.high)};
}
/* The first `left` lanes, the others 0. */
static inline floats floats_first(floats a, uint32_t left) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), end = _mm256_set1_epi32((int)left);
  const __m256i low = _mm256_cmpgt_epi32(end, lane), high = _mm256_cmpgt_epi32(_mm256_sub_epi32(end, _mm256_set1_epi32(8)), lane);
  return (floats){_mm256_and_ps(a.low, _mm256_castsi256_ps(low)), _mm256_and_ps(a.high, _mm256_castsi256_ps(high))};
}
static inline int floats_any_above(floats a, floats b) {
  return _mm256_movemask_ps(_mm256_or_ps(_mm256_cmp_ps(a.low, b.low, _CMP_GT_OQ), _mm256_cmp_ps(a.high, b.high, _CMP_GT_OQ))) != 0;
}
/* The lowest bytes of 32 lanes' bits, in order. */
static inline __m256i lowest_bytes(floats a, floats b) {
  const __m256i byte = _mm256_set1_epi32(0xFF);
  const __m256i first = _mm256_packus_epi32(_mm256_and_si256(_mm256_castps_si256(a.low), byte), _mm256_and_si256(_mm256_castps_si256(a.high), byte));
  const __m256i second = _mm256_packus_epi32(_mm256_and_si256(_mm256_castps_si256(b.low), byte), _mm256_and_si256(_mm256_castps_si256(b.high), byte));
  return _mm256_permutevar8x32_epi32(_mm256_packus_epi16(first, second), _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}
/* The lowest bytes of four times 16 lanes' bits. */
static inline void floats_low_bytes(uint8_t *p, const floats a[4]) {
  _mm256_storeu_si256((void *)p, lowest_bytes(a[0], a[1]));
  _mm256_storeu_si256((void *)(p + 32), lowest_bytes(a[2], a[3]));
}

#endif
