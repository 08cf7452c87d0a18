/* Integer accumulators to real values, activation, and quantisers; the two-pass form where an offset is found at run time. */
#include <math.h>

#include "vector.h"

static double activate(double x, unsigned activation) {
  switch (activation) {
    case BETA_STEP_ACTIVATION_RELU: return x > 0 ? x : 0;
    case BETA_STEP_ACTIVATION_GELU: return 0.5 * x * (1 + erf(x * 0.70710678118654752440));
    case BETA_STEP_ACTIVATION_TANH: return tanh(x);
    default: return x;
  }
}

/* One row of real values. Pure, so that the second pass of a run-time offset sees exactly what the first saw. */
static void real_row(const beta_vector *v, const beta_step_affine *s, uint32_t sequence, uint32_t row, double *x) {
  const double *scale = s->scale_off ? beta_at(v, s->scale_off) : NULL;
  const float *bias = s->bias_off ? beta_at(v, s->bias_off) : NULL;
  const uint8_t *acc = (const uint8_t *)beta_at(v, s->acc_off) + (size_t)row * s->acc_stride;

  for (uint32_t begin = 0; begin < s->width; begin += s->block) {
    const int32_t *d = (const int32_t *)(acc + (size_t)(begin / s->block) * s->block_stride);
    for (uint32_t i = 0; i < s->block; i++) {
      const uint32_t channel = s->by_row ? row : begin + i;
      x[begin + i] = beta_affine(scale ? scale[channel] : s->scale, d[i], bias ? bias[channel] : 0);
    }
  }
  if (s->t_off) {
    const double t = ((const double *)beta_at(v, s->t_off))[sequence] * s->offset_scale;
    if (s->sums_stride) {
      const int32_t *sums = (const int32_t *)((const uint8_t *)beta_at(v, s->sums_off) + (size_t)sequence * s->sums_stride);
      for (uint32_t i = 0; i < s->width; i++) x[i] += t * sums[i];
    } else {
      const double *sums = beta_at(v, s->sums_off);
      for (uint32_t i = 0; i < s->width; i++) x[i] += t * sums[i];
    }
  }
  if (s->activation != BETA_STEP_ACTIVATION_IDENTITY) {
    for (uint32_t i = 0; i < s->width; i++) x[i] = activate(x[i], s->activation);
  }
}

void beta_affine_rows(const beta_vector *v, const beta_step_affine *s, const beta_step_quantise *q) {
  double x[BETA_STEP_WIDTH_MAX];
  const uint32_t whole[2] = {0, s->rows};
  const uint32_t *starts = s->starts_off ? beta_at(v, s->starts_off) : whole;

  for (uint32_t sequence = 0; sequence < s->sequences; sequence++) {
    const uint32_t begin = starts[sequence], end = starts[sequence + 1];
    double t[BETA_STEP_CONSUMERS_MAX] = {0};
    for (unsigned c = 0; c < s->consumers; c++) {
      if (q[c].kind != BETA_STEP_QUANTISER_ROUND_FROM_MIN || begin == end) continue;
      t[c] = INFINITY;
      for (uint32_t row = begin; row < end; row++) {
        real_row(v, s, sequence, row, x);
        t[c] = fmin(t[c], beta_row_minimum(v, &q[c], x, s->width));
      }
      ((double *)beta_at(v, q[c].found_off))[sequence] = t[c];
    }
    for (uint32_t row = begin; row < end; row++) {
      real_row(v, s, sequence, row, x);
      beta_emit_row(v, q, 0, row, s->width, x, s->out_off);
      for (unsigned c = 0; c < s->consumers; c++) {
        beta_quantise_row(v, &q[c], x, s->width, t[c], (uint8_t *)beta_at(v, q[c].out_off) + (size_t)row * q[c].out_stride);
      }
    }
  }
}
