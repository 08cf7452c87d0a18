/*
 * Softmax over integer scores. Equal scores have equal exponentials, so with few distinct values a table replaces exp:
 * entry i is exp(-scale*i), i the distance from the row's maximum (QUANTIZERS 5).
 */
#include <math.h>

#include "vector.h"

/* Weights exp(score - largest score) of integer scores, by the table or by exp. */
static void weigh(const beta_vector *v, const beta_step_softmax *s, const uint8_t *scores, double scale, double *p) {
  int32_t most = INT32_MIN, least = INT32_MAX;
  for (uint32_t i = 0; i < s->tokens; i++) {
    const int32_t score = beta_acc(scores, s->acc_int16, i);
    if (score > most) most = score;
    if (score < least) least = score;
  }
  if ((int64_t)most - least < s->table_length) {
    const double *table = beta_at(v, s->table_off);
    for (uint32_t i = 0; i < s->tokens; i++) p[i] = table[most - beta_acc(scores, s->acc_int16, i)];
  } else {
    for (uint32_t i = 0; i < s->tokens; i++) p[i] = exp(-scale * (double)((int64_t)most - beta_acc(scores, s->acc_int16, i)));
  }
}

/* The same where the codes of Q have an offset: each key's score then moves by the sum of its codes. */
static void weigh_moved(const beta_vector *v, const beta_step_softmax *s, const uint8_t *scores, uint32_t head,
                        beta_found q, double scale, double *p) {
  const int32_t *sums = (const int32_t *)((const uint8_t *)beta_at(v, s->key_sums_off) + (size_t)head * s->key_sums_stride);
  double most = -INFINITY;
  for (uint32_t i = 0; i < s->tokens; i++) {
    p[i] = q.step * beta_acc(scores, s->acc_int16, i) + q.t * sums[i];
    if (p[i] > most) most = p[i];
  }
  for (uint32_t i = 0; i < s->tokens; i++) p[i] = exp(-scale * (most - p[i]));
}

void beta_softmax_row(const beta_vector *v, const beta_step_softmax *s, uint32_t row, double *p) {
  const uint8_t *scores = (const uint8_t *)beta_at(v, s->acc_off) + (size_t)row * s->acc_stride;
  const beta_found q = beta_found_at(v, s->found_a_off, 0), k = beta_found_at(v, s->found_b_off, 0);
  if (s->key_sums_off) weigh_moved(v, s, scores, row / s->tokens, q, s->scale * k.step, p);
  else weigh(v, s, scores, s->scale * q.step * k.step, p);
  double sum = 0;
  for (uint32_t i = 0; i < s->tokens; i++) sum += p[i];
  for (uint32_t i = 0; i < s->tokens; i++) p[i] /= sum;
}

static void probability_row(const beta_vector *v, const beta_group *g, uint32_t sequence, uint32_t row, double *p) {
  (void)sequence;
  beta_softmax_row(v, &g->step.softmax, row, p);
}

void beta_softmax(const beta_vector *v, const beta_group *g) {
  const beta_step_softmax *s = &g->step.softmax;
  if (s->terms) {
    beta_context(v, g);
    return;
  }
  /* Heads follow one another, so all of them are the rows of one sequence, over which a quantiser takes its range. */
  beta_run_rows(v, g, &(beta_rows){probability_row, s->heads * s->tokens, s->tokens, 0, 1, 0, s->first_row, s->end_row});
}
