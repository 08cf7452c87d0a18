/* Results of a held A turned around, in squares of 4 by 4: the rows of a tile. */
#include "kernels/neon/neon.h"

#if defined(__aarch64__)

#include "kernels/blocks.h"

#define SQUARE 4u

static inline void turn_square(const int32_t *dot, size_t stride, int32_t *to, size_t to_stride) {
  const int32x4_t row[SQUARE] = {vld1q_s32(dot), vld1q_s32(dot + stride), vld1q_s32(dot + 2 * stride),
                                 vld1q_s32(dot + 3 * stride)};
  /* Rows 0 and 2, and 1 and 3, lane by lane; zipped again, every lane has its four rows in order. */
  const int32x4_t even_low = vzip1q_s32(row[0], row[2]), even_high = vzip2q_s32(row[0], row[2]);
  const int32x4_t odd_low = vzip1q_s32(row[1], row[3]), odd_high = vzip2q_s32(row[1], row[3]);
  vst1q_s32(to, vzip1q_s32(even_low, odd_low));
  vst1q_s32(to + to_stride, vzip2q_s32(even_low, odd_low));
  vst1q_s32(to + 2 * to_stride, vzip1q_s32(even_high, odd_high));
  vst1q_s32(to + 3 * to_stride, vzip2q_s32(even_high, odd_high));
}

void beta_neon_turn(const int32_t *dot, size_t stride, uint32_t rows, uint32_t lanes, int32_t *to, size_t to_stride) {
  const uint32_t whole_rows = rows / SQUARE * SQUARE, whole_lanes = lanes / SQUARE * SQUARE;
  for (uint32_t r = 0; r < whole_rows; r += SQUARE) {
    for (uint32_t l = 0; l < whole_lanes; l += SQUARE) {
      turn_square(dot + r * stride + l, stride, to + l * to_stride + r, to_stride);
    }
  }
  beta_turn_portable(dot + whole_lanes, stride, whole_rows, lanes - whole_lanes, to + whole_lanes * to_stride, to_stride);
  beta_turn_portable(dot + whole_rows * stride, stride, rows - whole_rows, lanes, to + whole_rows, to_stride);
}

#endif
