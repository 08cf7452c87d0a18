/*
 * The DMA pool: a u-dma-buf buffer, mapped cached. Private to device/board.
 *
 * Its caches are synchronised by range, with the driver's ioctl or, in versions before it, its sysfs attributes. Both take the same word:
 * offset in the upper half; size, direction and a 1 in the lower.
 */
#ifndef BETA_BOARD_DMA_H
#define BETA_BOARD_DMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct beta_dma {
  char name[64];
  int fd;
  int for_device_fd, for_cpu_fd; /* sysfs attributes, -1 while the ioctl serves */
  bool coherent;                 /* the kernel says that hardware keeps the caches in step */
  void *mapping;
  uint64_t mapping_bytes;
  uint64_t lead;  /* bytes of the pool before the window, which is 64 KiB aligned on the bus */
  uint64_t bus;   /* of the window */
  uint64_t bytes; /* of the window, a multiple of 64 KiB */
};

/* Opens the pool of this name and takes a window of at most `bytes`. Returns 0 or a negative errno with its sentence. */
int beta_dma_open(const char *name, uint64_t bytes, struct beta_dma *dma);
void beta_dma_close(struct beta_dma *dma);

/* The window in this process. */
void *beta_dma_window(const struct beta_dma *dma);

/* Writes what the CPU has in its caches back to memory; forgets what it has there. A range of the window. */
int beta_dma_sync_for_device(struct beta_dma *dma, uint32_t offset, uint32_t bytes);
int beta_dma_sync_for_cpu(struct beta_dma *dma, uint32_t offset, uint32_t bytes);

#endif
