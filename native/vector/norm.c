/* Linear epilogue + residual + LayerNorm, and the LayerNorm that the embedding shares. */
#include <math.h>

#include "vector.h"

void beta_layer_norm(double *x, uint32_t width, const float *gamma, const float *beta, double epsilon) {
  double mean = 0;
  for (uint32_t i = 0; i < width; i++) mean += x[i];
  mean /= width;
  double variance = 0;
  for (uint32_t i = 0; i < width; i++) variance += (x[i] - mean) * (x[i] - mean);
  variance /= width;
  const double deviation = sqrt(variance + epsilon);
  for (uint32_t i = 0; i < width; i++) x[i] = gamma[i] * ((x[i] - mean) / deviation) + beta[i];
}

void beta_norm(const beta_vector *v, const beta_step_norm *s, const beta_step_quantise *q) {
  double x[BETA_STEP_WIDTH_MAX];
  const double *scale = s->scale_off ? beta_at(v, s->scale_off) : NULL;
  const float *bias = s->bias_off ? beta_at(v, s->bias_off) : NULL;
  const float *gamma = beta_at(v, s->gamma_off), *beta = beta_at(v, s->beta_off);
  const uint32_t *starts = beta_at(v, s->starts_off);
  const double *t = s->t_off ? beta_at(v, s->t_off) : NULL;
  const double *sums = s->t_off ? beta_at(v, s->sums_off) : NULL;

  for (uint32_t sequence = 0; sequence < s->sequences; sequence++) {
    for (uint32_t row = starts[sequence]; row < starts[sequence + 1]; row++) {
      const int32_t *d = (const int32_t *)((const uint8_t *)beta_at(v, s->acc_off) + (size_t)row * s->acc_stride);
      const float *residual = (const float *)beta_at(v, s->residual_off) + (size_t)row * s->width;
      for (uint32_t i = 0; i < s->width; i++) {
        double y = beta_affine(scale ? scale[i] : s->scale, d[i], bias ? bias[i] : 0);
        if (t) y += t[sequence] * sums[i];
        x[i] = y + residual[i];
      }
      beta_layer_norm(x, s->width, gamma, beta, s->epsilon);
      beta_emit_row(v, q, s->consumers, row, s->width, x, s->out_off);
    }
  }
}
