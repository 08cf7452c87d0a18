/*
 * Lookup of partial sums in 16 bits for ternary weights: two bits are held, and the streamed values have 8.
 *
 * Three elements that are -1, 0 or +1 are an index of 27 values, into a table of the sums of the streamed values with those signs: one word
 * permutation multiplies 3 elements of 32 held rows, and a byte keeps three weights. A code of -2 is -1 twice: the three bits of a byte
 * that no permutation looks at say which elements are, and groups of rows that have some look those up in the same tables.
 *
 * Streamed values are bytes around zero, a' = a - 128 where they are unsigned: sum a w = sum a' w + 128 sum w, a term of the lane.
 * A chunk of 192 elements, whose sums fit 16 bits, has 64 tables.
 */
#include "kernels/avx512/lookup16.h"
#include "kernels/avx512/unpack.h"

#if defined(__x86_64__)

#include <string.h>

#define ROWS 16u /* streamed at once */
#define COLUMNS 1024u
#define THREE 3u
#define QUAD 4u /* bytes of three streamed elements, and of one behind them */
#define CHUNK 192u /* elements whose tables are made at once: 16 KiB */
#define CHUNK_THREES (CHUNK / THREE)

/* Pairs of threes of `elements` elements, each a vector of indices. */
static uint32_t vectors_of(uint32_t elements) { return (elements + 2 * THREE - 1) / (2 * THREE); }

/* A group: int32 terms of the lanes, whether some element is -2, the indices, and a vector of which one byte is read and not used. */
#define TWICE (LANES * sizeof(int32_t))
#define INDICES (TWICE + VECTOR)
static size_t held_bytes(const beta_pair *pair) { return INDICES + ((size_t)vectors_of(pair->k) + 1) * VECTOR; }

/* A row: its values by three, moved to [0, 255], and 128 behind each three; whole pairs of vectors of indices. */
static size_t row_bytes(const beta_pair *pair) { return beta_align64((size_t)vectors_of(pair->k) * 2 * QUAD); }

static size_t streamed_bytes(const beta_pair *pair) { return ROWS * row_bytes(pair); }

/* The index of three elements of which those whose bit is set are one, the others zero; twice it is that of as many -1. */
static uint64_t index_of(uint64_t bits) { return (bits & 1) + (bits >> 1 & 1) * 3 + (bits >> 2) * 9; }

/* Three bits of a plane, from element `at` on. */
static uint64_t three_bits(const uint64_t *plane, uint32_t at) {
  uint16_t word;
  memcpy(&word, (const uint8_t *)plane + at / 8, sizeof word);
  return word >> at % 8 & 7u;
}

static void hold(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  uint64_t low[BETA_ROW_WORDS_MAX + 4] = {0}, high[BETA_ROW_WORDS_MAX + 4] = {0}; /* zeros behind the last word */
  const bool has_terms = pair->streamed.encoding == BETA_ENC_U;
  int32_t *term = (int32_t *)(void *)to;
  bool twice = false;
  memset(to, 0, held_bytes(pair));
  for (uint32_t l = 0; l < count; l++) { /* lanes without a row are never read */
    const uint8_t *row = pair->held.row0 + (uint64_t)(first + l) * pair->held.stride;
    beta_plane_bits(&pair->held, row, 0, pair->k0, pair->k, low);
    beta_plane_bits(&pair->held, row, 1, pair->k0, pair->k, high);
    uint8_t *lane = to + INDICES + lane_of(l);
    int32_t sum = 0;
    for (uint32_t w = 0; 64 * w < pair->k; w++) {
      sum += (int32_t)_mm_popcnt_u64(low[w]) - 2 * (int32_t)_mm_popcnt_u64(high[w]);
      twice |= (high[w] & ~low[w]) != 0;
    }
    if (has_terms) term[l] = 128 * sum;
    for (uint32_t i = 0; THREE * i < pair->k; i++) {
      const uint64_t ones = three_bits(low, THREE * i), negative = three_bits(high, THREE * i);
      const uint64_t index = index_of(ones & ~negative) + 2 * index_of(negative);
      lane[i / 2 * VECTOR + i % 2] = (uint8_t)(index | (negative & ~ones) << 5);
    }
  }
  to[TWICE] = twice;
}

#define MOVED 128

static void stream(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  const struct beta_unpacker unpacker = beta_unpacker_of(&pair->streamed, pair->k0, pair->k);
  const __m512i move = _mm512_set1_epi8(pair->streamed.encoding == BETA_ENC_U ? 0 : (char)MOVED);
  /* Byte b of three t is byte 3 t + b of 48. */
  const __m512i order = _mm512_add_epi32(_mm512_set1_epi32(0x00020100), _mm512_mullo_epi32(beta_iota32(), _mm512_set1_epi32(0x00030303)));
  const __m512i moved = _mm512_set1_epi8((char)MOVED);
  const __mmask64 elements = 0x7777777777777777; /* of the four bytes */
  _Alignas(64) uint8_t values[BETA_MAX_K_LIMIT + 2 * VECTOR];
  for (uint32_t r = 0; r < count; r++, to += row_bytes(pair)) {
    const uint8_t *row = pair->streamed.row0 + (uint64_t)(first + r) * pair->streamed.stride;
    for (uint32_t w = 0; 64 * w < pair->k; w++) {
      _mm512_store_si512(values + 64 * (size_t)w, _mm512_xor_si512(beta_unpack(&unpacker, row, w), move));
    }
    memset(values + beta_align64(pair->k), 0, VECTOR);
    for (size_t at = 0; at < row_bytes(pair); at += VECTOR) {
      const __m512i bytes = _mm512_loadu_si512(values + at / QUAD * THREE);
      _mm512_store_si512(to + at, _mm512_mask_permutexvar_epi8(moved, elements, order, bytes));
    }
  }
}

/*
 * The signs of three elements in entry n, and less their sum: 128 times that is what values moved by 128 make an entry too large. Entries
 * from 27 on are never looked up.
 */
#define SIGN(digit) ((digit) == 2 ? -1 : (digit) % 3)
#define FIRST(n) SIGN((n) % 3)
#define SECOND(n) SIGN((n) / 3 % 3)
#define THIRD(n) SIGN((n) / 9)
#define SIGNS(n) {FIRST(n), SECOND(n), THIRD(n), -FIRST(n) - SECOND(n) - THIRD(n)}
/* Four entries in every eight: what packs two vectors of 16 takes four of each in turn. */
#define FOUR(n) SIGNS(n), SIGNS((n) + 1), SIGNS((n) + 2), SIGNS((n) + 3)
#define HALF(n) {FOUR(n), FOUR((n) + 8), FOUR((n) + 16), FOUR((n) + 24)}
static _Alignas(64) const int8_t signs[2][LANES / 2][QUAD] = {HALF(0), HALF(4)};

/* Tables of `count` threes of TILE_ROWS rows, row beside row: a dot product of four bytes is an entry. */
static void make_tables(const uint8_t *values, size_t row_bytes, uint32_t count, uint8_t *table) {
  const __m512i low = _mm512_load_si512(signs[0]), high = _mm512_load_si512(signs[1]), zero = _mm512_setzero_si512();
  for (uint32_t t = 0; t < count; t++, values += QUAD) {
#pragma GCC unroll 4
    for (uint32_t r = 0; r < TILE_ROWS; r++, table += VECTOR) {
      int32_t three;
      memcpy(&three, values + r * row_bytes, sizeof three);
      const __m512i bytes = _mm512_set1_epi32(three);
      _mm512_store_si512(table, _mm512_packs_epi32(_mm512_dpbusd_epi32(zero, bytes, low), _mm512_dpbusd_epi32(zero, bytes, high)));
    }
  }
}

/* Whether some group has elements that are -2. */
static bool has_twice(const uint8_t *held, size_t group_bytes, uint32_t groups) {
  uint32_t twice = 0;
  for (uint32_t v = 0; v < groups; v++) twice |= held[v * group_bytes + TWICE];
  return twice != 0;
}

/* Adds the elements that are -2 once more: the indices are made of them. */
static void add_twice(const struct chunk *chunk, const uint8_t *index, const uint8_t *table, uint32_t groups, int32_t *dot,
                      size_t dot_stride) {
  _Alignas(64) uint8_t once[CHUNK_THREES / 2 + 1][VECTOR];
  /* Indices of three bits, each -1. */
  const __m512i of_bits = _mm512_set1_epi64(0x1A18141208060200);
  struct chunk again = *chunk;
  again.first = false;
  for (uint32_t v = 0; v < groups; v++, index += chunk->group_bytes, dot += LANES) {
    for (uint32_t i = 0; i < chunk->vectors; i++) {
      const __m512i bits = beta_srl8(_mm512_load_si512(index + i * VECTOR), 5);
      _mm512_store_si512(once[i], _mm512_shuffle_epi8(of_bits, bits));
    }
    add_chunk(&again, once[0], table, 1, dot, dot_stride);
  }
}

static void multiply(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed,
                     uint32_t count, int32_t *dot, size_t dot_stride) {
  const size_t row = row_bytes(pair), group_bytes = beta_align64(held_bytes(pair));
  const bool twice = has_twice(held, group_bytes, groups);
  _Alignas(64) uint8_t tables[CHUNK_THREES * TILE_ROWS * VECTOR];
  struct chunk chunk = {.group_bytes = group_bytes, .start = _mm512_setzero_si512(), .c = 1, .term = held};
  for (uint32_t r = 0; r < count; r += TILE_ROWS, dot += TILE_ROWS * dot_stride) {
    const uint8_t *index = held + INDICES;
    for (uint32_t begin = 0; begin < pair->k; begin += CHUNK, index += chunk.vectors * VECTOR) {
      chunk.vectors = vectors_of(pair->k - begin < CHUNK ? pair->k - begin : CHUNK);
      chunk.first = begin == 0;
      make_tables(streamed + r * row + begin / THREE * QUAD, row, 2 * chunk.vectors, tables);
      add_chunk(&chunk, index, tables, groups, dot, dot_stride);
      if (twice) add_twice(&chunk, index, tables, groups, dot, dot_stride);
    }
  }
}

const struct beta_method beta_avx512_ternary = {"ternary",      LANES, ROWS,   COLUMNS, held_bytes,
                                                streamed_bytes, hold,  stream, multiply, NULL, NULL};

#endif
