/*
 * What all kernels share over their own lanes.h: the ends of rows. Included by each kernel behind its lanes.h.
 *
 * A loop over a row calls its body with `left`, how many elements the 16 lanes have: a constant 16 but for the last call. Lanes
 * behind the row's end read 0.
 */
#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "beta_contract.h"
#include "vector/kernel.h"
#include "vector/lanes/tables.h"

#define LANES 16u
#define INLINE static inline __attribute__((always_inline))

/* body(i, LANES) for whole groups of lanes, then body(i, rest). */
#define EACH_LANES(width, i, left, ...)                    \
  do {                                                     \
    uint32_t i = 0;                                        \
    for (; i + LANES <= (width); i += LANES) {             \
      enum { left = LANES };                               \
      __VA_ARGS__                                          \
    }                                                      \
    if (i < (width)) {                                     \
      const uint32_t left = (width) - i;                   \
      __VA_ARGS__                                          \
    }                                                      \
  } while (0)

/* The same in pairs, for sums: the groups are in turn even and odd. */
#define EACH_PAIR(width, i, left, odd, ...)                \
  do {                                                     \
    uint32_t i = 0;                                        \
    while (i + 2 * LANES <= (width)) {                     \
      enum { left = LANES };                               \
      {                                                    \
        enum { odd = 0 };                                  \
        __VA_ARGS__                                        \
      }                                                    \
      i += LANES;                                          \
      {                                                    \
        enum { odd = 1 };                                  \
        __VA_ARGS__                                        \
      }                                                    \
      i += LANES;                                          \
    }                                                      \
    const uint32_t whole = i + LANES <= (width);           \
    if (whole) {                                           \
      enum { left = LANES, odd = 0 };                      \
      __VA_ARGS__                                          \
      i += LANES;                                          \
    }                                                      \
    if (i < (width)) {                                     \
      const uint32_t left = (width) - i, odd = whole;      \
      __VA_ARGS__                                          \
    }                                                      \
  } while (0)

/* Reads and writes of the first `left` lanes: a kernel's own, or by way of whole ones. */
#define PART(result, type, name, read)               \
  static result name(const type *p, uint32_t left) { \
    type padded[LANES] = {0};                        \
    memcpy(padded, p, left * sizeof *p);             \
    return read(padded);                             \
  }
#ifndef LANES_PARTS
PART(lanes, double, lanes_load_part, lanes_load)
PART(lanes, float, lanes_of_floats_part, lanes_of_floats)
PART(lanes, int32_t, lanes_of_int32_part, lanes_of_int32)
PART(lanes, int16_t, lanes_of_int16_part, lanes_of_int16)

static void lanes_store_part(double *p, lanes a, uint32_t left) {
  double whole[LANES];
  lanes_store(whole, a);
  memcpy(p, whole, left * sizeof *p);
}

static void lanes_to_floats_part(float *p, lanes a, uint32_t left) {
  float whole[LANES];
  lanes_to_floats(whole, a);
  memcpy(p, whole, left * sizeof *p);
}
#endif

INLINE lanes doubles_at(const double *p, uint32_t left) { return left == LANES ? lanes_load(p) : lanes_load_part(p, left); }
INLINE lanes floats_at(const float *p, uint32_t left) { return left == LANES ? lanes_of_floats(p) : lanes_of_floats_part(p, left); }
INLINE lanes int32_at(const int32_t *p, uint32_t left) { return left == LANES ? lanes_of_int32(p) : lanes_of_int32_part(p, left); }
INLINE lanes int16_at(const int16_t *p, uint32_t left) { return left == LANES ? lanes_of_int16(p) : lanes_of_int16_part(p, left); }
INLINE void put_doubles(double *p, lanes a, uint32_t left) {
  if (left == LANES) lanes_store(p, a);
  else lanes_store_part(p, a, left);
}
INLINE void put_floats(float *p, lanes a, uint32_t left) {
  if (left == LANES) lanes_to_floats(p, a);
  else lanes_to_floats_part(p, a, left);
}

/* Integer i of a row, either width. */
INLINE lanes integers_at(const void *row, bool int16, uint32_t i, uint32_t left) {
  return int16 ? int16_at((const int16_t *)row + i, left) : int32_at((const int32_t *)row + i, left);
}

INLINE uint32_t marks_up_to(uint32_t left) { return (1u << left) - 1; }

/* The first `left` lanes; the others become `other`. */
INLINE lanes keep(lanes a, uint32_t left, double other) {
  return left == LANES ? a : lanes_choose(marks_of(marks_up_to(left)), a, lanes_set(other));
}

/*
 * A sum of lanes: groups of lanes in turn into two accumulators, so that additions need not wait for one another, then these two,
 * then the lanes.
 */
typedef struct sums {
  lanes even, odd;
} sums;

INLINE sums sums_none(void) { return (sums){lanes_set(0), lanes_set(0)}; }
INLINE void sums_add(sums *s, uint32_t odd, lanes a) {
  if (odd) s->odd = lanes_add(s->odd, a);
  else s->even = lanes_add(s->even, a);
}
INLINE double sums_total(sums s) { return lanes_total(lanes_add(s.even, s.odd)); }

/* Round half to even for |x| < 2^51: adding 1.5*2^52 leaves no fraction bits; the low bits of the sum are the integer's. */
#define ROUNDER 6755399441055744.0

INLINE uint8_t *plane_bytes(uint8_t *planes, unsigned bits, uint32_t element) {
  return planes + (size_t)(element / BETA_BLOCK_ELEMENTS) * BETA_BEAT_BYTES * bits + element % BETA_BLOCK_ELEMENTS / 8;
}
INLINE uint32_t whole_blocks(uint32_t width) { return (width + BETA_BLOCK_ELEMENTS - 1) / BETA_BLOCK_ELEMENTS; }
