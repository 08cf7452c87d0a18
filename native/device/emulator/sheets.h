/*
 * Tiles as sheets: a sheet is a held panel with everything that is streamed past it, cut into units that the threads take. Panels of constant
 * operands are kept; any other is laid out by each thread that takes a unit of it, in a place of its own. Private to the emulator.
 */
#ifndef BETA_EMULATOR_SHEETS_H
#define BETA_EMULATOR_SHEETS_H

#include "device/emulator/resources.h"
#include "device/emulator/tile.h"

#define BETA_SHEETS_MAX 64u

struct beta_sheet {
  const beta_blocks *blocks;
  const uint8_t *kept; /* the panel, or NULL */
  uint32_t panel;
};

/* A job. Units are numbered deal by deal, in a deal sheet by sheet: first[d][s] is the number of the first of sheet s in deal d. */
struct beta_sheets {
  struct beta_resources *resources;
  uint32_t count, deals;
  uint64_t serial; /* of the job's first sheet, among all sheets there have been: 0 is none */
  struct beta_sheet sheet[BETA_SHEETS_MAX];
  uint32_t first[BETA_POOL_THREADS_MAX][BETA_SHEETS_MAX];
  beta_blocks blocks[BETA_SHEETS_MAX];  /* of its tiles */

  uint32_t tile, panel; /* panels before `panel` of tile number `tile` are done or among the sheets */
};

/* Before the first job of other tiles. */
void beta_sheets_clear(struct beta_sheets *sheets);

/* Makes the next panels the job, and deals its units: `ends`, one for each seat, as in threads/pool.h. False where none are left. */
bool beta_sheets_next(struct beta_sheets *sheets, const struct beta_together *together, uint32_t *ends);

/* Asks for what makes the job, of its first sheets: as a rule there are no more. */
void beta_sheets_fetch(const struct beta_sheets *sheets, enum beta_intent intent);

/* Runs one unit of the job. */
void beta_sheets_run(struct beta_sheets *sheets, uint32_t unit, uint32_t seat);

#endif
