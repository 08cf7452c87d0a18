/* Runs one QMM: its blocks on the threads, its held panels kept where that is safe. */
#include "device/emulator/execute.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "device/emulator/held.h"
#include "kernels/blocks.h"

#define ALIGN 64u
/* Panels that are multiplied in one job, where each has a place of its own: so threads need not wait for each other between them. */
#define BATCH_MAX 64u

struct beta_executor {
  const struct beta_kernel *kernel;
  uint8_t *window;
  struct beta_pool *pool;
  struct beta_held *held;
  uint8_t *panel;                        /* of operands that are not kept */
  uint8_t *scratch[BETA_POOL_SEATS_MAX]; /* one a seat */

  /* The QMM that has begun, and where it stands: panels before `first` are done, `count` from there on are laid out. */
  beta_qmm job;
  beta_blocks blocks;
  uint32_t first, count;
  const uint8_t *batch[BATCH_MAX];
  uint32_t next; /* what is left of the batch begins here, counted in units of one panel after another */
  _Atomic uint32_t left_out; /* the first unit that a pause left out, UINT32_MAX for none */
  uint64_t beats;            /* of the whole QMM */
  bool (*pause)(void *context);
  void *context;
};

static uint64_t divide_up(uint64_t a, uint64_t b) { return (a + b - 1) / b; }

static beta_matrix matrix(uint8_t *window, uint32_t off, uint32_t stride, uint8_t format) {
  return (beta_matrix){
      .row0 = window + off,
      .stride = stride,
      .bits = 1u << (format & BETA_FMT_WIDTH_MASK),
      .encoding = format >> BETA_FMT_ENC_SHIFT & BETA_FMT_ENC_MASK,
  };
}

static beta_qmm resolve(const beta_descriptor *d, uint8_t *window) {
  beta_qmm job = {
      .a = matrix(window, d->a_off, d->a_stride, d->a_fmt),
      .b = matrix(window, d->b_off, d->b_stride, d->b_fmt),
      .o = matrix(window, d->o_off, d->o_stride, d->o_fmt),
      .table_by_row = (d->flags & BETA_FLAG_TABLE_BY_ROW) != 0,
      .m = d->m,
      .n = d->n,
      .k = d->k,
      .k0 = d->k0,
      .n0 = d->n0,
  };
  job.table = job.o.bits == 32 ? NULL : window + d->e_off;
  return job;
}

static uint64_t blocks_of(const beta_qmm *job) { return divide_up((uint64_t)job->k0 + job->k, BETA_BLOCK_ELEMENTS); }

/* Products of 128 bits that the QMM is made of. */
static uint64_t beats_of(const beta_qmm *job) {
  return (uint64_t)job->m * job->n * blocks_of(job) * (job->a.bits * job->b.bits);
}

/* What the array of GEOMETRY would count: a pair of planes of 8x8 rows and 128 elements in each cycle. */
static void count_work(const beta_qmm *job, uint64_t beats, struct beta_counters *counters) {
  const uint64_t blocks = blocks_of(job);
  const uint64_t tiles = divide_up(job->m, BETA_EMULATOR_DM) * divide_up(job->n, BETA_EMULATOR_DN);
  const uint64_t plane_pairs = (uint64_t)job->a.bits * job->b.bits;
  const uint64_t table_rows = job->table == NULL ? 0 : job->table_by_row ? job->m : job->n;
  const uint64_t out_bytes = divide_up((uint64_t)job->n * job->o.bits, 8);
  counters->cycles += (uint32_t)(tiles * blocks * plane_pairs);
  counters->beats += (uint32_t)beats;
  counters->rd_beats += (uint32_t)(job->m * blocks * job->a.bits + job->n * blocks * job->b.bits +
                                   divide_up(table_rows * BETA_TABLE_ENTRY_BYTES, BETA_BEAT_BYTES));
  counters->wr_beats += (uint32_t)(job->m * divide_up(out_bytes, BETA_BEAT_BYTES));
}

static uint32_t row_bytes(const beta_matrix *matrix, uint32_t first, uint32_t count) {
  return (uint32_t)divide_up((uint64_t)first + count, BETA_BLOCK_ELEMENTS) * BETA_BEAT_BYTES * matrix->bits;
}

/* The bytes that the output lies in: from its first row's first byte to its last row's last. */
static void announce_output(struct beta_executor *executor, const beta_qmm *job) {
  const uint64_t begin = (uint64_t)(job->o.row0 - executor->window);
  const uint64_t bytes =
      job->o.bits >= 16 ? (uint64_t)job->n * (job->o.bits / 8) : row_bytes(&job->o, job->n0, job->n);
  beta_held_overwrite(executor->held, begin, begin + (job->m - 1) * job->o.stride + bytes);
}

static struct beta_held_key key_of(const struct beta_executor *executor, uint32_t panel) {
  const beta_blocks *blocks = &executor->blocks;
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
  key.row_bytes = row_bytes(held, blocks->pair.k0, blocks->pair.k);
  return key;
}

static const uint8_t *hold(struct beta_executor *executor, uint32_t panel) {
  const struct beta_held_key key = key_of(executor, panel);
  uint8_t *room;
  const uint8_t *kept = beta_held_find(executor->held, &key, beta_panel_bytes(&executor->blocks, panel), &room);
  if (kept != NULL) return kept;
  uint8_t *to = room != NULL ? room : executor->panel;
  beta_hold_panel(&executor->blocks, panel, to);
  return to;
}

/* Lays out panels until one is in the only place for those that are not kept. */
static void begin_batch(struct beta_executor *executor) {
  const beta_blocks *blocks = &executor->blocks;
  const uint32_t most = blocks->units > UINT32_MAX / BATCH_MAX ? 1 : BATCH_MAX; /* units of a batch fit 32 bits */
  executor->next = 0;
  executor->count = 0;
  while (executor->count < most && executor->first + executor->count < blocks->panels) {
    const uint8_t *held = hold(executor, executor->first + executor->count);
    executor->batch[executor->count++] = held;
    if (held == executor->panel) return;
  }
}

void beta_execute_begin(struct beta_executor *executor, const beta_descriptor *descriptor) {
  executor->job = resolve(descriptor, executor->window);
  executor->beats = beats_of(&executor->job);
  beta_held_refresh(executor->held);
  announce_output(executor, &executor->job);
  beta_blocks_cut(&executor->blocks, executor->kernel, &executor->job, beta_pool_threads(executor->pool));
  executor->first = executor->count = 0;
}

/* Units that were taken before others saw the pause may lie behind the one left out: they run again, to the same end. */
static void run_unit(void *context, uint32_t taken, uint32_t seat) {
  struct beta_executor *executor = context;
  const beta_blocks *blocks = &executor->blocks;
  const uint32_t at = executor->next + taken;
  if (executor->beats > BETA_UNASKED_BEATS && executor->pause(executor->context)) {
    uint32_t least = atomic_load(&executor->left_out);
    while (at < least && !atomic_compare_exchange_weak(&executor->left_out, &least, at)) continue;
    return;
  }
  const uint32_t panel = at / blocks->units;
  beta_run_unit(blocks, executor->first + panel, at % blocks->units, executor->batch[panel], executor->scratch[seat]);
}

bool beta_execute(struct beta_executor *executor, bool (*pause)(void *context), void *context,
                  struct beta_counters *counters) {
  executor->pause = pause;
  executor->context = context;
  while (executor->first < executor->blocks.panels) {
    if (executor->count == 0) begin_batch(executor);
    /* Relaxed: starting a job orders it. */
    atomic_store_explicit(&executor->left_out, UINT32_MAX, memory_order_relaxed);
    beta_pool_run(executor->pool, executor->count * executor->blocks.units - executor->next, run_unit, executor);
    const uint32_t left_out = atomic_load(&executor->left_out);
    if (left_out != UINT32_MAX) {
      executor->next = left_out;
      return false;
    }
    executor->first += executor->count;
    executor->count = 0;
  }
  count_work(&executor->job, executor->beats, counters);
  return true;
}

void beta_executor_announce(struct beta_executor *executor, uint32_t off, uint32_t bytes) {
  beta_held_announce(executor->held, off, bytes);
}

void beta_executor_close(struct beta_executor *executor) {
  if (executor == NULL) return;
  if (executor->held != NULL) beta_held_close(executor->held);
  for (uint32_t i = 0; i < BETA_POOL_SEATS_MAX; i++) free(executor->scratch[i]);
  free(executor->panel);
  free(executor);
}

struct beta_executor *beta_executor_open(const struct beta_kernel *kernel, uint8_t *window, struct beta_pool *pool) {
  struct beta_executor *executor = calloc(1, sizeof *executor);
  if (executor == NULL) return NULL;
  executor->kernel = kernel;
  executor->window = window;
  executor->pool = pool;
  bool complete = true;
  for (uint32_t i = 0; i < beta_pool_seats(pool); i++) {
    executor->scratch[i] = aligned_alloc(ALIGN, BETA_SCRATCH_BYTES);
    complete = complete && executor->scratch[i] != NULL;
  }
  executor->panel = aligned_alloc(ALIGN, BETA_PANEL_BYTES_MAX);
  executor->held = beta_held_open();
  if (complete && executor->panel != NULL && executor->held != NULL) return executor;
  beta_executor_close(executor);
  errno = ENOMEM;
  return NULL;
}
