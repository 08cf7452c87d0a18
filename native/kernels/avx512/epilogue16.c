/* The epilogue of products of 16 bits: thresholds, 32 columns at a time, and identity tables. */
#include "kernels/avx512/avx512.h"

#if defined(__x86_64__)

#include <string.h>

#define STEP 32u

/*
 * What 32 columns compare with. r = D + bias for a multiplier of 1.0 and -(D + bias) for -1.0; for ~D = -D - 1 in place of D
 * the second is a comparison in the same direction: with n = 0 or -1 as above = 0 or 1,
 *   r >= above is D > above - bias - 1 or ~D > above + bias - 2.
 * A limit that does not fit 16 bits is one that no product reaches, or every one.
 */
struct limits {
  __m512i limit, negative;
};

static inline __m512i load_entries(const uint8_t *table, uint32_t count, uint32_t which) {
  /* 16 entries of {bias, mul} at a time; entries behind `count` are not read. */
  const uint32_t low = count < 8 ? count : 8, high = count < 8 ? 0 : count < 16 ? count - 8 : 8;
  const __m512i a = _mm512_maskz_loadu_epi64((__mmask8)((1u << low) - 1), table);
  const __m512i b = _mm512_maskz_loadu_epi64((__mmask8)((1u << high) - 1), table + 64);
  const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  return _mm512_permutex2var_epi32(a, _mm512_add_epi32(even, _mm512_set1_epi32((int)which)), b);
}

static inline __m512i limit_of(__m512i bias, __m512i mul, int32_t above) {
  const __m512i negative = _mm512_srai_epi32(mul, 31);
  /* -bias - 1 is ~bias, and bias - 2 is the same of ~bias, less 1. */
  const __m512i turned = _mm512_xor_si512(_mm512_xor_si512(bias, _mm512_set1_epi32(-1)), negative);
  return _mm512_add_epi32(_mm512_add_epi32(turned, _mm512_add_epi32(negative, negative)), _mm512_set1_epi32(above));
}

static inline __m512i narrow(__m512i low, __m512i high) {
  return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtsepi32_epi16(low)), _mm512_cvtsepi32_epi16(high), 1);
}

static inline struct limits limits_at(const beta_qmm *job, uint32_t row, uint32_t column, uint32_t count) {
  const int32_t above = job->o.encoding == BETA_ENC_U ? 1 : 0;
  if (job->table_by_row) {
    int32_t entry[2];
    memcpy(entry, job->table + (uint64_t)row * BETA_TABLE_ENTRY_BYTES, sizeof entry);
    const __m512i bias = _mm512_set1_epi32(entry[0]), mul = _mm512_set1_epi32(entry[1]);
    const __m512i limit = limit_of(bias, mul, above), negative = _mm512_srai_epi32(mul, 31);
    return (struct limits){narrow(limit, limit), negative};
  }
  const uint8_t *table = job->table + (uint64_t)column * BETA_TABLE_ENTRY_BYTES;
  const uint32_t low = count < 16 ? count : 16, high = count - low;
  const __m512i mul[2] = {load_entries(table, low, 1), load_entries(table + 128, high, 1)};
  const __m512i limit[2] = {limit_of(load_entries(table, low, 0), mul[0], above),
                            limit_of(load_entries(table + 128, high, 0), mul[1], above)};
  return (struct limits){narrow(limit[0], limit[1]),
                         narrow(_mm512_srai_epi32(mul[0], 31), _mm512_srai_epi32(mul[1], 31))};
}

/* `flips`: some multiplier is -1.0. */
static inline __mmask32 reach(__m512i dot, struct limits limits, bool flips) {
  return _mm512_cmpgt_epi16_mask(flips ? _mm512_xor_si512(dot, limits.negative) : dot, limits.limit);
}

/* Rows of 64 columns, whose bits are one word. */
static inline __attribute__((always_inline)) void compare_words_as(const beta_qmm *job, uint32_t row, uint32_t rows,
                                                                   uint32_t column, const int16_t *dot, size_t stride,
                                                                   bool flips, bool by_row) {
  const uint64_t step = job->o.stride; /* stores might change it, for all that a compiler knows */
  const uint64_t complement = job->o.encoding == BETA_ENC_S ? UINT64_MAX : 0;
  uint8_t *to = job->o.row0 + row * step + ((uint64_t)job->n0 + column) / 8;
  struct limits at[2] = {limits_at(job, row, column, STEP), limits_at(job, row, column + STEP, STEP)};
  for (uint32_t r = 0; r < rows; r++, to += step, dot += stride) {
    if (by_row) at[0] = at[1] = limits_at(job, row + r, column, STEP);
    const __mmask32 low = reach(_mm512_loadu_si512(dot), at[0], flips);
    const __mmask32 high = reach(_mm512_loadu_si512(dot + STEP), at[1], flips);
    const uint64_t word = complement ^ _cvtmask64_u64(_mm512_kunpackd(high, low));
    memcpy(to, &word, sizeof word);
  }
}

static void compare_words(const struct beta_epilogue *epilogue, uint32_t row, uint32_t rows, uint32_t column, uint32_t count,
                          const void *dot, size_t stride) {
  (void)count;
  const beta_qmm *job = epilogue->job;
  if (job->table_by_row) compare_words_as(job, row, rows, column, dot, stride, true, true);
  else if (epilogue->flips) compare_words_as(job, row, rows, column, dot, stride, true, false);
  else compare_words_as(job, row, rows, column, dot, stride, false, false);
}

/* Rows of at most 32 columns that lie inside a block. */
static void compare_columns(const struct beta_epilogue *epilogue, uint32_t row, uint32_t rows, uint32_t column,
                            uint32_t count, const void *products, size_t stride) {
  const beta_qmm *job = epilogue->job;
  const int16_t *dot = products;
  const __mmask32 lanes = count == STEP ? UINT32_MAX : (1u << count) - 1;
  const uint32_t complement = job->o.encoding == BETA_ENC_S ? UINT32_MAX : 0;
  struct limits at = limits_at(job, row, column, count);
  uint8_t *to = job->o.row0 + row * job->o.stride + ((uint64_t)job->n0 + column) / 8;
  for (uint32_t r = 0; r < rows; r++, to += job->o.stride, dot += stride) {
    if (job->table_by_row) at = limits_at(job, row + r, column, count);
    const uint32_t bits = (complement ^ reach(_mm512_maskz_loadu_epi16(lanes, dot), at, true)) & lanes;
    memcpy(to, &bits, (count + 7) / 8);
  }
}

void beta_avx512_epilogue16(const struct beta_epilogue *epilogue, uint32_t row, uint32_t rows, uint32_t column,
                            uint32_t columns, const int16_t *dot, size_t stride) {
  if (epilogue->thresholds) {
    beta_avx512_thresholds(epilogue, row, rows, column, columns, dot, stride, sizeof *dot, STEP, compare_words, compare_columns);
    return;
  }
  const beta_matrix *o = &epilogue->job->o;
  for (uint32_t r = 0; r < rows; r++) {
    memcpy(o->row0 + (row + r) * o->stride + 2 * (uint64_t)column, dot + r * stride, 2 * (size_t)columns);
  }
}

#endif
