/* Which kernels there are. */
#include <stddef.h>

#include "kernels/kernel.h"

static const struct beta_kernel *const kernels[] = {
#if defined(__x86_64__)
    &beta_kernel_avx512,
    &beta_kernel_avxvnni,
    &beta_kernel_avx2,
#endif
#if defined(__aarch64__)
    &beta_kernel_neon,
#endif
    &beta_kernel_portable,
    NULL,
};

const struct beta_kernel *const *beta_kernels(void) { return kernels; }
