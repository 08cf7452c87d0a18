/* Vector steps for ARMv8.0: the Cortex-A53 of the board, and every later 64-bit Arm. */
#include "vector/kernel.h"

#if defined(__aarch64__)

#include "vector/neon/lanes.h"
#include "vector/neon/singles.h"

#include "vector/lanes/lanes.h"
#include "vector/lanes/activate.h"
#include "vector/lanes/line.h"
#include "vector/lanes/norm.h"
#include "vector/lanes/quantise.h"
#include "vector/lanes/softmax.h"
#include "vector/lanes/sum.h"
#include "vector/lanes/kernel.h"

/* Every AArch64 CPU that runs Linux applications has Advanced SIMD. */
static bool supported(void) { return true; }

const struct beta_vector_kernel beta_vector_kernel_neon = BETA_VECTOR_KERNEL("neon", supported);

#endif
