/* Integer accumulators to real values and through an activation. */
#include <math.h>

#include "vector.h"

static void before_activation(const beta_job *job, uint32_t sequence, uint32_t row, double *x) {
  const beta_step_affine *s = &job->g->step.affine;
  const beta_terms terms = {.width = s->width, .bias_off = s->bias_off, .by_row = s->by_row != 0, .relu = s->activation == BETA_STEP_ACTIVATION_RELU};
  beta_sum_terms(job, &terms, sequence, row, x);
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
static void gelu_range(const beta_job *job, uint32_t sequence, uint32_t begin, uint32_t end, beta_range *ranges) {
  const struct beta_vector_kernel *kernel = job->v->kernel;
  double x[BETA_STEP_WIDTH_MAX];
  double turns[4] = {INFINITY, -INFINITY, -INFINITY, INFINITY};
  for (uint32_t row = begin; row < end; row++) {
    before_activation(job, sequence, row, x);
    kernel->gelu_turns(x, job->width, turns);
  }
  double values[128];
  uint32_t count = 0;
  for (unsigned i = 0; i < 4; i++) {
    if (isfinite(turns[i])) values[count++] = turns[i];
  }
  kernel->gelu(count, values);
  for (unsigned c = 0; c < job->g->step.header.consumers; c++) {
    const beta_coder coder = beta_coder_of(job->v, &job->g->consumers[c], (beta_found){.step = 1, .t = 0});
    kernel->range(&coder, values, count, &ranges[c]);
  }
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
  if (s->activation == BETA_STEP_ACTIVATION_GELU) {
    job.row = only_signs(g) ? gelu_sign_row : gelu_row;
    if (!has_shift(g)) job.range = gelu_range;
  }
  beta_run_rows(&job);
}
