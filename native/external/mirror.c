#include "external/mirror.h"

#include <stddef.h>
#include <string.h>

#define BIT(name) (BETA_##name##_MASK << BETA_##name##_SHIFT)
/* Longest look away from the page. */
#define TURN_US 500u
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static uint32_t load(const struct mirror *mirror, uint32_t offset) {
  return __atomic_load_n(&mirror->page[offset / 4], __ATOMIC_SEQ_CST);
}

static bool store(struct mirror *mirror, uint32_t offset, uint32_t value) {
  if (load(mirror, offset) == value) return false;
  __atomic_store_n(&mirror->page[offset / 4], value, __ATOMIC_SEQ_CST);
  return true;
}

void mirror_open(struct mirror *mirror, beta_device *engine, void *page) {
  static const uint32_t identity[] = {BETA_REG_VERSION, BETA_REG_CAPS,     BETA_REG_GEOMETRY, BETA_REG_MAX_K,
                                      BETA_REG_MAX_KP,  BETA_REG_RING_MAX, BETA_REG_BUILD};
  mirror->engine = engine;
  mirror->page = page;
  memset(mirror->host, 0, sizeof mirror->host);
  for (uint32_t offset = 0; offset < BETA_REGISTER_SPACE; offset += 4) store(mirror, offset, 0);
  for (size_t i = 0; i < COUNT(identity); i++) store(mirror, identity[i], beta_reg_read(engine, identity[i]));
  store(mirror, BETA_REG_ID, beta_reg_read(engine, BETA_REG_ID)); /* last: whoever sees it sees the rest */
}

/* Hands a host word on if it has changed. */
static bool take(struct mirror *mirror, uint32_t offset) {
  const uint32_t value = load(mirror, offset);
  if (value == mirror->host[offset / 4]) return false;
  mirror->host[offset / 4] = value;
  beta_reg_write(mirror->engine, offset, value);
  return true;
}

/* The emulator keeps what it has prepared of operands until it hears that they changed; this host says so to nobody. */
static void announce(struct mirror *mirror) {
  beta_sync_for_device(mirror->engine, 0, (uint32_t)beta_window_bytes(mirror->engine));
}

static bool take_host_words(struct mirror *mirror) {
  static const uint32_t configuration[] = {BETA_REG_WIN_LO, BETA_REG_WIN_HI, BETA_REG_WIN_SIZE, BETA_REG_RING, BETA_REG_RING_LOG2,
                                           BETA_REG_TAIL};
  /* CTRL before the words that its rising edge samples: the host wrote them before it. */
  const uint32_t ctrl = load(mirror, BETA_REG_CTRL) & BIT(CTRL_RUN);
  bool changed = false;
  if (ctrl != mirror->host[BETA_REG_CTRL / 4]) {
    mirror->host[BETA_REG_CTRL / 4] = ctrl;
    if (ctrl != 0) {
      for (size_t i = 0; i < COUNT(configuration); i++) take(mirror, configuration[i]);
      announce(mirror);
    }
    beta_reg_write(mirror->engine, BETA_REG_CTRL, ctrl);
    changed = true;
  }
  const uint32_t tail = load(mirror, BETA_REG_TAIL);
  if (tail != mirror->host[BETA_REG_TAIL / 4]) {
    mirror->host[BETA_REG_TAIL / 4] = tail;
    announce(mirror);
    beta_kick(mirror->engine, tail);
    changed = true;
  }
  return changed;
}

static bool give_device_words(struct mirror *mirror) {
  static const uint32_t counters[] = {BETA_REG_CYCLES, BETA_REG_BEATS, BETA_REG_RD_BEATS, BETA_REG_WR_BEATS};
  uint32_t status, head, fault, fault_at;
  /* STATUS computes from the others, so words between two equal reads of it belong together. */
  do {
    status = beta_reg_read(mirror->engine, BETA_REG_STATUS);
    head = beta_reg_read(mirror->engine, BETA_REG_HEAD);
    fault = beta_reg_read(mirror->engine, BETA_REG_FAULT);
    fault_at = beta_reg_read(mirror->engine, BETA_REG_FAULT_AT);
  } while (beta_reg_read(mirror->engine, BETA_REG_STATUS) != status);
  bool changed = store(mirror, BETA_REG_FAULT_AT, fault_at);
  for (size_t i = 0; i < COUNT(counters); i++) store(mirror, counters[i], beta_reg_read(mirror->engine, counters[i]));
  changed |= store(mirror, BETA_REG_FAULT, fault);
  /* Whoever sees STATUS = 0 may rely on everything being 0; whoever sees HEAD may rely on STATUS. */
  if (status == 0) changed |= store(mirror, BETA_REG_HEAD, head);
  changed |= store(mirror, BETA_REG_STATUS, status);
  if (status != 0) changed |= store(mirror, BETA_REG_HEAD, head);
  return changed;
}

/*
 * The emulator executes in whoever waits for it. For one descriptor at most, so that each HEAD is seen, and not for long, so that
 * RUN = 0 is.
 */
static void execute(struct mirror *mirror) {
  const uint32_t status = beta_reg_read(mirror->engine, BETA_REG_STATUS);
  if (status != (BIT(STATUS_READY) | BIT(STATUS_BUSY))) return;
  beta_wait(mirror->engine, beta_reg_read(mirror->engine, BETA_REG_HEAD) + 1, TURN_US);
}

bool mirror_turn(struct mirror *mirror) {
  const bool taken = take_host_words(mirror);
  execute(mirror);
  return give_device_words(mirror) || taken;
}

bool mirror_irq(const struct mirror *mirror) {
  const uint32_t enabled = load(mirror, BETA_REG_IRQ_EN);
  const uint32_t passed = load(mirror, BETA_REG_HEAD) - load(mirror, BETA_REG_WAKE);
  if ((enabled & BIT(IRQ_EN_DONE)) != 0 && (int32_t)passed >= 0) return true;
  return (enabled & BIT(IRQ_EN_FAULT)) != 0 && load(mirror, BETA_REG_FAULT) != 0;
}
