/* Results turned around: squares of 16 rows, so that whole cache lines are written, or four rows of 16 lanes. */
#include "kernels/avx512/avx512.h"

#if defined(__x86_64__)

#define FEW 4u
#define STEP 16u

static inline void turn_four(const int32_t *dot, size_t stride, int32_t *to, size_t to_stride) {
  const __m512i a = _mm512_loadu_si512(dot), b = _mm512_loadu_si512(dot + stride);
  const __m512i c = _mm512_loadu_si512(dot + 2 * stride), d = _mm512_loadu_si512(dot + 3 * stride);
  const __m512i ab_low = _mm512_unpacklo_epi32(a, b), ab_high = _mm512_unpackhi_epi32(a, b);
  const __m512i cd_low = _mm512_unpacklo_epi32(c, d), cd_high = _mm512_unpackhi_epi32(c, d);
  /* The 128-bit parts of turned[j] are lanes j, j + 4, j + 8 and j + 12. */
  const __m512i turned[4] = {_mm512_unpacklo_epi64(ab_low, cd_low), _mm512_unpackhi_epi64(ab_low, cd_low),
                             _mm512_unpacklo_epi64(ab_high, cd_high), _mm512_unpackhi_epi64(ab_high, cd_high)};
#pragma GCC unroll 4
  for (uint32_t j = 0; j < 4; j++) {
    int32_t *at = to + j * to_stride;
    _mm_storeu_si128((__m128i *)(void *)at, _mm512_castsi512_si128(turned[j]));
    _mm_storeu_si128((__m128i *)(void *)(at + 4 * to_stride), _mm512_extracti32x4_epi32(turned[j], 1));
    _mm_storeu_si128((__m128i *)(void *)(at + 8 * to_stride), _mm512_extracti32x4_epi32(turned[j], 2));
    _mm_storeu_si128((__m128i *)(void *)(at + 12 * to_stride), _mm512_extracti32x4_epi32(turned[j], 3));
  }
}

/* 16 rows of 16 lanes: first by 32 and 64 bits inside 128-bit parts, then the parts. */
static inline void turn_square(const int32_t *dot, size_t stride, int32_t *to, size_t to_stride) {
  __m512i part[4][4]; /* [i][j]: 128-bit part p holds lane 4 p + j of rows 4 i to 4 i + 3 */
#pragma GCC unroll 4
  for (uint32_t i = 0; i < 4; i++, dot += 4 * stride) {
    const __m512i a = _mm512_loadu_si512(dot), b = _mm512_loadu_si512(dot + stride);
    const __m512i c = _mm512_loadu_si512(dot + 2 * stride), d = _mm512_loadu_si512(dot + 3 * stride);
    const __m512i ab_low = _mm512_unpacklo_epi32(a, b), ab_high = _mm512_unpackhi_epi32(a, b);
    const __m512i cd_low = _mm512_unpacklo_epi32(c, d), cd_high = _mm512_unpackhi_epi32(c, d);
    part[i][0] = _mm512_unpacklo_epi64(ab_low, cd_low);
    part[i][1] = _mm512_unpackhi_epi64(ab_low, cd_low);
    part[i][2] = _mm512_unpacklo_epi64(ab_high, cd_high);
    part[i][3] = _mm512_unpackhi_epi64(ab_high, cd_high);
  }
#pragma GCC unroll 4
  for (uint32_t j = 0; j < 4; j++) {
    const __m512i even_low = _mm512_shuffle_i32x4(part[0][j], part[1][j], 0x88);
    const __m512i even_high = _mm512_shuffle_i32x4(part[2][j], part[3][j], 0x88);
    const __m512i odd_low = _mm512_shuffle_i32x4(part[0][j], part[1][j], 0xDD);
    const __m512i odd_high = _mm512_shuffle_i32x4(part[2][j], part[3][j], 0xDD);
    int32_t *at = to + j * to_stride;
    _mm512_storeu_si512(at, _mm512_shuffle_i32x4(even_low, even_high, 0x88));
    _mm512_storeu_si512(at + 4 * to_stride, _mm512_shuffle_i32x4(odd_low, odd_high, 0x88));
    _mm512_storeu_si512(at + 8 * to_stride, _mm512_shuffle_i32x4(even_low, even_high, 0xDD));
    _mm512_storeu_si512(at + 12 * to_stride, _mm512_shuffle_i32x4(odd_low, odd_high, 0xDD));
  }
}

/* Fewer than 16 rows. */
static void turn_few(const int32_t *dot, size_t stride, uint32_t rows, uint32_t lanes, int32_t *to, size_t to_stride) {
  uint32_t r = 0;
  for (; r + FEW <= rows; r += FEW) {
    uint32_t l = 0;
    for (; l + STEP <= lanes; l += STEP) turn_four(dot + r * stride + l, stride, to + l * to_stride + r, to_stride);
    if (l < lanes) beta_turn_portable(dot + r * stride + l, stride, FEW, lanes - l, to + l * to_stride + r, to_stride);
  }
  if (r < rows) beta_turn_portable(dot + r * stride, stride, rows - r, lanes, to + r, to_stride);
}

void beta_avx512_turn(const int32_t *dot, size_t stride, uint32_t rows, uint32_t lanes, int32_t *to, size_t to_stride) {
  for (; rows >= STEP; rows -= STEP, dot += STEP * stride, to += STEP) {
    uint32_t l = 0;
    for (; l + STEP <= lanes; l += STEP) turn_square(dot + l, stride, to + l * to_stride, to_stride);
    if (l < lanes) beta_turn_portable(dot + l, stride, STEP, lanes - l, to + l * to_stride, to_stride);
  }
  turn_few(dot, stride, rows, lanes, to, to_stride);
}

#endif
