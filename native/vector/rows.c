/* Drives a producer over its rows and hands each to its quantisers. */
#include <math.h>

#include "vector.h"

/* First pass over a sequence: what its quantisers need to know of all its rows. */
static void find_ranges(const beta_vector *v, const beta_group *g, const beta_rows *p, uint32_t sequence, uint32_t begin,
                        uint32_t end, double *x, beta_found *found) {
  beta_range range[BETA_STEP_CONSUMERS_MAX];
  const unsigned consumers = g->step.header.consumers;
  int needed = 0;
  for (unsigned c = 0; c < consumers; c++) {
    range[c] = (beta_range){.low = INFINITY, .high = -INFINITY};
    found[c] = (beta_found){.step = g->consumers[c].step, .t = 0};
    needed |= beta_needs_range(&g->consumers[c]);
  }
  if (!needed) return;
  for (uint32_t row = begin; row < end; row++) {
    p->row(v, g, sequence, row, x);
    for (unsigned c = 0; c < consumers; c++) beta_range_add(v, &g->consumers[c], x, p->width, &range[c]);
  }
  for (unsigned c = 0; c < consumers; c++) {
    if (!beta_needs_range(&g->consumers[c])) continue;
    found[c] = beta_range_found(&g->consumers[c], range[c]);
    ((beta_found *)beta_at(v, g->consumers[c].found_off))[sequence] = found[c];
  }
}

/* Where the sum of a row goes: block after block. */
static double *sum_at(const beta_vector *v, const beta_step_quantise *q, uint32_t row) {
  uint8_t *block = (uint8_t *)beta_at(v, q->sums_off) + (size_t)(row / q->sums_rows) * q->sums_stride;
  return (double *)(void *)block + row % q->sums_rows;
}

void beta_run_rows(const beta_vector *v, const beta_group *g, const beta_rows *p) {
  double x[BETA_STEP_WIDTH_MAX];
  beta_found found[BETA_STEP_CONSUMERS_MAX];
  const uint32_t whole[2] = {0, p->rows};
  const uint32_t *starts = p->starts_off ? beta_at(v, p->starts_off) : whole;
  const uint32_t first = p->first, last = p->end ? p->end : p->rows;

  for (uint32_t sequence = 0; sequence < p->sequences; sequence++) {
    const uint32_t begin = starts[sequence] > first ? starts[sequence] : first;
    const uint32_t end = starts[sequence + 1] < last ? starts[sequence + 1] : last;
    if (begin >= end) continue;
    find_ranges(v, g, p, sequence, begin, end, x, found);
    for (uint32_t row = begin; row < end; row++) {
      p->row(v, g, sequence, row, x);
      if (p->out_off) {
        float *out = (float *)beta_at(v, p->out_off) + (size_t)row * p->width;
        for (uint32_t i = 0; i < p->width; i++) out[i] = (float)x[i];
      }
      for (unsigned c = 0; c < g->step.header.consumers; c++) {
        const beta_step_quantise *q = &g->consumers[c];
        uint8_t *out = (uint8_t *)beta_at(v, q->out_off) + (size_t)row * q->out_stride;
        const double sum = beta_quantise_row(v, q, x, p->width, found[c], out);
        if (q->sums_off) *sum_at(v, q, row) = sum;
      }
    }
  }
}
