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

static void prepare(const beta_vector *v, const beta_step_softmax *s, beta_exponentials *e) {
  const double *table = beta_optional(v, s->table_off);
  const uint32_t length = s->table_length < BETA_DISTANCES ? s->table_length : BETA_DISTANCES;
  memset(e, 0, sizeof *e);
  for (uint32_t i = 0; i < length; i++) {
    e->real[i] = table[i];
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

static void probability_row(const beta_job *job, uint32_t sequence, uint32_t row, double *p, float *out) {
  (void)sequence;
  (void)out; /* there is none */
  beta_softmax_row(job->v, &job->g->step.softmax, row, p);
}

/* Whether a row's distances are few: then what is asked of its scores is decided for each distance. */
static int is_near(const beta_step_softmax *s, const score_row *r) {
  return !s->key_sums_off && r->furthest < s->table_length && r->furthest < BETA_DISTANCES;
}

/*
 * Rows go through each stage together: what a stage needs of one row is long in coming, and the other rows fill that time.
 */
#define STAGE_ROWS 8u

typedef struct stage {
  uint32_t count;
  score_row row[STAGE_ROWS];
  double inverse[STAGE_ROWS];             /* of the sums of near rows */
  uint8_t distances[BETA_STEP_WIDTH_MAX]; /* of near rows, row after row */
} stage;

static uint8_t *stage_distances(stage *t, uint32_t i) { return t->distances + (size_t)i * t->row[i].tokens; }

/* Scores of up to STAGE_ROWS rows from `begin` on. */
static void survey(const beta_job *job, uint32_t begin, uint32_t end, stage *t) {
  const struct beta_vector_kernel *kernel = job->v->kernel;
  const beta_exponentials *exponentials = job->prepared;
  const beta_step_softmax *s = &job->g->step.softmax;
  const uint32_t room = BETA_STEP_WIDTH_MAX / s->tokens, most = room < STAGE_ROWS ? room : STAGE_ROWS;
  int64_t total[STAGE_ROWS];
  t->count = end - begin < most ? end - begin : most;
  for (uint32_t i = 0; i < t->count; i++) t->row[i] = scores_at(job->v, s, begin + i);
  for (uint32_t i = 0; i < t->count; i++) {
    const score_row *r = &t->row[i];
    if (!is_near(s, r)) continue;
    kernel->distances(r->scores, r->int16, r->tokens, r->most, stage_distances(t, i));
    total[i] = kernel->total(exponentials, stage_distances(t, i), r->tokens, r->furthest);
    t->inverse[i] = inverse_of(total[i]);
  }
}

/* The range of near rows is that of their ends: the table falls. */
static void range_near(const beta_job *job, uint32_t sequence, uint32_t begin, uint32_t end, beta_range *ranges) {
  const beta_step_softmax *s = &job->g->step.softmax;
  const double *table = ((const beta_exponentials *)job->prepared)->real;
  const beta_coder coder = beta_coder_of(job->v, &job->g->consumers[0], (beta_found){.step = 1, .t = 0});
  stage t;
  for (uint32_t row = begin; row < end; row += t.count) {
    survey(job, row, end, &t);
    double ends[2 * STAGE_ROWS];
    uint32_t count = 0;
    for (uint32_t i = 0; i < t.count; i++) {
      if (is_near(s, &t.row[i])) {
        ends[count++] = table[0] * t.inverse[i];
        ends[count++] = table[t.row[i].furthest] * t.inverse[i];
      } else {
        beta_range_rows(job, sequence, row + i, row + i + 1, ranges);
      }
    }
    job->v->kernel->range(&coder, ends, count, &ranges[0]);
  }
}

static void emit_near(const beta_job *job, uint32_t sequence, uint32_t begin, uint32_t end, const beta_found *found) {
  const struct beta_vector_kernel *kernel = job->v->kernel;
  const beta_step_softmax *s = &job->g->step.softmax;
  const beta_step_quantise *q = &job->g->consumers[0];
  const beta_exponentials *exponentials = job->prepared;
  const beta_coder coder = beta_coder_of(job->v, q, found[0]);
  const int one_bit = q->format == (BETA_ENC_U << BETA_FMT_ENC_SHIFT) && !q->sums_off;
  uint8_t codes[BETA_STEP_WIDTH_MAX], decided[STAGE_ROWS][BETA_DISTANCES] = {{0}};
  stage t;
  for (uint32_t row = begin; row < end; row += t.count) {
    double ones[STAGE_ROWS];
    survey(job, row, end, &t);
    for (uint32_t i = 0; i < t.count; i++) {
      if (is_near(s, &t.row[i])) ones[i] = kernel->decide(&coder, exponentials->real, t.inverse[i], t.row[i].furthest / 16 + 1, decided[i]);
      else beta_emit_rows(job, sequence, row + i, row + i + 1, found);
    }
    for (uint32_t i = 0; i < t.count; i++) {
      const score_row *r = &t.row[i];
      if (!is_near(s, r)) continue;
      if (one_bit) {
        /* The scores that get a 1 are the largest: as many distances as there are ones. */
        uint8_t *plane = (uint8_t *)beta_at(job->v, q->out_off) + (size_t)(row + i) * q->out_stride;
        const uint32_t furthest = ones[i] < 1 ? 0 : (uint32_t)ones[i] - 1;
        if (ones[i] < 1) memset(plane, 0, (r->tokens + BETA_BLOCK_ELEMENTS - 1) / BETA_BLOCK_ELEMENTS * BETA_BEAT_BYTES);
        else kernel->reach(r->scores, r->int16, r->tokens, r->most - (int32_t)(furthest < r->furthest ? furthest : r->furthest), plane);
      } else {
        kernel->look_up(decided[i], stage_distances(&t, i), r->tokens, r->furthest, codes);
        beta_leave_codes(job->v, q, &coder, codes, r->tokens, row + i);
      }
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
  /* With a shift a column decides as well; a sign asks for none of this. */
  if (s->table_length > 0 && !g->consumers[0].shift_off && g->consumers[0].kind != BETA_STEP_QUANTISER_SIGN) {
    prepare(v, s, &exponentials);
    job.prepared = &exponentials;
    job.range = range_near;
    job.emit = emit_near;
  }
  beta_run_rows(&job);
}
