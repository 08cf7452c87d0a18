/* Execution of one validated QMM. Private to the emulator. */
#ifndef BETA_EMULATOR_EXECUTE_H
#define BETA_EMULATOR_EXECUTE_H

#include "device/emulator/engine.h"

/*
 * Work that is done without asking whether to pause: the answer takes a clock, whose reading costs as much as a tenth of a head of
 * attention. About two milliseconds of the slowest kernel, half a microsecond to some microseconds of the fastest.
 */
#define BETA_UNASKED_BEATS (UINT64_C(1) << 20)

/* NULL with errno set when memory cannot be had. The pool is the caller's to close, after the executor. */
struct beta_executor *beta_executor_open(const struct beta_kernel *kernel, uint8_t *window, struct beta_pool *pool);
void beta_executor_close(struct beta_executor *executor);

/* The host has written this range of the window: any thread. */
void beta_executor_announce(struct beta_executor *executor, uint32_t off, uint32_t bytes);

/* Begins a validated QMM; one that was begun before and is not complete is forgotten. The engine. */
void beta_execute_begin(struct beta_executor *executor, const beta_descriptor *descriptor);

/*
 * Goes on with the QMM until it is complete; then adds the work to `counters`. `pause` is asked every few milliseconds of a QMM that
 * takes so long, by any of the pool's threads, and makes it return false with the output incomplete: the next call goes on from there. The engine.
 */
bool beta_execute(struct beta_executor *executor, bool (*pause)(void *context), void *context,
                  struct beta_counters *counters);

#endif
