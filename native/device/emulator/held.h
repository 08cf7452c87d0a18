/*
 * Panels of operands that are kept in a kernel's own layout from one descriptor to the next: a model's weights do not change, and
 * laying them out anew each time can cost as much as the product.
 *
 * A kept panel must never be older than the window. Bytes of the window change in two ways, and both are told: the host writes
 * and calls sync-for-device with the range, and the engine writes a descriptor's output. Only operands inside ranges that the host
 * has announced to last by sync-for-device, and where nothing was computed since, are kept: so a host that never announces anything (another
 * process, say) is served rightly too, only slower, and activations do not pass through here.
 */
#ifndef BETA_EMULATOR_HELD_H
#define BETA_EMULATOR_HELD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct beta_held;

/* What makes two panels the same bytes in the same layout. Compared as bytes: clear it before filling it. */
struct beta_held_key {
  const void *method;
  uint32_t off, stride, rows; /* the panel's rows in the window */
  uint32_t format;            /* of the held operand */
  uint32_t other_format;      /* of the streamed one: layouts may contain sums weighted for it */
  uint32_t k0, k;
  uint32_t row_bytes; /* bytes of a row that are read */
};

/* NULL when there is no memory. */
struct beta_held *beta_held_open(void);
void beta_held_close(struct beta_held *held);

/* The host has written [off, off + bytes) and says so, and whether it is to last: any thread, at any time. */
void beta_held_announce(struct beta_held *held, uint32_t off, uint32_t bytes, bool lasting);

/* Drops what announcements since the last call have made stale: the engine thread, before each descriptor. */
void beta_held_refresh(struct beta_held *held);

/* The engine is about to write [off, end): the engine thread. */
void beta_held_overwrite(struct beta_held *held, uint64_t off, uint64_t end);

/* Whether all of [off, end) is announced to last: an operand there may be kept. The engine thread. */
bool beta_held_lasts(const struct beta_held *held, uint64_t off, uint64_t end);

/*
 * The kept panel for a key, 64-byte aligned, or NULL. On NULL *room is where to lay it out so that it is kept, or NULL
 * if it should not be: it does not last, it was never used before, or there is no room. The engine thread.
 */
const uint8_t *beta_held_find(struct beta_held *held, const struct beta_held_key *key, size_t bytes, uint8_t **room);

#endif
