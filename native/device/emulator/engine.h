/*
 * The emulator's state and the parts of the engine: registers, validation, execution. Private to device/emulator.
 *
 * The engine is a state machine that any thread may drive, one at a time: whoever holds `owner` is the engine. It alone touches
 * the session and the executor, and stores device words. There are two candidates: the engine's own thread (thread.c), and the
 * host's. A host that writes CTRL starts or resets the engine itself where nobody is busy with it, and one that waits executes
 * descriptors (wait.c) instead of sleeping, which saves two context switches. With more than one thread the other candidate
 * helps through the pool.
 *
 * The host side (registers.c, called by any thread of the host) stores host words and wakes whom they concern. Every word is an
 * atomic with one writer. The lock guards RUN's edges, with what is sampled on them.
 */
#ifndef BETA_EMULATOR_ENGINE_H
#define BETA_EMULATOR_ENGINE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "device/device.h"
#include "kernels/kernel.h"
#include "threads/pool.h"

/* The array that GEOMETRY reports and the cycle counter assumes: rows of A, rows of B, elements of K, lanes. */
#define BETA_EMULATOR_DM 8u
#define BETA_EMULATOR_DN 8u
#define BETA_EMULATOR_DK 128u
#define BETA_EMULATOR_LANES 8u

/* What the engine reports that it can do. */
struct beta_limits {
  uint32_t caps; /* CAPS register */
  uint32_t max_k;
  uint32_t max_kp;
  uint32_t ring_max;
};

/* What the engine samples when RUN rises. */
struct beta_config {
  uint64_t bus;
  uint32_t window_bytes;
  uint32_t ring;
  uint32_t ring_log2;
};

/* A fault as the registers report it; code BETA_FAULT_NONE is no fault. */
struct beta_fault {
  uint8_t code;
  uint8_t field; /* offset of the descriptor field, or of the register for CONFIG */
  uint32_t at;   /* FAULT_AT */
};

/* Work done, in the units of the counter registers. */
struct beta_counters {
  uint32_t cycles, beats, rd_beats, wr_beats;
};

struct beta_executor; /* execute.h */

/* From RUN = 1 to RUN = 0: the owner's. */
struct session {
  uint32_t head;
  uint32_t begun; /* descriptors from HEAD on that are being executed; they may have been left between two blocks of work */
  struct beta_config config;
  struct beta_counters counters;
};

enum { NOBODY, ENGINE_THREAD, HOST };

#define EMULATOR_WORDS (BETA_REG_WR_BEATS / 4 + 1)

struct emulator {
  struct beta_device base;
  struct beta_limits limits;
  struct beta_executor *executor;
  struct beta_pool *pool;
  void *mapping; /* window with its guard pages */
  size_t mapping_bytes;

  _Atomic uint32_t word[EMULATOR_WORDS]; /* the register page, by offset / 4; STATUS is computed instead */
  _Atomic bool ready;                    /* configuration accepted */

  _Atomic uint32_t owner;
  struct session session;
  _Atomic bool started;           /* there is a session */
  _Atomic uint32_t session_epoch; /* `epoch` when it began */
  _Atomic bool watching;          /* the engine's thread looks for itself, often enough: new work need not wake it */
  _Atomic bool called;            /* somebody has woken the engine's thread since it last began to watch */

  pthread_mutex_t lock;
  _Atomic uint32_t epoch; /* counts RUN's edges, so that a short 0 is not missed; written under the lock */
  struct beta_config config; /* sampled at the last rising edge; under the lock */
  uint32_t first_head;       /* HEAD at the next start; 0 but in tests; under the lock */
  _Atomic bool closing;
  pthread_t thread;
};

static inline uint32_t emulator_load(struct emulator *emulator, uint32_t offset) {
  return atomic_load(&emulator->word[offset / 4]);
}

/*
 * Sequentially consistent, like most accesses here: "store the word, then look whether the other side sleeps" against
 * "announce the sleep, then look at the word" loses no wake-up only if both sides agree on one order.
 */
static inline void emulator_store(struct emulator *emulator, uint32_t offset, uint32_t value) {
  atomic_store(&emulator->word[offset / 4], value);
}

/* Of a word that a later emulator_store() publishes. */
static inline void emulator_store_relaxed(struct emulator *emulator, uint32_t offset, uint32_t value) {
  atomic_store_explicit(&emulator->word[offset / 4], value, memory_order_relaxed);
}

/* HEAD: what was written before is visible to whoever loads it. Not ordered against later loads: engine.c says who minds. */
static inline void emulator_store_release(struct emulator *emulator, uint32_t offset, uint32_t value) {
  atomic_store_explicit(&emulator->word[offset / 4], value, memory_order_release);
}

/* Host side (registers.c, wait.c). */
uint32_t beta_emulator_reg_read(beta_device *device, uint32_t offset);
void beta_emulator_reg_write(beta_device *device, uint32_t offset, uint32_t value);
void beta_emulator_kick(beta_device *device, uint32_t tail);
int beta_emulator_irq_wait(beta_device *device, uint32_t timeout_us);
/* Wakes a host that waits for the interrupt, if that is high. */
void beta_emulator_update_irq(struct emulator *emulator);

/* The engine's thread (thread.c); `argument` is the emulator. */
void *beta_emulator_thread(void *argument);

/* --- the engine (engine.c) --- */

/* Makes the caller the engine if nobody is; gives that up, and wakes those who may want it where there is something to do. */
bool beta_engine_acquire(struct emulator *emulator, uint32_t who);
void beta_engine_release(struct emulator *emulator);

/* Whether RUN has been 0 since the session began, or the device is closing. Anybody. */
bool beta_engine_is_over(struct emulator *emulator);

/* Whether there is a descriptor to execute and nobody is about to: a reason to acquire. Anybody. */
bool beta_engine_is_wanted(struct emulator *emulator);

/* New work, or nobody is the engine any more: wakes whoever may take it up. */
void beta_engine_wake(struct emulator *emulator);

/* Whether RUN has changed since the engine last followed it, and nobody is about to: a reason to acquire. Anybody. */
bool beta_engine_is_unsettled(struct emulator *emulator);

/* The owner: follows RUN. Ends a session since which RUN has been 0, and starts one where RUN is 1 and there is none. */
void beta_engine_settle(struct emulator *emulator);

/*
 * The owner: executes descriptors until TAIL, a fault, the session's end, until(context), or, unless it is 0, the deadline. Both
 * are asked every few milliseconds, inside a descriptor as well and there by any of the pool's threads. What is left there
 * can be taken up by any owner.
 */
void beta_engine_advance(struct emulator *emulator, bool (*until)(void *context), void *context, uint64_t deadline_ns);

/* --- checks (validate.c) --- */

/* The configuration against the emulator's own window and limits (validate.c). Pure. */
struct beta_fault beta_validate_config(const struct beta_config *config, const struct beta_limits *limits,
                                       uint64_t own_bus, uint64_t own_bytes);

/*
 * A descriptor, fetched from window offset `at`, against limits and window (contract section 6). Pure; reports the
 * first fault in the contract's order, and inside a class the first offending field in descriptor order.
 */
struct beta_fault beta_validate(const beta_descriptor *descriptor, const struct beta_limits *limits,
                                uint32_t window_bytes, uint32_t at);

#endif
