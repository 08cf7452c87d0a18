/* AVX-512 with VPOPCNTDQ, VBMI and VNNI: Ice Lake, Zen 4 and later. */
#include "kernels/avx512/avx512.h"

#if defined(__x86_64__)

static bool supported(void) {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni") &&
         __builtin_cpu_supports("avx512vpopcntdq") && __builtin_cpu_supports("avx512bitalg") &&
         __builtin_cpu_supports("gfni") && __builtin_cpu_supports("bmi2");
}

static const struct beta_method *choose(const beta_qmm *job, bool *hold_a) {
  (void)job;
  *hold_a = false;
  return &beta_avx512_popcount;
}

const struct beta_kernel beta_kernel_avx512 = {"avx512", supported, choose, beta_avx512_epilogue};

#endif
