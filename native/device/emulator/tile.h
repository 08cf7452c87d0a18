/* One validated QMM: where its bytes lie, what it costs, and whether another may run beside it. Private to the emulator. */
#ifndef BETA_EMULATOR_TILE_H
#define BETA_EMULATOR_TILE_H

#include "device/emulator/engine.h"
#include "kernels/blocks.h"

/* Pieces of `bytes` bytes, `stride` apart, the first at `off`, the last before `end`. Nothing where `end` is 0. */
struct beta_area {
  uint64_t off, end;
  uint32_t stride, bytes;
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

/* Tiles that run at the same time: none writes what another reads or writes. */
struct beta_together {
  const struct beta_tile *tile;
  uint32_t count;
  struct beta_area read, written; /* ranges that hold everything they read, and their outputs */
  bool interleaved; /* outputs lie side by side in the same rows, as those of heads do */
};

/* Takes the tile behind the last in as well; false, and nothing changed, where it has to wait for one of them. */
bool beta_together_take(struct beta_together *together);

/* Bytes of a row's blocks that hold `count` elements from `first` on. */
uint32_t beta_row_bytes(const beta_matrix *matrix, uint32_t first, uint32_t count);

#endif
