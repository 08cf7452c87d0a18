/*
 * The context of real probabilities, sum_j p_ij V_jc, for every head of one sequence: what the engine cannot multiply, because
 * one of the operands has no codes. Probabilities are not stored: a row of the context is made from its rows of scores.
 */
#include "beta_contract.h"
#include "vector.h"

/* Code of one element of a row of planes in any operand format. */
static inline int32_t code_at(const uint8_t *row, uint32_t element, unsigned bits, unsigned encoding) {
  const uint8_t *block = row + (size_t)(element / BETA_BLOCK_ELEMENTS) * BETA_BEAT_BYTES * bits;
  const uint32_t byte = element % BETA_BLOCK_ELEMENTS / 8, bit = element % 8;
  int32_t code = 0;
  for (unsigned plane = 0; plane < bits; plane++) code |= (block[plane * BETA_BEAT_BYTES + byte] >> bit & 1) << plane;
  if (encoding == BETA_ENC_PM1) return 2 * code - 1;
  return encoding == BETA_ENC_S && code >> (bits - 1) ? code - (1 << bits) : code;
}

/* V transposed, a row for each column, to codes[tokens][width]: every row of the context reads all of them. */
static void unpack(const beta_vector *v, const beta_step_value *t, uint32_t tokens) {
  const unsigned bits = 1u << (t->format & BETA_FMT_WIDTH_MASK), encoding = t->format >> BETA_FMT_ENC_SHIFT & BETA_FMT_ENC_MASK;
  float *codes = beta_at(v, t->codes_off);
  for (uint32_t column = 0; column < t->width; column++) {
    const uint8_t *row = (const uint8_t *)beta_at(v, t->off) + (size_t)column * t->stride;
    for (uint32_t token = 0; token < tokens; token++)
      codes[(size_t)token * t->width + column] = (float)code_at(row, token, bits, encoding);
  }
}

static void context_row(const beta_job *job, uint32_t sequence, uint32_t row, double *x, float *out) {
  (void)sequence;
  (void)out; /* there is none */
  const beta_vector *v = job->v;
  const beta_step_softmax *s = &job->g->step.softmax;
  const beta_step_value *t = &job->g->terms[0].value;
  const beta_found found = beta_found_at(v, t->found_off, 0);
  const float *codes = beta_at(v, t->codes_off);
  const uint32_t columns = t->width / s->heads;
  double p[BETA_STEP_WIDTH_MAX];

  for (uint32_t head = 0; head < s->heads; head++) {
    double *out = x + (size_t)head * columns;
    beta_softmax_row(v, s, head * s->tokens + row, p);
    double sum = 0;
    for (uint32_t token = 0; token < s->tokens; token++) sum += p[token];
    v->kernel->blend(p, s->tokens, codes + (size_t)head * columns, t->width, columns, out);
    for (uint32_t i = 0; i < columns; i++) out[i] = t->scale * found.step * out[i] + found.t * sum;
  }
}

void beta_context(const beta_vector *v, const beta_group *g) {
  const beta_step_softmax *s = &g->step.softmax;
  const beta_step_value *t = &g->terms[0].value;
  unpack(v, t, s->tokens);
  beta_run_rows(&(beta_job){
      .v = v, .g = g, .rows = s->tokens, .width = t->width, .sequences = 1, .first = s->first_row, .end = s->end_row, .row = context_row});
}
