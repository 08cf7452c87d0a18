/* Word (bit-planes), position and token-type embeddings, and their LayerNorm. */
#include <string.h>

#include "beta_contract.h"
#include "vector.h"

static void embed_row(const beta_job *job, uint32_t sequence, uint32_t row, double *x, float *out) {
  (void)sequence;
  const beta_vector *v = job->v;
  const struct beta_vector_kernel *kernel = v->kernel;
  const beta_step_embed *s = &job->g->step.embed;
  const uint32_t id = ((const uint32_t *)beta_at(v, s->ids_off))[row];
  const uint32_t position = ((const uint32_t *)beta_at(v, s->positions_off))[row];
  const uint32_t type = ((const uint32_t *)beta_at(v, s->types_off))[row];

  memset(x, 0, (s->width + BETA_BLOCK_ELEMENTS - 1) / BETA_BLOCK_ELEMENTS * BETA_BLOCK_ELEMENTS * sizeof *x);
  for (unsigned i = 0; i < s->terms; i++) {
    const beta_step_table *t = &job->g->terms[i].table;
    const uint8_t *planes = (const uint8_t *)beta_at(v, t->word_off) + (size_t)id * t->word_stride;
    const double scale = ((const double *)beta_at(v, t->word_scale_off))[id];
    kernel->word(planes, (t->word_format & BETA_FMT_WIDTH_MASK) != 0, scale, s->width, x);
  }
  kernel->add((const float *)beta_at(v, s->position_off) + (size_t)position * s->width, s->width, x);
  kernel->add((const float *)beta_at(v, s->type_off) + (size_t)type * s->width, s->width, x);
  kernel->layer_norm(beta_at(v, s->gamma_off), beta_at(v, s->beta_off), s->epsilon, s->width, x, out);
}

void beta_embed(const beta_vector *v, const beta_group *g) {
  const beta_step_embed *s = &g->step.embed;
  beta_run_rows(&(beta_job){
      .v = v, .g = g, .rows = s->rows, .width = s->width, .starts_off = s->starts_off, .sequences = s->sequences,
      .out_off = s->out_off, .first = s->first_row, .end = s->end_row, .row = embed_row});
}
