/* What the AVX-512 files share. They are compiled for their instruction sets and run only after supported() said yes. */
#ifndef BETA_KERNELS_AVX512_H
#define BETA_KERNELS_AVX512_H

#if defined(__x86_64__)

#include <immintrin.h>

#include "kernels/blocks.h"
#include "kernels/formats.h"

extern const struct beta_method beta_avx512_popcount;
extern const struct beta_method beta_avx512_lookup4;
extern const struct beta_method beta_avx512_lookup8;
extern const struct beta_method beta_avx512_lookup16;
extern const struct beta_method beta_avx512_dot;

void beta_avx512_epilogue(const struct beta_epilogue *epilogue, uint32_t row, uint32_t rows, uint32_t column,
                          uint32_t columns, const int32_t *dot, size_t stride);

void beta_avx512_turn(const int32_t *dot, size_t stride, uint32_t rows, uint32_t lanes, int32_t *to, size_t to_stride);

static inline size_t beta_align64(size_t bytes) { return (bytes + 63) / 64 * 64; }

#endif
#endif
