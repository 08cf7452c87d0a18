/* Drives a producer over its rows and hands each to its quantisers. */
#include <math.h>

#include "vector.h"

void beta_range_rows(const beta_job *job, uint32_t sequence, uint32_t begin, uint32_t end, beta_range *ranges) {
  const unsigned consumers = job->g->step.header.consumers;
  double x[BETA_STEP_WIDTH_MAX];
  beta_coder coders[BETA_STEP_CONSUMERS_MAX];
  for (unsigned c = 0; c < consumers; c++) coders[c] = beta_coder_of(job->v, &job->g->consumers[c], (beta_found){.step = 1, .t = 0});
  for (uint32_t row = begin; row < end; row++) {
    job->row(job, sequence, row, x, NULL);
    for (unsigned c = 0; c < consumers; c++) {
      if (beta_needs_range(&job->g->consumers[c])) job->v->kernel->range(&coders[c], x, job->width, &ranges[c]);
    }
  }
}

void beta_emit_rows(const beta_job *job, uint32_t sequence, uint32_t begin, uint32_t end, const beta_found *found) {
  const unsigned consumers = job->g->step.header.consumers;
  double x[BETA_STEP_WIDTH_MAX];
  beta_coder coders[BETA_STEP_CONSUMERS_MAX];
  for (unsigned c = 0; c < consumers; c++) coders[c] = beta_coder_of(job->v, &job->g->consumers[c], found[c]);
  for (uint32_t row = begin; row < end; row++) {
    float *out = job->out_off ? (float *)beta_at(job->v, job->out_off) + (size_t)row * job->width : NULL;
    job->row(job, sequence, row, x, out);
    for (unsigned c = 0; c < consumers; c++) beta_quantise_row(job->v, &job->g->consumers[c], &coders[c], x, out, job->width, row);
  }
}

/* First pass over a sequence: what its quantisers need to know of all its rows. */
static void find(const beta_job *job, uint32_t sequence, uint32_t begin, uint32_t end, beta_found *found) {
  beta_range ranges[BETA_STEP_CONSUMERS_MAX];
  const unsigned consumers = job->g->step.header.consumers;
  int needed = 0;
  for (unsigned c = 0; c < consumers; c++) {
    ranges[c] = BETA_RANGE_NONE;
    found[c] = (beta_found){.step = job->g->consumers[c].step, .t = 0};
    needed |= beta_needs_range(&job->g->consumers[c]);
  }
  if (!needed) return;
  (job->range ? job->range : beta_range_rows)(job, sequence, begin, end, ranges);
  for (unsigned c = 0; c < consumers; c++) {
    const beta_step_quantise *q = &job->g->consumers[c];
    if (!beta_needs_range(q)) continue;
    found[c] = beta_range_found(q, ranges[c]);
    ((beta_found *)beta_at(job->v, q->found_off))[sequence] = found[c];
  }
}

void beta_run_rows(const beta_job *job) {
  beta_found found[BETA_STEP_CONSUMERS_MAX];
  const uint32_t whole[2] = {0, job->rows};
  const uint32_t *starts = job->starts_off ? beta_at(job->v, job->starts_off) : whole;
  const uint32_t first = job->first, last = job->end ? job->end : job->rows;

  for (uint32_t sequence = 0; sequence < job->sequences; sequence++) {
    const uint32_t begin = starts[sequence] > first ? starts[sequence] : first;
    const uint32_t end = starts[sequence + 1] < last ? starts[sequence + 1] : last;
    if (begin >= end) continue;
    find(job, sequence, begin, end, found);
    (job->emit ? job->emit : beta_emit_rows)(job, sequence, begin, end, found);
  }
}
