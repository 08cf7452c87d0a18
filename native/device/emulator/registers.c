/* The host's side of the emulator: register accesses and the doorbell. */
#include "device/emulator/engine.h"

#define BIT(name) (BETA_##name##_MASK << BETA_##name##_SHIFT)

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
  pthread_mutex_unlock(&emulator->lock);
  beta_pool_wake(emulator->pool, BETA_SEAT_ENGINE);
}

void beta_emulator_reg_write(beta_device *device, uint32_t offset, uint32_t value) {
  struct emulator *emulator = (struct emulator *)device;
  if (!is_host_word(offset)) return;
  if (offset == BETA_REG_CTRL) {
    write_ctrl(emulator, value);
    return;
  }
  emulator_store(emulator, offset, value);
  if (offset == BETA_REG_TAIL) beta_engine_wake(emulator);
  if (offset == BETA_REG_WAKE || offset == BETA_REG_IRQ_EN) beta_emulator_update_irq(emulator);
}

void beta_emulator_kick(beta_device *device, uint32_t tail) {
  beta_emulator_reg_write(device, BETA_REG_TAIL, tail);
}
