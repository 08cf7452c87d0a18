/* From bit-planes to numbers and to indices: what the lookup and dot methods begin with. */
#ifndef BETA_KERNELS_AVX512_UNPACK_H
#define BETA_KERNELS_AVX512_UNPACK_H

#include "kernels/avx512/avx512.h"

#if defined(__x86_64__)

#include <string.h>

#define BETA_ROW_WORDS_MAX (BETA_MAX_K_LIMIT / 64 + 2)

/* Elements k0 + 64 w and on of one plane of a row, the first at bit 0; bits of elements behind k0 + k are 0. */
static inline uint64_t beta_plane_word(const beta_matrix *matrix, const uint8_t *row, uint32_t plane, uint32_t k0,
                                       uint32_t k, uint32_t w) {
  const uint32_t word = k0 / 64 + w, shift = k0 % 64, left = k - 64 * w;
  uint64_t bits, next;
  memcpy(&bits, row + beta_word_offset(matrix, word, plane), 8);
  if (shift != 0) {
    bits >>= shift;
    if (left > 64 - shift) {
      memcpy(&next, row + beta_word_offset(matrix, word + 1, plane), 8);
      bits |= next << (64 - shift);
    }
  }
  return left >= 64 ? bits : bits & UINT64_MAX >> (64 - left);
}

/* All words of a plane, and a word of zeros. */
static inline void beta_plane_bits(const beta_matrix *matrix, const uint8_t *row, uint32_t plane, uint32_t k0,
                                   uint32_t k, uint64_t *to) {
  const uint32_t count = (k + 63) / 64;
  for (uint32_t w = 0; w < count; w++) to[w] = beta_plane_word(matrix, row, plane, k0, k, w);
  to[count] = 0;
}

/*
 * Elements k0 + 64 w and on of a row as bytes: values modulo 256, 0 behind k0 + k. Adds the values (as int8 unless U8) to *sum,
 * unless that is NULL.
 */
static inline __attribute__((always_inline)) __m512i beta_bytes(const beta_matrix *matrix, const struct beta_coefficients *of, const uint8_t *row,
                                 uint32_t k0, uint32_t k, uint32_t w, int32_t *sum) {
  const uint32_t count = k - 64 * w < 64 ? k - 64 * w : 64;
  __m512i value = _mm512_maskz_set1_epi8(UINT64_MAX >> (64 - count), (char)of->z);
  int32_t total = of->z * (int32_t)count;
  for (uint32_t i = 0; i < of->planes; i++) {
    const uint64_t bits = beta_plane_word(matrix, row, i, k0, k, w);
    value = _mm512_mask_add_epi8(value, bits, value, _mm512_set1_epi8((char)of->c[i]));
    if (sum != NULL) total += of->c[i] * (int32_t)__builtin_popcountll(bits);
  }
  if (sum != NULL) *sum += total;
  return value;
}

/* A whole row, in vectors of 64; returns the sum of its values. */
static inline int32_t beta_row_bytes(const beta_matrix *matrix, const uint8_t *row, uint32_t k0, uint32_t k, uint8_t *to) {
  const struct beta_coefficients of = beta_coefficients_of(matrix);
  int32_t sum = 0;
  for (uint32_t w = 0; 64 * w < k; w++) {
    _mm512_storeu_si512(to + 64 * (size_t)w, beta_bytes(matrix, &of, row, k0, k, w, &sum));
  }
  return sum;
}

#endif
#endif
