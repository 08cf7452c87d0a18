#include "kernels/blocks.h"

#include <stddef.h>

/* A held panel should stay in the second-level cache beside the streamed rows. */
#define PANEL_BYTES (960u << 10)
#define PANEL_ROWS_MAX BETA_METHOD_COLUMNS_MAX
#define PART_ROWS_MIN 128u
/*
 * Units of a panel for each thread: where one core is slower than another, or does something else for a while, others take from what is left.
 * Four would be taken more evenly, but 768 columns of one bit, in more parts, take longer than that gains.
 */
#define UNITS_OF_THREAD 2u
/* Streamed rows whose results are collected before they are turned around, when A is held: one block of output columns. */
#define STRIP_COLUMNS BETA_BLOCK_ELEMENTS

_Static_assert(PANEL_ROWS_MAX % BETA_METHOD_LANES_MAX == 0, "panels are whole groups");

static uint32_t min_u32(uint32_t a, uint32_t b) { return a < b ? a : b; }
static uint32_t max_u32(uint32_t a, uint32_t b) { return a > b ? a : b; }
/* Most products are one panel of a few units, and a division takes as long as the first of them. */
static uint32_t divide_up(uint32_t a, uint32_t b) { return a <= b ? 1 : a / b + (a % b != 0); }
/* Groups of held rows. */
static uint32_t groups_for(const struct beta_method *method, uint32_t rows) {
  return (rows + method->lanes - 1) >> __builtin_ctz(method->lanes);
}
static size_t align_up(size_t bytes) { return (bytes + BETA_METHOD_ALIGN - 1) / BETA_METHOD_ALIGN * BETA_METHOD_ALIGN; }

/*
 * Rows of a panel: whole groups, and a multiple of 8 so that two panels never share a byte of the output. All panels are about
 * as large: methods multiply several groups at once, and a remainder in every panel would cost more than one at the end.
 */
static uint32_t panel_rows(const struct beta_method *method, size_t group_bytes, uint32_t held_rows) {
  if (held_rows <= PANEL_ROWS_MAX && groups_for(method, held_rows) * group_bytes <= PANEL_BYTES) return PANEL_ROWS_MAX;
  const uint32_t step = max_u32(method->lanes, 8);
  const uint32_t steps = PANEL_BYTES / (uint32_t)(group_bytes * (step / method->lanes));
  const uint32_t most = min_u32(max_u32(steps, 1) * step, PANEL_ROWS_MAX);
  return divide_up(divide_up(held_rows, divide_up(held_rows, most)), step) * step;
}

/*
 * Streamed rows of a strip. With B held they are output rows: as many as the method takes at once. With A held they are output columns:
 * a whole block of them, or what gives every thread its units where that is whole cache lines of every output row: lines that two threads
 * write travel between them.
 */
static uint32_t strip_rows(const beta_blocks *blocks, uint32_t units) {
  if (!blocks->hold_a) return blocks->method->rows;
  const uint32_t line = 8 * BETA_CACHE_LINE / blocks->job->o.bits;
  return units == 1 ? STRIP_COLUMNS : min_u32(STRIP_COLUMNS, divide_up(divide_up(blocks->streamed_rows, units), line) * line);
}

/*
 * Held rows of a unit: the panel's where there are strips enough, else a part that is worth streaming the strip past it; a larger one where
 * the strip is brought into the method's layout again for each.
 */
static uint32_t part_rows(const beta_blocks *blocks, uint32_t units) {
  const uint32_t rows = min_u32(blocks->panel_rows, blocks->held_rows);
  if (blocks->strip_rows > blocks->method->rows) units = divide_up(units, 2);
  const uint32_t parts = min_u32(divide_up(units, blocks->strips), max_u32(rows / PART_ROWS_MIN, 1));
  const uint32_t part = divide_up(divide_up(rows, parts), BETA_METHOD_LANES_MAX) * BETA_METHOD_LANES_MAX, columns = blocks->method->columns;
  return part > columns ? part / columns * columns : part; /* whole columns: the rest of each would be a short call */
}

/* The largest magnitude in a format. */
static uint64_t largest_value(const beta_matrix *matrix) {
  if (matrix->encoding == BETA_ENC_PM1) return 1;
  return matrix->encoding == BETA_ENC_S ? UINT64_C(1) << (matrix->bits - 1) : (UINT64_C(1) << matrix->bits) - 1;
}

/*
 * Saturated products are what an identity table leaves. Thresholds need whole ones, which these are where formats and K say so,
 * with one bit to spare for the complement that a falling threshold compares.
 */
static bool is_narrow(const beta_blocks *blocks) {
  const beta_qmm *job = blocks->job;
  if (blocks->method->multiply16 == NULL || (blocks->hold_a && blocks->kernel->turn16 == NULL)) return false;
  if (blocks->epilogue.identity) return true;
  return blocks->epilogue.thresholds && blocks->epilogue.near &&
         largest_value(&job->a) * largest_value(&job->b) * job->k <= INT16_MAX / 2;
}

void beta_blocks_cut(beta_blocks *blocks, const struct beta_kernel *kernel, const beta_qmm *job, const struct beta_epilogue *epilogue,
                     uint32_t threads) {
  blocks->kernel = kernel;
  blocks->job = job;
  blocks->epilogue = *epilogue;
  blocks->epilogue.job = job;
  blocks->method = kernel->choose(job, &blocks->hold_a);
  blocks->pair.held = blocks->hold_a ? job->a : job->b;
  blocks->pair.streamed = blocks->hold_a ? job->b : job->a;
  blocks->pair.k0 = job->k0;
  blocks->pair.k = job->k;
  blocks->narrow = is_narrow(blocks);
  blocks->held_rows = blocks->hold_a ? job->m : job->n;
  blocks->streamed_rows = blocks->hold_a ? job->n : job->m;
  blocks->group_bytes = align_up(blocks->method->held_bytes(&blocks->pair));
  blocks->panel_rows = panel_rows(blocks->method, blocks->group_bytes, blocks->held_rows);
  blocks->panels = divide_up(blocks->held_rows, blocks->panel_rows);
  const uint32_t units = threads == 1 ? 1 : UNITS_OF_THREAD * threads;
  blocks->strip_rows = strip_rows(blocks, units);
  blocks->strips = divide_up(blocks->streamed_rows, blocks->strip_rows);
  blocks->part_rows = part_rows(blocks, units);
  blocks->parts = divide_up(min_u32(blocks->panel_rows, blocks->held_rows), blocks->part_rows);
  blocks->units = blocks->strips * blocks->parts;
}

uint32_t beta_panel_first(const beta_blocks *blocks, uint32_t panel) { return panel * blocks->panel_rows; }

uint32_t beta_panel_count(const beta_blocks *blocks, uint32_t panel) {
  return min_u32(blocks->held_rows - beta_panel_first(blocks, panel), blocks->panel_rows);
}

size_t beta_panel_bytes(const beta_blocks *blocks, uint32_t panel) {
  return groups_for(blocks->method, beta_panel_count(blocks, panel)) * blocks->group_bytes;
}

void beta_hold_panel(const beta_blocks *blocks, uint32_t panel, uint8_t *to) {
  const uint32_t end = beta_panel_first(blocks, panel) + beta_panel_count(blocks, panel);
  const uint32_t lanes = blocks->method->lanes;
  for (uint32_t first = beta_panel_first(blocks, panel); first < end; first += lanes) {
    blocks->method->hold(&blocks->pair, first, min_u32(lanes, end - first), to);
    to += blocks->group_bytes;
  }
}

/* What the parts of a unit share: held rows [lane, lane + lanes) of the panel, and streamed rows. */
struct part {
  const beta_blocks *blocks;
  const uint8_t *held;
  const uint8_t *streamed;
  uint32_t lanes, count;
};

static uint32_t groups_of(const struct part *part) { return groups_for(part->blocks->method, part->lanes); }

static void multiply(const struct part *part, int32_t *dot, size_t dot_stride) {
  const beta_blocks *blocks = part->blocks;
  blocks->method->multiply(&blocks->pair, part->held, groups_of(part), part->streamed, part->count, dot, dot_stride);
}

static void multiply16(const struct part *part, int16_t *dot, size_t dot_stride) {
  const beta_blocks *blocks = part->blocks;
  blocks->method->multiply16(&blocks->pair, part->held, groups_of(part), part->streamed, part->count, dot, dot_stride);
}

/* Whether the method may write the output's bits itself. */
static bool is_compared(const struct part *part, const struct beta_epilogue *epilogue) {
  const struct beta_method *method = part->blocks->method;
  return method->compare != NULL && epilogue->thresholds && !epilogue->job->table_by_row && part->lanes % method->lanes == 0;
}

static void compare(const struct part *part, const struct beta_epilogue *epilogue, uint32_t row, uint32_t column) {
  const beta_blocks *blocks = part->blocks;
  blocks->method->compare(&blocks->pair, part->held, groups_of(part), part->streamed, part->count, epilogue, row, column);
}

/* Whether products of the output's width may go straight to it: there is no lane or row beside it. */
static bool is_whole(const struct part *part) {
  const struct beta_method *method = part->blocks->method;
  return part->count == method->rows && part->lanes % method->lanes == 0;
}

/* Products of a part lie row after row: a power of two between them would put all rows into a few sets of the cache. */
static size_t dot_stride(const struct part *part) {
  return ((size_t)groups_of(part) * part->blocks->method->lanes + 15) / 16 * 16;
}

/* B is held: a product is a piece of output rows. */
static void store_rows(const struct part *part, uint32_t row, uint32_t column, int32_t *dot) {
  const beta_blocks *blocks = part->blocks;
  const beta_matrix *o = &blocks->job->o;
  uint8_t *out = o->row0 + row * o->stride;
  if (o->bits == 32 && is_whole(part)) {
    multiply(part, (int32_t *)(void *)out + column, o->stride / sizeof(int32_t));
  } else if (is_compared(part, &blocks->epilogue)) {
    compare(part, &blocks->epilogue, row, column);
  } else if (!blocks->narrow) {
    multiply(part, dot, dot_stride(part));
    blocks->kernel->epilogue(&blocks->epilogue, row, part->count, column, part->lanes, dot, dot_stride(part));
  } else if (blocks->epilogue.identity && is_whole(part)) {
    multiply16(part, (int16_t *)(void *)out + column, o->stride / sizeof(int16_t));
  } else {
    int16_t *narrow = (int16_t *)(void *)dot;
    multiply16(part, narrow, dot_stride(part));
    blocks->kernel->epilogue16(&blocks->epilogue, row, part->count, column, part->lanes, narrow, dot_stride(part));
  }
}

void beta_turn_portable(const int32_t *dot, size_t stride, uint32_t rows, uint32_t lanes, int32_t *to,
                        size_t to_stride) {
  enum { SQUARE = 16 }; /* stays in the first-level cache */
  for (uint32_t l0 = 0; l0 < lanes; l0 += SQUARE) {
    const uint32_t l1 = min_u32(l0 + SQUARE, lanes);
    for (uint32_t l = l0; l < l1; l++) {
      for (uint32_t r = 0; r < rows; r++) to[l * to_stride + r] = dot[r * stride + l];
    }
  }
}

/* Bytes of a row of `columns` values as an output, rounded up to whole lines. */
static uint64_t row_stride(const beta_matrix *o, uint32_t columns) {
  const uint64_t bytes = o->bits >= 16 ? (uint64_t)columns * (o->bits / 8)
                                       : (uint64_t)divide_up(columns, BETA_BLOCK_ELEMENTS) * BETA_BEAT_BYTES * o->bits;
  return align_up(bytes);
}

/* Turns a piece of bit-planes of at most a block of columns: `codes` has `count` rows, a column of the output each. */
static void turn_planes(const struct part *part, const beta_matrix *codes, uint32_t count, uint8_t *out, uint32_t first) {
  const beta_matrix *o = &part->blocks->job->o;
  for (uint32_t lane = 0; lane < part->lanes; lane += BETA_BLOCK_ELEMENTS, out += BETA_BLOCK_ELEMENTS * o->stride) {
    const uint32_t lanes = min_u32(BETA_BLOCK_ELEMENTS, part->lanes - lane);
    const uint8_t *block = codes->row0 + (uint64_t)lane / BETA_BLOCK_ELEMENTS * BETA_BEAT_BYTES * o->bits;
    for (uint32_t i = 0; i < o->bits; i++) {
      part->blocks->kernel->turn_bits(block + i * BETA_BEAT_BYTES, codes->stride, count, lanes,
                                      out + i * BETA_BEAT_BYTES + first / 8, o->stride);
    }
  }
}

/* Turns finished values: columns are rows of `codes`. */
static void turn_values(const struct part *part, const beta_matrix *codes, uint32_t row, uint32_t column) {
  const beta_qmm *job = part->blocks->job;
  uint8_t *out = job->o.row0 + row * job->o.stride;
  if (job->o.bits == 16) {
    part->blocks->kernel->turn16((const int16_t *)(const void *)codes->row0, codes->stride / sizeof(int16_t), part->count,
                                     part->lanes, (int16_t *)(void *)out + column, job->o.stride / sizeof(int16_t));
    return;
  }
  beta_matrix left = *codes;
  for (uint32_t done = 0; done < part->count;) {
    const uint32_t element = job->n0 + column + done, first = element % BETA_BLOCK_ELEMENTS;
    const uint32_t count = min_u32(part->count - done, BETA_BLOCK_ELEMENTS - first);
    turn_planes(part, &left, count, out + (uint64_t)element / BETA_BLOCK_ELEMENTS * BETA_BEAT_BYTES * job->o.bits, first);
    left.row0 += count * left.stride;
    done += count;
  }
}

/* A is held: a product is a piece of output columns. What the epilogue makes of it as if it were rows is turned around. */
static void store_turned(const struct part *part, uint32_t row, uint32_t column, int32_t *dot, uint8_t *codes) {
  const beta_blocks *blocks = part->blocks;
  int16_t *narrow = (int16_t *)(void *)dot;
  if (blocks->epilogue.identity && blocks->narrow) {
    const beta_matrix products = {.row0 = (uint8_t *)narrow, .stride = dot_stride(part) * sizeof *narrow};
    multiply16(part, narrow, dot_stride(part));
    turn_values(part, &products, row, column);
    return;
  }
  beta_qmm job = *blocks->job;
  job.m = part->count;
  job.n = part->lanes;
  job.n0 = 0;
  job.table += (uint64_t)(job.table_by_row ? row : column) * BETA_TABLE_ENTRY_BYTES;
  job.table_by_row = !job.table_by_row;
  job.o.row0 = codes;
  job.o.stride = row_stride(&job.o, part->lanes);
  struct beta_epilogue epilogue = blocks->epilogue;
  epilogue.job = &job;
  if (is_compared(part, &epilogue)) {
    compare(part, &epilogue, 0, 0);
  } else if (blocks->narrow) {
    multiply16(part, narrow, dot_stride(part));
    blocks->kernel->epilogue16(&epilogue, 0, part->count, 0, part->lanes, narrow, dot_stride(part));
  } else {
    multiply(part, dot, dot_stride(part));
    blocks->kernel->epilogue(&epilogue, 0, part->count, 0, part->lanes, dot, dot_stride(part));
  }
  turn_values(part, &job.o, row, column);
}

/* The same by turning products, int32 to the output, other types into a strip of whole rows. */
static void store_columns(const struct part *part, uint32_t row, uint32_t column, int32_t *dot, int32_t *strip) {
  const beta_blocks *blocks = part->blocks;
  const beta_matrix *o = &blocks->job->o;
  multiply(part, dot, dot_stride(part));
  if (o->bits == 32) {
    int32_t *out = (int32_t *)(void *)(o->row0 + row * o->stride) + column;
    blocks->kernel->turn(dot, dot_stride(part), part->count, part->lanes, out, o->stride / sizeof *out);
  } else {
    blocks->kernel->turn(dot, dot_stride(part), part->count, part->lanes, strip, STRIP_COLUMNS);
  }
}

/* The buffers of a thread. */
struct scratch {
  int32_t dot[BETA_METHOD_PRODUCTS_MAX];
  int32_t strip[PANEL_ROWS_MAX * STRIP_COLUMNS]; /* whole output rows of a panel, when A is held */
  uint8_t streamed[1];                           /* as many bytes as the method asks for */
};

_Static_assert(offsetof(struct scratch, streamed) % BETA_METHOD_ALIGN == 0, "methods get aligned buffers");

void beta_run_unit(const beta_blocks *blocks, uint32_t panel, uint32_t unit, const uint8_t *held, uint8_t *buffer, bool streamed) {
  struct scratch *scratch = (struct scratch *)(void *)buffer;
  const struct beta_method *method = blocks->method;
  const uint32_t strip = beta_strip_of(blocks, unit), part_first = (unit - strip * blocks->parts) * blocks->part_rows;
  const uint32_t first = strip * blocks->strip_rows, end = min_u32(first + blocks->strip_rows, blocks->streamed_rows);
  const uint32_t held_first = beta_panel_first(blocks, panel);
  const uint32_t held_end = min_u32(beta_panel_count(blocks, panel), part_first + blocks->part_rows);
  if (part_first >= held_end) return; /* the last panel may have fewer parts */
  const bool turns_values = blocks->job->o.bits != 32 && blocks->kernel->turn16 != NULL;
  for (uint32_t row = first; row < end; row += method->rows) {
    const uint32_t count = min_u32(method->rows, end - row);
    if (!streamed || blocks->strip_rows > method->rows) method->stream(&blocks->pair, row, count, scratch->streamed);
    for (uint32_t lane = part_first; lane < held_end; lane += method->columns) {
      const struct part part = {blocks, held + lane / method->lanes * blocks->group_bytes, scratch->streamed,
                                min_u32(method->columns, held_end - lane), count};
      if (!blocks->hold_a) {
        store_rows(&part, row, held_first + lane, scratch->dot);
      } else if (turns_values) {
        store_turned(&part, held_first + lane, row, scratch->dot, (uint8_t *)scratch->strip);
      } else {
        store_columns(&part, held_first + lane, row, scratch->dot,
                      scratch->strip + (size_t)lane * STRIP_COLUMNS + (row - first));
      }
    }
  }
  if (blocks->hold_a && blocks->job->o.bits != 32 && !turns_values) {
    blocks->kernel->epilogue(&blocks->epilogue, held_first + part_first, held_end - part_first, first, end - first,
                             scratch->strip + (size_t)part_first * STRIP_COLUMNS, STRIP_COLUMNS);
  }
}
