/* The board: an engine in programmable logic, behind UIO and u-dma-buf. Private to libbeta and its tests. */
#ifndef BETA_BOARD_H
#define BETA_BOARD_H

#include <stdint.h>

#include "device/device.h"

/*
 * Opens "uio:" + rest: NAME[/POOL][?spin=MICROSECONDS]. The caller has made sure that the programmable logic is alive: from here on its
 * registers are read, and a bus without a clock behind it stops the machine. Returns 0 or a negative errno with its sentence.
 */
int beta_board_open(const char *rest, uint64_t window_bytes, beta_device **device);

#endif
