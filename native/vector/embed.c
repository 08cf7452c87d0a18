/* Word (bit-planes), position and token-type embeddings, and their LayerNorm. */
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

void beta_embed(const beta_vector *v, const beta_step_embed *s, const beta_step_quantise *q) {
  double x[BETA_STEP_WIDTH_MAX];
  const uint32_t *ids = beta_at(v, s->ids_off), *positions = beta_at(v, s->positions_off), *types = beta_at(v, s->types_off);
  const double *scales = beta_at(v, s->word_scale_off);
  const float *position_table = beta_at(v, s->position_off), *type_table = beta_at(v, s->type_off);
  const float *gamma = beta_at(v, s->gamma_off), *beta = beta_at(v, s->beta_off);
  const int ternary = (s->word_format & BETA_FMT_WIDTH_MASK) != 0;

  for (uint32_t row = 0; row < s->rows; row++) {
    const uint8_t *word = (const uint8_t *)beta_at(v, s->word_off) + (size_t)ids[row] * s->word_stride;
    const float *position = position_table + (size_t)positions[row] * s->width;
    const float *type = type_table + (size_t)types[row] * s->width;
    const double scale = scales[ids[row]];
    for (uint32_t i = 0; i < s->width; i++) {
      x[i] = scale * word_code(word, i, ternary) + position[i] + type[i];
    }
    beta_layer_norm(x, s->width, gamma, beta, s->epsilon);
    beta_emit_row(v, q, s->consumers, row, s->width, x, s->out_off);
  }
}
