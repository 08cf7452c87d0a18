/* The kernels for AVX2 (Haswell, Zen and later), and for CPUs that have AVX-VNNI beside it: which method for which formats. */
#include "kernels/avx2/avx2.h"

#if defined(__x86_64__)

#include <cpuid.h>

static bool supported(void) {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
         __builtin_cpu_supports("popcnt");
}

static bool supported_vnni(void) {
  enum { AVX_VNNI = 1 << 4 };
  uint32_t eax, ebx, ecx, edx;
  return supported() && __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) != 0 && (eax & AVX_VNNI) != 0;
}

static const struct beta_method *lookup_of(uint32_t low, uint32_t high) {
  if (low == 2) return &beta_avx2_lookup_planes;
  return high == 8 ? &beta_avx2_lookup_wide : &beta_avx2_lookup;
}

/*
 * MACs per vector operation, from the inner loops. A lookup costs as much for every plane that is held; products cost the
 * same for all widths whose sums fit.
 *
 *   bits    lookup   products   with AVX-VNNI
 *   1 x 1     62.1
 *   1 x 2     58.5
 *   1 x 4     46.5
 *   1 x 8     26.9
 *   2 x 2     29.3       15.9      32
 *   2 x 4     23.3       15.9      32
 *   2 x 8     13.5       15.5      32
 *   4 x 4     11.6       15.9      32
 *   4 x 8      6.7       14.2      32
 *   8 x 8                 8.0      32
 */
static const struct beta_method *choose_of(const beta_qmm *job, bool *hold_a, bool has_vnni) {
  const uint32_t a = job->a.bits, b = job->b.bits;
  const uint32_t low = a < b ? a : b, high = a < b ? b : a;
  *hold_a = a < b;
  if (low == 1 || (low == 2 && high <= 4)) {
    /* Of operands of the same width the larger: a row of indices is laid out many times faster than tables are made. */
    if (a == b) *hold_a = job->m > job->n;
    return lookup_of(low, high);
  }
  /* Codes are laid out as fast as they are streamed, and results of B need no turning; but a small B would leave lanes empty. */
  if (a == b) *hold_a = job->m > job->n && job->n < beta_avx2_dot.lanes;
  if (has_vnni) return &beta_avx2_dot_vnni;
  return low == 8 ? &beta_avx2_dot_wide : &beta_avx2_dot;
}

static const struct beta_method *choose(const beta_qmm *job, bool *hold_a) { return choose_of(job, hold_a, false); }

static const struct beta_method *choose_vnni(const beta_qmm *job, bool *hold_a) { return choose_of(job, hold_a, true); }

const struct beta_kernel beta_kernel_avx2 = {"avx2", supported, choose, beta_avx2_epilogue, beta_avx2_turn, NULL, NULL, NULL};

const struct beta_kernel beta_kernel_avxvnni = {"avxvnni", supported_vnni, choose_vnni, beta_avx2_epilogue,
                                                beta_avx2_turn, NULL, NULL, NULL};

#endif
