/* Integer accumulators to real values and through an activation. */
#include <math.h>

#include "vector.h"

static beta_terms terms_of(const beta_job *job) {
  const beta_step_affine *s = &job->g->step.affine;
  return (beta_terms){.bias_off = s->bias_off, .by_row = s->by_row != 0, .relu = s->activation == BETA_STEP_ACTIVATION_RELU};
}

static void before_activation(const beta_job *job, uint32_t sequence, uint32_t row, double *x) {
  const beta_terms terms = terms_of(job);
  beta_sum_terms(job, &terms, sequence, row, 0, job->width, x);
}

/*
 * Codes of columns of a row by a line, and of chunks in doubt by their real values; to codes[0] and on. The columns are those of one block
 * of the accumulators.
 */
static void code_columns(const beta_job *job, beta_line line, unsigned consumer, const beta_coder *coder, uint32_t sequence, uint32_t row,
                         uint32_t begin, uint32_t width, uint8_t *codes) {
  const beta_step_term *t = &job->g->terms[0].term;
  uint16_t doubtful[BETA_STEP_WIDTH_MAX / BETA_LINE_CHUNK];
  line.numbers = (const uint8_t *)beta_at(job->v, t->acc_off) + beta_acc_at(t, row, begin);
  if (line.slopes) line.slopes += begin;
  if (line.bases) line.bases += begin;
  if (line.floors) line.floors += begin;
  const uint32_t doubts = job->v->kernel->line_codes(&line, width, codes, doubtful);
  for (uint32_t i = 0; i < doubts; i++) {
    double x[2 * BETA_LINE_CHUNK];
    const beta_terms terms = terms_of(job);
    const uint32_t from = doubtful[i] * BETA_LINE_CHUNK, left = width - from, some = left < BETA_LINE_CHUNK ? left : BETA_LINE_CHUNK;
    beta_sum_terms(job, &terms, sequence, row, begin + from, begin + from + some, x);
    beta_code_part(job->v, &job->g->consumers[consumer], coder, x, begin + from, some, codes + from);
  }
}

/*
 * Columns that are gone through together. The engine leaves its results panel by panel, so the last columns of all rows are those that
 * are still in the second-level cache: they come first.
 */
#define PANEL_COLUMNS 1024u

/* Codes straight from the integers, where lines decide them (line.c). */
static void emit_codes(const beta_job *job, uint32_t sequence, uint32_t begin, uint32_t end, const beta_found *found) {
  const beta_group *g = job->g;
  const unsigned consumers = g->step.header.consumers;
  const beta_terms terms = terms_of(job);
  const uint32_t block = g->terms[0].term.block, width = job->width;
  uint8_t codes[BETA_STEP_WIDTH_MAX];
  beta_coder coders[BETA_STEP_CONSUMERS_MAX];
  beta_lines lines;
  for (unsigned c = 0; c < consumers; c++) coders[c] = beta_coder_of(job->v, &g->consumers[c], found[c]);
  if (!beta_lines_of_integers(job, &terms, sequence, coders, &lines)) {
    beta_emit_rows(job, sequence, begin, end, found);
    return;
  }
  const uint32_t panel = block == width && !terms.by_row ? PANEL_COLUMNS : width;
  for (uint32_t left = (width + panel - 1) / panel; left-- > 0;) {
    const uint32_t from = left * panel, until = width - from < panel ? width : from + panel;
    for (uint32_t row = begin; row < end; row++) {
      for (unsigned c = 0; c < consumers; c++) {
        const beta_line line = terms.by_row ? beta_line_of_row(&lines.of[c], row) : lines.of[c];
        for (uint32_t at = from, some; at < until; at += some) {
          some = block < until - at ? block : until - at;
          code_columns(job, line, c, &coders[c], sequence, row, at, some, codes + (at - from));
        }
        beta_leave_part(job->v, &g->consumers[c], codes, from, until - from, row);
        if (left == 0) beta_leave_sum(job->v, &g->consumers[c], &coders[c], width, row);
      }
    }
  }
}

/* Whether integers may have lines: one term whose offsets are those of columns or of rows, and codes alone are asked for. */
static int has_lines(const beta_group *g) {
  const beta_step_affine *s = &g->step.affine;
  if (g->step.header.terms != 1 || g->terms[0].term.row_sums_off || s->out_off || s->activation > BETA_STEP_ACTIVATION_RELU) return 0;
  for (unsigned c = 0; c < g->step.header.consumers; c++) {
    if (g->consumers[c].kind == BETA_STEP_QUANTISER_SIGN || (s->by_row && g->consumers[c].shift_off)) return 0;
  }
  return 1;
}

static void leave(const beta_job *job, const double *x, float *out) {
  if (out) job->v->kernel->narrow(x, job->width, out);
}

static void plain_row(const beta_job *job, uint32_t sequence, uint32_t row, double *x, float *out) {
  before_activation(job, sequence, row, x);
  leave(job, x, out);
}

static void gelu_row(const beta_job *job, uint32_t sequence, uint32_t row, double *x, float *out) {
  before_activation(job, sequence, row, x);
  job->v->kernel->gelu(job->width, x);
  leave(job, x, out);
}

static void gelu_sign_row(const beta_job *job, uint32_t sequence, uint32_t row, double *x, float *out) {
  (void)out; /* there is none */
  before_activation(job, sequence, row, x);
  job->v->kernel->gelu_sign(job->width, x);
}

static void tanh_row(const beta_job *job, uint32_t sequence, uint32_t row, double *x, float *out) {
  before_activation(job, sequence, row, x);
  job->v->kernel->tanh(job->width, x);
  leave(job, x, out);
}

/* A range of GELU is found in four of its arguments, so that the first pass computes none of it. */
static void gelu_range(const beta_job *job, uint32_t sequence, uint32_t begin, uint32_t end, beta_ranges *ranges) {
  double x[BETA_STEP_WIDTH_MAX];
  for (uint32_t row = begin; row < end; row++) {
    before_activation(job, sequence, row, x);
    job->v->kernel->gelu_turns(x, job->width, ranges->turns);
  }
}

static void gelu_settle(const beta_job *job, beta_ranges *ranges) {
  const struct beta_vector_kernel *kernel = job->v->kernel;
  double values[128];
  uint32_t count = 0;
  for (unsigned i = 0; i < 4; i++) {
    if (isfinite(ranges->turns[i])) values[count++] = ranges->turns[i];
  }
  kernel->gelu(count, values);
  for (unsigned c = 0; c < job->g->step.header.consumers; c++) {
    const beta_coder coder = beta_coder_of(job->v, &job->g->consumers[c], (beta_found){.step = 1, .t = 0});
    kernel->range(&coder, values, count, &ranges->of[c]);
  }
}

/* The column in which ReLU leaves a quantiser the least, its shift; any column where there is none. */
static uint32_t lowest_column(const beta_job *job, const beta_step_quantise *q, double *x) {
  const float *shift = beta_optional(job->v, q->shift_off);
  if (!shift) return 0;
  const beta_coder plain = {.step = 1};
  beta_range of = {.low = INFINITY, .high = -INFINITY};
  job->v->kernel->widen(shift, job->width, x);
  job->v->kernel->range(&plain, x, job->width, &of);
  for (uint32_t i = 0; i < job->width; i++) {
    if (shift[i] == (float)of.low) return i;
  }
  return 0;
}

/* Behind ReLU a minimum is found as soon as the channel of the least shift is off: as a rule in one of the first rows. */
static void relu_range(const beta_job *job, uint32_t sequence, uint32_t begin, uint32_t end, beta_ranges *ranges) {
  const beta_terms terms = terms_of(job);
  double x[BETA_STEP_WIDTH_MAX];
  int open = 0;
  for (unsigned c = 0; c < job->g->step.header.consumers; c++) {
    const beta_step_quantise *q = &job->g->consumers[c];
    if (!beta_needs_range(q)) continue;
    const uint32_t column = lowest_column(job, q, x);
    beta_coder coder = beta_coder_of(job->v, q, (beta_found){.step = 1, .t = 0});
    if (coder.shift) coder.shift += column;
    uint32_t row = begin;
    for (; row < end; row++) {
      beta_sum_terms(job, &terms, sequence, row, column, column + 1, x);
      if (x[0] <= 0) break;
    }
    if (row < end) job->v->kernel->range(&coder, x, 1, &ranges->of[c]);
    else open = 1;
  }
  if (open) beta_range_rows(job, sequence, begin, end, ranges);
}

/* Whether the ranges are minima alone. */
static int only_minima(const beta_group *g) {
  for (unsigned c = 0; c < g->step.header.consumers; c++) {
    if (g->consumers[c].kind > BETA_STEP_QUANTISER_ROUND_FROM_MIN) return 0;
  }
  return 1;
}

/* Whether nothing but the signs of the values is asked for. */
static int only_signs(const beta_group *g) {
  if (g->step.affine.out_off) return 0;
  for (unsigned c = 0; c < g->step.header.consumers; c++) {
    if (g->consumers[c].kind != BETA_STEP_QUANTISER_SIGN || g->consumers[c].shift_off) return 0;
  }
  return 1;
}

/* A shift moves channels against one another, and then a range is not found in single arguments. */
static int has_shift(const beta_group *g) {
  for (unsigned c = 0; c < g->step.header.consumers; c++) {
    if (g->consumers[c].shift_off) return 1;
  }
  return 0;
}

void beta_affine(const beta_vector *v, const beta_group *g) {
  const beta_step_affine *s = &g->step.affine;
  beta_job job = {
      .v = v, .g = g, .rows = s->rows, .width = s->width, .starts_off = s->starts_off, .sequences = s->sequences,
      .out_off = s->out_off, .first = s->first_row, .end = s->end_row, .row = plain_row};
  if (s->activation == BETA_STEP_ACTIVATION_TANH) job.row = tanh_row;
  if (s->activation == BETA_STEP_ACTIVATION_RELU && only_minima(g)) job.range = relu_range;
  if (s->activation == BETA_STEP_ACTIVATION_GELU) {
    job.row = only_signs(g) ? gelu_sign_row : gelu_row;
    if (!has_shift(g)) {
      job.range = gelu_range;
      job.settle = gelu_settle;
    }
  }
  if (has_lines(g)) job.emit = emit_codes;
  beta_run_rows(&job);
}
