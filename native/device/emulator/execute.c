/*
 * Runs QMMs on the threads. What has begun is cut into sheets, each a held panel with everything that is streamed past it, and every sheet
 * into units, which the threads take. Panels of constant operands are kept; any other is laid out by each thread that takes
 * a unit of it, in a place of its own.
 */
#include "device/emulator/execute.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "device/emulator/held.h"
#include "device/emulator/tile.h"
#include "kernels/blocks.h"

#define ALIGN 64u
/* QMMs that begin together, how much work before no other is added (HEAD stands still meanwhile), and the sheets of one job. */
#define TILES_MAX 32u
#define TOGETHER_BEATS (UINT64_C(1) << 22)
#define SHEETS_MAX 64u
#define UNITS_MAX (UINT32_C(1) << 31)

struct sheet {
  const beta_blocks *blocks;
  const uint8_t *kept; /* the panel, or NULL */
  uint32_t panel;
};

/* What a thread has to itself. */
struct place {
  _Alignas(128) uint8_t *scratch;
  uint8_t *panel;
  uint64_t laid; /* which sheet's panel is there */
  uint64_t ran;  /* the sheet and the strip of the last unit */
  uint32_t strip;
};

struct beta_executor {
  const struct beta_kernel *kernel;
  uint8_t *window;
  struct beta_pool *pool;
  struct beta_held *held;
  struct place place[BETA_POOL_THREADS_MAX];

  /* The QMMs that have begun, and where they stand: panels before `panel` of tile number `at` are done or among the sheets. */
  struct beta_tile tile[TILES_MAX];
  struct beta_together together;
  uint32_t at, panel;
  uint64_t beats; /* of all of them */

  /* The job. Units are numbered deal by deal, in a deal sheet by sheet: first[d][s] is the number of the first of sheet s in deal d. */
  struct sheet sheet[SHEETS_MAX];
  uint32_t sheets, deals;
  uint64_t serial; /* of the job's first sheet, among all sheets there have been */
  uint32_t first[BETA_POOL_THREADS_MAX][SHEETS_MAX];
  uint32_t ends[BETA_POOL_THREADS_MAX]; /* of the seats */
  uint32_t next; /* what is left of the job begins here */
  _Atomic uint32_t left_out; /* the first unit that a pause left out, UINT32_MAX for none */
  bool (*pause)(void *context);
  void *context;
};

static struct beta_held_key key_of(const struct beta_executor *executor, const beta_blocks *blocks, uint32_t panel) {
  const beta_matrix *held = &blocks->pair.held;
  const uint64_t first = beta_panel_first(blocks, panel);
  struct beta_held_key key;
  memset(&key, 0, sizeof key);
  key.method = blocks->method;
  key.off = (uint32_t)((uint64_t)(held->row0 - executor->window) + first * held->stride);
  key.stride = (uint32_t)held->stride;
  key.rows = beta_panel_count(blocks, panel);
  key.format = held->bits | held->encoding << 8;
  key.other_format = blocks->pair.streamed.bits | blocks->pair.streamed.encoding << 8;
  key.k0 = blocks->pair.k0;
  key.k = blocks->pair.k;
  key.row_bytes = beta_row_bytes(held, blocks->pair.k0, blocks->pair.k);
  return key;
}

/* A panel that is kept, laid out if it was not; or NULL. */
static const uint8_t *keep(struct beta_executor *executor, const beta_blocks *blocks, uint32_t panel) {
  const struct beta_held_key key = key_of(executor, blocks, panel);
  uint8_t *room;
  const uint8_t *kept = beta_held_find(executor->held, &key, beta_panel_bytes(blocks, panel), &room);
  if (kept != NULL || room == NULL) return kept;
  beta_hold_panel(blocks, panel, room);
  return room;
}

/* Panels that were laid out for its sheets are nobody else's. */
static void end_job(struct beta_executor *executor) {
  executor->serial += executor->sheets;
  executor->sheets = executor->next = 0;
}

void beta_execute_clear(struct beta_executor *executor) {
  end_job(executor);
  executor->together = (struct beta_together){.tile = executor->tile};
  executor->at = executor->panel = 0;
  executor->beats = 0;
}

bool beta_execute_has_room(const struct beta_executor *executor) {
  if (executor->together.count == 0) return true;
  return beta_pool_threads(executor->pool) > 1 && executor->together.count < TILES_MAX && executor->beats < TOGETHER_BEATS;
}

/* Tables that are worth looking up what was found in them: to read one whole takes as long as memory does. */
#define LONG_TABLE 256u
static const char epilogue_key; /* in place of a method */

/* What the epilogue knows of its table, kept as panels are. */
static struct beta_epilogue epilogue_of(struct beta_executor *executor, const beta_qmm *job) {
  struct beta_epilogue epilogue;
  const uint32_t entries = job->table_by_row ? job->m : job->n;
  uint8_t *room = NULL;
  if (job->table != NULL && entries >= LONG_TABLE) {
    struct beta_held_key key;
    memset(&key, 0, sizeof key);
    key.method = &epilogue_key;
    key.off = (uint32_t)(job->table - executor->window);
    key.stride = key.row_bytes = BETA_TABLE_ENTRY_BYTES;
    key.rows = entries;
    key.format = job->o.bits;
    const uint8_t *kept = beta_held_find(executor->held, &key, sizeof epilogue, &room);
    if (kept != NULL) return *(const struct beta_epilogue *)(const void *)kept;
  }
  beta_epilogue_prepare(&epilogue, job);
  if (room != NULL) memcpy(room, &epilogue, sizeof epilogue);
  return epilogue;
}

bool beta_execute_begin(struct beta_executor *executor, const beta_descriptor *descriptor) {
  const bool first = executor->together.count == 0;
  struct beta_tile *tile = &executor->tile[executor->together.count];
  beta_tile_resolve(tile, descriptor, executor->window);
  if (!beta_together_take(&executor->together)) return false;
  executor->beats += tile->beats;
  /* What the others hold stays: this tile writes none of their operands, and what the host writes is asked for once. */
  if (first) beta_held_refresh(executor->held);
  beta_held_overwrite(executor->held, tile->o.off, tile->o.end);
  const struct beta_epilogue epilogue = epilogue_of(executor, &tile->job);
  beta_blocks_cut(&tile->blocks, executor->kernel, &tile->job, &epilogue, beta_pool_threads(executor->pool));
  return true;
}

/* Units of a sheet that are dealt in deal d. */
static uint32_t dealt(const struct beta_executor *executor, const struct sheet *sheet, uint32_t deal) {
  return executor->deals == 1 ? sheet->blocks->units * deal : (uint32_t)((uint64_t)sheet->blocks->units * deal / executor->deals);
}

/*
 * Numbers the units. Rows that one thread computes should be those that it computes everywhere else, and no two threads should write into the
 * same lines: so every sheet is dealt out, a part to each seat. Only where panels would be laid out by every
 * thread for it, sheets are dealt whole, unless outputs lie side by side in the same rows.
 */
static void deal(struct beta_executor *executor) {
  const uint32_t threads = beta_pool_threads(executor->pool);
  bool kept = true;
  for (uint32_t s = 0; s < executor->sheets; s++) kept = kept && executor->sheet[s].kept != NULL;
  executor->deals = kept || executor->together.interleaved || executor->sheets < threads ? threads : 1;
  uint32_t units = 0;
  for (uint32_t d = 0; d < executor->deals; d++) {
    for (uint32_t s = 0; s < executor->sheets; s++) {
      executor->first[d][s] = units;
      units += dealt(executor, &executor->sheet[s], d + 1) - dealt(executor, &executor->sheet[s], d);
    }
    executor->ends[d] = units;
  }
  if (executor->deals == threads) return;
  beta_pool_share(executor->pool, units, executor->ends);
}

/* Makes the next panels the sheets of a job. */
static void begin_job(struct beta_executor *executor) {
  uint64_t units = 0;
  while (executor->sheets < SHEETS_MAX && executor->at < executor->together.count) {
    const beta_blocks *blocks = &executor->tile[executor->at].blocks;
    if (executor->sheets > 0 && units + blocks->units > UNITS_MAX) break;
    units += blocks->units;
    executor->sheet[executor->sheets++] = (struct sheet){blocks, keep(executor, blocks, executor->panel), executor->panel};
    if (++executor->panel < blocks->panels) continue;
    executor->panel = 0;
    executor->at++;
  }
  deal(executor);
}

/*
 * Asks for the rows of a small operand before they are needed. Another core has written half of them, as a rule, and rows that lie apart come one
 * after another otherwise, each as late as from memory.
 */
#define FETCHED_LINES 512u
static void fetch_rows(const beta_matrix *matrix, uint32_t k0, uint32_t k, uint32_t first, uint32_t end) {
  const uint32_t lines = (beta_row_bytes(matrix, k0, k) + BETA_CACHE_LINE - 1) / BETA_CACHE_LINE;
  if (first >= end || (uint64_t)(end - first) * lines > FETCHED_LINES) return;
  for (uint32_t row = first; row < end; row++) {
    for (uint32_t line = 0; line < lines; line++) __builtin_prefetch(matrix->row0 + row * matrix->stride + line * BETA_CACHE_LINE);
  }
}

/* The operands of what deal d has of sheet s, if its panel has to be laid out. */
static void fetch_sheet(const struct beta_executor *executor, uint32_t d, uint32_t s) {
  if (s >= executor->sheets || executor->sheet[s].kept != NULL || beta_pool_threads(executor->pool) == 1) return;
  const struct sheet *sheet = &executor->sheet[s];
  const beta_blocks *blocks = sheet->blocks;
  const beta_pair *pair = &blocks->pair;
  const uint32_t begin = dealt(executor, sheet, d), end = dealt(executor, sheet, d + 1), held = beta_panel_first(blocks, sheet->panel);
  if (begin == end) return;
  const uint32_t from = beta_strip_of(blocks, begin) * blocks->strip_rows, to = (beta_strip_of(blocks, end - 1) + 1) * blocks->strip_rows;
  fetch_rows(&pair->held, pair->k0, pair->k, held, held + beta_panel_count(blocks, sheet->panel));
  fetch_rows(&pair->streamed, pair->k0, pair->k, from, to < blocks->streamed_rows ? to : blocks->streamed_rows);
}

/* Units that were taken before others saw the pause may lie behind the one left out: they run again, to the same end. */
static bool is_left_out(struct beta_executor *executor, uint32_t at) {
  if (executor->beats <= BETA_UNASKED_BEATS || !executor->pause(executor->context)) return false;
  uint32_t least = atomic_load(&executor->left_out);
  while (at < least && !atomic_compare_exchange_weak(&executor->left_out, &least, at)) continue;
  return true;
}

static void run_unit(void *context, uint32_t at, uint32_t seat) {
  struct beta_executor *executor = context;
  if (is_left_out(executor, at)) return;
  uint32_t d = 0, s = 0;
  while (d + 1 < executor->deals && at >= executor->first[d + 1][0]) d++;
  while (s + 1 < executor->sheets && at >= executor->first[d][s + 1]) s++;
  const struct sheet *sheet = &executor->sheet[s];
  struct place *place = &executor->place[seat];
  const uint8_t *panel = sheet->kept;
  if (panel == NULL) {
    panel = place->panel;
    if (place->laid != executor->serial + s) {
      if (place->laid < executor->serial) fetch_sheet(executor, d, s);
      fetch_sheet(executor, d, s + 1);
      beta_hold_panel(sheet->blocks, sheet->panel, place->panel);
      place->laid = executor->serial + s;
    }
  }
  const uint32_t unit = dealt(executor, sheet, d) + at - executor->first[d][s], strip = beta_strip_of(sheet->blocks, unit);
  beta_run_unit(sheet->blocks, sheet->panel, unit, panel, place->scratch, place->ran == executor->serial + s && place->strip == strip);
  place->ran = executor->serial + s;
  place->strip = strip;
}

bool beta_execute(struct beta_executor *executor, uint32_t seat, bool (*pause)(void *context), void *context,
                  struct beta_counters *counters) {
  executor->pause = pause;
  executor->context = context;
  while (executor->sheets > 0 || executor->at < executor->together.count) {
    if (executor->sheets == 0) begin_job(executor);
    /* Relaxed: starting a job orders it. */
    atomic_store_explicit(&executor->left_out, UINT32_MAX, memory_order_relaxed);
    beta_pool_run_dealt(executor->pool, seat, executor->next, executor->ends, run_unit, executor);
    const uint32_t left_out = atomic_load(&executor->left_out);
    if (left_out != UINT32_MAX) {
      executor->next = left_out;
      return false;
    }
    end_job(executor);
  }
  for (uint32_t i = 0; i < executor->together.count; i++) beta_tile_count(&executor->tile[i], counters);
  return true;
}

void beta_executor_announce(struct beta_executor *executor, uint32_t off, uint32_t bytes) {
  beta_held_announce(executor->held, off, bytes);
}

void beta_executor_close(struct beta_executor *executor) {
  if (executor == NULL) return;
  if (executor->held != NULL) beta_held_close(executor->held);
  for (uint32_t i = 0; i < BETA_POOL_THREADS_MAX; i++) {
    free(executor->place[i].scratch);
    free(executor->place[i].panel);
  }
  free(executor);
}

struct beta_executor *beta_executor_open(const struct beta_kernel *kernel, uint8_t *window, struct beta_pool *pool) {
  struct beta_executor *executor = aligned_alloc(_Alignof(struct beta_executor), sizeof *executor);
  if (executor == NULL) return NULL;
  memset(executor, 0, sizeof *executor);
  executor->kernel = kernel;
  executor->window = window;
  executor->pool = pool;
  executor->serial = 1; /* 0: nothing is laid out */
  bool complete = true;
  for (uint32_t i = 0; i < beta_pool_threads(pool); i++) {
    executor->place[i].scratch = aligned_alloc(ALIGN, BETA_SCRATCH_BYTES);
    executor->place[i].panel = aligned_alloc(ALIGN, BETA_PANEL_BYTES_MAX);
    complete = complete && executor->place[i].scratch != NULL && executor->place[i].panel != NULL;
  }
  executor->held = beta_held_open();
  if (complete && executor->held != NULL) return executor;
  beta_executor_close(executor);
  errno = ENOMEM;
  return NULL;
}
