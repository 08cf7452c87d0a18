/* Threads that share the units of one job. */
#ifndef BETA_EMULATOR_POOL_H
#define BETA_EMULATOR_POOL_H

#include <stdbool.h>
#include <stdint.h>

#define BETA_POOL_THREADS_MAX 64u

struct beta_pool;

/*
 * A pool of `threads` (>= 1) with the caller of beta_pool_run as thread 0; NULL with errno set when it cannot be had. `spin`: its
 * threads may spin for a short while before they sleep.
 */
struct beta_pool *beta_pool_open(uint32_t threads, bool spin);
void beta_pool_close(struct beta_pool *pool);
uint32_t beta_pool_threads(const struct beta_pool *pool);

/*
 * Calls work(context, unit, thread) once for every unit < units, on all threads, and returns when all calls have. What was written
 * before the call is visible to the units, and what they wrote to the caller afterwards. From one thread at a time.
 */
void beta_pool_run(struct beta_pool *pool, uint32_t units, void (*work)(void *context, uint32_t unit, uint32_t thread),
                   void *context);

#endif
