/* Execution of validated QMMs. Private to the emulator. */
#ifndef BETA_EMULATOR_EXECUTE_H
#define BETA_EMULATOR_EXECUTE_H

#include "device/emulator/engine.h"

/*
 * Work that is done without asking whether to pause: the answer takes a clock, whose reading costs as much as a tenth of a head of
 * attention. About two milliseconds of the slowest kernel, half a microsecond to some microseconds of the fastest.
 */
#define BETA_UNASKED_BEATS (UINT64_C(1) << 20)
/* Beats that take as long as a descriptor without any, roughly. */
#define BETA_DESCRIPTOR_BEATS 1024u

/* NULL with errno set when memory cannot be had. The pool is the caller's to close, after the executor. */
struct beta_executor *beta_executor_open(const struct beta_kernel *kernel, uint8_t *window, struct beta_pool *pool);
void beta_executor_close(struct beta_executor *executor);

/* The host has written this range of the window, and whether it is to last: any thread. */
void beta_executor_announce(struct beta_executor *executor, uint32_t off, uint32_t bytes, bool lasting);

/* Forgets what has begun, complete or not: before the first of others begins. The engine. */
void beta_execute_clear(struct beta_executor *executor);

/* Whether another QMM can begin: one, or where several threads compute some that are executed as one job. The engine. */
bool beta_execute_has_room(const struct beta_executor *executor);

/* Begins a validated QMM. False, and nothing begun, where it has to wait for those that have. Only if there is room. The engine. */
bool beta_execute_begin(struct beta_executor *executor, const beta_descriptor *descriptor);

/*
 * Goes on with what has begun until all of it is complete; then adds the work to `counters`. `pause` is asked every few milliseconds of work that
 * takes so long, by any of the pool's threads, and makes it return false with the outputs incomplete: the next call goes on from there. Every call gets
 * on by something. `seat` is the caller's in the pool. The engine.
 */
bool beta_execute(struct beta_executor *executor, uint32_t seat, bool (*pause)(void *context), void *context,
                  struct beta_counters *counters);

#endif
