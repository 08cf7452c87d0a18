/*
 * The seam between the engine and the arithmetic: what a QMM is once its descriptor has been checked, and what a kernel
 * is. One folder or file per instruction set; every kernel is exact, so they differ in speed alone.
 */
#ifndef BETA_KERNELS_KERNEL_H
#define BETA_KERNELS_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "beta_contract.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the window is little-endian, and the kernels load words");

/* Blocks of 128 elements that a row can touch: MAX_K elements from k0 = 127. */
#define BETA_MAX_BLOCKS ((BETA_MAX_K_LIMIT + 2 * BETA_BLOCK_ELEMENTS - 2) / BETA_BLOCK_ELEMENTS)

/* One matrix in the window: plane i of element k of row r as in contract section 4. */
typedef struct beta_matrix {
  uint8_t *row0;
  uint64_t stride;   /* bytes from one row to the next, a multiple of 16 */
  uint32_t bits;     /* 1, 2, 4, 8; outputs also 16 and 32 (row-major integers) */
  uint32_t encoding; /* BETA_ENC_* */
} beta_matrix;

/* One QMM, O[m][n] = epilogue(sum over k of A[m][k0+k] * B[n][k0+k]). Read-only for kernels but for O's bytes. */
typedef struct beta_qmm {
  beta_matrix a, b, o;
  const uint8_t *table; /* epilogue entries of 8 bytes, 8-byte aligned; NULL for int32 output */
  bool table_by_row;    /* the table is indexed by m instead of n */
  uint32_t m, n, k;     /* 1 <= k <= 16384 */
  uint32_t k0;          /* 0..127 */
  uint32_t n0;          /* 0..120, a multiple of 8; 0 for 16 and 32 bits */
} beta_qmm;

struct beta_method;   /* method.h */
struct beta_epilogue; /* epilogue.h */

struct beta_kernel {
  const char *name;
  /* Whether this CPU can run it. */
  bool (*supported)(void);
  /*
   * The fastest way for this pair of formats and this shape. *hold_a: A is the operand that is held (method.h), else B.
   */
  const struct beta_method *(*choose)(const beta_qmm *job, bool *hold_a);
  /*
   * Columns [column, column + columns) of output rows [row, row + rows), from their dot products, `stride` apart; n0 + column
   * must be a multiple of 8. The bytes that hold the columns are written, no others; spare bits of the last byte become 0.
   */
  void (*epilogue)(const struct beta_epilogue *epilogue, uint32_t row, uint32_t rows, uint32_t column, uint32_t columns,
                   const int32_t *dot, size_t stride);
  /* to[l * to_stride + r] = dot[r * stride + l] for r < rows and l < lanes; writes nothing else. */
  void (*turn)(const int32_t *dot, size_t stride, uint32_t rows, uint32_t lanes, int32_t *to, size_t to_stride);
  /* `epilogue` for thresholds and identity tables, from products of 16 bits. NULL where no method has multiply16. */
  void (*epilogue16)(const struct beta_epilogue *epilogue, uint32_t row, uint32_t rows, uint32_t column, uint32_t columns,
                     const int16_t *dot, size_t stride);
  /*
   * `turn` for 16 bits, and for bits: bit r % 8 of to[l * to_stride + r / 8] = bit l % 8 of bits[r * stride + l / 8], spare bits of the
   * last byte 0. NULL both where products of 32 bits are turned, before the epilogue.
   */
  void (*turn16)(const int16_t *dot, size_t stride, uint32_t rows, uint32_t lanes, int16_t *to, size_t to_stride);
  void (*turn_bits)(const uint8_t *bits, size_t stride, uint32_t rows, uint32_t lanes, uint8_t *to, size_t to_stride);
};

/* Every kernel that was compiled in, fastest first, NULL at the end; the last one before it runs everywhere. */
const struct beta_kernel *const *beta_kernels(void);


extern const struct beta_kernel beta_kernel_portable;
#if defined(__x86_64__)
extern const struct beta_kernel beta_kernel_avx512;
extern const struct beta_kernel beta_kernel_avxvnni;
extern const struct beta_kernel beta_kernel_avx2;
#endif
#if defined(__aarch64__)
extern const struct beta_kernel beta_kernel_neon;
#endif

#endif
