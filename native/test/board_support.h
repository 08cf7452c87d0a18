/* A board made of files: sysfs, /dev and the memory behind them, in a temporary folder that BETA_ROOT names. */
#ifndef BETA_TEST_BOARD_SUPPORT_H
#define BETA_TEST_BOARD_SUPPORT_H

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "device/emulator/emulator.h"
#include "external/line.h"
#include "external/mirror.h"
#include "test/support.h"

#define PAGE 4096u
#define POOL_BYTES 0x40000u
#define POOL_BUS UINT64_C(0x870010000) /* above 4 GiB */

struct board_files {
  char root[64];
  uint32_t *page;  /* the register page as the device sees it, at `offset` of its page */
  uint8_t *memory; /* the pool */
};

__attribute__((format(printf, 3, 4))) static inline void put_file(const struct board_files *files, const char *path,
                                                                 const char *format, ...) {
  char full[256];
  snprintf(full, sizeof full, "%s%s", files->root, path);
  for (char *slash = full + strlen(files->root) + 1; (slash = strchr(slash, '/')) != NULL; slash++) {
    *slash = '\0';
    mkdir(full, 0777);
    *slash = '/';
  }
  FILE *file = fopen(full, "w");
  if (file == NULL) {
    printf("Bail out! %s: %s\n", full, strerror(errno));
    exit(1);
  }
  va_list arguments;
  va_start(arguments, format);
  vfprintf(file, format, arguments);
  va_end(arguments);
  fclose(file);
}

static inline void *share_file(const struct board_files *files, const char *path, size_t bytes) {
  char full[256];
  put_file(files, path, "%s", "");
  snprintf(full, sizeof full, "%s%s", files->root, path);
  const int fd = open(full, O_RDWR);
  void *memory = ftruncate(fd, (off_t)bytes) == 0 ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) : MAP_FAILED;
  close(fd);
  if (memory != MAP_FAILED) return memory;
  printf("Bail out! %s: %s\n", full, strerror(errno));
  exit(1);
}

static inline void path_of(const struct board_files *files, const char *path, char full[128]) {
  snprintf(full, 128, "%s%s", files->root, path);
}

/* What a file of the board holds, or "". */
static inline const char *get_file(const struct board_files *files, const char *path) {
  static char text[128];
  char full[128];
  path_of(files, path, full);
  const int fd = open(full, O_RDONLY);
  const ssize_t got = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  text[got < 0 ? 0 : got] = '\0';
  return text;
}

/* A healthy board: engine uio3 (registers at `offset` of their page) beside two other UIO devices, and its pool. */
static inline struct board_files board_create(uint32_t offset) {
  struct board_files files = {.root = "/tmp/beta-board-XXXXXX"};
  if (mkdtemp(files.root) == NULL) exit(1);
  setenv("BETA_ROOT", files.root, 1);
  put_file(&files, "/sys/class/uio/uio0/name", "axi-pmon\n");
  put_file(&files, "/sys/class/uio/uio1/maps/map0/size", "0x1000\n"); /* one that is going away: no name */
  put_file(&files, "/sys/class/uio/uio3/name", "beta-qmm0\n");
  put_file(&files, "/sys/class/uio/uio3/event", "41\n");
  put_file(&files, "/sys/class/uio/uio3/maps/map0/addr", "0x%08x\n", 0xA0000000u + offset);
  put_file(&files, "/sys/class/uio/uio3/maps/map0/size", "0x1000\n");
  put_file(&files, "/sys/class/uio/uio3/maps/map0/offset", "0x%x\n", (unsigned)offset);
  files.page = (uint32_t *)(void *)((uint8_t *)share_file(&files, "/dev/uio3/map", 2 * PAGE) + offset);
  put_file(&files, "/sys/class/u-dma-buf/beta-pool0/phys_addr", "0x%llx\n", (unsigned long long)POOL_BUS);
  put_file(&files, "/sys/class/u-dma-buf/beta-pool0/size", "%u\n", POOL_BYTES);
  put_file(&files, "/sys/class/u-dma-buf/beta-pool0/dma_coherent", "0\n");
  put_file(&files, "/sys/class/u-dma-buf/beta-pool0/sync_mode", "1\n");
  put_file(&files, "/sys/class/u-dma-buf/beta-pool0/sync_for_device", "%s", "");
  put_file(&files, "/sys/class/u-dma-buf/beta-pool0/sync_for_cpu", "%s", "");
  files.memory = share_file(&files, "/dev/beta-pool0", POOL_BYTES);
  files.page[BETA_REG_ID / 4] = BETA_ENGINE_ID;
  return files;
}

static inline int remove_entry(const char *path, const struct stat *info, int type, struct FTW *walk) {
  (void)info, (void)type, (void)walk;
  return remove(path);
}

static inline void board_destroy(struct board_files *files) {
  munmap((void *)((uintptr_t)files->page / PAGE * PAGE), 2 * PAGE);
  munmap(files->memory, POOL_BYTES);
  nftw(files->root, remove_entry, 8, FTW_DEPTH | FTW_PHYS);
  unsetenv("BETA_ROOT");
}

/* --- the device side: the mirror in a thread --- */

struct engine_side {
  pthread_t thread;
  struct mirror mirror;
  struct line line;
  int stop, deaf; /* deaf: its interrupt line is cut */
};

static void *engine_side_run(void *argument) {
  struct engine_side *side = argument;
  while (!__atomic_load_n(&side->stop, __ATOMIC_SEQ_CST)) {
    mirror_turn(&side->mirror);
    const bool deaf = __atomic_load_n(&side->deaf, __ATOMIC_SEQ_CST) != 0;
    if (!line_drive(&side->line, !deaf && mirror_irq(&side->mirror))) break;
    sleep_us(20);
  }
  return NULL;
}

static inline void engine_side_start(struct engine_side *side, struct board_files *files) {
  char irq[128];
  beta_device *engine;
  path_of(files, "/dev/uio3/irq", irq);
  *side = (struct engine_side){.stop = 0};
  if (!line_open_terminal(&side->line, irq) ||
      beta_emulator_open_over("", files->memory, POOL_BYTES, POOL_BUS, &engine) != 0) {
    printf("Bail out! no device side: %s\n", beta_error());
    exit(1);
  }
  side->line.count = 41;
  mirror_open(&side->mirror, engine, files->page);
  pthread_create(&side->thread, NULL, engine_side_run, side);
}

/* Only the thread: HEAD no longer moves, the line is dead, the files stay. */
static inline void engine_side_halt(struct engine_side *side) {
  __atomic_store_n(&side->stop, 1, __ATOMIC_SEQ_CST);
  pthread_join(side->thread, NULL);
}

static inline void engine_side_end(struct engine_side *side) {
  engine_side_halt(side);
  close(side->line.fd);
  beta_close(side->mirror.engine);
}

#endif
