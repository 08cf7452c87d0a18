/*
 * Softmax over integer scores. Equal scores have equal exponentials, so with few distinct values a table replaces exp:
 * entry i is exp(-scale*i), i the distance from the row's maximum (QUANTIZERS 5).
 */
#include <math.h>

#include "vector.h"

static void softmax_row(const beta_vector *v, const beta_group *g, uint32_t sequence, uint32_t row, double *p) {
  (void)sequence;
  const beta_step_softmax *s = &g->step.softmax;
  const int32_t *score = (const int32_t *)((const uint8_t *)beta_at(v, s->acc_off) + (size_t)row * s->acc_stride);
  int32_t most = score[0], least = score[0];
  for (uint32_t i = 1; i < s->tokens; i++) {
    if (score[i] > most) most = score[i];
    if (score[i] < least) least = score[i];
  }
  double sum = 0;
  if ((int64_t)most - least < s->table_length) {
    const double *table = beta_at(v, s->table_off);
    for (uint32_t i = 0; i < s->tokens; i++) sum += p[i] = table[most - score[i]];
  } else {
    const double scale = s->scale * beta_found_at(v, s->found_a_off, 0).step * beta_found_at(v, s->found_b_off, 0).step;
    for (uint32_t i = 0; i < s->tokens; i++) sum += p[i] = exp(-scale * (double)((int64_t)most - score[i]));
  }
  for (uint32_t i = 0; i < s->tokens; i++) p[i] /= sum;
}

void beta_softmax(const beta_vector *v, const beta_group *g) {
  const beta_step_softmax *s = &g->step.softmax;
  /* Heads follow one another, so all of them are the rows of one sequence, over which a quantiser takes its range. */
  beta_run_rows(v, g, &(beta_rows){softmax_row, s->heads * s->tokens, s->tokens, 0, 1, 0});
}
