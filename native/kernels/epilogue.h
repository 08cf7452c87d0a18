/* The exact epilogue (contract section 5) and the layout of the output (section 4). */
#ifndef BETA_KERNELS_EPILOGUE_H
#define BETA_KERNELS_EPILOGUE_H

#include <stdint.h>

#include "kernels/kernel.h"

/*
 * Columns [column, column + count) of one output row, from their dot products. For bit-plane outputs the columns must
 * lie inside one block of 128: (n0 + column) / 128 == (n0 + column + count - 1) / 128; and n0 + column must be a
 * multiple of 8. The bytes that hold the columns are written, no others; spare bits of the last byte become 0.
 */
void beta_epilogue_row(const beta_qmm *job, uint32_t row, uint32_t column, uint32_t count, const int32_t *dot);

#endif
