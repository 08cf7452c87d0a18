/*
 * Codes of probabilities, and their ranges, with as little of the softmax as decides them. Rows whose scores lie few distances apart take
 * one decision for each distance (softmax.c). Others are computed in single precision: what that leaves in doubt, and the few rows
 * that may hold an end of the range, are computed as the definition has them.
 */
#include <math.h>
#include <string.h>

#include "beta_contract.h"
#include "vector.h"

/* Rows go through each stage together: what a stage needs of one row is long in coming, and the other rows fill that time. */
#define STAGE_ROWS 8u
/* One row as long as may be, or several. */
#define STAGE_ELEMENTS BETA_STEP_WIDTH_MAX
/* Rows of which the second pass knows what the first has seen. */
#define SEEN_ROWS 4096u

/* What a pass needs of a row of few distances. */
typedef struct seen {
  double inverse; /* of the sum of exponentials */
  int32_t most;
  uint32_t furthest;
} seen;

/* What all rows of a job share. */
typedef struct shared {
  beta_exponentials exponentials; /* first: probability_row() knows no more */
  float singles[BETA_DISTANCES];  /* the same as `real` */
  double scale;                   /* of distances in exponents */
  double error;                   /* of approximate sums, relative: kernel.h */
  int singular;                   /* an exponential of the table is none */
  seen *rows;                     /* from the job's first row on, or NULL */
} shared;

static int is_near(const beta_step_softmax *s, const beta_scores *r) {
  return !s->key_sums_off && r->furthest < s->table_length && r->furthest < BETA_DISTANCES;
}

/* Whether kernels may approximate the exponentials of a row. */
static int is_single(const shared *all, const beta_step_softmax *s, const beta_scores *r) {
  const int32_t end = 1 << 23;
  return !s->key_sums_off && r->most <= end && r->most >= -end && r->furthest <= (uint32_t)end && all->scale > 0x1p-60 && all->scale < 0x1p60;
}

/*
 * Error of p / step in codes. That of p is that of the exponential and the sum, and of a product. An exponential's grows with y, but
 * 2^-y * y is at most 0.531 then.
 */
static double code_error(const beta_coder *c, double sum_error) {
  const double largest = fmax(fabs(c->low), fabs(c->high)) + 1 + fabs(c->t) * c->inverse;
  return (sum_error + 8 * 0x1p-24) * largest + 2 * 0x1p-24 * c->inverse;
}

typedef struct stage {
  uint32_t count, stride; /* rows, and elements from one to the next */
  beta_scores row[STAGE_ROWS];
  double inverse[STAGE_ROWS];
  int near[STAGE_ROWS];
  uint8_t distances[STAGE_ELEMENTS]; /* of near rows */
} stage;

/* Looks at up to STAGE_ROWS rows from `begin` on, and sums up the near ones unless that was done before. */
static void survey(const beta_job *job, uint32_t begin, uint32_t end, int again, stage *t) {
  const struct beta_vector_kernel *kernel = job->v->kernel;
  const shared *all = job->prepared;
  const beta_step_softmax *s = &job->g->step.softmax;
  seen *rows = all->rows ? all->rows + (begin - job->first) : NULL;
  t->stride = (s->tokens + BETA_BLOCK_ELEMENTS - 1) / BETA_BLOCK_ELEMENTS * BETA_BLOCK_ELEMENTS;
  const uint32_t room = STAGE_ELEMENTS / t->stride, most = room < STAGE_ROWS ? room : STAGE_ROWS;
  t->count = end - begin < most ? end - begin : most;
  for (uint32_t i = 0; i < t->count; i++) {
    beta_scores *r = &t->row[i];
    if (again && rows) {
      r->scores = beta_scores_row(job->v, s, begin + i);
      r->tokens = s->tokens;
      r->int16 = s->acc_int16;
      r->most = rows[i].most;
      r->furthest = rows[i].furthest;
    } else if (!s->key_sums_off) {
      beta_scores_at(job->v, s, begin + i, r);
    }
    t->near[i] = is_near(s, r);
  }
  for (uint32_t i = 0; i < t->count; i++) {
    const beta_scores *r = &t->row[i];
    uint8_t *distances = t->distances + (size_t)i * t->stride;
    if (t->near[i]) kernel->distances(r->scores, r->int16, r->tokens, r->most, distances);
    if (again && rows) t->inverse[i] = rows[i].inverse;
    else if (t->near[i]) t->inverse[i] = beta_inverse_of(kernel->total(&all->exponentials, distances, r->tokens, r->furthest));
    if (!again && rows) {
      rows[i].inverse = t->inverse[i];
      rows[i].most = r->most;
      rows[i].furthest = r->furthest;
    }
  }
}

/* The ends of one row, from its exponentials. */
static beta_range range_of_row(const beta_job *job, const beta_scores *r, uint32_t row) {
  const shared *all = job->prepared;
  const beta_coder none = {.step = 1};
  double e[BETA_STEP_WIDTH_MAX];
  const double inverse = beta_weigh_row(job->v, &job->g->step.softmax, &all->exponentials, row, r, e);
  beta_range of = {.low = INFINITY, .high = -INFINITY};
  job->v->kernel->range(&none, e, job->width, &of);
  return (beta_range){.low = of.low * inverse, .high = of.high * inverse};
}

/* The product of digits 2 k and 2 k + 1 of a distance. */
static double pair_of(const beta_exponentials *e, uint32_t distance, uint32_t k) {
  const uint32_t byte = distance >> 8 * k & 255;
  return e->powers[2 * k][byte & 15] * e->powers[2 * k + 1][byte >> 4];
}

/* exp(-scale * distance) for distances below 2^24, as weigh() makes it. */
static double exponential(const beta_exponentials *e, uint32_t distance) {
  return pair_of(e, distance, 0) * pair_of(e, distance, 1) * pair_of(e, distance, 2);
}

/* Whether a row may reach beyond `known`, by its approximate sum: its ends are those of its scores. */
static int may_widen(const beta_job *job, const beta_scores *r, const beta_range *known) {
  const shared *all = job->prepared;
  float e[BETA_STEP_WIDTH_MAX];
  const double sum = job->v->kernel->approximate(r->scores, r->int16, r->tokens, r->most, all->scale, e), error = 2 * all->error;
  const int only_low = job->g->consumers[0].kind == BETA_STEP_QUANTISER_ROUND_FROM_MIN;
  return !(exponential(&all->exponentials, r->furthest) / sum * (1 - error) >= known->low && (only_low || 1 / sum * (1 + error) <= known->high));
}

/* The range of a row is that of its ends: products with its inverse keep the order of exponentials, and the table falls. */
static void range_staged(const beta_job *job, uint32_t sequence, uint32_t begin, uint32_t end, beta_ranges *ranges) {
  (void)sequence;
  const shared *all = job->prepared;
  const double *table = all->exponentials.real;
  const beta_coder coder = beta_coder_of(job->v, &job->g->consumers[0], (beta_found){.step = 1, .t = 0});
  beta_range known = {.low = INFINITY, .high = -INFINITY};
  stage t;
  for (uint32_t row = begin; row < end; row += t.count) {
    survey(job, row, end, 0, &t);
    for (uint32_t i = 0; i < t.count; i++) {
      const beta_scores *r = &t.row[i];
      beta_range of;
      if (t.near[i]) of = (beta_range){.low = table[r->furthest] * t.inverse[i], .high = table[0] * t.inverse[i]};
      else if (!is_single(all, &job->g->step.softmax, r) || may_widen(job, r, &known)) of = range_of_row(job, r, row + i);
      else continue;
      if (of.low < known.low) known.low = of.low;
      if (of.high > known.high) known.high = of.high;
    }
  }
  const double ends[2] = {known.low, known.high};
  job->v->kernel->range(&coder, ends, 2, &ranges->of[0]);
}

/* The scores of a near row that get a 1 are the largest: as many distances as there are ones. */
static void leave_ones(const beta_job *job, const beta_scores *r, uint32_t row, const uint8_t *decided) {
  const beta_step_quantise *q = &job->g->consumers[0];
  uint8_t *plane = (uint8_t *)beta_at(job->v, q->out_off) + (size_t)row * q->out_stride;
  uint32_t ones = 0;
  for (uint32_t i = 0; i <= r->furthest; i += 8) {
    uint64_t eight;
    memcpy(&eight, decided + i, sizeof eight);
    if (r->furthest - i < 7) eight &= ~UINT64_C(0) >> 8 * (7 - (r->furthest - i)); /* byte 0 is the lowest */
    ones += (uint32_t)(eight * UINT64_C(0x0101010101010101) >> 56);
  }
  if (ones == 0) memset(plane, 0, (r->tokens + BETA_BLOCK_ELEMENTS - 1) / BETA_BLOCK_ELEMENTS * BETA_BEAT_BYTES);
  else job->v->kernel->reach(r->scores, r->int16, r->tokens, r->most - (int32_t)(ones - 1), plane);
}

/* How probabilities become codes. */
typedef struct rule {
  beta_coder coder;
  int by_line; /* whether `line` decides, but for doubts */
  beta_line line;
} rule;

/* Codes by the line of a row whose exponentials are `numbers`; as line_codes(). */
static uint32_t codes_by_line(const beta_job *job, rule *by, const float *numbers, double inverse, uint32_t width, uint8_t *codes, uint16_t *doubtful) {
  by->line.numbers = numbers;
  by->line.slope = (float)(by->coder.inverse * inverse);
  return job->v->kernel->line_codes(&by->line, width, codes, doubtful);
}

#define CHUNKS_MAX (BETA_STEP_WIDTH_MAX / BETA_LINE_CHUNK)

/* Codes of the distances up to `furthest`. `codes` has room for all. */
static void decide_distances(const beta_job *job, rule *by, const beta_scores *r, double inverse, uint8_t *codes) {
  const shared *all = job->prepared;
  const struct beta_vector_kernel *kernel = job->v->kernel;
  if (!by->by_line || all->singular) {
    kernel->decide(&by->coder, all->exponentials.real, inverse, r->furthest / 16 + 1, codes);
    return;
  }
  uint16_t doubtful[CHUNKS_MAX];
  const uint32_t doubts = codes_by_line(job, by, all->singles, inverse, r->furthest + 1, codes, doubtful);
  for (uint32_t i = 0; i < doubts; i++) {
    const uint32_t from = doubtful[i] * BETA_LINE_CHUNK;
    kernel->decide(&by->coder, all->exponentials.real + from, inverse, BETA_LINE_CHUNK / 16, codes + from);
  }
}

/* Codes of a row that is not near. */
static void decide_row(const beta_job *job, rule *by, const beta_scores *r, uint32_t row, uint8_t *codes) {
  const shared *all = job->prepared;
  const struct beta_vector_kernel *kernel = job->v->kernel;
  const beta_step_softmax *s = &job->g->step.softmax;
  uint16_t doubtful[CHUNKS_MAX];
  uint32_t doubts = (job->width + BETA_LINE_CHUNK - 1) / BETA_LINE_CHUNK;
  if (by->by_line && is_single(all, s, r)) {
    float e[BETA_STEP_WIDTH_MAX];
    const double sum = kernel->approximate(r->scores, r->int16, r->tokens, r->most, all->scale, e);
    doubts = codes_by_line(job, by, e, 1 / sum, job->width, codes, doubtful);
    if (doubts == 0) return;
  } else {
    for (uint32_t i = 0; i < doubts; i++) doubtful[i] = (uint16_t)i;
  }
  double e[BETA_STEP_WIDTH_MAX];
  const double inverse = beta_weigh_row(job->v, s, &all->exponentials, row, r, e);
  for (uint32_t i = 0; i < doubts; i++) {
    const uint32_t from = doubtful[i] * BETA_LINE_CHUNK, left = job->width - from;
    kernel->decide(&by->coder, e + from, inverse, ((left < BETA_LINE_CHUNK ? left : BETA_LINE_CHUNK) + 15) / 16, codes + from);
  }
}

static void emit_staged(const beta_job *job, uint32_t sequence, uint32_t begin, uint32_t end, const beta_found *found) {
  (void)sequence;
  const struct beta_vector_kernel *kernel = job->v->kernel;
  const beta_step_quantise *q = &job->g->consumers[0];
  const shared *all = job->prepared;
  rule by = {.coder = beta_coder_of(job->v, q, found[0])};
  by.by_line = by.coder.inverse > 0 && beta_line_of_numbers(&by.coder, code_error(&by.coder, all->error), &by.line);
  const int one_bit = q->format == (BETA_ENC_U << BETA_FMT_ENC_SHIFT) && !q->sums_off, again = beta_needs_range(q);
  const int all_zero = q->kind == BETA_STEP_QUANTISER_SYMMETRIC && !(by.coder.step > 0);
  uint8_t codes[BETA_STEP_WIDTH_MAX], decided[STAGE_ROWS][BETA_DISTANCES] = {{0}};
  stage t;
  for (uint32_t row = begin; row < end; row += t.count) {
    survey(job, row, end, again, &t);
    for (uint32_t i = 0; i < t.count; i++) {
      if (t.near[i]) decide_distances(job, &by, &t.row[i], t.inverse[i], decided[i]);
    }
    for (uint32_t i = 0; i < t.count; i++) {
      const beta_scores *r = &t.row[i];
      if (t.near[i] && one_bit) {
        leave_ones(job, r, row + i, decided[i]);
        continue;
      }
      if (all_zero) memset(codes, 0, job->width);
      else if (t.near[i]) kernel->look_up(decided[i], t.distances + (size_t)i * t.stride, job->width, r->furthest, codes);
      else decide_row(job, &by, r, row + i, codes);
      beta_leave_codes(job->v, q, &by.coder, codes, job->width, row + i);
    }
  }
}

void beta_decide_probabilities(beta_job *job) {
  const beta_step_softmax *s = &job->g->step.softmax;
  const beta_found a = beta_found_at(job->v, s->found_a_off, 0), b = beta_found_at(job->v, s->found_b_off, 0);
  const uint32_t rows = (job->end ? job->end : job->rows) - job->first;
  seen of_rows[SEEN_ROWS];
  shared all;
  beta_exponentials_of(job->v, s, &all.exponentials);
  all.singular = 0;
  for (uint32_t i = 0; i < BETA_DISTANCES; i++) {
    const double e = all.exponentials.real[i];
    all.singles[i] = (float)e;
    all.singular |= !(e >= 0 && e <= 1);
  }
  all.scale = s->scale * a.step * b.step;
  all.error = 0x1p-24 * (12 + 2.1 * log2(s->tokens) + s->tokens / 16.0);
  all.rows = beta_needs_range(&job->g->consumers[0]) && rows <= SEEN_ROWS ? of_rows : NULL;
  job->prepared = &all;
  job->range = range_staged;
  job->emit = emit_staged;
  beta_run_rows(job);
}
