#include "fuzz/shrink.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/draw.h"

struct failure {
  const struct bed *bed;
  uint32_t head;
  uint64_t work;
  uint8_t *window; /* before the stream */
  char wrong[512];
};

/* Whether every descriptor of a stream is refused, or has a result that the contract defines. */
static bool is_defined(const struct failure *failure, const struct bed_stream *stream) {
  const struct naive_config *config = &failure->bed->config;
  for (uint32_t i = 0; i < stream->count; i++) {
    if (naive_validate(stream->descriptor[i], &failure->bed->limits, config->window_bytes, 0).code != 0) continue;
    if (!is_runnable(stream->descriptor[i], config->ring, config->ring + (64u << config->ring_log2), failure->work)) return false;
  }
  return true;
}

/* Whether a stream fails on new engines. */
static bool fails(struct failure *failure, const struct bed_stream *stream) {
  if (stream->count == 0 || !is_defined(failure, stream)) return false;
  static struct bed bed;
  bed_open(&bed, failure->bed->window_bytes, NULL, 2);
  bool good = bed_start(&bed, &failure->bed->config, failure->head);
  struct naive_fault fault;
  if (good) {
    bed_write(&bed, 0, failure->window, bed.window_bytes);
    good = bed_run(&bed, stream, &fault);
  }
  if (!good) memcpy(failure->wrong, bed.wrong, sizeof failure->wrong);
  bed_close(&bed);
  return !good;
}

static bool keep_if_fails(struct failure *failure, struct bed_stream *stream, const struct bed_stream *smaller) {
  if (!fails(failure, smaller)) return false;
  *stream = *smaller;
  return true;
}

static bool drop_descriptors(struct failure *failure, struct bed_stream *stream) {
  bool smaller = false;
  for (uint32_t i = stream->count; i-- > 0;) {
    struct bed_stream one = *stream;
    memmove(one.descriptor[i], one.descriptor[i + 1], (size_t)(one.count - i - 1) * NAIVE_DESCRIPTOR_BYTES);
    one.count--;
    smaller = keep_if_fails(failure, stream, &one) || smaller;
  }
  return smaller;
}

static bool lower_fields(struct failure *failure, struct bed_stream *stream) {
  static const uint8_t fields[] = {0x08, 0x0C, 0x10, 0x05, 0x06, 0x01, 0x3C};
  bool smaller = false;
  for (uint32_t i = 0; i < stream->count; i++) {
    for (size_t f = 0; f < sizeof fields; f++) {
      const uint32_t now = get_field(stream->descriptor[i], fields[f]);
      const uint32_t tries[] = {0, 1, now / 2, now - 1};
      for (size_t t = 0; t < 4 && now > 0; t++) {
        struct bed_stream one = *stream;
        if (tries[t] >= now) continue;
        put_field(one.descriptor[i], fields[f], tries[t]);
        if (!keep_if_fails(failure, stream, &one)) continue;
        smaller = true;
        break;
      }
    }
  }
  return smaller;
}

static void fill_operands(struct failure *failure, struct bed_stream *stream) {
  static const uint8_t patterns[] = {0x00, 0xFF, 0x01, 0x80};
  uint8_t *random = malloc(failure->bed->window_bytes);
  if (random == NULL) return;
  memcpy(random, failure->window, failure->bed->window_bytes);
  for (size_t i = 0; i < sizeof patterns; i++) {
    memset(failure->window, patterns[i], failure->bed->window_bytes);
    if (fails(failure, stream)) {
      printf("# with a window of bytes 0x%02X\n", patterns[i]);
      free(random);
      return;
    }
  }
  memcpy(failure->window, random, failure->bed->window_bytes);
  free(random);
}

static void print_descriptor(const uint8_t *d) {
  printf("#   op %u flags %u a 0x%02X b 0x%02X o 0x%02X k0 %u n0 %u M %u N %u K %u A 0x%X/%u B 0x%X/%u O 0x%X/%u E 0x%X\n", d[0],
         d[1], d[2], d[3], d[4], d[5], d[6], get_field(d, 0x08), get_field(d, 0x0C), get_field(d, 0x10), get_field(d, 0x14),
         get_field(d, 0x18), get_field(d, 0x1C), get_field(d, 0x20), get_field(d, 0x24), get_field(d, 0x28), get_field(d, 0x2C));
  printf("#   ");
  for (uint32_t i = 0; i < NAIVE_DESCRIPTOR_BYTES; i++) printf("%02x", d[i]);
  printf("\n");
}

void shrink_and_print(const struct bed *bed, const struct bed_stream *stream, uint32_t head, uint64_t work) {
  struct failure failure = {.bed = bed, .head = head, .work = work, .window = malloc(bed->window_bytes)};
  if (failure.window == NULL) return;
  memcpy(failure.window, bed->before, bed->window_bytes);
  static struct bed_stream least;
  least = *stream;
  if (fails(&failure, &least)) {
    uint32_t rounds = 0;
    while (rounds++ < 20 && (drop_descriptors(&failure, &least) || lower_fields(&failure, &least))) continue;
    fill_operands(&failure, &least);
    printf("# shrunk: %s\n", failure.wrong);
  } else {
    printf("# new engines do not fail: it takes what came before the stream\n");
  }
  printf("# ring at 0x%X, 2^%u entries, HEAD %u, window 0x%X bytes\n", bed->config.ring, bed->config.ring_log2, head,
         bed->config.window_bytes);
  for (uint32_t i = 0; i < least.count; i++) print_descriptor(least.descriptor[i]);
  free(failure.window);
}
