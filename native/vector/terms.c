/* Integer accumulators to real values: the merged epilogue of a linear layer, over one or two branches. */
#include <string.h>

#include "vector.h"

/* sums may be f64 per channel, fixed with the weights, or i32 per channel and sequence, counted by the engine. */
static void add_offset(const beta_vector *v, const beta_step_term *t, uint32_t sequence, uint32_t row, uint32_t width,
                       int by_row, double offset, double *x) {
  if (t->sums_stride) {
    const int32_t *sums = (const int32_t *)((const uint8_t *)beta_at(v, t->sums_off) + (size_t)sequence * t->sums_stride);
    for (uint32_t i = 0; i < width; i++) x[i] += offset * sums[i];
  } else {
    const double *sums = beta_at(v, t->sums_off);
    for (uint32_t i = 0; i < width; i++) x[i] += offset * sums[by_row ? row : i];
  }
}

/* An offset of the second operand multiplies what the first one's row adds up to, block by block. */
static void add_row_offset(const beta_vector *v, const beta_step_term *t, uint32_t row, uint32_t width, double offset, double *x) {
  for (uint32_t begin = 0; begin < width; begin += t->block) {
    const uint8_t *sums = (const uint8_t *)beta_at(v, t->row_sums_off) + (size_t)(begin / t->block) * t->row_sums_stride;
    const double add = offset * ((const double *)(const void *)sums)[row];
    for (uint32_t i = 0; i < t->block; i++) x[begin + i] += add;
  }
}

static void add_term(const beta_vector *v, const beta_step_term *t, uint32_t sequence, uint32_t row, uint32_t width,
                     int by_row, double *x) {
  const beta_found a = beta_found_at(v, t->found_a_off, sequence), b = beta_found_at(v, t->found_b_off, sequence);
  const double *scales = t->scale_off ? beta_at(v, t->scale_off) : NULL;
  const double step = a.step * b.step;
  const uint8_t *acc = (const uint8_t *)beta_at(v, t->acc_off) + (size_t)row * t->acc_stride;

  for (uint32_t begin = 0; begin < width; begin += t->block) {
    const uint8_t *d = acc + (size_t)(begin / t->block) * t->block_stride;
    for (uint32_t i = 0; i < t->block; i++) {
      const double scale = scales ? scales[by_row ? row : begin + i] : t->scale;
      x[begin + i] += scale * step * beta_acc(d, t->acc_int16, i);
    }
  }
  if (t->sums_off) add_offset(v, t, sequence, row, width, by_row, a.t * b.step * t->sums_scale, x);
  if (t->row_sums_off) add_row_offset(v, t, row, width, b.t, x);
}

void beta_sum_terms(const beta_vector *v, const beta_group *g, uint32_t sequence, uint32_t row, uint32_t width,
                    uint32_t bias_off, int by_row, double *x) {
  memset(x, 0, width * sizeof *x);
  for (unsigned i = 0; i < g->step.header.terms; i++) add_term(v, &g->terms[i].term, sequence, row, width, by_row, x);
  if (bias_off) {
    const float *bias = beta_at(v, bias_off);
    for (uint32_t i = 0; i < width; i++) x[i] += bias[by_row ? row : i];
  }
}
