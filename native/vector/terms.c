/* Integer accumulators to real values: the merged epilogue of a linear layer, over one or two branches. */
#include "vector.h"

beta_sum beta_sum_of(const beta_job *job, const beta_step_term *t, const beta_terms *s, uint32_t sequence, uint32_t row, int last) {
  const beta_vector *v = job->v;
  const beta_found a = beta_found_at(v, t->found_a_off, sequence), b = beta_found_at(v, t->found_b_off, sequence);
  const double *scales = beta_optional(v, t->scale_off);
  const double step = a.step * b.step;
  beta_sum sum = {
      .acc = beta_at(v, t->acc_off),
      .acc_int16 = t->acc_int16 != 0,
      .scale = scales ? s->by_row ? scales[row] * step : step : t->scale * step,
      .scales = s->by_row ? NULL : scales,
      .offset = a.t * b.step * t->sums_scale,
  };
  if (t->sums_off && t->sums_stride) {
    sum.sums_int32 = (const int32_t *)((const uint8_t *)beta_at(v, t->sums_off) + (size_t)sequence * t->sums_stride);
  } else if (t->sums_off && s->by_row) {
    sum.has_constant = true;
    sum.constant = sum.offset * ((const double *)beta_at(v, t->sums_off))[row];
  } else if (t->sums_off) {
    sum.sums = beta_at(v, t->sums_off);
  }
  if (last) {
    const float *bias = beta_optional(v, s->bias_off);
    sum.bias = s->by_row ? NULL : bias;
    sum.has_bias_of_row = s->by_row && bias != NULL;
    if (sum.has_bias_of_row) sum.bias_of_row = bias[row];
    sum.residual = s->residual;
    sum.relu = s->relu != 0;
  }
  return sum;
}

/* An offset of the second operand multiplies what the first one's row adds up to, block by block. */
static void add_row_offset(const beta_job *job, const beta_step_term *t, uint32_t sequence, uint32_t block, uint32_t row, beta_sum *sum) {
  const uint8_t *sums = (const uint8_t *)beta_at(job->v, t->row_sums_off) + (size_t)block * t->row_sums_stride;
  const double offset = beta_found_at(job->v, t->found_b_off, sequence).t * ((const double *)(const void *)sums)[row];
  sum->constant = sum->has_constant ? sum->constant + offset : offset;
  sum->has_constant = true;
}

beta_sum beta_sum_part(beta_sum sum, const beta_step_term *t, uint32_t row, uint32_t begin, uint32_t width) {
  sum.width = width;
  sum.acc = (const uint8_t *)sum.acc + beta_acc_at(t, row, begin);
  if (sum.scales) sum.scales += begin;
  if (sum.sums) sum.sums += begin;
  if (sum.sums_int32) sum.sums_int32 += begin;
  if (sum.bias) sum.bias += begin;
  if (sum.residual) sum.residual += begin;
  return sum;
}

void beta_sum_terms(const beta_job *job, const beta_terms *s, uint32_t sequence, uint32_t row, uint32_t begin, uint32_t end, double *x) {
  const unsigned terms = job->g->step.header.terms;
  for (unsigned i = 0; i < terms; i++) {
    const beta_step_term *t = &job->g->terms[i].term;
    const beta_sum all = beta_sum_of(job, t, s, sequence, row, i + 1 == terms);
    for (uint32_t at = begin, width; at < end; at += width) {
      width = t->block - at % t->block < end - at ? t->block - at % t->block : end - at;
      beta_sum sum = beta_sum_part(all, t, row, at, width);
      sum.adds = i > 0;
      if (t->row_sums_off) add_row_offset(job, t, sequence, at / t->block, row, &sum);
      job->v->kernel->sum(&sum, x + (at - begin));
    }
  }
}
