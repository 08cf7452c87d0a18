/* The emulator: the engine contract kept by a thread. Private to libbeta and its tests. */
#ifndef BETA_EMULATOR_H
#define BETA_EMULATOR_H

#include <stdint.h>

#include "device/device.h"

/*
 * Bus address of the emulator's window: any fixed one would do. Above 4 GiB, so that WIN_HI matters, and with a WIN_LO
 * that is not zero, so that a host which swaps the two is refused.
 */
#define BETA_EMULATOR_BUS UINT64_C(0x800010000)

/* Opens "emu:" + rest (options). Returns 0 or a negative errno with its sentence. */
int beta_emulator_open(const char *rest, uint64_t window_bytes, beta_device **device);

/*
 * The same over memory of somebody else, which the engine sees at `bus`: for an emulator that is the device side of another host. The memory is
 * left as it is.
 */
int beta_emulator_open_over(const char *rest, void *window, uint64_t window_bytes, uint64_t bus, beta_device **device);

/*
 * For tests only: the next start begins at HEAD = head instead of the contract's 0, so that the wrap of the counters
 * can be tested without four billion descriptors. The host sets TAIL = head before RUN. Call while RUN = 0.
 */
void beta_emulator_preset_head(beta_device *device, uint32_t head);

#endif
