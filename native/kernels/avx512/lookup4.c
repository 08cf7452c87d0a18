/*
 * Lookup of partial sums that a dot product adds: few planes are held, and the streamed values have up to 4 bits.
 *
 * Four elements of a held plane are an index into a table of 16 bytes, the sums of the streamed values whose bits are set. A
 * register holds the tables of four neighbouring groups of four; the four bytes of a 32-bit lane index one of them each, so
 * that one byte permutation looks up 16 elements of 16 held rows, and one dot product with ones adds them to 32 bits. Twice the
 * elements of sums in bytes go into a lookup there (lookup8.c), but sums of 4-bit values would leave a byte every second time.
 *
 * With S_j the sum over the values whose bit in plane j is set (coefficients of formats.h, of the held operand),
 *   D = sum_j c_j S_j + z sum of the streamed values:
 * the factor of the dot product is c_j, and the top plane of S, whose factor is negative, comes first and is negated.
 */
#include "kernels/avx512/unpack.h"

#if defined(__x86_64__)

#define LANES 16u
#define ROWS 4u
#define TILE_GROUPS 4u /* held groups that are multiplied at once with ROWS rows */
#define COLUMNS 1024u
#define STEP 16u   /* elements of one lookup */
#define CHUNK 48u  /* steps whose tables stay in the first-level cache: 12 KiB for ROWS rows */
#define VECTOR 64u /* bytes */

static uint32_t steps_of(const beta_pair *pair) { return (pair->k + STEP - 1) / STEP; }

static size_t held_bytes(const beta_pair *pair) { return (size_t)pair->held.bits * steps_of(pair) * VECTOR; }

/* ROWS int32 sums in the first 64 bytes, then for every step a table of each row. */
static size_t streamed_bytes(const beta_pair *pair) { return VECTOR + (size_t)ROWS * steps_of(pair) * VECTOR; }

/* Plane by plane and step by step, 16 lanes of four index bytes. */
static void hold(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  const uint32_t steps = steps_of(pair);
  uint64_t bits[BETA_ROW_WORDS_MAX + 1];
  for (uint32_t j = 0; j < pair->held.bits; j++, to += (size_t)steps * VECTOR) {
    for (uint32_t l = 0; l < LANES; l++) {
      /* Lanes without a row repeat the last one: their results are never read. */
      const uint64_t row = first + (l < count ? l : count - 1);
      beta_plane_bits(&pair->held, pair->held.row0 + row * pair->held.stride, j, pair->k0, pair->k, bits);
      for (uint32_t s = 0; s < steps; s++) {
        const uint32_t index = _pdep_u32((uint32_t)(bits[s / 4] >> s % 4 * STEP), 0x0F0F0F0F) | 0x30201000;
        memcpy(to + (size_t)s * VECTOR + 4 * l, &index, sizeof index);
      }
    }
  }
}

/* The table of 16 values: entry n of table q is the sum of those values 4 q + t whose bit t is set in n. */
static inline __m512i table_of(const uint8_t *values, const __m512i element[4], const __mmask64 set[4]) {
  const __m512i v = _mm512_castsi128_si512(_mm_loadu_si128((const __m128i *)(const void *)values));
  __m512i table = _mm512_maskz_permutexvar_epi8(set[0], element[0], v);
#pragma GCC unroll 3
  for (uint32_t t = 1; t < 4; t++) {
    table = _mm512_add_epi8(table, _mm512_maskz_permutexvar_epi8(set[t], element[t], v));
  }
  return table;
}

static void stream(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  const struct beta_unpacker unpacker = beta_unpacker_of(&pair->streamed, pair->k0, pair->k);
  const uint32_t steps = steps_of(pair);
  const __m512i table_first = _mm512_slli_epi16(beta_srl8(beta_iota8(), 4), 2);
  const __mmask64 set[4] = {0xAAAAAAAAAAAAAAAA, 0xCCCCCCCCCCCCCCCC, 0xF0F0F0F0F0F0F0F0, 0xFF00FF00FF00FF00};
  __m512i element[4];
  for (uint32_t t = 0; t < 4; t++) element[t] = _mm512_add_epi8(table_first, _mm512_set1_epi8((char)t));
  uint8_t values[64 * BETA_ROW_WORDS_MAX];
  for (uint32_t r = 0; r < ROWS; r++) {
    const uint64_t row = first + (r < count ? r : count - 1);
    const int32_t sum =
        beta_row_bytes(&unpacker, pair->streamed.row0 + row * pair->streamed.stride, values);
    memcpy(to + 4 * r, &sum, sizeof sum);
    uint8_t *table = to + VECTOR + r * VECTOR;
    for (uint32_t s = 0; s < steps; s++, table += ROWS * VECTOR) {
      _mm512_store_si512(table, table_of(values + STEP * s, element, set));
    }
  }
}

/* One chunk of steps for ROWS rows and `groups` held groups. */
static inline __attribute__((always_inline)) void add_chunk(const uint8_t *index, size_t group_bytes,
                                                            const uint8_t *table, uint32_t steps, __m512i factor,
                                                            uint32_t groups, __m512i total[ROWS][TILE_GROUPS]) {
  for (uint32_t s = 0; s < steps; s++, index += VECTOR, table += ROWS * VECTOR) {
    __m512i at[TILE_GROUPS];
#pragma GCC unroll 4
    for (uint32_t v = 0; v < groups; v++) at[v] = _mm512_load_si512(index + v * group_bytes);
#pragma GCC unroll 4
    for (uint32_t r = 0; r < ROWS; r++) {
      const __m512i entries = _mm512_load_si512(table + r * VECTOR);
#pragma GCC unroll 4
      for (uint32_t v = 0; v < groups; v++) {
        total[r][v] = _mm512_dpbusd_epi32(total[r][v], factor, _mm512_permutexvar_epi8(at[v], entries));
      }
    }
  }
}

/* Steps [begin, end) of all planes; `first`: the sums are still to be set. */
static inline __attribute__((always_inline)) void multiply_tile(const beta_pair *pair, const uint8_t *held,
                                                                const uint8_t *streamed, uint32_t begin, uint32_t end,
                                                                uint32_t groups, int32_t *dot, size_t dot_stride) {
  const struct beta_coefficients of = beta_coefficients_of(&pair->held);
  const size_t group_bytes = beta_align64(held_bytes(pair)), plane_bytes = (size_t)steps_of(pair) * VECTOR;
  const int32_t *sum = (const int32_t *)(const void *)streamed;
  const uint8_t *table = streamed + VECTOR + (size_t)begin * ROWS * VECTOR;
  __m512i total[ROWS][TILE_GROUPS];
#pragma GCC unroll 16
  for (uint32_t i = 0; i < ROWS * groups; i++) total[i / groups][i % groups] = _mm512_setzero_si512();
  for (uint32_t j = of.planes; j-- > 0;) {
    const int32_t factor = of.c[j] < 0 ? -of.c[j] : of.c[j];
    add_chunk(held + j * plane_bytes + (size_t)begin * VECTOR, group_bytes, table, end - begin,
              _mm512_set1_epi8((char)factor), groups, total);
    if (of.c[j] > 0) continue;
#pragma GCC unroll 16
    for (uint32_t i = 0; i < ROWS * groups; i++) {
      total[i / groups][i % groups] = _mm512_sub_epi32(_mm512_setzero_si512(), total[i / groups][i % groups]);
    }
  }
#pragma GCC unroll 4
  for (uint32_t r = 0; r < ROWS; r++) {
    const __m512i constant = _mm512_set1_epi32(of.z * sum[r]);
#pragma GCC unroll 4
    for (uint32_t v = 0; v < groups; v++) {
      int32_t *at = dot + r * dot_stride + v * LANES;
      _mm512_storeu_si512(at, _mm512_add_epi32(total[r][v], begin == 0 ? constant : _mm512_loadu_si512(at)));
    }
  }
}

static void multiply(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed,
                     uint32_t count, int32_t *dot, size_t dot_stride) {
  (void)count; /* rows are multiplied all at once */
  const uint32_t steps = steps_of(pair);
  const size_t group_bytes = beta_align64(held_bytes(pair));
  for (uint32_t begin = 0; begin < steps; begin += CHUNK) {
    const uint32_t end = steps - begin < CHUNK ? steps : begin + CHUNK;
    uint32_t v = 0;
    for (; v + 4 <= groups; v += 4) {
      multiply_tile(pair, held + v * group_bytes, streamed, begin, end, 4, dot + v * LANES, dot_stride);
    }
    for (; v < groups; v++) {
      multiply_tile(pair, held + v * group_bytes, streamed, begin, end, 1, dot + v * LANES, dot_stride);
    }
  }
}

const struct beta_method beta_avx512_lookup4 = {"lookup4",      LANES, ROWS,   COLUMNS, held_bytes,
                                                streamed_bytes, hold,  stream, multiply, NULL};

#endif
