/* The engine as whoever owns it drives it: start, one descriptor after another, reset. */
#include <string.h>

#include "device/emulator/execute.h"
#include "threads/spin.h"

#define RUN (BETA_CTRL_RUN_MASK << BETA_CTRL_RUN_SHIFT)
#define DESCRIPTOR_BEATS ((uint32_t)sizeof(beta_descriptor) / BETA_BEAT_BYTES)

bool beta_engine_acquire(struct emulator *emulator, uint32_t who) {
  uint32_t nobody = NOBODY;
  return atomic_compare_exchange_strong(&emulator->owner, &nobody, who);
}

void beta_engine_wake(struct emulator *emulator) {
  beta_pool_wake(emulator->pool, BETA_SEAT_HOST);
  if (atomic_load(&emulator->watching) && !beta_engine_is_unsettled(emulator)) return;
  if (!atomic_load(&emulator->called)) atomic_store(&emulator->called, true);
  beta_pool_wake(emulator->pool, BETA_SEAT_ENGINE);
}

bool beta_engine_is_over(struct emulator *emulator) {
  return atomic_load(&emulator->epoch) != atomic_load(&emulator->session_epoch) || atomic_load(&emulator->closing);
}

bool beta_engine_is_unsettled(struct emulator *emulator) {
  if (atomic_load(&emulator->owner) != NOBODY) return false;
  if (!atomic_load(&emulator->started)) return (emulator_load(emulator, BETA_REG_CTRL) & RUN) != 0;
  return atomic_load(&emulator->epoch) != atomic_load(&emulator->session_epoch);
}

static bool has_work(struct emulator *emulator) {
  return atomic_load(&emulator->ready) && emulator_load(emulator, BETA_REG_FAULT) == 0 &&
         emulator_load(emulator, BETA_REG_TAIL) != emulator_load(emulator, BETA_REG_HEAD);
}

bool beta_engine_is_wanted(struct emulator *emulator) {
  return atomic_load(&emulator->owner) == NOBODY && has_work(emulator) && !beta_engine_is_over(emulator);
}

void beta_engine_release(struct emulator *emulator) {
  atomic_store(&emulator->owner, NOBODY);
  if (beta_engine_is_wanted(emulator) || beta_engine_is_unsettled(emulator) || atomic_load(&emulator->closing)) {
    beta_engine_wake(emulator);
  }
}

/* FAULT_AT first: whoever sees FAULT may read it. STATUS follows from FAULT. */
static void raise_fault(struct emulator *emulator, struct beta_fault fault) {
  emulator_store(emulator, BETA_REG_FAULT_AT, fault.at);
  emulator_store(emulator, BETA_REG_FAULT,
                 (uint32_t)fault.code << BETA_FAULT_CODE_SHIFT | (uint32_t)fault.field << BETA_FAULT_FIELD_SHIFT);
}

/*
 * Unless RUN is 0: judges the configuration, then READY or FAULT. Under the lock, so that a start that the host has withdrawn can no
 * longer become visible after it read STATUS = 0.
 */
static void start(struct emulator *emulator) {
  pthread_mutex_lock(&emulator->lock);
  const bool run = (emulator_load(emulator, BETA_REG_CTRL) & RUN) != 0;
  if (run) {
    atomic_store(&emulator->session_epoch, atomic_load(&emulator->epoch));
    atomic_store(&emulator->started, true);
    emulator->session = (struct session){.head = emulator->first_head, .config = emulator->config};
    emulator->first_head = 0;
    const struct beta_fault fault = beta_validate_config(&emulator->config, &emulator->limits,
                                                         emulator->base.window_bus, emulator->base.window_bytes);
    if (fault.code == BETA_FAULT_NONE) {
      emulator_store(emulator, BETA_REG_HEAD, emulator->session.head);
      atomic_store(&emulator->ready, true);
    } else {
      raise_fault(emulator, fault);
    }
  }
  pthread_mutex_unlock(&emulator->lock);
  if (run) beta_emulator_update_irq(emulator);
}

/* STATUS becomes 0 last of all (registers.c computes it from `ready` and FAULT). */
static void reset(struct emulator *emulator) {
  static const uint32_t words[] = {BETA_REG_HEAD,  BETA_REG_CYCLES,   BETA_REG_BEATS,
                                   BETA_REG_RD_BEATS, BETA_REG_WR_BEATS, BETA_REG_FAULT_AT};
  atomic_store(&emulator->started, false);
  for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) emulator_store(emulator, words[i], 0);
  atomic_store(&emulator->ready, false);
  emulator_store(emulator, BETA_REG_FAULT, 0);
}

void beta_engine_settle(struct emulator *emulator) {
  if (atomic_load(&emulator->started) && atomic_load(&emulator->epoch) != atomic_load(&emulator->session_epoch)) reset(emulator);
  if (!atomic_load(&emulator->started)) start(emulator);
}

/*
 * Copies a descriptor, reading every byte exactly once: the host may write to the window at any time, and what has been validated must be what is
 * executed. It is read in 64-bit words, because it is loaded again at once, as fields and whole: narrower stores would hold up a wider load.
 */
static void fetch(const struct emulator *emulator, uint32_t at, beta_descriptor *descriptor) {
  const uint8_t *from = (const uint8_t *)emulator->base.window + at;
  for (size_t i = 0; i < sizeof *descriptor; i += sizeof(uint64_t)) {
    const uint64_t word = __atomic_load_n((const uint64_t *)(const void *)(from + i), __ATOMIC_RELAXED);
    memcpy((uint8_t *)descriptor + i, &word, sizeof word);
  }
}

/* Fetches and validates a descriptor by its sequence number. */
static struct beta_fault read_descriptor(const struct emulator *emulator, uint32_t sequence, beta_descriptor *descriptor) {
  const struct beta_config *config = &emulator->session.config;
  const uint32_t slot = sequence & ((1u << config->ring_log2) - 1);
  const uint32_t at = config->ring + slot * (uint32_t)sizeof *descriptor;
  fetch(emulator, at, descriptor);
  return beta_validate(descriptor, &emulator->limits, config->window_bytes, at);
}

/*
 * Begins the descriptor at HEAD, and those behind it that may be executed with it; the fault is raised where it has one. That of a later one
 * is left to be found when HEAD is there.
 */
static bool begin(struct emulator *emulator, uint32_t tail) {
  struct session *session = &emulator->session;
  if (tail - session->head > 1u << session->config.ring_log2) {
    raise_fault(emulator, (struct beta_fault){BETA_FAULT_RING, 0, session->config.ring});
    return false;
  }
  beta_descriptor descriptor;
  const struct beta_fault fault = read_descriptor(emulator, session->head, &descriptor);
  if (fault.code != BETA_FAULT_NONE) {
    raise_fault(emulator, fault);
    return false;
  }
  session->begun = 1;
  beta_execute_clear(emulator->executor);
  if (descriptor.op != BETA_OP_QMM) return true;
  beta_execute_begin(emulator->executor, &descriptor);
  while (beta_execute_has_room(emulator->executor) && session->head + session->begun != tail &&
         read_descriptor(emulator, session->head + session->begun, &descriptor).code == BETA_FAULT_NONE &&
         descriptor.op == BETA_OP_QMM && beta_execute_begin(emulator->executor, &descriptor)) {
    session->begun++;
  }
  return true;
}

/*
 * Counters before HEAD; HEAD after every write of the descriptor: the store releases them to whoever loads this HEAD. A host that
 * falls asleep at this very moment may be missed, because the store waits for nothing: tell() finds it.
 */
static void complete(struct emulator *emulator) {
  struct session *session = &emulator->session;
  session->counters.cycles++;
  session->counters.rd_beats += DESCRIPTOR_BEATS;
  session->begun--;
  emulator_store_relaxed(emulator, BETA_REG_CYCLES, session->counters.cycles);
  emulator_store_relaxed(emulator, BETA_REG_BEATS, session->counters.beats);
  emulator_store_relaxed(emulator, BETA_REG_RD_BEATS, session->counters.rd_beats);
  emulator_store_relaxed(emulator, BETA_REG_WR_BEATS, session->counters.wr_beats);
  emulator_store_release(emulator, BETA_REG_HEAD, ++session->head);
  beta_emulator_update_irq(emulator);
}

/* Stored once more, HEAD is in everybody's sight before anything else is loaded: whoever waits for it either sees it or is seen. */
static void tell(struct emulator *emulator) {
  emulator_store(emulator, BETA_REG_HEAD, emulator_load(emulator, BETA_REG_HEAD));
  beta_emulator_update_irq(emulator);
}

/* When to leave off. */
struct turn {
  struct emulator *emulator;
  bool (*until)(void *context);
  void *context;
  uint64_t deadline_ns;
  uint32_t looked; /* work_of() when the clock was last read between two descriptors */
};

static bool is_ended(const struct turn *turn) {
  return beta_engine_is_over(turn->emulator) || turn->until(turn->context);
}

static bool is_late(const struct turn *turn) {
  return turn->deadline_ns != 0 && beta_monotonic_ns() >= turn->deadline_ns;
}

static bool must_pause(void *context) { return is_ended(context) || is_late(context); }

/* What the session has done, in beats; a descriptor counts as some. */
static uint32_t work_of(const struct session *session) { return session->counters.beats + session->head * BETA_DESCRIPTOR_BEATS; }

/* Between two descriptors: what costs more than a small one is done once in a while. */
static bool must_leave(struct turn *turn) {
  if (is_ended(turn)) return true;
  const uint32_t work = work_of(&turn->emulator->session);
  if (work - turn->looked < BETA_UNASKED_BEATS) return false;
  turn->looked = work;
  tell(turn->emulator);
  return is_late(turn);
}

void beta_engine_advance(struct emulator *emulator, bool (*until)(void *context), void *context, uint64_t deadline_ns) {
  struct session *session = &emulator->session;
  struct turn turn = {emulator, until, context, deadline_ns, work_of(session)};
  const uint32_t seat = atomic_load(&emulator->owner) == ENGINE_THREAD && beta_pool_threads(emulator->pool) > 1 ? BETA_SEAT_ENGINE : BETA_SEAT_HOST;
  /* Whoever became the engine gets on with it by something: two that hand it to each other all the time would not otherwise. */
  for (bool leaves = beta_engine_is_over(emulator); has_work(emulator) && !leaves; leaves = must_leave(&turn)) {
    if (session->begun == 0 && !begin(emulator, emulator_load(emulator, BETA_REG_TAIL))) break;
    if (!beta_execute(emulator->executor, seat, must_pause, &turn, &session->counters)) break;
    while (session->begun > 0) complete(emulator);
  }
  tell(emulator);
}
