/*
 * Softmax over integer scores. Equal scores have equal exponentials, so with few distinct values a table replaces exp:
 * entry i is exp(-scale*i), i the distance from the row's maximum (QUANTIZERS 5). The sum over a row is then one of integers, the
 * entries in fixed point: exact in any order, and within 2^-48 of each exponential. A quantiser needs one decision for each distance
 * that occurs, not for each score.
 */
#include <math.h>
#include <string.h>

#include "beta_contract.h"
#include "vector.h"

typedef struct prepared {
  beta_exponentials exponentials; /* of the table's first entries */
} prepared;

/* One row of scores: where it is, and how far its scores lie apart. */
typedef struct score_row {
  const void *scores;
  uint32_t tokens;
  int int16;
  int32_t most;
  uint32_t furthest; /* largest distance */
} score_row;

static score_row scores_at(const beta_vector *v, const beta_step_softmax *s, uint32_t row) {
  score_row r = {.scores = (const uint8_t *)beta_at(v, s->acc_off) + (size_t)row * s->acc_stride, .tokens = s->tokens, .int16 = s->acc_int16};
  int32_t least;
  v->kernel->extremes(r.scores, r.int16, r.tokens, &least, &r.most);
  r.furthest = (uint32_t)r.most - (uint32_t)least;
  return r;
}

/* At most `furthest`, even if another thread wrote on the scores since they were compared: records may ask for that. */
static uint32_t distance(const score_row *r, uint32_t i) {
  const uint32_t d = (uint32_t)r->most - (uint32_t)(r->int16 ? ((const int16_t *)r->scores)[i] : ((const int32_t *)r->scores)[i]);
  return d < r->furthest ? d : r->furthest;
}

/* An entry of the table in fixed point; no table makes it more than one. */
static int64_t fixed(double exponential) {
  const double bounded = exponential > 0 ? exponential < 1 ? exponential : 1 : 0;
  return (int64_t)(bounded * (double)(INT64_C(1) << BETA_EXPONENTIAL_BITS) + 0.5);
}

static double inverse_of(int64_t total) { return (double)(INT64_C(1) << BETA_EXPONENTIAL_BITS) / (double)total; }

static void prepare(const beta_vector *v, const beta_step_softmax *s, beta_exponentials *e) {
  const double *table = beta_optional(v, s->table_off);
  const uint32_t length = s->table_length < BETA_DISTANCES ? s->table_length : BETA_DISTANCES;
  memset(e, 0, sizeof *e);
  for (uint32_t i = 0; i < length; i++) {
    e->fixed[i] = fixed(table[i]);
    for (unsigned b = 0; b < BETA_EXPONENTIAL_BYTES && i < 128; b++) e->byte[b][i] = (uint8_t)(e->fixed[i] >> 8 * b);
  }
}

/* Probabilities of a row whose scores the table covers, by looking each up. */
static void look_up_row(const double *table, const score_row *r, double *p) {
  int64_t total = 0;
  for (uint32_t i = 0; i < r->tokens; i++) {
    p[i] = table[distance(r, i)];
    total += fixed(p[i]);
  }
  const double inverse = inverse_of(total);
  for (uint32_t i = 0; i < r->tokens; i++) p[i] *= inverse;
}

void beta_softmax_row(const beta_vector *v, const beta_step_softmax *s, uint32_t row, double *p) {
  const struct beta_vector_kernel *kernel = v->kernel;
  const beta_found q = beta_found_at(v, s->found_a_off, 0), k = beta_found_at(v, s->found_b_off, 0);
  double sum;
  if (s->key_sums_off) {
    const uint32_t head = row / s->tokens;
    const int32_t *sums = (const int32_t *)((const uint8_t *)beta_at(v, s->key_sums_off) + (size_t)head * s->key_sums_stride);
    const void *scores = (const uint8_t *)beta_at(v, s->acc_off) + (size_t)row * s->acc_stride;
    sum = kernel->weigh_moved(scores, s->acc_int16, s->tokens, sums, q.step, q.t, s->scale * k.step, p);
  } else {
    const score_row r = scores_at(v, s, row);
    if (r.furthest < s->table_length) {
      look_up_row(beta_at(v, s->table_off), &r, p);
      return;
    }
    sum = kernel->weigh(r.scores, r.int16, r.tokens, r.most, s->scale * q.step * k.step, p);
  }
  kernel->scale(1 / sum, s->tokens, p);
}

static void probability_row(const beta_job *job, uint32_t sequence, uint32_t row, double *p) {
  (void)sequence;
  beta_softmax_row(job->v, &job->g->step.softmax, row, p);
}

/* Whether a row's distances are few: then what is asked of its scores is decided for each distance. */
static int is_near(const beta_step_softmax *s, const score_row *r) {
  return !s->key_sums_off && r->furthest < s->table_length && r->furthest < BETA_DISTANCES;
}

static double near_inverse(const beta_job *job, const score_row *r, uint8_t *distances) {
  const prepared *own = job->prepared;
  job->v->kernel->distances(r->scores, r->int16, r->tokens, r->most, distances);
  return inverse_of(job->v->kernel->total(&own->exponentials, distances, r->tokens, r->furthest));
}

/* The range of near rows is that of their ends: the table falls. */
static void range_near(const beta_job *job, uint32_t sequence, uint32_t begin, uint32_t end, beta_range *ranges) {
  const beta_step_softmax *s = &job->g->step.softmax;
  const double *table = beta_at(job->v, s->table_off);
  const beta_coder coder = beta_coder_of(job->v, &job->g->consumers[0], (beta_found){.step = 1, .t = 0});
  uint8_t distances[BETA_STEP_WIDTH_MAX];
  for (uint32_t row = begin; row < end; row++) {
    const score_row r = scores_at(job->v, s, row);
    if (!is_near(s, &r)) {
      beta_range_rows(job, sequence, row, row + 1, ranges);
      continue;
    }
    const double inverse = near_inverse(job, &r, distances);
    const double ends[2] = {table[0] * inverse, table[r.furthest] * inverse};
    job->v->kernel->range(&coder, ends, 2, &ranges[0]);
  }
}

static void emit_near(const beta_job *job, uint32_t sequence, uint32_t begin, uint32_t end, const beta_found *found) {
  const struct beta_vector_kernel *kernel = job->v->kernel;
  const beta_step_softmax *s = &job->g->step.softmax;
  const beta_step_quantise *q = &job->g->consumers[0];
  const double *table = beta_at(job->v, s->table_off);
  const beta_coder coder = beta_coder_of(job->v, q, found[0]);
  const int one_bit = q->format == (BETA_ENC_U << BETA_FMT_ENC_SHIFT) && !q->sums_off;
  uint8_t distances[BETA_STEP_WIDTH_MAX], codes[BETA_STEP_WIDTH_MAX];
  for (uint32_t row = begin; row < end; row++) {
    const score_row r = scores_at(job->v, s, row);
    if (!is_near(s, &r)) {
      beta_emit_rows(job, sequence, row, row + 1, found);
      continue;
    }
    const double inverse = near_inverse(job, &r, distances);
    double p[BETA_DISTANCES];
    uint8_t decided[BETA_DISTANCES] = {0};
    memcpy(p, table, (r.furthest + 1) * sizeof *p);
    kernel->scale(inverse, r.furthest + 1, p);
    kernel->codes(&coder, p, r.furthest + 1, decided);
    if (one_bit) {
      /* The scores that get a 1 are the largest. */
      int32_t ones = 0;
      for (uint32_t i = 0; i <= r.furthest; i++) ones += decided[i];
      uint8_t *plane = (uint8_t *)beta_at(job->v, q->out_off) + (size_t)row * q->out_stride;
      if (ones == 0) memset(plane, 0, (s->tokens + BETA_BLOCK_ELEMENTS - 1) / BETA_BLOCK_ELEMENTS * BETA_BEAT_BYTES);
      else kernel->reach(r.scores, r.int16, s->tokens, r.most - (ones - 1), plane);
    } else {
      kernel->look_up(decided, distances, s->tokens, r.furthest, codes);
      beta_leave_codes(job->v, q, &coder, codes, s->tokens, row);
    }
  }
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
  prepared own;
  /* With a shift a column decides as well; a sign asks for none of this. */
  if (s->table_length > 0 && !g->consumers[0].shift_off && g->consumers[0].kind != BETA_STEP_QUANTISER_SIGN) {
    prepare(v, s, &own.exponentials);
    job.prepared = &own;
    job.range = range_near;
    job.emit = emit_near;
  }
  beta_run_rows(&job);
}
