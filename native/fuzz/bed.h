/*
 * Every kernel that this CPU supports as an engine of its own, with one thread and with two, beside the naive oracle: all see the
 * same bytes and the same descriptors, and after every stream all of it must be equal: HEAD, FAULT, FAULT_AT, STATUS and every
 * byte of the window.
 *
 * Windows live from stream to stream, and the host announces exactly what it writes: so a kernel that keeps what it made of an
 * operand must notice every change.
 */
#ifndef BETA_FUZZ_BED_H
#define BETA_FUZZ_BED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "beta.h"
#include "fuzz/naive.h"

#define BED_ENGINES_MAX 16u
#define BED_STREAM_MAX 64u

struct bed_engine {
  char options[64];
  beta_device *device;
  uint8_t *window;
};

struct bed {
  uint32_t window_bytes; /* of every engine; a configuration may use less */
  uint32_t count;
  struct bed_engine engine[BED_ENGINES_MAX];
  struct naive_limits limits;
  uint8_t *expected;
  uint8_t *before; /* the window before the last stream, ring included */
  struct naive_config config;
  uint32_t head;
  /* The last mismatch, for people. */
  char wrong[512];
};

/* A stream: descriptors, and how much further than them TAIL is moved (0, or past the ring's end). */
struct bed_stream {
  uint32_t count, overrun;
  uint8_t descriptor[BED_STREAM_MAX][NAIVE_DESCRIPTOR_BYTES];
};

/* `kernel`: NULL for all. Engines of 1 to `threads` threads each. Exits where memory or an engine cannot be had. */
void bed_open(struct bed *bed, uint32_t window_bytes, const char *kernel, uint32_t threads);
void bed_close(struct bed *bed);

/* A configuration that is accepted: the whole window, a ring of 16 entries at its beginning. */
struct naive_config bed_plain_config(const struct bed *bed);

/* Resets every engine and starts it with a configuration and a HEAD. False where one differs from the oracle. */
bool bed_start(struct bed *bed, const struct naive_config *config, uint32_t head);

/* Writes to every window, and announces it. */
void bed_write(struct bed *bed, uint32_t off, const void *bytes, uint32_t count);

/* Runs a stream that fits the ring. *fault: what the oracle (and every engine) reports; starts anew after one. */
bool bed_run(struct bed *bed, const struct bed_stream *stream, struct naive_fault *fault);

/* Of everything but the ring's host side: the same on every machine for the same seed. */
uint64_t bed_hash(const struct bed *bed, uint64_t hash);

#endif
