/*
 * Lookup of partial sums in bytes: few planes are held, and the streamed values have 1 or 2 bits.
 *
 * Six elements of a held plane are an index into a table of 64 bytes, the sums of the streamed values whose bits are set: one
 * byte permutation of one register multiplies 6 elements of 64 held rows. (Seven elements and two registers would need a copy of
 * the index for every permutation, which overwrites it, and twice the loads, which then are what limits.) With S_j the sum over
 * the values whose bit in plane j is set (coefficients of formats.h, of the held operand),
 *   D = sum_j c_j S_j + z sum of the streamed values.
 *
 * Sums stay unsigned by a bias in the table, and in bytes for a few groups of six; then they are added to 16 bits. Adding
 * words w = low + 256 high instead of bytes needs no unpacking: high is summed apart, and low is what remains.
 *
 * Tables are made for a chunk of groups, so that they stay in the first-level cache while all held rows go past.
 */
#include "kernels/avx512/unpack.h"

#if defined(__x86_64__)

#define LANES 64u
#define ROWS 4u
#define TILE_GROUPS 2u /* held groups of 64 lanes that are multiplied at once with ROWS rows */
#define COLUMNS 1024u
#define SIX 6u
#define TABLE 64u
#define CHUNK 64u   /* groups of six whose tables are made at once: 16 KiB for ROWS rows */
#define SUMS_STRIDE (COLUMNS / LANES)
#define FLUSH 14u /* groups of six whose sums fit a byte: 14 * 6 * 3 < 2^8; those of a whole row fit 16 bits */

/* Groups of six in a row. */
static uint32_t sixes_of(const beta_pair *pair) { return (pair->k + SIX - 1) / SIX; }

static size_t held_bytes(const beta_pair *pair) { return (size_t)pair->held.bits * sixes_of(pair) * LANES; }

/* A row: int32 sum of its values, then from byte 64 on its values. Tables are made of four groups of six at a time. */
static size_t row_bytes(const beta_pair *pair) {
  return 64 + beta_align64((size_t)sixes_of(pair) * SIX + 4 * SIX + 64);
}

static size_t streamed_bytes(const beta_pair *pair) { return ROWS * row_bytes(pair); }

/*
 * Plane by plane and group of six by group of six, 64 index bytes. Row l lies at byte 4 (l mod 16) + l / 16, so that the four
 * bytes of a 32-bit element end up in four vectors of 16 neighbours.
 */
static void hold(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  const uint32_t sixes = sixes_of(pair);
  const __m512i across = _mm512_set_epi64(0x3F372F271F170F07, 0x3E362E261E160E06, 0x3D352D251D150D05,
                                          0x3C342C241C140C04, 0x3B332B231B130B03, 0x3A322A221A120A02,
                                          0x3931292119110901, 0x3830282018100800);
  uint64_t bits[8][BETA_ROW_WORDS_MAX + 8];
  for (uint32_t j = 0; j < pair->held.bits; j++, to += (size_t)sixes * LANES) {
    for (uint32_t at = 0; at < LANES; at += 8) { /* eight bytes side by side, whichever rows they are */
      memset(bits, 0, sizeof bits);
      for (uint32_t b = 0; b < 8; b++) {
        const uint32_t row = (at + b) % 4 * 16 + (at + b) / 4;
        if (row >= count) continue; /* its lane is never read */
        beta_plane_bits(&pair->held, pair->held.row0 + (uint64_t)(first + row) * pair->held.stride, j, pair->k0, pair->k,
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
}

static void stream(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  const struct beta_unpacker unpacker = beta_unpacker_of(&pair->streamed, pair->k0, pair->k);
  const size_t bytes = row_bytes(pair);
  for (uint32_t r = 0; r < ROWS; r++, to += bytes) {
    /* Rows behind the last repeat it: their results are never read. */
    const uint64_t row = first + (r < count ? r : count - 1);
    const int32_t sum = beta_row_bytes(&unpacker, pair->streamed.row0 + row * pair->streamed.stride, to + 64);
    memcpy(to, &sum, sizeof sum);
    memset(to + 64 + pair->k, 0, bytes - 64 - pair->k);
  }
}

/* What is added to a table so that no sum of six is negative. */
static uint32_t bias_of(const beta_matrix *streamed) {
  return streamed->encoding == BETA_ENC_U ? 0 : SIX << (streamed->bits - 1);
}

/* Byte indices for making tables. */
struct patterns {
  __m512i element[3]; /* which value is element t of each triple */
  __mmask64 set[3];   /* where bit t of the triple's index is set */
  __m512i low[4], high[4];
  __m512i bias;
};

static struct patterns patterns_of(uint32_t bias) {
  const __m512i iota = beta_iota8(), group = beta_srl8(iota, 4);
  const __m512i upper = _mm512_and_si512(beta_srl8(iota, 3), _mm512_set1_epi8(1)); /* the second triple of a group */
  /* 6 group + 3 upper = 3 (2 group + upper) */
  const __m512i triple = _mm512_add_epi8(_mm512_add_epi8(group, group), upper);
  struct patterns patterns = {.set = {0xAAAAAAAAAAAAAAAA, 0xCCCCCCCCCCCCCCCC, 0xF0F0F0F0F0F0F0F0}};
  patterns.element[0] = _mm512_add_epi8(_mm512_add_epi8(triple, triple), triple);
  patterns.element[1] = _mm512_add_epi8(patterns.element[0], _mm512_set1_epi8(1));
  patterns.element[2] = _mm512_add_epi8(patterns.element[0], _mm512_set1_epi8(2));
  for (uint32_t q = 0; q < 4; q++) {
    patterns.low[q] = _mm512_add_epi8(_mm512_and_si512(iota, _mm512_set1_epi8(7)), _mm512_set1_epi8((char)(16 * q)));
    patterns.high[q] = _mm512_add_epi8(beta_srl8(iota, 3), _mm512_set1_epi8((char)(16 * q + 8)));
  }
  patterns.bias = _mm512_maskz_set1_epi8(0x00FF00FF00FF00FF, (char)bias);
  return patterns;
}

/*
 * Tables of `count` groups of six (rounded up to four), ROWS tables apart: the sums of both triples first, eight bytes each for
 * four groups side by side, then the sums of both.
 */
static void make_tables(const struct patterns *patterns, const uint8_t *values, uint32_t count, uint8_t *table) {
  for (uint32_t g = 0; g < count; g += 4, values += 4 * SIX) {
    const __m512i v = _mm512_loadu_si512(values);
    __m512i triples = patterns->bias;
#pragma GCC unroll 3
    for (uint32_t t = 0; t < 3; t++) {
      triples = _mm512_add_epi8(triples, _mm512_maskz_permutexvar_epi8(patterns->set[t], patterns->element[t], v));
    }
#pragma GCC unroll 4
    for (uint32_t q = 0; q < 4; q++, table += ROWS * TABLE) {
      _mm512_store_si512(table, _mm512_add_epi8(_mm512_permutexvar_epi8(patterns->low[q], triples),
                                                _mm512_permutexvar_epi8(patterns->high[q], triples)));
    }
  }
}

/* 16-bit sums of 64 lanes: words (low + 256 high, modulo 2^16), and high. */
struct sums {
  __m512i word, high;
};

/* One chunk of groups of six for `groups` held groups. */
static inline __attribute__((always_inline)) void add_chunk(const uint8_t *index, size_t group_bytes,
                                                            const uint8_t *table, uint32_t count,
                                                            uint32_t groups, struct sums *sums) {
  __m512i word[ROWS][TILE_GROUPS], high[ROWS][TILE_GROUPS];
#pragma GCC unroll 8
  for (uint32_t i = 0; i < ROWS * groups; i++) {
    word[i / groups][i % groups] = sums[i / groups * SUMS_STRIDE + i % groups].word;
    high[i / groups][i % groups] = sums[i / groups * SUMS_STRIDE + i % groups].high;
  }
  for (uint32_t left = count; left > 0;) {
    const uint32_t part = left < FLUSH ? left : FLUSH;
    left -= part;
    __m512i byte[ROWS][TILE_GROUPS];
#pragma GCC unroll 8
    for (uint32_t i = 0; i < ROWS * groups; i++) byte[i / groups][i % groups] = _mm512_setzero_si512();
#pragma GCC unroll 2
    for (uint32_t g = 0; g < part; g++, index += LANES, table += ROWS * TABLE) {
      __m512i at[TILE_GROUPS];
#pragma GCC unroll 2
      for (uint32_t v = 0; v < groups; v++) at[v] = _mm512_load_si512(index + v * group_bytes);
#pragma GCC unroll 4
      for (uint32_t r = 0; r < ROWS; r++) {
        const __m512i entries = _mm512_load_si512(table + r * TABLE);
#pragma GCC unroll 2
        for (uint32_t v = 0; v < groups; v++) {
          byte[r][v] = _mm512_add_epi8(byte[r][v], _mm512_permutexvar_epi8(at[v], entries));
        }
      }
    }
#pragma GCC unroll 8
    for (uint32_t i = 0; i < ROWS * groups; i++) {
      const uint32_t r = i / groups, v = i % groups;
      word[r][v] = _mm512_add_epi16(word[r][v], byte[r][v]);
      high[r][v] = _mm512_add_epi16(high[r][v], _mm512_srli_epi16(byte[r][v], 8));
    }
  }
#pragma GCC unroll 8
  for (uint32_t i = 0; i < ROWS * groups; i++) {
    sums[i / groups * SUMS_STRIDE + i % groups] = (struct sums){word[i / groups][i % groups], high[i / groups][i % groups]};
  }
}

/* dot = or += c * (sums - bias) + constant, in the order of the lanes. */
static void take_sums(struct sums sums, int32_t c, int32_t constant, bool first, int32_t *dot) {
  const __m512i low = _mm512_sub_epi16(sums.word, _mm512_slli_epi16(sums.high, 8));
  const __m512i part[4] = {_mm512_and_si512(low, _mm512_set1_epi32(0xFFFF)),
                           _mm512_and_si512(sums.high, _mm512_set1_epi32(0xFFFF)), _mm512_srli_epi32(low, 16),
                           _mm512_srli_epi32(sums.high, 16)};
  for (uint32_t q = 0; q < 4; q++) {
    const __m512i before = first ? _mm512_set1_epi32(constant)
                                 : _mm512_add_epi32(_mm512_set1_epi32(constant), _mm512_loadu_si512(dot + 16 * q));
    _mm512_storeu_si512(dot + 16 * q,
                        _mm512_add_epi32(before, _mm512_mullo_epi32(part[q], _mm512_set1_epi32(c))));
  }
}

static void multiply(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed,
                     uint32_t count, int32_t *dot, size_t dot_stride) {
  const struct beta_coefficients of = beta_coefficients_of(&pair->held);
  const uint32_t sixes = sixes_of(pair), bias = bias_of(&pair->streamed);
  const struct patterns patterns = patterns_of(bias);
  const size_t row = row_bytes(pair), group_bytes = beta_align64(held_bytes(pair));
  _Alignas(64) uint8_t tables[CHUNK * ROWS * TABLE];
  struct sums sums[ROWS][SUMS_STRIDE];
  for (uint32_t j = 0; j < of.planes; j++) {
    for (uint32_t r = 0; r < ROWS; r++) memset(sums[r], 0, groups * sizeof **sums);
    for (uint32_t g = 0; g < sixes; g += CHUNK) {
      const uint32_t part = sixes - g < CHUNK ? sixes - g : CHUNK;
      for (uint32_t r = 0; r < ROWS; r++) {
        make_tables(&patterns, streamed + r * row + 64 + (size_t)g * SIX, part, tables + r * TABLE);
      }
      const uint8_t *index = held + ((size_t)j * sixes + g) * LANES;
      uint32_t v = 0;
      for (; v + 2 <= groups; v += 2) add_chunk(index + v * group_bytes, group_bytes, tables, part, 2, &sums[0][v]);
      if (v < groups) add_chunk(index + v * group_bytes, group_bytes, tables, part, 1, &sums[0][v]);
    }
    for (uint32_t r = 0; r < count; r++) {
      int32_t sum;
      memcpy(&sum, streamed + r * row, sizeof sum);
      const int32_t constant = (j == 0 ? of.z * sum : 0) - of.c[j] * (int32_t)(bias * sixes);
      for (uint32_t v = 0; v < groups; v++) {
        take_sums(sums[r][v], of.c[j], constant, j == 0, dot + r * dot_stride + v * LANES);
      }
    }
  }
}

const struct beta_method beta_avx512_lookup8 = {"lookup8",      LANES, ROWS,   COLUMNS, held_bytes,
                                                streamed_bytes, hold,  stream, multiply, NULL};

#endif
