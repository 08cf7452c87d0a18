/* One validated QMM: where its bytes lie, what it costs, and whether another may run beside it. Private to the emulator. */
#ifndef BETA_EMULATOR_TILE_H
#define BETA_EMULATOR_TILE_H

#include "device/emulator/engine.h"
#include "kernels/blocks.h"

/* `rows` pieces of `bytes` bytes, `stride` apart; bytes 0: nothing. */
struct beta_area {
  uint64_t off, stride, rows, bytes;
};

struct beta_tile {
  beta_qmm job;
  beta_blocks blocks; /* cut() fills them */
  struct beta_area a, b, table, o;
  uint64_t beats; /* products of 128 bits that it is made of */
};

void beta_tile_resolve(struct beta_tile *tile, const beta_descriptor *descriptor, uint8_t *window);

/* Adds a QMM that is complete. */
void beta_tile_count(const struct beta_tile *tile, struct beta_counters *counters);

/* First byte of an area, and the one behind its last. */
static inline uint64_t beta_area_end(const struct beta_area *area) { return area->off + (area->rows - 1) * area->stride + area->bytes; }

/* Whether two outputs lie side by side in the same rows, as those of two heads do. */
bool beta_tiles_interleave(const struct beta_tile *x, const struct beta_tile *y);

/* Whether two tiles may run at the same time: neither writes what the other reads or writes. */
bool beta_tiles_independent(const struct beta_tile *x, const struct beta_tile *y);

/* Bytes of a row's blocks that hold `count` elements from `first` on. */
uint32_t beta_row_bytes(const beta_matrix *matrix, uint32_t first, uint32_t count);

#endif
