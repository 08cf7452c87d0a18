/* Word (bit-planes), position and token-type embeddings, and their LayerNorm. */
#include <string.h>

#include "beta_contract.h"
#include "vector.h"

/* Weight code of one element of a word row: PM1, or S 2 bits where the table holds zeros. */
static inline int word_code(const uint8_t *row, uint32_t element, int ternary) {
  const unsigned bits = ternary ? 2 : 1;
  const uint8_t *block = row + (size_t)(element / BETA_BLOCK_ELEMENTS) * BETA_BEAT_BYTES * bits;
  const uint32_t byte = element % BETA_BLOCK_ELEMENTS / 8, bit = element % 8;
  const int low = block[byte] >> bit & 1;
  if (!ternary) return 2 * low - 1;
  return low - 2 * (block[BETA_BEAT_BYTES + byte] >> bit & 1);
}

static void embed_row(const beta_vector *v, const beta_group *g, uint32_t sequence, uint32_t row, double *x) {
  (void)sequence;
  const beta_step_embed *s = &g->step.embed;
  const uint32_t id = ((const uint32_t *)beta_at(v, s->ids_off))[row];
  const uint32_t position = ((const uint32_t *)beta_at(v, s->positions_off))[row];
  const uint32_t type = ((const uint32_t *)beta_at(v, s->types_off))[row];
  const float *position_row = (const float *)beta_at(v, s->position_off) + (size_t)position * s->width;
  const float *type_row = (const float *)beta_at(v, s->type_off) + (size_t)type * s->width;

  memset(x, 0, s->width * sizeof *x);
  for (unsigned i = 0; i < s->terms; i++) {
    const beta_step_table *t = &g->terms[i].table;
    const uint8_t *word = (const uint8_t *)beta_at(v, t->word_off) + (size_t)id * t->word_stride;
    const double scale = ((const double *)beta_at(v, t->word_scale_off))[id];
    const int ternary = (t->word_format & BETA_FMT_WIDTH_MASK) != 0;
    for (uint32_t k = 0; k < s->width; k++) x[k] += scale * word_code(word, k, ternary);
  }
  for (uint32_t k = 0; k < s->width; k++) x[k] = x[k] + position_row[k] + type_row[k];
  beta_layer_norm(x, s->width, beta_at(v, s->gamma_off), beta_at(v, s->beta_off), s->epsilon);
}

void beta_embed(const beta_vector *v, const beta_group *g) {
  const beta_step_embed *s = &g->step.embed;
  beta_run_rows(v, g, &(beta_rows){embed_row, s->rows, s->width, s->starts_off, s->sequences, s->out_off, s->first_row, s->end_row});
}
