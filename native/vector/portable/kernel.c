/* Vector steps in plain C. */
#include "vector/portable/lanes.h"
#include "vector/portable/singles.h"

#include "vector/lanes/lanes.h"
#include "vector/lanes/activate.h"
#include "vector/lanes/line.h"
#include "vector/lanes/norm.h"
#include "vector/lanes/quantise.h"
#include "vector/lanes/softmax.h"
#include "vector/lanes/sum.h"
#include "vector/lanes/kernel.h"

static bool supported(void) { return true; }

const struct beta_vector_kernel beta_vector_kernel_portable = BETA_VECTOR_KERNEL("portable", supported);
