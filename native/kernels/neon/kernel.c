/* The kernel for ARMv8.0: which method for which formats. */
#include "kernels/neon/neon.h"

#if defined(__aarch64__)

/* Every AArch64 CPU that runs Linux applications has Advanced SIMD. */
static bool supported(void) { return true; }

/* One bit: it is held as indices, whatever the other operand has. */
static const struct beta_method *one_bit(uint32_t other_bits) {
  return other_bits == 8 ? &beta_neon_lookup_wide : &beta_neon_lookup;
}

/* For operands of the same width either can be held: the one with more rows where the other would leave lanes empty. */
static bool hold_a_of_equals(const beta_qmm *job, const struct beta_method *method) {
  return job->n < method->lanes && job->m > job->n;
}

/*
 * MACs per vector operation, from the inner loops. A lookup costs as much for every plane that is held; products cost the
 * same for all widths whose sums fit.
 *
 *   bits       popcount  lookup  products
 *   1 x 1          41.5
 *   1 x 2                  27.7
 *   1 x 4                  25.6
 *   1 x 8                  13.5
 *   2 x 2                  13.8       8.0
 *   2 x 4                  12.8       8.0
 *   2 x 8                   6.7       7.9
 *   4 x 4                   6.4       8.0
 *   4 x 8                   3.4       7.6
 *   8 x 8                             5.3
 */
static const struct beta_method *choose(const beta_qmm *job, bool *hold_a) {
  const uint32_t a = job->a.bits, b = job->b.bits;
  const uint32_t low = a < b ? a : b, high = a < b ? b : a;
  const struct beta_method *method = &beta_neon_dot;
  if (high == 1) {
    method = &beta_neon_popcount;
  } else if (low == 1) {
    method = one_bit(high);
  } else if (low == 2 && high <= 4) {
    method = &beta_neon_lookup_planes;
  } else if (low == 8) {
    method = &beta_neon_dot_signed;
  }
  *hold_a = a == b ? hold_a_of_equals(job, method) : a < b;
  return method;
}

const struct beta_kernel beta_kernel_neon = {"neon", supported, choose, beta_neon_epilogue, beta_neon_turn, NULL, NULL, NULL};

#endif
