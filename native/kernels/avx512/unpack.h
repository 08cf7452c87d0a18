/* From bit-planes to numbers and to indices: what the lookup and dot methods begin with. */
#ifndef BETA_KERNELS_AVX512_UNPACK_H
#define BETA_KERNELS_AVX512_UNPACK_H

#include "kernels/avx512/avx512.h"

#if defined(__x86_64__)

#include <string.h>

#define BETA_ROW_WORDS_MAX (BETA_MAX_K_LIMIT / 64 + 2)

/*
 * Elements [k0, k0 + k) of one plane of a row, the first at bit 0; bits behind the last are 0, and so is one word more.
 * Returns the number of words that hold elements.
 */
static inline uint32_t beta_plane_bits(const beta_matrix *matrix, const uint8_t *row, uint32_t plane, uint32_t k0,
                                       uint32_t k, uint64_t *to) {
  const uint32_t first = beta_first_word(k0), words = beta_word_count(k0, k), shift = k0 % 64;
  const uint32_t count = (k + 63) / 64;
  for (uint32_t w = 0; w < words; w++) memcpy(to + w, row + beta_word_offset(matrix, first + w, plane), 8);
  to[words] = 0;
  if (shift != 0) {
    for (uint32_t w = 0; w < count; w++) to[w] = to[w] >> shift | to[w + 1] << (64 - shift);
  }
  if (k % 64 != 0) to[count - 1] &= UINT64_MAX >> (64 - k % 64);
  to[count] = 0;
  return count;
}

/*
 * Elements [k0, k0 + k) of a row as bytes: values modulo 256. `to` gets whole vectors of 64; elements behind the last are 0.
 * Returns the sum of the values (as int8 unless U8).
 */
static inline int32_t beta_row_bytes(const beta_matrix *matrix, const uint8_t *row, uint32_t k0, uint32_t k, uint8_t *to) {
  const struct beta_coefficients of = beta_coefficients_of(matrix);
  uint64_t plane[BETA_MAX_PLANES][BETA_ROW_WORDS_MAX];
  uint32_t words = 0;
  int64_t sum = (int64_t)of.z * k;
  for (uint32_t i = 0; i < of.planes; i++) {
    words = beta_plane_bits(matrix, row, i, k0, k, plane[i]);
    int64_t ones = 0;
    for (uint32_t w = 0; w < words; w++) ones += __builtin_popcountll(plane[i][w]);
    sum += of.c[i] * ones;
  }
  for (uint32_t w = 0; w < words; w++) {
    const uint32_t left = k - 64 * w;
    const __mmask64 valid = left >= 64 ? UINT64_MAX : UINT64_MAX >> (64 - left);
    __m512i value = _mm512_maskz_set1_epi8(valid, (char)of.z);
    for (uint32_t i = 0; i < of.planes; i++) {
      value = _mm512_mask_add_epi8(value, plane[i][w], value, _mm512_set1_epi8((char)of.c[i]));
    }
    _mm512_storeu_si512(to + 64 * (size_t)w, value);
  }
  return (int32_t)sum;
}

#endif
#endif
