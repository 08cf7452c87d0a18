/* Chosen rows of a float matrix. */
#include <string.h>

#include "vector.h"

static void pick_row(const beta_job *job, uint32_t sequence, uint32_t row, double *x, float *out) {
  (void)sequence;
  const beta_step_pick *s = &job->g->step.pick;
  const uint32_t index = ((const uint32_t *)beta_at(job->v, s->index_off))[row];
  const float *source = (const float *)beta_at(job->v, s->x_off) + (size_t)index * s->width;
  job->v->kernel->widen(source, s->width, x);
  if (out) memmove(out, source, s->width * sizeof *out); /* a record may have rows lie on one another */
}

void beta_pick(const beta_vector *v, const beta_group *g) {
  const beta_step_pick *s = &g->step.pick;
  beta_run_rows(&(beta_job){.v = v, .g = g, .rows = s->rows, .width = s->width, .starts_off = s->starts_off,
                            .sequences = s->sequences, .out_off = s->out_off, .row = pick_row});
}
