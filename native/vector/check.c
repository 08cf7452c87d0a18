/*
 * A record is checked whole before it runs: sizes sane, every operand aligned and inside the window, indices in range. The
 * host's own compiler writes these records, but from artifacts that come from outside.
 *
 * The check has two halves. What a record says of itself does not change, so a program's records are checked when it is loaded: here.
 * Arrays of indices lie in the window, where they change with every input: they are checked each time (indices.c), after the record.
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

/*
 * Every element of a result has at least two bytes of its own, so a window bounds the work as well: without this a stride of 0 could ask
 * for hours of it.
 */
static int work_bounded(const beta_vector *v, uint64_t rows, uint64_t width) { return rows * width <= v->bytes / 2; }

static int starts_inside(const beta_vector *v, uint32_t off, uint32_t sequences) {
  return sequences >= 1 && sequences <= ROWS_MAX && array_inside(v, off, (uint64_t)sequences + 1, 4);
}

/*
 * The part of a step's rows that a record computes. A range of a sequence needs all of its rows: where starts_off is 0 all rows are
 * one sequence, else the starts say so (part_ends_sequences).
 */
static int part_inside(const beta_group *g, uint32_t first, uint32_t end, uint32_t rows, uint32_t starts_off) {
  if (end == 0) end = rows;
  if (first >= end || end > rows) return 0;
  return starts_off != 0 || (first == 0 && end == rows) || !beta_group_takes_range(g);
}

static int width_valid(uint32_t width) { return width >= 1 && width <= BETA_STEP_WIDTH_MAX; }
static int rows_valid(uint32_t rows) { return rows >= 1 && rows <= ROWS_MAX; }

#define FORMAT(log2, encoding) ((log2) | (encoding) << BETA_FMT_ENC_SHIFT)

/* Width, encoding and no spare bits. */
static int format_valid(uint32_t format) {
  const uint32_t log2 = format & BETA_FMT_WIDTH_MASK, encoding = format >> BETA_FMT_ENC_SHIFT & BETA_FMT_ENC_MASK;
  if (format != FORMAT(log2, encoding) || log2 > BETA_FMT_OPERAND_MAX_LOG2 || encoding > BETA_ENC_PM1) return 0;
  return encoding != BETA_ENC_PM1 || log2 == 0;
}

/* Codes of a quantiser fit its format. */
static int codes_valid(const beta_step_quantise *q) {
  const unsigned log2 = q->format & BETA_FMT_WIDTH_MASK, encoding = q->format >> BETA_FMT_ENC_SHIFT & BETA_FMT_ENC_MASK;
  if (!format_valid(q->format)) return 0;
  const unsigned bits = 1u << log2;
  /* -1, 0 and +1 need two planes of two's complement; without the 0 one plane of PM1 does. */
  if (q->kind == BETA_STEP_QUANTISER_SIGN) return encoding == BETA_ENC_PM1 || (encoding == BETA_ENC_S && bits >= 2);
  const int32_t low = encoding == BETA_ENC_S ? -(1 << (bits - 1)) : 0;
  const int32_t high = encoding == BETA_ENC_S ? (1 << (bits - 1)) - 1 : (1 << bits) - 1;
  if (encoding == BETA_ENC_PM1 || q->qmin < low || q->qmax > high || q->qmin > q->qmax) return 0;
  return q->kind < BETA_STEP_QUANTISER_SYMMETRIC || (q->qmax >= 1 && q->clip_low < q->clip_high);
}

/* The sums of rows that a QUANTISE record leaves, `sums_rows` of them in each block. */
static int sums_valid(const beta_vector *v, const beta_step_quantise *q, uint32_t rows) {
  if (q->sums_rows == 0 || rows % q->sums_rows != 0) return 0;
  const uint64_t blocks = rows / q->sums_rows, block_bytes = (uint64_t)q->sums_rows * 8;
  return rows_inside(v, q->sums_off, blocks, q->sums_stride, block_bytes, 8);
}

/* One QUANTISE record behind a producer of `rows` rows, `width` columns and `sequences` sequences. */
static int quantise_valid(const beta_vector *v, const beta_step_quantise *q, uint32_t rows, uint32_t width,
                          uint32_t sequences) {
  if (q->op != BETA_STEP_QUANTISE || q->kind > BETA_STEP_QUANTISER_ASYMMETRIC || !codes_valid(q)) return 0;
  if (!(q->step > 0) || !isfinite(q->step)) return 0;
  if (beta_needs_range(q) && (q->found_off % 8 != 0 || !array_inside(v, q->found_off, sequences, BETA_FOUND_BYTES))) return 0;
  if (q->sums_off && !sums_valid(v, q, rows)) return 0;
  const unsigned bits = 1u << (q->format & BETA_FMT_WIDTH_MASK);
  const uint64_t row_bytes = (uint64_t)((width + BETA_BLOCK_ELEMENTS - 1) / BETA_BLOCK_ELEMENTS) * BETA_BEAT_BYTES * bits;
  return optional_inside(v, q->shift_off, width, 4) && (rows == 1 || q->out_stride >= row_bytes) &&
         rows_inside(v, q->out_off, rows, q->out_stride, row_bytes, BETA_BEAT_BYTES);
}

static int consumers_valid(const beta_vector *v, const beta_group *g, uint32_t rows, uint32_t width,
                           uint32_t sequences) {
  for (unsigned c = 0; c < g->step.header.consumers; c++) {
    if (!quantise_valid(v, &g->consumers[c], rows, width, sequences)) return 0;
  }
  return 1;
}

static int found_valid(const beta_vector *v, uint32_t off, uint32_t sequences) {
  return off == 0 || array_inside(v, off, sequences, BETA_FOUND_BYTES);
}

static int term_valid(const beta_vector *v, const beta_step_term *t, uint32_t rows, uint32_t width, uint32_t sequences, int by_row) {
  if (t->op != BETA_STEP_TERM || t->acc_int16 > 1 || t->block == 0 || width % t->block != 0) return 0;
  const uint32_t acc_bytes = beta_acc_bytes(t->acc_int16);
  if (t->block_stride % acc_bytes != 0) return 0;
  const uint64_t blocks = width / t->block, channels = by_row ? rows : width;
  if (t->sums_off && (t->sums_stride ? by_row || !rows_inside(v, t->sums_off, sequences, t->sums_stride, (uint64_t)width * 4, 4)
                                     : !array_inside(v, t->sums_off, channels, 8)))
    return 0;
  if (t->row_sums_off && !rows_inside(v, t->row_sums_off, blocks, t->row_sums_stride, (uint64_t)rows * 8, 8)) return 0;
  return rows_inside(v, t->acc_off, rows, t->acc_stride, (blocks - 1) * t->block_stride + (uint64_t)t->block * acc_bytes, acc_bytes) &&
         optional_inside(v, t->scale_off, channels, 8) && found_valid(v, t->found_a_off, sequences) &&
         found_valid(v, t->found_b_off, sequences);
}

static int terms_valid(const beta_vector *v, const beta_group *g, uint32_t rows, uint32_t width, uint32_t sequences, int by_row) {
  if (g->step.header.terms == 0) return 0;
  for (unsigned i = 0; i < g->step.header.terms; i++) {
    if (!term_valid(v, &g->terms[i].term, rows, width, sequences, by_row)) return 0;
  }
  return 1;
}

static int norm_parameters(const beta_vector *v, uint32_t width, uint32_t gamma, uint32_t beta, double epsilon) {
  return array_inside(v, gamma, width, 4) && array_inside(v, beta, width, 4) && epsilon >= 0 && isfinite(epsilon);
}

static int tables_valid(const beta_vector *v, const beta_group *g, uint32_t words, uint32_t width) {
  if (g->step.header.terms == 0) return 0;
  for (unsigned i = 0; i < g->step.header.terms; i++) {
    const beta_step_table *t = &g->terms[i].table;
    const int ternary = t->word_format == FORMAT(1u, BETA_ENC_S);
    if (t->op != BETA_STEP_TABLE || (!ternary && t->word_format != FORMAT(0u, BETA_ENC_PM1))) return 0;
    const uint64_t bytes = (uint64_t)((width + BETA_BLOCK_ELEMENTS - 1) / BETA_BLOCK_ELEMENTS) * BETA_BEAT_BYTES * (ternary ? 2 : 1);
    if (t->word_stride < bytes || !rows_inside(v, t->word_off, words, t->word_stride, bytes, BETA_BEAT_BYTES) ||
        !array_inside(v, t->word_scale_off, words, 8))
      return 0;
  }
  return 1;
}

static int embed_valid(const beta_vector *v, const beta_group *g) {
  const beta_step_embed *s = &g->step.embed;
  return rows_valid(s->rows) && width_valid(s->width) && work_bounded(v, s->rows, s->width) &&
         starts_inside(v, s->starts_off, s->sequences) && tables_valid(v, g, s->words, s->width) &&
         array_inside(v, s->position_off, (uint64_t)s->positions * s->width, 4) &&
         array_inside(v, s->type_off, (uint64_t)s->types * s->width, 4) && array_inside(v, s->ids_off, s->rows, 4) &&
         array_inside(v, s->positions_off, s->rows, 4) && array_inside(v, s->types_off, s->rows, 4) &&
         norm_parameters(v, s->width, s->gamma_off, s->beta_off, s->epsilon) &&
         optional_inside(v, s->out_off, (uint64_t)s->rows * s->width, 4) && consumers_valid(v, g, s->rows, s->width, s->sequences) &&
         part_inside(g, s->first_row, s->end_row, s->rows, s->starts_off);
}

static int affine_valid(const beta_vector *v, const beta_group *g) {
  const beta_step_affine *s = &g->step.affine;
  if (!rows_valid(s->rows) || !width_valid(s->width) || !work_bounded(v, s->rows, s->width)) return 0;
  if (s->activation > BETA_STEP_ACTIVATION_TANH || s->by_row > 1) return 0;
  if (s->starts_off ? !starts_inside(v, s->starts_off, s->sequences) : s->sequences != 1) return 0;
  return terms_valid(v, g, s->rows, s->width, s->sequences, s->by_row != 0) &&
         optional_inside(v, s->bias_off, s->by_row ? s->rows : s->width, 4) &&
         optional_inside(v, s->out_off, (uint64_t)s->rows * s->width, 4) && consumers_valid(v, g, s->rows, s->width, s->sequences) &&
         part_inside(g, s->first_row, s->end_row, s->rows, s->starts_off);
}

static int norm_valid(const beta_vector *v, const beta_group *g) {
  const beta_step_norm *s = &g->step.norm;
  if (!rows_valid(s->rows) || !width_valid(s->width) || !work_bounded(v, s->rows, s->width)) return 0;
  const uint64_t elements = (uint64_t)s->rows * s->width;
  return starts_inside(v, s->starts_off, s->sequences) && terms_valid(v, g, s->rows, s->width, s->sequences, 0) &&
         optional_inside(v, s->bias_off, s->width, 4) && array_inside(v, s->residual_off, elements, 4) &&
         norm_parameters(v, s->width, s->gamma_off, s->beta_off, s->epsilon) && s->out_off != 0 &&
         optional_inside(v, s->out_off, elements, 4) && consumers_valid(v, g, s->rows, s->width, s->sequences) &&
         part_inside(g, s->first_row, s->end_row, s->rows, s->starts_off);
}

/* V behind a SOFTMAX whose rows are those of the context. */
static int value_valid(const beta_vector *v, const beta_step_value *t, const beta_step_softmax *s) {
  if (t->op != BETA_STEP_VALUE || !width_valid(t->width) || t->width % s->heads != 0 || !format_valid(t->format)) return 0;
  if (!(t->scale > 0) || !isfinite(t->scale)) return 0;
  const uint32_t bits = 1u << (t->format & BETA_FMT_WIDTH_MASK);
  const uint64_t row_bytes = (uint64_t)((s->tokens + BETA_BLOCK_ELEMENTS - 1) / BETA_BLOCK_ELEMENTS) * BETA_BEAT_BYTES * bits;
  return rows_inside(v, t->off, t->width, t->stride, row_bytes, BETA_BEAT_BYTES) && found_valid(v, t->found_off, 1) &&
         array_inside(v, t->codes_off, (uint64_t)s->tokens * t->width, 4);
}

static int softmax_valid(const beta_vector *v, const beta_group *g) {
  const beta_step_softmax *s = &g->step.softmax;
  if (!width_valid(s->tokens) || s->heads == 0 || s->heads > BETA_STEP_WIDTH_MAX || s->terms > 1 || s->consumers == 0) return 0;
  const uint32_t acc_bytes = beta_acc_bytes(s->acc_int16);
  if (s->acc_int16 > 1 || !(s->scale > 0) || !isfinite(s->scale)) return 0;
  if (s->table_length > 0 && !array_inside(v, s->table_off, s->table_length, 8)) return 0;
  const uint64_t rows = (uint64_t)s->heads * s->tokens;
  if (s->key_sums_off && !rows_inside(v, s->key_sums_off, s->heads, s->key_sums_stride, (uint64_t)s->tokens * 4, 4)) return 0;
  const int consumed = s->terms ? value_valid(v, &g->terms[0].value, s) && consumers_valid(v, g, s->tokens, g->terms[0].value.width, 1)
                                : s->consumers == 1 && consumers_valid(v, g, (uint32_t)rows, s->tokens, 1);
  return consumed && rows <= ROWS_MAX && work_bounded(v, rows, s->tokens) &&
         rows_inside(v, s->acc_off, rows, s->acc_stride, (uint64_t)s->tokens * acc_bytes, acc_bytes) && found_valid(v, s->found_a_off, 1) &&
         found_valid(v, s->found_b_off, 1) &&
         part_inside(g, s->first_row, s->end_row, s->terms ? s->tokens : (uint32_t)rows, 0);
}

static int dense_valid(const beta_vector *v, const beta_group *g) {
  const beta_step_dense *s = &g->step.dense;
  return rows_valid(s->rows) && width_valid(s->width) && rows_valid(s->out_width) && s->consumers == 0 && s->terms == 0 &&
         array_inside(v, s->x_off, (uint64_t)s->rows * s->width, 4) &&
         array_inside(v, s->weight_off, (uint64_t)s->out_width * s->width, 4) && optional_inside(v, s->bias_off, s->out_width, 4) &&
         array_inside(v, s->out_off, (uint64_t)s->rows * s->out_width, 4);
}

static int pick_valid(const beta_vector *v, const beta_group *g) {
  const beta_step_pick *s = &g->step.pick;
  return rows_valid(s->rows) && rows_valid(s->x_rows) && width_valid(s->width) && work_bounded(v, s->rows, s->width) &&
         s->terms == 0 && starts_inside(v, s->starts_off, s->sequences) && array_inside(v, s->index_off, s->rows, 4) && array_inside(v, s->x_off, (uint64_t)s->x_rows * s->width, 4) &&
         optional_inside(v, s->out_off, (uint64_t)s->rows * s->width, 4) && consumers_valid(v, g, s->rows, s->width, s->sequences);
}

static int record_valid(const beta_vector *v, const beta_group *g) {
  switch (g->step.header.op) {
    case BETA_STEP_EMBED: return embed_valid(v, g);
    case BETA_STEP_AFFINE: return affine_valid(v, g);
    case BETA_STEP_NORM: return norm_valid(v, g);
    case BETA_STEP_SOFTMAX: return softmax_valid(v, g);
    case BETA_STEP_DENSE: return dense_valid(v, g);
    case BETA_STEP_PICK: return pick_valid(v, g);
    default: return 0;
  }
}

/* Index arrays are checked once, so nothing that the step writes may lie on them. */
int beta_group_check_record(const beta_vector *v, const beta_group *g) {
  if (!record_valid(v, g)) return -EINVAL;
  const beta_indices own = beta_indices_of(g);
  return beta_group_spares(g, &own) ? 0 : -EINVAL;
}
