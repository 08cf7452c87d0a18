/*
 * The emulator's state and the parts of the engine: registers, validation, execution. Private to device/emulator.
 *
 * Two sides share it. The host side (registers.c, called by any thread of the host) stores host words and wakes the
 * engine; the engine thread (engine.c) stores device words and raises the interrupt. Every word is an atomic with one
 * writer. The lock guards only RUN's edges, with what is sampled on them, and the two sleeps.
 */
#ifndef BETA_EMULATOR_ENGINE_H
#define BETA_EMULATOR_ENGINE_H

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "device/device.h"
#include "kernels/kernel.h"

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

#define EMULATOR_WORDS (BETA_REG_WR_BEATS / 4 + 1)

struct emulator {
  struct beta_device base;
  struct beta_limits limits;
  struct beta_executor *executor;
  void *mapping; /* window with its guard pages */
  size_t mapping_bytes;
  bool spin; /* more than one CPU: a short spin is cheaper than a sleep */

  _Atomic uint32_t word[EMULATOR_WORDS]; /* the register page, by offset / 4; STATUS is computed instead */
  _Atomic bool ready;                    /* configuration accepted */

  pthread_mutex_t lock;
  pthread_cond_t engine_wake; /* CTRL, TAIL or closing changed */
  pthread_cond_t irq_wake;    /* the interrupt may have risen */
  _Atomic bool engine_asleep, host_asleep;
  _Atomic uint32_t epoch; /* counts RUN's edges, so that a short 0 is not missed; written under the lock */
  _Atomic bool closing;
  struct beta_config config; /* sampled at the last rising edge; under the lock */
  uint32_t first_head;       /* HEAD at the next start; 0 but in tests; under the lock */
  pthread_t thread;
};

static inline uint32_t emulator_load(struct emulator *emulator, uint32_t offset) {
  return atomic_load(&emulator->word[offset / 4]);
}

/*
 * Sequentially consistent, like every access here: "store the word, then look whether the other side sleeps" against
 * "announce the sleep, then look at the word" loses no wake-up only if both sides agree on one order.
 */
static inline void emulator_store(struct emulator *emulator, uint32_t offset, uint32_t value) {
  atomic_store(&emulator->word[offset / 4], value);
}

/* Host side (registers.c). */
uint32_t beta_emulator_reg_read(beta_device *device, uint32_t offset);
void beta_emulator_reg_write(beta_device *device, uint32_t offset, uint32_t value);
void beta_emulator_kick(beta_device *device, uint32_t tail);
int beta_emulator_irq_wait(beta_device *device, uint32_t timeout_us);
/* Wakes the engine if it sleeps. */
void beta_emulator_wake_engine(struct emulator *emulator);
/* Wakes beta_emulator_irq_wait if the interrupt is high. */
void beta_emulator_update_irq(struct emulator *emulator);

/* The engine thread (engine.c); `argument` is the emulator. */
void *beta_emulator_thread(void *argument);

/* The configuration against the emulator's own window and limits (validate.c). Pure. */
struct beta_fault beta_validate_config(const struct beta_config *config, const struct beta_limits *limits,
                                       uint64_t own_bus, uint64_t own_bytes);

/*
 * A descriptor, fetched from window offset `at`, against limits and window (contract section 6). Pure; reports the
 * first fault in the contract's order, and inside a class the first offending field in descriptor order.
 */
struct beta_fault beta_validate(const beta_descriptor *descriptor, const struct beta_limits *limits,
                                uint32_t window_bytes, uint32_t at);

uint64_t beta_monotonic_ns(void);

/*
 * Either side spins for a short while before it sleeps: a sleep and its wake-up cost more than a small QMM. After the
 * first microsecond each turn offers the CPU, because the scheduler may have put the thread that is waited for on this
 * very CPU; without it a spin only delays what it waits for.
 */
#define BETA_SPIN_NS 10000u
#define BETA_SPIN_HARD_NS 1000u
static inline void beta_spin_once(uint64_t spun_ns) {
  if (spun_ns >= BETA_SPIN_HARD_NS) {
    sched_yield();
    return;
  }
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("yield");
#endif
}

#endif
