/*
 * The kernel for every CPU: bit-planes and population counts on 64-bit words.
 *
 * With |x| the number of ones and the coefficients of formats.h,
 *   D = sum_i sum_j ca_i cb_j |A_i & B_j| + zb sum_i ca_i |A_i| + za sum_j cb_j |B_j| + za zb K,
 * where A_i and B_j are the planes with every bit outside [k0, k0+K) cleared. One formula for every pair of formats.
 *
 * Both operands are laid out alike: a row is the sum over its planes of c_i |plane_i|, in one word, then its planes.
 */
#include <string.h>

#include "kernels/blocks.h"
#include "kernels/formats.h"

#define ROWS 4u
#define COLUMNS 1024u

/* Ones in each byte. */
static inline uint64_t byte_counts(uint64_t x) {
  x -= x >> 1 & UINT64_C(0x5555555555555555);
  x = (x & UINT64_C(0x3333333333333333)) + (x >> 2 & UINT64_C(0x3333333333333333));
  return (x + (x >> 4)) & UINT64_C(0x0F0F0F0F0F0F0F0F);
}

/* Sum of the eight bytes. */
static inline uint32_t byte_sum(uint64_t x) {
  const uint64_t pairs = (x & UINT64_C(0x00FF00FF00FF00FF)) + (x >> 8 & UINT64_C(0x00FF00FF00FF00FF));
  return (uint32_t)(pairs * UINT64_C(0x0001000100010001) >> 48);
}

/*
 * Ones in a & b. Plain arithmetic instead of a popcount builtin, which is a library call on x86-64 without -mpopcnt:
 * compilers turn these loops into vector code. A byte counts to 8 per word, so 31 words fit before it must be summed.
 */
static int32_t and_ones(const uint64_t *a, const uint64_t *b, uint32_t words) {
  enum { CHUNK = 31 };
  uint32_t total = 0;
  for (uint32_t begin = 0; begin < words; begin += CHUNK) {
    const uint32_t end = words - begin < CHUNK ? words : begin + CHUNK;
    uint64_t bytes = 0;
    for (uint32_t i = begin; i < end; i++) bytes += byte_counts(a[i] & b[i]);
    total += byte_sum(bytes);
  }
  return (int32_t)total;
}

/* 64-bit words of one laid out row. */
static size_t row_words(const beta_pair *pair, const beta_matrix *matrix) {
  return 1 + (size_t)matrix->bits * beta_word_count(pair->k0, pair->k);
}

static size_t held_bytes(const beta_pair *pair) { return 8 * row_words(pair, &pair->held); }
static size_t streamed_bytes(const beta_pair *pair) { return 8 * ROWS * row_words(pair, &pair->streamed); }

static void lay_out(const beta_pair *pair, const beta_matrix *matrix, uint32_t row, uint64_t *to) {
  const struct beta_coefficients of = beta_coefficients_of(matrix);
  const uint8_t *from = matrix->row0 + row * matrix->stride;
  const uint32_t first = beta_first_word(pair->k0), words = beta_word_count(pair->k0, pair->k);
  int64_t sum = 0;
  uint64_t *plane = to + 1;
  for (uint32_t i = 0; i < of.planes; i++, plane += words) {
    for (uint32_t w = 0; w < words; w++) {
      memcpy(plane + w, from + beta_word_offset(matrix, first + w, i), 8);
      plane[w] &= beta_word_mask(first + w, pair->k0, pair->k);
    }
    sum += of.c[i] * and_ones(plane, plane, words);
  }
  memcpy(to, &sum, 8);
}

static void hold(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  if (count > 0) lay_out(pair, &pair->held, first, (uint64_t *)(void *)to);
}

static void stream(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  const size_t words = row_words(pair, &pair->streamed);
  for (uint32_t r = 0; r < count; r++) lay_out(pair, &pair->streamed, first + r, (uint64_t *)(void *)to + r * words);
}

static int32_t dot_product(const uint64_t *a, const struct beta_coefficients *ca, const uint64_t *b,
                           const struct beta_coefficients *cb, uint32_t words, int32_t k) {
  /* abs(D) < 2^31 by MAX_K, and so is every partial sum: each term is bounded by K * 255 * 255. */
  int32_t sum = cb->z * (int32_t)(int64_t)a[0] + ca->z * (int32_t)(int64_t)b[0] + ca->z * cb->z * k;
  for (uint32_t i = 0; i < ca->planes; i++) {
    for (uint32_t j = 0; j < cb->planes; j++) {
      sum += ca->c[i] * cb->c[j] * and_ones(a + 1 + i * words, b + 1 + j * words, words);
    }
  }
  return sum;
}

static void multiply(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed,
                     uint32_t count, int32_t *dot, size_t dot_stride) {
  const struct beta_coefficients held_of = beta_coefficients_of(&pair->held);
  const struct beta_coefficients streamed_of = beta_coefficients_of(&pair->streamed);
  const uint32_t words = beta_word_count(pair->k0, pair->k);
  const size_t group_bytes = (held_bytes(pair) + BETA_METHOD_ALIGN - 1) / BETA_METHOD_ALIGN * BETA_METHOD_ALIGN;
  const size_t streamed_words = row_words(pair, &pair->streamed);
  for (uint32_t g = 0; g < groups; g++) {
    const uint64_t *row = (const uint64_t *)(const void *)(held + g * group_bytes);
    for (uint32_t r = 0; r < count; r++) {
      dot[r * dot_stride + g] = dot_product((const uint64_t *)(const void *)streamed + r * streamed_words, &streamed_of,
                                            row, &held_of, words, (int32_t)pair->k);
    }
  }
}

static const struct beta_method popcount = {"popcount",     1,    ROWS,   COLUMNS, held_bytes,
                                            streamed_bytes, hold, stream, multiply, NULL, NULL};

static const struct beta_method *choose(const beta_qmm *job, bool *hold_a) {
  (void)job;
  *hold_a = false;
  return &popcount;
}

static bool supported(void) { return true; }

const struct beta_kernel beta_kernel_portable = {"portable", supported, choose, beta_epilogue_portable, beta_turn_portable,
                                                 NULL, NULL, NULL};
