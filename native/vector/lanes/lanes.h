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

/* Reads and writes of the first `left` lanes. */
#define ENDS(type, name, read)                                             \
  INLINE lanes name(const type *p, uint32_t left) {                        \
    if (left == LANES) return read(p);                                     \
    type padded[LANES] = {0};                                              \
    memcpy(padded, p, left * sizeof *p);                                   \
    return read(padded);                                                   \
  }
ENDS(double, doubles_at, lanes_load)
ENDS(float, floats_at, lanes_of_floats)
ENDS(int32_t, int32_at, lanes_of_int32)
ENDS(int16_t, int16_at, lanes_of_int16)
#undef ENDS

INLINE void put_doubles(double *p, lanes a, uint32_t left) {
  if (left == LANES) {
    lanes_store(p, a);
    return;
  }
  double whole[LANES];
  lanes_store(whole, a);
  memcpy(p, whole, left * sizeof *p);
}

INLINE void put_floats(float *p, lanes a, uint32_t left) {
  if (left == LANES) {
    lanes_to_floats(p, a);
    return;
  }
  float whole[LANES];
  lanes_to_floats(whole, a);
  memcpy(p, whole, left * sizeof *p);
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
INLINE void sums_add(sums *s, uint32_t i, lanes a) {
  if (i / LANES % 2 == 0) s->even = lanes_add(s->even, a);
  else s->odd = lanes_add(s->odd, a);
}
INLINE double sums_total(sums s) { return lanes_total(lanes_add(s.even, s.odd)); }

/* Round half to even for |x| < 2^51: adding 1.5*2^52 leaves no fraction bits; the low bits of the sum are the integer's. */
#define ROUNDER 6755399441055744.0

INLINE uint8_t *plane_bytes(uint8_t *planes, unsigned bits, uint32_t element) {
  return planes + (size_t)(element / BETA_BLOCK_ELEMENTS) * BETA_BEAT_BYTES * bits + element % BETA_BLOCK_ELEMENTS / 8;
}
INLINE uint32_t whole_blocks(uint32_t width) { return (width + BETA_BLOCK_ELEMENTS - 1) / BETA_BLOCK_ELEMENTS; }
