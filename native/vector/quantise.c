/* Activation quantisers: real values to integer codes to bit-planes (CONTRACT 4). Decisions are made in double. */
#include <string.h>

#include "beta_contract.h"
#include "vector.h"

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

/* Packs codes into planes: plane i of element e is bit i of code[e]; two's complement needs no special case. */
static void pack(const uint8_t *code, uint32_t width, uint32_t k0, unsigned bits, uint8_t *row) {
  memset(row, 0, (size_t)((k0 + width + BETA_BLOCK_ELEMENTS - 1) / BETA_BLOCK_ELEMENTS) * BETA_BEAT_BYTES * bits);
  for (uint32_t i = 0; i < width; i++) {
    uint32_t element = k0 + i;
    uint8_t *block = row + (size_t)(element / BETA_BLOCK_ELEMENTS) * BETA_BEAT_BYTES * bits;
    uint32_t byte = element % BETA_BLOCK_ELEMENTS / 8;
    for (unsigned plane = 0; plane < bits; plane++) {
      block[plane * BETA_BEAT_BYTES + byte] |= (uint8_t)((code[i] >> plane & 1u) << (element % 8));
    }
  }
}

void beta_quantise_row(const beta_vector *v, const beta_step_quantise *q, const double *x, uint32_t width, double t,
                       uint8_t *row) {
  uint8_t code[BETA_STEP_WIDTH_MAX];
  const float *shift = q->shift_off ? beta_at(v, q->shift_off) : NULL;
  const unsigned bits = 1u << (q->format & BETA_FMT_WIDTH_MASK);
  const int two_valued = (q->format >> BETA_FMT_ENC_SHIFT & BETA_FMT_ENC_MASK) == BETA_ENC_PM1;

  for (uint32_t i = 0; i < width; i++) {
    double value = shift ? x[i] + shift[i] : x[i];
    if (q->kind == BETA_STEP_QUANTISER_SIGN) {
      code[i] = two_valued ? value >= 0 : (uint8_t)((value > 0) - (value < 0));
    } else {
      /* Clipping first gives the same code and keeps rne() inside its range. */
      double scaled = (value - t) / q->step;
      code[i] = (uint8_t)(int32_t)rne(clip(scaled, q->qmin, q->qmax));
    }
  }
  pack(code, width, q->k0, bits, row);
}

double beta_row_minimum(const beta_vector *v, const beta_step_quantise *q, const double *x, uint32_t width) {
  const float *shift = q->shift_off ? beta_at(v, q->shift_off) : NULL;
  double least = shift ? x[0] + shift[0] : x[0];
  for (uint32_t i = 1; i < width; i++) {
    double value = shift ? x[i] + shift[i] : x[i];
    if (value < least) least = value;
  }
  return least;
}

void beta_emit_row(const beta_vector *v, const beta_step_quantise *q, unsigned consumers, uint32_t row, uint32_t width,
                   const double *x, uint32_t out_off) {
  if (out_off) {
    float *out = (float *)beta_at(v, out_off) + (size_t)row * width;
    for (uint32_t i = 0; i < width; i++) out[i] = (float)x[i];
  }
  for (unsigned c = 0; c < consumers; c++) {
    beta_quantise_row(v, &q[c], x, width, 0, (uint8_t *)beta_at(v, q[c].out_off) + (size_t)row * q[c].out_stride);
  }
}
