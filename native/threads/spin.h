/* Time, and the short spin before a sleep. */
#ifndef BETA_THREADS_SPIN_H
#define BETA_THREADS_SPIN_H

#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <time.h>

static inline uint64_t beta_monotonic_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/*
 * A sleep and its wake-up cost more than a small QMM, so whoever has a CPU to spare spins for a short while first. After the
 * first microseconds each turn offers the CPU, because the scheduler may have put the thread that is waited for on this
 * very CPU; without it a spin only delays what it waits for.
 */
#define BETA_SPIN_NS 200000u
#define BETA_SPIN_HARD_NS 5000u
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

/* Orders what was stored before against what is loaded afterwards. ThreadSanitizer knows no fences; an exchange does the same wherever it runs. */
static inline void beta_fence(void) {
#if defined(__SANITIZE_THREAD__)
  _Atomic int any = 0;
  atomic_exchange(&any, 1);
#else
  atomic_thread_fence(memory_order_seq_cst);
#endif
}

#endif
