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
 * Where bits lie in whole bytes and every code is a sum of planes, one permutation puts the bytes of the planes beside each other,
 * eight elements to a 64-bit matrix, and one affine transformation turns all matrices around. Signed codes repeat their top plane
 * up to bit 7; unsigned ones have zeros there.
 */
static inline bool beta_is_direct(const beta_matrix *matrix, uint32_t k0) {
  return k0 % 64 == 0 && matrix->encoding != BETA_ENC_PM1;
}

/* How 64 elements are unpacked directly. Where `bits` is a constant, so is most of this. */
struct beta_shuffle {
  __m512i order;    /* of the bytes of a block */
  __mmask64 planes; /* bytes that come from a plane */
};

/* For the first or second 64 elements of a block. */
static inline __attribute__((always_inline)) struct beta_shuffle beta_shuffle_of(uint32_t bits, bool is_signed,
                                                                                 uint32_t half) {
  /* Byte p of 64-bit group j: plane 7 - p, as the affine transformation numbers the rows of its matrix, of elements 8 j to 8 j + 7. */
  const __m512i iota = beta_iota8(), top = _mm512_set1_epi8((char)(bits - 1));
  const __m512i plane = _mm512_andnot_si512(iota, _mm512_set1_epi8(7));
  const __m512i order = _mm512_add_epi8(_mm512_slli_epi16(_mm512_min_epu8(plane, top), 4), beta_srl8(iota, 3));
  return (struct beta_shuffle){_mm512_add_epi8(order, _mm512_set1_epi8((char)(8 * half))),
                               is_signed ? UINT64_MAX : _mm512_cmple_epu8_mask(plane, top)};
}

/* Ones for elements 64 w and on that the row has. */
static inline __mmask64 beta_valid(uint32_t k, uint32_t w) {
  const uint32_t left = k - 64 * w;
  return left >= 64 ? UINT64_MAX : UINT64_MAX >> (64 - left);
}

/* Elements of a block of `bits` planes as bytes: values modulo 256, moved by 128 (`moved`, a constant); 0 where not `valid`. */
static inline __attribute__((always_inline)) __m512i beta_unpack_directly(struct beta_shuffle shuffle, const uint8_t *block,
                                                                          __mmask64 valid, uint32_t bits, bool moved) {
  __m512i planes;
  if (bits == 8) {
    planes = _mm512_permutex2var_epi8(_mm512_loadu_si512(block), shuffle.order, _mm512_loadu_si512(block + 64));
  } else {
    const __mmask64 bytes = UINT64_MAX >> (64 - bits * BETA_BEAT_BYTES);
    planes = _mm512_maskz_permutexvar_epi8(shuffle.planes, shuffle.order, _mm512_maskz_loadu_epi8(bytes, block));
  }
  const __m512i elements = _mm512_set1_epi64((long long)0x8040201008040201);
  return moved ? _mm512_maskz_gf2p8affine_epi64_epi8(valid, elements, planes, 0x80)
               : _mm512_maskz_gf2p8affine_epi64_epi8(valid, elements, planes, 0);
}

/* Elements k0 + 64 w and on of a row, where they cannot be had directly. */
static inline __m512i beta_unpack_by_planes(const beta_matrix *matrix, const uint8_t *row, uint32_t k0, uint32_t k,
                                            uint32_t w) {
  const struct beta_coefficients of = beta_coefficients_of(matrix);
  __m512i value = _mm512_maskz_set1_epi8(beta_valid(k, w), (char)of.z);
  for (uint32_t i = 0; i < of.planes; i++) {
    const uint64_t plane = beta_plane_word(matrix, row, i, k0, k, w);
    value = _mm512_mask_add_epi8(value, plane, value, _mm512_set1_epi8((char)of.c[i]));
  }
  return value;
}

/* How rows of one matrix become bytes; made once for many rows. */
struct beta_unpacker {
  const beta_matrix *matrix;
  uint32_t k0, k;
  bool direct;
  struct beta_shuffle shuffle[2]; /* for the halves of a block */
};

static inline struct beta_unpacker beta_unpacker_of(const beta_matrix *matrix, uint32_t k0, uint32_t k) {
  struct beta_unpacker unpacker = {.matrix = matrix, .k0 = k0, .k = k, .direct = beta_is_direct(matrix, k0)};
  for (uint32_t half = 0; half < 2 && unpacker.direct; half++) {
    unpacker.shuffle[half] = beta_shuffle_of(matrix->bits, matrix->encoding == BETA_ENC_S, half);
  }
  return unpacker;
}

/* Elements k0 + 64 w and on of a row as bytes: values modulo 256, 0 behind k0 + k. */
static inline __m512i beta_unpack(const struct beta_unpacker *unpacker, const uint8_t *row, uint32_t w) {
  const beta_matrix *matrix = unpacker->matrix;
  if (!unpacker->direct) return beta_unpack_by_planes(matrix, row, unpacker->k0, unpacker->k, w);
  const uint32_t word = unpacker->k0 / 64 + w;
  return beta_unpack_directly(unpacker->shuffle[word % 2], row + (uint64_t)(word / 2) * matrix->bits * BETA_BEAT_BYTES,
                              beta_valid(unpacker->k, w), matrix->bits, false);
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
