/* Integer accumulators to real values and through an activation. */
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

static void affine_row(const beta_vector *v, const beta_group *g, uint32_t sequence, uint32_t row, double *x) {
  const beta_step_affine *s = &g->step.affine;
  beta_sum_terms(v, g, sequence, row, s->width, s->bias_off, s->by_row != 0, x);
  if (s->activation == BETA_STEP_ACTIVATION_IDENTITY) return;
  for (uint32_t i = 0; i < s->width; i++) x[i] = activate(x[i], s->activation);
}

void beta_affine(const beta_vector *v, const beta_group *g) {
  const beta_step_affine *s = &g->step.affine;
  beta_run_rows(v, g, &(beta_rows){affine_row, s->rows, s->width, s->starts_off, s->sequences, s->out_off, s->first_row, s->end_row});
}
