/*
 * Operands as numbers of one kind, for methods whose inner loops know one format.
 *
 * A value is scale * code + offset. Unsigned codes: U is its own code; S has its top plane inverted and an offset of
 * -2^(bits-1); PM1 is 2 * bit - 1. With codes a and b,
 *   D = sum (sa a + oa)(sb b + ob) = sa sb sum(ab) + sa ob sum(a) + oa sb sum(b) + oa ob K.
 * Elements outside [k0, k0 + K) have code 0 and add nothing to any sum.
 */
#ifndef BETA_KERNELS_CODES_H
#define BETA_KERNELS_CODES_H

#include "kernels/formats.h"
#include "kernels/method.h"

/* Words of 64 elements that a row of K = 16384 touches from the worst k0, and its elements in whole words. */
#define BETA_CODE_WORDS_MAX (BETA_MAX_K_LIMIT / 64 + 2)
#define BETA_CODES_MAX (BETA_CODE_WORDS_MAX * 64)

/* How values are coded. `flip` is what the planes' number is xored with to give the code. */
struct beta_code {
  uint8_t flip;
  int32_t scale, offset;
};

/* Codes from 0 to 2^bits - 1. */
static inline struct beta_code beta_code_unsigned(const beta_matrix *matrix) {
  if (matrix->encoding == BETA_ENC_PM1) return (struct beta_code){0, 2, -1};
  if (matrix->encoding == BETA_ENC_U) return (struct beta_code){0, 1, 0};
  const uint8_t top = (uint8_t)(1u << (matrix->bits - 1));
  return (struct beta_code){top, 1, -(int32_t)top};
}

/* Words of a row. */
static inline uint32_t beta_code_words(const beta_pair *pair) { return beta_word_count(pair->k0, pair->k); }

/* What each sum of the formula above is multiplied with. */
struct beta_terms {
  int32_t product, held_sum, streamed_sum, constant;
};

static inline struct beta_terms beta_terms_of(struct beta_code held, struct beta_code streamed, uint32_t k) {
  return (struct beta_terms){.product = held.scale * streamed.scale,
                             .held_sum = held.scale * streamed.offset,
                             .streamed_sum = streamed.scale * held.offset,
                             .constant = held.offset * streamed.offset * (int32_t)k};
}

#endif
