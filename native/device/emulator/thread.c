/* The engine's thread: it follows RUN and executes descriptors when that is its turn. */
#include "device/emulator/engine.h"
#include "threads/spin.h"

/*
 * With one thread to compute, the host that waits is that thread, and this one only sees to it that HEAD moves for a host that
 * never waits: it looks from time to time while there was work lately, and acts on work that has not moved between two looks.
 */
#define WATCH_NS UINT64_C(1000000)
#define WATCH_LOOKS 10u /* without work, before it sleeps until it is woken */

static bool is_closing(void *context) { return atomic_load(&((struct emulator *)context)->closing); }
static bool is_free(void *context) { return atomic_load(&((struct emulator *)context)->owner) == NOBODY; }
static bool is_urgent(void *context) { return is_closing(context) || beta_engine_is_unsettled(context); }
static bool is_needed(void *context) {
  struct emulator *emulator = context;
  /* A host that has claimed the other threads is about to wait, and is the engine then: this thread helps. */
  if (beta_pool_threads(emulator->pool) > 1 && beta_pool_is_claimed(emulator->pool)) return is_urgent(emulator);
  return is_urgent(emulator) || beta_engine_is_wanted(emulator);
}
static bool is_called(void *context) { return is_needed(context) || atomic_load(&((struct emulator *)context)->called); }

static void visit(struct emulator *emulator, bool (*done)(void *context), uint64_t deadline_ns) {
  beta_pool_visit(emulator->pool, BETA_SEAT_ENGINE, done, emulator, deadline_ns);
}

/* Looks at the work until it has not moved between two looks, or something is urgent, or there was no work for a while. */
static bool watch(struct emulator *emulator) {
  uint32_t head = emulator_load(emulator, BETA_REG_HEAD);
  bool waits = beta_engine_is_wanted(emulator);
  for (uint32_t idle = 0; idle < WATCH_LOOKS; idle++) {
    visit(emulator, is_urgent, beta_monotonic_ns() + WATCH_NS);
    if (is_urgent(emulator)) return true;
    const uint32_t now = emulator_load(emulator, BETA_REG_HEAD);
    const bool still = beta_engine_is_wanted(emulator);
    if (waits && still && now == head && !beta_pool_is_claimed(emulator->pool)) return true;
    if (now != head || still) idle = 0;
    head = now;
    waits = still;
  }
  return false;
}

/* Until there is something to do for this thread. */
static void await_turn(struct emulator *emulator) {
  if (beta_pool_threads(emulator->pool) > 1) {
    visit(emulator, is_needed, 0);
    return;
  }
  for (bool mine = false; !mine;) {
    /* Watches once it was called, also where the host has done the work meanwhile: else every doorbell would pay for a wake-up. */
    visit(emulator, is_called, 0);
    if (is_urgent(emulator)) return;
    atomic_store(&emulator->watching, true);
    atomic_store(&emulator->called, false);
    mine = watch(emulator);
    atomic_store(&emulator->watching, false);
  }
}

/* The one thread is busy elsewhere, or the host will be the engine. */
static bool is_claimed(void *context) { return beta_pool_is_claimed(((struct emulator *)context)->pool); }

void *beta_emulator_thread(void *argument) {
  struct emulator *emulator = argument;
  while (!is_closing(emulator)) {
    await_turn(emulator);
    if (!beta_engine_acquire(emulator, ENGINE_THREAD)) continue;
    beta_engine_settle(emulator);
    beta_engine_advance(emulator, is_claimed, emulator, 0);
    beta_engine_release(emulator);
  }
  /* A host that is the engine leaves off soon: the device is closing. */
  while (!beta_engine_acquire(emulator, ENGINE_THREAD)) visit(emulator, is_free, 0);
  return NULL;
}
