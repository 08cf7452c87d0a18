/* The device of a board: registers and interrupt from UIO, the window from a DMA pool. */
#include "device/board/board.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "device/board/dma.h"
#include "device/board/uio.h"
#include "device/error.h"
#include "threads/pool.h"

#define BIT(name) (BETA_##name##_MASK << BETA_##name##_SHIFT)

/* How long a wait looks at HEAD before it sleeps, by default: an interrupt through the kernel costs more. */
#define SPIN_US 10u
#define SPIN_MAX_US 10000u
/* A sleep looks up this often, so that a lost interrupt costs this much and is seen, not the whole timeout. */
#define SLICE_US 100000u
/* An interrupt may be on its way while its reason is already visible; after this long it is lost. */
#define LATE_US 10000u
/* Bound of stopping an engine that somebody left running; it drains bursts and at most one tile. */
#define STOP_US 2000000u

struct board {
  struct beta_device base;
  struct beta_uio uio;
  struct beta_dma dma;
  uint32_t spin_us;
  uint64_t lost; /* interrupts that never came although their reason was there */
};

static uint64_t monotonic_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

/* All ones, as a bus answers for what is not there: no register of the contract reads so, and nothing is touched. */
static uint32_t reg_read(beta_device *device, uint32_t offset) {
  const struct board *board = (const struct board *)device;
  return device->gone != 0 ? UINT32_MAX : board->uio.registers[offset / 4];
}

static void reg_write(beta_device *device, uint32_t offset, uint32_t value) {
  const struct board *board = (const struct board *)device;
  if (device->gone == 0) board->uio.registers[offset / 4] = value;
}

static void kick(beta_device *device, uint32_t tail) { reg_write(device, BETA_REG_TAIL, tail); }

/* The level of the contract, section 2. */
static bool irq_is_due(beta_device *device) {
  const uint32_t enabled = reg_read(device, BETA_REG_IRQ_EN);
  const uint32_t passed = reg_read(device, BETA_REG_HEAD) - reg_read(device, BETA_REG_WAKE);
  if ((enabled & BIT(IRQ_EN_DONE)) != 0 && (int32_t)passed >= 0) return true;
  return (enabled & BIT(IRQ_EN_FAULT)) != 0 && reg_read(device, BETA_REG_FAULT) != 0;
}

static int note_gone(struct board *board, int result) {
  if (result < 0) board->base.gone = result;
  return result;
}

static int alive(beta_device *device) {
  struct board *board = (struct board *)device;
  /* A device that is gone is ready for a read that fails. */
  const int found = note_gone(board, beta_uio_wait(&board->uio, 0));
  return found < 0 ? found : 0;
}

static int irq_wait(beta_device *device, uint32_t timeout_us) {
  struct board *board = (struct board *)device;
  const uint64_t began = monotonic_us();
  const uint32_t spin = board->spin_us < timeout_us ? board->spin_us : timeout_us;
  while (monotonic_us() - began < spin) {
    if (irq_is_due(device)) return 0;
  }
  /* Unmasked after the caller has written WAKE: the line is a level, so a reason that came before is seen now. */
  int woken = note_gone(board, beta_uio_unmask(&board->uio));
  if (woken != 0) return woken;
  const uint32_t rest = timeout_us - spin;
  const uint32_t slice = rest < SLICE_US ? rest : SLICE_US;
  woken = note_gone(board, beta_uio_wait(&board->uio, slice));
  if (woken == 1 && irq_is_due(device)) {
    woken = note_gone(board, beta_uio_wait(&board->uio, LATE_US));
    if (woken == 1) board->lost++;
  }
  return woken == 1 && slice < rest ? 0 : woken; /* a slice ended, not the time: the caller looks and comes back */
}

static void irq_counts(beta_device *device, struct beta_irq_counts *counts) {
  const struct board *board = (const struct board *)device;
  *counts = (struct beta_irq_counts){.taken = board->uio.taken, .missed = board->uio.missed, .lost = board->lost};
}

static int sync_for_device(beta_device *device, uint32_t offset, uint32_t bytes, bool lasting) {
  (void)lasting; /* caches are the same to all bytes */
  return beta_dma_sync_for_device(&((struct board *)device)->dma, offset, bytes);
}

static int sync_for_cpu(beta_device *device, uint32_t offset, uint32_t bytes) {
  return beta_dma_sync_for_cpu(&((struct board *)device)->dma, offset, bytes);
}

/* RUN = 0 until the engine is quiet: from then on it neither reads nor writes the window. */
static bool stop(beta_device *device) {
  const uint64_t deadline = monotonic_us() + STOP_US;
  reg_write(device, BETA_REG_CTRL, 0);
  reg_write(device, BETA_REG_IRQ_EN, 0);
  while (reg_read(device, BETA_REG_STATUS) != 0) {
    if (monotonic_us() > deadline) return false;
  }
  return true;
}

static void close_board(beta_device *device) {
  struct board *board = (struct board *)device;
  if (device->gone == 0) stop(device);
  beta_pool_close(device->cpu_pool);
  beta_dma_close(&board->dma);
  beta_uio_close(&board->uio);
  free(board);
}

static const struct beta_device_ops operations = {
    .close = close_board,
    .reg_read = reg_read,
    .reg_write = reg_write,
    .kick = kick,
    .irq_wait = irq_wait,
    .alive = alive,
    .irq_counts = irq_counts,
    .sync_for_device = sync_for_device,
    .sync_for_cpu = sync_for_cpu,
};

/* NAME and POOL of "NAME[/POOL]"; without POOL it is beta-pool and the number that NAME ends with. */
static int parse_names(const char *rest, size_t length, char name[64], char pool[64]) {
  const char *slash = memchr(rest, '/', length);
  const size_t name_length = slash == NULL ? length : (size_t)(slash - rest);
  if (name_length == 0 || name_length >= 64 || length - name_length >= 64 || (slash != NULL && slash + 1 == rest + length)) {
    return beta_fail(-EINVAL, "uio: needs the name of a UIO device, as in \"uio:beta-qmm0\", or \"uio:NAME/POOL\"");
  }
  memcpy(name, rest, name_length);
  name[name_length] = '\0';
  if (slash == NULL) {
    size_t digits = name_length;
    while (digits > 0 && name[digits - 1] >= '0' && name[digits - 1] <= '9') digits--;
    snprintf(pool, 64, "beta-pool%.32s", digits < name_length ? name + digits : "0");
    return 0;
  }
  memcpy(pool, slash + 1, length - name_length - 1);
  pool[length - name_length - 1] = '\0';
  /* The name becomes part of paths. */
  return strchr(pool, '/') == NULL && pool[0] != '.' ? 0 : beta_fail(-EINVAL, "uio: \"%s\" is no name of a DMA pool", pool);
}

/* The first touch: ID, and only then a write. */
static int take_over(struct board *board) {
  const uint32_t id = reg_read(&board->base, BETA_REG_ID);
  if (id != BETA_ENGINE_ID) {
    return beta_fail(-ENODEV, "uio:%s: ID reads 0x%08X, an engine of this contract answers 0x%08X; is its bitstream loaded?",
                     board->uio.name, (unsigned)id, (unsigned)BETA_ENGINE_ID);
  }
  if (!stop(&board->base)) {
    return beta_fail(-EBUSY, "uio:%s: the engine does not stop (STATUS 0x%X after %u ms); load the bitstream again", board->uio.name,
                     (unsigned)reg_read(&board->base, BETA_REG_STATUS), STOP_US / 1000);
  }
  memset(board->base.window, 0, (size_t)board->base.window_bytes);
  return beta_dma_sync_for_device(&board->dma, 0, (uint32_t)board->base.window_bytes);
}

int beta_board_open(const char *rest, uint64_t window_bytes, beta_device **device) {
  const size_t length = strcspn(rest, "?");
  char name[64], pool[64];
  int failed = parse_names(rest, length, name, pool);
  if (failed != 0) return failed;
  uint32_t spin_us = SPIN_US, threads = 1;
  const struct beta_option options[] = {
      {"spin", 0, SPIN_MAX_US, &spin_us, NULL},
      {"threads", 1, BETA_POOL_THREADS_MAX, &threads, NULL},
  };
  failed = beta_options_parse("uio", rest + length, options, sizeof options / sizeof options[0]);
  if (failed != 0) return failed;

  struct board *board = calloc(1, sizeof *board);
  if (board == NULL) return beta_fail(-ENOMEM, "uio:%s: no memory for its state", name);
  board->base.ops = &operations;
  board->spin_us = spin_us;
  failed = beta_uio_open(name, BETA_REGISTER_SPACE, &board->uio);
  if (failed == 0) {
    failed = beta_dma_open(pool, window_bytes, &board->dma);
    if (failed == 0) {
      board->base.window = beta_dma_window(&board->dma);
      board->base.window_bytes = board->dma.bytes;
      board->base.window_bus = board->dma.bus;
      failed = take_over(board);
      if (failed != 0) beta_dma_close(&board->dma);
    }
    if (failed != 0) beta_uio_close(&board->uio);
  }
  if (failed == 0 && threads > 1) {
    board->base.cpu_pool = beta_pool_open(threads, 0);
    if (board->base.cpu_pool == NULL) {
      failed = beta_fail(-ENOMEM, "uio:%s: its %u threads could not be had (%s)", name, (unsigned)threads, strerror(errno));
      beta_dma_close(&board->dma);
      beta_uio_close(&board->uio);
    }
  }
  if (failed != 0) {
    free(board);
    return failed;
  }
  *device = &board->base;
  return 0;
}
