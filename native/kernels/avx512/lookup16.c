/*
 * Lookup of partial sums in 16 bits: few planes are held, and the streamed values have up to 8 bits.
 *
 * Five elements of a held plane are an index into a table of 32 words, the sums of the streamed values whose bits are set: one
 * word permutation of one register multiplies 5 elements of 32 held rows. With S_j the sum over the values whose bit in plane j
 * is set (coefficients of formats.h, of the held operand),
 *   D = sum_j c_j S_j + z sum of the streamed values.
 *
 * Sums stay unsigned by a bias in the table, and in 16 bits for a chunk of groups; tables are made for a chunk at a time, so that
 * they stay in the first-level cache while all held rows go past.
 */
#include "kernels/avx512/unpack.h"

#if defined(__x86_64__)

#define LANES 32u
#define ROWS 4u
#define TILE_GROUPS 2u /* held groups that are multiplied at once with ROWS rows */
#define COLUMNS 1024u
#define FIVE 5u
#define CHUNK 50u  /* groups of five whose sums fit 16 bits: 50 * 5 * 255 < 2^16 */
#define VECTOR 64u /* bytes */

static uint32_t fives_of(const beta_pair *pair) { return (pair->k + FIVE - 1) / FIVE; }

static size_t held_bytes(const beta_pair *pair) { return (size_t)pair->held.bits * fives_of(pair) * VECTOR; }

/* A row: int32 sum of its values, then from byte 64 on its values as int16. Tables are made of two groups of five at a time. */
static size_t row_bytes(const beta_pair *pair) {
  return VECTOR + beta_align64(2 * ((size_t)fives_of(pair) * FIVE + 2 * FIVE + VECTOR));
}

static size_t streamed_bytes(const beta_pair *pair) { return ROWS * row_bytes(pair); }

/*
 * Plane by plane and group of five by group of five, 32 index words. Row l lies at word 2 (l mod 16) + l / 16, so that the two
 * words of a 32-bit element end up in two vectors of 16 neighbours.
 */
static void hold(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  const uint32_t fives = fives_of(pair);
  uint64_t bits[BETA_ROW_WORDS_MAX + 1];
  for (uint32_t j = 0; j < pair->held.bits; j++, to += (size_t)fives * VECTOR) {
    for (uint32_t l = 0; l < LANES; l++) {
      /* Lanes without a row repeat the last one: their results are never read. */
      const uint64_t row = first + (l < count ? l : count - 1);
      beta_plane_bits(&pair->held, pair->held.row0 + row * pair->held.stride, j, pair->k0, pair->k, bits);
      uint8_t *lane = to + 4 * (l % 16) + 2 * (l / 16);
      for (uint32_t g = 0; g < fives; g += 8) { /* eight groups of five are five bytes */
        uint64_t word;
        memcpy(&word, (const uint8_t *)bits + g / 8 * FIVE, 8);
        const uint64_t index[2] = {_pdep_u64(word, UINT64_C(0x001F001F001F001F)),
                                   _pdep_u64(word >> 20, UINT64_C(0x001F001F001F001F))};
        for (uint32_t i = 0; i < 8 && g + i < fives; i++) {
          memcpy(lane + (size_t)(g + i) * VECTOR, (const uint8_t *)index + 2 * i, 2);
        }
      }
    }
  }
}

static void stream(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  const struct beta_unpacker unpacker = beta_unpacker_of(&pair->streamed, pair->k0, pair->k);
  const size_t bytes = row_bytes(pair);
  const bool is_unsigned = pair->streamed.encoding == BETA_ENC_U;
  uint8_t values[64 * BETA_ROW_WORDS_MAX];
  for (uint32_t r = 0; r < ROWS; r++, to += bytes) {
    const uint64_t row = first + (r < count ? r : count - 1);
    const int32_t sum =
        beta_row_bytes(&unpacker, pair->streamed.row0 + row * pair->streamed.stride, values);
    memcpy(to, &sum, sizeof sum);
    memset(to + VECTOR + 2 * (size_t)pair->k, 0, bytes - VECTOR - 2 * (size_t)pair->k);
    for (uint32_t k = 0; k < pair->k; k += 32) { /* zeros behind the last value */
      const __m256i v = _mm256_loadu_si256((const __m256i *)(const void *)(values + k));
      _mm512_storeu_si512(to + VECTOR + 2 * (size_t)k,
                          is_unsigned ? _mm512_cvtepu8_epi16(v) : _mm512_cvtepi8_epi16(v));
    }
  }
}

/* What is added to a table so that no sum of five is negative. */
static uint32_t bias_of(const beta_matrix *streamed) {
  return streamed->encoding == BETA_ENC_U ? 0 : FIVE << (streamed->bits - 1);
}

/* Word indices for making tables of two groups of five: of the first three values, and of the other two. */
struct patterns {
  __m512i element[3]; /* which value is element t */
  __mmask32 set[3];   /* where its bit in the index is set */
  __m512i low[2], high[2];
  __m512i bias;
};

static struct patterns patterns_of(uint32_t bias) {
  const __m512i iota = beta_iota16(), group = _mm512_srli_epi16(iota, 4);
  /* Words 8 to 11 of 16 are the sums of the other two values. */
  const __m512i upper = _mm512_and_si512(_mm512_srli_epi16(iota, 3), _mm512_set1_epi16(1));
  struct patterns patterns = {.set = {0xAAAAAAAA, 0xCCCCCCCC, 0x00F000F0}};
  patterns.element[0] = _mm512_add_epi16(_mm512_mullo_epi16(group, _mm512_set1_epi16(FIVE)),
                                         _mm512_mullo_epi16(upper, _mm512_set1_epi16(3)));
  patterns.element[1] = _mm512_add_epi16(patterns.element[0], _mm512_set1_epi16(1));
  patterns.element[2] = _mm512_add_epi16(patterns.element[0], _mm512_set1_epi16(2));
  for (uint32_t q = 0; q < 2; q++) {
    patterns.low[q] = _mm512_add_epi16(_mm512_and_si512(iota, _mm512_set1_epi16(7)), _mm512_set1_epi16((short)(16 * q)));
    patterns.high[q] = _mm512_add_epi16(_mm512_srli_epi16(iota, 3), _mm512_set1_epi16((short)(16 * q + 8)));
  }
  patterns.bias = _mm512_maskz_set1_epi16(0x00FF00FF, (short)bias);
  return patterns;
}

/* Tables of `count` groups of five (rounded up to two), ROWS tables apart. */
static void make_tables(const struct patterns *patterns, const uint8_t *values, uint32_t count, uint8_t *table) {
  for (uint32_t g = 0; g < count; g += 2, values += 2 * 2 * FIVE) {
    const __m512i v = _mm512_loadu_si512(values);
    __m512i parts = patterns->bias;
#pragma GCC unroll 3
    for (uint32_t t = 0; t < 3; t++) {
      parts = _mm512_add_epi16(parts, _mm512_maskz_permutexvar_epi16(patterns->set[t], patterns->element[t], v));
    }
#pragma GCC unroll 2
    for (uint32_t q = 0; q < 2; q++, table += ROWS * VECTOR) {
      _mm512_store_si512(table, _mm512_add_epi16(_mm512_permutexvar_epi16(patterns->low[q], parts),
                                                 _mm512_permutexvar_epi16(patterns->high[q], parts)));
    }
  }
}

/*
 * dot = or += c * (one chunk of groups of five - bias), for ROWS rows and `groups` held groups; `constant[r]` has the bias in
 * it. All lookups of a step come before all additions: alternating, they would take the same units and a quarter longer.
 */
static inline __attribute__((always_inline)) void add_chunk(const uint8_t *index, size_t group_bytes,
                                                            const uint8_t *table, uint32_t count, int32_t c,
                                                            const int32_t constant[ROWS], uint32_t groups, bool first,
                                                            int32_t *dot, size_t dot_stride) {
  __m512i sum[ROWS][TILE_GROUPS], found[ROWS][TILE_GROUPS];
#pragma GCC unroll 8
  for (uint32_t i = 0; i < ROWS * groups; i++) sum[i / groups][i % groups] = _mm512_setzero_si512();
  for (uint32_t g = 0; g < count; g++, index += VECTOR, table += ROWS * VECTOR) {
    __m512i at[TILE_GROUPS];
#pragma GCC unroll 2
    for (uint32_t v = 0; v < groups; v++) at[v] = _mm512_load_si512(index + v * group_bytes);
#pragma GCC unroll 4
    for (uint32_t r = 0; r < ROWS; r++) {
      const __m512i entries = _mm512_load_si512(table + r * VECTOR);
#pragma GCC unroll 2
      for (uint32_t v = 0; v < groups; v++) found[r][v] = _mm512_permutexvar_epi16(at[v], entries);
    }
    __asm__("" : "+v"(found[0][0]), "+v"(found[1][0]), "+v"(found[2][0]), "+v"(found[3][0]));
#pragma GCC unroll 8
    for (uint32_t i = 0; i < ROWS * groups; i++) {
      sum[i / groups][i % groups] = _mm512_add_epi16(sum[i / groups][i % groups], found[i / groups][i % groups]);
    }
  }
  const __m512i factor = _mm512_set1_epi32(c), low = _mm512_set1_epi32(0xFFFF);
#pragma GCC unroll 8
  for (uint32_t i = 0; i < ROWS * groups; i++) {
    const uint32_t r = i / groups, v = i % groups;
    const __m512i part[2] = {_mm512_and_si512(sum[r][v], low), _mm512_srli_epi32(sum[r][v], 16)};
    int32_t *at = dot + r * dot_stride + v * LANES;
#pragma GCC unroll 2
    for (uint32_t q = 0; q < 2; q++) {
      const __m512i before = first ? _mm512_setzero_si512() : _mm512_loadu_si512(at + 16 * q);
      const __m512i scaled = _mm512_add_epi32(_mm512_mullo_epi32(part[q], factor), _mm512_set1_epi32(constant[r]));
      _mm512_storeu_si512(at + 16 * q, _mm512_add_epi32(before, scaled));
    }
  }
}

static void multiply(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed,
                     uint32_t count, int32_t *dot, size_t dot_stride) {
  (void)count; /* rows are multiplied all at once */
  const struct beta_coefficients of = beta_coefficients_of(&pair->held);
  const uint32_t fives = fives_of(pair), bias = bias_of(&pair->streamed);
  const struct patterns patterns = patterns_of(bias);
  const size_t row = row_bytes(pair), group_bytes = beta_align64(held_bytes(pair));
  _Alignas(64) uint8_t tables[CHUNK * ROWS * VECTOR];
  for (uint32_t g = 0; g < fives; g += CHUNK) {
    const uint32_t part = fives - g < CHUNK ? fives - g : CHUNK;
    for (uint32_t r = 0; r < ROWS; r++) {
      make_tables(&patterns, streamed + r * row + VECTOR + 2 * (size_t)g * FIVE, part, tables + r * VECTOR);
    }
    for (uint32_t j = 0; j < of.planes; j++) {
      const bool first = g == 0 && j == 0;
      int32_t constant[ROWS];
      for (uint32_t r = 0; r < ROWS; r++) {
        int32_t sum;
        memcpy(&sum, streamed + r * row, sizeof sum);
        constant[r] = (first ? of.z * sum : 0) - of.c[j] * (int32_t)(bias * part);
      }
      const uint8_t *index = held + ((size_t)j * fives + g) * VECTOR;
      uint32_t v = 0;
      for (; v + 2 <= groups; v += 2) {
        add_chunk(index + v * group_bytes, group_bytes, tables, part, of.c[j], constant, 2, first, dot + v * LANES,
                  dot_stride);
      }
      if (v < groups) {
        add_chunk(index + v * group_bytes, group_bytes, tables, part, of.c[j], constant, 1, first, dot + v * LANES,
                  dot_stride);
      }
    }
  }
}

const struct beta_method beta_avx512_lookup16 = {"lookup16",     LANES, ROWS,   COLUMNS, held_bytes,
                                                 streamed_bytes, hold,  stream, multiply, NULL};

#endif
