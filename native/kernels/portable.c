/*
 * The kernel for every CPU: bit-planes and population counts on 64-bit words.
 *
 * A value is sum over planes i of c_i * bit_i + z: U has c_i = 2^i, S the same with a negative top plane, PM1 (2b - 1)
 * has c_0 = 2 and z = -1. So with |x| the number of ones,
 *   D = sum_i sum_j ca_i cb_j |A_i & B_j| + zb sum_i ca_i |A_i| + za sum_j cb_j |B_j| + za zb K,
 * where A_i and B_j are the planes with every bit outside [k0, k0+K) cleared. One formula for every pair of formats.
 */
#include <string.h>

#include "kernels/epilogue.h"
#include "kernels/kernel.h"

#define WORDS_PER_BLOCK (BETA_BLOCK_ELEMENTS / 64)
#define MAX_WORDS (BETA_MAX_BLOCKS * WORDS_PER_BLOCK)
#define MAX_PLANES 8u
#define TILE_ROWS 4u /* rows of A that share one unpacked row of B; 64 KiB of stack at most */

/* One row with its planes one after another, bits outside [k0, k0+K) cleared. */
struct planes {
  uint64_t word[MAX_PLANES][MAX_WORDS];
  int32_t ones; /* sum over planes of c_i |plane_i| */
};

/* The coefficients of a format. */
struct weights {
  uint32_t planes;
  int32_t c[MAX_PLANES];
  int32_t z;
};

static struct weights weights_of(const beta_matrix *matrix) {
  struct weights weights = {.planes = matrix->bits};
  for (uint32_t i = 0; i < matrix->bits; i++) weights.c[i] = (int32_t)1 << i;
  if (matrix->encoding == BETA_ENC_S) weights.c[matrix->bits - 1] *= -1;
  if (matrix->encoding == BETA_ENC_PM1) {
    weights.c[0] = 2;
    weights.z = -1;
  }
  return weights;
}

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
static uint32_t and_ones(const uint64_t *a, const uint64_t *b, uint32_t words) {
  enum { CHUNK = 31 };
  uint32_t total = 0;
  for (uint32_t begin = 0; begin < words; begin += CHUNK) {
    const uint32_t end = words - begin < CHUNK ? words : begin + CHUNK;
    uint64_t bytes = 0;
    for (uint32_t i = begin; i < end; i++) bytes += byte_counts(a[i] & b[i]);
    total += byte_sum(bytes);
  }
  return total;
}

/* Ones from bit `first` (0..127) on, `count` of them, over whole blocks; returns the number of words. */
static uint32_t make_mask(uint64_t *mask, uint32_t first, uint32_t count) {
  const uint32_t end = first + count;
  const uint32_t words = (end + BETA_BLOCK_ELEMENTS - 1) / BETA_BLOCK_ELEMENTS * WORDS_PER_BLOCK;
  for (uint32_t i = 0; i < words; i++) {
    const uint32_t low = i * 64;
    uint64_t bits = UINT64_MAX;
    if (first > low) bits = first - low < 64 ? bits << (first - low) : 0;
    if (end < low + 64) bits = end > low ? bits & UINT64_MAX >> (low + 64 - end) : 0;
    mask[i] = bits;
  }
  return words;
}

/* Unpacks one row of the window; `mask` has `words` words. */
static void unpack(struct planes *out, const uint8_t *row, const struct weights *weights, const uint64_t *mask,
                   uint32_t words) {
  out->ones = 0;
  for (uint32_t plane = 0; plane < weights->planes; plane++) {
    uint64_t *word = out->word[plane];
    const uint8_t *from = row + (uint64_t)plane * BETA_BEAT_BYTES;
    for (uint32_t i = 0; i < words; i += WORDS_PER_BLOCK) {
      memcpy(word + i, from, BETA_BEAT_BYTES);
      from += (uint64_t)weights->planes * BETA_BEAT_BYTES;
    }
    for (uint32_t i = 0; i < words; i++) word[i] &= mask[i];
    out->ones += weights->c[plane] * (int32_t)and_ones(word, mask, words);
  }
}

static int32_t dot_product(const struct planes *a, const struct weights *wa, const struct planes *b,
                           const struct weights *wb, uint32_t words, int32_t k) {
  /* abs(D) < 2^31 by MAX_K, and so is every partial sum: each term is bounded by K * 255 * 255. */
  int32_t sum = wb->z * a->ones + wa->z * b->ones + wa->z * wb->z * k;
  for (uint32_t i = 0; i < wa->planes; i++) {
    for (uint32_t j = 0; j < wb->planes; j++) {
      sum += wa->c[i] * wb->c[j] * (int32_t)and_ones(a->word[i], b->word[j], words);
    }
  }
  return sum;
}

static void qmm(const beta_qmm *job, uint32_t row_begin, uint32_t row_end) {
  const struct weights wa = weights_of(&job->a), wb = weights_of(&job->b);
  uint64_t mask[MAX_WORDS];
  const uint32_t words = make_mask(mask, job->k0, job->k);
  struct planes a[TILE_ROWS], b;
  int32_t dot[TILE_ROWS][BETA_BLOCK_ELEMENTS];

  for (uint32_t row = row_begin; row < row_end;) {
    const uint32_t rows = row_end - row < TILE_ROWS ? row_end - row : TILE_ROWS;
    for (uint32_t r = 0; r < rows; r++) {
      unpack(&a[r], job->a.row0 + (uint64_t)(row + r) * job->a.stride, &wa, mask, words);
    }
    for (uint32_t column = 0; column < job->n;) {
      /* Up to the end of the output's block, which is what the epilogue writes at once. */
      const uint32_t room = BETA_BLOCK_ELEMENTS - (uint32_t)(((uint64_t)job->n0 + column) % BETA_BLOCK_ELEMENTS);
      const uint32_t columns = job->n - column < room ? job->n - column : room;
      for (uint32_t c = 0; c < columns; c++) {
        unpack(&b, job->b.row0 + (uint64_t)(column + c) * job->b.stride, &wb, mask, words);
        for (uint32_t r = 0; r < rows; r++) dot[r][c] = dot_product(&a[r], &wa, &b, &wb, words, (int32_t)job->k);
      }
      for (uint32_t r = 0; r < rows; r++) beta_epilogue_row(job, row + r, column, columns, dot[r]);
      column += columns;
    }
    row += rows;
  }
}

static int supported(void) { return 1; }

const struct beta_kernel beta_kernel_portable = {"portable", supported, qmm};
