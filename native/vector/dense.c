/* Full-precision linear layer (a head). */
#include "vector.h"

void beta_dense(const beta_vector *v, const beta_group *g) {
  const beta_step_dense *s = &g->step.dense;
  const float *weight = beta_at(v, s->weight_off);
  const float *bias = beta_optional(v, s->bias_off);
  for (uint32_t row = 0; row < s->rows; row++) {
    const float *x = (const float *)beta_at(v, s->x_off) + (size_t)row * s->width;
    float *out = (float *)beta_at(v, s->out_off) + (size_t)row * s->out_width;
    for (uint32_t j = 0; j < s->out_width; j++)
      out[j] = (float)(v->kernel->dot(weight + (size_t)j * s->width, x, s->width) + (bias ? bias[j] : 0));
  }
}
