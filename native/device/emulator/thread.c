/* The engine's thread: it starts and resets, and executes descriptors when that is its turn. */
#include "device/emulator/engine.h"
#include "threads/spin.h"

/*
 * With one thread to compute, the host that waits is that thread, and this one only sees to it that HEAD moves for a host that
 * never waits: it looks from time to time while there was work lately, and acts on work that has not moved between two looks.
 */
#define WATCH_NS UINT64_C(1000000)
#define WATCH_LOOKS 10u /* without work, before it sleeps until it is woken */

static bool is_startable(void *context) {
  struct emulator *emulator = context;
  return emulator_load(emulator, BETA_REG_CTRL) != 0 || atomic_load(&emulator->closing);
}

static bool is_over(void *context) { return beta_engine_is_over(context); }
static bool is_wanted_or_over(void *context) { return beta_engine_is_wanted(context) || beta_engine_is_over(context); }
static bool is_free(void *context) { return atomic_load(&((struct emulator *)context)->owner) == NOBODY; }

static void visit(struct emulator *emulator, bool (*done)(void *context), uint64_t deadline_ns) {
  beta_pool_visit(emulator->pool, BETA_SEAT_ENGINE, done, emulator, deadline_ns);
}

/* Looks at the work until it has not moved between two looks, or the session is over, or there was none for a while. */
static bool watch(struct emulator *emulator) {
  uint32_t head = emulator_load(emulator, BETA_REG_HEAD);
  bool waits = beta_engine_is_wanted(emulator);
  for (uint32_t idle = 0; idle < WATCH_LOOKS; idle++) {
    visit(emulator, is_over, beta_monotonic_ns() + WATCH_NS);
    if (beta_engine_is_over(emulator)) return false;
    const uint32_t now = emulator_load(emulator, BETA_REG_HEAD);
    const bool still = beta_engine_is_wanted(emulator);
    if (waits && still && now == head && !beta_pool_is_claimed(emulator->pool)) return true;
    if (now != head || still) idle = 0;
    head = now;
    waits = still;
  }
  return false;
}

/* Until there is something to do for this thread, or the session is over. */
static void await_turn(struct emulator *emulator) {
  visit(emulator, is_wanted_or_over, 0);
  if (beta_pool_threads(emulator->pool) > 1) return;
  bool mine = false;
  while (!mine && beta_engine_is_wanted(emulator)) {
    atomic_store(&emulator->watching, true);
    mine = watch(emulator);
    atomic_store(&emulator->watching, false);
  }
}

/* The one thread is busy elsewhere. */
static bool is_claimed(void *context) {
  const struct emulator *emulator = context;
  return beta_pool_threads(emulator->pool) == 1 && beta_pool_is_claimed(emulator->pool);
}

/* From a start to the session's end; the thread is the engine before and after. */
static void serve(struct emulator *emulator) {
  beta_engine_release(emulator);
  while (!beta_engine_is_over(emulator)) {
    await_turn(emulator);
    if (!beta_engine_acquire(emulator, ENGINE_THREAD)) continue;
    beta_engine_advance(emulator, is_claimed, emulator, 0);
    beta_engine_release(emulator);
  }
  while (!beta_engine_acquire(emulator, ENGINE_THREAD)) visit(emulator, is_free, 0);
}

void *beta_emulator_thread(void *argument) {
  struct emulator *emulator = argument;
  for (;;) {
    visit(emulator, is_startable, 0);
    if (atomic_load(&emulator->closing)) return NULL;
    if (!beta_engine_start(emulator)) continue;
    serve(emulator);
    beta_engine_reset(emulator);
  }
}
