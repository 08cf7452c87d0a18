/* Which kernels of vector steps there are. */
#include <stddef.h>

#include "vector/kernel.h"

static const struct beta_vector_kernel *const kernels[] = {
#if defined(__x86_64__)
    &beta_vector_kernel_avx512,
    &beta_vector_kernel_avx2,
#endif
#if defined(__aarch64__)
    &beta_vector_kernel_neon,
#endif
    &beta_vector_kernel_portable,
    NULL,
};

const struct beta_vector_kernel *const *beta_vector_kernels(void) { return kernels; }

const struct beta_vector_kernel *beta_vector_kernel_fastest(void) {
  const struct beta_vector_kernel *const *kernel = kernels;
  while (!(*kernel)->supported()) kernel++;
  return *kernel;
}
