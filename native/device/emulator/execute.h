/* Execution of one validated QMM. Private to the emulator. */
#ifndef BETA_EMULATOR_EXECUTE_H
#define BETA_EMULATOR_EXECUTE_H

#include "device/emulator/engine.h"

/* `spin`: threads may spin for a short while. NULL with errno set when memory or threads cannot be had. */
struct beta_executor *beta_executor_open(const struct beta_kernel *kernel, uint8_t *window, uint32_t threads,
                                         bool spin);
void beta_executor_close(struct beta_executor *executor);

/* The host has written this range of the window: any thread. */
void beta_executor_announce(struct beta_executor *executor, uint32_t off, uint32_t bytes);

/*
 * Runs one validated QMM; `stop` is asked every few milliseconds, by any of the threads, and makes it return false with the
 * output incomplete. Adds the work to `counters`. The engine thread.
 */
bool beta_execute(struct beta_executor *executor, const beta_descriptor *descriptor, bool (*stop)(void *context),
                  void *context, struct beta_counters *counters);

#endif
