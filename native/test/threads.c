/* Who executes descriptors, and when: the engine's thread, the host that waits, and their handing over (emulator/engine.h). */
#include <pthread.h>
#include <stdatomic.h>

#include "device/emulator/engine.h"
#include "test/support.h"
#include "threads/pool.h"

#define LOG2 6u
#define WINDOW 0x2000000u
#define A_OFF 0x10000u
#define B_OFF 0x810000u
#define E_OFF 0x1010000u
#define O_OFF 0x1020000u

static const uint32_t thread_counts[] = {1, 2, 3, 5};
#define COUNTS (sizeof thread_counts / sizeof thread_counts[0])

static beta_device *open_threads(uint32_t threads) {
  char uri[64];
  snprintf(uri, sizeof uri, "emu:?threads=%u", threads);
  return open_device(uri, WINDOW);
}

static void fill(beta_device *device) {
  uint64_t random = 88172645463325252u;
  uint8_t *window = beta_window(device);
  for (uint32_t i = A_OFF; i < O_OFF; i += 8) {
    const uint64_t word = next_random(&random);
    memcpy(window + i, &word, 8);
  }
}

static uint64_t hash_of(beta_device *device) {
  uint64_t hash = 14695981039346656037u;
  const uint64_t *words = beta_window(device);
  for (uint32_t i = A_OFF / 8; i < WINDOW / 8; i++) hash = (hash ^ words[i]) * 1099511628211u;
  return hash;
}

/* m x n x k of s8 by s8: enough work to be left and taken up many times. */
static beta_descriptor product(uint32_t m, uint32_t n, uint32_t k, uint32_t o_off) {
  return (beta_descriptor){.op = BETA_OP_QMM, .a_fmt = format_of(3, BETA_ENC_S), .b_fmt = format_of(3, BETA_ENC_S),
                           .o_fmt = format_of(5, BETA_ENC_S), .m = m, .n = n, .k = k, .a_off = A_OFF,
                           .a_stride = (k + 127) / 128 * 128, .b_off = B_OFF, .b_stride = (k + 127) / 128 * 128,
                           .o_off = o_off, .o_stride = (4 * n + 15) / 16 * 16};
}

static bool poll_head(beta_device *device, uint32_t head) {
  const uint64_t deadline = now_us() + 20 * SECOND;
  while (beta_reg_read(device, BETA_REG_HEAD) != head) {
    if (now_us() > deadline) return false;
    sleep_us(50);
  }
  return true;
}

/* A host that never waits. */
static void test_polling(uint32_t threads) {
  beta_device *device = open_threads(threads);
  const beta_descriptor qmm = small_qmm();
  bool good = start(device, LOG2);
  uint32_t tail = 0;
  for (uint32_t round = 0; round < 20 && good; round++) {
    for (uint32_t i = 0; i < 5; i++) put_descriptor(device, LOG2, tail + i, &qmm);
    beta_kick(device, tail += 5);
    good = poll_head(device, tail);
    if (round == 10) sleep_us(30000); /* longer than the engine's thread keeps looking */
  }
  check(good, "%u threads: HEAD moves for a host that only polls it", threads);
  beta_close(device);
}

/* With one thread, the one that waits computes, and the engine's keeps out of its way. */
static void test_inline(void) {
  beta_device *device = open_threads(1);
  const struct emulator *emulator = (const struct emulator *)device;
  const beta_descriptor qmm = product(16, 64, 4096, O_OFF);
  start(device, LOG2);
  fill(device);
  clockid_t engine_clock;
  pthread_getcpuclockid(emulator->thread, &engine_clock);
  struct timespec engine, host0, host1;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &host0);
  bool good = true;
  for (uint32_t tail = 1; tail <= 400 && good; tail++) {
    put_descriptor(device, LOG2, tail - 1, &qmm);
    beta_kick(device, tail);
    good = beta_wait(device, tail, 20 * SECOND) == BETA_WAIT_DONE;
  }
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &host1);
  clock_gettime(engine_clock, &engine);
  const double host_ms = (double)(host1.tv_sec - host0.tv_sec) * 1e3 + (double)(host1.tv_nsec - host0.tv_nsec) / 1e6;
  const double engine_ms = (double)engine.tv_sec * 1e3 + (double)engine.tv_nsec / 1e6;
  check(good && engine_ms < host_ms / 2, "1 thread: the host that waits computes (%.1f ms, the engine's thread %.1f ms)",
        host_ms, engine_ms);
  beta_close(device);
}

/* While the one thread computes for the host, the engine keeps still; afterwards it goes on. */
static void test_claim(void) {
  beta_device *device = open_threads(1);
  const beta_descriptor qmm = small_qmm();
  start(device, LOG2);
  put_descriptor(device, LOG2, 0, &qmm);
  beta_pool_claim(device->cpu_pool);
  beta_kick(device, 1);
  sleep_us(30000);
  const uint32_t meanwhile = beta_reg_read(device, BETA_REG_HEAD);
  beta_pool_disclaim(device->cpu_pool);
  check(meanwhile == 0 && poll_head(device, 1), "1 thread: the engine keeps still while the host computes, and then goes on");
  beta_close(device);
}

/* Streams to wait for: a large product, and so many heads that they are dealt whole. */
enum stream { LARGE, HEADS };
#define HEAD_COUNT 62u

static uint32_t put_stream(beta_device *device, enum stream stream) {
  if (stream == LARGE) {
    const beta_descriptor large = product(200, 250, 8192, O_OFF), small = product(3, 5, 100, O_OFF + 0x100000);
    put_descriptor(device, LOG2, 0, &large);
    put_descriptor(device, LOG2, 1, &small);
    return 2;
  }
  for (uint32_t i = 0; i < HEAD_COUNT; i++) {
    beta_descriptor head = product(128, 120, 64, O_OFF + i * 0x10000);
    head.a_off += i * 0x4000;
    put_descriptor(device, LOG2, i, &head);
  }
  return HEAD_COUNT;
}

/* Waits that end in the middle of them: on time, and whoever takes them up finishes them, as one long wait does. */
static void test_waits(uint32_t threads, uint32_t wait_us, enum stream stream, uint64_t *hash) {
  beta_device *device = open_threads(threads);
  fill(device);
  start(device, LOG2);
  const uint32_t count = put_stream(device, stream);
  beta_kick(device, count);
  uint32_t late = 0, timeouts = 0;
  int outcome;
  const uint64_t deadline = now_us() + 100 * SECOND;
  do {
    const uint64_t began = now_us();
    outcome = beta_wait(device, count, wait_us);
    if (now_us() - began > wait_us + SECOND) late++; /* a block of work under an emulated CPU takes long */
    if (outcome == BETA_WAIT_TIMEOUT) timeouts++;
    if (timeouts % 4 == 3) sleep_us(3000); /* so that the engine's thread takes over now and then */
  } while (outcome == BETA_WAIT_TIMEOUT && now_us() < deadline);
  const uint64_t found = hash_of(device);
  if (*hash == 0) *hash = found;
  if (outcome != BETA_WAIT_DONE || late != 0 || found != *hash) {
    printf("# outcome %d, %u waits ended late, %s bytes\n", outcome, late, found == *hash ? "the same" : "other");
  }
  check(outcome == BETA_WAIT_DONE && late == 0 && found == *hash,
        "%u threads, waits of %u us: %u of them end in the middle of %s and change nothing", threads, wait_us, timeouts,
        stream == LARGE ? "a product" : "heads");
  beta_close(device);
}

/* The same stream on any number of threads, handed over at random moments. */
static void test_same_results(void) {
  uint64_t hashes[COUNTS] = {0};
  bool good = true;
  for (size_t t = 0; t < COUNTS; t++) {
    beta_device *device = open_threads(thread_counts[t]);
    fill(device);
    start(device, LOG2);
    uint64_t random = 12345;
    uint32_t tail = 0;
    for (uint32_t round = 0; round < 60 && good; round++) {
      const uint64_t r = next_random(&random);
      for (uint32_t i = 0; i < 1 + r % 8; i++) {
        const uint64_t shape = next_random(&random);
        beta_descriptor d = product(1 + shape % 90, 1 + (shape >> 8) % 200, 1 + (shape >> 16) % 900,
                                    O_OFF + (uint32_t)(shape >> 32) % 0x80 * 0x1000);
        if ((shape >> 60 & 1) != 0) {
          d.o_fmt = format_of(0, BETA_ENC_PM1);
          d.e_off = E_OFF;
          d.o_stride = 64;
        }
        put_descriptor(device, LOG2, tail++, &d);
      }
      beta_kick(device, tail);
      good = beta_wait(device, tail - (uint32_t)(r >> 20) % (1 + r % 8), 20 * SECOND) == BETA_WAIT_DONE &&
             ((r >> 30 & 1) == 0 || poll_head(device, tail)) && beta_wait(device, tail, 20 * SECOND) == BETA_WAIT_DONE;
    }
    hashes[t] = hash_of(device);
    good = good && hashes[t] == hashes[0];
    beta_close(device);
  }
  check(good, "the same bytes on 1, 2, 3 and 5 threads");
}

/* --- everybody at once --- */

struct crowd {
  beta_device *device;
  _Atomic uint32_t tail;
  _Atomic bool stop;
};

static void *produce(void *argument) {
  struct crowd *crowd = argument;
  while (!atomic_load(&crowd->stop)) {
    beta_kick(crowd->device, atomic_fetch_add(&crowd->tail, 1) + 1);
    sched_yield();
  }
  return NULL;
}

static void *await(void *argument) {
  struct crowd *crowd = argument;
  while (!atomic_load(&crowd->stop)) beta_wait(crowd->device, atomic_load(&crowd->tail), 500);
  return NULL;
}

static void spend(void *context, uint32_t unit, uint32_t seat) {
  (void)seat;
  atomic_fetch_add((_Atomic uint64_t *)context, unit);
}

/* The host's own jobs on the same pool. */
static void *compute(void *argument) {
  struct crowd *crowd = argument;
  _Atomic uint64_t sum = 0;
  uint64_t jobs = 0;
  while (!atomic_load(&crowd->stop)) {
    beta_pool_claim(crowd->device->cpu_pool);
    beta_pool_run(crowd->device->cpu_pool, BETA_SEAT_HOST, 32, spend, &sum);
    beta_pool_disclaim(crowd->device->cpu_pool);
    jobs++;
    sched_yield();
  }
  return (void *)(uintptr_t)(atomic_load(&sum) == jobs * (31 * 32 / 2));
}

/*
 * A producer, two hosts that wait, one that computes and one that resets, with no agreement between them: the contract does not
 * allow it, but nothing may race, hang or break, and a proper reset leads out of it.
 */
static void test_crowd(uint32_t threads) {
  struct crowd crowd = {.device = open_threads(threads)};
  const beta_descriptor qmm = product(20, 40, 256, O_OFF), bad = {.op = 9};
  fill(crowd.device);
  for (uint32_t i = 0; i < 1u << LOG2; i++) put_descriptor(crowd.device, LOG2, i, i == 50 ? &bad : &qmm);
  pthread_t producer, waiter[2], host;
  pthread_create(&producer, NULL, produce, &crowd);
  pthread_create(&waiter[0], NULL, await, &crowd);
  pthread_create(&waiter[1], NULL, await, &crowd);
  pthread_create(&host, NULL, compute, &crowd);
  bool good = true;
  uint32_t resets = 0;
  const uint64_t end = now_us() + SECOND;
  for (; now_us() < end && good; resets++) {
    good = configure(crowd.device, LOG2, 0);
    atomic_store(&crowd.tail, 0);
    beta_reg_write(crowd.device, BETA_REG_CTRL, 1);
    sleep_us(resets % 8 * 500);
  }
  atomic_store(&crowd.stop, true);
  void *summed;
  pthread_join(producer, NULL);
  pthread_join(waiter[0], NULL);
  pthread_join(waiter[1], NULL);
  pthread_join(host, &summed);
  check(good && summed != NULL, "%u threads: %u resets among a producer, two waits and the host's own jobs", threads, resets);
  good = start(crowd.device, LOG2);
  beta_kick(crowd.device, 3);
  check(good && beta_wait(crowd.device, 3, 20 * SECOND) == BETA_WAIT_DONE, "and a proper reset leads out of it");
  beta_close(crowd.device);
}

int main(void) {
  uint64_t hash = 0, heads = 0;
  for (size_t t = 0; t < COUNTS; t++) {
    test_polling(thread_counts[t]);
    test_waits(thread_counts[t], 100 * SECOND, LARGE, &hash);
    test_waits(thread_counts[t], 300, LARGE, &hash);
    test_waits(thread_counts[t], 100 * SECOND, HEADS, &heads);
    test_waits(thread_counts[t], 10, HEADS, &heads);
    test_crowd(thread_counts[t]);
  }
  test_inline();
  test_claim();
  test_same_results();
  return finish();
}
