/* Linear epilogue + residual + LayerNorm. */
#include "vector.h"

static void norm_row(const beta_job *job, uint32_t sequence, uint32_t row, double *x, float *out) {
  const beta_vector *v = job->v;
  const beta_step_norm *s = &job->g->step.norm;
  const float *residual = (const float *)beta_at(v, s->residual_off) + (size_t)row * s->width;
  beta_sum_terms(job, &(beta_terms){.bias_off = s->bias_off, .residual = residual}, sequence, row, 0, s->width, x);
  v->kernel->layer_norm(beta_at(v, s->gamma_off), beta_at(v, s->beta_off), s->epsilon, s->width, x, out);
}

void beta_norm(const beta_vector *v, const beta_group *g) {
  const beta_step_norm *s = &g->step.norm;
  /* In place is safe: a row's residual is read for the last time just before the row is stored. */
  beta_run_rows(&(beta_job){
      .v = v, .g = g, .rows = s->rows, .width = s->width, .starts_off = s->starts_off, .sequences = s->sequences,
      .out_off = s->out_off, .first = s->first_row, .end = s->end_row, .row = norm_row});
}
