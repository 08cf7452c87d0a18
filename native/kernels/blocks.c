#include "kernels/blocks.h"

/* A held panel should stay in the second-level cache beside the streamed rows. */
#define PANEL_BYTES ((size_t)448 << 10)
#define PANEL_ROWS_MAX 1024u
/* Streamed rows whose results are collected before they are turned around, when A is held: one block of output columns. */
#define STRIP_COLUMNS BETA_BLOCK_ELEMENTS

_Static_assert(PANEL_ROWS_MAX % BETA_METHOD_LANES_MAX == 0, "panels are whole groups");

static uint32_t min_u32(uint32_t a, uint32_t b) { return a < b ? a : b; }
static uint32_t max_u32(uint32_t a, uint32_t b) { return a > b ? a : b; }
static uint32_t divide_up(uint32_t a, uint32_t b) { return (uint32_t)(((uint64_t)a + b - 1) / b); }
static size_t align_up(size_t bytes) { return (bytes + BETA_METHOD_ALIGN - 1) / BETA_METHOD_ALIGN * BETA_METHOD_ALIGN; }

/* Rows of a panel: whole groups, and a multiple of 8 so that two panels never share a byte of the output. */
static uint32_t panel_rows(const struct beta_method *method, size_t group_bytes) {
  const uint32_t step = max_u32(method->lanes, 8);
  const size_t step_bytes = group_bytes * (step / method->lanes);
  const size_t steps = PANEL_BYTES / step_bytes;
  return min_u32(steps < 1 ? step : (uint32_t)min_u32((uint32_t)steps, PANEL_ROWS_MAX) * step, PANEL_ROWS_MAX);
}

/*
 * Streamed rows of a unit. With B held they are output rows: as many as the method takes at once. With A held they are
 * output columns: a whole block of them where that leaves every thread some work, else fewer, in whole bytes.
 */
static uint32_t unit_rows(const beta_blocks *blocks, uint32_t threads) {
  if (!blocks->hold_a) return blocks->method->rows;
  const uint32_t share = divide_up(blocks->streamed_rows, threads * 2);
  return threads == 1 ? STRIP_COLUMNS : min_u32(STRIP_COLUMNS, max_u32(16, divide_up(share, 16) * 16));
}

beta_blocks beta_blocks_of(const struct beta_kernel *kernel, const beta_qmm *job, uint32_t threads) {
  beta_blocks blocks = {.kernel = kernel, .job = job, .epilogue = beta_epilogue_prepare(job)};
  blocks.method = kernel->choose(job, &blocks.hold_a);
  blocks.pair = (beta_pair){.held = blocks.hold_a ? job->a : job->b,
                            .streamed = blocks.hold_a ? job->b : job->a,
                            .k0 = job->k0,
                            .k = job->k};
  blocks.held_rows = blocks.hold_a ? job->m : job->n;
  blocks.streamed_rows = blocks.hold_a ? job->n : job->m;
  blocks.group_bytes = align_up(blocks.method->held_bytes(&blocks.pair));
  blocks.panel_rows = panel_rows(blocks.method, blocks.group_bytes);
  blocks.panels = divide_up(blocks.held_rows, blocks.panel_rows);
  blocks.unit_rows = unit_rows(&blocks, threads);
  blocks.units = divide_up(blocks.streamed_rows, blocks.unit_rows);
  return blocks;
}

uint32_t beta_panel_first(const beta_blocks *blocks, uint32_t panel) { return panel * blocks->panel_rows; }

uint32_t beta_panel_count(const beta_blocks *blocks, uint32_t panel) {
  return min_u32(blocks->held_rows - beta_panel_first(blocks, panel), blocks->panel_rows);
}

static uint32_t panel_groups(const beta_blocks *blocks, uint32_t panel) {
  return divide_up(beta_panel_count(blocks, panel), blocks->method->lanes);
}

size_t beta_panel_bytes(const beta_blocks *blocks, uint32_t panel) {
  return panel_groups(blocks, panel) * blocks->group_bytes;
}

void beta_hold_panel(const beta_blocks *blocks, uint32_t panel, uint8_t *to) {
  const uint32_t end = beta_panel_first(blocks, panel) + beta_panel_count(blocks, panel);
  const uint32_t lanes = blocks->method->lanes;
  for (uint32_t first = beta_panel_first(blocks, panel); first < end; first += lanes) {
    blocks->method->hold(&blocks->pair, first, min_u32(lanes, end - first), to);
    to += blocks->group_bytes;
  }
}

/* Rows [first, first + count) of the streamed operand times the panel. */
static void multiply(const beta_blocks *blocks, uint32_t panel, const uint8_t *held, uint32_t first, uint32_t count,
                     uint8_t *streamed, int32_t *dot) {
  blocks->method->stream(&blocks->pair, first, count, streamed);
  blocks->method->multiply(&blocks->pair, held, panel_groups(blocks, panel), streamed, count, dot, PANEL_ROWS_MAX);
}

/* B is held: a product is a piece of output rows. */
static void run_rows(const beta_blocks *blocks, uint32_t panel, uint32_t first, uint32_t count, const uint8_t *held,
                     int32_t *dot, uint8_t *streamed) {
  multiply(blocks, panel, held, first, count, streamed, dot);
  for (uint32_t r = 0; r < count; r++) {
    blocks->kernel->epilogue(&blocks->epilogue, first + r, beta_panel_first(blocks, panel),
                             beta_panel_count(blocks, panel), dot + (size_t)r * PANEL_ROWS_MAX);
  }
}

/* strip[l][column + r] = dot[r][l], in squares that stay in the first-level cache. */
static void turn(const int32_t *dot, uint32_t rows, uint32_t lanes, int32_t *strip, uint32_t column) {
  enum { SQUARE = 16 };
  for (uint32_t l0 = 0; l0 < lanes; l0 += SQUARE) {
    const uint32_t l1 = min_u32(l0 + SQUARE, lanes);
    for (uint32_t l = l0; l < l1; l++) {
      int32_t *to = strip + (size_t)l * STRIP_COLUMNS + column;
      for (uint32_t r = 0; r < rows; r++) to[r] = dot[(size_t)r * PANEL_ROWS_MAX + l];
    }
  }
}

/* A is held: products are pieces of output columns, collected in a strip of output rows. */
static void run_columns(const beta_blocks *blocks, uint32_t panel, uint32_t first, uint32_t count, const uint8_t *held,
                        int32_t *dot, int32_t *strip, uint8_t *streamed) {
  const uint32_t rows = beta_panel_count(blocks, panel), step = blocks->method->rows;
  for (uint32_t done = 0; done < count; done += step) {
    const uint32_t part = min_u32(step, count - done);
    multiply(blocks, panel, held, first + done, part, streamed, dot);
    turn(dot, part, rows, strip, done);
  }
  for (uint32_t l = 0; l < rows; l++) {
    blocks->kernel->epilogue(&blocks->epilogue, beta_panel_first(blocks, panel) + l, first, count,
                             strip + (size_t)l * STRIP_COLUMNS);
  }
}

#define DOT_BYTES (sizeof(int32_t) * BETA_METHOD_ROWS_MAX * PANEL_ROWS_MAX)
#define STRIP_BYTES (sizeof(int32_t) * STRIP_COLUMNS * PANEL_ROWS_MAX)

void beta_run_unit(const beta_blocks *blocks, uint32_t panel, uint32_t unit, const uint8_t *held, uint8_t *scratch) {
  int32_t *dot = (int32_t *)(void *)scratch;
  int32_t *strip = (int32_t *)(void *)(scratch + DOT_BYTES);
  uint8_t *streamed = scratch + DOT_BYTES + STRIP_BYTES;
  const uint32_t first = unit * blocks->unit_rows;
  const uint32_t count = min_u32(blocks->unit_rows, blocks->streamed_rows - first);
  if (blocks->hold_a) {
    run_columns(blocks, panel, first, count, held, dot, strip, streamed);
  } else {
    run_rows(blocks, panel, first, count, held, dot, streamed);
  }
}
