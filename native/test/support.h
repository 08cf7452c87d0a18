/* Support of the C tests: TAP output, and a host that drives a device by the contract. */
#ifndef BETA_TEST_SUPPORT_H
#define BETA_TEST_SUPPORT_H

#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "beta.h"

#define BIT(name) (BETA_##name##_MASK << BETA_##name##_SHIFT)
#define STATUS_IDLE BIT(STATUS_READY)
#define RING_OFF 0x1000u
#define SECOND 1000000u /* microseconds */

static unsigned test_count, test_failures;

/* One TAP line. */
__attribute__((format(printf, 2, 3))) static inline bool check(bool good, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  printf("%s %u - ", good ? "ok" : "not ok", ++test_count);
  vprintf(format, arguments);
  printf("\n");
  va_end(arguments);
  if (!good) test_failures++;
  return good;
}

/* The plan; the process's exit code. */
static inline int finish(void) {
  printf("1..%u\n", test_count);
  if (test_failures != 0) printf("# %u of %u failed\n", test_failures, test_count);
  return test_failures == 0 ? 0 : 1;
}

static inline uint64_t now_us(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec / 1000u;
}

static inline void sleep_us(uint32_t us) {
  nanosleep(&(struct timespec){.tv_sec = us / SECOND, .tv_nsec = (long)(us % SECOND) * 1000}, NULL);
}

/* A repeatable generator (xorshift64). */
static inline uint64_t next_random(uint64_t *state) {
  *state ^= *state << 13;
  *state ^= *state >> 7;
  *state ^= *state << 17;
  return *state;
}

static inline beta_device *open_device(const char *uri, uint64_t window_bytes) {
  beta_device *device = NULL;
  if (beta_open(uri, window_bytes, &device) != 0) {
    printf("Bail out! %s: %s\n", uri, beta_error());
    exit(1);
  }
  return device;
}

/* Polls STATUS until (STATUS & mask) == value, for ten seconds at most. */
static inline bool await_status(beta_device *device, uint32_t mask, uint32_t value) {
  const uint64_t deadline = now_us() + 10 * SECOND;
  do {
    if ((beta_reg_read(device, BETA_REG_STATUS) & mask) == value) return true;
  } while (now_us() < deadline);
  return false;
}

static inline bool stop(beta_device *device) {
  beta_reg_write(device, BETA_REG_CTRL, 0);
  return await_status(device, UINT32_MAX, 0);
}

/* Reset and configuration by contract section 2; RUN stays 0. */
static inline bool configure(beta_device *device, uint32_t ring_log2, uint32_t tail) {
  const bool stopped = stop(device);
  beta_reg_write(device, BETA_REG_IRQ_EN, 0);
  beta_reg_write(device, BETA_REG_WAKE, 0);
  beta_reg_write(device, BETA_REG_TAIL, tail);
  beta_reg_write(device, BETA_REG_WIN_LO, (uint32_t)beta_window_bus(device));
  beta_reg_write(device, BETA_REG_WIN_HI, (uint32_t)(beta_window_bus(device) >> 32));
  beta_reg_write(device, BETA_REG_WIN_SIZE, (uint32_t)beta_window_bytes(device));
  beta_reg_write(device, BETA_REG_RING, RING_OFF);
  beta_reg_write(device, BETA_REG_RING_LOG2, ring_log2);
  return stopped;
}

static inline bool run(beta_device *device) {
  beta_reg_write(device, BETA_REG_CTRL, BIT(CTRL_RUN));
  return await_status(device, BIT(STATUS_READY), BIT(STATUS_READY));
}

static inline bool start(beta_device *device, uint32_t ring_log2) {
  return configure(device, ring_log2, 0) && run(device);
}

static inline void put_descriptor(beta_device *device, uint32_t ring_log2, uint32_t sequence,
                                  const beta_descriptor *descriptor) {
  const uint32_t slot = sequence & ((1u << ring_log2) - 1);
  memcpy((uint8_t *)beta_window(device) + RING_OFF + slot * sizeof *descriptor, descriptor, sizeof *descriptor);
}

static inline uint8_t format_of(uint32_t log2_bits, uint32_t encoding) {
  return (uint8_t)(log2_bits | encoding << BETA_FMT_ENC_SHIFT);
}

/* A small valid QMM: 2x3x100, U1 x PM1 -> int32. */
static inline beta_descriptor small_qmm(void) {
  return (beta_descriptor){
      .op = BETA_OP_QMM,
      .a_fmt = format_of(0, BETA_ENC_U),
      .b_fmt = format_of(0, BETA_ENC_PM1),
      .o_fmt = format_of(5, BETA_ENC_S),
      .m = 2,
      .n = 3,
      .k = 100,
      .a_off = 0x2000,
      .a_stride = 16,
      .b_off = 0x3000,
      .b_stride = 16,
      .o_off = 0x4000,
      .o_stride = 16,
  };
}

#endif
