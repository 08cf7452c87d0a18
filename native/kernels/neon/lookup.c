/*
 * Held bits as indices: 4 elements of a held row are 4 bits, which select one of 16 sums of 4 streamed codes (tbl). One tbl
 * and one add are 64 MACs, for every width of the streamed operand whose sums fit: 4 * 3 for 2 bits, 4 * 15 for 4. A sum of
 * 4 codes of 8 bits has 10 bits; it is split into two tables of 5 bits, which are then streamed like two rows.
 *
 * A plane's bytes are two indices each, so a held operand is laid out as for popcount. Two held planes are two vectors.
 *
 * A tile is 4 tables by 2 vectors. Bytes count up for a run of indices, as long as they cannot overflow, then widen. A vector
 * of indices takes tbl, add, a quarter for unpacking and 1 / run for widening: 64 MACs of one plane in 2.25 + 1 / run vector
 * operations. That is 27.7 MACs per operation for 1 x 2 bits (run of 16), 25.6 for 1 x 4 (4) and, with two tables, 13.5 for
 * 1 x 8 (8); with two planes 13.8 for 2 x 2 and 12.8 for 2 x 4.
 */
#include "kernels/neon/neon.h"

#if defined(__aarch64__)

#define TABLES BETA_NEON_ROWS /* of a step: streamed rows, or halves of rows */
#define TABLE_BYTES 16u
#define LANES 32u /* of the two vectors */
#define COLUMNS 1024u /* tables are built for each call of multiply(), so it gets a whole panel */
#define SUMS_BYTES BETA_METHOD_ALIGN
/* Words of K whose tables are built at once: 16 KiB, half of the first-level cache, and 16-bit totals of 256 * 60 fit. */
#define CHUNK_WORDS 16u
#define STEPS_PER_WORD 16u
#define CHUNK_BYTES (CHUNK_WORDS * STEPS_PER_WORD * TABLES * TABLE_BYTES)
#define SPLIT 5u /* bits of the lower table of a sum of 8-bit codes; 1020 >> 5 = 31 too */

static size_t row_bytes(const beta_pair *pair) { return (size_t)beta_code_words(pair) * 64; }

static size_t streamed_bytes(const beta_pair *pair) { return SUMS_BYTES + row_bytes(pair) * TABLES; }

/* The rows' sums, then their codes, row by row: a code takes an eighth of what its part of a table does. */
static void stream(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  const struct beta_code code = beta_code_unsigned(&pair->streamed);
  int32_t *sums = (int32_t *)(void *)to;
  for (uint32_t r = 0; r < count; r++) {
    sums[r] = beta_neon_decode(pair, &pair->streamed, code, false, first + r, to + SUMS_BYTES + r * row_bytes(pair));
  }
}

static void hold_one(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  beta_neon_hold_bits(pair, 1, first, count, to);
}

static void hold_two(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  beta_neon_hold_bits(pair, 2, first, count, to);
}

/* Entry i of a table is low[i % 4] + high[i / 4], where low and high are the sums of two codes each: 0, a, b, a + b. */
static const uint8_t low_of_entry[16] = {0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3};
static const uint8_t high_of_entry[16] = {4, 4, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 7, 7, 7, 7};

/* The tables of 16 codes of at most 4 bits: 4 steps, TABLES * TABLE_BYTES apart. */
static inline void build_narrow(const uint8_t *codes, uint8_t *to) {
  const uint8x16_t low = vld1q_u8(low_of_entry), high = vld1q_u8(high_of_entry), next = vdupq_n_u8(8);
  const uint8x8x2_t of = vld2_u8(codes); /* even, odd */
  const uint8x16_t none = vdupq_n_u8(0);
  const uint8x16_t even = vcombine_u8(of.val[0], of.val[0]), odd = vcombine_u8(of.val[1], of.val[1]);
  const uint16x8_t first = vreinterpretq_u16_u8(vzip1q_u8(none, even));
  const uint16x8_t second = vreinterpretq_u16_u8(vzip1q_u8(odd, vaddq_u8(even, odd)));
  const uint8x16_t sums[2] = {vreinterpretq_u8_u16(vzip1q_u16(first, second)),
                              vreinterpretq_u8_u16(vzip2q_u16(first, second))};
  for (uint32_t i = 0; i < 2; i++) {
    const uint8x16_t a = vaddq_u8(vqtbl1q_u8(sums[i], low), vqtbl1q_u8(sums[i], high));
    const uint8x16_t b =
        vaddq_u8(vqtbl1q_u8(sums[i], vaddq_u8(low, next)), vqtbl1q_u8(sums[i], vaddq_u8(high, next)));
    vst1q_u8(to + (2 * i) * TABLES * TABLE_BYTES, a);
    vst1q_u8(to + (2 * i + 1) * TABLES * TABLE_BYTES, b);
  }
}

/* The two tables of 4 codes of 8 bits, side by side. */
static inline void build_wide(const uint8_t *codes, uint8_t *to) {
  const uint16_t a = codes[0], b = codes[1], c = codes[2], d = codes[3];
  const uint16_t high_sums[4] = {0, c, d, (uint16_t)(c + d)};
  const uint16x4_t low = vcreate_u16((uint64_t)a << 16 | (uint64_t)b << 32 | (uint64_t)(a + b) << 48);
  uint8x8_t lower[4], upper[4]; /* four entries each, twice */
  for (uint32_t i = 0; i < 4; i++) {
    const uint16x4_t sums = vadd_u16(low, vdup_n_u16(high_sums[i]));
    const uint16x8_t twice = vcombine_u16(sums, sums);
    lower[i] = vmovn_u16(vandq_u16(twice, vdupq_n_u16((1u << SPLIT) - 1)));
    upper[i] = vshrn_n_u16(twice, SPLIT);
  }
  for (uint32_t i = 0; i < 2; i++) {
    vst1_u8(to + 8 * i, vext_u8(lower[2 * i], lower[2 * i + 1], 4));
    vst1_u8(to + TABLE_BYTES + 8 * i, vext_u8(upper[2 * i], upper[2 * i + 1], 4));
  }
}

/* The tables of a chunk, [step][TABLES][entry]. */
static void build(const uint8_t *codes, size_t row, uint32_t rows, uint32_t words, bool wide, uint8_t *to) {
  for (uint32_t r = 0; r < rows; r++, codes += row) {
    uint8_t *table = to + r * (wide ? 2 : 1) * TABLE_BYTES;
    if (wide) {
      for (uint32_t i = 0; i < words * 64; i += 4) build_wide(codes + i, table + (size_t)i * TABLES * TABLE_BYTES / 4);
    } else {
      for (uint32_t i = 0; i < words * 64; i += 16) build_narrow(codes + i, table + (size_t)i * TABLES * TABLE_BYTES / 4);
    }
  }
}

/* One step: 4 elements of the lanes with every table. The first step of a run begins the counters. */
static inline void step(const uint8_t *tables, const uint8x16_t index[2], bool begins, uint8x16_t count[TABLES][2]) {
  for (uint32_t t = 0; t < TABLES; t++) {
    const uint8x16_t table = vld1q_u8(tables + t * TABLE_BYTES);
    for (uint32_t v = 0; v < 2; v++) {
      const uint8x16_t sums = vqtbl1q_u8(table, index[v]);
      count[t][v] = begins ? sums : vaddq_u8(count[t][v], sums);
    }
  }
  /* The counters and totals fill the registers. Without an end to the step gcc hoists later loads, and spills for them. */
  __asm__ volatile("" : "+w"(count[0][0]), "+w"(count[0][1]), "+w"(count[1][0]), "+w"(count[1][1]), "+w"(count[2][0]),
                   "+w"(count[2][1]), "+w"(count[3][0]), "+w"(count[3][1]));
}

/* sums[t][l] = total of table t by the indices of lane l. `run`: bytes of indices between widenings, a divisor of 8. */
static inline void tile(const uint8_t *held, const uint8_t *tables, uint32_t words, const uint32_t run,
                        uint16_t sums[TABLES][LANES]) {
  uint16x8_t total[TABLES][4];
  for (uint32_t t = 0; t < TABLES; t++) {
    for (uint32_t i = 0; i < 4; i++) total[t][i] = vdupq_n_u16(0);
  }
  for (uint32_t done = 0; done < words * 8; done += run) {
    uint8x16_t count[TABLES][2];
    for (uint32_t byte = 0; byte < run; byte++) {
      const uint8x16_t packed[2] = {vld1q_u8(held), vld1q_u8(held + 16)};
      const uint8x16_t low[2] = {vandq_u8(packed[0], vdupq_n_u8(15)), vandq_u8(packed[1], vdupq_n_u8(15))};
      step(tables, low, byte == 0, count);
      const uint8x16_t high[2] = {vshrq_n_u8(packed[0], 4), vshrq_n_u8(packed[1], 4)};
      step(tables + TABLES * TABLE_BYTES, high, false, count);
      held += LANES;
      tables += 2 * TABLES * TABLE_BYTES;
    }
    for (uint32_t t = 0; t < TABLES; t++) {
      for (uint32_t v = 0; v < 2; v++) {
        total[t][2 * v] = vaddw_u8(total[t][2 * v], vget_low_u8(count[t][v]));
        total[t][2 * v + 1] = vaddw_high_u8(total[t][2 * v + 1], count[t][v]);
      }
    }
  }
  for (uint32_t t = 0; t < TABLES; t++) {
    for (uint32_t i = 0; i < 4; i++) vst1q_u16(sums[t] + 8 * i, total[t][i]);
  }
}

/* Indices in a run: 16 * 12, 4 * 60 and 8 * 31 fit a byte. */
static void tile_of(uint32_t bits, const uint8_t *held, const uint8_t *tables, uint32_t words,
                    uint16_t sums[TABLES][LANES]) {
  if (bits == 2) {
    tile(held, tables, words, 8, sums);
  } else if (bits == 4) {
    tile(held, tables, words, 2, sums);
  } else {
    tile(held, tables, words, 4, sums);
  }
}

/* Adds a tile to its lanes of the results. `planes`: of the held operand. */
static void collect(const struct beta_terms *terms, uint32_t planes, bool wide, uint32_t count,
                    const uint16_t sums[TABLES][LANES], int32_t *dot, size_t dot_stride) {
  const uint16_t weight = (uint16_t)terms->product;
  for (uint32_t r = 0; r < count; r++) {
    const uint16_t *of = sums[wide ? 2 * r : r];
    int32_t *to = dot + r * dot_stride;
    for (uint32_t l = 0; l < LANES / planes; l += 8) {
      uint16x8_t sum = vld1q_u16(of + l);
      /* The planes' totals of a chunk: 15360 + 2 * 15360 fits. */
      if (planes == 2) sum = vaddq_u16(sum, vshlq_n_u16(vld1q_u16(of + l + LANES / 2), 1));
      beta_neon_add(to + l, sum, weight);
      if (wide) beta_neon_add(to + l, vld1q_u16(of + LANES + l), (uint16_t)(weight << SPLIT));
    }
  }
}

static inline void multiply(const beta_pair *pair, uint32_t planes, const uint8_t *held, uint32_t groups,
                            const uint8_t *streamed, uint32_t count, int32_t *dot, size_t dot_stride) {
  const struct beta_terms terms =
      beta_terms_of(beta_code_unsigned(&pair->held), beta_code_unsigned(&pair->streamed), pair->k);
  const uint32_t words = beta_code_words(pair), lanes = LANES / planes;
  const size_t group_bytes = beta_neon_held_bits_bytes(pair);
  const bool wide = pair->streamed.bits == 8;
  const int32_t *streamed_sums = (const int32_t *)(const void *)streamed;
  for (uint32_t g = 0; g < groups; g++) {
    const int32_t *held_sums = (const int32_t *)(const void *)(held + g * group_bytes);
    for (uint32_t r = 0; r < count; r++) {
      beta_neon_begin(&terms, held_sums, streamed_sums[r], lanes, dot + r * dot_stride + g * lanes);
    }
  }
  _Alignas(BETA_METHOD_ALIGN) uint8_t tables[CHUNK_BYTES];
  for (uint32_t w = 0; w < words; w += CHUNK_WORDS) {
    const uint32_t chunk = words - w < CHUNK_WORDS ? words - w : CHUNK_WORDS;
    build(streamed + SUMS_BYTES + w * 64, row_bytes(pair), count, chunk, wide, tables);
    const uint8_t *indices = held + BETA_NEON_BITS_SUMS_BYTES + (size_t)w * 8 * LANES;
    for (uint32_t g = 0; g < groups; g++, indices += group_bytes) {
      uint16_t sums[TABLES][LANES];
      tile_of(pair->streamed.bits, indices, tables, chunk, sums);
      collect(&terms, planes, wide, count, (const uint16_t(*)[LANES])sums, dot + g * lanes, dot_stride);
    }
  }
}

static void multiply_one(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed,
                         uint32_t count, int32_t *dot, size_t dot_stride) {
  multiply(pair, 1, held, groups, streamed, count, dot, dot_stride);
}

static void multiply_two(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed,
                         uint32_t count, int32_t *dot, size_t dot_stride) {
  multiply(pair, 2, held, groups, streamed, count, dot, dot_stride);
}

const struct beta_method beta_neon_lookup = {
    "lookup", LANES, TABLES, COLUMNS, beta_neon_held_bits_bytes, streamed_bytes, hold_one, stream, multiply_one, NULL, NULL,
};

const struct beta_method beta_neon_lookup_wide = {
    "lookup-wide", LANES, TABLES / 2, COLUMNS, beta_neon_held_bits_bytes, streamed_bytes, hold_one, stream, multiply_one, NULL, NULL,
};

const struct beta_method beta_neon_lookup_planes = {
    "lookup-planes", LANES / 2, TABLES, COLUMNS, beta_neon_held_bits_bytes, streamed_bytes, hold_two, stream, multiply_two, NULL, NULL,
};

#endif
