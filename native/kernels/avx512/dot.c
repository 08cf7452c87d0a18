/*
 * Integer dot products of bytes (VNNI): both operands have several bits, or neither is reused often enough for tables.
 *
 * The instruction multiplies unsigned by signed bytes, so values are moved by 128 where they are the other kind, exactly:
 *   sum a b = sum (a + 128) b - 128 sum b = sum a (b - 128) + 128 sum a.
 * The streamed operand is the unsigned one, broadcast four elements at a time; 16 held rows are the lanes.
 */
#include "kernels/avx512/unpack.h"

#if defined(__x86_64__)

#define LANES 16u
#define ROWS 64u    /* streamed at once, in tiles of TILE_ROWS: what a call begins with costs as much as a few rows */
#define TILE_ROWS 4u
#define TILE_GROUPS 4u /* held groups that are multiplied at once with TILE_ROWS rows */
#define COLUMNS 256u
#define WORD_STEPS 16u /* of four elements in a word of 64 */
#define VECTOR 64u     /* bytes */

/* Steps of four elements. */
static uint32_t steps_of(const beta_pair *pair) { return (pair->k + 3) / 4; }

/* 16 int32 terms, then for every step four bytes of each lane; whole squares of 16 steps are written. */
static size_t held_bytes(const beta_pair *pair) { return VECTOR + (size_t)(steps_of(pair) + 15) / 16 * 16 * VECTOR; }

/* An int32 term in the first 64 bytes, then the row's bytes. */
static size_t row_bytes(const beta_pair *pair) { return VECTOR + (size_t)(pair->k + 63) / 64 * 64; }

static size_t streamed_bytes(const beta_pair *pair) { return ROWS * row_bytes(pair); }

/* Values that do not fit the instruction's type are moved by 128. */
static bool moves_held(const beta_pair *pair) { return pair->held.encoding == BETA_ENC_U && pair->held.bits == 8; }
static bool moves_streamed(const beta_pair *pair) { return pair->streamed.encoding != BETA_ENC_U; }

/* What is added to elements 64 w and on of a row: x ^ 0x80 is x + 128 modulo 256. */
static inline __m512i move_of(bool moves, __mmask64 valid) {
  return _mm512_maskz_set1_epi8(valid, moves ? (char)0x80 : 0);
}

/* Turns a square of 16 rows of 16 32-bit elements. */
static inline void transpose(__m512i x[16]) {
  __m512i y[16];
#pragma GCC unroll 8
  for (uint32_t i = 0; i < 16; i += 2) {
    y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
    y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
  }
#pragma GCC unroll 4
  for (uint32_t i = 0; i < 16; i += 4) {
    x[i] = _mm512_unpacklo_epi64(y[i], y[i + 2]);
    x[i + 1] = _mm512_unpackhi_epi64(y[i], y[i + 2]);
    x[i + 2] = _mm512_unpacklo_epi64(y[i + 1], y[i + 3]);
    x[i + 3] = _mm512_unpackhi_epi64(y[i + 1], y[i + 3]);
  }
#pragma GCC unroll 4
  for (uint32_t i = 0; i < 4; i++) {
    const __m512i a = _mm512_shuffle_i32x4(x[i], x[i + 4], 0x88), b = _mm512_shuffle_i32x4(x[i + 8], x[i + 12], 0x88);
    const __m512i c = _mm512_shuffle_i32x4(x[i], x[i + 4], 0xDD), d = _mm512_shuffle_i32x4(x[i + 8], x[i + 12], 0xDD);
    y[i] = _mm512_shuffle_i32x4(a, b, 0x88);
    y[i + 4] = _mm512_shuffle_i32x4(c, d, 0x88);
    y[i + 8] = _mm512_shuffle_i32x4(a, b, 0xDD);
    y[i + 12] = _mm512_shuffle_i32x4(c, d, 0xDD);
  }
#pragma GCC unroll 16
  for (uint32_t i = 0; i < 16; i++) x[i] = y[i];
}

/* Rows of one operand, one word of 64 elements of each. */
struct word {
  const uint8_t *first; /* of the word's block in the first row */
  uint64_t stride;
  struct beta_shuffle shuffle;
  __mmask64 valid;
};

static inline __attribute__((always_inline)) struct word word_of(const beta_pair *pair, const beta_matrix *matrix, uint32_t first,
                                                                 uint32_t w, uint32_t bits) {
  const uint32_t word = pair->k0 / 64 + w;
  return (struct word){matrix->row0 + first * matrix->stride + (uint64_t)(word / 2) * bits * BETA_BEAT_BYTES, matrix->stride,
                       beta_shuffle_of(bits, matrix->encoding == BETA_ENC_S, word % 2), beta_valid(pair->k, w)};
}

/* The bytes of word `w` of 16 rows, turned, so that a vector has four elements of each. Returns the sums of the lanes' values. */
static inline __attribute__((always_inline)) __m512i store_square(__m512i square[16], bool counted, uint8_t *to) {
  transpose(square);
#pragma GCC unroll 16
  for (uint32_t s = 0; s < 16; s++) _mm512_store_si512(to + s * VECTOR, square[s]);
  __m512i sum[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()}; /* two chains of additions take half the time of one */
  if (counted) {
#pragma GCC unroll 16
    for (uint32_t s = 0; s < 16; s++) sum[s % 2] = beta_add_values(sum[s % 2], square[s], false);
  }
  return _mm512_add_epi32(sum[0], sum[1]);
}

/* Lanes without a row repeat the last one: their results are never read. */
static inline __attribute__((always_inline)) void unpack_lanes(const struct word *word, uint32_t count, __m512i square[16], uint32_t bits,
                                                               bool moved) {
  const uint8_t *block = word->first;
#pragma GCC unroll 16
  for (uint32_t l = 0; l < LANES; l++) {
    square[l] = beta_unpack_directly(word->shuffle, block, word->valid, bits, moved);
    block += l + 1 < count ? word->stride : 0;
  }
}

static inline __attribute__((always_inline)) __m512i hold_word(const beta_pair *pair, uint32_t first, uint32_t count,
                                                               uint32_t w, uint8_t *to, uint32_t bits) {
  const struct word word = word_of(pair, &pair->held, first, w, bits);
  __m512i square[16];
  if (bits == 8 && moves_held(pair)) unpack_lanes(&word, count, square, bits, true);
  else unpack_lanes(&word, count, square, bits, false);
  return store_square(square, moves_streamed(pair), to);
}

static __m512i hold_word_by_planes(const beta_pair *pair, uint32_t first, uint32_t count, uint32_t w, uint8_t *to) {
  const __m512i move = move_of(moves_held(pair), beta_valid(pair->k, w));
  __m512i square[16];
  for (uint32_t l = 0; l < LANES; l++) {
    const uint8_t *row = pair->held.row0 + (first + (l < count ? l : count - 1)) * pair->held.stride;
    square[l] = _mm512_xor_si512(beta_unpack_by_planes(&pair->held, row, pair->k0, pair->k, w), move);
  }
  return store_square(square, moves_streamed(pair), to);
}

static void hold(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  const uint32_t bits = beta_is_direct(&pair->held, pair->k0) ? pair->held.bits : 0;
  __m512i sum = _mm512_setzero_si512(); /* of what is multiplied, lane by lane */
  uint8_t *square = to + VECTOR;
  for (uint32_t w = 0; 64 * w < pair->k; w++, square += 16 * VECTOR) {
    __m512i part;
    switch (bits) {
      case 2: part = hold_word(pair, first, count, w, square, 2); break;
      case 4: part = hold_word(pair, first, count, w, square, 4); break;
      case 8: part = hold_word(pair, first, count, w, square, 8); break;
      default: part = hold_word_by_planes(pair, first, count, w, square);
    }
    sum = _mm512_add_epi32(sum, part);
  }
  _mm512_store_si512(to, _mm512_slli_epi32(_mm512_sub_epi32(_mm512_setzero_si512(), sum), 7));
}

static inline __attribute__((always_inline)) void unpack_rows(const struct word *word, uint32_t count, uint8_t *to, size_t row,
                                                              uint32_t bits, bool moved) {
  for (uint32_t r = 0; r < count; r++, to += row) {
    _mm512_store_si512(to, beta_unpack_directly(word->shuffle, word->first + r * word->stride, word->valid, bits, moved));
  }
}

static inline __attribute__((always_inline)) void stream_word(const beta_pair *pair, uint32_t first, uint32_t count,
                                                              uint32_t w, uint8_t *to, uint32_t bits) {
  const struct word word = word_of(pair, &pair->streamed, first, w, bits);
  if (moves_streamed(pair)) unpack_rows(&word, count, to, row_bytes(pair), bits, true);
  else unpack_rows(&word, count, to, row_bytes(pair), bits, false);
}

static void stream_word_by_planes(const beta_pair *pair, uint32_t first, uint32_t count, uint32_t w, uint8_t *to) {
  const __m512i move = move_of(moves_streamed(pair), beta_valid(pair->k, w));
  for (uint32_t r = 0; r < count; r++, to += row_bytes(pair)) {
    const uint8_t *row = pair->streamed.row0 + (uint64_t)(first + r) * pair->streamed.stride;
    _mm512_store_si512(to, _mm512_xor_si512(beta_unpack_by_planes(&pair->streamed, row, pair->k0, pair->k, w), move));
  }
}

/* The terms of rows that have some: 128 times the sum of the values. */
static void add_up_rows(const beta_pair *pair, uint32_t count, uint8_t *rows) {
  for (uint32_t r = 0; r < count; r++, rows += row_bytes(pair)) {
    __m512i sums = _mm512_setzero_si512();
    for (uint32_t w = 0; 64 * w < pair->k; w++) {
      const __m512i values = _mm512_load_si512(rows + VECTOR + 64 * (size_t)w);
      sums = beta_add_values(sums, values, true);
    }
    const int32_t sum = _mm512_reduce_add_epi32(sums), moved = moves_streamed(pair) ? 128 * (int32_t)pair->k : 0;
    const int32_t term = 128 * (sum - moved);
    memcpy(rows, &term, sizeof term);
  }
}

static void stream(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  const uint32_t bits = beta_is_direct(&pair->streamed, pair->k0) ? pair->streamed.bits : 0;
  uint8_t *word = to + VECTOR;
  for (uint32_t w = 0; 64 * w < pair->k; w++, word += VECTOR) {
    switch (bits) {
      case 2: stream_word(pair, first, count, w, word, 2); break;
      case 4: stream_word(pair, first, count, w, word, 4); break;
      case 8: stream_word(pair, first, count, w, word, 8); break;
      default: stream_word_by_planes(pair, first, count, w, word);
    }
  }
  if (moves_held(pair)) add_up_rows(pair, count, to);
}

/* What a call of multiply works on. */
struct product {
  size_t group_bytes, row;
  uint32_t steps;
  bool counted; /* rows have terms, too */
  void *dot;
  size_t dot_stride;
};

/* Four elements of each row and lane. */
static inline __attribute__((always_inline)) void add_step(const struct product *product, const uint8_t *held,
                                                           const uint8_t *streamed, uint32_t groups,
                                                           __m512i total[TILE_ROWS][TILE_GROUPS]) {
  __m512i lanes[TILE_GROUPS];
#pragma GCC unroll 4
  for (uint32_t v = 0; v < groups; v++) lanes[v] = _mm512_load_si512(held + v * product->group_bytes);
#pragma GCC unroll 4
  for (uint32_t r = 0; r < TILE_ROWS; r++) {
    int32_t four;
    memcpy(&four, streamed + r * product->row, sizeof four);
    const __m512i broadcast = _mm512_set1_epi32(four);
#pragma GCC unroll 4
    for (uint32_t v = 0; v < groups; v++) total[r][v] = _mm512_dpbusd_epi32(total[r][v], broadcast, lanes[v]);
  }
}

/*
 * TILE_ROWS rows and `groups` groups. The results are 32 bits wide, or saturated to 16 (`narrow`).
 */
static inline __attribute__((always_inline)) void multiply_tile(const struct product *product, const uint8_t *held,
                                                                const uint8_t *streamed, uint32_t groups, bool narrow,
                                                                size_t at) {
  const size_t row = product->row, group_bytes = product->group_bytes;
  __m512i total[TILE_ROWS][TILE_GROUPS];
#pragma GCC unroll 4
  for (uint32_t v = 0; v < groups; v++) {
    const __m512i term = _mm512_load_si512(held + v * group_bytes);
#pragma GCC unroll 4
    for (uint32_t r = 0; r < TILE_ROWS; r++) total[r][v] = term;
  }
  if (product->counted) {
#pragma GCC unroll 4
    for (uint32_t r = 0; r < TILE_ROWS; r++) {
      int32_t term;
      memcpy(&term, streamed + r * row, sizeof term);
#pragma GCC unroll 4
      for (uint32_t v = 0; v < groups; v++) total[r][v] = _mm512_add_epi32(total[r][v], _mm512_set1_epi32(term));
    }
  }
  const uint8_t *b = held + VECTOR, *a = streamed + VECTOR;
  uint32_t s = 0;
  /* A word of 64 elements has no branch: those of short rows would be mispredicted as often as not. */
  for (; s + WORD_STEPS <= product->steps; s += WORD_STEPS) {
#pragma GCC unroll 16
    for (uint32_t i = 0; i < WORD_STEPS; i++, b += VECTOR, a += 4) add_step(product, b, a, groups, total);
  }
  for (; s < product->steps; s++, b += VECTOR, a += 4) add_step(product, b, a, groups, total);
#pragma GCC unroll 4
  for (uint32_t r = 0; r < TILE_ROWS; r++) {
#pragma GCC unroll 4
    for (uint32_t v = 0; v < groups; v++) {
      const size_t to = at + r * product->dot_stride + v * LANES;
      if (narrow) {
        _mm256_storeu_si256((__m256i *)(void *)((int16_t *)product->dot + to), _mm512_cvtsepi32_epi16(total[r][v]));
      } else {
        beta_store_halves((int32_t *)product->dot + to, total[r][v]);
      }
    }
  }
}

static inline __attribute__((always_inline)) void multiply_tiles(const struct product *product, const uint8_t *held,
                                                                 uint32_t groups, const uint8_t *streamed,
                                                                 uint32_t count, bool narrow) {
  for (uint32_t v = 0; v < groups;) {
    const uint32_t part = groups - v < TILE_GROUPS ? 1 : TILE_GROUPS;
    const uint8_t *lanes = held + v * product->group_bytes;
    for (uint32_t r = 0; r < count; r += TILE_ROWS) {
      const uint8_t *rows = streamed + r * product->row;
      const size_t at = r * product->dot_stride + v * LANES;
      if (part == TILE_GROUPS) {
        multiply_tile(product, lanes, rows, TILE_GROUPS, narrow, at);
      } else {
        multiply_tile(product, lanes, rows, 1, narrow, at);
      }
    }
    v += part;
  }
}

static struct product product_of(const beta_pair *pair, void *dot, size_t dot_stride) {
  return (struct product){beta_align64(held_bytes(pair)), row_bytes(pair), steps_of(pair), moves_held(pair), dot,
                          dot_stride};
}

static void multiply(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed,
                     uint32_t count, int32_t *dot, size_t dot_stride) {
  const struct product product = product_of(pair, dot, dot_stride);
  multiply_tiles(&product, held, groups, streamed, count, false);
}

static void multiply16(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed,
                       uint32_t count, int16_t *dot, size_t dot_stride) {
  const struct product product = product_of(pair, dot, dot_stride);
  multiply_tiles(&product, held, groups, streamed, count, true);
}

const struct beta_method beta_avx512_dot = {"dot",          LANES, ROWS,   COLUMNS,  held_bytes,
                                            streamed_bytes, hold,  stream, multiply, multiply16, NULL};

#endif
