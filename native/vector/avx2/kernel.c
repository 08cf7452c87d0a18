/* Vector steps for AVX2: Haswell, Zen and later. */
#include "vector/kernel.h"

#if defined(__x86_64__)

#include <string.h>

#include "vector/avx2/lanes.h"
#include "vector/avx2/singles.h"

#include "vector/lanes/lanes.h"
#include "vector/lanes/activate.h"
#include "vector/lanes/line.h"
#include "vector/lanes/norm.h"
#include "vector/lanes/quantise.h"
#include "vector/lanes/softmax.h"
#include "vector/lanes/sum.h"
#include "vector/lanes/kernel.h"

static bool supported(void) {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx2");
}

const struct beta_vector_kernel beta_vector_kernel_avx2 = BETA_VECTOR_KERNEL("avx2", supported);

#endif
