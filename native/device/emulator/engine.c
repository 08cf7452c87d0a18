/* The engine thread: reset, start, and one descriptor after another. */
#include <string.h>

#include "device/emulator/execute.h"

#define RUN (BETA_CTRL_RUN_MASK << BETA_CTRL_RUN_SHIFT)
#define DESCRIPTOR_BEATS ((uint32_t)sizeof(beta_descriptor) / BETA_BEAT_BYTES)

/* From RUN = 1 to RUN = 0. */
struct session {
  struct emulator *emulator;
  uint32_t epoch;
  uint32_t head;
  struct beta_config config;
  struct beta_counters counters;
};

/* Whether RUN has been 0 since the session began, or the device is closing: asked between blocks of work. */
static bool is_over(void *context) {
  const struct session *session = context;
  return atomic_load(&session->emulator->epoch) != session->epoch || atomic_load(&session->emulator->closing);
}

/* FAULT_AT first: whoever sees FAULT may read it. STATUS follows from FAULT. */
static void raise_fault(struct emulator *emulator, struct beta_fault fault) {
  emulator_store(emulator, BETA_REG_FAULT_AT, fault.at);
  emulator_store(emulator, BETA_REG_FAULT,
                 (uint32_t)fault.code << BETA_FAULT_CODE_SHIFT | (uint32_t)fault.field << BETA_FAULT_FIELD_SHIFT);
}

/*
 * Waits for RUN = 1 and starts: judges the configuration, then READY or FAULT. False when the device is closing. Under
 * the lock, so that a start that the host has withdrawn can no longer become visible after it read STATUS = 0.
 */
static bool start(struct emulator *emulator, struct session *session) {
  pthread_mutex_lock(&emulator->lock);
  while (!atomic_load(&emulator->closing) && (emulator_load(emulator, BETA_REG_CTRL) & RUN) == 0) {
    pthread_cond_wait(&emulator->engine_wake, &emulator->lock);
  }
  const bool closing = atomic_load(&emulator->closing);
  if (!closing) {
    *session = (struct session){
        .emulator = emulator,
        .epoch = atomic_load(&emulator->epoch),
        .head = emulator->first_head,
        .config = emulator->config,
    };
    emulator->first_head = 0;
    const struct beta_fault fault = beta_validate_config(&session->config, &emulator->limits,
                                                         emulator->base.window_bus, emulator->base.window_bytes);
    if (fault.code == BETA_FAULT_NONE) {
      emulator_store(emulator, BETA_REG_HEAD, session->head);
      atomic_store(&emulator->ready, true);
    } else {
      raise_fault(emulator, fault);
    }
  }
  pthread_mutex_unlock(&emulator->lock);
  if (!closing) beta_emulator_update_irq(emulator);
  return !closing;
}

/* STATUS becomes 0 last of all (registers.c computes it from `ready` and FAULT). */
static void reset(struct emulator *emulator) {
  static const uint32_t words[] = {BETA_REG_HEAD,  BETA_REG_CYCLES,   BETA_REG_BEATS,
                                   BETA_REG_RD_BEATS, BETA_REG_WR_BEATS, BETA_REG_FAULT_AT};
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) emulator_store(emulator, words[i], 0);
  atomic_store(&emulator->ready, false);
  emulator_store(emulator, BETA_REG_FAULT, 0);
}

/* A reason not to sleep: the session is over or, unless a fault has stopped it, TAIL differs from HEAD. */
static bool has_work(struct session *session, bool stopped) {
  return is_over(session) || (!stopped && emulator_load(session->emulator, BETA_REG_TAIL) != session->head);
}

static void idle(struct session *session, bool stopped) {
  struct emulator *emulator = session->emulator;
  if (emulator->spin && !stopped) {
    const uint64_t began = beta_monotonic_ns();
    uint64_t spun = 0;
    do {
      if (has_work(session, stopped)) return;
      beta_spin_once(spun);
      spun = beta_monotonic_ns() - began;
    } while (spun < BETA_SPIN_NS);
  }
  pthread_mutex_lock(&emulator->lock);
  atomic_store(&emulator->engine_asleep, true);
  while (!has_work(session, stopped)) pthread_cond_wait(&emulator->engine_wake, &emulator->lock);
  atomic_store(&emulator->engine_asleep, false);
  pthread_mutex_unlock(&emulator->lock);
}

/*
 * Copies a descriptor, reading every word exactly once: the host may write to the window at any time, and what has been
 * validated must be what is executed.
 */
static beta_descriptor fetch(const struct emulator *emulator, uint32_t at) {
  const uint8_t *from = (const uint8_t *)emulator->base.window + at;
  uint32_t words[sizeof(beta_descriptor) / 4];
  for (size_t i = 0; i < sizeof words / 4; i++) {
    words[i] = __atomic_load_n((const uint32_t *)(const void *)(from + 4 * i), __ATOMIC_RELAXED);
  }
  beta_descriptor descriptor;
  memcpy(&descriptor, words, sizeof descriptor);
  return descriptor;
}

static void publish_counters(const struct session *session) {
  emulator_store(session->emulator, BETA_REG_CYCLES, session->counters.cycles);
  emulator_store(session->emulator, BETA_REG_BEATS, session->counters.beats);
  emulator_store(session->emulator, BETA_REG_RD_BEATS, session->counters.rd_beats);
  emulator_store(session->emulator, BETA_REG_WR_BEATS, session->counters.wr_beats);
}

/* The descriptor at HEAD: false when it faults or the session ends in the middle of it. */
static bool run_one(struct session *session, uint32_t tail) {
  struct emulator *emulator = session->emulator;
  const uint32_t entries = 1u << session->config.ring_log2;
  if (tail - session->head > entries) {
    raise_fault(emulator, (struct beta_fault){BETA_FAULT_RING, 0, session->config.ring});
    return false;
  }
  const uint32_t at =
      session->config.ring + (session->head & (entries - 1)) * (uint32_t)sizeof(beta_descriptor);
  const beta_descriptor descriptor = fetch(emulator, at);
  const struct beta_fault fault = beta_validate(&descriptor, &emulator->limits, session->config.window_bytes, at);
  if (fault.code != BETA_FAULT_NONE) {
    raise_fault(emulator, fault);
    return false;
  }
  session->counters.cycles++;
  session->counters.rd_beats += DESCRIPTOR_BEATS;
  if (descriptor.op == BETA_OP_QMM &&
      !beta_execute(emulator->executor, &descriptor, is_over, session, &session->counters)) {
    return false;
  }
  publish_counters(session);
  /* After every write of the descriptor: the store releases them to whoever loads this HEAD. */
  emulator_store(emulator, BETA_REG_HEAD, ++session->head);
  return true;
}

static void run(struct session *session) {
  struct emulator *emulator = session->emulator;
  bool stopped = !atomic_load(&emulator->ready);
  while (!is_over(session)) {
    const uint32_t tail = emulator_load(emulator, BETA_REG_TAIL);
    if (stopped || tail == session->head) {
      idle(session, stopped);
      continue;
    }
    stopped = !run_one(session, tail);
    beta_emulator_update_irq(emulator);
  }
}

void *beta_emulator_thread(void *argument) {
  struct emulator *emulator = argument;
  struct session session;
  while (start(emulator, &session)) {
    run(&session);
    reset(emulator);
  }
  return NULL;
}
