/* Chosen rows of a float matrix. */
#include "vector.h"

static void pick_row(const beta_vector *v, const beta_group *g, uint32_t sequence, uint32_t row, double *x) {
  (void)sequence;
  const beta_step_pick *s = &g->step.pick;
  const uint32_t index = ((const uint32_t *)beta_at(v, s->index_off))[row];
  const float *source = (const float *)beta_at(v, s->x_off) + (size_t)index * s->width;
  for (uint32_t i = 0; i < s->width; i++) x[i] = source[i];
}

void beta_pick(const beta_vector *v, const beta_group *g) {
  const beta_step_pick *s = &g->step.pick;
  beta_run_rows(v, g, &(beta_rows){pick_row, s->rows, s->width, s->starts_off, s->sequences, s->out_off, 0, 0});
}
