/* The exact epilogue (contract section 5) and the layout of the output (section 4). */
#ifndef BETA_KERNELS_EPILOGUE_H
#define BETA_KERNELS_EPILOGUE_H

#include "kernels/kernel.h"

/* What the epilogue of one QMM knows before it sees a dot product. */
struct beta_epilogue {
  const beta_qmm *job;
  /*
   * One-bit output, and every multiplier of the table is 1.0 or -1.0 (+-2^24): r is then +-s exactly, so that the bit is a
   * comparison of s and no multiplication is needed. This is what integer thresholds look like.
   */
  bool thresholds;
  bool flips; /* some multiplier is -1.0 */
  bool near;  /* of thresholds: every bias is so small that D + bias does not wrap where |D| <= 2^30 */
  /* int16 output, and every entry is {0, 1.0}: r is D, saturated to 16 bits. */
  bool identity;
};

void beta_epilogue_prepare(struct beta_epilogue *epilogue, const beta_qmm *job);

/* The epilogue in portable C; the same contract as beta_kernel's. */
void beta_epilogue_portable(const struct beta_epilogue *epilogue, uint32_t row, uint32_t rows, uint32_t column,
                            uint32_t columns, const int32_t *dot, size_t stride);

#endif
