#define _GNU_SOURCE
#include "device/board/uio.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "device/board/attribute.h"
#include "device/error.h"

#define CLASS "/sys/class/uio"

/* The number of the UIO device with this name; -1 when there is none. By name, because numbers change from boot to boot. */
static int find(const char *name) {
  char path[BETA_PATH_MAX], text[64];
  if (!beta_board_path(path, CLASS)) return -1;
  DIR *folder = opendir(path);
  if (folder == NULL) return -1;
  int found = -1;
  const struct dirent *entry;
  while (found < 0 && (entry = readdir(folder)) != NULL) {
    unsigned number;
    char rest;
    if (sscanf(entry->d_name, "uio%u%c", &number, &rest) != 1 || number > 9999) continue;
    if (!beta_board_path(path, CLASS "/uio%u/name", number)) continue;
    if (beta_attribute_text(path, text, sizeof text) == 0 && strcmp(text, name) == 0) found = (int)number;
  }
  closedir(folder);
  return found;
}

static int map_attribute(const struct beta_uio *uio, const char *attribute, uint64_t *value) {
  char path[BETA_PATH_MAX];
  if (!beta_board_path(path, CLASS "/uio%u/maps/map0/%s", uio->number, attribute)) return -ENAMETOOLONG;
  const int failed = beta_attribute_u64(path, value);
  if (failed == 0) return 0;
  return beta_fail(failed, "uio:%s: %s cannot be read (%s); has the device tree node a \"reg\" property?", uio->name, path,
                   strerror(-failed));
}

/*
 * map0, from `offset` on: the kernel maps whole pages, and a region need not begin on one. Map 0 lies at file offset 0. Only the
 * registers are mapped; DMA memory never comes from a UIO mapping, which is device memory on ARM.
 */
static int map_registers(struct beta_uio *uio, size_t bytes) {
  uint64_t size = 0, offset = 0;
  int failed = map_attribute(uio, "size", &size);
  if (failed == 0) failed = map_attribute(uio, "offset", &offset);
  if (failed != 0) return failed;
  const uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
  if (size < bytes || offset >= page || offset % 4 != 0 || size > (UINT64_C(1) << 30)) {
    return beta_fail(-EINVAL, "uio:%s: map0 has 0x%llX bytes at offset 0x%llX of its page, the registers need 0x%zX; check \"reg\" in the device tree",
                     uio->name, (unsigned long long)size, (unsigned long long)offset, bytes);
  }
  uio->mapping_bytes = (size_t)((offset + bytes + page - 1) / page * page);
  uio->mapping = mmap(NULL, uio->mapping_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, uio->map_fd, 0);
  if (uio->mapping == MAP_FAILED) {
    failed = errno;
    uio->mapping = NULL;
    return beta_fail(-failed, "uio:%s: the registers cannot be mapped (%s)", uio->name, strerror(failed));
  }
  uio->registers = (volatile uint32_t *)(void *)((uint8_t *)uio->mapping + offset);
  return 0;
}

static int open_file(struct beta_uio *uio, const char *path, int flags, int *fd) {
  *fd = open(path, O_RDWR | O_CLOEXEC | flags);
  if (*fd >= 0) return 0;
  const int failed = errno;
  return beta_fail(-failed, "uio:%s: %s cannot be opened (%s)%s", uio->name, path, strerror(failed),
                   failed == EACCES ? "; the udev rule in deploy/ gives it to the group \"beta\": is this user in it?" : "");
}

/*
 * /dev/uioN both maps and blocks. No file that a test can make does both, so under a BETA_ROOT a folder of that name with the two
 * files `map` and `irq` takes its place.
 */
static int open_files(struct beta_uio *uio) {
  char map[BETA_PATH_MAX], irq[BETA_PATH_MAX];
  struct stat kind;
  if (!beta_board_path(map, "/dev/uio%u", uio->number)) return -ENAMETOOLONG;
  if (*beta_board_root() == '\0' || stat(map, &kind) != 0 || !S_ISDIR(kind.st_mode)) {
    const int failed = open_file(uio, map, 0, &uio->map_fd);
    uio->irq_fd = uio->map_fd;
    return failed;
  }
  if (!beta_board_path(map, "/dev/uio%u/map", uio->number) || !beta_board_path(irq, "/dev/uio%u/irq", uio->number)) {
    return -ENAMETOOLONG;
  }
  const int failed = open_file(uio, map, 0, &uio->map_fd);
  return failed != 0 ? failed : open_file(uio, irq, O_NOCTTY, &uio->irq_fd);
}

static int fail_gone(const struct beta_uio *uio, const char *what, int error) {
  return beta_fail(-EIO, "uio:%s: the device is gone (/dev/uio%u: %s: %s); was the overlay removed, or the driver unbound, or has it no interrupt?",
                   uio->name, uio->number, what, error == 0 ? "end of file" : strerror(error));
}

/* 1 unmasks, 0 masks. */
static int control(struct beta_uio *uio, uint32_t word) {
  ssize_t put;
  do put = write(uio->irq_fd, &word, sizeof word);
  while (put < 0 && errno == EINTR);
  uio->unmasked = put == sizeof word && word == 1;
  return put == sizeof word ? 0 : fail_gone(uio, "write", put < 0 ? errno : 0);
}

int beta_uio_open(const char *name, size_t bytes, struct beta_uio *uio) {
  memset(uio, 0, sizeof *uio);
  uio->map_fd = uio->irq_fd = -1;
  snprintf(uio->name, sizeof uio->name, "%s", name);
  const int number = find(name);
  if (number < 0) {
    return beta_fail(-ENODEV, "uio:%s: no UIO device in %s" CLASS " has this name; is the overlay applied, and uio_pdrv_genirq loaded?",
                     name, beta_board_root());
  }
  uio->number = (unsigned)number;
  int failed = open_files(uio);
  /* One process drives an engine: a second one would reset it under the first. */
  if (failed == 0 && flock(uio->map_fd, LOCK_EX | LOCK_NB) != 0) {
    failed = errno == EWOULDBLOCK
                 ? beta_fail(-EBUSY, "uio:%s: another process has the engine; is betad running?", name)
                 : beta_fail(-errno, "uio:%s: /dev/uio%u cannot be locked (%s)", name, uio->number, strerror(errno));
  }
  if (failed == 0) failed = map_registers(uio, bytes);
  if (failed == 0) failed = control(uio, 0); /* masked until somebody waits; refused where the device has no interrupt */
  if (failed != 0) {
    beta_uio_close(uio);
    return failed;
  }
  uint64_t total = 0;
  char path[BETA_PATH_MAX];
  uio->counted = beta_board_path(path, CLASS "/uio%u/event", uio->number) && beta_attribute_u64(path, &total) == 0;
  uio->count = (uint32_t)total;
  return 0;
}

void beta_uio_close(struct beta_uio *uio) {
  if (uio->mapping != NULL) munmap(uio->mapping, uio->mapping_bytes);
  if (uio->irq_fd >= 0 && uio->irq_fd != uio->map_fd) close(uio->irq_fd);
  if (uio->map_fd >= 0) close(uio->map_fd);
  uio->mapping = NULL;
  uio->map_fd = uio->irq_fd = -1;
}

int beta_uio_unmask(struct beta_uio *uio) { return uio->unmasked ? 0 : control(uio, 1); }

int beta_uio_wait(struct beta_uio *uio, uint32_t timeout_us) {
  struct pollfd file = {.fd = uio->irq_fd, .events = POLLIN};
  const struct timespec timeout = {.tv_sec = timeout_us / 1000000u, .tv_nsec = (long)(timeout_us % 1000000u) * 1000};
  const int ready = ppoll(&file, 1, &timeout, NULL);
  if (ready == 0) return 1;
  if (ready < 0) return errno == EINTR ? 0 : fail_gone(uio, "poll", errno);
  /* A device that is gone is ready too: with an error that only the read names. */
  uint32_t total;
  const ssize_t got = read(uio->irq_fd, &total, sizeof total);
  if (got < 0 && (errno == EINTR || errno == EAGAIN)) return 0;
  if (got != sizeof total) return fail_gone(uio, "read", got < 0 ? errno : 0);
  uio->unmasked = false; /* by the handler */
  const uint32_t since = uio->counted ? total - uio->count : 1;
  uio->counted = true;
  uio->count = total;
  uio->taken++;
  if (since > 1) uio->missed += since - 1;
  return 0;
}
