/* Which kernels there are. */
#include <stddef.h>

#include "kernels/kernel.h"

static const struct beta_kernel *const kernels[] = {
    &beta_kernel_portable,
    NULL,
};

const struct beta_kernel *const *beta_kernels(void) { return kernels; }
