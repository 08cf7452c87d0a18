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

void beta_exponentials_of(const beta_vector *v, const beta_step_softmax *s, beta_exponentials *e) {
  const beta_found q = beta_found_at(v, s->found_a_off, 0), k = beta_found_at(v, s->found_b_off, 0);
  const double *table = beta_optional(v, s->table_off);
  const uint32_t length = s->table_length < BETA_DISTANCES ? s->table_length : BETA_DISTANCES;
  memset(e, 0, sizeof *e);
  v->kernel->powers(s->scale * q.step * k.step, e);
  for (uint32_t i = 0; i < length; i++) {
    e->real[i] = table[i];
    e->fixed[i] = fixed(table[i]);
    for (unsigned b = 0; b < BETA_EXPONENTIAL_BYTES && i < 128; b++) e->byte[b][i] = (uint8_t)(e->fixed[i] >> 8 * b);
  }
}

/* Exponentials of a row whose scores the table covers, by looking each up; the inverse of their sum. */
static double look_up_row(const double *table, const score_row *r, double *e) {
  int64_t total = 0;
  for (uint32_t i = 0; i < r->tokens; i++) {
    e[i] = table[distance(r, i)];
    total += fixed(e[i]);
  }
  return inverse_of(total);
}

/* Exponentials of one row, and the inverse of their sum. `r`: its scores, where no sums of keys move them. */
static double weigh_row(const beta_vector *v, const beta_step_softmax *s, const beta_exponentials *exponentials, uint32_t row,
                        const score_row *r, double *e) {
  if (s->key_sums_off) {
    const beta_found q = beta_found_at(v, s->found_a_off, 0), k = beta_found_at(v, s->found_b_off, 0);
    const int32_t *sums = (const int32_t *)((const uint8_t *)beta_at(v, s->key_sums_off) + (size_t)(row / s->tokens) * s->key_sums_stride);
    const void *scores = (const uint8_t *)beta_at(v, s->acc_off) + (size_t)row * s->acc_stride;
    return 1 / v->kernel->weigh_moved(scores, s->acc_int16, s->tokens, sums, q.step, q.t, s->scale * k.step, e);
  }
  if (r->furthest < s->table_length) return look_up_row(beta_at(v, s->table_off), r, e);
  return 1 / v->kernel->weigh(r->scores, r->int16, r->tokens, r->most, r->furthest, exponentials, e);
}

void beta_softmax_row(const beta_vector *v, const beta_step_softmax *s, const beta_exponentials *exponentials, uint32_t row, double *p) {
  const score_row r = s->key_sums_off ? (score_row){0} : scores_at(v, s, row);
  const double inverse = weigh_row(v, s, exponentials, row, &r, p);
  v->kernel->scale(inverse, s->tokens, p);
}

static void probability_row(const beta_job *job, uint32_t sequence, uint32_t row, double *p, float *out) {
  (void)sequence;
  (void)out; /* there is none */
  beta_softmax_row(job->v, &job->g->step.softmax, job->prepared, row, p);
}

/* Rows go through each stage together: what a stage needs of one row is long in coming, and the other rows fill that time. */
#define STAGE_ROWS 8u
/* One row as long as may be, or several. */
#define STAGE_ELEMENTS BETA_STEP_WIDTH_MAX

typedef struct stage {
  uint32_t count;
  score_row row[STAGE_ROWS];
  double inverse[STAGE_ROWS];           /* of the sums of exponentials */
  int near[STAGE_ROWS];                 /* distances are few: what is asked of scores is decided for each distance */
  uint8_t distances[STAGE_ELEMENTS];    /* of near rows */
  double exponentials[STAGE_ELEMENTS];  /* of the others */
  uint32_t stride;                      /* elements from one row to the next */
} stage;

/* Exponentials of up to STAGE_ROWS rows from `begin` on, and the inverses of their sums. */
static void survey(const beta_job *job, uint32_t begin, uint32_t end, stage *t) {
  const struct beta_vector_kernel *kernel = job->v->kernel;
  const beta_exponentials *exponentials = job->prepared;
  const beta_step_softmax *s = &job->g->step.softmax;
  t->stride = (s->tokens + BETA_BLOCK_ELEMENTS - 1) / BETA_BLOCK_ELEMENTS * BETA_BLOCK_ELEMENTS;
  const uint32_t room = STAGE_ELEMENTS / t->stride, most = room < STAGE_ROWS ? room : STAGE_ROWS;
  t->count = end - begin < most ? end - begin : most;
  for (uint32_t i = 0; i < t->count; i++) {
    if (!s->key_sums_off) t->row[i] = scores_at(job->v, s, begin + i);
  }
  for (uint32_t i = 0; i < t->count; i++) {
    const score_row *r = &t->row[i];
    t->near[i] = !s->key_sums_off && r->furthest < s->table_length && r->furthest < BETA_DISTANCES;
    if (!t->near[i]) {
      t->inverse[i] = weigh_row(job->v, s, exponentials, begin + i, r, t->exponentials + (size_t)i * t->stride);
      continue;
    }
    uint8_t *distances = t->distances + (size_t)i * t->stride;
    kernel->distances(r->scores, r->int16, r->tokens, r->most, distances);
    t->inverse[i] = inverse_of(kernel->total(exponentials, distances, r->tokens, r->furthest));
  }
}

/* The range of a row is that of its ends: products with its inverse keep the order of exponentials, and the table falls. */
static void range_staged(const beta_job *job, uint32_t sequence, uint32_t begin, uint32_t end, beta_ranges *ranges) {
  (void)sequence;
  const struct beta_vector_kernel *kernel = job->v->kernel;
  const double *table = ((const beta_exponentials *)job->prepared)->real;
  const beta_coder coder = beta_coder_of(job->v, &job->g->consumers[0], (beta_found){.step = 1, .t = 0}), none = {.step = 1};
  stage t;
  for (uint32_t row = begin; row < end; row += t.count) {
    survey(job, row, end, &t);
    double ends[2 * STAGE_ROWS];
    for (uint32_t i = 0; i < t.count; i++) {
      beta_range of = {.low = INFINITY, .high = -INFINITY};
      if (t.near[i]) of = (beta_range){.low = table[t.row[i].furthest], .high = table[0]};
      else kernel->range(&none, t.exponentials + (size_t)i * t.stride, job->width, &of);
      ends[2 * i] = of.low * t.inverse[i];
      ends[2 * i + 1] = of.high * t.inverse[i];
    }
    kernel->range(&coder, ends, 2 * t.count, &ranges->of[0]);
  }
}

/* The scores of a near row that get a 1 are the largest: as many distances as there are ones. */
static void leave_ones(const beta_job *job, const score_row *r, uint32_t row, double ones) {
  const beta_step_quantise *q = &job->g->consumers[0];
  uint8_t *plane = (uint8_t *)beta_at(job->v, q->out_off) + (size_t)row * q->out_stride;
  const uint32_t furthest = ones < 1 ? 0 : (uint32_t)ones - 1;
  if (ones < 1) memset(plane, 0, (r->tokens + BETA_BLOCK_ELEMENTS - 1) / BETA_BLOCK_ELEMENTS * BETA_BEAT_BYTES);
  else job->v->kernel->reach(r->scores, r->int16, r->tokens, r->most - (int32_t)(furthest < r->furthest ? furthest : r->furthest), plane);
}

static void emit_staged(const beta_job *job, uint32_t sequence, uint32_t begin, uint32_t end, const beta_found *found) {
  (void)sequence;
  const struct beta_vector_kernel *kernel = job->v->kernel;
  const beta_step_quantise *q = &job->g->consumers[0];
  const beta_exponentials *exponentials = job->prepared;
  const beta_coder coder = beta_coder_of(job->v, q, found[0]);
  const int one_bit = q->format == (BETA_ENC_U << BETA_FMT_ENC_SHIFT) && !q->sums_off;
  const int all_zero = q->kind == BETA_STEP_QUANTISER_SYMMETRIC && !(coder.step > 0);
  const uint32_t groups = (job->width + 15) / 16;
  uint8_t codes[BETA_STEP_WIDTH_MAX], decided[STAGE_ROWS][BETA_DISTANCES] = {{0}};
  stage t;
  for (uint32_t row = begin; row < end; row += t.count) {
    double sum[STAGE_ROWS];
    survey(job, row, end, &t);
    for (uint32_t i = 0; i < t.count; i++) {
      if (t.near[i]) sum[i] = kernel->decide(&coder, exponentials->real, t.inverse[i], t.row[i].furthest / 16 + 1, decided[i]);
    }
    for (uint32_t i = 0; i < t.count; i++) {
      const score_row *r = &t.row[i];
      if (t.near[i] && one_bit) {
        leave_ones(job, r, row + i, sum[i]);
        continue;
      }
      if (all_zero) memset(codes, 0, job->width);
      else if (t.near[i]) kernel->look_up(decided[i], t.distances + (size_t)i * t.stride, job->width, r->furthest, codes);
      else kernel->decide(&coder, t.exponentials + (size_t)i * t.stride, t.inverse[i], groups, codes);
      beta_leave_codes(job->v, q, &coder, codes, job->width, row + i);
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
  beta_exponentials exponentials;
  beta_exponentials_of(v, s, &exponentials);
  job.prepared = &exponentials;
  /* With a shift a column decides as well; a sign asks for none of this. */
  if (!g->consumers[0].shift_off && g->consumers[0].kind != BETA_STEP_QUANTISER_SIGN) {
    job.range = range_staged;
    job.emit = emit_staged;
  }
  beta_run_rows(&job);
}
