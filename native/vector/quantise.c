/* Activation quantisers: real values to integer codes to bit-planes (CONTRACT 4). Decisions are made in double. */
#include <math.h>
#include <string.h>

#include "beta_contract.h"
#include "vector.h"

/* The released code's guard against a range of zero (BinaryBERT, asymmetric). */
#define RANGE_GUARD 1e-8

/*
 * Round half to even for |x| < 2^51 without a libm call: adding 1.5*2^52 leaves no fraction bits. Needs the default
 * rounding mode and no -ffast-math, both of which the Makefile and the ABI give.
 */
static inline double rne(double x) {
  const double magic = 6755399441055744.0;
  return (x + magic) - magic;
}

/* NaN becomes `low`: a damaged constant then gives a wrong answer, never an undefined conversion. */
static inline double clip(double x, double low, double high) { return x > low ? x < high ? x : high : low; }

static inline int clips(const beta_step_quantise *q) { return q->kind >= BETA_STEP_QUANTISER_SYMMETRIC; }

/* The value that is quantised: shifted, and clipped where the quantiser learned bounds. */
static inline double prepared(const beta_step_quantise *q, const float *shift, const double *x, uint32_t i) {
  const double value = shift ? x[i] + shift[i] : x[i];
  return clips(q) ? clip(value, q->clip_low, q->clip_high) : value;
}

/* Packs codes into planes: plane i of element e is bit i of code[e]; two's complement needs no special case. */
static void pack(const uint8_t *code, uint32_t width, unsigned bits, uint8_t *row) {
  memset(row, 0, (size_t)((width + BETA_BLOCK_ELEMENTS - 1) / BETA_BLOCK_ELEMENTS) * BETA_BEAT_BYTES * bits);
  for (uint32_t element = 0; element < width; element++) {
    uint8_t *block = row + (size_t)(element / BETA_BLOCK_ELEMENTS) * BETA_BEAT_BYTES * bits;
    const uint32_t byte = element % BETA_BLOCK_ELEMENTS / 8;
    for (unsigned plane = 0; plane < bits; plane++) {
      block[plane * BETA_BEAT_BYTES + byte] |= (uint8_t)((code[element] >> plane & 1u) << (element % 8));
    }
  }
}

void beta_range_add(const beta_vector *v, const beta_step_quantise *q, const double *x, uint32_t width, beta_range *range) {
  const float *shift = q->shift_off ? beta_at(v, q->shift_off) : NULL;
  for (uint32_t i = 0; i < width; i++) {
    const double value = prepared(q, shift, x, i);
    if (value < range->low) range->low = value;
    if (value > range->high) range->high = value;
  }
}

beta_found beta_range_found(const beta_step_quantise *q, beta_range range) {
  switch (q->kind) {
    case BETA_STEP_QUANTISER_SYMMETRIC: return (beta_found){.step = fmax(fabs(range.low), fabs(range.high)) / q->qmax, .t = 0};
    case BETA_STEP_QUANTISER_ASYMMETRIC: return (beta_found){.step = (range.high - range.low + RANGE_GUARD) / q->qmax, .t = range.low};
    default: return (beta_found){.step = q->step, .t = range.low};
  }
}

/* Code of one prepared value; an all-zero symmetric range has step 0 and codes 0. */
static inline int32_t code_of(const beta_step_quantise *q, double value, beta_found found) {
  switch (q->kind) {
    case BETA_STEP_QUANTISER_SIGN:
      if ((q->format >> BETA_FMT_ENC_SHIFT & BETA_FMT_ENC_MASK) == BETA_ENC_PM1) return value >= 0;
      return (value > 0) - (value < 0);
    case BETA_STEP_QUANTISER_SYMMETRIC:
      return found.step > 0 ? (int32_t)rne(clip(value / found.step, q->qmin, q->qmax)) : 0;
    default:
      /* Clipping first gives the same code and keeps rne() inside its range. */
      return (int32_t)rne(clip((value - found.t) / found.step, q->qmin, q->qmax));
  }
}

/* Sum of the codes of a row. */
static int64_t sum_of(const beta_step_quantise *q, const uint8_t *code, uint32_t width) {
  const unsigned encoding = q->format >> BETA_FMT_ENC_SHIFT & BETA_FMT_ENC_MASK;
  int64_t sum = 0;
  for (uint32_t i = 0; i < width; i++) sum += encoding == BETA_ENC_S ? (int8_t)code[i] : code[i];
  return encoding == BETA_ENC_PM1 ? 2 * sum - width : sum;
}

double beta_quantise_row(const beta_vector *v, const beta_step_quantise *q, const double *x, uint32_t width,
                       beta_found found, uint8_t *out) {
  uint8_t code[BETA_STEP_WIDTH_MAX];
  const float *shift = q->shift_off ? beta_at(v, q->shift_off) : NULL;
  for (uint32_t i = 0; i < width; i++) code[i] = (uint8_t)code_of(q, prepared(q, shift, x, i), found);
  pack(code, width, 1u << (q->format & BETA_FMT_WIDTH_MASK), out);
  return q->sums_off ? found.step * (double)sum_of(q, code, width) + found.t * width : 0;
}
