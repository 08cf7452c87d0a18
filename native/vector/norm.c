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

static void norm_row(const beta_vector *v, const beta_group *g, uint32_t sequence, uint32_t row, double *x) {
  const beta_step_norm *s = &g->step.norm;
  beta_sum_terms(v, g, sequence, row, s->width, s->bias_off, 0, x);
  const float *residual = (const float *)beta_at(v, s->residual_off) + (size_t)row * s->width;
  for (uint32_t i = 0; i < s->width; i++) x[i] += residual[i];
  beta_layer_norm(x, s->width, beta_at(v, s->gamma_off), beta_at(v, s->beta_off), s->epsilon);
}

void beta_norm(const beta_vector *v, const beta_group *g) {
  const beta_step_norm *s = &g->step.norm;
  /* In place is safe: a row's residual is read for the last time just before the row is stored. */
  beta_run_rows(v, g, &(beta_rows){norm_row, s->rows, s->width, s->starts_off, s->sequences, s->out_off, s->first_row, s->end_row});
}
