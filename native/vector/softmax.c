/*
 * Softmax over integer scores. Equal scores have equal exponentials, so with few distinct values a table replaces exp:
 * entry i is exp(-scale*i), i the distance from the row's maximum (QUANTIZERS 5). The sum over a row is then one of integers, the
 * entries in fixed point: exact in any order, and within 2^-48 of each exponential. A quantiser needs one decision for each distance
 * that occurs, not for each score.
 */
#include <stddef.h>
#include <string.h>

#include "beta_contract.h"
#include "vector.h"

/* At most `furthest`, even if another thread wrote on the scores since they were compared: records may ask for that. */
static uint32_t distance(const beta_scores *r, uint32_t i) {
  const uint32_t d = (uint32_t)r->most - (uint32_t)(r->int16 ? ((const int16_t *)r->scores)[i] : ((const int32_t *)r->scores)[i]);
  return d < r->furthest ? d : r->furthest;
}

/* An entry of the table in fixed point; no table makes it more than one. */
static int64_t fixed(double exponential) {
  const double bounded = exponential > 0 ? exponential < 1 ? exponential : 1 : 0;
  return (int64_t)(bounded * (double)(INT64_C(1) << BETA_EXPONENTIAL_BITS) + 0.5);
}

double beta_inverse_of(int64_t total) { return (double)(INT64_C(1) << BETA_EXPONENTIAL_BITS) / (double)total; }

void beta_exponentials_of(const beta_vector *v, const beta_step_softmax *s, beta_exponentials *e) {
  const beta_found q = beta_found_at(v, s->found_a_off, 0), k = beta_found_at(v, s->found_b_off, 0);
  const double *table = beta_optional(v, s->table_off);
  const uint32_t length = s->table_length < BETA_DISTANCES ? s->table_length : BETA_DISTANCES;
  memset(e, 0, offsetof(beta_exponentials, powers));
  v->kernel->powers(s->scale * q.step * k.step, e);
  for (uint32_t i = 0; i < length; i++) {
    e->real[i] = table[i];
    e->fixed[i] = fixed(table[i]);
    for (unsigned b = 0; b < BETA_EXPONENTIAL_BYTES && i < 128; b++) e->byte[b][i] = (uint8_t)(e->fixed[i] >> 8 * b);
  }
}

/* Exponentials of a row whose scores the table covers, by looking each up; the inverse of their sum. */
static double look_up_row(const double *table, const beta_scores *r, double *e) {
  int64_t total = 0;
  for (uint32_t i = 0; i < r->tokens; i++) {
    e[i] = table[distance(r, i)];
    total += fixed(e[i]);
  }
  return beta_inverse_of(total);
}

double beta_weigh_row(const beta_vector *v, const beta_step_softmax *s, const beta_exponentials *exponentials, uint32_t row, const beta_scores *r,
                      double *e) {
  if (s->key_sums_off) {
    const beta_found q = beta_found_at(v, s->found_a_off, 0), k = beta_found_at(v, s->found_b_off, 0);
    const int32_t *sums = (const int32_t *)((const uint8_t *)beta_at(v, s->key_sums_off) + (size_t)(row / s->tokens) * s->key_sums_stride);
    return 1 / v->kernel->weigh_moved(beta_scores_row(v, s, row), s->acc_int16, s->tokens, sums, q.step, q.t, s->scale * k.step, e);
  }
  if (r->furthest < s->table_length) return look_up_row(beta_at(v, s->table_off), r, e);
  return 1 / v->kernel->weigh(r->scores, r->int16, r->tokens, r->most, r->furthest, exponentials, e);
}

void beta_softmax_row(const beta_vector *v, const beta_step_softmax *s, const beta_exponentials *exponentials, uint32_t row, double *p) {
  beta_scores r = {0};
  if (!s->key_sums_off) beta_scores_at(v, s, row, &r);
  const double inverse = beta_weigh_row(v, s, exponentials, row, &r, p);
  v->kernel->scale(inverse, s->tokens, p);
}

static void probability_row(const beta_job *job, uint32_t sequence, uint32_t row, double *p, float *out) {
  (void)sequence;
  (void)out; /* there is none */
  beta_softmax_row(job->v, &job->g->step.softmax, job->prepared, row, p);
}

void beta_softmax(const beta_vector *v, const beta_group *g) {
  const beta_step_softmax *s = &g->step.softmax;
  if (s->terms) {
    beta_context(v, g);
    return;
  }
  /* Heads follow one another, so all of them are the rows of one sequence, over which a quantiser takes its range. */
  beta_job job = {.v = v, .g = g, .rows = s->heads * s->tokens, .width = s->tokens, .sequences = 1, .first = s->first_row, .end = s->end_row,
                  .row = probability_row};
  /* With a shift a column decides as well; a sign asks for none of this. */
  if (!g->consumers[0].shift_off && g->consumers[0].kind != BETA_STEP_QUANTISER_SIGN) {
    beta_decide_probabilities(&job);
    return;
  }
  beta_exponentials exponentials;
  beta_exponentials_of(v, s, &exponentials);
  job.prepared = &exponentials;
  beta_run_rows(&job);
}
