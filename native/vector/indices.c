/*
 * Index arrays: where sequences begin, which rows are chosen. They lie in the window, where they change with every input, so they are
 * checked each time, once, before the step runs that reads them: nothing that runs until it is done may write on them.
 */
#include <errno.h>

#include "beta_contract.h"
#include "vector.h"

int beta_group_takes_range(const beta_group *g) {
  for (unsigned c = 0; c < g->step.header.consumers; c++) {
    if (beta_needs_range(&g->consumers[c])) return 1;
  }
  return 0;
}

#define SHAPE(s) {.rows = (s)->rows, .width = (s)->width, .sequences = (s)->sequences, .starts_off = (s)->starts_off}

beta_shape beta_shape_of(const beta_group *g) {
  const beta_record *s = &g->step;
  switch (s->header.op) {
    case BETA_STEP_EMBED: return (beta_shape)SHAPE(&s->embed);
    case BETA_STEP_AFFINE: return (beta_shape)SHAPE(&s->affine);
    case BETA_STEP_NORM: return (beta_shape)SHAPE(&s->norm);
    case BETA_STEP_PICK: return (beta_shape)SHAPE(&s->pick);
    case BETA_STEP_DENSE: return (beta_shape){.rows = s->dense.rows, .width = s->dense.out_width, .sequences = 1};
    default:
      return s->header.terms ? (beta_shape){.rows = s->softmax.tokens, .width = g->terms[0].value.width, .sequences = 1}
                             : (beta_shape){.rows = s->softmax.heads * s->softmax.tokens, .width = s->softmax.tokens, .sequences = 1};
  }
}

beta_indices beta_indices_of(const beta_group *g) {
  const beta_record *s = &g->step;
  const beta_shape shape = beta_shape_of(g);
  const uint64_t rows = (uint64_t)shape.rows * 4;
  beta_indices kept = {.count = 0};
  if (shape.starts_off) kept.array[kept.count++] = (beta_bytes){shape.starts_off, ((uint64_t)shape.sequences + 1) * 4};
  if (s->header.op == BETA_STEP_PICK) kept.array[kept.count++] = (beta_bytes){s->pick.index_off, rows};
  if (s->header.op == BETA_STEP_EMBED) {
    kept.array[kept.count++] = (beta_bytes){s->embed.ids_off, rows};
    kept.array[kept.count++] = (beta_bytes){s->embed.positions_off, rows};
    kept.array[kept.count++] = (beta_bytes){s->embed.types_off, rows};
  }
  return kept;
}

static int spared(const beta_indices *kept, uint64_t off, uint64_t bytes) {
  for (unsigned i = 0; i < kept->count; i++) {
    const uint64_t begin = kept->array[i].off;
    if (off < begin + kept->array[i].bytes && begin < off + bytes) return 0;
  }
  return 1;
}

static int consumer_spares(const beta_step_quantise *q, const beta_shape *shape, const beta_indices *kept) {
  const uint64_t row_bytes = (uint64_t)((shape->width + BETA_BLOCK_ELEMENTS - 1) / BETA_BLOCK_ELEMENTS) * BETA_BEAT_BYTES << (q->format & BETA_FMT_WIDTH_MASK);
  if (!spared(kept, q->out_off, (uint64_t)(shape->rows - 1) * q->out_stride + row_bytes)) return 0;
  if (beta_needs_range(q) && !spared(kept, q->found_off, (uint64_t)shape->sequences * BETA_FOUND_BYTES)) return 0;
  if (!q->sums_off) return 1;
  const uint64_t block_bytes = (uint64_t)q->sums_rows * 8;
  return spared(kept, q->sums_off, (uint64_t)(shape->rows / q->sums_rows - 1) * q->sums_stride + block_bytes);
}

/* Float rows that a step leaves, or the codes of V that it unpacks; 0 where there are none. */
static uint32_t floats_of(const beta_group *g) {
  const beta_record *s = &g->step;
  switch (s->header.op) {
    case BETA_STEP_EMBED: return s->embed.out_off;
    case BETA_STEP_AFFINE: return s->affine.out_off;
    case BETA_STEP_NORM: return s->norm.out_off;
    case BETA_STEP_PICK: return s->pick.out_off;
    case BETA_STEP_DENSE: return s->dense.out_off;
    default: return s->header.terms ? g->terms[0].value.codes_off : 0;
  }
}

int beta_group_spares(const beta_group *g, const beta_indices *kept) {
  if (kept->count == 0) return 1;
  const beta_shape shape = beta_shape_of(g);
  const uint32_t floats = floats_of(g);
  if (floats && !spared(kept, floats, (uint64_t)shape.rows * shape.width * 4)) return 0;
  for (unsigned c = 0; c < g->step.header.consumers; c++) {
    if (!consumer_spares(&g->consumers[c], &shape, kept)) return 0;
  }
  return 1;
}

/* Row starts of the sequences: ascending from 0 to `rows`. */
static int starts_ascend(const beta_vector *v, uint32_t off, uint32_t sequences, uint32_t rows) {
  const uint32_t *starts = beta_at(v, off);
  if (starts[0] != 0 || starts[sequences] != rows) return 0;
  for (uint32_t i = 0; i < sequences; i++) {
    if (starts[i] > starts[i + 1]) return 0;
  }
  return 1;
}

/* Whether a sequence begins at `row`, or the last one ends there; the starts have been checked. */
static int is_boundary(const beta_vector *v, uint32_t starts_off, uint32_t sequences, uint32_t row) {
  const uint32_t *starts = beta_at(v, starts_off);
  for (uint32_t i = 0; i <= sequences; i++) {
    if (starts[i] == row) return 1;
  }
  return 0;
}

static int part_ends_sequences(const beta_vector *v, const beta_group *g, uint32_t first, uint32_t end, uint32_t rows,
                               uint32_t starts_off, uint32_t sequences) {
  if (end == 0) end = rows;
  if ((first == 0 && end == rows) || !beta_group_takes_range(g)) return 1;
  return is_boundary(v, starts_off, sequences, first) && is_boundary(v, starts_off, sequences, end);
}

static int indices_below(const beta_vector *v, uint32_t off, uint32_t count, uint32_t limit) {
  const uint32_t *values = beta_at(v, off);
  for (uint32_t i = 0; i < count; i++) {
    if (values[i] >= limit) return 0;
  }
  return 1;
}

/* The starts of a step's sequences, and that its part holds whole ones where it must. */
#define SEQUENCES_VALID(v, g, s)                                 \
  (starts_ascend(v, (s)->starts_off, (s)->sequences, (s)->rows) && \
   part_ends_sequences(v, g, (s)->first_row, (s)->end_row, (s)->rows, (s)->starts_off, (s)->sequences))

static int embed_indices(const beta_vector *v, const beta_group *g) {
  const beta_step_embed *s = &g->step.embed;
  return SEQUENCES_VALID(v, g, s) && indices_below(v, s->ids_off, s->rows, s->words) &&
         indices_below(v, s->positions_off, s->rows, s->positions) && indices_below(v, s->types_off, s->rows, s->types);
}

int beta_group_check_indices(const beta_vector *v, const beta_group *g) {
  const beta_record *s = &g->step;
  int valid = 1;
  switch (s->header.op) {
    case BETA_STEP_EMBED: valid = embed_indices(v, g); break;
    case BETA_STEP_AFFINE: valid = s->affine.starts_off == 0 || SEQUENCES_VALID(v, g, &s->affine); break;
    case BETA_STEP_NORM: valid = SEQUENCES_VALID(v, g, &s->norm); break;
    case BETA_STEP_PICK:
      valid = starts_ascend(v, s->pick.starts_off, s->pick.sequences, s->pick.rows) &&
              indices_below(v, s->pick.index_off, s->pick.rows, s->pick.x_rows);
      break;
    default: break; /* The others have none. */
  }
  return valid ? 0 : -EINVAL;
}
