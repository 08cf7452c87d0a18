/*
 * What every device is to the rest of libbeta: a window and a few functions. Private; beta.h is the public side.
 *
 * The callers in access.c have checked offsets and ranges, so a transport sees only aligned register offsets inside
 * the page and ranges inside the window.
 */
#ifndef BETA_DEVICE_DEVICE_H
#define BETA_DEVICE_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "beta.h"

struct beta_device_ops {
  /* Stops the engine and frees everything, the device itself included. */
  void (*close)(beta_device *device);
  /* One aligned 32-bit access. */
  uint32_t (*reg_read)(beta_device *device, uint32_t offset);
  void (*reg_write)(beta_device *device, uint32_t offset, uint32_t value);
  /* TAIL = tail; access.c has issued the store barrier. */
  void (*kick)(beta_device *device, uint32_t tail);
  /*
   * Unmasks the interrupt and sleeps until it is high: 0 (also when spurious), 1 after timeout_us, or a negative errno
   * when the device is gone.
   */
  int (*irq_wait)(beta_device *device, uint32_t timeout_us);
  /* Whether the device is still there: 0 or a negative errno. NULL where it cannot go away. */
  int (*alive)(beta_device *device);
  /* What its interrupts did. NULL where there are none that could get lost. */
  void (*irq_counts)(beta_device *device, struct beta_irq_counts *counts);
  /*
   * Cache maintenance: 0 or a negative errno. NULL where device and CPU share their caches. `lasting`: the bytes were uploaded to stay; else
   * they were computed, and are soon written again.
   */
  int (*sync_for_device)(beta_device *device, uint32_t offset, uint32_t bytes, bool lasting);
  int (*sync_for_cpu)(beta_device *device, uint32_t offset, uint32_t bytes);
};

struct beta_pool; /* threads/pool.h */

/* The base of every device; a transport puts it first in its own struct. */
struct beta_device {
  const struct beta_device_ops *ops;
  void *window;          /* in this process */
  uint64_t window_bytes; /* a multiple of 64 KiB, < 4 GiB */
  uint64_t window_bus;   /* on the engine's bus */
  /* The CPUs for the host's own work (vector steps): threads/pool.h. NULL is the calling thread alone. */
  struct beta_pool *cpu_pool;
  int gone;              /* negative errno, once the device was found to be gone; its registers are not touched any more */
  const struct beta_vector_kernel *vector; /* of the vector steps; NULL for the fastest */
};

/*
 * An option of a device URI: a number from min to max, or one of `choices` (NULL at the end), which are numbered from 0.
 * `value` holds the default and is overwritten when the option is given.
 */
struct beta_option {
  const char *name;
  uint32_t min, max;
  uint32_t *value;
  const char *const *choices; /* NULL for a number */
};

/*
 * Parses `query` ("", or "?name=value&...", decimal values) for a scheme. Returns 0, or -EINVAL for an option that is
 * unknown, given twice, no number, out of range or no choice; the sentence names the option and what is allowed.
 */
int beta_options_parse(const char *scheme, const char *query, const struct beta_option *options, size_t count);

#endif
