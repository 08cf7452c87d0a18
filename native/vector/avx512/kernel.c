/* Vector steps for AVX-512 with VBMI: Ice Lake, Zen 4 and later. */
#include "vector/kernel.h"

#if defined(__x86_64__)

#include "vector/avx512/lanes.h"
#include "vector/avx512/singles.h"

#define LANES_TABLES
#include "vector/lanes/lanes.h"
#include "vector/lanes/activate.h"
#include "vector/lanes/line.h"
#include "vector/lanes/norm.h"
#include "vector/lanes/quantise.h"
#include "vector/lanes/softmax.h"
#include "vector/lanes/sum.h"
#include "vector/lanes/kernel.h"
#include "vector/avx512/scores.h"

static bool supported(void) {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("bmi2");
}

const struct beta_vector_kernel beta_vector_kernel_avx512 = BETA_VECTOR_KERNEL("avx512", supported);

#endif
