/* The clock of a core, told by instructions of known latency: what a kernel does in a cycle can be said only with it. */
#include <stdint.h>
#include <time.h>

#include "beta.h"

#define ADDS_A_TURN 64u
#define TURNS 1024u

static uint64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

#define TIMES_4(text) text text text text
#define TIMES_64(text) TIMES_4(TIMES_4(TIMES_4(text)))

/*
 * ADDS_A_TURN * TURNS additions, each of which needs the one before. A register added to itself: some CPUs fold
 * additions of constants while they rename registers, and would finish several in a cycle.
 */
static void dependent_adds(void) {
  uint64_t value = 1;
  for (uint32_t turn = 0; turn < TURNS; turn++) {
#if defined(__x86_64__)
    __asm__ volatile(TIMES_64("add %0, %0\n\t") : "+r"(value) : : "cc");
#elif defined(__aarch64__)
    __asm__ volatile(TIMES_64("add %0, %0, %0\n\t") : "+r"(value));
#else
#error "beta_core_hz needs a chain of additions for this architecture"
#endif
  }
}

double beta_core_hz(uint32_t microseconds) {
  const uint64_t end = now_ns() + (uint64_t)microseconds * 1000u;
  uint64_t shortest = UINT64_MAX;
  uint64_t begin = now_ns();
  do {
    dependent_adds();
    const uint64_t now = now_ns();
    if (now - begin < shortest) shortest = now - begin;
    begin = now;
  } while (begin < end);
  return (double)(ADDS_A_TURN * TURNS) * 1e9 / (double)shortest;
}
