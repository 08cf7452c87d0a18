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

/* How rows of one matrix become bytes; made once for many rows. */
struct beta_unpacker {
  const beta_matrix *matrix;
  struct beta_coefficients of;
  uint32_t k0, k;
  /*
   * Where bits lie in whole bytes and every code is a sum of planes: one permutation puts the bytes of the planes beside each
   * other, eight elements to a 64-bit matrix, and one affine transformation turns all matrices around. Signed codes repeat
   * their top plane up to bit 7; unsigned ones have zeros there.
   */
  bool direct;
  __m512i order[2]; /* of the bytes of a block, for its first and its second 64 elements */
  __mmask64 planes; /* bytes that come from a plane */
};

static inline struct beta_unpacker beta_unpacker_of(const beta_matrix *matrix, uint32_t k0, uint32_t k) {
  struct beta_unpacker unpacker = {.matrix = matrix, .of = beta_coefficients_of(matrix), .k0 = k0, .k = k};
  unpacker.direct = k0 % 64 == 0 && matrix->encoding != BETA_ENC_PM1;
  if (!unpacker.direct) return unpacker;
  /* Byte p of 64-bit group j: plane 7 - p, as the affine transformation numbers the rows of its matrix, of elements 8 j to 8 j + 7. */
  const __m512i iota = beta_iota8(), top = _mm512_set1_epi8((char)(matrix->bits - 1));
  const __m512i plane = _mm512_andnot_si512(iota, _mm512_set1_epi8(7));
  const __m512i beat = _mm512_slli_epi16(_mm512_min_epu8(plane, top), 4);
  unpacker.order[0] = _mm512_add_epi8(beat, beta_srl8(iota, 3));
  unpacker.order[1] = _mm512_add_epi8(unpacker.order[0], _mm512_set1_epi8(8));
  unpacker.planes = matrix->encoding == BETA_ENC_S ? UINT64_MAX : _mm512_cmple_epu8_mask(plane, top);
  return unpacker;
}

static inline __m512i beta_unpack_directly(const struct beta_unpacker *unpacker, const uint8_t *row, uint32_t w) {
  const uint32_t word = unpacker->k0 / 64 + w, bits = unpacker->matrix->bits;
  const uint8_t *block = row + (uint64_t)(word / 2) * bits * BETA_BEAT_BYTES;
  const __m512i order = unpacker->order[word % 2];
  __m512i planes;
  if (bits == 8) {
    planes = _mm512_permutex2var_epi8(_mm512_loadu_si512(block), order, _mm512_loadu_si512(block + 64));
  } else {
    const __mmask64 bytes = UINT64_MAX >> (64 - bits * BETA_BEAT_BYTES);
    planes = _mm512_maskz_permutexvar_epi8(unpacker->planes, order, _mm512_maskz_loadu_epi8(bytes, block));
  }
  return _mm512_gf2p8affine_epi64_epi8(_mm512_set1_epi64((long long)0x8040201008040201), planes, 0);
}

/* Elements k0 + 64 w and on of a row as bytes: values modulo 256, 0 behind k0 + k. */
static inline __m512i beta_unpack(const struct beta_unpacker *unpacker, const uint8_t *row, uint32_t w) {
  const uint32_t left = unpacker->k - 64 * w;
  const __mmask64 valid = left >= 64 ? UINT64_MAX : UINT64_MAX >> (64 - left);
  if (unpacker->direct) return _mm512_maskz_mov_epi8(valid, beta_unpack_directly(unpacker, row, w));
  __m512i value = _mm512_maskz_set1_epi8(valid, (char)unpacker->of.z);
  for (uint32_t i = 0; i < unpacker->of.planes; i++) {
    const uint64_t bits = beta_plane_word(unpacker->matrix, row, i, unpacker->k0, unpacker->k, w);
    value = _mm512_mask_add_epi8(value, bits, value, _mm512_set1_epi8((char)unpacker->of.c[i]));
  }
  return value;
}

/* Adds 64 values, in groups of four, to 16 sums. */
static inline __m512i beta_add_values(__m512i sums, __m512i values, bool is_unsigned) {
  const __m512i ones = _mm512_set1_epi8(1);
  return is_unsigned ? _mm512_dpbusd_epi32(sums, values, ones) : _mm512_dpbusd_epi32(sums, ones, values);
}

/* A whole row, in vectors of 64; returns the sum of its values. */
static inline int32_t beta_row_bytes(const struct beta_unpacker *unpacker, const uint8_t *row, uint8_t *to) {
  const bool is_unsigned = unpacker->matrix->encoding == BETA_ENC_U;
  __m512i sums = _mm512_setzero_si512();
  for (uint32_t w = 0; 64 * w < unpacker->k; w++) {
    const __m512i values = beta_unpack(unpacker, row, w);
    sums = beta_add_values(sums, values, is_unsigned);
    _mm512_storeu_si512(to + 64 * (size_t)w, values);
  }
  return _mm512_reduce_add_epi32(sums);
}

#endif
#endif
