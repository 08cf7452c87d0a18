/*
 * The exact epilogue, 8 columns at a time.
 *
 * The contract's r = floor((s * mul + 2^23) / 2^24) needs a 64-bit product p, and AVX2 has neither an arithmetic 64-bit shift nor a
 * 64-bit minimum. With p + 2^23 = 2^32 high + low, r is 256 high + floor(low / 2^24): high is clamped to +-2^16 first, which keeps an
 * r that any output format can hold, and leaves every other beyond the end of all of them; 32 bits do the rest.
 *
 * Thresholds (epilogue.h) need no multiplication. With m = mul >> 31 (0 or -1) and x = s ^ m, which is s or -s - 1:
 * r >= 0 is x > m - 1, r >= 1 is x > m, and r <= -1 is not r >= 0.
 */
#include "kernels/epilogue.h"

#include "kernels/avx2/avx2.h"

#if defined(__x86_64__)

#include <string.h>

#define STEP 8u
#define HALF (INT64_C(1) << (BETA_EPILOGUE_SHIFT - 1))
#define HIGH_MAX (1 << 16)

_Static_assert(BETA_EPILOGUE_SHIFT == 24, "a result is 256 times the high half and the top 8 bits of the low one");

/* The table's entries of 8 columns, or of one row in every lane. */
struct entries {
  __m256i bias, mul;
};

static inline struct entries entries_at(const beta_qmm *job, uint32_t row, uint32_t column) {
  const uint8_t *from = job->table + (uint64_t)(job->table_by_row ? row : column) * BETA_TABLE_ENTRY_BYTES;
  if (job->table_by_row) {
    int32_t pair[2];
    memcpy(pair, from, sizeof pair);
    return (struct entries){_mm256_set1_epi32(pair[0]), _mm256_set1_epi32(pair[1])};
  }
  /* Biases to the low halves, multipliers to the high ones. */
  const __m256i order = _mm256_set_epi32(7, 5, 3, 1, 6, 4, 2, 0);
  const __m256i a = _mm256_permutevar8x32_epi32(beta_load256(from), order);
  const __m256i b = _mm256_permutevar8x32_epi32(beta_load256(from + 32), order);
  return (struct entries){_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31)};
}

/* What a pass over the rows knows of the output. */
struct output {
  const beta_qmm *job;
  __m256i low, high; /* ends of the range */
};

static struct output output_of(const beta_qmm *job) {
  const beta_matrix *o = &job->o;
  const bool is_unsigned = o->encoding == BETA_ENC_U;
  const int32_t low = is_unsigned ? 0 : -(1 << (o->bits - 1)), high = (int32_t)((1u << o->bits) - 1) + low;
  return (struct output){job, _mm256_set1_epi32(low), _mm256_set1_epi32(high)};
}

/* r of 8 columns where it is within +-2^24, else anything beyond on its side. */
static inline __m256i requantise(__m256i dot, struct entries entries) {
  const __m256i half = _mm256_set1_epi64x(HALF), s = _mm256_add_epi32(dot, entries.bias);
  const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(s, entries.mul), half);
  const __m256i odd =
      _mm256_add_epi64(_mm256_mul_epi32(_mm256_srli_epi64(s, 32), _mm256_srli_epi64(entries.mul, 32)), half);
  const __m256i low = _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xAA);
  const __m256i high = _mm256_blend_epi32(_mm256_srli_epi64(even, 32), odd, 0xAA);
  const __m256i clamped =
      _mm256_min_epi32(_mm256_max_epi32(high, _mm256_set1_epi32(-HIGH_MAX)), _mm256_set1_epi32(HIGH_MAX));
  return _mm256_or_si256(_mm256_slli_epi32(clamped, 8), _mm256_srli_epi32(low, 24));
}

static inline __m256i clamp(const struct output *output, __m256i r) {
  return _mm256_min_epi32(_mm256_max_epi32(r, output->low), output->high);
}

static inline uint8_t sign_bits(__m256i x) { return (uint8_t)_mm256_movemask_ps(_mm256_castsi256_ps(x)); }

/* The codes of 8 columns: their low bits are the planes. */
static inline __m256i encode(const struct output *output, __m256i r) {
  if (output->job->o.encoding != BETA_ENC_PM1) return clamp(output, r);
  return _mm256_cmpgt_epi32(r, _mm256_set1_epi32(-1));
}

/* Where the bits of 8 columns, which share a byte of each plane and so lie inside one block, begin. */
static inline uint8_t *byte_of(const beta_qmm *job, uint32_t row, uint32_t column) {
  const uint32_t element = job->n0 + column;
  return job->o.row0 + row * job->o.stride +
         (uint64_t)(element / BETA_BLOCK_ELEMENTS) * BETA_BEAT_BYTES * job->o.bits + element % BETA_BLOCK_ELEMENTS / 8;
}

/* m of 8 columns, and what x is compared with. */
struct thresholds {
  __m256i bias, m, limit;
};

static inline struct thresholds thresholds_at(const beta_qmm *job, uint32_t row, uint32_t column) {
  const struct entries entries = entries_at(job, row, column);
  const __m256i m = _mm256_srai_epi32(entries.mul, 31);
  const __m256i below = _mm256_set1_epi32(job->o.encoding == BETA_ENC_U ? 0 : -1);
  return (struct thresholds){entries.bias, m, _mm256_add_epi32(m, below)};
}

static inline void compare(const beta_qmm *job, uint32_t row, uint32_t rows, uint32_t column, const int32_t *dot,
                           size_t stride) {
  const uint8_t complement = job->o.encoding == BETA_ENC_S ? 0xFF : 0;
  const uint64_t out_stride = job->o.stride;
  const bool by_row = job->table_by_row;
  uint8_t *to = byte_of(job, row, column);
  struct thresholds at = thresholds_at(job, row, column);
  for (uint32_t r = 0; r < rows; r++, to += out_stride, dot += stride) {
    if (by_row) at = thresholds_at(job, row + r, column);
    const __m256i x = _mm256_xor_si256(_mm256_add_epi32(beta_load256(dot), at.bias), at.m);
    *to = (uint8_t)(sign_bits(_mm256_cmpgt_epi32(x, at.limit)) ^ complement);
  }
}

static inline void store_planes(const struct output *output, uint32_t row, uint32_t rows, uint32_t column,
                                const int32_t *dot, size_t stride) {
  const beta_qmm *job = output->job;
  const uint32_t bits = job->o.bits;
  uint8_t *to = byte_of(job, row, column);
  struct entries entries = entries_at(job, row, column);
  for (uint32_t r = 0; r < rows; r++, to += job->o.stride, dot += stride) {
    if (job->table_by_row) entries = entries_at(job, row + r, column);
    const __m256i codes = encode(output, requantise(beta_load256(dot), entries));
    for (uint32_t plane = 0; plane < bits; plane++) {
      to[plane * BETA_BEAT_BYTES] = sign_bits(_mm256_sll_epi32(codes, _mm_cvtsi32_si128((int)(31 - plane))));
    }
  }
}

static inline void store_int16(const struct output *output, uint32_t row, uint32_t rows, uint32_t column,
                               const int32_t *dot, size_t stride) {
  const beta_qmm *job = output->job;
  uint8_t *to = job->o.row0 + row * job->o.stride + 2 * (uint64_t)column;
  struct entries entries = entries_at(job, row, column);
  for (uint32_t r = 0; r < rows; r++, to += job->o.stride, dot += stride) {
    if (job->table_by_row) entries = entries_at(job, row + r, column);
    const __m256i y = requantise(beta_load256(dot), entries);
    const __m128i packed = _mm_packs_epi32(_mm256_castsi256_si128(y), _mm256_extracti128_si256(y, 1));
    _mm_storeu_si128((__m128i *)(void *)to, packed);
  }
}

static void store_int32(const beta_matrix *o, uint32_t row, uint32_t rows, uint32_t column, uint32_t columns,
                        const int32_t *dot, size_t stride) {
  for (uint32_t r = 0; r < rows; r++) {
    memcpy(o->row0 + (row + r) * o->stride + 4 * (uint64_t)column, dot + r * stride, 4 * (size_t)columns);
  }
}

void beta_avx2_epilogue(const struct beta_epilogue *epilogue, uint32_t row, uint32_t rows, uint32_t column,
                        uint32_t columns, const int32_t *dot, size_t stride) {
  const beta_qmm *job = epilogue->job;
  if (job->o.bits == 32) {
    store_int32(&job->o, row, rows, column, columns, dot, stride);
    return;
  }
  const struct output output = output_of(job);
  const uint32_t whole = columns / STEP * STEP;
  for (uint32_t i = 0; i < whole; i += STEP) {
    if (epilogue->thresholds) {
      compare(job, row, rows, column + i, dot + i, stride);
    } else if (job->o.bits == 16) {
      store_int16(&output, row, rows, column + i, dot + i, stride);
    } else {
      store_planes(&output, row, rows, column + i, dot + i, stride);
    }
  }
  if (whole < columns) {
    beta_epilogue_portable(epilogue, row, rows, column + whole, columns - whole, dot + whole, stride);
  }
}

#endif
