/*
 * A UIO device: one register map and one interrupt. Private to device/board.
 *
 * The kernel driver is uio_pdrv_genirq. It masks the line at every interrupt; a write of 1 unmasks it. A 4-byte read blocks until an
 * interrupt has come since the last read, and returns their total count.
 */
#ifndef BETA_BOARD_UIO_H
#define BETA_BOARD_UIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct beta_uio {
  char name[64];
  unsigned number; /* of /dev/uioN */
  int map_fd, irq_fd;
  void *mapping;
  size_t mapping_bytes;
  volatile uint32_t *registers; /* the register page, inside the mapping */
  uint32_t count;               /* total of interrupts at the last read, if `counted` */
  bool counted;
  bool unmasked;                /* and no interrupt was read since */
  uint64_t taken;               /* interrupts that woke us */
  uint64_t missed;              /* interrupts that the total counted and no read of ours saw */
};

/*
 * Opens the UIO device of this name, alone: -ENODEV when there is none, -EBUSY when another process has it, else what refused. At least
 * `bytes` of registers are mapped. Touches no register.
 */
int beta_uio_open(const char *name, size_t bytes, struct beta_uio *uio);
void beta_uio_close(struct beta_uio *uio);

/*
 * Unmasks the interrupt, unless it is: unmasked twice, a level that stays high would count twice. 0, or -EIO when the device is gone.
 */
int beta_uio_unmask(struct beta_uio *uio);

/* Waits for an interrupt: 0 (also after a signal), 1 after timeout_us, or -EIO when the device is gone. */
int beta_uio_wait(struct beta_uio *uio, uint32_t timeout_us);

#endif
