/* What the AVX-512 files share. They are compiled for their instruction sets and run only after supported() said yes. */
#ifndef BETA_KERNELS_AVX512_H
#define BETA_KERNELS_AVX512_H

#if defined(__x86_64__)

#include <immintrin.h>
#include <string.h>

#include "kernels/blocks.h"
#include "kernels/formats.h"

extern const struct beta_method beta_avx512_popcount;
extern const struct beta_method beta_avx512_words;
extern const struct beta_method beta_avx512_triples;
extern const struct beta_method beta_avx512_lookup8;
extern const struct beta_method beta_avx512_lookup16;
extern const struct beta_method beta_avx512_ternary;
extern const struct beta_method beta_avx512_dot;

void beta_avx512_epilogue(const struct beta_epilogue *epilogue, uint32_t row, uint32_t rows, uint32_t column,
                          uint32_t columns, const int32_t *dot, size_t stride);

void beta_avx512_epilogue16(const struct beta_epilogue *epilogue, uint32_t row, uint32_t rows, uint32_t column,
                            uint32_t columns, const int16_t *dot, size_t stride);

/*
 * What 16 columns compare with, where every multiplier is +-1.0 and a code is one bit (epilogue.c): D + bias, or its complement where
 * `negative` is -1, is above the limit. Of a table that goes by columns.
 */
struct beta_comparison {
  __m512i bias, negative, limit;
};
struct beta_comparison beta_avx512_comparison_of(const beta_qmm *job, uint32_t column);

/*
 * One-bit outputs as comparisons, from products of `size` bytes: `words` for whole words of 64 output bits, `fewer` for at most `step`
 * columns that lie inside a block. Both write `count` columns from `column` on of all rows; `dot` is the first one's product.
 */
typedef void beta_avx512_compare(const struct beta_epilogue *epilogue, uint32_t row, uint32_t rows, uint32_t column, uint32_t count,
                                 const void *dot, size_t stride);
void beta_avx512_thresholds(const struct beta_epilogue *epilogue, uint32_t row, uint32_t rows, uint32_t column, uint32_t columns,
                            const void *dot, size_t stride, size_t size, uint32_t step, beta_avx512_compare *words,
                            beta_avx512_compare *fewer);

void beta_avx512_turn(const int32_t *dot, size_t stride, uint32_t rows, uint32_t lanes, int32_t *to, size_t to_stride);
void beta_avx512_turn16(const int16_t *dot, size_t stride, uint32_t rows, uint32_t lanes, int16_t *to, size_t to_stride);
void beta_avx512_turn_bits(const uint8_t *bits, size_t stride, uint32_t rows, uint32_t lanes, uint8_t *to, size_t to_stride);

/* What `words` takes: rows of at most so many words, of all planes together. And `triples`: two bits, and more than a few rows of B. */
#define BETA_AVX512_WORDS_MAX 4u
bool beta_avx512_words_take(const beta_qmm *job);
bool beta_avx512_triples_take(const beta_qmm *job);

/* 0 to 63 in bytes, 0 to 31 in words, and 0 to 15 in 32 bits: index vectors are computed from them. */
static inline __m512i beta_iota8(void) {
  const __m512i eight = _mm512_set1_epi64(0x0706050403020100);
  return _mm512_add_epi8(eight, _mm512_set_epi64(0x3838383838383838, 0x3030303030303030, 0x2828282828282828,
                                                 0x2020202020202020, 0x1818181818181818, 0x1010101010101010,
                                                 0x0808080808080808, 0));
}
static inline __m512i beta_iota16(void) { return _mm512_cvtepu8_epi16(_mm512_castsi512_si256(beta_iota8())); }
static inline __m512i beta_iota32(void) { return _mm512_cvtepu8_epi32(_mm512_castsi512_si128(beta_iota8())); }

/*
 * sum += x in bytes or words, as an instruction of its own. Written as an expression, compilers regroup the sums of an unrolled loop
 * into trees and store their leaves.
 */
static inline void beta_add_bytes(__m512i *sum, __m512i x) { __asm__("vpaddb %1, %0, %0" : "+v"(*sum) : "v"(x)); }
static inline void beta_add_words(__m512i *sum, __m512i x) { __asm__("vpaddw %1, %0, %0" : "+v"(*sum) : "v"(x)); }

/*
 * A register of results in two stores. Zen 5 spends about half a turn of a unit that multiplies on a store of 512 bits, and none on
 * stores of 256.
 */
static inline void beta_store_halves(int32_t *to, __m512i x) {
  __asm__("vmovdqu64 %t1, %0" : "=m"(*(__m256i_u *)(void *)to) : "v"(x));
  __asm__("vextracti64x4 $1, %1, %0" : "=m"(*(__m256i_u *)(void *)(to + 8)) : "v"(x));
}

/* Bytes shifted right. */
static inline __m512i beta_srl8(__m512i x, uint32_t by) {
  return _mm512_and_si512(_mm512_srli_epi16(x, by), _mm512_set1_epi8((char)(0xFF >> by)));
}

/* The word at `at` of eight rows. A gather instruction takes three times as long. */
static inline __m512i beta_load_words(const uint8_t *const row[8], uint64_t at) {
  __m128i two[4];
#pragma GCC unroll 4
  for (uint32_t i = 0; i < 4; i++) {
    const __m128i low = _mm_loadl_epi64((const __m128i *)(const void *)(row[2 * i] + at));
    two[i] = _mm_unpacklo_epi64(low, _mm_loadl_epi64((const __m128i *)(const void *)(row[2 * i + 1] + at)));
  }
  return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_set_m128i(two[1], two[0])),
                            _mm256_set_m128i(two[3], two[2]), 1);
}

/* Which eight rows: `row` and its neighbour, `neighbour` rows further on, and three more such pairs, each `step` rows behind the one before. */
struct beta_eight {
  uint32_t row, neighbour, step;
  uint32_t last; /* the last row that there is: those behind it are zeros */
};

static inline __m512i beta_load_eight_of_fewer(const beta_matrix *matrix, struct beta_eight eight, uint64_t at) {
  uint64_t words[8] = {0};
  for (uint32_t i = 0; i < 8 && eight.row <= eight.last; i++) {
    const uint32_t r = eight.row + i / 2 * eight.step + i % 2 * eight.neighbour;
    if (r <= eight.last) memcpy(&words[i], matrix->row0 + r * matrix->stride + at, sizeof words[i]);
  }
  return _mm512_loadu_si512(words);
}

/* The word at `at` of eight rows of a matrix. As a rule all are there, and their addresses are sums of a few numbers. */
static inline __m512i beta_load_eight(const beta_matrix *matrix, struct beta_eight eight, uint64_t at) {
  if (eight.row + 3 * eight.step + eight.neighbour > eight.last) return beta_load_eight_of_fewer(matrix, eight, at);
  const uint64_t step = eight.step * matrix->stride;
  const uint8_t *low = matrix->row0 + eight.row * matrix->stride + at, *high = low + eight.neighbour * matrix->stride;
  __m128i two[4];
#pragma GCC unroll 4
  for (uint32_t i = 0; i < 4; i++, low += step, high += step) {
    const __m128i first = _mm_loadl_epi64((const __m128i *)(const void *)low);
    two[i] = _mm_unpacklo_epi64(first, _mm_loadl_epi64((const __m128i *)(const void *)high));
  }
  return _mm512_inserti64x4(_mm512_castsi256_si512(_mm256_set_m128i(two[1], two[0])),
                            _mm256_set_m128i(two[3], two[2]), 1);
}

static inline size_t beta_align64(size_t bytes) { return (bytes + 63) / 64 * 64; }

#endif
#endif
