/* The interrupt, and the host that waits for it: it does the engine's work meanwhile, or helps with it. */
#include "device/emulator/engine.h"
#include "threads/spin.h"

#define BIT(name) (BETA_##name##_MASK << BETA_##name##_SHIFT)

/* The level of the contract, section 2. */
static bool irq_is_high(struct emulator *emulator) {
  const uint32_t enabled = emulator_load(emulator, BETA_REG_IRQ_EN);
  const uint32_t passed = emulator_load(emulator, BETA_REG_HEAD) - emulator_load(emulator, BETA_REG_WAKE);
  if ((enabled & BIT(IRQ_EN_DONE)) != 0 && (int32_t)passed >= 0) return true;
  return (enabled & BIT(IRQ_EN_FAULT)) != 0 && emulator_load(emulator, BETA_REG_FAULT) != 0;
}

void beta_emulator_update_irq(struct emulator *emulator) {
  if (irq_is_high(emulator)) beta_pool_wake(emulator->pool, BETA_SEAT_HOST);
}

static bool is_high(void *context) { return irq_is_high(context); }
static bool is_high_or_wanted(void *context) { return irq_is_high(context) || beta_engine_is_wanted(context); }

static int wait_until(struct emulator *emulator, uint64_t deadline) {
  do {
    if (irq_is_high(emulator)) return 0;
    if (beta_engine_is_wanted(emulator) && beta_engine_acquire(emulator, HOST)) {
      beta_engine_advance(emulator, is_high, emulator, deadline);
      beta_engine_release(emulator);
    } else {
      beta_pool_visit(emulator->pool, BETA_SEAT_HOST, is_high_or_wanted, emulator, deadline);
    }
  } while (beta_monotonic_ns() < deadline);
  return irq_is_high(emulator) ? 0 : 1;
}

/* With several threads the engine's gives way: what the host has just written, descriptors and operands, is in the cache of its core. */
int beta_emulator_irq_wait(beta_device *device, uint32_t timeout_us) {
  struct emulator *emulator = (struct emulator *)device;
  const uint64_t deadline = beta_monotonic_ns() + (uint64_t)timeout_us * 1000u;
  const bool claims = beta_pool_threads(emulator->pool) > 1 && !beta_pool_is_claimed(emulator->pool);
  if (claims) beta_pool_claim(emulator->pool);
  const int outcome = wait_until(emulator, deadline);
  if (claims) beta_pool_disclaim(emulator->pool);
  return outcome;
}
