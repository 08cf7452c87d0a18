/* Private to vector/: what every step shares. A step is checked whole before it runs (run.c), then runs unchecked. */
#ifndef BETA_VECTOR_H
#define BETA_VECTOR_H

#include <stddef.h>
#include <stdint.h>

#include "steps.h"

typedef struct beta_vector {
  uint8_t *base;  /* the window */
  uint64_t bytes; /* its size */
} beta_vector;

/* Address of a window offset. The offset has been checked. */
static inline void *beta_at(const beta_vector *v, uint32_t off) { return v->base + off; }

/* Real value of one accumulator: scale*D + bias, in double, the very expression that the compiler searches. */
static inline double beta_affine(double scale, int32_t d, double bias) {
  double product = scale * d;
  return product + bias;
}

/* --- quantise.c --- */

/*
 * Quantises `width` values of one row (x is overwritten) and packs them into planes at `row`, from element k0.
 * `t` is the offset of ROUND_FROM_MIN, 0 otherwise.
 */
void beta_quantise_row(const beta_vector *v, const beta_step_quantise *q, const double *x, uint32_t width, double t,
                       uint8_t *row);

/* Smallest x[i] + shift[i] of a row, for ROUND_FROM_MIN. */
double beta_row_minimum(const beta_vector *v, const beta_step_quantise *q, const double *x, uint32_t width);

/* --- one file per producer; `q` has step->consumers records --- */
void beta_embed(const beta_vector *v, const beta_step_embed *s, const beta_step_quantise *q);
void beta_affine_rows(const beta_vector *v, const beta_step_affine *s, const beta_step_quantise *q);
void beta_norm(const beta_vector *v, const beta_step_norm *s, const beta_step_quantise *q);
void beta_softmax(const beta_vector *v, const beta_step_softmax *s, const beta_step_quantise *q);
void beta_dense(const beta_vector *v, const beta_step_dense *s);

/* LayerNorm of one row in place: gamma*(x-mean)/sqrt(var+epsilon) + beta, biased variance (embed.c and norm.c). */
void beta_layer_norm(double *x, uint32_t width, const float *gamma, const float *beta, double epsilon);

/* Stores a row as float and hands it to every consumer of a producer without run-time offsets. */
void beta_emit_row(const beta_vector *v, const beta_step_quantise *q, unsigned consumers, uint32_t row, uint32_t width,
                   const double *x, uint32_t out_off);

/* --- check.c: 0 where every operand of the record and of its consumers lies in the window --- */
int beta_step_check(const beta_vector *v, const beta_step *step, const beta_step_quantise *q);

#endif
