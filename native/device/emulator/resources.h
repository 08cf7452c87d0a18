/* What the QMMs that begin together share: the kernel, the threads and what each has to itself, and the operands that are kept. */
#ifndef BETA_EMULATOR_RESOURCES_H
#define BETA_EMULATOR_RESOURCES_H

#include <stdint.h>

#include "device/emulator/held.h"
#include "kernels/blocks.h"
#include "threads/pool.h"

/* What a thread has to itself, by its seat. */
struct beta_place {
  _Alignas(128) uint8_t *scratch;
  uint8_t *panel;
  uint64_t laid; /* which sheet's panel is there (sheets.c) */
  uint64_t ran;  /* the sheet and the strip of the last unit */
  uint32_t strip;
  uint64_t unasked; /* beats since the last question whether to pause (execute.c) */
};

struct beta_resources {
  const struct beta_kernel *kernel;
  uint8_t *window;
  struct beta_pool *pool;
  struct beta_held *held;
  struct beta_place place[BETA_POOL_THREADS_MAX];
};

enum beta_intent { BETA_TO_READ, BETA_TO_WRITE };

/* Asks for the lines of a piece of memory, before they are needed. */
static inline void beta_fetch(const void *from, size_t bytes, enum beta_intent intent) {
  const uintptr_t first = (uintptr_t)from / BETA_CACHE_LINE, last = ((uintptr_t)from + bytes - 1) / BETA_CACHE_LINE;
  for (uintptr_t line = first; line <= last; line++) {
    const char *at = (const char *)(line * BETA_CACHE_LINE);
    if (intent == BETA_TO_READ) {
      __builtin_prefetch(at);
    } else {
#if defined(__x86_64__)
      /* What compilers make of the builtin without a flag would leave the line with the other core; CPUs that do not know this one skip it. */
      __asm__ volatile("prefetchw %0" ::"m"(*at));
#else
      __builtin_prefetch(at, 1);
#endif
    }
  }
}

#endif
