/*
 * Lookup of partial sums in 16 bits: few planes are held, and the streamed values have up to 8 bits.
 *
 * Five elements of a held plane are an index into a table of 32 words, the sums of the streamed values whose bits are set: one
 * word permutation of one register, which looks at five bits alone, multiplies 5 elements of 32 held rows. With S_j the sum over the values whose bit in plane j
 * is set (coefficients of formats.h, of the held operand),
 *   D = sum_j c_j S_j + z sum of the streamed values.
 *
 * Entries are centred around zero, so that signed 16-bit sums hold a chunk of groups; a dot product of words with (c, 0) or (0, c)
 * then widens, multiplies and adds them. Tables are made for a chunk at a time, so that they stay in the first-level cache while
 * all held rows go past.
 *
 * (Six elements and two registers, vpermi2w, are 192 in place of 160, but Zen 5 begins 1.4 of those and 1.75 of these in a cycle, with
 * the loads and copies that belong to them.)
 */
#include "kernels/avx512/unpack.h"

#if defined(__x86_64__)

#define LANES 32u
#define ROWS 16u /* streamed at once */
#define TABLE_ROWS 8u /* whose tables are made at once */
#define TILE_ROWS 4u
#define TILE_GROUPS 2u /* held groups that are multiplied at once with TILE_ROWS rows */
#define COLUMNS 1024u
#define FIVE 5u
#define THREE 3u   /* groups of five, whose indices share a word */
#define CHUNK 39u  /* groups of five whose tables are made at once: 20 KiB; 39 * 640 < 2^15 */
#define VECTOR 64u /* bytes */

/* Vectors of index words of a plane, and groups of five in a row; elements behind the last are zeros. */
static uint32_t vectors_of(const beta_pair *pair) { return (pair->k + THREE * FIVE - 1) / (THREE * FIVE); }
static uint32_t fives_of(const beta_pair *pair) { return vectors_of(pair) * THREE; }

static size_t held_bytes(const beta_pair *pair) { return (size_t)pair->held.bits * vectors_of(pair) * VECTOR; }

/* A row: int32 sum of its values, then from byte 64 on its values, and a byte that is read and not used. */
static size_t row_bytes(const beta_pair *pair) { return VECTOR + beta_align64((size_t)fives_of(pair) * FIVE + VECTOR); }

static size_t streamed_bytes(const beta_pair *pair) { return ROWS * row_bytes(pair); }

/*
 * Plane by plane, 32 words of 15 elements. Row l lies at word 2 (l mod 16) + l / 16, so that the two words of a 32-bit element end up
 * in two vectors of 16 neighbours.
 */
static void hold(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  const uint32_t vectors = vectors_of(pair);
  uint64_t bits[BETA_ROW_WORDS_MAX + 4] = {0}; /* zeros behind the last word */
  for (uint32_t j = 0; j < pair->held.bits; j++, to += (size_t)vectors * VECTOR) {
    for (uint32_t l = 0; l < LANES; l++) {
      /* Lanes without a row repeat the last one: their results are never read. */
      const uint64_t row = first + (l < count ? l : count - 1);
      beta_plane_bits(&pair->held, pair->held.row0 + row * pair->held.stride, j, pair->k0, pair->k, bits);
      uint8_t *lane = to + 4 * (l % 16) + 2 * (l / 16);
      for (uint32_t i = 0; i < vectors; i++) {
        const uint32_t at = THREE * FIVE * i;
        uint32_t word;
        memcpy(&word, (const uint8_t *)bits + at / 8, sizeof word);
        const uint16_t index = word >> at % 8 & 0x7FFF;
        memcpy(lane + (size_t)i * VECTOR, &index, sizeof index);
      }
    }
  }
}

static void stream(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  const struct beta_unpacker unpacker = beta_unpacker_of(&pair->streamed, pair->k0, pair->k);
  const size_t bytes = row_bytes(pair);
  for (uint32_t r = 0; r < count; r++, to += bytes) {
    const uint8_t *row = pair->streamed.row0 + (uint64_t)(first + r) * pair->streamed.stride;
    const int32_t sum = beta_row_bytes(&unpacker, row, to + VECTOR);
    memcpy(to, &sum, sizeof sum);
    memset(to + VECTOR + pair->k, 0, bytes - VECTOR - pair->k);
  }
}

/* What is taken from the sums of unsigned values so that they lie around zero. */
static int32_t centre_of(const beta_matrix *streamed) {
  return streamed->encoding == BETA_ENC_U ? (int32_t)(FIVE * ((1u << streamed->bits) - 1) / 2) : 0;
}

/* Two values, as often as they go into a register. */
static inline __m512i two_values(const uint8_t *values) {
  int16_t two;
  memcpy(&two, values, sizeof two);
  return _mm512_set1_epi16(two);
}

/*
 * Tables of `count` groups of five of TILE_ROWS rows, row beside row. Entry n is the sum of those values t whose bit t is set in n:
 * products of two neighbouring values with two bits, of unsigned and signed bytes, whichever are which.
 */
static inline __attribute__((always_inline)) void make_tables(const uint8_t *values, size_t row_bytes, uint32_t count,
                                                              bool is_unsigned, int32_t centre, uint8_t *table) {
  const __m512i iota = beta_iota16(), one = _mm512_set1_epi16(1), start = _mm512_set1_epi16((int16_t)-centre);
  __m512i bits[3]; /* bits 2 t and 2 t + 1 of n, as bytes; there is no bit 5 */
#pragma GCC unroll 3
  for (uint32_t t = 0; t < 3; t++) {
    const __m512i even = _mm512_and_si512(_mm512_srli_epi16(iota, 2 * t), one);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi16(iota, 2 * t + 1), one);
    bits[t] = _mm512_or_si512(even, _mm512_slli_epi16(odd, 8));
  }
  for (uint32_t g = 0; g < count; g++, values += FIVE, table += TILE_ROWS * VECTOR) {
#pragma GCC unroll 4
    for (uint32_t r = 0; r < TILE_ROWS; r++) {
      __m512i sums = start;
#pragma GCC unroll 3
      for (uint32_t t = 0; t < 3; t++) {
        const __m512i two = two_values(values + r * row_bytes + 2 * t);
        sums = _mm512_add_epi16(sums, is_unsigned ? _mm512_maddubs_epi16(two, bits[t]) : _mm512_maddubs_epi16(bits[t], two));
      }
      _mm512_store_si512(table + r * VECTOR, sums);
    }
  }
}

/*
 * One chunk of groups of five for TILE_ROWS rows and `groups` held groups: dot = constant or dot, plus c sums.
 */
static inline __attribute__((always_inline)) void add_chunk(const uint8_t *index, size_t group_bytes,
                                                            const uint8_t *table, uint32_t count, int32_t c,
                                                            const int32_t *constant, uint32_t groups, bool first,
                                                            int32_t *dot, size_t dot_stride) {
  __m512i sum[TILE_ROWS][TILE_GROUPS];
#pragma GCC unroll 8
  for (uint32_t i = 0; i < TILE_ROWS * groups; i++) sum[i / groups][i % groups] = _mm512_setzero_si512();
  for (uint32_t g = 0; g < count; g += THREE, index += VECTOR) {
    __m512i at[TILE_GROUPS];
#pragma GCC unroll 2
    for (uint32_t v = 0; v < groups; v++) at[v] = _mm512_load_si512(index + v * group_bytes);
#pragma GCC unroll 3
    for (uint32_t u = 0; u < THREE; u++, table += TILE_ROWS * VECTOR) {
#pragma GCC unroll 4
      for (uint32_t r = 0; r < TILE_ROWS; r++) {
        const __m512i entries = _mm512_load_si512(table + r * VECTOR);
#pragma GCC unroll 2
        for (uint32_t v = 0; v < groups; v++) beta_add_words(&sum[r][v], _mm512_permutexvar_epi16(at[v], entries));
      }
#pragma GCC unroll 2
      for (uint32_t v = 0; v < groups; v++) at[v] = _mm512_srli_epi16(at[v], FIVE);
    }
  }
  const __m512i factor[2] = {_mm512_set1_epi32(c & 0xFFFF), _mm512_set1_epi32((int32_t)((uint32_t)c << 16))};
#pragma GCC unroll 8
  for (uint32_t i = 0; i < TILE_ROWS * groups; i++) {
    const uint32_t r = i / groups, v = i % groups;
    int32_t *at = dot + r * dot_stride + v * LANES;
#pragma GCC unroll 2
    for (uint32_t q = 0; q < 2; q++) {
      const __m512i before = first ? _mm512_set1_epi32(constant[r]) : _mm512_loadu_si512(at + 16 * q);
      _mm512_storeu_si512(at + 16 * q, _mm512_dpwssd_epi32(before, sum[r][v], factor[q]));
    }
  }
}

/* TABLE_ROWS rows, of which `count` are multiplied in tiles. */
static inline __attribute__((always_inline)) void multiply_rows(const beta_pair *pair, const uint8_t *held,
                                                                uint32_t groups, const uint8_t *streamed,
                                                                uint32_t count, bool is_unsigned, int32_t *dot,
                                                                size_t dot_stride) {
  const struct beta_coefficients of = beta_coefficients_of(&pair->held);
  const uint32_t fives = fives_of(pair);
  const int32_t centre = centre_of(&pair->streamed);
  const size_t row = row_bytes(pair), group_bytes = beta_align64(held_bytes(pair));
  _Alignas(64) uint8_t tables[TABLE_ROWS / TILE_ROWS][CHUNK * TILE_ROWS * VECTOR];
  int32_t constant[TABLE_ROWS];
  for (uint32_t r = 0; r < TABLE_ROWS; r++) {
    int32_t sum = 0, factors = 0;
    if (r < count) memcpy(&sum, streamed + r * row, sizeof sum);
    for (uint32_t j = 0; j < of.planes; j++) factors += of.c[j];
    constant[r] = of.z * sum + factors * centre * (int32_t)fives;
  }
  for (uint32_t g = 0; g < fives; g += CHUNK) {
    const uint32_t part = fives - g < CHUNK ? fives - g : CHUNK;
    for (uint32_t r = 0; r < count; r += TILE_ROWS) {
      make_tables(streamed + r * row + VECTOR + (size_t)g * FIVE, row, part, is_unsigned, centre, tables[r / TILE_ROWS]);
    }
    for (uint32_t j = 0; j < of.planes; j++) {
      const bool first = g == 0 && j == 0;
      const uint8_t *index = held + ((size_t)j * fives + g) / THREE * VECTOR;
      for (uint32_t v = 0; v < groups;) {
        const uint32_t tile = groups - v < TILE_GROUPS ? 1 : TILE_GROUPS;
        for (uint32_t r = 0; r < count; r += TILE_ROWS) {
          int32_t *at = dot + r * dot_stride + v * LANES;
          if (tile == TILE_GROUPS) {
            add_chunk(index, group_bytes, tables[r / TILE_ROWS], part, of.c[j], constant + r, TILE_GROUPS, first, at,
                      dot_stride);
          } else {
            add_chunk(index, group_bytes, tables[r / TILE_ROWS], part, of.c[j], constant + r, 1, first, at, dot_stride);
          }
        }
        v += tile;
        index += tile * group_bytes;
      }
    }
  }
}

static void multiply(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed,
                     uint32_t count, int32_t *dot, size_t dot_stride) {
  for (uint32_t r = 0; r < count; r += TABLE_ROWS) {
    const uint8_t *rows = streamed + r * row_bytes(pair);
    const uint32_t part = count - r < TABLE_ROWS ? count - r : TABLE_ROWS;
    if (pair->streamed.encoding == BETA_ENC_U) {
      multiply_rows(pair, held, groups, rows, part, true, dot + r * dot_stride, dot_stride);
    } else {
      multiply_rows(pair, held, groups, rows, part, false, dot + r * dot_stride, dot_stride);
    }
  }
}

const struct beta_method beta_avx512_lookup16 = {"lookup16",     LANES, ROWS,   COLUMNS, held_bytes,
                                                 streamed_bytes, hold,  stream, multiply, NULL};

#endif
