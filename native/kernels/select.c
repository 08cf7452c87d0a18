/* Which kernel runs on this CPU. */
#include <stddef.h>

#include "kernels/kernel.h"

/* Fastest first; the portable one runs everywhere and is last. */
static const struct beta_kernel *const kernels[] = {
    &beta_kernel_portable,
};

const struct beta_kernel *beta_kernel_select(void) {
  for (size_t i = 0; i + 1 < sizeof kernels / sizeof kernels[0]; i++) {
    if (kernels[i]->supported()) return kernels[i];
  }
  return &beta_kernel_portable;
}
