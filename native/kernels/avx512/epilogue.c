/* The epilogue (contract section 5), 16 columns at a time. */
#include "kernels/avx512/avx512.h"

#if defined(__x86_64__)

#include <string.h>

#define STEP 16u
#define HALF (INT64_C(1) << (BETA_EPILOGUE_SHIFT - 1))

/* The table's entries of up to 16 columns, or of one row in every lane. */
struct entries {
  __m512i bias, mul;
};

static inline struct entries load_entries(const beta_qmm *job, uint32_t first, __mmask16 lanes) {
  const uint8_t *from = job->table + (uint64_t)first * BETA_TABLE_ENTRY_BYTES;
  const __m512i low = _mm512_maskz_loadu_epi64((__mmask8)lanes, from);
  const __m512i high = _mm512_maskz_loadu_epi64((__mmask8)(lanes >> 8), from + 64);
  const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
  const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
  return (struct entries){_mm512_permutex2var_epi32(low, even, high), _mm512_permutex2var_epi32(low, odd, high)};
}

static inline struct entries row_entry(const beta_qmm *job, uint32_t row) {
  int32_t pair[2];
  memcpy(pair, job->table + (uint64_t)row * BETA_TABLE_ENTRY_BYTES, sizeof pair);
  return (struct entries){_mm512_set1_epi32(pair[0]), _mm512_set1_epi32(pair[1])};
}

static inline struct entries entries_at(const beta_qmm *job, uint32_t row, uint32_t column, __mmask16 lanes) {
  return job->table_by_row ? row_entry(job, row) : load_entries(job, column, lanes);
}

/* Columns [column, column + count) of `count` <= 16, and where their bits go: they lie inside one block. */
struct columns {
  __mmask16 lanes;
  uint32_t bytes;  /* of one plane: 1 or 2 */
  uint64_t offset; /* of plane 0 from the row's beginning */
};

static struct columns columns_of(const beta_qmm *job, uint32_t column, uint32_t count) {
  const uint64_t element = (uint64_t)job->n0 + column;
  return (struct columns){
      .lanes = (__mmask16)((1u << count) - 1),
      .bytes = (count + 7) / 8,
      .offset = element / BETA_BLOCK_ELEMENTS * BETA_BEAT_BYTES * job->o.bits + element % BETA_BLOCK_ELEMENTS / 8,
  };
}

static inline void store_bits(uint8_t *to, uint32_t bits, uint32_t bytes) {
  const uint16_t value = (uint16_t)bits;
  if (bytes == 2) {
    memcpy(to, &value, 2);
  } else {
    *to = (uint8_t)value;
  }
}

/* Clamped values of 16 columns; `low` and `high` as 64-bit elements. |s * mul| <= 2^62, so 64 bits hold all of it. */
static inline __m512i requantise(__m512i dot, struct entries entries, __m512i low, __m512i high) {
  const __m512i half = _mm512_set1_epi64(HALF);
  const __m512i s = _mm512_add_epi32(dot, entries.bias);
  const __m512i even = _mm512_mul_epi32(s, entries.mul);
  const __m512i odd = _mm512_mul_epi32(_mm512_srli_epi64(s, 32), _mm512_srli_epi64(entries.mul, 32));
  __m512i r0 = _mm512_srai_epi64(_mm512_add_epi64(even, half), BETA_EPILOGUE_SHIFT);
  __m512i r1 = _mm512_srai_epi64(_mm512_add_epi64(odd, half), BETA_EPILOGUE_SHIFT);
  r0 = _mm512_min_epi64(_mm512_max_epi64(r0, low), high);
  r1 = _mm512_min_epi64(_mm512_max_epi64(r1, low), high);
  return _mm512_mask_shuffle_epi32(r0, 0xAAAA, r1, (_MM_PERM_ENUM)0xA0);
}

/* What a pass over the columns knows of the output. */
struct output {
  const beta_qmm *job;
  uint32_t bits, encoding;
  __m512i low, high;
};

static struct output output_of(const struct beta_epilogue *epilogue) {
  const beta_matrix *o = &epilogue->job->o;
  int64_t low = -(INT64_C(1) << (o->bits - 1)), high = (INT64_C(1) << (o->bits - 1)) - 1;
  if (o->encoding == BETA_ENC_U) {
    low = 0;
    high = (INT64_C(1) << o->bits) - 1;
  } else if (o->encoding == BETA_ENC_PM1) {
    low = -1; /* the complement of the sign bit is the code */
    high = 0;
  }
  return (struct output){epilogue->job, o->bits, o->encoding, _mm512_set1_epi64(low), _mm512_set1_epi64(high)};
}

static inline void store_columns(const struct output *output, uint8_t *row, const struct columns *columns, __m512i dot,
                                 struct entries entries) {
  uint8_t *to = row + columns->offset;
  __m512i y = requantise(dot, entries, output->low, output->high);
  if (output->encoding == BETA_ENC_PM1) y = _mm512_add_epi32(y, _mm512_set1_epi32(1));
  for (uint32_t i = 0; i < output->bits; i++) {
    const __mmask16 plane = _mm512_test_epi32_mask(y, _mm512_set1_epi32(1 << i));
    store_bits(to + i * BETA_BEAT_BYTES, plane & columns->lanes, columns->bytes);
  }
}

/*
 * Where every multiplier is +-1.0, r = +-s exactly, and a one-bit code is a comparison. With t = s for +1.0 and t = -s - 1 for
 * -1.0, and n = 0 or -1 alike: r >= 0 is t > n - 1 and r >= 1 is t > n. S is set for r <= -1, the complement of PM1.
 */
static inline struct beta_comparison limits_at(const beta_qmm *job, uint32_t row, uint32_t column, __mmask16 lanes) {
  const struct entries entries = entries_at(job, row, column, lanes);
  const __m512i negative = _mm512_srai_epi32(entries.mul, 31);
  const int32_t above = job->o.encoding == BETA_ENC_U ? 0 : -1;
  return (struct beta_comparison){entries.bias, negative, _mm512_add_epi32(negative, _mm512_set1_epi32(above))};
}

struct beta_comparison beta_avx512_comparison_of(const beta_qmm *job, uint32_t column) {
  return limits_at(job, 0, column, 0xFFFF);
}

/* `flips`: some multiplier is -1.0. */
static inline __mmask16 reach(__m512i dot, struct beta_comparison limits, bool flips) {
  __m512i t = _mm512_add_epi32(dot, limits.bias);
  if (flips) t = _mm512_xor_si512(t, limits.negative);
  return _mm512_cmpgt_epi32_mask(t, limits.limit);
}

#define WORD 64u

/* Rows of 64 columns, whose bits are one word. */
static inline __attribute__((always_inline)) void compare_words_as(const beta_qmm *job, uint32_t row, uint32_t rows,
                                                                   uint32_t column, const int32_t *dot, size_t stride,
                                                                   bool flips) {
  const uint64_t complement = job->o.encoding == BETA_ENC_S ? UINT64_MAX : 0;
  uint8_t *to = job->o.row0 + row * job->o.stride + ((uint64_t)job->n0 + column) / 8;
  struct beta_comparison at[WORD / STEP];
  for (uint32_t i = 0; i < WORD / STEP; i++) at[i] = limits_at(job, row, column + STEP * i, 0xFFFF);
  for (uint32_t r = 0; r < rows; r++, to += job->o.stride, dot += stride) {
    if (job->table_by_row) at[0] = at[1] = at[2] = at[3] = limits_at(job, row + r, column, 0xFFFF);
    uint64_t word = complement;
#pragma GCC unroll 4
    for (uint32_t i = 0; i < WORD / STEP; i++) {
      word ^= (uint64_t)reach(_mm512_loadu_si512(dot + STEP * i), at[i], flips) << STEP * i;
    }
    memcpy(to, &word, sizeof word);
  }
}

static void compare_words(const struct beta_epilogue *epilogue, uint32_t row, uint32_t rows, uint32_t column, uint32_t count,
                          const void *dot, size_t stride) {
  (void)count;
  if (epilogue->flips) compare_words_as(epilogue->job, row, rows, column, dot, stride, true);
  else compare_words_as(epilogue->job, row, rows, column, dot, stride, false);
}

/* Rows of fewer columns. */
static void compare_columns(const struct beta_epilogue *epilogue, uint32_t row, uint32_t rows, uint32_t column,
                            uint32_t count, const void *products, size_t stride) {
  const beta_qmm *job = epilogue->job;
  const int32_t *dot = products;
  const struct columns columns = columns_of(job, column, count);
  const uint32_t complement = job->o.encoding == BETA_ENC_S ? UINT16_MAX : 0;
  for (uint32_t r = 0; r < rows; r++) {
    const struct beta_comparison at = limits_at(job, row + r, column, columns.lanes);
    const uint32_t bits = complement ^ reach(_mm512_maskz_loadu_epi32(columns.lanes, dot + r * stride), at, true);
    store_bits(job->o.row0 + (row + r) * job->o.stride + columns.offset, bits & columns.lanes, columns.bytes);
  }
}

void beta_avx512_thresholds(const struct beta_epilogue *epilogue, uint32_t row, uint32_t rows, uint32_t column,
                            uint32_t columns, const void *dot, size_t stride, size_t size, uint32_t step,
                            beta_avx512_compare *words, beta_avx512_compare *fewer) {
  for (uint32_t done = 0; done < columns;) {
    const uint32_t element = epilogue->job->n0 + column + done, left = columns - done;
    const bool whole = element % WORD == 0 && left >= WORD;
    const uint32_t room = step - element % step, count = whole ? WORD : left < room ? left : room;
    (whole ? words : fewer)(epilogue, row, rows, column + done, count, (const uint8_t *)dot + size * done, stride);
    done += count;
  }
}

static void store_planes(const struct output *output, uint32_t row, uint32_t rows, uint32_t column, uint32_t columns,
                         const int32_t *dot, size_t stride) {
  const beta_qmm *job = output->job;
  for (uint32_t done = 0; done < columns;) {
    /* A step never crosses a block of 128: it ends on a multiple of 16. */
    const uint32_t room = STEP - (job->n0 + column + done) % STEP;
    const uint32_t count = columns - done < room ? columns - done : room;
    const struct columns at = columns_of(job, column + done, count);
    struct entries entries = entries_at(job, row, column + done, at.lanes);
    for (uint32_t r = 0; r < rows; r++) {
      if (job->table_by_row) entries = row_entry(job, row + r);
      store_columns(output, job->o.row0 + (row + r) * job->o.stride, &at,
                    _mm512_maskz_loadu_epi32(at.lanes, dot + r * stride + done), entries);
    }
    done += count;
  }
}

static void store_int16(const struct output *output, uint32_t row, uint32_t rows, uint32_t column, uint32_t columns,
                        const int32_t *dot, size_t stride) {
  const beta_qmm *job = output->job;
  for (uint32_t done = 0; done < columns; done += STEP) {
    const uint32_t count = columns - done < STEP ? columns - done : STEP;
    const __mmask16 lanes = (__mmask16)((1u << count) - 1);
    struct entries entries = entries_at(job, row, column + done, lanes);
    for (uint32_t r = 0; r < rows; r++) {
      if (job->table_by_row) entries = row_entry(job, row + r);
      const __m512i y = requantise(_mm512_maskz_loadu_epi32(lanes, dot + r * stride + done), entries, output->low,
                                   output->high);
      uint8_t *to = job->o.row0 + (row + r) * job->o.stride + 2 * (uint64_t)(column + done);
      _mm256_mask_storeu_epi16(to, lanes, _mm512_cvtepi32_epi16(y));
    }
  }
}

/* The same for a table of identities: products, saturated. */
static void store_saturated(const beta_qmm *job, uint32_t row, uint32_t rows, uint32_t column, uint32_t columns,
                            const int32_t *dot, size_t stride) {
  for (uint32_t r = 0; r < rows; r++) {
    uint8_t *to = job->o.row0 + (row + r) * job->o.stride + 2 * (uint64_t)column;
    for (uint32_t done = 0; done < columns; done += STEP) {
      const uint32_t count = columns - done < STEP ? columns - done : STEP;
      const __mmask16 lanes = (__mmask16)((1u << count) - 1);
      const __m512i products = _mm512_maskz_loadu_epi32(lanes, dot + r * stride + done);
      _mm256_mask_storeu_epi16(to + 2 * (uint64_t)done, lanes, _mm512_cvtsepi32_epi16(products));
    }
  }
}

static void store_int32(const beta_qmm *job, uint32_t row, uint32_t rows, uint32_t column, uint32_t columns,
                        const int32_t *dot, size_t stride) {
  for (uint32_t r = 0; r < rows; r++) {
    uint8_t *to = job->o.row0 + (row + r) * job->o.stride + 4 * (uint64_t)column;
    for (uint32_t done = 0; done < columns; done += STEP) {
      const uint32_t count = columns - done < STEP ? columns - done : STEP;
      const __mmask16 lanes = (__mmask16)((1u << count) - 1);
      _mm512_mask_storeu_epi32(to + 4 * (uint64_t)done, lanes,
                               _mm512_maskz_loadu_epi32(lanes, dot + r * stride + done));
    }
  }
}

void beta_avx512_epilogue(const struct beta_epilogue *epilogue, uint32_t row, uint32_t rows, uint32_t column,
                          uint32_t columns, const int32_t *dot, size_t stride) {
  if (epilogue->job->o.bits == 32) {
    store_int32(epilogue->job, row, rows, column, columns, dot, stride);
  } else if (epilogue->thresholds) {
    beta_avx512_thresholds(epilogue, row, rows, column, columns, dot, stride, sizeof *dot, STEP, compare_words, compare_columns);
  } else if (epilogue->identity) {
    store_saturated(epilogue->job, row, rows, column, columns, dot, stride);
  } else if (epilogue->job->o.bits == 16) {
    const struct output output = output_of(epilogue);
    store_int16(&output, row, rows, column, columns, dot, stride);
  } else {
    const struct output output = output_of(epilogue);
    store_planes(&output, row, rows, column, columns, dot, stride);
  }
}

#endif
