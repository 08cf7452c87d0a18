#define _GNU_SOURCE
#include "device/board/dma.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "beta_contract.h"
#include "device/board/attribute.h"
#include "device/error.h"

#define CLASS "/sys/class/u-dma-buf"
/* The public interface of the u-dma-buf driver. */
#define IOCTL_SYNC_FOR_CPU _IOW('U', 5, uint64_t)
#define IOCTL_SYNC_FOR_DEVICE _IOW('U', 6, uint64_t)
#define TO_DEVICE 1u
#define FROM_DEVICE 2u
/* Whole lines of every CPU we run on, so that no neighbour's bytes share one. */
#define LINE 64u
#define UNCACHED_MODES 5u /* sync_mode from here on maps uncached even without O_SYNC */

static int attribute(const struct beta_dma *dma, const char *which, uint64_t *value) {
  char path[BETA_PATH_MAX];
  if (!beta_board_path(path, CLASS "/%s/%s", dma->name, which)) return -ENAMETOOLONG;
  return beta_attribute_u64(path, value);
}

static int required(const struct beta_dma *dma, const char *which, uint64_t *value) {
  const int failed = attribute(dma, which, value);
  if (failed == 0) return 0;
  return beta_fail(failed == -ENOENT ? -ENODEV : failed,
                   "DMA pool %s: %s" CLASS "/%s/%s cannot be read (%s); is the module u-dma-buf loaded, with a buffer of this name?",
                   dma->name, beta_board_root(), dma->name, which, strerror(-failed));
}

/* Where the window lies in the pool. */
static int place(struct beta_dma *dma, uint64_t most) {
  uint64_t bus = 0, size = 0, coherent = 0, mode = 0;
  int failed = required(dma, "phys_addr", &bus);
  if (failed == 0) failed = required(dma, "size", &size);
  if (failed != 0) return failed;
  if (attribute(dma, "dma_coherent", &coherent) == 0) dma->coherent = coherent == 1;
  if (attribute(dma, "sync_mode", &mode) == 0 && mode >= UNCACHED_MODES) {
    return beta_fail(-EINVAL, "DMA pool %s: sync_mode %llu maps it uncached, where plain copies are slow or even fault; use sync-mode 1 to 4",
                     dma->name, (unsigned long long)mode);
  }
  dma->bus = (bus + BETA_WINDOW_ALIGN - 1) / BETA_WINDOW_ALIGN * BETA_WINDOW_ALIGN;
  dma->lead = dma->bus - bus;
  const uint64_t room = size > dma->lead ? (size - dma->lead) / BETA_WINDOW_ALIGN * BETA_WINDOW_ALIGN : 0;
  dma->bytes = room < most ? room : most;
  /* The sync word has 32 bits for an offset into the pool. */
  if (dma->bytes == 0 || bus + size < bus || dma->lead + dma->bytes > (UINT64_C(1) << 32)) {
    return beta_fail(-EINVAL, "DMA pool %s: 0x%llX bytes at 0x%llX hold no window, which is a multiple of 64 KiB on the bus too",
                     dma->name, (unsigned long long)size, (unsigned long long)bus);
  }
  dma->mapping_bytes = dma->lead + dma->bytes;
  return 0;
}

static int open_and_map(struct beta_dma *dma) {
  char path[BETA_PATH_MAX];
  if (!beta_board_path(path, "/dev/%s", dma->name)) return -ENAMETOOLONG;
  /* Without O_SYNC, which would map it uncached. */
  dma->fd = open(path, O_RDWR | O_CLOEXEC);
  if (dma->fd < 0) {
    const int failed = errno;
    return beta_fail(-failed, "DMA pool %s: %s cannot be opened (%s)%s", dma->name, path, strerror(failed),
                     failed == EACCES ? "; the udev rule in deploy/ gives it to the group \"beta\": is this user in it?" : "");
  }
  dma->mapping = mmap(NULL, (size_t)dma->mapping_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, dma->fd, 0);
  if (dma->mapping != MAP_FAILED) return 0;
  const int failed = errno;
  dma->mapping = NULL;
  return beta_fail(-failed, "DMA pool %s: 0x%llX bytes cannot be mapped (%s)", dma->name,
                   (unsigned long long)dma->mapping_bytes, strerror(failed));
}

static int open_attribute(const struct beta_dma *dma, const char *which, int *fd) {
  char path[BETA_PATH_MAX];
  if (!beta_board_path(path, CLASS "/%s/%s", dma->name, which)) return -ENAMETOOLONG;
  *fd = open(path, O_WRONLY | O_CLOEXEC);
  if (*fd >= 0) return 0;
  return beta_fail(-errno, "DMA pool %s: this u-dma-buf has no sync ioctl, and %s cannot be written (%s); use u-dma-buf 4.7 or later",
                   dma->name, path, strerror(errno));
}

static int sync_range(struct beta_dma *dma, unsigned long request, int attribute_fd, uint64_t word) {
  if (attribute_fd < 0) {
    if (ioctl(dma->fd, request, &word) == 0) return 0;
  } else {
    char text[20];
    const int length = snprintf(text, sizeof text, "0x%016llX", (unsigned long long)word);
    if (pwrite(attribute_fd, text, (size_t)length, 0) == length) return 0;
  }
  return -errno;
}

static uint64_t word_of(const struct beta_dma *dma, uint32_t offset, uint32_t bytes, uint32_t direction) {
  const uint64_t begin = (dma->lead + offset) / LINE * LINE;
  const uint64_t end = (dma->lead + offset + bytes + LINE - 1) / LINE * LINE;
  return begin << 32 | ((end - begin) & 0xFFFFFFF0u) | direction << 2 | 1u;
}

static int fail_sync(const struct beta_dma *dma, const char *which, uint32_t offset, uint32_t bytes, int failed) {
  return beta_fail(failed, "DMA pool %s: sync for the %s of %u bytes at window offset 0x%X failed (%s)", dma->name, which,
                   (unsigned)bytes, (unsigned)offset, strerror(-failed));
}

int beta_dma_sync_for_device(struct beta_dma *dma, uint32_t offset, uint32_t bytes) {
  if (dma->coherent || bytes == 0) return 0;
  const int failed =
      sync_range(dma, IOCTL_SYNC_FOR_DEVICE, dma->for_device_fd, word_of(dma, offset, bytes, TO_DEVICE));
  return failed == 0 ? 0 : fail_sync(dma, "device", offset, bytes, failed);
}

int beta_dma_sync_for_cpu(struct beta_dma *dma, uint32_t offset, uint32_t bytes) {
  if (dma->coherent || bytes == 0) return 0;
  const int failed = sync_range(dma, IOCTL_SYNC_FOR_CPU, dma->for_cpu_fd, word_of(dma, offset, bytes, FROM_DEVICE));
  return failed == 0 ? 0 : fail_sync(dma, "CPU", offset, bytes, failed);
}

/* Finds out once which way to synchronise there is, with a range that nothing depends on yet. */
static int choose_sync(struct beta_dma *dma) {
  if (dma->coherent) return 0;
  int failed = sync_range(dma, IOCTL_SYNC_FOR_DEVICE, -1, word_of(dma, 0, LINE, TO_DEVICE));
  /* No such ioctl: ENOTTY from the driver, and from the plain file of a test; ENOSYS under qemu-user. */
  if (failed != -ENOTTY && failed != -ENOSYS) return failed == 0 ? 0 : fail_sync(dma, "device", 0, LINE, failed);
  failed = open_attribute(dma, "sync_for_device", &dma->for_device_fd);
  if (failed == 0) failed = open_attribute(dma, "sync_for_cpu", &dma->for_cpu_fd);
  return failed;
}

int beta_dma_open(const char *name, uint64_t bytes, struct beta_dma *dma) {
  memset(dma, 0, sizeof *dma);
  dma->fd = dma->for_device_fd = dma->for_cpu_fd = -1;
  snprintf(dma->name, sizeof dma->name, "%s", name);
  int failed = place(dma, bytes);
  if (failed == 0) failed = open_and_map(dma);
  if (failed == 0) failed = choose_sync(dma);
  if (failed != 0) beta_dma_close(dma);
  return failed;
}

void beta_dma_close(struct beta_dma *dma) {
  if (dma->mapping != NULL) munmap(dma->mapping, (size_t)dma->mapping_bytes);
  if (dma->for_device_fd >= 0) close(dma->for_device_fd);
  if (dma->for_cpu_fd >= 0) close(dma->for_cpu_fd);
  if (dma->fd >= 0) close(dma->fd);
  dma->mapping = NULL;
  dma->fd = dma->for_device_fd = dma->for_cpu_fd = -1;
}

void *beta_dma_window(const struct beta_dma *dma) { return (uint8_t *)dma->mapping + dma->lead; }
