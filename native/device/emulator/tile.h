/* One validated QMM: where its bytes lie, what it costs, and whether others may run beside it. Private to the emulator. */
#ifndef BETA_EMULATOR_TILE_H
#define BETA_EMULATOR_TILE_H

#include "device/emulator/engine.h"
#include "kernels/kernel.h"

/* Pieces of `bytes` bytes, `stride` apart, the first at `off`, the last before `end`. Nothing where `end` is 0. */
struct beta_area {
  uint64_t off, end;
  uint32_t stride, bytes;
};

struct beta_tile {
  beta_qmm job;
  struct beta_area a, b, table, o;
  uint64_t products; /* of blocks: whatever their formats */
  uint64_t beats;    /* products of 128 bits that these are made of */
};

void beta_tile_resolve(struct beta_tile *tile, const beta_descriptor *descriptor, uint8_t *window);

/* Adds a QMM that is complete. */
void beta_tile_count(const struct beta_tile *tile, struct beta_counters *counters);

/* Ranges that hold everything that some tiles read, and their outputs. */
struct beta_extent {
  struct beta_area read, written;
};

/* Tiles that run at the same time: none writes what another reads or writes. */
struct beta_together {
  const struct beta_tile *tile;
  uint32_t count;
  /* Of the last tiles, from number `since` on, and of those before them: the outputs of one sequence lie among each other, apart from the next one's. */
  struct beta_extent last, before;
  uint32_t since;
  bool interleaved; /* outputs lie side by side in the same rows, as those of heads do */
};

/* Takes the tile behind the last in as well; false, and nothing changed, where it has to wait for one of them. */
bool beta_together_take(struct beta_together *together);

/* Bytes of a row's blocks that hold `count` elements from `first` on. */
uint32_t beta_row_bytes(const beta_matrix *matrix, uint32_t first, uint32_t count);

#endif
