/*
 * A record is checked whole before it runs: sizes sane, every operand aligned and inside the window, indices in range. The
 * host's own compiler writes these records, but from artifacts that come from outside.
 */
#include <errno.h>
#include <math.h>

#include "beta_contract.h"
#include "vector.h"

#define ROWS_MAX (1u << 24)

/* `rows` rows of `row_bytes`, `stride` apart, from `off`; `align` is the operand's own alignment. */
static int rows_inside(const beta_vector *v, uint32_t off, uint64_t rows, uint64_t stride, uint64_t row_bytes, uint32_t align) {
  if (off == 0 || off % align != 0 || stride % align != 0 || rows == 0) return 0;
  if (rows > ROWS_MAX || stride > UINT32_MAX || row_bytes > UINT32_MAX) return 0;
  return off + (rows - 1) * stride + row_bytes <= v->bytes;
}

static int array_inside(const beta_vector *v, uint32_t off, uint64_t count, uint32_t size) {
  return count <= UINT32_MAX && rows_inside(v, off, 1, 0, count * size, size);
}

static int optional_inside(const beta_vector *v, uint32_t off, uint64_t count, uint32_t size) {
  return off == 0 || array_inside(v, off, count, size);
}

/* The index arrays of a step. They are checked once, so nothing that the step writes may lie on them. */
typedef struct indices {
  unsigned count;
  struct {
    uint32_t off;
    uint64_t bytes;
  } array[3];
} indices;

static int spared(const indices *kept, uint64_t off, uint64_t bytes) {
  for (unsigned i = 0; i < kept->count; i++) {
    const uint64_t begin = kept->array[i].off;
    if (off < begin + kept->array[i].bytes && begin < off + bytes) return 0;
  }
  return 1;
}

/* Float rows that a step leaves, or none. */
static int out_valid(const beta_vector *v, const indices *kept, uint32_t off, uint64_t elements) {
  return off == 0 || (array_inside(v, off, elements, 4) && spared(kept, off, elements * 4));
}

/*
 * Every element of a result is a word of its own, so a window bounds the work as well: without this a stride of 0 could ask
 * for hours of it.
 */
static int work_bounded(const beta_vector *v, uint64_t rows, uint64_t width) { return rows * width <= v->bytes / 4; }

/* Row starts of the sequences: ascending from 0 to `rows`. */
static int starts_valid(const beta_vector *v, uint32_t off, uint32_t sequences, uint32_t rows) {
  if (sequences == 0 || sequences > ROWS_MAX || !array_inside(v, off, (uint64_t)sequences + 1, 4)) return 0;
  const uint32_t *starts = beta_at(v, off);
  if (starts[0] != 0 || starts[sequences] != rows) return 0;
  for (uint32_t i = 0; i < sequences; i++) {
    if (starts[i] > starts[i + 1]) return 0;
  }
  return 1;
}

static int indices_below(const beta_vector *v, uint32_t off, uint32_t count, uint32_t limit) {
  if (!array_inside(v, off, count, 4)) return 0;
  const uint32_t *values = beta_at(v, off);
  for (uint32_t i = 0; i < count; i++) {
    if (values[i] >= limit) return 0;
  }
  return 1;
}

static int width_valid(uint32_t width) { return width >= 1 && width <= BETA_STEP_WIDTH_MAX; }
static int rows_valid(uint32_t rows) { return rows >= 1 && rows <= ROWS_MAX; }

#define FORMAT(log2, encoding) ((log2) | (encoding) << BETA_FMT_ENC_SHIFT)

/* One QUANTISE record behind a producer of `rows` rows (of `heads` heads) and `width` columns. */
static int quantise_valid(const beta_vector *v, const indices *kept, const beta_step_quantise *q, uint32_t heads, uint32_t rows,
                          uint32_t width, uint32_t sequences) {
  if (q->op != BETA_STEP_QUANTISE || q->kind > BETA_STEP_QUANTISER_ROUND_FROM_MIN) return 0;
  const unsigned log2 = q->format & BETA_FMT_WIDTH_MASK, encoding = q->format >> BETA_FMT_ENC_SHIFT & BETA_FMT_ENC_MASK;
  if (q->format != FORMAT(log2, encoding) || log2 > BETA_FMT_OPERAND_MAX_LOG2 || encoding > BETA_ENC_PM1) return 0;
  if (encoding == BETA_ENC_PM1 && log2 != 0) return 0;
  const unsigned bits = 1u << log2;
  if (q->k0 >= BETA_BLOCK_ELEMENTS || !(q->step > 0) || !isfinite(q->step)) return 0;
  if (q->kind == BETA_STEP_QUANTISER_SIGN) {
    /* -1, 0 and +1 need two planes of two's complement; without the 0 one plane of PM1 does. */
    if (encoding != BETA_ENC_PM1 && (encoding != BETA_ENC_S || bits < 2)) return 0;
  } else {
    const int32_t low = encoding == BETA_ENC_S ? -(1 << (bits - 1)) : 0;
    const int32_t high = encoding == BETA_ENC_S ? (1 << (bits - 1)) - 1 : (1 << bits) - 1;
    if (encoding == BETA_ENC_PM1 || q->qmin < low || q->qmax > high || q->qmin > q->qmax) return 0;
  }
  const uint64_t row_bytes = (uint64_t)((q->k0 + width + BETA_BLOCK_ELEMENTS - 1) / BETA_BLOCK_ELEMENTS) * BETA_BEAT_BYTES * bits;
  if (rows > 1 && q->out_stride < row_bytes) return 0;
  if (heads > 1 && (q->out_head_stride < row_bytes || q->out_head_stride % BETA_BEAT_BYTES != 0)) return 0;
  const uint64_t last_head = heads > 1 ? (uint64_t)(heads - 1) * q->out_head_stride : 0;
  if (!rows_inside(v, q->out_off, rows, q->out_stride, last_head + row_bytes, BETA_BEAT_BYTES)) return 0;
  if (!spared(kept, q->out_off, (uint64_t)(rows - 1) * q->out_stride + last_head + row_bytes)) return 0;
  if (q->kind == BETA_STEP_QUANTISER_ROUND_FROM_MIN) {
    if (!array_inside(v, q->found_off, sequences, 8) || !spared(kept, q->found_off, (uint64_t)sequences * 8)) return 0;
  }
  return optional_inside(v, q->shift_off, width, 4);
}

static int consumers_valid(const beta_vector *v, const indices *kept, const beta_step_quantise *q, unsigned consumers,
                           uint32_t heads, uint32_t rows, uint32_t width, uint32_t sequences) {
  for (unsigned c = 0; c < consumers; c++) {
    if (!quantise_valid(v, kept, &q[c], heads, rows, width, sequences)) return 0;
  }
  return 1;
}

/* Only AFFINE and SOFTMAX look at all rows of a sequence before they quantise the first. */
static int no_runtime_offset(const beta_step_quantise *q, unsigned consumers) {
  for (unsigned c = 0; c < consumers; c++) {
    if (q[c].kind == BETA_STEP_QUANTISER_ROUND_FROM_MIN) return 0;
  }
  return 1;
}

static int norm_parameters(const beta_vector *v, uint32_t width, uint32_t gamma, uint32_t beta, double epsilon) {
  return array_inside(v, gamma, width, 4) && array_inside(v, beta, width, 4) && epsilon >= 0 && isfinite(epsilon);
}

static int embed_valid(const beta_vector *v, const beta_step_embed *s, const beta_step_quantise *q) {
  if (!rows_valid(s->rows) || !width_valid(s->width) || !work_bounded(v, s->rows, s->width)) return 0;
  const int ternary = s->word_format == FORMAT(1u, BETA_ENC_S);
  if (!ternary && s->word_format != FORMAT(0u, BETA_ENC_PM1)) return 0;
  const uint64_t blocks = (s->width + BETA_BLOCK_ELEMENTS - 1) / BETA_BLOCK_ELEMENTS;
  const uint64_t word_bytes = blocks * BETA_BEAT_BYTES * (ternary ? 2 : 1), array_bytes = (uint64_t)s->rows * 4;
  const indices kept = {3, {{s->ids_off, array_bytes}, {s->positions_off, array_bytes}, {s->types_off, array_bytes}}};
  return s->word_stride >= word_bytes && rows_inside(v, s->word_off, s->words, s->word_stride, word_bytes, BETA_BEAT_BYTES) &&
         array_inside(v, s->word_scale_off, s->words, 8) &&
         array_inside(v, s->position_off, (uint64_t)s->positions * s->width, 4) &&
         array_inside(v, s->type_off, (uint64_t)s->types * s->width, 4) &&
         indices_below(v, s->ids_off, s->rows, s->words) && indices_below(v, s->positions_off, s->rows, s->positions) &&
         indices_below(v, s->types_off, s->rows, s->types) && norm_parameters(v, s->width, s->gamma_off, s->beta_off, s->epsilon) &&
         out_valid(v, &kept, s->out_off, (uint64_t)s->rows * s->width) && no_runtime_offset(q, s->consumers) &&
         consumers_valid(v, &kept, q, s->consumers, 1, s->rows, s->width, 1);
}

static int affine_valid(const beta_vector *v, const beta_step_affine *s, const beta_step_quantise *q) {
  if (!rows_valid(s->rows) || !width_valid(s->width) || s->block == 0 || s->width % s->block != 0) return 0;
  if (!work_bounded(v, s->rows, s->width)) return 0;
  if (s->activation > BETA_STEP_ACTIVATION_TANH || s->by_row > 1 || s->sequences == 0 || s->sequences > ROWS_MAX) return 0;
  const uint64_t blocks = s->width / s->block, channels = s->by_row ? s->rows : s->width;
  if (s->block_stride % 4 != 0) return 0;
  if (s->starts_off ? !starts_valid(v, s->starts_off, s->sequences, s->rows) : s->sequences != 1) return 0;
  if (s->t_off) {
    if (!array_inside(v, s->t_off, s->sequences, 8)) return 0;
    if (s->sums_stride ? !rows_inside(v, s->sums_off, s->sequences, s->sums_stride, (uint64_t)s->width * 4, 4)
                       : !array_inside(v, s->sums_off, s->width, 8))
      return 0;
  }
  const indices kept = {s->starts_off ? 1 : 0, {{s->starts_off, ((uint64_t)s->sequences + 1) * 4}}};
  return rows_inside(v, s->acc_off, s->rows, s->acc_stride, (blocks - 1) * s->block_stride + (uint64_t)s->block * 4, 4) &&
         optional_inside(v, s->scale_off, channels, 8) && optional_inside(v, s->bias_off, channels, 4) &&
         out_valid(v, &kept, s->out_off, (uint64_t)s->rows * s->width) &&
         consumers_valid(v, &kept, q, s->consumers, 1, s->rows, s->width, s->sequences);
}

static int norm_valid(const beta_vector *v, const beta_step_norm *s, const beta_step_quantise *q) {
  if (!rows_valid(s->rows) || !width_valid(s->width)) return 0;
  if (s->t_off && (!array_inside(v, s->t_off, s->sequences, 8) || !array_inside(v, s->sums_off, s->width, 8))) return 0;
  const uint64_t elements = (uint64_t)s->rows * s->width;
  const indices kept = {1, {{s->starts_off, ((uint64_t)s->sequences + 1) * 4}}};
  return starts_valid(v, s->starts_off, s->sequences, s->rows) &&
         rows_inside(v, s->acc_off, s->rows, s->acc_stride, (uint64_t)s->width * 4, 4) &&
         optional_inside(v, s->scale_off, s->width, 8) && optional_inside(v, s->bias_off, s->width, 4) &&
         array_inside(v, s->residual_off, elements, 4) && norm_parameters(v, s->width, s->gamma_off, s->beta_off, s->epsilon) &&
         s->out_off != 0 && out_valid(v, &kept, s->out_off, elements) && no_runtime_offset(q, s->consumers) &&
         consumers_valid(v, &kept, q, s->consumers, 1, s->rows, s->width, 1);
}

static int softmax_valid(const beta_vector *v, const beta_step_softmax *s, const beta_step_quantise *q) {
  if (!width_valid(s->tokens) || s->heads == 0 || s->heads > BETA_STEP_WIDTH_MAX || s->consumers != 1) return 0;
  if (!(s->scale > 0) || !isfinite(s->scale) || s->head_stride % 4 != 0) return 0;
  if (!work_bounded(v, (uint64_t)s->heads * s->tokens, s->tokens)) return 0;
  const indices none = {0};
  if (s->table_length > 0 && !array_inside(v, s->table_off, s->table_length, 8)) return 0;
  return rows_inside(v, s->acc_off, s->tokens, s->acc_stride, (uint64_t)(s->heads - 1) * s->head_stride + (uint64_t)s->tokens * 4, 4) &&
         consumers_valid(v, &none, q, 1, s->heads, s->tokens, s->tokens, 1);
}

static int dense_valid(const beta_vector *v, const beta_step_dense *s) {
  return rows_valid(s->rows) && width_valid(s->width) && rows_valid(s->out_width) && s->consumers == 0 &&
         array_inside(v, s->x_off, (uint64_t)s->rows * s->width, 4) &&
         array_inside(v, s->weight_off, (uint64_t)s->out_width * s->width, 4) && optional_inside(v, s->bias_off, s->out_width, 4) &&
         array_inside(v, s->out_off, (uint64_t)s->rows * s->out_width, 4);
}

int beta_step_check(const beta_vector *v, const beta_step *step, const beta_step_quantise *q) {
  int valid = 0;
  switch (step->op) {
    case BETA_STEP_EMBED: valid = embed_valid(v, (const beta_step_embed *)step, q); break;
    case BETA_STEP_AFFINE: valid = affine_valid(v, (const beta_step_affine *)step, q); break;
    case BETA_STEP_NORM: valid = norm_valid(v, (const beta_step_norm *)step, q); break;
    case BETA_STEP_SOFTMAX: valid = softmax_valid(v, (const beta_step_softmax *)step, q); break;
    case BETA_STEP_DENSE: valid = dense_valid(v, (const beta_step_dense *)step); break;
    default: break;
  }
  return valid ? 0 : -EINVAL;
}
