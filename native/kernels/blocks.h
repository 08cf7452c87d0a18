/*
 * A QMM cut into blocks that fit the caches: panels of the held operand, and units of streamed rows. Panels and units are
 * independent of each other and write disjoint bytes, so units of one panel may run on any number of threads.
 */
#ifndef BETA_KERNELS_BLOCKS_H
#define BETA_KERNELS_BLOCKS_H

#include "kernels/epilogue.h"
#include "kernels/method.h"

#define BETA_CACHE_LINE 64u

typedef struct beta_blocks {
  const struct beta_kernel *kernel;
  const struct beta_method *method;
  const beta_qmm *job;
  struct beta_epilogue epilogue;
  beta_pair pair;
  bool hold_a;
  bool narrow; /* products of 16 bits are all that the epilogue needs */
  uint32_t held_rows, streamed_rows; /* rows of the whole operands */
  uint32_t panel_rows;               /* held rows of a panel; a multiple of 8 */
  uint32_t panels;
  uint32_t strip_rows, strips; /* streamed rows that stay together, and in how many strips there are */
  uint32_t part_rows, parts;   /* held rows of a unit, a multiple of 64, and in how many parts a panel is */
  uint32_t units;              /* strip by strip, and part by part in each */
  size_t group_bytes; /* of one held group */
} beta_blocks;

/*
 * Cuts a job for `threads` threads. `job` must outlive the result. `epilogue`: what beta_epilogue_prepare finds, of this job or of another
 * with the same table. In place: a product of attention is short beside a copy.
 */
void beta_blocks_cut(beta_blocks *blocks, const struct beta_kernel *kernel, const beta_qmm *job, const struct beta_epilogue *epilogue,
                     uint32_t threads);

/* Bytes of a held panel, and its rows [first, first + count) of the held operand. */
size_t beta_panel_bytes(const beta_blocks *blocks, uint32_t panel);
uint32_t beta_panel_first(const beta_blocks *blocks, uint32_t panel);
uint32_t beta_panel_count(const beta_blocks *blocks, uint32_t panel);

/* Lays out a panel of the held operand at `to` (64-byte aligned). */
void beta_hold_panel(const beta_blocks *blocks, uint32_t panel, uint8_t *to);

static inline uint32_t beta_strip_of(const beta_blocks *blocks, uint32_t unit) { return blocks->parts == 1 ? unit : unit / blocks->parts; }

/*
 * Multiplies one unit with a held panel and writes its outputs. `scratch`: BETA_SCRATCH_BYTES of the thread's own, 64-byte aligned; `streamed`
 * says that the last unit which ran with it was of the same product and strip.
 */
void beta_run_unit(const beta_blocks *blocks, uint32_t panel, uint32_t unit, const uint8_t *held, uint8_t *scratch, bool streamed);

/* The kernels' turn in portable C. */
void beta_turn_portable(const int32_t *dot, size_t stride, uint32_t rows, uint32_t lanes, int32_t *to, size_t to_stride);

/* The largest panel: one group of 64 lanes whose rows take 16 bits an element. */
#define BETA_PANEL_BYTES_MAX ((size_t)4 << 20)
#define BETA_SCRATCH_BYTES ((size_t)2 << 20)

#endif
