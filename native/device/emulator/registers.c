/* The host's side of the emulator: register accesses, the doorbell and the interrupt. */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "device/emulator/engine.h"
#include "device/error.h"

#define BIT(name) (BETA_##name##_MASK << BETA_##name##_SHIFT)

uint64_t beta_monotonic_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static bool is_host_word(uint32_t offset) {
  return (offset >= BETA_REG_CTRL && offset <= BETA_REG_RING_LOG2) ||
         (offset >= BETA_REG_IMAGE0 && offset <= BETA_REG_IMAGE3);
}

/*
 * STATUS is computed from words that the engine stores in a fixed order, so it never contradicts them: FAULT as soon as
 * FAULT is set, BUSY while HEAD has not reached TAIL, 0 only after everything else is 0.
 */
static uint32_t read_status(struct emulator *emulator) {
  if (emulator_load(emulator, BETA_REG_FAULT) != 0) return BIT(STATUS_FAULT);
  if (!atomic_load(&emulator->ready)) return 0;
  const bool busy = emulator_load(emulator, BETA_REG_TAIL) != emulator_load(emulator, BETA_REG_HEAD);
  return BIT(STATUS_READY) | (busy ? BIT(STATUS_BUSY) : 0);
}

uint32_t beta_emulator_reg_read(beta_device *device, uint32_t offset) {
  struct emulator *emulator = (struct emulator *)device;
  if (offset == BETA_REG_STATUS) return read_status(emulator);
  return offset < 4 * EMULATOR_WORDS ? emulator_load(emulator, offset) : 0;
}

/* RUN's edges: the rising one samples the configuration (contract section 2), both tell the engine. */
static void write_ctrl(struct emulator *emulator, uint32_t value) {
  pthread_mutex_lock(&emulator->lock);
  const bool was = (emulator_load(emulator, BETA_REG_CTRL) & BIT(CTRL_RUN)) != 0;
  const bool is = (value & BIT(CTRL_RUN)) != 0;
  emulator_store(emulator, BETA_REG_CTRL, value & BIT(CTRL_RUN));
  if (is && !was) {
    emulator->config = (struct beta_config){
        .bus = (uint64_t)emulator_load(emulator, BETA_REG_WIN_HI) << 32 | emulator_load(emulator, BETA_REG_WIN_LO),
        .window_bytes = emulator_load(emulator, BETA_REG_WIN_SIZE),
        .ring = emulator_load(emulator, BETA_REG_RING),
        .ring_log2 = emulator_load(emulator, BETA_REG_RING_LOG2),
    };
  }
  if (is != was) atomic_fetch_add(&emulator->epoch, 1);
  pthread_cond_signal(&emulator->engine_wake);
  pthread_mutex_unlock(&emulator->lock);
}

void beta_emulator_reg_write(beta_device *device, uint32_t offset, uint32_t value) {
  struct emulator *emulator = (struct emulator *)device;
  if (!is_host_word(offset)) return;
  if (offset == BETA_REG_CTRL) {
    write_ctrl(emulator, value);
    return;
  }
  emulator_store(emulator, offset, value);
  if (offset == BETA_REG_TAIL) beta_emulator_wake_engine(emulator);
  if (offset == BETA_REG_WAKE || offset == BETA_REG_IRQ_EN) beta_emulator_update_irq(emulator);
}

void beta_emulator_kick(beta_device *device, uint32_t tail) {
  beta_emulator_reg_write(device, BETA_REG_TAIL, tail);
}

void beta_emulator_wake_engine(struct emulator *emulator) {
  if (!atomic_load(&emulator->engine_asleep)) return;
  pthread_mutex_lock(&emulator->lock);
  pthread_cond_signal(&emulator->engine_wake);
  pthread_mutex_unlock(&emulator->lock);
}

/* The level of the contract, section 2. */
static bool irq_is_high(struct emulator *emulator) {
  const uint32_t enabled = emulator_load(emulator, BETA_REG_IRQ_EN);
  const uint32_t passed = emulator_load(emulator, BETA_REG_HEAD) - emulator_load(emulator, BETA_REG_WAKE);
  if ((enabled & BIT(IRQ_EN_DONE)) != 0 && (int32_t)passed >= 0) return true;
  return (enabled & BIT(IRQ_EN_FAULT)) != 0 && emulator_load(emulator, BETA_REG_FAULT) != 0;
}

void beta_emulator_update_irq(struct emulator *emulator) {
  if (!atomic_load(&emulator->host_asleep) || !irq_is_high(emulator)) return;
  pthread_mutex_lock(&emulator->lock);
  pthread_cond_broadcast(&emulator->irq_wake);
  pthread_mutex_unlock(&emulator->lock);
}

static struct timespec deadline_after(uint32_t timeout_us) {
  const uint64_t ns = beta_monotonic_ns() + (uint64_t)timeout_us * 1000u;
  return (struct timespec){.tv_sec = (time_t)(ns / 1000000000u), .tv_nsec = (long)(ns % 1000000000u)};
}

int beta_emulator_irq_wait(beta_device *device, uint32_t timeout_us) {
  struct emulator *emulator = (struct emulator *)device;
  const struct timespec deadline = deadline_after(timeout_us);
  if (emulator->spin) {
    const uint64_t limit = (uint64_t)timeout_us * 1000u;
    const uint64_t began = beta_monotonic_ns();
    uint64_t spun = 0;
    do {
      if (irq_is_high(emulator)) return 0;
      beta_spin_once(spun);
      spun = beta_monotonic_ns() - began;
    } while (spun < (limit < BETA_SPIN_NS ? limit : BETA_SPIN_NS));
  }
  int failed = 0;
  pthread_mutex_lock(&emulator->lock);
  atomic_store(&emulator->host_asleep, true);
  while (failed == 0 && !irq_is_high(emulator)) {
    failed = pthread_cond_timedwait(&emulator->irq_wake, &emulator->lock, &deadline);
  }
  atomic_store(&emulator->host_asleep, false);
  pthread_mutex_unlock(&emulator->lock);
  if (failed != 0 && failed != ETIMEDOUT) {
    return beta_fail(-failed, "emu: waiting for the engine thread failed (%s)", strerror(failed));
  }
  return irq_is_high(emulator) ? 0 : 1;
}
