/* Bit-planes turned into the layouts of the AVX2 methods. */
#include "kernels/avx2/avx2.h"

#if defined(__x86_64__)

#include <string.h>

/* Rows of a head lie far apart, where no hardware foresees them: those so many rows ahead are prefetched. */
#define AHEAD 8u

struct beta_avx2_decoder beta_avx2_decoder_of(const beta_matrix *matrix, const beta_pair *pair, struct beta_code code,
                                              bool is_signed) {
  return (struct beta_avx2_decoder){matrix, pair->k0, pair->k, code.flip, is_signed};
}

/* 0xFF where a bit is set, for 32 of the 64 bits in every quarter of `bits`. */
static inline __m256i spread(__m256i bits, uint32_t half) {
  const __m256i byte = _mm256_set_epi64x(0x0303030303030303, 0x0202020202020202, 0x0101010101010101, 0);
  const __m256i bit = _mm256_set1_epi64x((int64_t)0x8040201008040201);
  const __m256i at = _mm256_add_epi8(byte, _mm256_set1_epi8((char)(4 * half)));
  return _mm256_cmpeq_epi8(_mm256_and_si256(_mm256_shuffle_epi8(bits, at), bit), bit);
}

static inline __m256i broadcast_word(const uint8_t *from) {
  int64_t word;
  memcpy(&word, from, sizeof word);
  return _mm256_set1_epi64x(word);
}

static inline void decode(const struct beta_avx2_decoder *decoder, const uint8_t *row, uint32_t word, __m256i codes[2]) {
  const beta_matrix *matrix = decoder->matrix;
  const uint32_t at = beta_first_word(decoder->k0) + word, top = matrix->bits - 1;
  const uint8_t *from = row + beta_word_offset(matrix, at, 0);
  for (uint32_t line = 0; line < matrix->bits * BETA_BEAT_BYTES; line += 64) {
    _mm_prefetch((const char *)from + AHEAD * matrix->stride + line, _MM_HINT_T0);
  }
  codes[0] = codes[1] = _mm256_set1_epi8((char)decoder->flip);
  for (uint32_t plane = 0; plane < matrix->bits; plane++, from += BETA_BEAT_BYTES) {
    const __m256i weight = _mm256_set1_epi8((char)((plane == top && decoder->is_signed ? 0xFFu : 1u) << plane));
    const __m256i bits = broadcast_word(from);
    codes[0] = _mm256_xor_si256(codes[0], _mm256_and_si256(spread(bits, 0), weight));
    codes[1] = _mm256_xor_si256(codes[1], _mm256_and_si256(spread(bits, 1), weight));
  }
  const uint64_t mask = beta_word_mask(at, decoder->k0, decoder->k);
  if (mask == UINT64_MAX) return;
  const __m256i bits = _mm256_set1_epi64x((int64_t)mask);
  codes[0] = _mm256_and_si256(codes[0], spread(bits, 0));
  codes[1] = _mm256_and_si256(codes[1], spread(bits, 1));
}

void beta_avx2_decode(const struct beta_avx2_decoder *decoder, uint32_t row, uint32_t word, __m256i codes[2]) {
  decode(decoder, decoder->matrix->row0 + row * decoder->matrix->stride, word, codes);
}

int32_t beta_avx2_decode_row(const struct beta_avx2_decoder *decoder, uint32_t row, uint8_t *to) {
  const uint8_t *from = decoder->matrix->row0 + row * decoder->matrix->stride;
  const uint32_t words = beta_word_count(decoder->k0, decoder->k);
  __m256i sum = _mm256_setzero_si256();
  for (uint32_t w = 0; w < words; w++, to += 64) {
    __m256i codes[2];
    decode(decoder, from, w, codes);
    for (uint32_t i = 0; i < 2; i++) {
      beta_store256(to + 32 * i, codes[i]);
      sum = _mm256_add_epi64(sum, _mm256_sad_epu8(codes[i], _mm256_setzero_si256()));
    }
  }
  const __m128i two = _mm_add_epi64(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
  return (int32_t)(_mm_cvtsi128_si64(two) + _mm_extract_epi64(two, 1));
}

static inline __m128i two_words(const uint8_t *a, const uint8_t *b) {
  return _mm_unpacklo_epi8(_mm_loadl_epi64((const __m128i *)(const void *)a), _mm_loadl_epi64((const __m128i *)(const void *)b));
}

/*
 * x[b] = byte b of the words at `at` of 32 rows. Interleaving the bytes of two registers moves the one bit of the registers'
 * number to the bottom of the bytes' number, and its top bit to theirs: four times, and rows and bytes have changed places.
 */
static inline void turn_bytes(const uint8_t *const row[32], uint64_t at, __m256i x[8]) {
  __m256i y[8];
#pragma GCC unroll 8
  for (uint32_t i = 0; i < 8; i++) {
    y[i] = _mm256_set_m128i(two_words(row[16 + i] + at, row[24 + i] + at), two_words(row[i] + at, row[8 + i] + at));
  }
#pragma GCC unroll 4
  for (uint32_t i = 0; i < 4; i++) {
    x[i] = _mm256_unpacklo_epi8(y[i], y[i + 4]);
    x[i + 4] = _mm256_unpackhi_epi8(y[i], y[i + 4]);
  }
#pragma GCC unroll 2
  for (uint32_t i = 0; i < 8; i += 4) {
#pragma GCC unroll 2
    for (uint32_t j = i; j < i + 2; j++) {
      y[j] = _mm256_unpacklo_epi8(x[j], x[j + 2]);
      y[j + 2] = _mm256_unpackhi_epi8(x[j], x[j + 2]);
    }
  }
#pragma GCC unroll 4
  for (uint32_t i = 0; i < 8; i += 2) {
    x[i] = _mm256_unpacklo_epi8(y[i], y[i + 1]);
    x[i + 1] = _mm256_unpackhi_epi8(y[i], y[i + 1]);
  }
}

void beta_avx2_hold_plane(const beta_pair *pair, uint8_t flip, uint32_t plane, uint32_t first, uint32_t count,
                          uint8_t *to, size_t stride, uint16_t counts[32]) {
  const __m256i ones = _mm256_broadcastsi128_si256(_mm_set_epi64x(0x0403030203020201, 0x0302020102010100));
  const __m256i flips = _mm256_set1_epi8((flip >> plane & 1) != 0 ? -1 : 0);
  const uint32_t words = beta_code_words(pair);
  const uint8_t *row[32];
  for (uint32_t l = 0; l < 32; l++) {
    row[l] = pair->held.row0 + (uint64_t)(first + (l < count ? l : count - 1)) * pair->held.stride;
  }
  __m256i low = _mm256_setzero_si256(), high = _mm256_setzero_si256();
  for (uint32_t w = 0; w < words; w++) {
    const uint32_t word = beta_first_word(pair->k0) + w;
    const uint64_t mask = beta_word_mask(word, pair->k0, pair->k);
    __m256i x[8], sum = _mm256_setzero_si256(); /* at most 64 a byte */
    turn_bytes(row, beta_word_offset(&pair->held, word, plane), x);
    for (uint32_t b = 0; b < 8; b++) {
      const uint8_t valid = (uint8_t)(mask >> 8 * b);
      const __m256i bits = _mm256_xor_si256(x[b], flips);
      const __m256i index[2] = {
          _mm256_and_si256(bits, _mm256_set1_epi8((char)(valid & 15))),
          _mm256_and_si256(_mm256_srli_epi16(bits, 4), _mm256_set1_epi8((char)(valid >> 4))),
      };
      for (uint32_t i = 0; i < 2; i++, to += stride) {
        sum = _mm256_add_epi8(sum, _mm256_shuffle_epi8(ones, index[i]));
        beta_store256(to, index[i]);
      }
    }
    low = _mm256_add_epi16(low, _mm256_cvtepu8_epi16(_mm256_castsi256_si128(sum)));
    high = _mm256_add_epi16(high, _mm256_cvtepu8_epi16(_mm256_extracti128_si256(sum, 1)));
  }
  beta_store256(counts, low);
  beta_store256(counts + 16, high);
}

#endif
