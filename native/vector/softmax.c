/*
 * Softmax over integer scores. Equal scores have equal exponentials, so with few distinct values a table replaces exp:
 * entry i is exp(-scale*i), i the distance from the row's maximum (QUANTIZERS 5).
 */
#include <math.h>

#include "vector.h"

/* Probabilities of one row. */
static void probabilities(const beta_vector *v, const beta_step_softmax *s, uint32_t head, uint32_t row, double *p) {
  const int32_t *score = (const int32_t *)((const uint8_t *)beta_at(v, s->acc_off) + (size_t)head * s->head_stride +
                                           (size_t)row * s->acc_stride);
  int32_t most = score[0], least = score[0];
  for (uint32_t i = 1; i < s->tokens; i++) {
    if (score[i] > most) most = score[i];
    if (score[i] < least) least = score[i];
  }
  const int64_t spread = (int64_t)most - least;
  double sum = 0;
  if (spread < s->table_length) {
    const double *table = beta_at(v, s->table_off);
    for (uint32_t i = 0; i < s->tokens; i++) sum += p[i] = table[most - score[i]];
  } else {
    for (uint32_t i = 0; i < s->tokens; i++) sum += p[i] = exp(-s->scale * (double)((int64_t)most - score[i]));
  }
  for (uint32_t i = 0; i < s->tokens; i++) p[i] /= sum;
}

void beta_softmax(const beta_vector *v, const beta_step_softmax *s, const beta_step_quantise *q) {
  double p[BETA_STEP_WIDTH_MAX];
  double t = 0;
  if (q->kind == BETA_STEP_QUANTISER_ROUND_FROM_MIN) {
    /* The offset is the minimum over every head and row, so all of them are seen before the first is quantised. */
    t = INFINITY;
    for (uint32_t head = 0; head < s->heads; head++) {
      for (uint32_t row = 0; row < s->tokens; row++) {
        probabilities(v, s, head, row, p);
        t = fmin(t, beta_row_minimum(v, q, p, s->tokens));
      }
    }
    *(double *)beta_at(v, q->found_off) = t;
  }
  for (uint32_t head = 0; head < s->heads; head++) {
    for (uint32_t row = 0; row < s->tokens; row++) {
      probabilities(v, s, head, row, p);
      beta_quantise_row(v, q, p, s->tokens, t,
                        (uint8_t *)beta_at(v, q->out_off) + (size_t)head * q->out_head_stride + (size_t)row * q->out_stride);
    }
  }
}
