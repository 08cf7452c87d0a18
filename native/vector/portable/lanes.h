/* 16 lanes of doubles in plain C: pairs, which compilers have vectors or at least registers for. */
#ifndef BETA_VECTOR_PORTABLE_LANES_H
#define BETA_VECTOR_PORTABLE_LANES_H

#include <stdint.h>
#include <string.h>

#include "vector/kernel.h"

typedef double pair __attribute__((vector_size(16)));
typedef int64_t pair_bits __attribute__((vector_size(16)));

#define PAIRS 8
typedef struct lanes {
  pair v[PAIRS];
} lanes;
typedef struct marks {
  pair_bits v[PAIRS];
} marks;

#define EACH for (int i = 0; i < PAIRS; i++)

static inline lanes lanes_load(const double *p) {
  lanes r;
  memcpy(r.v, p, sizeof r.v);
  return r;
}
static inline void lanes_store(double *p, lanes a) { memcpy(p, a.v, sizeof a.v); }
#define WIDENED(type, name)                                        \
  static inline lanes name(const type *p) {                        \
    lanes r;                                                       \
    EACH r.v[i] = (pair){(double)p[2 * i], (double)p[2 * i + 1]};  \
    return r;                                                      \
  }
WIDENED(float, lanes_of_floats)
WIDENED(int32_t, lanes_of_int32)
WIDENED(int16_t, lanes_of_int16)
#undef WIDENED
static inline void lanes_to_floats(float *p, lanes a) {
  EACH {
    p[2 * i] = (float)a.v[i][0];
    p[2 * i + 1] = (float)a.v[i][1];
  }
}
static inline lanes lanes_set(double x) {
  lanes r;
  EACH r.v[i] = (pair){x, x};
  return r;
}
static inline lanes lanes_add(lanes a, lanes b) {
  EACH a.v[i] += b.v[i];
  return a;
}
static inline lanes lanes_sub(lanes a, lanes b) {
  EACH a.v[i] -= b.v[i];
  return a;
}
static inline lanes lanes_mul(lanes a, lanes b) {
  EACH a.v[i] *= b.v[i];
  return a;
}
static inline lanes lanes_div(lanes a, lanes b) {
  EACH a.v[i] /= b.v[i];
  return a;
}
/* Without branches: what decides is noise. */
static inline pair pair_choose(pair_bits m, pair yes, pair no) { return (pair)(((pair_bits)yes & m) | ((pair_bits)no & ~m)); }
/* a < b ? a : b, and so b where one of them is NaN. */
static inline lanes lanes_min(lanes a, lanes b) {
  EACH a.v[i] = pair_choose(a.v[i] < b.v[i], a.v[i], b.v[i]);
  return a;
}
static inline lanes lanes_max(lanes a, lanes b) {
  EACH a.v[i] = pair_choose(a.v[i] > b.v[i], a.v[i], b.v[i]);
  return a;
}
static inline lanes lanes_abs(lanes a) {
  EACH a.v[i] = (pair)((pair_bits)a.v[i] & (pair_bits){INT64_MAX, INT64_MAX});
  return a;
}
static inline marks lanes_above(lanes a, lanes b) {
  marks m;
  EACH m.v[i] = a.v[i] > b.v[i];
  return m;
}
static inline marks lanes_reach(lanes a, lanes b) {
  marks m;
  EACH m.v[i] = a.v[i] >= b.v[i];
  return m;
}
static inline marks marks_of(uint32_t bits) {
  marks m;
  EACH m.v[i] = (pair_bits){-(int64_t)(bits >> 2 * i & 1), -(int64_t)(bits >> (2 * i + 1) & 1)};
  return m;
}
static inline uint32_t marks_bits(marks m) {
  pair_bits bits = {0, 0};
  EACH bits |= m.v[i] & (pair_bits){1 << 2 * i, 2 << 2 * i};
  return (uint32_t)(bits[0] | bits[1]);
}
static inline int marks_any(marks m) {
  pair_bits any = m.v[0];
  EACH any |= m.v[i];
  return (any[0] | any[1]) != 0;
}
static inline lanes lanes_choose(marks m, lanes yes, lanes no) {
  EACH no.v[i] = pair_choose(m.v[i], yes.v[i], no.v[i]);
  return no;
}
/* The sign of `sign` on the magnitude of `a`. */
static inline lanes lanes_sign(lanes a, lanes sign) {
  EACH a.v[i] = pair_choose((pair_bits){INT64_MAX, INT64_MAX}, a.v[i], sign.v[i]);
  return a;
}
/* The lowest byte of every lane's bits. */
static inline void lanes_low_bytes(uint8_t *p, lanes a) {
  EACH {
    const pair_bits bits = (pair_bits)a.v[i];
    p[2 * i] = (uint8_t)bits[0];
    p[2 * i + 1] = (uint8_t)bits[1];
  }
}
/* Sums in a fixed order: lane i with lane i + 8, then + 4, + 2, + 1. */
static inline double lanes_total(lanes a) {
  for (int half = PAIRS / 2; half > 0; half /= 2) {
    for (int i = 0; i < half; i++) a.v[i] += a.v[i + half];
  }
  return a.v[0][0] + a.v[0][1];
}

/* table[low four bits of a lane] */
static inline lanes lanes_of_16(const double table[16], lanes index) {
  EACH {
    const pair_bits at = (pair_bits)index.v[i] & 15;
    index.v[i] = (pair){table[at[0]], table[at[1]]};
  }
  return index;
}
/* The bits of a lane without the lowest eight. */
static inline lanes lanes_next_byte(lanes a) {
  EACH a.v[i] = (pair)((pair_bits)a.v[i] >> 8); /* positive numbers: the sign stays 0 */
  return a;
}
#define LANES_PAIRS
/* The product that the low byte of a lane selects. */
static inline lanes lanes_of_pair(const beta_exponentials *e, unsigned which, lanes index) {
  EACH {
    const pair_bits at = (pair_bits)index.v[i] & 255;
    index.v[i] = (pair){e->pairs[which][at[0]], e->pairs[which][at[1]]};
  }
  return index;
}
/* 2^(a lane's low 16 bits, signed, over 16), rounded down; within the range of normal numbers. */
static inline lanes lanes_power(lanes a) {
  typedef uint64_t unsigned_bits __attribute__((vector_size(16)));
  EACH a.v[i] = (pair)((((unsigned_bits)a.v[i] & ~UINT64_C(15)) << 48) + (UINT64_C(1023) << 52));
  return a;
}
/* Horner's rule in u for the polynomial that a lane's low four bits select; rows[polynomial][power]. */
static inline lanes lanes_polynomial(const double (*rows)[16], unsigned degree, lanes index, lanes u) {
  EACH {
    const pair_bits at = (pair_bits)index.v[i] & 15;
    const double *first = rows[at[0]], *second = rows[at[1]];
    pair y = {first[degree], second[degree]};
    for (unsigned power = degree; power-- > 0;) y = y * u.v[i] + (pair){first[power], second[power]};
    index.v[i] = y;
  }
  return index;
}

#undef EACH

/* Which of 16 floats plus `shift`, if any, are above 0; `equal` is not 0 where one of them is. */
static inline uint32_t float_signs(const float *x, const float *shift, uint32_t *equal) {
  typedef float four __attribute__((vector_size(16)));
  typedef int32_t four_bits __attribute__((vector_size(16)));
  four_bits above = {0}, zero = {0};
  for (int i = 0; i < 4; i++) {
    four v, add = {0};
    memcpy(&v, x + 4 * i, sizeof v);
    if (shift) memcpy(&add, shift + 4 * i, sizeof add);
    v += add;
    const four_bits bit = {1 << 4 * i, 2 << 4 * i, 4 << 4 * i, 8 << 4 * i};
    above |= (v > 0) & bit;
    zero |= (v == 0) & bit;
  }
  *equal = (uint32_t)(zero[0] | zero[1] | zero[2] | zero[3]);
  return (uint32_t)(above[0] | above[1] | above[2] | above[3]);
}

/* Plane i of 128 codes: their bits i. */
static inline void pack_block(const uint8_t *codes, unsigned bits, uint8_t *planes) {
  for (unsigned byte = 0; byte < 16; byte++) {
    uint64_t eight;
    memcpy(&eight, codes + 8 * byte, sizeof eight);
    for (unsigned plane = 0; plane < bits; plane++) {
      /* Bit 8i of the first factor meets bit 56 - 7i of the second in bit 56 + i, and nothing else reaches the top byte. */
      const uint64_t each = eight >> plane & UINT64_C(0x0101010101010101);
      planes[16 * plane + byte] = (uint8_t)(each * UINT64_C(0x0102040810204080) >> 56);
    }
  }
}

#endif
