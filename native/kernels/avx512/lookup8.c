/*
 * Lookup of partial sums in bytes: one plane is held, and the streamed values have 2 or 4 bits.
 *
 * Six elements of the held plane are an index into a table of 64 bytes, the sums of the streamed values whose bits are set: one
 * byte permutation of one register multiplies 6 elements of 64 held rows. With S the sum over the values whose bit is set
 * (coefficients of formats.h, of the held operand), D = c S + z sum of the streamed values.
 *
 * (Seven elements and two registers, vpermi2b, are 448 in place of 384, but Zen 5 begins 1.4 of those and 1.75 of these in a cycle, with
 * the loads and copies that belong to them: the index or a table is overwritten.)
 *
 * Sums stay unsigned by a bias in the table, and in bytes for as many lookups as fit: 14 of two bits, 2 of four. Then they are added to
 * 16 bits. Adding words w = low + 256 high instead of bytes needs no unpacking: high is summed apart, and low is what remains.
 *
 * Tables are made for a chunk of groups and a few rows, so that they stay in the first-level cache while all held rows go past, and a held
 * row comes from the second level once for eight streamed ones.
 */
#include "kernels/avx512/unpack.h"

#if defined(__x86_64__)

#define LANES 64u
#define ROWS 16u /* streamed at once */
#define TABLE_ROWS 8u /* whose tables are made at once, in tiles of TILE_ROWS */
#define TILE_ROWS 4u
#define TILE_GROUPS 2u /* held groups of 64 lanes that are multiplied at once with TILE_ROWS rows */
#define COLUMNS 1024u
#define SIX 6u
#define TABLE 64u
#define CHUNK 56u /* groups of six whose tables are made at once: 28 KiB; a multiple of four, and of every `flush` */

/* Groups of six in a row. */
static uint32_t sixes_of(const beta_pair *pair) { return (pair->k + SIX - 1) / SIX; }

static size_t held_bytes(const beta_pair *pair) { return (size_t)sixes_of(pair) * LANES; }

/* A row: int32 sum of its values, then from byte 64 on its values. Tables are made of four groups of six at a time. */
static size_t row_bytes(const beta_pair *pair) {
  return 64 + beta_align64((size_t)sixes_of(pair) * SIX + 4 * SIX + 64);
}

static size_t streamed_bytes(const beta_pair *pair) { return ROWS * row_bytes(pair); }

/*
 * Group of six by group of six, 64 index bytes. Row l lies at byte 4 (l mod 16) + l / 16, so that the four bytes of a 32-bit
 * element end up in four vectors of 16 neighbours.
 */
static void hold(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  const uint32_t sixes = sixes_of(pair);
  const __m512i across = _mm512_set_epi64(0x3F372F271F170F07, 0x3E362E261E160E06, 0x3D352D251D150D05,
                                          0x3C342C241C140C04, 0x3B332B231B130B03, 0x3A322A221A120A02,
                                          0x3931292119110901, 0x3830282018100800);
  uint64_t bits[8][BETA_ROW_WORDS_MAX + 8];
  for (uint32_t at = 0; at < LANES; at += 8) { /* eight bytes side by side, whichever rows they are */
    memset(bits, 0, sizeof bits);
    for (uint32_t b = 0; b < 8; b++) {
      const uint32_t row = (at + b) % 4 * 16 + (at + b) / 4;
      if (row >= count) continue; /* its lane is never read */
      beta_plane_bits(&pair->held, pair->held.row0 + (uint64_t)(first + row) * pair->held.stride, 0, pair->k0, pair->k,
                      bits[b]);
    }
    for (uint32_t g = 0; g < sixes; g += 8) { /* eight groups are six bytes */
      uint64_t square[8];
      for (uint32_t b = 0; b < 8; b++) {
        uint64_t word;
        memcpy(&word, (const uint8_t *)bits[b] + g / 8 * SIX, 8);
        square[b] = _pdep_u64(word, UINT64_C(0x3F3F3F3F3F3F3F3F));
      }
      _mm512_storeu_si512(square, _mm512_permutexvar_epi8(across, _mm512_loadu_si512(square)));
      for (uint32_t i = 0; i < 8 && g + i < sixes; i++) memcpy(to + (size_t)(g + i) * LANES + at, &square[i], 8);
    }
  }
}

static void stream(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  const struct beta_unpacker unpacker = beta_unpacker_of(&pair->streamed, pair->k0, pair->k);
  const size_t bytes = row_bytes(pair);
  for (uint32_t r = 0; r < count; r++, to += bytes) {
    const uint64_t row = first + r;
    const int32_t sum = beta_row_bytes(&unpacker, pair->streamed.row0 + row * pair->streamed.stride, to + 64);
    memcpy(to, &sum, sizeof sum);
    memset(to + 64 + pair->k, 0, bytes - 64 - pair->k);
  }
}

/* What is added to a table so that no sum of six is negative. */
static uint32_t bias_of(const beta_matrix *streamed) {
  return streamed->encoding == BETA_ENC_U ? 0 : SIX << (streamed->bits - 1);
}

/* The largest sum of six, bias included. */
static uint32_t largest_of(const beta_matrix *streamed) { return SIX * ((1u << streamed->bits) - 1); }

/* Byte indices for making tables. */
struct patterns {
  __m512i element[3]; /* which value is element t of each triple */
  __mmask64 set[3];   /* where bit t of the triple's index is set */
  __m512i high[4];    /* second triples of four groups */
  __m512i bias;
};

static struct patterns patterns_of(uint32_t bias) {
  const __m512i iota = beta_iota8(), group = beta_srl8(iota, 4);
  const __m512i upper = _mm512_and_si512(beta_srl8(iota, 3), _mm512_set1_epi8(1)); /* the second triple of a group */
  /* 6 group + 3 upper = 3 (2 group + upper) */
  const __m512i triple = _mm512_add_epi8(_mm512_add_epi8(group, group), upper);
  const __m512i first = _mm512_add_epi8(_mm512_add_epi8(triple, triple), triple);
  struct patterns patterns = {.set = {0xAAAAAAAAAAAAAAAA, 0xCCCCCCCCCCCCCCCC, 0xF0F0F0F0F0F0F0F0}};
  for (uint32_t t = 0; t < 3; t++) {
    patterns.element[t] = _mm512_add_epi8(first, _mm512_set1_epi8((char)t));
  }
  for (uint32_t q = 0; q < 4; q++) {
    patterns.high[q] = _mm512_add_epi8(beta_srl8(iota, 3), _mm512_set1_epi8((char)(16 * q + 8)));
  }
  patterns.bias = _mm512_maskz_set1_epi8(0x00FF00FF00FF00FF, (char)bias);
  return patterns;
}

/*
 * Tables of `count` groups of six (rounded up to four) of TILE_ROWS rows, row beside row: the sums of both triples first, eight
 * bytes each for four groups side by side, then the sums of both. One load of a row serves four tables, and the rest is done in
 * registers: a load waits for earlier stores that lie a multiple of 4 KiB from it, and here are stores everywhere.
 */
static void make_tables(const struct patterns *patterns, const uint8_t *values, size_t row_bytes, uint32_t count,
                        uint8_t *table) {
  for (uint32_t g = 0; g < count; g += 4, values += 4 * SIX) {
    __m512i sums[TILE_ROWS];
#pragma GCC unroll 4
    for (uint32_t r = 0; r < TILE_ROWS; r++) {
      const __m512i v = _mm512_loadu_si512(values + r * row_bytes);
      sums[r] = patterns->bias;
#pragma GCC unroll 3
      for (uint32_t t = 0; t < 3; t++) {
        sums[r] = _mm512_add_epi8(sums[r], _mm512_maskz_permutexvar_epi8(patterns->set[t], patterns->element[t], v));
      }
    }
#pragma GCC unroll 4
    for (uint32_t q = 0; q < 4; q++) {
#pragma GCC unroll 4
      for (uint32_t r = 0; r < TILE_ROWS; r++, table += TABLE) {
        const __m512i low = _mm512_permutexvar_epi64(_mm512_set1_epi64(2 * q), sums[r]);
        _mm512_store_si512(table, _mm512_add_epi8(low, _mm512_permutexvar_epi8(patterns->high[q], sums[r])));
      }
    }
  }
}

/* 16-bit sums of 64 lanes: words (low + 256 high, modulo 2^16), and high. */
struct sums {
  __m512i word, high;
};

/* One group of six of TILE_ROWS rows and `groups` held groups; `first`: the bytes are still to be set. */
static inline __attribute__((always_inline)) void look_up(const uint8_t *index, size_t group_bytes,
                                                          const uint8_t *table, uint32_t groups, bool first,
                                                          __m512i byte[TILE_ROWS][TILE_GROUPS]) {
  __m512i at[TILE_GROUPS];
#pragma GCC unroll 2
  for (uint32_t v = 0; v < groups; v++) at[v] = _mm512_load_si512(index + v * group_bytes);
#pragma GCC unroll 4
  for (uint32_t r = 0; r < TILE_ROWS; r++) {
    const __m512i entries = _mm512_load_si512(table + r * TABLE);
#pragma GCC unroll 2
    for (uint32_t v = 0; v < groups; v++) {
      const __m512i found = _mm512_permutexvar_epi8(at[v], entries);
      if (first) {
        byte[r][v] = found;
      } else {
        beta_add_bytes(&byte[r][v], found);
      }
    }
  }
}

/* The high bytes come from a multiplication: shifts are done by the units that permute. */
static inline __attribute__((always_inline)) void add_bytes(struct sums *sums, __m512i byte) {
  beta_add_words(&sums->word, byte);
  beta_add_words(&sums->high, _mm512_mulhi_epu16(byte, _mm512_set1_epi16(256)));
}

/*
 * One chunk of groups of six for rows [row, row + TILE_ROWS) and `groups` held groups; `flush` sums fit a byte. The 16-bit sums stay
 * in registers.
 */
static inline __attribute__((always_inline)) void add_chunk(const uint8_t *index, size_t group_bytes,
                                                            const uint8_t *table, uint32_t count, uint32_t flush,
                                                            uint32_t groups, uint32_t row, struct sums (*sums)[TABLE_ROWS]) {
  struct sums sum[TILE_ROWS][TILE_GROUPS];
#pragma GCC unroll 8
  for (uint32_t i = 0; i < TILE_ROWS * groups; i++) {
    sum[i / groups][i % groups] = sums[i % groups][row + i / groups];
  }
  for (; count >= flush; count -= flush) {
    __m512i byte[TILE_ROWS][TILE_GROUPS];
#pragma GCC unroll 14
    for (uint32_t g = 0; g < flush; g++, index += LANES, table += TILE_ROWS * TABLE) {
      look_up(index, group_bytes, table, groups, g == 0, byte);
    }
#pragma GCC unroll 8
    for (uint32_t i = 0; i < TILE_ROWS * groups; i++) add_bytes(&sum[i / groups][i % groups], byte[i / groups][i % groups]);
  }
  if (count > 0) {
    __m512i byte[TILE_ROWS][TILE_GROUPS];
    look_up(index, group_bytes, table, groups, true, byte);
    for (uint32_t g = 1; g < count; g++) {
      look_up(index + g * LANES, group_bytes, table + g * TILE_ROWS * TABLE, groups, false, byte);
    }
#pragma GCC unroll 8
    for (uint32_t i = 0; i < TILE_ROWS * groups; i++) add_bytes(&sum[i / groups][i % groups], byte[i / groups][i % groups]);
  }
#pragma GCC unroll 8
  for (uint32_t i = 0; i < TILE_ROWS * groups; i++) {
    sums[i % groups][row + i / groups] = sum[i / groups][i % groups];
  }
}

/*
 * 32-bit products of the 16 lanes of vector q: before + c sums. Half of the range is taken from the sums, whose bits are then signed
 * 16-bit numbers, and a dot product with (c, 0) or (0, c) widens and multiplies them.
 */
static inline __attribute__((always_inline)) void take_sums(const struct sums *sums, int32_t c, const __m512i before[4],
                                                            __m512i product[4]) {
  const __m512i half = _mm512_set1_epi16(INT16_MIN), factor = _mm512_set1_epi32(c);
  const __m512i even = _mm512_and_si512(factor, _mm512_set1_epi32(0xFFFF)), odd = _mm512_slli_epi32(factor, 16);
  const __m512i low = _mm512_xor_si512(_mm512_sub_epi16(sums->word, _mm512_slli_epi16(sums->high, 8)), half);
  const __m512i high = _mm512_xor_si512(sums->high, half);
#pragma GCC unroll 4
  for (uint32_t q = 0; q < 4; q++) {
    product[q] = _mm512_dpwssd_epi32(before[q], q % 2 == 0 ? low : high, q < 2 ? even : odd);
  }
}

/* dot = or += c sums + constant, in the order of the lanes. */
static inline void store_products(const struct sums *sums, int32_t c, int32_t constant, bool first, int32_t *dot) {
  const __m512i start = _mm512_set1_epi32(constant - c * INT16_MIN);
  __m512i before[4], product[4];
#pragma GCC unroll 4
  for (uint32_t q = 0; q < 4; q++) {
    before[q] = first ? start : _mm512_add_epi32(start, _mm512_loadu_si512(dot + 16 * q));
  }
  take_sums(sums, c, before, product);
#pragma GCC unroll 4
  for (uint32_t q = 0; q < 4; q++) _mm512_storeu_si512(dot + 16 * q, product[q]);
}

/* 32 lanes saturated to 16 bits: two vectors of 16 lanes, packed in 128-bit parts that are then put in order. */
static inline __m512i narrow(__m512i low, __m512i high) {
  const __m512i order = _mm512_set_epi64(7, 5, 3, 1, 6, 4, 2, 0);
  return _mm512_permutexvar_epi64(order, _mm512_packs_epi32(low, high));
}

/* dot = c sums + constant, saturated. */
static inline void store_narrow(const struct sums *sums, int32_t c, int32_t constant, int16_t *dot) {
  const __m512i start = _mm512_set1_epi32(constant - c * INT16_MIN);
  const __m512i before[4] = {start, start, start, start};
  __m512i product[4];
  take_sums(sums, c, before, product);
  _mm512_storeu_si512(dot, narrow(product[0], product[1]));
  _mm512_storeu_si512(dot + 32, narrow(product[2], product[3]));
}

/* Groups of six [begin, end), whose sums fit 16 bits, `flush` of which fit a byte. */
static inline __attribute__((always_inline)) void add_span(const beta_pair *pair, const struct patterns *patterns,
                                                           const uint8_t *held, uint32_t groups,
                                                           const uint8_t *streamed, uint32_t begin, uint32_t end,
                                                           uint32_t count, uint32_t flush, struct sums (*sums)[TABLE_ROWS]) {
  const size_t row = row_bytes(pair), group_bytes = beta_align64(held_bytes(pair));
  _Alignas(64) uint8_t tables[TABLE_ROWS / TILE_ROWS][CHUNK * TILE_ROWS * TABLE];
  for (uint32_t g = begin; g < end; g += CHUNK) {
    const uint32_t part = end - g < CHUNK ? end - g : CHUNK;
    for (uint32_t r = 0; r < count; r += TILE_ROWS) {
      make_tables(patterns, streamed + r * row + 64 + (size_t)g * SIX, row, part, tables[r / TILE_ROWS]);
    }
    const uint8_t *index = held + (size_t)g * LANES;
    uint32_t v = 0;
    for (; v + TILE_GROUPS <= groups; v += TILE_GROUPS, index += TILE_GROUPS * group_bytes) {
      for (uint32_t r = 0; r < count; r += TILE_ROWS) {
        add_chunk(index, group_bytes, tables[r / TILE_ROWS], part, flush, TILE_GROUPS, r, &sums[v]);
      }
    }
    for (uint32_t r = 0; v < groups && r < count; r += TILE_ROWS) {
      add_chunk(index, group_bytes, tables[r / TILE_ROWS], part, flush, 1, r, &sums[v]);
    }
  }
}

/* Groups of six whose sums fit 16 bits. */
static uint32_t span_of(const beta_pair *pair) { return UINT16_MAX / largest_of(&pair->streamed) / CHUNK * CHUNK; }

/* TABLE_ROWS rows. Products go to `wide`, or to `narrow` where all groups of six are one span. */
static void multiply_rows(const beta_pair *pair, const struct patterns *patterns, const uint8_t *held, uint32_t groups,
                          const uint8_t *streamed, uint32_t count, int32_t *wide, int16_t *narrow, size_t dot_stride) {
  const struct beta_coefficients of = beta_coefficients_of(&pair->held);
  const uint32_t sixes = sixes_of(pair), bias = bias_of(&pair->streamed), span = span_of(pair);
  struct sums sums[COLUMNS / LANES][TABLE_ROWS];
  for (uint32_t begin = 0; begin < sixes; begin += span) {
    const uint32_t end = sixes - begin < span ? sixes : begin + span;
    memset(sums, 0, groups * sizeof *sums);
    if (pair->streamed.bits == 4) {
      add_span(pair, patterns, held, groups, streamed, begin, end, count, 2, sums);
    } else {
      add_span(pair, patterns, held, groups, streamed, begin, end, count, 14, sums);
    }
    for (uint32_t r = 0; r < count; r++) {
      int32_t sum;
      memcpy(&sum, streamed + r * row_bytes(pair), sizeof sum);
      const int32_t constant = (begin == 0 ? of.z * sum : 0) - of.c[0] * (int32_t)(bias * (end - begin));
      for (uint32_t v = 0; v < groups; v++) {
        const size_t at = r * dot_stride + v * LANES;
        if (narrow != NULL) {
          store_narrow(&sums[v][r], of.c[0], constant, narrow + at);
        } else {
          store_products(&sums[v][r], of.c[0], constant, begin == 0, wide + at);
        }
      }
    }
  }
}

static void multiply(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed,
                     uint32_t count, int32_t *dot, size_t dot_stride) {
  const struct patterns patterns = patterns_of(bias_of(&pair->streamed));
  for (uint32_t r = 0; r < count; r += TABLE_ROWS) {
    const uint32_t part = count - r < TABLE_ROWS ? count - r : TABLE_ROWS;
    multiply_rows(pair, &patterns, held, groups, streamed + r * row_bytes(pair), part, dot + r * dot_stride, NULL,
                  dot_stride);
  }
}

static void multiply16(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed,
                       uint32_t count, int16_t *dot, size_t dot_stride) {
  const struct patterns patterns = patterns_of(bias_of(&pair->streamed));
  for (uint32_t r = 0; r < count; r += TABLE_ROWS) {
    const uint32_t part = count - r < TABLE_ROWS ? count - r : TABLE_ROWS;
    const uint8_t *rows = streamed + r * row_bytes(pair);
    int16_t *to = dot + r * dot_stride;
    if (sixes_of(pair) <= span_of(pair)) {
      multiply_rows(pair, &patterns, held, groups, rows, part, NULL, to, dot_stride);
      continue;
    }
    /* Sums of several spans are saturated after the last. */
    int32_t wide[TABLE_ROWS * COLUMNS];
    const uint32_t lanes = groups * LANES;
    multiply_rows(pair, &patterns, held, groups, rows, part, wide, NULL, lanes);
    for (uint32_t i = 0; i < part * lanes; i += 32) {
      const __m512i low = _mm512_loadu_si512(wide + i), high = _mm512_loadu_si512(wide + i + 16);
      _mm512_storeu_si512(to + i / lanes * dot_stride + i % lanes, narrow(low, high));
    }
  }
}

const struct beta_method beta_avx512_lookup8 = {"lookup8",      LANES, ROWS,   COLUMNS,  held_bytes,
                                                streamed_bytes, hold,  stream, multiply, multiply16, NULL};

#endif
