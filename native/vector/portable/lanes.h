/* 16 lanes of doubles in plain C, in pairs that a compiler finds registers for. */
#ifndef BETA_VECTOR_PORTABLE_LANES_H
#define BETA_VECTOR_PORTABLE_LANES_H

#include <stdint.h>
#include <string.h>

typedef struct lanes {
  double v[16];
} lanes;
typedef uint32_t marks; /* a bit for each lane */

#define EACH for (int i = 0; i < 16; i++)

static inline lanes lanes_load(const double *p) {
  lanes r;
  memcpy(r.v, p, sizeof r.v);
  return r;
}
static inline void lanes_store(double *p, lanes a) { memcpy(p, a.v, sizeof a.v); }
static inline lanes lanes_of_floats(const float *p) {
  lanes r;
  EACH r.v[i] = p[i];
  return r;
}
static inline void lanes_to_floats(float *p, lanes a) { EACH p[i] = (float)a.v[i]; }
static inline lanes lanes_of_int32(const int32_t *p) {
  lanes r;
  EACH r.v[i] = p[i];
  return r;
}
static inline lanes lanes_of_int16(const int16_t *p) {
  lanes r;
  EACH r.v[i] = p[i];
  return r;
}
static inline lanes lanes_set(double x) {
  lanes r;
  EACH r.v[i] = x;
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
/* a < b ? a : b, and so b where one of them is NaN. */
static inline lanes lanes_min(lanes a, lanes b) {
  EACH a.v[i] = a.v[i] < b.v[i] ? a.v[i] : b.v[i];
  return a;
}
static inline lanes lanes_max(lanes a, lanes b) {
  EACH a.v[i] = a.v[i] > b.v[i] ? a.v[i] : b.v[i];
  return a;
}
static inline lanes lanes_abs(lanes a) {
  EACH a.v[i] = __builtin_fabs(a.v[i]);
  return a;
}
static inline marks lanes_above(lanes a, lanes b) {
  marks m = 0;
  EACH m |= (uint32_t)(a.v[i] > b.v[i]) << i;
  return m;
}
static inline marks lanes_reach(lanes a, lanes b) {
  marks m = 0;
  EACH m |= (uint32_t)(a.v[i] >= b.v[i]) << i;
  return m;
}
static inline marks marks_of(uint32_t bits) { return bits; }
static inline uint32_t marks_bits(marks m) { return m; }
static inline lanes lanes_choose(marks m, lanes yes, lanes no) {
  EACH no.v[i] = m >> i & 1 ? yes.v[i] : no.v[i];
  return no;
}
/* The sign of `sign` on the magnitude of `a`. */
static inline lanes lanes_sign(lanes a, lanes sign) {
  EACH a.v[i] = __builtin_copysign(a.v[i], sign.v[i]);
  return a;
}
static inline uint64_t lane_bits(double x) {
  uint64_t bits;
  memcpy(&bits, &x, sizeof bits);
  return bits;
}
/* The lowest byte of every lane's bits. */
static inline void lanes_low_bytes(uint8_t *p, lanes a) { EACH p[i] = (uint8_t)lane_bits(a.v[i]); }
/* Sums in a fixed order: lane i with lane i + 8, then + 4, + 2, + 1. */
static inline double lanes_total(lanes a) {
  for (int half = 8; half > 0; half /= 2) {
    for (int i = 0; i < half; i++) a.v[i] += a.v[i + half];
  }
  return a.v[0];
}

/* table[low four bits of a lane] */
static inline lanes lanes_of_16(const double table[16], lanes index) {
  EACH index.v[i] = table[lane_bits(index.v[i]) & 15];
  return index;
}
/* 2^(a lane's low 16 bits, signed, over 16), rounded down; within the range of normal numbers. */
static inline lanes lanes_power(lanes a) {
  EACH {
    const uint64_t bits = ((lane_bits(a.v[i]) & ~UINT64_C(15)) << 48) + (UINT64_C(1023) << 52);
    memcpy(&a.v[i], &bits, sizeof bits);
  }
  return a;
}
/* Horner's rule in u for the polynomial that a lane's low four bits select; rows[polynomial][power]. */
static inline lanes lanes_polynomial(const double (*rows)[16], unsigned degree, lanes index, lanes u) {
  EACH {
    const double *row = rows[lane_bits(index.v[i]) & 15];
    double y = row[degree];
    for (unsigned power = degree; power-- > 0;) y = y * u.v[i] + row[power];
    index.v[i] = y;
  }
  return index;
}

#undef EACH

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
