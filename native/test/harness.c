/* The engine's protocol (contract section 2) through the public interface: reset, ring, fence, faults, interrupts. */
#include <errno.h>
#include <pthread.h>

#include "device/device.h"
#include "device/emulator/emulator.h"
#include "test/support.h"

#define WINDOW 0x100000u
#define LOG2 4u

static uint32_t head_of(beta_device *device) { return beta_reg_read(device, BETA_REG_HEAD); }

static uint32_t fault_word(uint32_t code, uint32_t field) { return code | field << BETA_FAULT_FIELD_SHIFT; }

/* Submits `count` copies from sequence number `tail` on; returns the new tail. */
static uint32_t submit(beta_device *device, uint32_t tail, uint32_t count, const beta_descriptor *descriptor) {
  for (uint32_t i = 0; i < count; i++) put_descriptor(device, LOG2, tail + i, descriptor);
  beta_kick(device, tail + count);
  return tail + count;
}

static void test_open(void) {
  static const struct {
    const char *uri;
    uint64_t bytes;
    int code;
    const char *says;
  } cases[] = {
      {"emu", WINDOW, -EINVAL, "scheme"},
      {"", WINDOW, -EINVAL, "scheme"},
      {"fpga:x", WINDOW, -ENODEV, "emu"},
      {"emulator:", WINDOW, -ENODEV, "emu"},
      {"emu:x", WINDOW, -EINVAL, "options"},
      {"emu:?depth=3", WINDOW, -EINVAL, "max_k, max_kp, ring_log2"},
      {"emu:?max_k", WINDOW, -EINVAL, "decimal"},
      {"emu:?max_k=", WINDOW, -EINVAL, "decimal"},
      {"emu:?max_k=0", WINDOW, -EINVAL, "from 1 to 16384"},
      {"emu:?max_k=16385", WINDOW, -EINVAL, "from 1 to 16384"},
      {"emu:?max_k=99999999999999999999", WINDOW, -EINVAL, "decimal"},
      {"emu:?max_k=-1", WINDOW, -EINVAL, "decimal"},
      {"emu:?max_k=1&max_k=2", WINDOW, -EINVAL, "twice"},
      {"emu:", 0, -EINVAL, "64 KiB"},
      {"emu:", WINDOW + 16, -EINVAL, "64 KiB"},
      {"emu:", UINT64_C(1) << 32, -EINVAL, "4 GiB"},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    beta_device *device = NULL;
    const int code = beta_open(cases[i].uri, cases[i].bytes, &device);
    check(code == cases[i].code && device == NULL && strstr(beta_error(), cases[i].says) != NULL,
          "open \"%s\" with 0x%llX bytes: %s", cases[i].uri, (unsigned long long)cases[i].bytes, beta_error());
  }
  beta_device *device = open_device("emu:?max_k=512&max_kp=8&ring_log2=3", 0xFFFF0000u);
  check(beta_reg_read(device, BETA_REG_MAX_K) == 512 && beta_reg_read(device, BETA_REG_MAX_KP) == 8 &&
            beta_reg_read(device, BETA_REG_RING_MAX) == 3,
        "the options lower the limits");
  check((uintptr_t)beta_window(device) % BETA_WINDOW_ALIGN == 0 && beta_window_bytes(device) == 0xFFFF0000u,
        "the largest window opens, 64 KiB aligned");
  check(((uint8_t *)beta_window(device))[0xFFFEFFFFu] == 0, "its last byte is there, and zero");
  beta_close(device);
  beta_close(NULL);
}

static void test_registers(void) {
  beta_device *device = open_device("emu:", WINDOW);
  check(beta_reg_read(device, BETA_REG_ID) == 0x314D4D51u, "ID");
  check(beta_reg_read(device, BETA_REG_VERSION) == 0x00010000u, "VERSION 1.0");
  check(beta_reg_read(device, BETA_REG_CAPS) == 0x3FFFu, "CAPS: every width");
  check(beta_reg_read(device, BETA_REG_GEOMETRY) == 0x08020808u, "GEOMETRY: 8x8x128, 8 lanes");
  check(beta_reg_read(device, BETA_REG_MAX_K) == 16384, "MAX_K");
  check(beta_reg_read(device, BETA_REG_MAX_KP) == 1032, "MAX_KP");
  check(beta_reg_read(device, BETA_REG_RING_MAX) == 12 && beta_reg_read(device, BETA_REG_BUILD) == 0, "RING_MAX, BUILD");
  bool silent = true;
  for (uint32_t offset = 0; offset < 0x1000; offset += 4) {
    const bool host = (offset >= 0x20 && offset <= 0x40) || (offset >= 0x50 && offset <= 0x5C);
    const uint32_t before = beta_reg_read(device, offset);
    if (offset != BETA_REG_CTRL) beta_reg_write(device, offset, 0xA5A5A5A5u);
    if (beta_reg_read(device, offset) != (host && offset != BETA_REG_CTRL ? 0xA5A5A5A5u : before)) silent = false;
    if (!host && offset >= 0x20 && before != 0) silent = false;
  }
  check(silent, "host words keep what is written, all other offsets ignore it, unlisted ones read 0");
  check(beta_reg_read(device, 2) == 0 && beta_reg_read(device, 0x1000) == 0 && beta_reg_read(device, 0xFFFFFFFCu) == 0,
        "unaligned and outside offsets read 0");
  beta_reg_write(device, 0x2A, 7);
  beta_reg_write(device, 0xFFFFFFFCu, 7);
  check(beta_reg_read(device, BETA_REG_WAKE) == 0xA5A5A5A5u, "and writes to them are ignored");
  check(beta_sync_for_device(device, 0, WINDOW) == 0 && beta_sync_for_cpu(device, WINDOW, 0) == 0,
        "sync inside the window");
  check(beta_sync_for_device(device, 1, WINDOW) == -EINVAL &&
            beta_sync_for_cpu(device, 0xFFFFFFFFu, 0xFFFFFFFFu) == -EINVAL,
        "sync outside the window is refused: %s", beta_error());
  beta_close(device);
}

static bool all_zero(beta_device *device) {
  for (uint32_t offset = BETA_REG_STATUS; offset <= BETA_REG_WR_BEATS; offset += 4) {
    if (beta_reg_read(device, offset) != 0) return false;
  }
  return true;
}

static void test_reset_and_faults(void) {
  beta_device *device = open_device("emu:", WINDOW);
  const beta_descriptor qmm = small_qmm(), nop = {.op = BETA_OP_NOP};
  beta_descriptor bad = small_qmm();
  bad.b_off = WINDOW;

  check(all_zero(device), "before RUN every device word is 0");
  submit(device, 0, 1, &nop);
  sleep_us(2000);
  check(all_zero(device), "a doorbell while RUN = 0 starts nothing");
  check(start(device, LOG2), "configure, RUN = 1: READY");
  check(beta_reg_read(device, BETA_REG_STATUS) == STATUS_IDLE && head_of(device) == 0, "READY and nothing else");

  submit(device, 0, 3, &qmm);
  check(beta_wait(device, 3, SECOND) == BETA_WAIT_DONE && head_of(device) == 3, "three descriptors complete");
  check(beta_reg_read(device, BETA_REG_STATUS) == STATUS_IDLE, "no longer BUSY");
  check(beta_reg_read(device, BETA_REG_CYCLES) > 0 && beta_reg_read(device, BETA_REG_RD_BEATS) >= 3 * 9 &&
            beta_reg_read(device, BETA_REG_WR_BEATS) == 3 * 2 && beta_reg_read(device, BETA_REG_BEATS) == 3 * 6,
        "the counters have counted");
  check(beta_wait(device, 4, 20000) == BETA_WAIT_TIMEOUT, "waiting for what was not submitted times out");

  put_descriptor(device, LOG2, 3, &qmm);
  put_descriptor(device, LOG2, 4, &bad);
  put_descriptor(device, LOG2, 5, &qmm);
  memset((uint8_t *)beta_window(device) + 0x4000, 0xEE, 32);
  beta_kick(device, 6);
  check(beta_wait(device, 6, SECOND) == BETA_WAIT_FAULT && head_of(device) == 4, "a fault stops HEAD at its descriptor");
  check(beta_wait(device, 4, SECOND) == BETA_WAIT_DONE, "what came before it is complete");
  check(beta_reg_read(device, BETA_REG_FAULT) == fault_word(BETA_FAULT_BOUNDS, 0x1C) &&
            beta_reg_read(device, BETA_REG_FAULT_AT) == WINDOW &&
            beta_reg_read(device, BETA_REG_STATUS) == BIT(STATUS_FAULT),
        "FAULT, FAULT_AT and STATUS say what and where");
  submit(device, 6, 2, &qmm);
  sleep_us(2000);
  check(head_of(device) == 4 && beta_reg_read(device, BETA_REG_FAULT) != 0, "a fault is sticky");
  check(stop(device) && all_zero(device), "RUN = 0 clears everything");
  check(start(device, LOG2), "and the engine starts again");
  submit(device, 0, 1, &bad);
  check(beta_wait(device, 1, SECOND) == BETA_WAIT_FAULT && beta_reg_read(device, BETA_REG_FAULT_AT) == WINDOW,
        "again a fault");
  bad = small_qmm();
  bad.k0 = 200;
  start(device, LOG2);
  submit(device, 0, 1, &nop);
  submit(device, 1, 1, &bad);
  beta_wait(device, 2, SECOND);
  check(beta_reg_read(device, BETA_REG_FAULT) == fault_word(BETA_FAULT_SHAPE, 5) &&
            beta_reg_read(device, BETA_REG_FAULT_AT) == RING_OFF + 64,
        "other faults point at the descriptor");

  configure(device, LOG2, 0);
  beta_reg_write(device, BETA_REG_WIN_HI, 0);
  beta_reg_write(device, BETA_REG_CTRL, 1);
  check(await_status(device, BIT(STATUS_FAULT), BIT(STATUS_FAULT)) &&
            beta_reg_read(device, BETA_REG_FAULT) == fault_word(BETA_FAULT_CONFIG, BETA_REG_WIN_HI),
        "a wrong configuration faults at RUN");
  configure(device, LOG2, 3);
  for (uint32_t i = 0; i < 3; i++) put_descriptor(device, LOG2, i, &nop);
  check(run(device) && beta_wait(device, 3, SECOND) == BETA_WAIT_DONE, "a TAIL written before RUN is taken up");
  beta_close(device);
}

static void test_ring(void) {
  beta_device *device = open_device("emu:", WINDOW);
  const beta_descriptor nop = {.op = BETA_OP_NOP};
  const beta_descriptor qmm = small_qmm();
  start(device, LOG2);
  uint32_t tail = 0;
  bool good = true;
  for (uint32_t round = 0; round < 300 && good; round++) {
    tail = submit(device, tail, 1 + round % 16, &nop);
    good = beta_wait(device, tail, SECOND) == BETA_WAIT_DONE && head_of(device) == tail;
  }
  check(good, "300 rounds through a ring of 16, up to 16 at once: HEAD = %u", (unsigned)tail);

  /* All slots are the host's again; only the one that is submitted may be looked at. */
  memset((uint8_t *)beta_window(device) + RING_OFF, 0xFF, 16 * sizeof qmm);
  tail = submit(device, tail, 1, &qmm);
  check(beta_wait(device, tail, SECOND) == BETA_WAIT_DONE && beta_reg_read(device, BETA_REG_FAULT) == 0,
        "slots outside [HEAD, TAIL) are not looked at");

  start(device, LOG2);
  for (uint32_t i = 0; i < 16; i++) put_descriptor(device, LOG2, i, &nop);
  beta_kick(device, 17);
  check(beta_wait(device, 17, SECOND) == BETA_WAIT_FAULT && head_of(device) == 0 &&
            beta_reg_read(device, BETA_REG_FAULT) == fault_word(BETA_FAULT_RING, 0) &&
            beta_reg_read(device, BETA_REG_FAULT_AT) == RING_OFF,
        "TAIL - HEAD = 17 in a ring of 16: fault RING before anything runs");

  const uint32_t first = 0xFFFFFFF0u - 5;
  stop(device);
  beta_emulator_preset_head(device, first);
  configure(device, LOG2, first);
  check(run(device) && head_of(device) == first, "start shortly before the counters wrap");
  tail = first;
  good = true;
  for (uint32_t i = 0; i < 12 && good; i++) {
    tail = submit(device, tail, 7, &nop);
    good = beta_wait(device, tail, SECOND) == BETA_WAIT_DONE && head_of(device) == tail;
  }
  check(good && tail == first + 84 && tail < 100, "HEAD and TAIL wrap at 2^32: HEAD = %u", (unsigned)tail);
  check(beta_wait(device, first + 80, 0) == BETA_WAIT_DONE && beta_wait(device, 0xFFFFFFFFu, 0) == BETA_WAIT_DONE &&
            beta_wait(device, tail + 1, 0) == BETA_WAIT_TIMEOUT,
        "the fence compares across the wrap");
  start(device, LOG2);
  check(head_of(device) == 0, "the next start is at 0 again");
  check(configure(device, 0, 0) && run(device), "a ring of one entry");
  put_descriptor(device, 0, 0, &nop);
  beta_kick(device, 1);
  check(beta_wait(device, 1, SECOND) == BETA_WAIT_DONE, "works");
  beta_close(device);
}

/* --- interrupts --- */

struct later {
  beta_device *device;
  uint32_t delay_us;
  uint32_t reg, value;
};

static void *write_later(void *argument) {
  const struct later *later = argument;
  sleep_us(later->delay_us);
  if (later->reg == BETA_REG_TAIL) beta_kick(later->device, later->value);
  else beta_reg_write(later->device, later->reg, later->value);
  return NULL;
}

static void test_interrupts(void) {
  beta_device *device = open_device("emu:", WINDOW);
  const beta_descriptor nop = {.op = BETA_OP_NOP};
  const beta_descriptor bad = {.op = 77};
  const struct beta_device_ops *ops = device->ops;
  start(device, LOG2);
  uint64_t began = now_us();
  check(ops->irq_wait(device, 30000) == 1 && now_us() - began >= 30000, "nothing enabled: a full timeout");
  beta_reg_write(device, BETA_REG_IRQ_EN, 1);
  check(ops->irq_wait(device, SECOND) == 0, "done is a level: HEAD 0 has reached WAKE 0");
  beta_reg_write(device, BETA_REG_WAKE, 1);
  check(ops->irq_wait(device, 0) == 1, "WAKE = 1 lowers it");
  submit(device, 0, 1, &nop);
  check(ops->irq_wait(device, SECOND) == 0 && head_of(device) == 1, "completion raises it");
  beta_reg_write(device, BETA_REG_IRQ_EN, 2);
  check(ops->irq_wait(device, 0) == 1, "fault alone is enabled: low");
  beta_reg_write(device, BETA_REG_WAKE, 0x80000002u);
  beta_reg_write(device, BETA_REG_IRQ_EN, 1);
  check(ops->irq_wait(device, 0) == 0, "HEAD 1 is 2^31 - 1 past WAKE 0x80000002: high");
  beta_reg_write(device, BETA_REG_WAKE, 0x80000001u);
  check(ops->irq_wait(device, 0) == 1, "and 2^31 before WAKE 0x80000001: low");

  pthread_t thread;
  struct later later = {device, 20000, BETA_REG_TAIL, 2};
  put_descriptor(device, LOG2, 1, &nop);
  pthread_create(&thread, NULL, write_later, &later);
  began = now_us();
  check(beta_wait(device, 2, 5 * SECOND) == BETA_WAIT_DONE && now_us() - began < 4 * SECOND,
        "a sleeping wait is woken by the completion");
  pthread_join(thread, NULL);

  later = (struct later){device, 5000, BETA_REG_WAKE, 0};
  pthread_create(&thread, NULL, write_later, &later);
  began = now_us();
  check(beta_wait(device, 3, 60000) == BETA_WAIT_TIMEOUT && now_us() - began >= 60000,
        "a spurious interrupt does not end a wait");
  pthread_join(thread, NULL);

  later = (struct later){device, 20000, BETA_REG_TAIL, 3};
  put_descriptor(device, LOG2, 2, &bad);
  pthread_create(&thread, NULL, write_later, &later);
  began = now_us();
  check(beta_wait(device, 3, 5 * SECOND) == BETA_WAIT_FAULT && now_us() - began < 4 * SECOND,
        "a sleeping wait is woken by a fault");
  pthread_join(thread, NULL);
  beta_reg_write(device, BETA_REG_IRQ_EN, 2);
  check(ops->irq_wait(device, 0) == 0, "fault is a level too");
  stop(device);
  check(ops->irq_wait(device, 0) == 1, "and reset lowers it");
  beta_close(device);
}

int main(void) {
  test_open();
  test_registers();
  test_reset_and_faults();
  test_ring();
  test_interrupts();
  return finish();
}
