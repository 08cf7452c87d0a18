/*
 * The naive oracle of the engine in C: what contract sections 2 to 6 say, element by element, on the bytes of a window. Field
 * offsets and codes are written out here, so that it also guards the generated header; it shares no code with device/ and
 * kernels/, and must stay slow and obvious.
 */
#ifndef BETA_FUZZ_NAIVE_H
#define BETA_FUZZ_NAIVE_H

#include <stdbool.h>
#include <stdint.h>

#define NAIVE_DESCRIPTOR_BYTES 64u

/* FAULT 7:0, FAULT 15:8, FAULT_AT; code 0 is no fault. */
struct naive_fault {
  uint32_t code, field, at;
};

/* The registers CAPS, MAX_K, MAX_KP, RING_MAX. */
struct naive_limits {
  uint32_t caps, max_k, max_kp, ring_max;
};

/* WIN_LO/HI, WIN_SIZE, RING, RING_LOG2. */
struct naive_config {
  uint64_t bus;
  uint32_t window_bytes, ring, ring_log2;
};

/* A section of the window, in bytes, [begin, end). */
struct naive_span {
  uint64_t begin, end;
};

struct naive_spans {
  struct naive_span a, b, o, e; /* e is empty for int32 */
};

struct naive_fault naive_validate_config(const struct naive_config *config, const struct naive_limits *limits,
                                         uint64_t own_bus, uint64_t own_bytes);

/* `at` is the descriptor's own window offset. */
struct naive_fault naive_validate(const uint8_t *descriptor, const struct naive_limits *limits, uint64_t window_bytes,
                                  uint32_t at);

/* Everything that a valid QMM touches. */
struct naive_spans naive_spans_of(const uint8_t *descriptor);

/* Does to the window what a valid descriptor asks for. */
void naive_apply(uint8_t *window, const uint8_t *descriptor);

#endif
