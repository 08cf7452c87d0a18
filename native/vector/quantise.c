/* Activation quantisers of a row: which coder, and where planes and sums go. Decisions are made in double. */
#include <math.h>
#include <string.h>

#include "beta_contract.h"
#include "vector.h"

/* The released code's guard against a range of zero (BinaryBERT, asymmetric). */
#define RANGE_GUARD 1e-8

/* Adding 0 makes a zero positive: which zero a range met first must not show. */
beta_found beta_range_found(const beta_step_quantise *q, beta_range range) {
  const double low = range.low + 0.0, high = range.high + 0.0;
  switch (q->kind) {
    case BETA_STEP_QUANTISER_SYMMETRIC: return (beta_found){.step = fmax(fabs(low), fabs(high)) / q->qmax, .t = 0};
    case BETA_STEP_QUANTISER_ASYMMETRIC: return (beta_found){.step = (high - low + RANGE_GUARD) / q->qmax, .t = low};
    default: return (beta_found){.step = q->step, .t = low};
  }
}

/* Whether x * (1 / step) is as near to x / step as lanes/quantise.h takes it to be: neither leaves the normal numbers. */
static int has_inverse(double step) { return isnormal(step) && isnormal(1 / step); }

beta_coder beta_coder_of(const beta_vector *v, const beta_step_quantise *q, beta_found found) {
  return (beta_coder){
      .shift = beta_optional(v, q->shift_off),
      .clips = q->kind >= BETA_STEP_QUANTISER_SYMMETRIC,
      .clip_low = q->clip_low,
      .clip_high = q->clip_high,
      .t = found.t,
      .step = found.step,
      .low = q->qmin,
      .high = q->qmax,
      .inverse = has_inverse(found.step) ? 1 / found.step : 0,
  };
}

/* Sum of the codes of a row of planes: plane by plane, because bits outside the row are 0. */
static int64_t sum_of(const uint8_t *planes, uint32_t width, uint8_t format) {
  const unsigned bits = 1u << (format & BETA_FMT_WIDTH_MASK), encoding = format >> BETA_FMT_ENC_SHIFT & BETA_FMT_ENC_MASK;
  const uint32_t blocks = (width + BETA_BLOCK_ELEMENTS - 1) / BETA_BLOCK_ELEMENTS;
  int64_t sum = 0;
  for (unsigned plane = 0; plane < bits; plane++) {
    int64_t count = 0;
    for (uint32_t block = 0; block < blocks; block++) {
      uint64_t words[2];
      memcpy(words, planes + ((size_t)block * bits + plane) * BETA_BEAT_BYTES, sizeof words);
      count += __builtin_popcountll(words[0]) + __builtin_popcountll(words[1]);
    }
    const int negative = encoding == BETA_ENC_S && plane == bits - 1;
    sum += negative ? -count * (1 << plane) : count * (1 << plane);
  }
  return encoding == BETA_ENC_PM1 ? 2 * sum - width : sum;
}

static uint8_t *planes_at(const beta_vector *v, const beta_step_quantise *q, uint32_t row) {
  return (uint8_t *)beta_at(v, q->out_off) + (size_t)row * q->out_stride;
}

/* The sum of the real values of the codes, block after block of rows. */
void beta_leave_sum(const beta_vector *v, const beta_step_quantise *q, const beta_coder *coder, uint32_t width, uint32_t row) {
  if (!q->sums_off) return;
  uint8_t *block = (uint8_t *)beta_at(v, q->sums_off) + (size_t)(row / q->sums_rows) * q->sums_stride;
  ((double *)(void *)block)[row % q->sums_rows] = coder->step * (double)sum_of(planes_at(v, q, row), width, q->format) + coder->t * width;
}

void beta_leave_part(const beta_vector *v, const beta_step_quantise *q, uint8_t *codes, uint32_t begin, uint32_t width, uint32_t row) {
  const unsigned bits = 1u << (q->format & BETA_FMT_WIDTH_MASK);
  v->kernel->pack(codes, width, bits, planes_at(v, q, row) + (size_t)(begin / BETA_BLOCK_ELEMENTS) * BETA_BEAT_BYTES * bits);
}

void beta_leave_codes(const beta_vector *v, const beta_step_quantise *q, const beta_coder *coder, uint8_t *codes, uint32_t width, uint32_t row) {
  beta_leave_part(v, q, codes, 0, width, row);
  beta_leave_sum(v, q, coder, width, row);
}

void beta_code_part(const beta_vector *v, const beta_step_quantise *q, const beta_coder *coder, const double *x, uint32_t begin, uint32_t width,
                    uint8_t *codes) {
  beta_coder part = *coder;
  if (part.shift) part.shift += begin;
  /* A symmetric range of zero has step 0 and codes 0. */
  if (q->kind == BETA_STEP_QUANTISER_SYMMETRIC && !(coder->step > 0)) memset(codes, 0, width);
  else v->kernel->codes(&part, x, width, codes);
}

/* Codes by a line, and where it leaves doubts by the values themselves. */
static void line_row(const beta_vector *v, const beta_step_quantise *q, const beta_coder *coder, const beta_line *line, const double *x,
                     const float *rounded, uint32_t width, uint8_t *codes) {
  uint16_t doubtful[BETA_STEP_WIDTH_MAX / BETA_LINE_CHUNK];
  beta_line of_row = *line;
  of_row.numbers = rounded;
  const uint32_t doubts = v->kernel->line_codes(&of_row, width, codes, doubtful);
  for (uint32_t i = 0; i < doubts; i++) {
    const uint32_t begin = doubtful[i] * BETA_LINE_CHUNK, left = width - begin;
    beta_code_part(v, q, coder, x + begin, begin, left < BETA_LINE_CHUNK ? left : BETA_LINE_CHUNK, codes + begin);
  }
}

void beta_quantise_row(const beta_vector *v, const beta_step_quantise *q, const beta_coder *coder, const beta_line *line, const double *x,
                       const float *rounded, uint32_t width, uint32_t row) {
  if (q->kind == BETA_STEP_QUANTISER_SIGN) {
    const int pm1 = (q->format >> BETA_FMT_ENC_SHIFT & BETA_FMT_ENC_MASK) == BETA_ENC_PM1;
    v->kernel->signs(x, rounded, coder->shift, width, pm1, 1u << (q->format & BETA_FMT_WIDTH_MASK), planes_at(v, q, row));
    beta_leave_sum(v, q, coder, width, row);
    return;
  }
  uint8_t codes[BETA_STEP_WIDTH_MAX];
  if (line) line_row(v, q, coder, line, x, rounded, width, codes);
  else beta_code_part(v, q, coder, x, 0, width, codes);
  beta_leave_codes(v, q, coder, codes, width, row);
}
