/*
 * What the NEON methods share: operands as codes (codes.h), so that the inner loops know one format.
 *
 * Written for the Cortex-A53: ARMv8.0 without dot products, in order, one 128-bit vector operation or two of 64 bits a
 * cycle, one 64-bit load a cycle beside it. Loads that repeat elements (ld1r .. ld4r) cost no vector operation, so streamed
 * bytes meet whole vectors of lanes and no sum is ever taken across a vector.
 */
#ifndef BETA_KERNELS_NEON_NEON_H
#define BETA_KERNELS_NEON_NEON_H

#if defined(__aarch64__)

#include <arm_neon.h>

#include "kernels/codes.h"

#define BETA_NEON_ROWS 4u /* streamed rows of a tile */

/* Codes from -128 to 127, of 8 bits. */
static inline struct beta_code beta_neon_signed(const beta_matrix *matrix) {
  if (matrix->encoding == BETA_ENC_S) return (struct beta_code){0, 1, 0};
  return (struct beta_code){0x80, 1, 0x80};
}

/* One 64-bit word of one plane of a row's codes; `word` counts from the row's first touched one. */
uint64_t beta_neon_plane_word(const beta_pair *pair, const beta_matrix *matrix, struct beta_code code, uint32_t row,
                              uint32_t plane, uint32_t word);

/* The codes of a row, a byte each, 64 a word; `to` is aligned to 16 bytes. Returns their sum, of int8 where `is_signed`. */
int32_t beta_neon_decode(const beta_pair *pair, const beta_matrix *matrix, struct beta_code code, bool is_signed,
                         uint32_t row, uint8_t *to);

/*
 * Lays out bits as lanes: for each byte of each plane 16 lanes side by side, [byte][vector][lane]. A group has two
 * vectors: two planes of 16 rows (planes = 2), or one plane of 32 (planes = 1). Before them the lanes' sums of codes.
 */
void beta_neon_hold_bits(const beta_pair *pair, uint32_t planes, uint32_t first, uint32_t count, uint8_t *to);
#define BETA_NEON_BITS_SUMS_BYTES 128u
static inline size_t beta_neon_held_bits_bytes(const beta_pair *pair) {
  return BETA_NEON_BITS_SUMS_BYTES + (size_t)beta_code_words(pair) * 8 * 32;
}

/*
 * dot[lane] = everything but the product, for `lanes` lanes (a multiple of 4) of one streamed row. Sums without sign: the
 * lanes without a row hold anything, and to the compiler vaddq_s32 is a signed addition that must not overflow.
 */
static inline void beta_neon_begin(const struct beta_terms *terms, const int32_t *held_sums, int32_t streamed_sum,
                                   uint32_t lanes, int32_t *dot) {
  const uint32x4_t row = vdupq_n_u32((uint32_t)(terms->streamed_sum * streamed_sum + terms->constant));
  for (uint32_t l = 0; l < lanes; l += 4) {
    const uint32x4_t sums = vld1q_u32((const uint32_t *)held_sums + l);
    vst1q_u32((uint32_t *)dot + l, vmlaq_n_u32(row, sums, (uint32_t)terms->held_sum));
  }
}

/* dot[0..8) += weight * sums. */
static inline void beta_neon_add(int32_t *dot, uint16x8_t sums, uint16_t weight) {
  uint32_t *to = (uint32_t *)dot;
  vst1q_u32(to, vmlal_n_u16(vld1q_u32(to), vget_low_u16(sums), weight));
  vst1q_u32(to + 4, vmlal_high_n_u16(vld1q_u32(to + 4), sums, weight));
}

extern const struct beta_method beta_neon_popcount;      /* 1 bit x 1 bit */
extern const struct beta_method beta_neon_lookup;        /* held 1 bit, streamed 2 or 4 */
extern const struct beta_method beta_neon_lookup_wide;   /* held 1 bit, streamed 8 */
extern const struct beta_method beta_neon_lookup_planes; /* held 2 bits, streamed 2 or 4 */
extern const struct beta_method beta_neon_dot;           /* 2 to 8 bits, not both 8 */
extern const struct beta_method beta_neon_dot_signed;    /* 8 bits x 8 bits */

void beta_neon_epilogue(const struct beta_epilogue *epilogue, uint32_t row, uint32_t rows, uint32_t column,
                        uint32_t columns, const int32_t *dot, size_t stride);

void beta_neon_turn(const int32_t *dot, size_t stride, uint32_t rows, uint32_t lanes, int32_t *to, size_t to_stride);

#endif
#endif
