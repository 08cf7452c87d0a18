/*
 * Products of codes, four neighbouring elements to a 32-bit lane: both operands have several bits.
 *
 * A vector holds 8 rows; a streamed step is repeated into all of them. A tile is 4 rows by 2 vectors.
 *   dot        vpmaddubsw multiplies unsigned by signed bytes and adds pairs, saturating at 16 bits. With signed codes of up to 4 bits
 *              and unsigned ones of up to 8 no pair saturates, and several fit 16 bits before they are widened (vpmaddwd with ones):
 *              8 for 4 x 8 bits, 32 for 2 x 8, 136 for 4 x 4. Two operations for 32 MACs, and two more every run: 14.2, 15.5, 15.9 MACs
 *              per operation. (Products of any bytes take three operations, if they may saturate: 10.7.)
 *   dot-wide   vpmaddwd of codes widened to 16 bits, for 8 x 8 bits: two operations for 16 MACs.
 *   dot-vnni   vpdpbusd of AVX-VNNI, for all: one operation for 32 MACs.
 */
#include "kernels/avx2/avx2.h"

#if defined(__x86_64__)

#include <string.h>

#define ROWS 16u /* streamed at once, in tiles of TILE_ROWS */
#define TILE_ROWS BETA_AVX2_ROWS
#define VECTORS 2u
#define VECTOR_LANES 8u
#define LANES (VECTORS * VECTOR_LANES)
#define COLUMNS 256u
#define VECTOR 32u /* bytes */
#define HEADER BETA_METHOD_ALIGN
#define CHUNK 256u /* steps that all tiles of rows take in turn: 16 KiB of a group stay in the first-level cache */

enum kind { BYTES, WIDE, VNNI };

/* Steps of 32 bits, for every word of 64 codes. */
static inline uint32_t word_steps(enum kind kind) { return kind == WIDE ? 32 : 16; }
static inline uint32_t steps_of(const beta_pair *pair, enum kind kind) { return beta_code_words(pair) * word_steps(kind); }

static inline size_t held_bytes(const beta_pair *pair, enum kind kind) {
  return HEADER + (size_t)steps_of(pair, kind) * VECTORS * VECTOR;
}

static inline size_t row_bytes(const beta_pair *pair, enum kind kind) { return HEADER + (size_t)steps_of(pair, kind) * 4; }

static inline size_t streamed_bytes(const beta_pair *pair, enum kind kind) { return ROWS * row_bytes(pair, kind); }

static struct beta_terms terms_of(const beta_pair *pair) {
  return beta_terms_of(beta_avx2_signed(&pair->held), beta_code_unsigned(&pair->streamed), pair->k);
}

/* 8 steps of a row's codes. */
static inline __m256i load_steps(const uint8_t *codes, enum kind kind, uint32_t step) {
  if (kind != WIDE) return beta_load256(codes + 4 * step);
  return _mm256_cvtepi8_epi16(_mm_load_si128((const __m128i *)(const void *)(codes + 2 * step)));
}

/* Adds the elements of each lane. */
static inline __m256i add_lanes(__m256i sum, __m256i codes, enum kind kind) {
  const __m256i ones = _mm256_set1_epi16(1);
  const __m256i pairs = kind == WIDE ? codes : _mm256_maddubs_epi16(_mm256_set1_epi8(1), codes);
  return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, ones));
}

/* The lanes' terms, then the signed codes, [step][vector][lane]. */
static inline void hold(const beta_pair *pair, enum kind kind, uint32_t first, uint32_t count, uint8_t *to) {
  const struct beta_avx2_decoder decoder = beta_avx2_decoder_of(&pair->held, pair, beta_avx2_signed(&pair->held), true);
  const __m256i factor = _mm256_set1_epi32(terms_of(pair).held_sum);
  for (uint32_t v = 0; v < VECTORS; v++) {
    __m256i sum = _mm256_setzero_si256();
    uint8_t *out = to + HEADER + v * VECTOR;
    for (uint32_t w = 0; w < beta_code_words(pair); w++) {
      _Alignas(32) uint8_t codes[VECTOR_LANES][64];
      for (uint32_t l = 0; l < VECTOR_LANES; l++) {
        /* Lanes without a row repeat the last one: their results are never read. */
        const uint32_t lane = v * VECTOR_LANES + l;
        __m256i both[2];
        beta_avx2_decode(&decoder, first + (lane < count ? lane : count - 1), w, both);
        beta_store256(codes[l], both[0]);
        beta_store256(codes[l] + 32, both[1]);
      }
      for (uint32_t s = 0; s < word_steps(kind); s += 8) {
        __m256i square[8];
#pragma GCC unroll 8
        for (uint32_t l = 0; l < VECTOR_LANES; l++) square[l] = load_steps(codes[l], kind, s);
        beta_avx2_turn_square(square);
        for (uint32_t i = 0; i < 8; i++, out += VECTORS * VECTOR) {
          sum = add_lanes(sum, square[i], kind);
          beta_store256(out, square[i]);
        }
      }
    }
    beta_store256(to + v * VECTOR, _mm256_mullo_epi32(sum, factor));
  }
}

static void widen(const uint8_t *codes, uint32_t count, uint8_t *to) {
  for (uint32_t i = 0; i < count; i += 16) {
    beta_store256(to + 2 * i, _mm256_cvtepu8_epi16(_mm_load_si128((const __m128i *)(const void *)(codes + i))));
  }
}

/* Rows of a term and unsigned codes. */
static inline void stream(const beta_pair *pair, enum kind kind, uint32_t first, uint32_t count, uint8_t *to) {
  const struct beta_avx2_decoder decoder =
      beta_avx2_decoder_of(&pair->streamed, pair, beta_code_unsigned(&pair->streamed), false);
  const struct beta_terms terms = terms_of(pair);
  _Alignas(32) uint8_t codes[BETA_CODES_MAX];
  for (uint32_t r = 0; r < count; r++, to += row_bytes(pair, kind)) {
    const int32_t sum = beta_avx2_decode_row(&decoder, first + r, kind == WIDE ? codes : to + HEADER);
    if (kind == WIDE) widen(codes, beta_code_words(pair) * 64, to + HEADER);
    const int32_t term = terms.streamed_sum * sum + terms.constant;
    memcpy(to, &term, sizeof term);
  }
}

/*
 * sums += a streamed row's step times both vectors of lanes. In assembler, because compilers add into other registers than the sums'
 * and copy them back (a quarter slower), and AVX-VNNI is not among the instruction sets of this file.
 */
#define ADD_ROW(code)                                                                                                  \
  __asm__("vpbroadcastd %[codes], %[row]\n\t" code                                                                     \
          : [sum0] "+x"(sums[0]), [sum1] "+x"(sums[1]), [row] "=&x"(row), [product] "=&x"(product)                     \
          : [codes] "m"(*(const uint8_t(*)[4])(const void *)codes), [lanes0] "x"(lanes[0]), [lanes1] "x"(lanes[1]))

#define MULTIPLY_THEN_ADD(multiply, add)                                                                               \
  multiply " %[lanes0], %[row], %[product]\n\t" multiply " %[lanes1], %[row], %[row]\n\t"                              \
  add " %[product], %[sum0], %[sum0]\n\t" add " %[row], %[sum1], %[sum1]"

static inline __attribute__((always_inline)) void add_row(enum kind kind, const uint8_t *codes,
                                                          const __m256i lanes[VECTORS], __m256i sums[VECTORS]) {
  __m256i row, product;
  switch (kind) {
    case BYTES: ADD_ROW(MULTIPLY_THEN_ADD("vpmaddubsw", "vpaddw")); break;
    case WIDE: ADD_ROW(MULTIPLY_THEN_ADD("vpmaddwd", "vpaddd")); break;
    case VNNI:
      ADD_ROW("%{vex%} vpdpbusd %[lanes0], %[row], %[sum0]\n\t%{vex%} vpdpbusd %[lanes1], %[row], %[sum1]");
      break;
  }
}

/* Steps whose sums of products fit 16 bits. */
static uint32_t run_of(const beta_pair *pair, enum kind kind) {
  if (kind != BYTES) return UINT32_MAX;
  const uint32_t held = 1u << (pair->held.bits - 1), streamed = (1u << pair->streamed.bits) - 1;
  return INT16_MAX / (2 * held * streamed);
}

/* Steps [begin, end) of a tile. */
static inline __attribute__((always_inline)) void multiply_tile(const beta_pair *pair, enum kind kind,
                                                                const uint8_t *held, const uint8_t *streamed,
                                                                uint32_t begin, uint32_t end, int32_t *dot,
                                                                size_t dot_stride) {
  const size_t row = row_bytes(pair, kind);
  __m256i total[TILE_ROWS][VECTORS];
#pragma GCC unroll 4
  for (uint32_t r = 0; r < TILE_ROWS; r++) {
    int32_t term;
    memcpy(&term, streamed + r * row, sizeof term);
#pragma GCC unroll 2
    for (uint32_t v = 0; v < VECTORS; v++) {
      total[r][v] = begin == 0 ? _mm256_add_epi32(beta_load256(held + v * VECTOR), _mm256_set1_epi32(term))
                               : beta_load256(dot + r * dot_stride + v * VECTOR_LANES);
    }
  }
  held += HEADER + (size_t)begin * VECTORS * VECTOR;
  streamed += HEADER + 4 * (size_t)begin;
  const uint32_t run = run_of(pair, kind);
  for (uint32_t left = end - begin; left > 0;) {
    const uint32_t part = left < run ? left : run;
    left -= part;
    __m256i sum[TILE_ROWS][VECTORS];
#pragma GCC unroll 8
    for (uint32_t i = 0; i < TILE_ROWS * VECTORS; i++) {
      sum[i / VECTORS][i % VECTORS] = kind == BYTES ? _mm256_setzero_si256() : total[i / VECTORS][i % VECTORS];
    }
    for (uint32_t s = 0; s < part; s++, held += VECTORS * VECTOR, streamed += 4) {
      const __m256i lanes[VECTORS] = {beta_load256(held), beta_load256(held + VECTOR)};
#pragma GCC unroll 4
      for (uint32_t r = 0; r < TILE_ROWS; r++) add_row(kind, streamed + r * row, lanes, sum[r]);
    }
#pragma GCC unroll 8
    for (uint32_t i = 0; i < TILE_ROWS * VECTORS; i++) {
      const uint32_t r = i / VECTORS, v = i % VECTORS;
      total[r][v] = kind == BYTES ? _mm256_add_epi32(total[r][v], _mm256_madd_epi16(sum[r][v], _mm256_set1_epi16(1)))
                                  : sum[r][v];
    }
  }
#pragma GCC unroll 4
  for (uint32_t r = 0; r < TILE_ROWS; r++) {
#pragma GCC unroll 2
    for (uint32_t v = 0; v < VECTORS; v++) beta_store256(dot + r * dot_stride + v * VECTOR_LANES, total[r][v]);
  }
}

static inline __attribute__((always_inline)) void multiply(const beta_pair *pair, enum kind kind, const uint8_t *held,
                                                           uint32_t groups, const uint8_t *streamed, uint32_t count,
                                                           int32_t *dot, size_t dot_stride) {
  const uint32_t steps = steps_of(pair, kind);
  for (uint32_t g = 0; g < groups; g++, held += held_bytes(pair, kind), dot += LANES) {
    for (uint32_t begin = 0; begin < steps; begin += CHUNK) {
      const uint32_t end = steps - begin < CHUNK ? steps : begin + CHUNK;
      for (uint32_t r = 0; r < count; r += TILE_ROWS) {
        multiply_tile(pair, kind, held, streamed + r * row_bytes(pair, kind), begin, end, dot + r * dot_stride, dot_stride);
      }
    }
  }
}

#define METHOD(symbol, name, kind)                                                                                   \
  static size_t symbol##_held_bytes(const beta_pair *pair) { return held_bytes(pair, kind); }                         \
  static size_t symbol##_streamed_bytes(const beta_pair *pair) { return streamed_bytes(pair, kind); }                 \
  static void symbol##_hold(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {                     \
    hold(pair, kind, first, count, to);                                                                               \
  }                                                                                                                   \
  static void symbol##_stream(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {                   \
    stream(pair, kind, first, count, to);                                                                             \
  }                                                                                                                   \
  static void symbol##_multiply(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed, \
                                uint32_t count, int32_t *dot, size_t dot_stride) {                                    \
    multiply(pair, kind, held, groups, streamed, count, dot, dot_stride);                                             \
  }                                                                                                                   \
  const struct beta_method beta_avx2_##symbol = {                                                                     \
      name, LANES, ROWS, COLUMNS, symbol##_held_bytes, symbol##_streamed_bytes, symbol##_hold, symbol##_stream,       \
      symbol##_multiply, NULL, NULL,                                                                                  \
  }

METHOD(dot, "dot", BYTES);
METHOD(dot_wide, "dot-wide", WIDE);
METHOD(dot_vnni, "dot-vnni", VNNI);

#endif
