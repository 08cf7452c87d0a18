/* Results turned around that are finished: words of 16 bits, and bits. 16 rows at a time; what is left goes one by one. */
#include "kernels/avx512/avx512.h"

#if defined(__x86_64__)

#include <string.h>

#define ROWS 16u
#define LANES 32u

/* Eight rows of 32 words: 128-bit part p of to[j] is lane 8 p + j of all of them. */
static inline void turn_eight(const int16_t *from, size_t stride, __m512i to[8]) {
  __m512i x[8], y[8];
#pragma GCC unroll 8
  for (uint32_t i = 0; i < 8; i++) x[i] = _mm512_loadu_si512(from + i * stride);
#pragma GCC unroll 4
  for (uint32_t i = 0; i < 8; i += 2) {
    y[i] = _mm512_unpacklo_epi16(x[i], x[i + 1]);
    y[i + 1] = _mm512_unpackhi_epi16(x[i], x[i + 1]);
  }
#pragma GCC unroll 2
  for (uint32_t i = 0; i < 8; i += 4) {
    x[i] = _mm512_unpacklo_epi32(y[i], y[i + 2]);
    x[i + 1] = _mm512_unpackhi_epi32(y[i], y[i + 2]);
    x[i + 2] = _mm512_unpacklo_epi32(y[i + 1], y[i + 3]);
    x[i + 3] = _mm512_unpackhi_epi32(y[i + 1], y[i + 3]);
  }
#pragma GCC unroll 4
  for (uint32_t i = 0; i < 4; i++) {
    to[2 * i] = _mm512_unpacklo_epi64(x[i], x[i + 4]);
    to[2 * i + 1] = _mm512_unpackhi_epi64(x[i], x[i + 4]);
  }
}

static inline void turn_square(const int16_t *from, size_t stride, int16_t *to, size_t to_stride) {
  const __m512i lows = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0), highs = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
  __m512i first[8], second[8];
  turn_eight(from, stride, first);
  turn_eight(from + 8 * stride, stride, second);
#pragma GCC unroll 8
  for (uint32_t j = 0; j < 8; j++) {
    const __m512i low = _mm512_permutex2var_epi64(first[j], lows, second[j]);
    const __m512i high = _mm512_permutex2var_epi64(first[j], highs, second[j]);
    int16_t *at = to + j * to_stride;
    _mm256_storeu_si256((__m256i *)(void *)at, _mm512_castsi512_si256(low));
    _mm256_storeu_si256((__m256i *)(void *)(at + 8 * to_stride), _mm512_extracti64x4_epi64(low, 1));
    _mm256_storeu_si256((__m256i *)(void *)(at + 16 * to_stride), _mm512_castsi512_si256(high));
    _mm256_storeu_si256((__m256i *)(void *)(at + 24 * to_stride), _mm512_extracti64x4_epi64(high, 1));
  }
}

void beta_avx512_turn16(const int16_t *dot, size_t stride, uint32_t rows, uint32_t lanes, int16_t *to, size_t to_stride) {
  for (uint32_t r0 = 0; r0 < rows; r0 += ROWS) {
    uint32_t l = 0;
    if (rows - r0 >= ROWS) {
      for (; l + LANES <= lanes; l += LANES) turn_square(dot + r0 * stride + l, stride, to + l * to_stride + r0, to_stride);
    }
    const uint32_t end = rows - r0 < ROWS ? rows : r0 + ROWS;
    for (; l < lanes; l++) {
      for (uint32_t r = r0; r < end; r++) to[l * to_stride + r] = dot[r * stride + l];
    }
  }
}

/* Eight rows of 64 bits: byte l has bit l of each of them. */
static inline __m512i turn_words(const uint8_t *bits, size_t stride) {
  const uint8_t *row[8];
  for (uint32_t r = 0; r < 8; r++) row[r] = bits + r * stride;
  /* Byte 8 b + 7 - r: byte b of row r; the affine transformation numbers the rows of its matrices from the last byte on. */
  const __m512i iota = beta_iota8(), seven = _mm512_set1_epi8(7);
  const __m512i order = _mm512_or_si512(beta_srl8(iota, 3), _mm512_slli_epi16(_mm512_andnot_si512(iota, seven), 3));
  const __m512i bytes = _mm512_permutexvar_epi8(order, beta_load_words(row, 0));
  return _mm512_gf2p8affine_epi64_epi8(_mm512_set1_epi64((long long)0x8040201008040201), bytes, 0);
}

/* 16 rows of 64 bits. */
static inline void turn_bit_square(const uint8_t *bits, size_t stride, uint8_t *to, size_t to_stride) {
  const __m512i first = turn_words(bits, stride), second = turn_words(bits + 8 * stride, stride);
  uint16_t word[2][4][8]; /* [half][i][j]: lane 16 i + 8 half + j */
  _mm512_storeu_si512(word[0], _mm512_unpacklo_epi8(first, second));
  _mm512_storeu_si512(word[1], _mm512_unpackhi_epi8(first, second));
#pragma GCC unroll 4
  for (uint32_t i = 0; i < 4; i++) {
#pragma GCC unroll 2
    for (uint32_t half = 0; half < 2; half++) {
#pragma GCC unroll 8
      for (uint32_t j = 0; j < 8; j++, to += to_stride) memcpy(to, &word[half][i][j], sizeof word[half][i][j]);
    }
  }
}

void beta_avx512_turn_bits(const uint8_t *bits, size_t stride, uint32_t rows, uint32_t lanes, uint8_t *to, size_t to_stride) {
  for (uint32_t r0 = 0; r0 < rows; r0 += ROWS, bits += ROWS * stride, to += ROWS / 8) {
    const uint32_t count = rows - r0 < ROWS ? rows - r0 : ROWS;
    uint32_t l = 0;
    if (count == ROWS) {
      for (; l + 64 <= lanes; l += 64) turn_bit_square(bits + l / 8, stride, to + l * to_stride, to_stride);
    }
    for (; l < lanes; l++) {
      uint32_t word = 0;
      for (uint32_t r = 0; r < count; r++) word |= (uint32_t)(bits[r * stride + l / 8] >> l % 8 & 1) << r;
      memcpy(to + l * to_stride, &word, (count + 7) / 8);
    }
  }
}

#endif
