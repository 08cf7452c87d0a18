/* Chosen rows of a float matrix. */
#include "vector.h"

static void pick_row(const beta_job *job, uint32_t sequence, uint32_t row, double *x, float *out) {
  (void)sequence;
  (void)out; /* there is none */
  const beta_step_pick *s = &job->g->step.pick;
  const uint32_t index = ((const uint32_t *)beta_at(job->v, s->index_off))[row];
  job->v->kernel->widen((const float *)beta_at(job->v, s->x_off) + (size_t)index * s->width, s->width, x);
}

void beta_pick(const beta_vector *v, const beta_group *g) {
  const beta_step_pick *s = &g->step.pick;
  beta_run_rows(&(beta_job){
      .v = v, .g = g, .rows = s->rows, .width = s->width, .starts_off = s->starts_off, .sequences = s->sequences, .out_off = s->out_off,
      .row = pick_row});
}
