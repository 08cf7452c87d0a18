/*
 * Runs QMMs on the threads. What has begun is one job: tiles that are many and small are units themselves, each run whole by one thread;
 * others are cut (sheets.c).
 */
#include "device/emulator/execute.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "device/emulator/held.h"
#include "device/emulator/resources.h"
#include "device/emulator/sheets.h"
#include "device/emulator/tile.h"
#include "kernels/blocks.h"

#define ALIGN 64u
/* QMMs that begin together, and how much work before no other is added: HEAD stands still meanwhile. */
#define TILES_MAX 512u
#define CUT_TILES_MAX 32u
#define CUT_BEATS (UINT64_C(1) << 22)
#define SMALL_BEATS (UINT64_C(1) << 24)
/*
 * A small tile is a head of attention: products of blocks in one of 256 tokens. So many for each thread are better dealt whole: nothing is laid
 * out twice, and what a head reads and leaves stays with the thread that has its sequence. For a thread that is alone cutting costs as much as
 * the smallest of them, and is for nothing.
 */
#define SMALL_PRODUCTS 65536u
#define TILES_OF_THREAD 12u

struct beta_executor {
  struct beta_resources resources;

  /* The QMMs that have begun. */
  struct beta_together together;
  struct beta_tile tile[TILES_MAX];
  bool small; /* all of them are */
  uint64_t beats; /* of all of them */

  /* The job: of whole tiles, or of sheets. */
  bool running, whole;
  uint32_t next; /* what is left of it begins here */
  _Atomic uint32_t left_out; /* the first unit that a pause left out, UINT32_MAX for none */
  bool (*pause)(void *context);
  void *context;
  struct beta_sheets sheets;
  uint32_t ends[BETA_POOL_THREADS_MAX]; /* of the seats */
};

static bool is_alone(const struct beta_executor *executor) { return beta_pool_threads(executor->resources.pool) == 1; }

/*
 * What makes a job lies in the caches of two cores by turns: one writes it, the other reads it before its first unit. Asked for line by line, when
 * each is needed, it would take as long as a small tile. One that is alone has it.
 */
#define FETCHED_TILES 3u
static void fetch_job(const struct beta_executor *executor, enum beta_intent intent) {
  if (is_alone(executor)) return;
  beta_fetch(&executor->small, offsetof(struct beta_executor, sheets) - offsetof(struct beta_executor, small), intent);
  beta_fetch(executor->tile, FETCHED_TILES * sizeof *executor->tile, intent);
  beta_sheets_fetch(&executor->sheets, intent);
}

void beta_execute_clear(struct beta_executor *executor) {
  fetch_job(executor, BETA_TO_WRITE);
  executor->together = (struct beta_together){.tile = executor->tile};
  executor->beats = 0;
  executor->running = executor->whole = false;
  beta_sheets_clear(&executor->sheets);
}

bool beta_execute_has_room(const struct beta_executor *executor) {
  const uint32_t count = executor->together.count;
  if (count == 0) return true;
  if (is_alone(executor)) return false;
  return executor->small ? count < TILES_MAX && executor->beats < SMALL_BEATS : count < CUT_TILES_MAX && executor->beats < CUT_BEATS;
}

/* A panel that may be kept is worth looking for, and so is not laid out by whoever runs the tile. */
static bool is_small(const struct beta_executor *executor, const struct beta_tile *tile) {
  if (tile->products > SMALL_PRODUCTS || (is_alone(executor) && tile->beats > BETA_UNASKED_BEATS)) return false;
  bool hold_a;
  executor->resources.kernel->choose(&tile->job, &hold_a);
  const struct beta_area *held = hold_a ? &tile->a : &tile->b;
  return !beta_held_lasts(executor->resources.held, held->off, held->end);
}

bool beta_execute_begin(struct beta_executor *executor, const beta_descriptor *descriptor) {
  const bool first = executor->together.count == 0;
  struct beta_tile *tile = &executor->tile[executor->together.count];
  beta_tile_resolve(tile, descriptor, executor->resources.window);
  /* What the others hold stays: this tile writes none of their operands, and what the host writes is asked for once. */
  if (first) beta_held_refresh(executor->resources.held);
  const bool small = is_small(executor, tile);
  if (!first && small != executor->small) return false;
  if (!beta_together_take(&executor->together)) return false;
  executor->small = small;
  executor->beats += tile->beats;
  beta_held_overwrite(executor->resources.held, tile->o.off, tile->o.end);
  return true;
}

/* Deals the tiles whole: to each seat as much work. */
static void deal_tiles(struct beta_executor *executor) {
  const uint32_t threads = beta_pool_threads(executor->resources.pool), count = executor->together.count;
  const uint64_t all = executor->beats + (uint64_t)count * BETA_DESCRIPTOR_BEATS;
  uint64_t work = 0;
  for (uint32_t seat = 0, i = 0; seat < threads; seat++) {
    for (; i < count && (seat + 1 == threads || work * threads < all * (seat + 1)); i++) work += executor->tile[i].beats + BETA_DESCRIPTOR_BEATS;
    executor->ends[seat] = i;
  }
}

/* Makes what comes next the job; false where nothing is left. */
static bool begin_job(struct beta_executor *executor) {
  const uint32_t threads = beta_pool_threads(executor->resources.pool);
  if (executor->whole) return false;
  executor->next = 0;
  if (executor->small && (is_alone(executor) || executor->together.count >= threads * TILES_OF_THREAD)) {
    executor->whole = true;
    deal_tiles(executor);
    return true;
  }
  return beta_sheets_next(&executor->sheets, &executor->together, executor->ends);
}

static void run_tile(const struct beta_tile *tile, const struct beta_resources *resources, struct beta_place *place) {
  struct beta_epilogue epilogue;
  beta_blocks blocks;
  beta_epilogue_prepare(&epilogue, &tile->job);
  beta_blocks_cut(&blocks, resources->kernel, &tile->job, &epilogue, 1);
  place->laid = place->ran = 0;
  for (uint32_t panel = 0; panel < blocks.panels; panel++) {
    beta_hold_panel(&blocks, panel, place->panel);
    for (uint32_t unit = 0; unit < blocks.units; unit++) beta_run_unit(&blocks, panel, unit, place->panel, place->scratch, false);
  }
}

/* Whether it is time to ask for a pause before tile `at`. */
static bool is_due(const struct beta_executor *executor, uint32_t at, struct beta_place *place) {
  place->unasked += executor->tile[at].beats;
  if (place->unasked <= BETA_UNASKED_BEATS) return false;
  place->unasked = 0;
  return true;
}

/*
 * The first unit of what is left is run whatever comes: every call gets on. From the first on that a pause left out all are; those that were taken
 * before others saw it may lie behind that one: they run again, to the same end.
 */
static bool is_left_out(struct beta_executor *executor, uint32_t at, struct beta_place *place) {
  if (executor->beats <= BETA_UNASKED_BEATS || at == executor->next) return false;
  uint32_t least = atomic_load(&executor->left_out);
  if (least == UINT32_MAX) {
    if (executor->whole && !is_due(executor, at, place)) return false;
    if (!executor->pause(executor->context)) return false;
  }
  while (at < least && !atomic_compare_exchange_weak(&executor->left_out, &least, at)) continue;
  return true;
}

static void run_unit(void *context, uint32_t at, uint32_t seat) {
  struct beta_executor *executor = context;
  struct beta_place *place = &executor->resources.place[seat];
  fetch_job(executor, BETA_TO_READ);
  if (is_left_out(executor, at, place)) return;
  if (executor->whole) run_tile(&executor->tile[at], &executor->resources, place);
  else beta_sheets_run(&executor->sheets, at, seat);
}

bool beta_execute(struct beta_executor *executor, uint32_t seat, bool (*pause)(void *context), void *context,
                  struct beta_counters *counters) {
  executor->pause = pause;
  executor->context = context;
  while (executor->running || begin_job(executor)) {
    executor->running = true;
    /* Relaxed: starting a job orders it. */
    atomic_store_explicit(&executor->left_out, UINT32_MAX, memory_order_relaxed);
    beta_pool_run_dealt(executor->resources.pool, seat, executor->next, executor->ends, run_unit, executor);
    const uint32_t left_out = atomic_load(&executor->left_out);
    if (left_out != UINT32_MAX) {
      executor->next = left_out;
      return false;
    }
    executor->running = false;
  }
  for (uint32_t i = 0; i < executor->together.count; i++) beta_tile_count(&executor->tile[i], counters);
  return true;
}

void beta_executor_announce(struct beta_executor *executor, uint32_t off, uint32_t bytes, bool lasting) {
  beta_held_announce(executor->resources.held, off, bytes, lasting);
}

void beta_executor_close(struct beta_executor *executor) {
  if (executor == NULL) return;
  if (executor->resources.held != NULL) beta_held_close(executor->resources.held);
  for (uint32_t i = 0; i < BETA_POOL_THREADS_MAX; i++) {
    free(executor->resources.place[i].scratch);
    free(executor->resources.place[i].panel);
  }
  free(executor);
}

struct beta_executor *beta_executor_open(const struct beta_kernel *kernel, uint8_t *window, struct beta_pool *pool) {
  struct beta_executor *executor = aligned_alloc(_Alignof(struct beta_executor), sizeof *executor);
  if (executor == NULL) return NULL;
  memset(executor, 0, sizeof *executor);
  executor->resources.kernel = kernel;
  executor->resources.window = window;
  executor->resources.pool = pool;
  executor->sheets.resources = &executor->resources;
  executor->sheets.serial = 1;
  bool complete = true;
  for (uint32_t i = 0; i < beta_pool_threads(pool); i++) {
    executor->resources.place[i].scratch = aligned_alloc(ALIGN, BETA_SCRATCH_BYTES);
    executor->resources.place[i].panel = aligned_alloc(ALIGN, BETA_PANEL_BYTES_MAX);
    complete = complete && executor->resources.place[i].scratch != NULL && executor->resources.place[i].panel != NULL;
  }
  executor->resources.held = beta_held_open();
  if (complete && executor->resources.held != NULL) return executor;
  beta_executor_close(executor);
  errno = ENOMEM;
  return NULL;
}
