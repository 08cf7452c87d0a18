/*
 * Registers, doorbell and fence: the one small file with barriers. JavaScript has none for device memory, so every
 * ordering that the contract needs (section 8) is here, each with its reason.
 */
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include "device/device.h"
#include "device/error.h"

/*
 * Stores to the window before stores to a register, as an outer-shareable observer (the engine) sees them. On ARM
 * normal memory and device memory are not ordered against each other without it; this is what Linux's writel() uses.
 * x86 keeps stores in order (the window is write-back memory), only the compiler must not move them.
 */
static inline void barrier_before_doorbell(void) {
#if defined(__aarch64__)
  __asm__ volatile("dmb oshst" ::: "memory");
#elif defined(__x86_64__)
  __asm__ volatile("" ::: "memory");
#else
  __sync_synchronize();
#endif
}

/*
 * The load of HEAD before loads of the results it covers: without it ARM may have loaded (or speculated) a result
 * before HEAD. x86 keeps loads in order.
 */
static inline void barrier_after_fence(void) {
#if defined(__aarch64__)
  __asm__ volatile("dmb oshld" ::: "memory");
#elif defined(__x86_64__)
  __asm__ volatile("" ::: "memory");
#else
  __sync_synchronize();
#endif
}

static int is_register(uint32_t offset) { return offset < BETA_REGISTER_SPACE && offset % 4 == 0; }

uint32_t beta_abi(void) { return BETA_ABI; }

uint32_t beta_reg_read(beta_device *device, uint32_t offset) {
  return is_register(offset) ? device->ops->reg_read(device, offset) : 0;
}

void beta_reg_write(beta_device *device, uint32_t offset, uint32_t value) {
  if (!is_register(offset)) return;
  /* RUN = 1 starts an engine that may fetch at once, and any other register may be the last one before it. */
  barrier_before_doorbell();
  device->ops->reg_write(device, offset, value);
}

/* Said again for every call after the one that found out. */
static int fail_gone(const beta_device *device) {
  return beta_fail(device->gone, "the device is gone; close it, and open it again when it is back");
}

int beta_alive(beta_device *device) {
  if (device->gone != 0) return fail_gone(device);
  return device->ops->alive == NULL ? 0 : device->ops->alive(device);
}

void beta_irq_counts(beta_device *device, struct beta_irq_counts *counts) {
  *counts = (struct beta_irq_counts){0, 0, 0};
  if (device->ops->irq_counts != NULL) device->ops->irq_counts(device, counts);
}

void *beta_window(beta_device *device) { return device->window; }
uint64_t beta_window_bus(const beta_device *device) { return device->window_bus; }
uint64_t beta_window_bytes(const beta_device *device) { return device->window_bytes; }

void beta_close(beta_device *device) {
  if (device != NULL) device->ops->close(device);
}

void beta_kick(beta_device *device, uint32_t tail) {
  barrier_before_doorbell();
  device->ops->kick(device, tail);
}

#define STILL_WORKING (-1)

/* Where the engine is with respect to `sequence`: BETA_WAIT_DONE, BETA_WAIT_FAULT or STILL_WORKING. */
static int progress(beta_device *device, uint32_t sequence) {
  const struct beta_device_ops *ops = device->ops;
  if ((int32_t)(ops->reg_read(device, BETA_REG_HEAD) - sequence) >= 0) return BETA_WAIT_DONE;
  if (ops->reg_read(device, BETA_REG_FAULT) == 0) return STILL_WORKING;
  /* HEAD may have passed `sequence` between the two loads; once FAULT is set it no longer moves. */
  return (int32_t)(ops->reg_read(device, BETA_REG_HEAD) - sequence) >= 0 ? BETA_WAIT_DONE : BETA_WAIT_FAULT;
}

static uint64_t monotonic_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u;
}

/* Sleeps until `sequence` is complete, a fault, or the deadline; interrupts are only hints to look again. */
static int sleep_until(beta_device *device, uint32_t sequence, uint32_t timeout_us) {
  const struct beta_device_ops *ops = device->ops;
  const uint64_t deadline = monotonic_us() + timeout_us;
  ops->reg_write(device, BETA_REG_WAKE, sequence);
  ops->reg_write(device, BETA_REG_IRQ_EN,
                 BETA_IRQ_EN_DONE_MASK << BETA_IRQ_EN_DONE_SHIFT | BETA_IRQ_EN_FAULT_MASK << BETA_IRQ_EN_FAULT_SHIFT);
  for (;;) {
    const int state = progress(device, sequence);
    if (state != STILL_WORKING) return state;
    const uint64_t now = monotonic_us();
    if (now >= deadline) return BETA_WAIT_TIMEOUT;
    const int woken = ops->irq_wait(device, (uint32_t)(deadline - now));
    if (woken < 0) return woken;
  }
}

int beta_wait(beta_device *device, uint32_t sequence, uint32_t timeout_us) {
  if (device->gone != 0) return fail_gone(device);
  int state = progress(device, sequence);
  if (state == STILL_WORKING) state = timeout_us == 0 ? BETA_WAIT_TIMEOUT : sleep_until(device, sequence, timeout_us);
  barrier_after_fence();
  return state;
}

static int check_range(const beta_device *device, uint32_t offset, uint32_t bytes) {
  if ((uint64_t)offset + bytes <= device->window_bytes) return 0;
  return beta_fail(-EINVAL, "sync of %u bytes at window offset 0x%X reaches past the window of 0x%llX bytes",
                   (unsigned)bytes, (unsigned)offset, (unsigned long long)device->window_bytes);
}

static int sync_for_device(beta_device *device, uint32_t offset, uint32_t bytes, bool lasting) {
  const int refused = check_range(device, offset, bytes);
  if (refused != 0 || device->ops->sync_for_device == NULL) return refused;
  return device->ops->sync_for_device(device, offset, bytes, lasting);
}

int beta_sync_for_device(beta_device *device, uint32_t offset, uint32_t bytes) {
  return sync_for_device(device, offset, bytes, true);
}

int beta_sync_computed(beta_device *device, uint32_t offset, uint32_t bytes) {
  return sync_for_device(device, offset, bytes, false);
}

int beta_sync_for_cpu(beta_device *device, uint32_t offset, uint32_t bytes) {
  const int refused = check_range(device, offset, bytes);
  if (refused != 0 || device->ops->sync_for_cpu == NULL) return refused;
  return device->ops->sync_for_cpu(device, offset, bytes);
}
