/*
 * An emulator behind a plain register page in shared memory: the device side of a host in another process or machine.
 *
 * A page in memory tells nobody that it was written, so the mirror looks: host words go from the page to the emulator, device words from the
 * emulator to the page. Every register has one writer and no side effect, which is why a copy of the page is a device.
 */
#ifndef BETA_EXTERNAL_MIRROR_H
#define BETA_EXTERNAL_MIRROR_H

#include <stdbool.h>
#include <stdint.h>

#include "beta.h"

struct mirror {
  beta_device *engine;
  uint32_t *page;
  uint32_t host[BETA_REGISTER_SPACE / 4]; /* host words as the emulator knows them */
};

/* Writes the identity; the host's words become 0, as after configuration of the logic. */
void mirror_open(struct mirror *mirror, beta_device *engine, void *page);

/* One look in both directions. True when anything has changed. */
bool mirror_turn(struct mirror *mirror);

/* The level of the interrupt, from the words as the host sees them. */
bool mirror_irq(const struct mirror *mirror);

#endif
