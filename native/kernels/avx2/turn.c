/* Results turned around: 8 rows of 8 lanes, or four rows of 8 lanes, which become 8 rows of four. */
#include "kernels/avx2/avx2.h"

#if defined(__x86_64__)

#define SQUARE 4u
#define STEP 8u

static inline void turn_four(const int32_t *dot, size_t stride, int32_t *to, size_t to_stride) {
  const __m256i a = beta_load256(dot), b = beta_load256(dot + stride);
  const __m256i c = beta_load256(dot + 2 * stride), d = beta_load256(dot + 3 * stride);
  const __m256i ab_low = _mm256_unpacklo_epi32(a, b), ab_high = _mm256_unpackhi_epi32(a, b);
  const __m256i cd_low = _mm256_unpacklo_epi32(c, d), cd_high = _mm256_unpackhi_epi32(c, d);
  /* The halves of turned[j] are lanes j and j + 4. */
  const __m256i turned[SQUARE] = {_mm256_unpacklo_epi64(ab_low, cd_low), _mm256_unpackhi_epi64(ab_low, cd_low),
                                  _mm256_unpacklo_epi64(ab_high, cd_high), _mm256_unpackhi_epi64(ab_high, cd_high)};
#pragma GCC unroll 4
  for (uint32_t j = 0; j < SQUARE; j++) {
    int32_t *at = to + j * to_stride;
    _mm_storeu_si128((__m128i *)(void *)at, _mm256_castsi256_si128(turned[j]));
    _mm_storeu_si128((__m128i *)(void *)(at + SQUARE * to_stride), _mm256_extracti128_si256(turned[j], 1));
  }
}

static inline void turn_eight(const int32_t *dot, size_t stride, int32_t *to, size_t to_stride) {
  __m256i square[8];
#pragma GCC unroll 8
  for (uint32_t r = 0; r < 8; r++) square[r] = beta_load256(dot + r * stride);
  beta_avx2_turn_square(square);
#pragma GCC unroll 8
  for (uint32_t l = 0; l < 8; l++) beta_store256(to + l * to_stride, square[l]);
}

void beta_avx2_turn(const int32_t *dot, size_t stride, uint32_t rows, uint32_t lanes, int32_t *to, size_t to_stride) {
  const uint32_t whole_rows = rows / SQUARE * SQUARE, whole_lanes = lanes / STEP * STEP;
  uint32_t r = 0;
  for (; r + STEP <= rows; r += STEP) {
    for (uint32_t l = 0; l < whole_lanes; l += STEP) {
      turn_eight(dot + r * stride + l, stride, to + l * to_stride + r, to_stride);
    }
  }
  if (r < whole_rows) {
    for (uint32_t l = 0; l < whole_lanes; l += STEP) {
      turn_four(dot + r * stride + l, stride, to + l * to_stride + r, to_stride);
    }
  }
  beta_turn_portable(dot + whole_lanes, stride, whole_rows, lanes - whole_lanes, to + whole_lanes * to_stride, to_stride);
  beta_turn_portable(dot + whole_rows * stride, stride, rows - whole_rows, lanes, to + whole_rows, to_stride);
}

#endif
