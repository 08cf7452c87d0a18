#include "fuzz/bed.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "device/emulator/emulator.h"
#include "kernels/kernel.h"

#define PATIENCE_US 60000000u
#define RUN 1u
#define READY 1u
#define FAULTED 4u

__attribute__((format(printf, 2, 3))) static bool differ(struct bed *bed, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(bed->wrong, sizeof bed->wrong, format, arguments);
  va_end(arguments);
  return false;
}

/* The window is the process's own memory, so that AddressSanitizer guards its ends. */
static void open_engine(struct bed *bed, const char *kernel, uint32_t threads) {
  struct bed_engine *engine = &bed->engine[bed->count++];
  snprintf(engine->options, sizeof engine->options, "?kernel=%s&threads=%u", kernel, threads);
  engine->window = aligned_alloc(BETA_WINDOW_ALIGN, bed->window_bytes);
  if (engine->window != NULL) memset(engine->window, 0, bed->window_bytes);
  if (engine->window == NULL || beta_emulator_open_over(engine->options, engine->window, bed->window_bytes,
                                                        BETA_EMULATOR_BUS, &engine->device) != 0) {
    fprintf(stderr, "emu:%s: %s\n", engine->options, engine->window == NULL ? "no memory" : beta_error());
    exit(2);
  }
}

void bed_open(struct bed *bed, uint32_t window_bytes, const char *kernel, uint32_t threads) {
  *bed = (struct bed){.window_bytes = window_bytes, .expected = calloc(1, window_bytes), .before = calloc(1, window_bytes)};
  if (bed->expected == NULL || bed->before == NULL) exit(2);
  for (const struct beta_kernel *const *one = beta_kernels(); *one != NULL; one++) {
    if (!(*one)->supported() || (kernel != NULL && strcmp((*one)->name, kernel) != 0)) continue;
    for (uint32_t i = 1; i <= threads && bed->count < BED_ENGINES_MAX; i++) open_engine(bed, (*one)->name, i);
  }
  if (bed->count == 0) {
    fprintf(stderr, "kernel %s: this CPU or this build has none of that name\n", kernel);
    exit(2);
  }
  beta_device *first = bed->engine[0].device;
  bed->limits = (struct naive_limits){beta_reg_read(first, 0x008), beta_reg_read(first, 0x010), beta_reg_read(first, 0x014),
                                      beta_reg_read(first, 0x018)};
}

void bed_close(struct bed *bed) {
  for (uint32_t i = 0; i < bed->count; i++) {
    beta_close(bed->engine[i].device);
    free(bed->engine[i].window);
  }
  free(bed->expected);
  free(bed->before);
}

struct naive_config bed_plain_config(const struct bed *bed) {
  return (struct naive_config){.bus = BETA_EMULATOR_BUS, .window_bytes = bed->window_bytes, .ring = 0, .ring_log2 = 4};
}

static bool await_status(beta_device *device, uint32_t mask, uint32_t value) {
  for (uint64_t looks = 0; looks < UINT64_C(4000000000); looks++) {
    const uint32_t status = beta_reg_read(device, 0x080);
    if (value == 0 ? status == 0 : (status & mask) != 0) return true;
  }
  return false;
}

static bool start_engine(struct bed *bed, const struct bed_engine *engine, struct naive_fault fault) {
  beta_device *device = engine->device;
  beta_reg_write(device, 0x020, 0);
  if (!await_status(device, 0, 0)) return differ(bed, "%s: does not stop", engine->options);
  for (uint32_t off = 0x084; off <= 0x09C; off += 4) {
    if (beta_reg_read(device, off) != 0) return differ(bed, "%s: register 0x%03X is not 0 after RUN = 0", engine->options, off);
  }
  beta_emulator_preset_head(device, bed->head);
  beta_reg_write(device, 0x024, 0);
  beta_reg_write(device, 0x02C, bed->head);
  beta_reg_write(device, 0x030, (uint32_t)bed->config.bus);
  beta_reg_write(device, 0x034, (uint32_t)(bed->config.bus >> 32));
  beta_reg_write(device, 0x038, bed->config.window_bytes);
  beta_reg_write(device, 0x03C, bed->config.ring);
  beta_reg_write(device, 0x040, bed->config.ring_log2);
  beta_reg_write(device, 0x020, RUN);
  if (!await_status(device, READY | FAULTED, 1)) return differ(bed, "%s: does not start", engine->options);
  const uint32_t word = fault.code | fault.field << 8;
  if (beta_reg_read(device, 0x088) == word && beta_reg_read(device, 0x08C) == fault.at) return true;
  return differ(bed, "%s: configuration: FAULT 0x%X at 0x%X, expected 0x%X at 0x%X", engine->options,
                beta_reg_read(device, 0x088), beta_reg_read(device, 0x08C), word, fault.at);
}

bool bed_start(struct bed *bed, const struct naive_config *config, uint32_t head) {
  bed->config = *config;
  bed->head = head;
  const struct naive_fault fault = naive_validate_config(config, &bed->limits, BETA_EMULATOR_BUS, bed->window_bytes);
  for (uint32_t i = 0; i < bed->count; i++) {
    if (!start_engine(bed, &bed->engine[i], fault)) return false;
  }
  return true;
}

void bed_write(struct bed *bed, uint32_t off, const void *bytes, uint32_t count) {
  memcpy(bed->expected + off, bytes, count);
  for (uint32_t i = 0; i < bed->count; i++) {
    memcpy(bed->engine[i].window + off, bytes, count);
    beta_sync_for_device(bed->engine[i].device, off, count);
  }
}

static uint32_t slot_of(const struct bed *bed, uint32_t sequence) {
  return bed->config.ring + (sequence & ((1u << bed->config.ring_log2) - 1)) * NAIVE_DESCRIPTOR_BYTES;
}

/* What the stream does, on the expected window; *head is where it ends. */
static struct naive_fault run_oracle(struct bed *bed, const struct bed_stream *stream, uint32_t *head) {
  *head = bed->head;
  for (uint32_t i = 0; i < stream->count; i++, (*head)++) {
    /* TAIL is looked at before every descriptor: an overrun shows before the first. */
    if (stream->count + stream->overrun - i > 1u << bed->config.ring_log2) return (struct naive_fault){2, 0, bed->config.ring};
    const struct naive_fault fault =
        naive_validate(stream->descriptor[i], &bed->limits, bed->config.window_bytes, slot_of(bed, *head));
    if (fault.code != 0) return fault;
    naive_apply(bed->expected, stream->descriptor[i]);
  }
  return (struct naive_fault){0, 0, 0};
}

static bool run_engine(struct bed *bed, const struct bed_engine *engine, uint32_t tail, uint32_t head,
                       struct naive_fault fault) {
  beta_device *device = engine->device;
  beta_kick(device, tail);
  const int outcome = beta_wait(device, tail, PATIENCE_US);
  if (outcome != (fault.code == 0 ? BETA_WAIT_DONE : BETA_WAIT_FAULT)) {
    return differ(bed, "%s: a wait ends with %d", engine->options, outcome);
  }
  const uint32_t found[] = {beta_reg_read(device, 0x084), beta_reg_read(device, 0x088), beta_reg_read(device, 0x08C),
                            beta_reg_read(device, 0x080)};
  const uint32_t expected[] = {head, fault.code | fault.field << 8, fault.at, fault.code == 0 ? READY : FAULTED};
  static const char *const names[] = {"HEAD", "FAULT", "FAULT_AT", "STATUS"};
  for (size_t i = 0; i < 4; i++) {
    if (found[i] != expected[i]) {
      return differ(bed, "%s: %s is 0x%X, expected 0x%X", engine->options, names[i], found[i], expected[i]);
    }
  }
  if (memcmp(engine->window, bed->expected, bed->window_bytes) == 0) return true;
  uint32_t at = 0;
  while (engine->window[at] == bed->expected[at]) at++;
  return differ(bed, "%s: byte 0x%X is 0x%02X, expected 0x%02X", engine->options, at, engine->window[at], bed->expected[at]);
}

bool bed_run(struct bed *bed, const struct bed_stream *stream, struct naive_fault *fault) {
  for (uint32_t i = 0; i < stream->count; i++) {
    bed_write(bed, slot_of(bed, bed->head + i), stream->descriptor[i], NAIVE_DESCRIPTOR_BYTES);
  }
  memcpy(bed->before, bed->expected, bed->window_bytes);
  uint32_t head;
  *fault = run_oracle(bed, stream, &head);
  const uint32_t tail = bed->head + stream->count + stream->overrun;
  bool good = true;
  for (uint32_t i = 0; i < bed->count && good; i++) good = run_engine(bed, &bed->engine[i], tail, head, *fault);
  bed->head = head;
  if (good && fault->code != 0) {
    const struct naive_config config = bed->config;
    good = bed_start(bed, &config, head);
  }
  return good;
}

uint64_t bed_hash(const struct bed *bed, uint64_t hash) {
  for (uint32_t at = 0; at < bed->window_bytes; at += 8) {
    uint64_t word;
    memcpy(&word, bed->expected + at, 8);
    hash = (hash ^ word) * UINT64_C(0x9E3779B97F4A7C15);
    hash ^= hash >> 32;
  }
  return hash;
}
