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
#define ROWS 16u    /* streamed at once, in tiles of TILE_ROWS */
#define TILE_ROWS 4u
#define TILE_GROUPS 4u /* held groups that are multiplied at once with TILE_ROWS rows */
#define COLUMNS 256u
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

/* x ^ 0x80 is x + 128 modulo 256, for the first `count` of 64 elements. */
static inline __m512i move(__m512i values, uint32_t count) {
  const __mmask64 lanes = count >= 64 ? UINT64_MAX : UINT64_MAX >> (64 - count);
  return _mm512_xor_si512(values, _mm512_maskz_set1_epi8(lanes, (char)0x80));
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

static void hold(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  const struct beta_unpacker unpacker = beta_unpacker_of(&pair->held, pair->k0, pair->k);
  const uint8_t *from = pair->held.row0 + (uint64_t)first * pair->held.stride;
  const bool moved = moves_held(pair);
  __m512i sum = _mm512_setzero_si512(); /* of what is multiplied, lane by lane */
  uint8_t *square_to = to + VECTOR;
  for (uint32_t w = 0; 64 * w < pair->k; w++) {
    __m512i square[16];
    for (uint32_t l = 0; l < LANES; l++) {
      /* Lanes without a row repeat the last one: their results are never read. */
      square[l] = beta_unpack(&unpacker, from + (l < count ? l : count - 1) * pair->held.stride, w);
      if (moved) square[l] = move(square[l], pair->k - 64 * w);
    }
    transpose(square);
    for (uint32_t s = 0; s < 16; s++, square_to += VECTOR) {
      sum = beta_add_values(sum, square[s], false);
      _mm512_store_si512(square_to, square[s]);
    }
  }
  const __m512i factor = _mm512_set1_epi32(moves_streamed(pair) ? -128 : 0);
  _mm512_store_si512(to, _mm512_mullo_epi32(sum, factor));
}

static void stream(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  const struct beta_unpacker unpacker = beta_unpacker_of(&pair->streamed, pair->k0, pair->k);
  const size_t bytes = row_bytes(pair);
  const bool moved = moves_streamed(pair), counted = moves_held(pair);
  for (uint32_t r = 0; r < count; r++, to += bytes) {
    const uint8_t *row = pair->streamed.row0 + (uint64_t)(first + r) * pair->streamed.stride;
    __m512i sums = _mm512_setzero_si512();
    for (uint32_t w = 0; 64 * w < pair->k; w++) {
      const __m512i values = beta_unpack(&unpacker, row, w);
      if (counted) sums = beta_add_values(sums, values, !moved);
      _mm512_store_si512(to + VECTOR + 64 * (size_t)w, moved ? move(values, pair->k - 64 * w) : values);
    }
    const int32_t term = counted ? 128 * _mm512_reduce_add_epi32(sums) : 0;
    memcpy(to, &term, sizeof term);
  }
}

static inline __attribute__((always_inline)) void multiply_tile(const beta_pair *pair, const uint8_t *held,
                                                                size_t group_bytes, const uint8_t *streamed,
                                                                uint32_t groups, int32_t *dot, size_t dot_stride) {
  const size_t row = row_bytes(pair);
  const uint32_t steps = steps_of(pair);
  __m512i total[TILE_ROWS][TILE_GROUPS];
#pragma GCC unroll 4
  for (uint32_t r = 0; r < TILE_ROWS; r++) {
    int32_t term;
    memcpy(&term, streamed + r * row, sizeof term);
#pragma GCC unroll 4
    for (uint32_t v = 0; v < groups; v++) {
      total[r][v] = _mm512_add_epi32(_mm512_load_si512(held + v * group_bytes), _mm512_set1_epi32(term));
    }
  }
  const uint8_t *b = held + VECTOR, *a = streamed + VECTOR;
  for (uint32_t s = 0; s < steps; s++, b += VECTOR, a += 4) {
    __m512i lanes[TILE_GROUPS];
#pragma GCC unroll 4
    for (uint32_t v = 0; v < groups; v++) lanes[v] = _mm512_load_si512(b + v * group_bytes);
#pragma GCC unroll 4
    for (uint32_t r = 0; r < TILE_ROWS; r++) {
      int32_t four;
      memcpy(&four, a + r * row, sizeof four);
      const __m512i broadcast = _mm512_set1_epi32(four);
#pragma GCC unroll 4
      for (uint32_t v = 0; v < groups; v++) total[r][v] = _mm512_dpbusd_epi32(total[r][v], broadcast, lanes[v]);
    }
  }
#pragma GCC unroll 4
  for (uint32_t r = 0; r < TILE_ROWS; r++) {
#pragma GCC unroll 4
    for (uint32_t v = 0; v < groups; v++) _mm512_storeu_si512(dot + r * dot_stride + v * LANES, total[r][v]);
  }
}

static void multiply(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed,
                     uint32_t count, int32_t *dot, size_t dot_stride) {
  const size_t group_bytes = beta_align64(held_bytes(pair));
  for (uint32_t v = 0; v < groups;) {
    const uint32_t part = groups - v < TILE_GROUPS ? 1 : TILE_GROUPS;
    for (uint32_t r = 0; r < count; r += TILE_ROWS) {
      const uint8_t *rows = streamed + r * row_bytes(pair);
      int32_t *at = dot + r * dot_stride + v * LANES;
      if (part == TILE_GROUPS) {
        multiply_tile(pair, held + v * group_bytes, group_bytes, rows, TILE_GROUPS, at, dot_stride);
      } else {
        multiply_tile(pair, held + v * group_bytes, group_bytes, rows, 1, at, dot_stride);
      }
    }
    v += part;
  }
}

const struct beta_method beta_avx512_dot = {"dot",          LANES, ROWS,   COLUMNS, held_bytes,
                                            streamed_bytes, hold,  stream, multiply};

#endif
