/*
 * The target of coverage-guided fuzzing (libFuzzer): validation of configurations and descriptors against the naive oracle, with any limits and
 * any window; and what validation accepts runs on every kernel and must leave the oracle's bytes. With AddressSanitizer the ends of the
 * window are guarded too.
 *
 * An input is a head of 64 bytes (struct head) and descriptors of 64 bytes each; what is missing reads as 0.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/emulator/emulator.h"
#include "device/emulator/engine.h"
#include "fuzz/draw.h"

#define WINDOW 0x10000u
#define BEGIN 0x400u
#define WORK 30000u
#define STREAM_MAX 4u
#define NEIGHBOURS 200u
#define INPUT_MAX (64u * (1u + STREAM_MAX))

struct head {
  uint64_t bus;
  uint32_t window_bytes, ring, ring_log2; /* a configuration */
  uint32_t caps, max_k, max_kp, ring_max; /* limits, for validation alone */
  uint32_t judged_window;                 /* bytes of the window, for validation alone */
  uint32_t poison;                        /* seed of the window's bytes */
  uint32_t start;                         /* not 0: the engines start with the configuration */
  uint8_t rest[16];
};
_Static_assert(sizeof(struct head) == 64, "the head is as long as a descriptor");

/* The interface of libFuzzer. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size);

static void expect(bool good, const char *what, const struct beta_fault *found, const struct naive_fault *expected) {
  if (good) return;
  fprintf(stderr, "%s: code %u field 0x%02X at 0x%X, the oracle says %u 0x%02X 0x%X\n", what, found->code, found->field, found->at,
          expected->code, expected->field, expected->at);
  abort();
}

static bool is_same(const struct beta_fault *found, const struct naive_fault *expected) {
  return found->code == expected->code && found->field == expected->field && found->at == expected->at;
}

static void judge_config(const struct head *head) {
  const struct beta_config config = {head->bus, head->window_bytes, head->ring, head->ring_log2};
  const struct naive_config same = {head->bus, head->window_bytes, head->ring, head->ring_log2};
  const struct beta_limits limits = {head->caps, head->max_k, head->max_kp, head->ring_max % 17};
  const struct naive_limits naive = {head->caps, head->max_k, head->max_kp, head->ring_max % 17};
  const struct beta_fault found = beta_validate_config(&config, &limits, BETA_EMULATOR_BUS, head->judged_window);
  const struct naive_fault expected = naive_validate_config(&same, &naive, BETA_EMULATOR_BUS, head->judged_window);
  expect(is_same(&found, &expected), "configuration", &found, &expected);
}

static uint64_t judged, executed;

__attribute__((destructor)) static void print_totals(void) {
  fprintf(stderr, "%llu descriptors judged like the oracle, %llu executed by every kernel\n", (unsigned long long)judged,
          (unsigned long long)executed);
}

static void judge(const uint8_t *bytes, const struct head *head, uint32_t at) {
  beta_descriptor descriptor;
  memcpy(&descriptor, bytes, sizeof descriptor);
  const struct beta_limits limits = {head->caps, head->max_k, head->max_kp, 0};
  const struct naive_limits naive = {head->caps, head->max_k, head->max_kp, 0};
  const struct beta_fault found = beta_validate(&descriptor, &limits, head->judged_window, at);
  const struct naive_fault expected = naive_validate(bytes, &naive, head->judged_window, at);
  expect(is_same(&found, &expected), "descriptor", &found, &expected);
  judged++;
}

/* Neighbours of a descriptor: judging is cheap, so they need not wait to be found. */
static void judge_neighbours(const uint8_t *bytes, const struct head *head, uint32_t at) {
  struct draw draw = {.state = ((uint64_t)head->poison + 1) * UINT64_C(0x94D049BB133111EB)};
  for (uint32_t i = 0; i < NEIGHBOURS; i++) {
    uint8_t descriptor[NAIVE_DESCRIPTOR_BYTES];
    memcpy(descriptor, bytes, sizeof descriptor);
    draw_mutation(&draw, head->judged_window, descriptor);
    judge(descriptor, head, at);
  }
}

static struct bed *the_bed(void) {
  static struct bed bed;
  if (bed.count == 0) {
    bed_open(&bed, WINDOW, NULL, 1);
    const struct naive_config config = bed_plain_config(&bed);
    if (!bed_start(&bed, &config, 0)) abort();
  }
  return &bed;
}

static void fill(struct bed *bed, uint32_t seed) {
  static uint8_t bytes[WINDOW];
  struct draw draw = {.state = ((uint64_t)seed + 1) * UINT64_C(0x9E3779B97F4A7C15)};
  for (uint32_t i = 0; i < WINDOW; i += 4) {
    const uint32_t word = seed % 5 == 0 ? UINT32_MAX : draw_below(&draw, UINT32_MAX);
    memcpy(bytes + i, &word, 4);
  }
  bed_write(bed, 0, bytes, WINDOW);
}

static void must(const struct bed *bed, bool good) {
  if (good) return;
  fprintf(stderr, "%s\n", bed->wrong);
  abort();
}

/* What validation accepts, on every kernel; the first that it refuses, too. */
static void execute(const struct head *head, const uint8_t *descriptors, uint32_t count) {
  struct bed *bed = the_bed();
  struct naive_config config = bed_plain_config(bed);
  if (head->start % 8 == 1) {
    config = (struct naive_config){head->bus, head->window_bytes, head->ring, head->ring_log2};
    must(bed, bed_start(bed, &config, 0));
    if (naive_validate_config(&config, &bed->limits, BETA_EMULATOR_BUS, WINDOW).code != 0) config = bed_plain_config(bed);
    must(bed, bed_start(bed, &config, head->poison));
  }
  fill(bed, head->poison);
  static struct bed_stream stream;
  stream.count = stream.overrun = 0;
  const uint32_t entries = 1u << config.ring_log2;
  for (uint32_t i = 0; i < count && stream.count < entries; i++) {
    const uint8_t *d = descriptors + i * NAIVE_DESCRIPTOR_BYTES;
    if (naive_validate(d, &bed->limits, config.window_bytes, 0).code == 0 &&
        !is_runnable(d, config.ring, config.ring + 64 * entries, WORK)) {
      continue;
    }
    memcpy(stream.descriptor[stream.count++], d, NAIVE_DESCRIPTOR_BYTES);
  }
  struct naive_fault fault;
  const uint32_t before = bed->head;
  if (stream.count > 0) must(bed, bed_run(bed, &stream, &fault));
  executed += bed->head - before;
  if (head->start % 8 == 1) {
    config = bed_plain_config(bed);
    must(bed, bed_start(bed, &config, 0));
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  uint8_t bytes[INPUT_MAX] = {0};
  if (size > INPUT_MAX) size = INPUT_MAX;
  memcpy(bytes, data, size);
  struct head head;
  memcpy(&head, bytes, sizeof head);
  judge_config(&head);
  const uint32_t count = size <= sizeof head ? 0 : (uint32_t)((size - 1) / 64);
  for (uint32_t i = 0; i < count; i++) {
    judge(bytes + 64 * (1 + i), &head, head.ring + 64 * i);
    judge_neighbours(bytes + 64 * (1 + i), &head, head.ring + 64 * i);
  }
  execute(&head, bytes + sizeof head, count);
  return 0;
}

/* --- inputs that mean something --- */

static void draw_head(struct draw *draw, struct head *head) {
  const struct bed *bed = the_bed();
  const struct naive_config config = draw_config(draw, bed, draw_below(draw, 2) == 0);
  *head = (struct head){.bus = config.bus, .window_bytes = config.window_bytes, .ring = config.ring, .ring_log2 = config.ring_log2,
                        .caps = bed->limits.caps, .max_k = bed->limits.max_k, .max_kp = bed->limits.max_kp,
                        .ring_max = bed->limits.ring_max, .judged_window = WINDOW, .poison = draw_below(draw, 1000),
                        .start = draw_below(draw, 16)};
  if (draw_below(draw, 4) == 0) head->max_k = draw_below(draw, 2000);
  if (draw_below(draw, 4) == 0) head->max_kp = draw_below(draw, 64);
  if (draw_below(draw, 4) == 0) head->caps ^= 1u << draw_below(draw, 14);
  if (draw_below(draw, 4) == 0) head->judged_window = draw_below(draw, UINT32_MAX);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed) {
  if (max_size < INPUT_MAX) return LLVMFuzzerMutate(data, size, max_size);
  struct draw draw = {.state = ((uint64_t)seed + 1) * UINT64_C(0xBF58476D1CE4E5B9), .begin = BEGIN, .end = WINDOW, .work = WORK};
  for (uint32_t i = 0; i < 4; i++) draw_below(&draw, 2);
  const uint32_t kind = draw_below(&draw, 8);
  if (kind < 3) return LLVMFuzzerMutate(data, size, INPUT_MAX);
  if (size < 128 || size % 64 != 0 || kind == 3) { /* to whole descriptors */
    const size_t whole = size < 128 ? 128 : (size + 63) / 64 * 64;
    if (whole > size) memset(data + size, 0, whole - size);
    if (size < 64) draw_head(&draw, (struct head *)(void *)data);
    size = whole;
  }
  const uint32_t count = (uint32_t)(size / 64 - 1), index = draw_below(&draw, count);
  uint8_t *descriptor = data + 64 * (1 + index);
  if (kind == 4) {
    struct head head;
    draw_head(&draw, &head);
    memcpy(data, &head, sizeof head);
  } else if (kind == 5) {
    draw_mutation(&draw, WINDOW, descriptor);
  } else if (kind == 6 && count < STREAM_MAX) {
    draw_valid(&draw, data + size);
    size += 64;
  } else {
    draw_valid(&draw, descriptor);
  }
  return size;
}
