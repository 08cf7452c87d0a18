/* Formats as sums of bits (contract section 4), for the methods. */
#ifndef BETA_KERNELS_FORMATS_H
#define BETA_KERNELS_FORMATS_H

#include "kernels/kernel.h"

#define BETA_MAX_PLANES 8u

/* A value is the sum over planes i of c[i] * bit i, plus z: U has c[i] = 2^i, S a negative top plane, PM1 is 2b - 1. */
struct beta_coefficients {
  uint32_t planes;
  int32_t c[BETA_MAX_PLANES];
  int32_t z;
};

static inline struct beta_coefficients beta_coefficients_of(const beta_matrix *matrix) {
  struct beta_coefficients of = {.planes = matrix->bits};
  for (uint32_t i = 0; i < matrix->bits; i++) of.c[i] = (int32_t)1 << i;
  if (matrix->encoding == BETA_ENC_S) of.c[matrix->bits - 1] *= -1;
  if (matrix->encoding == BETA_ENC_PM1) {
    of.c[0] = 2;
    of.z = -1;
  }
  return of;
}

/* The 64-bit words of a row that [k0, k0 + k) touches: words first .. first + count - 1. */
static inline uint32_t beta_first_word(uint32_t k0) { return k0 / 64; }
static inline uint32_t beta_word_count(uint32_t k0, uint32_t k) { return (k0 + k + 63) / 64 - k0 / 64; }

/* Ones where an element of word `word` (of the row) lies in [k0, k0 + k). */
static inline uint64_t beta_word_mask(uint32_t word, uint32_t k0, uint32_t k) {
  const uint32_t low = word * 64, end = k0 + k;
  uint64_t bits = UINT64_MAX;
  if (k0 > low) bits = k0 - low < 64 ? bits << (k0 - low) : 0;
  if (end < low + 64) bits = end > low ? bits & UINT64_MAX >> (low + 64 - end) : 0;
  return bits;
}

/* Where word `word` of plane `plane` of a row lies, in bytes from the row's beginning. */
static inline uint64_t beta_word_offset(const beta_matrix *matrix, uint32_t word, uint32_t plane) {
  return ((uint64_t)(word / 2) * matrix->bits + plane) * BETA_BEAT_BYTES + word % 2 * 8;
}

#endif
