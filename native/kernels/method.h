/*
 * How two operands are multiplied. One operand is *held*: brought once into a layout of the method's own, groups of rows
 * side by side, each row a lane. The other is *streamed* past it, a few rows at a time. Which is which is the kernel's
 * choice; a product is symmetric, and blocks.c turns the result around when A was held.
 *
 * Held bytes depend on nothing but the operand's own bytes, the formats of both operands, k0, K and the method, so they
 * can be kept as long as those bytes do not change.
 */
#ifndef BETA_KERNELS_METHOD_H
#define BETA_KERNELS_METHOD_H

#include <stddef.h>

#include "kernels/epilogue.h"
#include "kernels/kernel.h"

/* Alignment of every buffer that a method is given; its sizes are rounded up to it. */
#define BETA_METHOD_ALIGN 64u

/* Bounds of every method, so that buffers can be allocated once. */
#define BETA_METHOD_LANES_MAX 64u
#define BETA_METHOD_ROWS_MAX 64u
#define BETA_METHOD_COLUMNS_MAX 1024u
#define BETA_METHOD_PRODUCTS_MAX (16u << 10) /* rows times columns */

/* The operands of one product, and the elements [k0, k0 + k) of their rows that take part. */
typedef struct beta_pair {
  beta_matrix held, streamed;
  uint32_t k0, k;
} beta_pair;

struct beta_method {
  const char *name;
  uint32_t lanes; /* rows of the held operand in a group: a power of two */
  uint32_t rows;  /* rows that are streamed at once */
  uint32_t columns; /* held rows that are multiplied at once: a multiple of lanes, so that their products stay in the first-level cache */
  /* Bytes of one held group, and of `rows` streamed rows. */
  size_t (*held_bytes)(const beta_pair *pair);
  size_t (*streamed_bytes)(const beta_pair *pair);
  /* Lays out rows [first, first + count) of an operand; count <= lanes (rows). The layout of the rest is up to the method. */
  void (*hold)(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to);
  void (*stream)(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to);
  /*
   * dot[r * dot_stride + g * lanes + l] = exact product of streamed row r and lane l of group g, for r < count. May write all
   * `rows` rows of dot. What it writes for lanes without a row is meaningless. `dot` and its rows are aligned to 16 bytes.
   */
  void (*multiply)(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed, uint32_t count,
                   int32_t *dot, size_t dot_stride);
  /* The same products, each saturated to 16 bits; NULL where the method has no faster way than to narrow what multiply leaves. */
  void (*multiply16)(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed, uint32_t count,
                     int16_t *dot, size_t dot_stride);
  /*
   * Bits instead of products, for thresholds whose table goes by lanes: writes columns [column, column + groups * lanes) of output
   * rows [row, row + count), streamed rows, of the epilogue's job, whose n0 + column is a multiple of 8. Whole groups only. NULL where the method has
   * no faster way than epilogue16 behind multiply16.
   */
  void (*compare)(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed, uint32_t count,
                  const struct beta_epilogue *epilogue, uint32_t row, uint32_t column);
};

#endif
