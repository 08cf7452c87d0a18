/*
 * Vector steps under the sanitizers: records of every step at random sizes over a window full of noise (so that every float is
 * met, NaN and infinities too), then the same records with random damage. What they compute is tested from TypeScript; here
 * nothing may be undefined, and a record either runs or is refused.
 */
#include <errno.h>

#define WINDOW 0x100000u
#include "test/records.h"

#define VALID_ROUNDS 300
#define DAMAGED_ROUNDS 20000

static beta_device *device;

/* A group over new noise. */
static uint32_t valid_group(uint32_t op, record group[GROUP_MAX]) {
  fill_with_noise();
  return another_group(op, group);
}

static void damage(record *victim) {
  static const uint32_t interesting[] = {0, 1, 2, 4, 16, 64, 127, 128, 256, 0x1000, WINDOW - 16, WINDOW, 1u << 31, UINT32_MAX};
  const uint32_t at = 4 * below(20); /* the fields */
  uint32_t word;
  memcpy(&word, (uint8_t *)victim + at, sizeof word);
  switch (below(4)) {
    case 0: word = interesting[below(sizeof interesting / sizeof interesting[0])]; break;
    case 1: word += between(0, 128) - 64; break;
    case 2: word = below(WINDOW); break;
    default: word ^= 1u << below(32); break;
  }
  memcpy((uint8_t *)victim + at, &word, sizeof word);
}

static void test_valid(void) {
  record group[GROUP_MAX];
  uint32_t failed, refused = 0;
  for (uint32_t i = 0; i < VALID_ROUNDS * PRODUCERS; i++) {
    const uint32_t count = valid_group(producers[i % PRODUCERS], group);
    if (beta_vector_run(device, group, count, &failed) != 0) refused++;
  }
  check(refused == 0, "%u groups of valid records over noise run; %u were refused", VALID_ROUNDS * (unsigned)PRODUCERS, refused);
}

static void test_wide(void) {
  record group[GROUP_MAX];
  uint32_t failed;
  fill_with_noise();
  group[0] = dense(1, BETA_STEP_WIDTH_MAX / 8);
  check(beta_vector_run(device, group, 1, &failed) == 0, "a wide row runs");
  fill_with_noise();
  group[0] = affine(1, BETA_STEP_WIDTH_MAX, 1, false);
  group[0].affine.terms = group[0].affine.consumers = 1;
  group[1].term = term(1, BETA_STEP_WIDTH_MAX, 1, false);
  group[2].quantise = consumer(1, BETA_STEP_WIDTH_MAX, 1);
  check(beta_vector_run(device, group, 3, &failed) == 0, "the widest row runs: it fits the stack");
}

static void test_damaged(void) {
  record group[GROUP_MAX];
  uint32_t ran = 0, refused = 0, wrong = 0;
  for (uint32_t i = 0; i < DAMAGED_ROUNDS; i++) {
    static record valid[GROUP_MAX];
    static uint32_t count;
    if (i % 20 == 0) count = valid_group(producers[i / 20 % PRODUCERS], valid);
    memcpy(group, valid, sizeof group);
    for (uint32_t n = between(1, 3); n > 0; n--) damage(&group[below(count)]);
    uint32_t failed = UINT32_MAX;
    const int code = beta_vector_run(device, group, count, &failed);
    if (code == 0) ran++;
    else if (code == -EINVAL && failed < count && beta_error()[0] != '\0') refused++;
    else wrong++;
  }
  check(wrong == 0 && ran > DAMAGED_ROUNDS / 20 && refused > DAMAGED_ROUNDS / 20,
        "of %u damaged groups %u run, %u are refused with a number and a sentence", DAMAGED_ROUNDS, ran, refused);
}

int main(void) {
  device = open_device("emu:", WINDOW);
  window = beta_window(device);
  test_valid();
  test_wide();
  test_damaged();
  beta_close(device);
  /* On several threads; what is damaged may make them write on one another's rows, so that is left out. */
  device = open_device("emu:?threads=3", WINDOW);
  window = beta_window(device);
  test_valid();
  beta_close(device);
  return finish();
}
