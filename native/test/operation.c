/*
 * Steps of one operation: side by side they leave the bytes that they leave one after another, in any mixture and on any number of
 * threads. Indices of all are checked before one runs, and none may write on another's.
 */
#include <errno.h>

#include "program/program.h"

#define WINDOW 0x2000000u
#include "test/records.h"

#define ROUNDS 36
#define STEPS_MAX 24
#define RECORDS_MAX (STEPS_MAX * GROUP_MAX)

static const char *const uris[] = {"emu:", "emu:?threads=2", "emu:?threads=3", "emu:?threads=5"};
#define DEVICES (sizeof uris / sizeof uris[0])

static beta_device *devices[DEVICES];
static record records[RECORDS_MAX];
static beta_operation apart[STEPS_MAX];
static uint32_t record_count, step_count;

static void add(uint32_t op) {
  const uint32_t taken = another_group(op, records + record_count);
  apart[step_count++] = (beta_operation){BETA_OPERATION_VECTOR, record_count, taken, 0};
  record_count += taken;
}

static void begin(void) {
  record_count = step_count = 0;
  fill_with_noise();
}

/* Steps of any kind, and some that are heavy: of these, those whose quantisers take no range of all rows are cut. */
static void mixture(uint32_t light, uint32_t heavy) {
  begin();
  while (light + heavy > 0) {
    const bool is_heavy = below(light + heavy) < heavy;
    least_rows = is_heavy ? 500 : 1;
    most_rows = is_heavy ? 900 : 6;
    add(producers[below(is_heavy ? 3 : PRODUCERS)]);
    if (is_heavy) heavy--;
    else light--;
  }
  least_rows = 1;
  most_rows = 6;
}

/* What a natural batch has: softmaxes of sequences, whose quantiser takes a range or takes none. */
static void sequences(uint32_t count) {
  begin();
  for (uint32_t i = 0; i < count; i++) add(BETA_STEP_SOFTMAX);
}

static int run_program(beta_device *device, const beta_operation *list, uint32_t count, uint32_t *failed) {
  beta_program *program;
  int outcome = beta_program_load(WINDOW, NULL, 0, records, record_count, list, count, &program);
  if (outcome != 0) return outcome;
  beta_run run = {.ring_off = RING_OFF, .ring_log2 = 2, .timeout_us = SECOND};
  outcome = beta_program_run(device, program, &run, NULL);
  *failed = run.record;
  beta_program_free(program);
  return outcome;
}

static int run_together(beta_device *device, uint32_t *failed) {
  const beta_operation all = {BETA_OPERATION_VECTOR, 0, record_count, 0};
  return run_program(device, &all, 1, failed);
}

/* Device by device the same bytes as one after another by one thread. */
static bool agree(uint8_t *before, uint8_t *expected) {
  uint32_t failed;
  memcpy(before, window, WINDOW);
  if (run_program(devices[0], apart, step_count, &failed) != BETA_WAIT_DONE) return false;
  memcpy(expected, window, WINDOW);
  bool same = true;
  for (uint32_t i = 0; i < DEVICES; i++) {
    uint8_t *own = beta_window(devices[i]);
    memcpy(own, before, WINDOW);
    same = run_together(devices[i], &failed) == BETA_WAIT_DONE && memcmp(own, expected, WINDOW) == 0 && same;
  }
  return same && memcmp(before, expected, WINDOW) != 0;
}

static void same_bytes(void) {
  uint8_t *before = malloc(WINDOW), *expected = malloc(WINDOW);
  uint32_t wrong = 0;
  for (uint32_t i = 0; i < ROUNDS; i++) {
    if (i % 3 == 0) sequences(between(2, STEPS_MAX));
    else mixture(between(1, 12), i % 3 == 1 ? between(1, 3) : 0);
    if (!agree(before, expected)) wrong++;
  }
  check(wrong == 0, "%u mixtures of steps leave the same bytes side by side; %u do not", ROUNDS, wrong);
  free(before);
  free(expected);
}

/* A step with a bad index among good ones. */
static void refuses_indices(void) {
  for (uint32_t i = 1; i < DEVICES; i++) {
    begin();
    add(BETA_STEP_DENSE);
    for (uint32_t n = 0; n < 3; n++) {
      add(BETA_STEP_PICK);
      const beta_step_pick *pick = &records[apart[step_count - 1].first].pick;
      if (n > 0) memcpy(window + pick->index_off, &pick->x_rows, sizeof pick->x_rows);
    }
    const uint32_t second = apart[2].first, out = records[0].dense.out_off;
    uint8_t *own = beta_window(devices[i]);
    memcpy(own, window, WINDOW);
    uint32_t failed = 0;
    check(run_together(devices[i], &failed) == -EINVAL && failed == second, "%s: of two with bad indices the first is refused", uris[i]);
    check(memcmp(own + out, window + out, 4) == 0, "and no step has run");
  }
}

static void refuses_writes_on_indices(void) {
  uint32_t failed = 0;
  begin();
  add(BETA_STEP_PICK);
  add(BETA_STEP_DENSE);
  beta_step_dense *dense = &records[apart[1].first].dense;
  const uint32_t apart_off = dense->out_off;
  dense->out_off = records[0].pick.index_off;
  check(run_together(devices[0], &failed) == -EINVAL, "a step that writes on another's index array is refused (%s)", beta_error());
  dense->out_off = records[0].pick.starts_off;
  check(run_together(devices[0], &failed) == -EINVAL, "and on another's starts");
  check(run_program(devices[0], apart, step_count, &failed) == BETA_WAIT_DONE, "in operations of their own it may");
  dense->out_off = apart_off;
  begin();
  add(BETA_STEP_PICK);
  add(BETA_STEP_SOFTMAX);
  record *group = &records[apart[1].first];
  group[1 + group->header.terms].quantise.out_off = records[0].pick.index_off / 16 * 16;
  check(run_together(devices[0], &failed) == -EINVAL, "so are planes");
}

int main(void) {
  for (uint32_t i = 0; i < DEVICES; i++) devices[i] = open_device(uris[i], WINDOW);
  window = beta_window(devices[0]);
  same_bytes();
  refuses_indices();
  refuses_writes_on_indices();
  for (uint32_t i = 0; i < DEVICES; i++) beta_close(devices[i]);
  return finish();
}
