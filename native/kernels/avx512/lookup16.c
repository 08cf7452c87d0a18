/*
 * Lookup of partial sums in 16 bits: one plane is held, and the streamed values have 8 bits.
 *
 * Five elements of the held plane are an index into a table of 32 words, the sums of the streamed values whose bits are set: one
 * word permutation of one register, which looks at five bits alone, multiplies 5 elements of 32 held rows. With S the sum over the
 * values whose bit is set (coefficients of formats.h, of the held operand), D = c S + z sum of the streamed values.
 *
 * The sums of 256 bytes of one sign, and of a sum that begins at -2^15 where they are unsigned, are signed 16-bit numbers. So a chunk is
 * 256 elements, the last of its fives has one, and a dot product of words then widens, multiplies and adds the sums
 * (lookup16.h). Tables are made for a chunk of a few rows at a time, so that they stay in the first-level cache while all held rows go
 * past.
 *
 * (Six elements and two registers, vpermi2w, are 192 in place of 160, but Zen 5 begins 1.4 of those and 1.75 of these in a cycle, with
 * the loads and copies that belong to them.)
 */
#include "kernels/avx512/lookup16.h"
#include "kernels/avx512/unpack.h"

#if defined(__x86_64__)

#define ROWS 16u /* streamed at once */
#define COLUMNS 1024u
#define FIVE 5u
#define CHUNK 256u /* elements whose tables are made at once */
#define CHUNK_FIVES 52u /* the last has one element */
#define QUAD 4u    /* tables that are made together */

static uint32_t chunks_of(const beta_pair *pair) { return (pair->k + CHUNK - 1) / CHUNK; }

/* Pairs of fives, each a vector of indices, of the chunk that begins at element `begin`. */
static uint32_t vectors_at(const beta_pair *pair, uint32_t begin) {
  const uint32_t left = pair->k - begin;
  return left >= CHUNK ? CHUNK_FIVES / 2 : (left + 2 * FIVE - 1) / (2 * FIVE);
}

/* And a vector behind the last, of which one byte is read and not used. */
static size_t held_bytes(const beta_pair *pair) {
  const uint32_t last = chunks_of(pair) - 1;
  return ((size_t)last * (CHUNK_FIVES / 2) + vectors_at(pair, last * CHUNK) + 1) * VECTOR;
}

/* A row: int32 sum of its values, then from byte 64 on its values, and zeros that are read and not used. */
static size_t row_bytes(const beta_pair *pair) { return VECTOR + beta_align64((size_t)pair->k + 2 * VECTOR); }

static size_t streamed_bytes(const beta_pair *pair) { return ROWS * row_bytes(pair); }

static void hold(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  uint64_t bits[BETA_ROW_WORDS_MAX + 4] = {0}; /* zeros behind the last word */
  memset(to, 0, held_bytes(pair));
  for (uint32_t l = 0; l < count; l++) { /* lanes without a row are never read */
    beta_plane_bits(&pair->held, pair->held.row0 + (uint64_t)(first + l) * pair->held.stride, 0, pair->k0, pair->k, bits);
    uint8_t *lane = to + lane_of(l);
    for (uint32_t begin = 0; begin < pair->k; begin += CHUNK) {
      const uint32_t fives = 2 * vectors_at(pair, begin);
      for (uint32_t f = 0; f < fives; f++) {
        const uint32_t at = begin + f * FIVE;
        uint32_t word;
        memcpy(&word, (const uint8_t *)bits + at / 8, sizeof word);
        lane[f / 2 * VECTOR + f % 2] = word >> at % 8 & (f + 1 < CHUNK_FIVES ? 0x1F : 1);
      }
      lane += fives / 2 * VECTOR;
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

/* How the sums of three elements, eight for each table of a quad, and of two, four for each, are made from bytes and spread. */
struct patterns {
  __m512i element[3]; /* bytes of the quad that are added: two of each triple, the third, and each pair */
  __m512i set[3];     /* ones where they are */
  __m512i pair[QUAD]; /* the sum of the pair in entry n of each table */
};

static struct patterns patterns_of(void) {
  const __m512i iota = beta_iota16(), one = _mm512_set1_epi16(1), odd = _mm512_set1_epi16(0x0100);
  const __m512i eighth = _mm512_srli_epi16(iota, 3), fourth = _mm512_srli_epi16(iota, 2);
  const __m512i triple = _mm512_mullo_epi16(eighth, _mm512_set1_epi16(FIVE * 0x0101));
  const __m512i pair = _mm512_mullo_epi16(fourth, _mm512_set1_epi16(FIVE * 0x0101));
  const __m512i bit0 = _mm512_and_si512(iota, one), bit1 = _mm512_and_si512(_mm512_slli_epi16(iota, 7), odd);
  struct patterns patterns;
  patterns.element[0] = _mm512_add_epi16(triple, _mm512_set1_epi16(0x0100));
  patterns.element[1] = _mm512_add_epi16(triple, _mm512_set1_epi16(0x0202));
  patterns.element[2] = _mm512_add_epi16(pair, _mm512_set1_epi16(0x0403));
  patterns.set[0] = patterns.set[2] = _mm512_or_si512(bit0, bit1);
  patterns.set[1] = _mm512_and_si512(fourth, one);
  for (uint32_t i = 0; i < QUAD; i++) {
    patterns.pair[i] = _mm512_add_epi16(eighth, _mm512_set1_epi16((int16_t)(4 * i)));
  }
  return patterns;
}

/* Sums of two neighbouring bytes where they are set. */
static inline __m512i add_set(__m512i bytes, __m512i set, bool is_unsigned) {
  return is_unsigned ? _mm512_maddubs_epi16(bytes, set) : _mm512_maddubs_epi16(set, bytes);
}

/*
 * Tables of `count` fives of TILE_ROWS rows, row beside row, whole quads. Entry n is the sum of those values t whose bit t is set in n:
 * that of the first three, which repeats itself, and that of the others.
 */
static inline __attribute__((always_inline)) void make_tables(const struct patterns *patterns, const uint8_t *values,
                                                              size_t row_bytes, uint32_t count, bool is_unsigned,
                                                              uint8_t *table) {
  for (uint32_t r = 0; r < TILE_ROWS; r++, values += row_bytes, table += VECTOR) {
    uint8_t *to = table;
    for (uint32_t q = 0; QUAD * q < count; q++, to += QUAD * TILE_ROWS * VECTOR) {
      const __m512i bytes = _mm512_loadu_si512(values + (size_t)q * QUAD * FIVE);
      __m512i part[3];
#pragma GCC unroll 3
      for (uint32_t t = 0; t < 3; t++) {
        part[t] = add_set(_mm512_permutexvar_epi8(patterns->element[t], bytes), patterns->set[t], is_unsigned);
      }
      const __m512i triple = _mm512_add_epi16(part[0], part[1]);
      const __m512i first[QUAD] = {_mm512_shuffle_i64x2(triple, triple, 0x00), _mm512_shuffle_i64x2(triple, triple, 0x55),
                                   _mm512_shuffle_i64x2(triple, triple, 0xAA), _mm512_shuffle_i64x2(triple, triple, 0xFF)};
#pragma GCC unroll 4
      for (uint32_t i = 0; i < QUAD; i++) {
        const __m512i others = _mm512_permutexvar_epi16(patterns->pair[i], part[2]);
        _mm512_store_si512(to + i * TILE_ROWS * VECTOR, _mm512_add_epi16(first[i], others));
      }
    }
  }
}

/* TILE_ROWS rows, of which `count` are there. */
static void multiply_rows(const beta_pair *pair, const struct patterns *patterns, const uint8_t *held, uint32_t groups,
                          const uint8_t *streamed, uint32_t count, int32_t *dot, size_t dot_stride) {
  const struct beta_coefficients of = beta_coefficients_of(&pair->held);
  const bool is_unsigned = pair->streamed.encoding == BETA_ENC_U;
  const int32_t start = is_unsigned ? INT16_MIN : 0;
  const size_t row = row_bytes(pair);
  _Alignas(64) uint8_t tables[CHUNK_FIVES * TILE_ROWS * VECTOR];
  int32_t constant[TILE_ROWS];
  for (uint32_t r = 0; r < TILE_ROWS; r++) {
    int32_t sum = 0;
    if (r < count) memcpy(&sum, streamed + r * row, sizeof sum);
    constant[r] = of.z * sum - of.c[0] * start * (int32_t)chunks_of(pair);
  }
  struct chunk chunk = {.group_bytes = beta_align64(held_bytes(pair)),
                        .start = _mm512_set1_epi16((int16_t)start),
                        .c = of.c[0],
                        .constant = constant};
  for (uint32_t begin = 0; begin < pair->k; begin += CHUNK, held += (size_t)chunk.vectors * VECTOR) {
    const uint8_t *values = streamed + VECTOR + begin;
    chunk.vectors = vectors_at(pair, begin);
    chunk.first = begin == 0;
    if (is_unsigned) {
      make_tables(patterns, values, row, 2 * chunk.vectors, true, tables);
    } else {
      make_tables(patterns, values, row, 2 * chunk.vectors, false, tables);
    }
    add_chunk(&chunk, held, tables, groups, dot, dot_stride);
  }
}

static void multiply(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed,
                     uint32_t count, int32_t *dot, size_t dot_stride) {
  const struct patterns patterns = patterns_of();
  for (uint32_t r = 0; r < count; r += TILE_ROWS) {
    const uint32_t part = count - r < TILE_ROWS ? count - r : TILE_ROWS;
    multiply_rows(pair, &patterns, held, groups, streamed + r * row_bytes(pair), part, dot + r * dot_stride, dot_stride);
  }
}

const struct beta_method beta_avx512_lookup16 = {"lookup16",     LANES, ROWS,   COLUMNS, held_bytes,
                                                 streamed_bytes, hold,  stream, multiply, NULL, NULL};

#endif
