/*
 * Held bits as indices: 4 elements of a held row are 4 bits, which select one of 16 sums of 4 streamed codes (vpshufb). One
 * shuffle and one addition are 128 MACs, for every width of the streamed operand whose sums fit a byte: 4 * 1, 4 * 3 and 4 * 15
 * for 1, 2 and 4 bits. A sum of 4 codes of 8 bits has 10 bits; it is split into two tables of 5 bits, which are then streamed
 * like two rows. Population counts would be dearer even for one bit: without an instruction for it, and with carry-save adders of
 * five operations, they reach 41 MACs per operation.
 *
 * Bytes count up for a run of indices, as long as they cannot overflow. Adding a word = low + 256 high of two bytes instead of
 * bytes then needs no unpacking: high is summed apart, and low is what remains (three operations).
 *
 * A tile is 4 tables by 2 vectors of 32 lanes: two groups of rows of one plane, or two planes of one. Per step 16 operations, 6
 * loads (vbroadcasti128 takes no vector operation), and 24 operations every run. MACs per vector operation, by held x streamed bits:
 *   1 x 1   62.1 (run of 48)     2 x 2   29.3 (16)
 *   1 x 2   58.5 (16)            2 x 4   23.3 (4)
 *   1 x 4   46.5 (4)             1 x 8   26.9 (8, two tables)
 * and one shuffle for each 128 MACs of a table, which is what limits CPUs with one shuffle a cycle (Haswell to Skylake).
 */
#include "kernels/avx2/avx2.h"

#if defined(__x86_64__)

#include <string.h>

#define TABLES BETA_AVX2_ROWS /* of a step: streamed rows, or halves of rows */
#define ROWS (2 * TABLES) /* streamed at once: results that are turned around then fill half a cache line */
#define TABLE_BYTES 16u
#define STEP_BYTES (TABLES * TABLE_BYTES)
#define VECTORS 2u
#define VECTOR_LANES 32u
#define INDEX_BYTES (VECTORS * VECTOR_LANES) /* of a step */
#define COLUMNS 1024u /* tables are built for each call of multiply(), so it gets a whole panel */
#define HELD_HEADER (VECTORS * VECTOR_LANES * 4)
#define STREAMED_HEADER BETA_METHOD_ALIGN
/* Words of K whose tables are built at once: 16 KiB, half of the first-level cache, and 16-bit totals of 256 * 60 fit. */
#define CHUNK_WORDS 16u
#define STEPS_PER_WORD 16u
#define SPLIT 5u /* bits of the lower table of a sum of 8-bit codes; 1020 >> 5 = 31 too */

static size_t held_bytes(const beta_pair *pair) {
  return HELD_HEADER + (size_t)beta_code_words(pair) * STEPS_PER_WORD * INDEX_BYTES;
}

static size_t row_bytes(const beta_pair *pair) { return (size_t)beta_code_words(pair) * 64; }

static size_t streamed_bytes(const beta_pair *pair) { return STREAMED_HEADER + row_bytes(pair) * ROWS; }

static struct beta_terms terms_of(const beta_pair *pair) {
  return beta_terms_of(beta_code_unsigned(&pair->held), beta_code_unsigned(&pair->streamed), pair->k);
}

/* The lanes' terms, then the indices, [step][vector][lane]. */
static inline void hold(const beta_pair *pair, uint32_t planes, uint32_t first, uint32_t count, uint8_t *to) {
  const uint8_t flip = beta_code_unsigned(&pair->held).flip;
  const int32_t factor = terms_of(pair).held_sum;
  int32_t *terms = (int32_t *)(void *)to;
  memset(to, 0, HELD_HEADER);
  for (uint32_t v = 0; v < VECTORS; v++) {
    const uint32_t plane = planes == 1 ? 0 : v, row = planes == 1 ? v * VECTOR_LANES : 0;
    uint8_t *indices = to + HELD_HEADER + v * VECTOR_LANES;
    if (row >= count) { /* never read, but looked up */
      for (size_t s = 0; s < (size_t)beta_code_words(pair) * STEPS_PER_WORD; s++) memset(indices + s * INDEX_BYTES, 0, VECTOR_LANES);
      continue;
    }
    uint16_t counts[VECTOR_LANES];
    beta_avx2_hold_plane(pair, flip, plane, first + row, count - row, indices, INDEX_BYTES, counts);
    for (uint32_t l = 0; l < VECTOR_LANES; l++) terms[row + l] += factor * (counts[l] << plane);
  }
}

static void hold_one(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  hold(pair, 1, first, count, to);
}

static void hold_two(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  hold(pair, 2, first, count, to);
}

/* The rows' terms, then their codes, row by row: a code takes a quarter of what its part of a table does. */
static void stream(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  const struct beta_avx2_decoder decoder =
      beta_avx2_decoder_of(&pair->streamed, pair, beta_code_unsigned(&pair->streamed), false);
  const struct beta_terms terms = terms_of(pair);
  int32_t *row_terms = (int32_t *)(void *)to;
  for (uint32_t r = 0; r < count; r++) {
    const int32_t sum = beta_avx2_decode_row(&decoder, first + r, to + STREAMED_HEADER + r * row_bytes(pair));
    row_terms[r] = terms.streamed_sum * sum + terms.constant;
  }
}

/*
 * The tables of codes of at most 4 bits, 16 in either half: those of step i are the halves of table[i]. Entry n is
 * low[n % 4] + high[n / 4], where low and high are the sums of two codes each: 0, a, b, a + b.
 */
static inline void build_tables(__m256i codes, __m256i table[4]) {
  const __m256i first = _mm256_slli_epi16(codes, 8); /* 0, a */
  const __m256i sums = _mm256_and_si256(_mm256_add_epi8(codes, first), _mm256_set1_epi16((short)0xFF00));
  const __m256i second = _mm256_or_si256(_mm256_srli_epi16(codes, 8), sums); /* b, a + b */
  const __m256i pairs[2] = {_mm256_unpacklo_epi16(first, second), _mm256_unpackhi_epi16(first, second)};
  const __m256i low = _mm256_set1_epi32(0x03020100);
  const __m256i high = _mm256_broadcastsi128_si256(_mm_set_epi32(0x07070707, 0x06060606, 0x05050505, 0x04040404));
  const __m256i next = _mm256_set1_epi8(8);
#pragma GCC unroll 4
  for (uint32_t i = 0; i < 4; i++) {
    const __m256i l = i % 2 == 0 ? low : _mm256_add_epi8(low, next), h = i % 2 == 0 ? high : _mm256_add_epi8(high, next);
    table[i] = _mm256_add_epi8(_mm256_shuffle_epi8(pairs[i / 2], l), _mm256_shuffle_epi8(pairs[i / 2], h));
  }
}

/* 16 codes of two rows of at most 4 bits: neighbouring tables. */
static inline void build_narrow(const uint8_t *codes, const uint8_t *next_row, uint8_t *to) {
  __m256i table[4];
  build_tables(_mm256_loadu2_m128i((const __m128i *)(const void *)next_row, (const __m128i *)(const void *)codes), table);
#pragma GCC unroll 4
  for (uint32_t i = 0; i < 4; i++) beta_store256(to + i * STEP_BYTES, table[i]);
}

/*
 * 16 codes of 8 bits, whose halves' sums are first the halves of a vector: low + 16 high = 32 upper + lower. With the halves exchanged
 * in `other`, upper = high / 2 + carry, and lower = (low + 16 high) % 32.
 */
static inline void build_wide(const uint8_t *codes, uint8_t *to) {
  const __m128i both = _mm_load_si128((const __m128i *)(const void *)codes);
  const __m256i four = _mm256_set1_epi8(15);
  __m256i table[4];
  build_tables(_mm256_and_si256(_mm256_set_m128i(_mm_srli_epi16(both, 4), both), four), table);
#pragma GCC unroll 4
  for (uint32_t i = 0; i < 4; i++) {
    const __m128i low = _mm256_castsi256_si128(table[i]), high = _mm256_extracti128_si256(table[i], 1);
    const __m128i sum = _mm_add_epi8(low, _mm_slli_epi16(_mm_and_si128(high, _mm_set1_epi8(1)), 4)); /* to 60 + 16 */
    const __m128i carry = _mm_and_si128(_mm_srli_epi16(sum, SPLIT), _mm_set1_epi8(7));
    const __m128i half = _mm_and_si128(_mm_srli_epi16(high, 1), _mm_set1_epi8(0x7F));
    __m128i *at = (__m128i *)(void *)(to + i * STEP_BYTES);
    _mm_store_si128(at, _mm_and_si128(sum, _mm_set1_epi8((1 << SPLIT) - 1)));
    _mm_store_si128(at + 1, _mm_add_epi8(half, carry));
  }
}

/* The tables of a chunk, [step][TABLES][entry]: of four rows, or of two of 8 bits. Those of rows beyond the last are never read. */
static void build(const uint8_t *codes, size_t row, uint32_t rows, uint32_t words, bool wide, uint8_t *to) {
  for (uint32_t t = 0; t < TABLES; t += 2, to += 2 * TABLE_BYTES) {
    const uint32_t r = wide ? t / 2 : t;
    if (r >= rows) break;
    const uint8_t *from = codes + r * row, *next_row = from + (r + 1 < rows ? row : 0);
    uint8_t *at = to;
    for (uint32_t i = 0; i < words * 64; i += 16, at += 4 * STEP_BYTES) {
      if (wide) {
        build_wide(from + i, at);
      } else {
        build_narrow(from + i, next_row + i, at);
      }
    }
  }
}

/* 16-bit sums of 32 lanes: of words (low + 256 high, modulo 2^16), and of high. */
struct sums {
  __m256i word, high;
};

/* bytes += table[index], for one table and both vectors. */
#define LOOK_UP(table, low, high)                                                                                     \
  "vbroadcasti128 " table ", %[table]\n\t"                                                                            \
  "vpshufb %[low], %[table], %[found]\n\t"                                                                            \
  "vpshufb %[high], %[table], %[table]\n\t"                                                                           \
  "vpaddb %[found], " low ", " low "\n\t"                                                                             \
  "vpaddb %[table], " high ", " high "\n\t"

/* One step, in assembler: compilers move loads of later steps up, and spill the sums for them (a quarter slower). */
static inline __attribute__((always_inline)) void step(const uint8_t *indices, const uint8_t *tables,
                                                       __m256i byte[TABLES][VECTORS]) {
  const __m256i *index = (const __m256i *)(const void *)indices;
  const __m128i *table = (const __m128i *)(const void *)tables;
  __m256i low, high, copies, found;
  __asm__("vmovdqa %[index0], %[low]\n\t"
          "vmovdqa %[index1], %[high]\n\t" LOOK_UP("%[table0]", "%[b00]", "%[b01]")
              LOOK_UP("%[table1]", "%[b10]", "%[b11]") LOOK_UP("%[table2]", "%[b20]", "%[b21]")
                  LOOK_UP("%[table3]", "%[b30]", "%[b31]")
          : [b00] "+x"(byte[0][0]), [b01] "+x"(byte[0][1]), [b10] "+x"(byte[1][0]), [b11] "+x"(byte[1][1]),
            [b20] "+x"(byte[2][0]), [b21] "+x"(byte[2][1]), [b30] "+x"(byte[3][0]), [b31] "+x"(byte[3][1]),
            [low] "=&x"(low), [high] "=&x"(high), [table] "=&x"(copies), [found] "=&x"(found)
          : [index0] "m"(index[0]), [index1] "m"(index[1]), [table0] "m"(table[0]), [table1] "m"(table[1]),
            [table2] "m"(table[2]), [table3] "m"(table[3]));
}

/* Sums of `steps` steps, a multiple of 16. `run`: steps between additions to 16 bits. */
static inline __attribute__((always_inline)) void tile(const uint8_t *indices, const uint8_t *tables, uint32_t steps,
                                                       const uint32_t run, struct sums sums[TABLES][VECTORS]) {
#pragma GCC unroll 8
  for (uint32_t i = 0; i < TABLES * VECTORS; i++) { /* memset would become a slow rep stos */
    sums[i / VECTORS][i % VECTORS] = (struct sums){_mm256_setzero_si256(), _mm256_setzero_si256()};
  }
  for (uint32_t left = steps; left > 0;) {
    const uint32_t part = run > 16 && left < run ? left : run;
    left -= part;
    __m256i byte[TABLES][VECTORS];
#pragma GCC unroll 4
    for (uint32_t t = 0; t < TABLES; t++) byte[t][0] = byte[t][1] = _mm256_setzero_si256();
#pragma GCC unroll 4
    for (uint32_t s = 0; s < part; s++, indices += INDEX_BYTES, tables += STEP_BYTES) step(indices, tables, byte);
#pragma GCC unroll 8
    for (uint32_t i = 0; i < TABLES * VECTORS; i++) {
      struct sums *to = &sums[i / VECTORS][i % VECTORS];
      const __m256i x = byte[i / VECTORS][i % VECTORS];
      to->word = _mm256_add_epi16(to->word, x);
      to->high = _mm256_add_epi16(to->high, _mm256_srli_epi16(x, 8));
    }
  }
}

/* Steps of a run: 48 * 4, 16 * 12, 4 * 60 and 8 * 31 fit a byte. */
static void tile_of(uint32_t bits, const uint8_t *indices, const uint8_t *tables, uint32_t steps,
                    struct sums sums[TABLES][VECTORS]) {
  switch (bits) {
    case 1: tile(indices, tables, steps, 48, sums); break;
    case 2: tile(indices, tables, steps, 16, sums); break;
    case 4: tile(indices, tables, steps, 4, sums); break;
    default: tile(indices, tables, steps, 8, sums); break;
  }
}

/* Where the sums of a tile go. */
struct target {
  __m256i weights;      /* of two 16-bit sums each */
  const int32_t *terms; /* of the lanes, or NULL: added to what is there */
  int32_t *dot;
};

/* 8 lanes of the results, from their sums. */
static inline void put(const struct target *target, uint32_t lane, __m256i sums, __m256i row_term) {
  const __m256i before = target->terms == NULL ? beta_load256(target->dot + lane)
                                               : _mm256_add_epi32(beta_load256(target->terms + lane), row_term);
  beta_store256(target->dot + lane, _mm256_add_epi32(before, sums));
}

/* 32 lanes: weights times pairs of sums, whose `second` may be NULL for nothing. */
static inline void put_lanes(const struct target *target, const struct sums *first, const struct sums *second,
                             __m256i row_term) {
  const __m256i none = _mm256_setzero_si256();
  const struct sums other = second == NULL ? (struct sums){none, none} : *second;
  const __m256i low[2] = {_mm256_sub_epi16(first->word, _mm256_slli_epi16(first->high, 8)),
                          _mm256_sub_epi16(other.word, _mm256_slli_epi16(other.high, 8))};
  /* Even lanes are low and odd ones are high, so that interleaving puts 16 lanes in order: 0 to 7 and 16 to 23, then the rest. */
  const __m256i x[2] = {_mm256_unpacklo_epi16(low[0], first->high), _mm256_unpackhi_epi16(low[0], first->high)};
  const __m256i y[2] = {_mm256_unpacklo_epi16(low[1], other.high), _mm256_unpackhi_epi16(low[1], other.high)};
#pragma GCC unroll 2
  for (uint32_t i = 0; i < 2; i++) {
    const __m256i a = _mm256_madd_epi16(_mm256_unpacklo_epi16(x[i], y[i]), target->weights);
    const __m256i b = _mm256_madd_epi16(_mm256_unpackhi_epi16(x[i], y[i]), target->weights);
    put(target, 8 * i, _mm256_permute2x128_si256(a, b, 0x20), row_term);
    put(target, 16 + 8 * i, _mm256_permute2x128_si256(a, b, 0x31), row_term);
  }
}

/* Weights of a sum and of another that counts `times` as much. */
static __m256i weights_of(const struct beta_terms *terms, uint32_t times) {
  return _mm256_set1_epi32((int32_t)((uint32_t)terms->product * (times << 16 | 1)));
}

/* What stays the same for all rows of a call. */
struct product {
  const beta_pair *pair;
  uint32_t planes, words, groups;
  bool wide;
  size_t group_bytes;
  __m256i weights;
  const uint8_t *held;
  size_t dot_stride;
};

/* The rows of a tile, at most TABLES tables' worth, and all groups. */
static inline __attribute__((always_inline)) void multiply_rows(const struct product *product, const int32_t *row_terms,
                                                                const uint8_t *codes, uint32_t rows, int32_t *dot) {
  const uint32_t lanes = VECTORS * VECTOR_LANES / product->planes;
  _Alignas(BETA_METHOD_ALIGN) uint8_t tables[CHUNK_WORDS * STEPS_PER_WORD * STEP_BYTES];
  for (uint32_t w = 0; w < product->words; w += CHUNK_WORDS) {
    const uint32_t chunk = product->words - w < CHUNK_WORDS ? product->words - w : CHUNK_WORDS;
    build(codes + w * 64, row_bytes(product->pair), rows, chunk, product->wide, tables);
    for (uint32_t g = 0; g < product->groups; g++) {
      const uint8_t *group = product->held + g * product->group_bytes;
      const int32_t *lane_terms = w == 0 ? (const int32_t *)(const void *)group : NULL;
      struct sums sums[TABLES][VECTORS];
      tile_of(product->pair->streamed.bits, group + HELD_HEADER + (size_t)w * STEPS_PER_WORD * INDEX_BYTES, tables,
              chunk * STEPS_PER_WORD, sums);
      for (uint32_t r = 0; r < rows; r++) {
        const __m256i row_term = _mm256_set1_epi32(row_terms[r]);
        struct target target = {product->weights, lane_terms, dot + r * product->dot_stride + g * lanes};
        if (product->planes == 2) {
          put_lanes(&target, &sums[r][0], &sums[r][1], row_term);
          continue;
        }
        const struct sums *of = sums[product->wide ? 2 * r : r];
        put_lanes(&target, &of[0], product->wide ? &of[VECTORS] : NULL, row_term);
        target.dot += VECTOR_LANES;
        if (lane_terms != NULL) target.terms += VECTOR_LANES;
        put_lanes(&target, &of[1], product->wide ? &of[VECTORS + 1] : NULL, row_term);
      }
    }
  }
}

static inline __attribute__((always_inline)) void multiply(const beta_pair *pair, uint32_t planes, bool wide,
                                                           const uint8_t *held, uint32_t groups, const uint8_t *streamed,
                                                           uint32_t count, int32_t *dot, size_t dot_stride) {
  const struct beta_terms terms = terms_of(pair);
  const struct product product = {.pair = pair,
                                  .planes = planes,
                                  .words = beta_code_words(pair),
                                  .groups = groups,
                                  .wide = wide,
                                  .group_bytes = held_bytes(pair),
                                  .weights = weights_of(&terms, wide ? 1u << SPLIT : planes == 2 ? 2 : 0),
                                  .held = held,
                                  .dot_stride = dot_stride};
  const int32_t *row_terms = (const int32_t *)(const void *)streamed;
  const uint32_t step = wide ? TABLES / 2 : TABLES;
  for (uint32_t r = 0; r < count; r += step) {
    multiply_rows(&product, row_terms + r, streamed + STREAMED_HEADER + r * row_bytes(pair),
                  count - r < step ? count - r : step, dot + r * dot_stride);
  }
}

static void multiply_one(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed,
                         uint32_t count, int32_t *dot, size_t dot_stride) {
  multiply(pair, 1, false, held, groups, streamed, count, dot, dot_stride);
}

static void multiply_wide(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed,
                          uint32_t count, int32_t *dot, size_t dot_stride) {
  multiply(pair, 1, true, held, groups, streamed, count, dot, dot_stride);
}

static void multiply_two(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed,
                         uint32_t count, int32_t *dot, size_t dot_stride) {
  multiply(pair, 2, false, held, groups, streamed, count, dot, dot_stride);
}

const struct beta_method beta_avx2_lookup = {
    "lookup", VECTORS * VECTOR_LANES, ROWS, COLUMNS, held_bytes, streamed_bytes, hold_one, stream, multiply_one, NULL, NULL,
};

const struct beta_method beta_avx2_lookup_wide = {
    "lookup-wide", VECTORS * VECTOR_LANES, ROWS, COLUMNS, held_bytes, streamed_bytes, hold_one, stream, multiply_wide, NULL, NULL,
};

const struct beta_method beta_avx2_lookup_planes = {
    "lookup-planes", VECTOR_LANES, ROWS, COLUMNS, held_bytes, streamed_bytes, hold_two, stream, multiply_two, NULL, NULL,
};

#endif
