/* Full-precision linear layer (a head). */
#include "threads/pool.h"
#include "vector.h"

/* Results that one thread takes at a time. */
#define UNIT 64u

typedef struct dense {
  const beta_vector *v;
  const beta_step_dense *s;
} dense;

static void some_results(void *context, uint32_t unit, uint32_t seat) {
  (void)seat;
  const beta_vector *v = ((const dense *)context)->v;
  const beta_step_dense *s = ((const dense *)context)->s;
  const float *bias = beta_optional(v, s->bias_off);
  const uint64_t all = (uint64_t)s->rows * s->out_width, begin = (uint64_t)unit * UNIT, end = begin + UNIT < all ? begin + UNIT : all;
  for (uint64_t i = begin; i < end; i++) {
    const uint64_t row = i / s->out_width, column = i % s->out_width;
    const float *x = (const float *)beta_at(v, s->x_off) + row * s->width;
    const float *weight = (const float *)beta_at(v, s->weight_off) + column * s->width;
    ((float *)beta_at(v, s->out_off))[i] = (float)(v->kernel->dot(weight, x, s->width) + (bias ? bias[column] : 0));
  }
}

void beta_dense(const beta_vector *v, const beta_group *g) {
  dense job = {v, &g->step.dense};
  const uint64_t all = (uint64_t)job.s->rows * job.s->out_width;
  beta_pool_run(v->pool, BETA_SEAT_HOST, (uint32_t)((all + UNIT - 1) / UNIT), some_results, &job);
}
