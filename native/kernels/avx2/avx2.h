/*
 * What the AVX2 files share. They are compiled for their instruction sets and run only after supported() said yes.
 *
 * Operands are codes (codes.h), 64 to a word. Results are gathered in whole vectors of lanes, so that no sum is ever taken
 * across a vector.
 */
#ifndef BETA_KERNELS_AVX2_H
#define BETA_KERNELS_AVX2_H

#if defined(__x86_64__)

#include <immintrin.h>

#include "kernels/blocks.h"
#include "kernels/codes.h"

#define BETA_AVX2_ROWS 4u /* streamed rows of a tile */

static inline __m256i beta_load256(const void *from) { return _mm256_loadu_si256((const __m256i *)from); }
static inline void beta_store256(void *to, __m256i x) { _mm256_storeu_si256((__m256i *)to, x); }

/* Codes of -2^(bits-1) to 2^(bits-1) - 1, sign-extended to bytes; for two bits and more. */
static inline struct beta_code beta_avx2_signed(const beta_matrix *matrix) {
  if (matrix->encoding == BETA_ENC_S) return (struct beta_code){0, 1, 0};
  return (struct beta_code){(uint8_t)(0xFFu << (matrix->bits - 1)), 1, (int32_t)1 << (matrix->bits - 1)};
}

/* How the rows of a matrix become codes. */
struct beta_avx2_decoder {
  const beta_matrix *matrix;
  uint32_t k0, k;
  uint8_t flip;
  bool is_signed; /* the top plane is repeated up to bit 7 */
};

struct beta_avx2_decoder beta_avx2_decoder_of(const beta_matrix *matrix, const beta_pair *pair, struct beta_code code,
                                              bool is_signed);

/* 64 codes of a row, a byte each; `word` counts from the row's first touched one. */
void beta_avx2_decode(const struct beta_avx2_decoder *decoder, uint32_t row, uint32_t word, __m256i codes[2]);

/* The codes of a whole row (32-byte aligned). Returns their sum; unsigned codes only. */
int32_t beta_avx2_decode_row(const struct beta_avx2_decoder *decoder, uint32_t row, uint8_t *to);

/*
 * Planes as indices: for every four elements a vector of 32 rows, a byte each, in its low half the elements' bits. Row l is lane
 * l. Vectors lie `stride` bytes apart, 16 for every word. counts[l] = ones of lane l. Lanes beyond `count` are meaningless.
 */
void beta_avx2_hold_plane(const beta_pair *pair, uint8_t flip, uint32_t plane, uint32_t first, uint32_t count,
                          uint8_t *to, size_t stride, uint16_t counts[32]);

/* Turns a square of 8 rows of 8 32-bit elements. */
static inline void beta_avx2_turn_square(__m256i x[8]) {
  __m256i y[8];
#pragma GCC unroll 4
  for (uint32_t i = 0; i < 8; i += 2) {
    y[i] = _mm256_unpacklo_epi32(x[i], x[i + 1]);
    y[i + 1] = _mm256_unpackhi_epi32(x[i], x[i + 1]);
  }
#pragma GCC unroll 2
  for (uint32_t i = 0; i < 8; i += 4) {
    x[i] = _mm256_unpacklo_epi64(y[i], y[i + 2]);
    x[i + 1] = _mm256_unpackhi_epi64(y[i], y[i + 2]);
    x[i + 2] = _mm256_unpacklo_epi64(y[i + 1], y[i + 3]);
    x[i + 3] = _mm256_unpackhi_epi64(y[i + 1], y[i + 3]);
  }
#pragma GCC unroll 4
  for (uint32_t i = 0; i < 4; i++) {
    y[i] = _mm256_permute2x128_si256(x[i], x[i + 4], 0x20);
    y[i + 4] = _mm256_permute2x128_si256(x[i], x[i + 4], 0x31);
  }
#pragma GCC unroll 8
  for (uint32_t i = 0; i < 8; i++) x[i] = y[i];
}

extern const struct beta_method beta_avx2_lookup;        /* held 1 bit, streamed 1, 2 or 4 */
extern const struct beta_method beta_avx2_lookup_wide;   /* held 1 bit, streamed 8 */
extern const struct beta_method beta_avx2_lookup_planes; /* held 2 bits, streamed 2 or 4 */
extern const struct beta_method beta_avx2_dot;           /* held 2 or 4 bits, streamed up to 8 */
extern const struct beta_method beta_avx2_dot_wide;      /* held and streamed up to 8 bits */
extern const struct beta_method beta_avx2_dot_vnni;      /* held and streamed up to 8 bits; needs AVX-VNNI */

void beta_avx2_epilogue(const struct beta_epilogue *epilogue, uint32_t row, uint32_t rows, uint32_t column,
                        uint32_t columns, const int32_t *dot, size_t stride);

void beta_avx2_turn(const int32_t *dot, size_t stride, uint32_t rows, uint32_t lanes, int32_t *to, size_t to_stride);

#endif
#endif
