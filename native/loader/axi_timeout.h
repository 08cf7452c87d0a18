/*
 * The AXI timeout blocks of a Zynq UltraScale+ MPSoC on the ports to the programmable logic: with them an access that nobody answers
 * ends with an error after about 5 s instead of stopping the machine for ever.
 *
 * Register numbers from public sources, and NOT VERIFIED ON SILICON: what Linux makes of the error (a signal, or a panic for a posted
 * write) is unknown too. A profile has to ask for it.
 */
#ifndef BETA_LOADER_AXI_TIMEOUT_H
#define BETA_LOADER_AXI_TIMEOUT_H

/* NULL, or a sentence about what failed. Call while no access is outstanding. */
const char *axi_timeout_enable(void);

#endif
