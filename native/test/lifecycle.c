/* What a host may do at a bad moment: reset or close while busy, toggle RUN, change descriptors under the engine. */
#include <pthread.h>

#include "test/support.h"

#define LOG2 4u
#define SECOND_RING 0x4000u

/* Seconds of work: 1024 x 1024 x 16384 at 8 x 8 bits. Its operands are pages that were never touched. */
static const uint64_t long_window = UINT64_C(64) << 20;
static beta_descriptor long_qmm(void) {
  return (beta_descriptor){
      .op = BETA_OP_QMM,
      .a_fmt = format_of(3, BETA_ENC_U),
      .b_fmt = format_of(3, BETA_ENC_S),
      .o_fmt = format_of(5, BETA_ENC_S),
      .m = 1024,
      .n = 1024,
      .k = 16384,
      .a_off = 0x10000,
      .a_stride = 16384,
      .b_off = 0x1010000,
      .b_stride = 16384,
      .o_off = 0x2010000,
      .o_stride = 4096,
  };
}

static void test_busy(void) {
  const beta_descriptor busy = long_qmm(), nop = {.op = BETA_OP_NOP};
  beta_device *device = open_device("emu:", long_window);
  /* The window is zero, so a ring of NOPs already; its fourth slot is not. */
  memcpy((uint8_t *)beta_window(device) + SECOND_RING + 3 * sizeof busy, &busy, sizeof busy);
  start(device, LOG2);
  put_descriptor(device, LOG2, 0, &busy);
  put_descriptor(device, LOG2, 1, &nop);
  beta_kick(device, 2);
  sleep_us(20000);
  check(beta_reg_read(device, BETA_REG_STATUS) == (BIT(STATUS_READY) | BIT(STATUS_BUSY)), "BUSY during a long QMM");
  uint64_t began = now_us();
  const bool stopped = stop(device);
  uint64_t took = now_us() - began;
  check(stopped && took < 5 * SECOND, "reset in the middle of it: %llu us", (unsigned long long)took);
  check(beta_reg_read(device, BETA_REG_HEAD) == 0, "HEAD never moved");
  check(start(device, LOG2), "the engine starts again");
  put_descriptor(device, LOG2, 0, &nop);
  beta_kick(device, 1);
  check(beta_wait(device, 1, SECOND) == BETA_WAIT_DONE, "and works");
  put_descriptor(device, LOG2, 1, &busy);
  beta_kick(device, 2);
  sleep_us(20000);
  /* While the engine drains, so surely before it looks: RUN rises, and only then the configuration changes. */
  beta_reg_write(device, BETA_REG_CTRL, 0);
  beta_reg_write(device, BETA_REG_TAIL, 3);
  beta_reg_write(device, BETA_REG_RING, SECOND_RING);
  beta_reg_write(device, BETA_REG_CTRL, 1);
  beta_reg_write(device, BETA_REG_RING, 0);
  beta_reg_write(device, BETA_REG_RING_LOG2, 99);
  check(beta_wait(device, 3, 10 * SECOND) == BETA_WAIT_DONE, "the configuration is sampled when RUN rises");
  beta_kick(device, 4);
  sleep_us(20000);
  began = now_us();
  beta_close(device);
  took = now_us() - began;
  check(took < 5 * SECOND, "close in the middle of it: %llu us", (unsigned long long)took);
}

static void test_close_at_once(void) {
  const beta_descriptor nop = {.op = BETA_OP_NOP};
  for (uint32_t i = 0; i < 200; i++) {
    beta_device *device = open_device("emu:", BETA_WINDOW_ALIGN);
    if (i % 4 != 0) start(device, LOG2);
    put_descriptor(device, LOG2, 0, &nop);
    if (i % 4 >= 2) beta_kick(device, 1);
    if (i % 4 == 3) beta_reg_write(device, BETA_REG_CTRL, 0);
    beta_close(device);
  }
  check(true, "200 devices closed at every moment of their life");
}

/* RUN falls and rises without the pause that the contract asks for: whatever comes, a proper reset leads out of it. */
static void test_toggle(void) {
  const beta_descriptor nop = {.op = BETA_OP_NOP};
  beta_device *device = open_device("emu:", BETA_WINDOW_ALIGN);
  for (uint32_t i = 0; i < LOG2; i++) put_descriptor(device, LOG2, i, &nop);
  for (uint32_t i = 0; i < 2000; i++) {
    configure(device, LOG2, 0);
    for (uint32_t edge = 0; edge < i % 5; edge++) beta_reg_write(device, BETA_REG_CTRL, edge % 2);
    beta_reg_write(device, BETA_REG_TAIL, i % 3);
  }
  check(true, "2000 times a quick RUN");
  check(start(device, LOG2), "a proper reset");
  put_descriptor(device, LOG2, 0, &nop);
  beta_kick(device, 1);
  check(beta_wait(device, 1, SECOND) == BETA_WAIT_DONE && beta_reg_read(device, BETA_REG_HEAD) == 1, "and all is well");

  /* A start that is withdrawn before the engine saw it must not surface later, in the next host's poll. */
  bool quiet = true;
  for (uint32_t i = 0; i < 2000; i++) {
    stop(device);
    beta_reg_write(device, BETA_REG_WIN_SIZE, 1); /* would fault */
    beta_reg_write(device, BETA_REG_CTRL, 1);
    if (i % 2 != 0) await_status(device, BIT(STATUS_FAULT), BIT(STATUS_FAULT));
    stop(device);
    if (!start(device, LOG2) || beta_reg_read(device, BETA_REG_FAULT) != 0) quiet = false;
  }
  check(quiet, "2000 withdrawn starts never surface");
  beta_close(device);
}

/* --- no double fetch --- */

struct flipper {
  uint32_t *field;
  uint32_t values[2];
  int done;
};

static void *flip(void *argument) {
  struct flipper *flipper = argument;
  for (uint32_t i = 0; !__atomic_load_n(&flipper->done, __ATOMIC_RELAXED); i++) {
    __atomic_store_n(flipper->field, flipper->values[i % 2], __ATOMIC_RELAXED);
  }
  return NULL;
}

/*
 * Another thread changes one field of the descriptor between a good value and one that leaves the window, as fast as it
 * can. An engine that reads the field again after it has validated it would run into the guard pages or past its row.
 */
static void flip_field(size_t field, uint32_t bad, const char *name) {
  enum { ENOUGH = 50 };
  beta_device *device = open_device("emu:", BETA_WINDOW_ALIGN);
  beta_descriptor descriptor = small_qmm();
  descriptor.m = 1;
  descriptor.o_stride = 0xFFFFFFF0u; /* any n has a row, so that only BOUNDS can be wrong */
  put_descriptor(device, 0, 0, &descriptor);
  struct flipper flipper = {.field = (uint32_t *)(void *)((uint8_t *)beta_window(device) + RING_OFF + field)};
  flipper.values[0] = *flipper.field;
  flipper.values[1] = bad;
  pthread_t thread;
  pthread_create(&thread, NULL, flip, &flipper);
  uint32_t done = 0, refused = 0, strange = 0, tail = 0;
  start(device, 0);
  /* Three busy threads on few CPUs: the scheduler decides when the two race, so as long as it takes. */
  const uint64_t deadline = now_us() + 20 * SECOND;
  while ((done < ENOUGH || refused < ENOUGH) && now_us() < deadline) {
    beta_kick(device, ++tail);
    const int outcome = beta_wait(device, tail, SECOND);
    if (outcome == BETA_WAIT_DONE) {
      done++;
    } else {
      const uint32_t code = beta_reg_read(device, BETA_REG_FAULT) & BETA_FAULT_CODE_MASK;
      if (outcome != BETA_WAIT_FAULT || code != BETA_FAULT_BOUNDS) strange++;
      refused++;
      start(device, 0);
      tail = 0;
    }
  }
  __atomic_store_n(&flipper.done, 1, __ATOMIC_RELAXED);
  pthread_join(thread, NULL);
  check(done >= ENOUGH && refused >= ENOUGH && strange == 0,
        "%s changing under the engine: %u times complete, %u times refused, %u times something else", name, done, refused,
        strange);
  beta_close(device);
}

int main(void) {
  test_busy();
  test_close_at_once();
  test_toggle();
  flip_field(offsetof(beta_descriptor, m), 0x0FFFFFF0u, "m");
  flip_field(offsetof(beta_descriptor, n), 3u << 20, "n");
  flip_field(offsetof(beta_descriptor, a_off), 0xFFFFF000u, "a_off");
  flip_field(offsetof(beta_descriptor, o_off), 0xFFFFF000u, "o_off");
  return finish();
}
