/*
 * Random streams of descriptors, valid ones, mutated ones and noise, on every kernel against the naive oracle:
 *
 *   descriptors [--seed N] [--streams N | --seconds N] [--kernel NAME]
 *
 * The same seed and number of streams give the same cases and the same hash of all windows on every machine. A failure is shrunk and printed, with
 * the seed and the stream at which it happened; it exits with 1.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fuzz/draw.h"
#include "fuzz/shrink.h"

#define WINDOW 0x40000u
#define BEGIN 0x2000u /* behind every ring that is drawn */
#define WORK 400000u  /* multiplications of one product */
#define CODES 10u

struct totals {
  uint64_t streams, valid, configurations, refused_configurations;
  uint64_t faults[CODES];
};

struct options {
  uint64_t seed, streams;
  double seconds;
  const char *kernel;
};

static double now_s(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Pseudo-random bytes over a stretch of the window; now and then one value, or one that makes planes extreme. */
static void poison(struct bed *bed, struct draw *draw, uint32_t off, uint32_t bytes) {
  static uint8_t buffer[WINDOW];
  const uint32_t kind = draw_below(draw, 6);
  for (uint32_t i = 0; i < bytes; i += 4) {
    uint32_t word = draw_below(draw, UINT32_MAX);
    if (kind == 0) word = UINT32_MAX;
    if (kind == 1) word = (off + i) / 16 % 8 == 7 ? UINT32_MAX : 0; /* the top plane of 8 */
    if (kind == 2) word &= draw_below(draw, UINT32_MAX) & draw_below(draw, UINT32_MAX);
    memcpy(buffer + i, &word, 4);
  }
  bed_write(bed, off, buffer, bytes);
}

static void change_window(struct bed *bed, struct draw *draw) {
  if (draw_below(draw, 16) == 0) {
    poison(bed, draw, BEGIN, WINDOW - BEGIN);
    return;
  }
  for (uint32_t times = draw_below(draw, 4); times > 0; times--) {
    const uint32_t bytes = 16 + 16 * draw_below(draw, 512);
    poison(bed, draw, BEGIN + 16 * draw_below(draw, (WINDOW - BEGIN - bytes) / 16), bytes);
  }
  /* Small numbers in entries of a table: most random ones saturate. */
  for (uint32_t i = draw_below(draw, 200); i > 0; i--) {
    const int32_t entry[2] = {(int32_t)draw_below(draw, 4001) - 2000, (int32_t)draw_below(draw, 1u << (8 + i % 20)) - (1 << (7 + i % 20))};
    bed_write(bed, BEGIN + 16 * draw_below(draw, (WINDOW - BEGIN) / 16), entry, sizeof entry);
  }
}

/* Noise is stopped by its op, unless a prefix of the checks is repaired. */
static void draw_noise(struct draw *draw, uint8_t *d) {
  for (uint32_t i = 0; i < NAIVE_DESCRIPTOR_BYTES; i += 4) put_field(d, 8 + i < NAIVE_DESCRIPTOR_BYTES ? 8 + i : 60, draw_below(draw, UINT32_MAX));
  for (uint32_t i = 0; i < 8; i++) d[i] = (uint8_t)draw_below(draw, 256);
  const uint32_t repair = draw_below(draw, 5);
  if (repair >= 1) {
    d[0] = (uint8_t)(d[0] & 1);
    d[1] = (uint8_t)(d[1] & 3);
  }
  if (repair >= 2) {
    d[7] = 0;
    memset(d + 0x30, 0, 12);
  }
  if (repair >= 3) {
    for (uint32_t i = 2; i < 5; i++) d[i] = (uint8_t)(d[i] & 0x13);
    d[5] = (uint8_t)(d[5] & 127);
    d[6] = (uint8_t)(d[6] & 0x78);
  }
  if (repair >= 4) {
    for (uint32_t i = 0x08; i < 0x30; i += 4) put_field(d, i, get_field(d, i) % 0x4000 / 16 * 16);
    put_field(d, 0x2C, 0x8000);
  }
}

static void draw_stream(struct draw *draw, const struct bed *bed, struct bed_stream *stream) {
  const struct naive_config *config = &bed->config;
  const uint32_t ring_end = config->ring + (64u << config->ring_log2), most = 1u << config->ring_log2;
  draw->end = config->window_bytes;
  stream->overrun = 0;
  stream->count = 1 + draw_below(draw, most < 12 ? most : 12);
  const uint32_t wrong = draw_below(draw, 3) == 0 ? draw_below(draw, stream->count) : UINT32_MAX;
  for (uint32_t i = 0; i < stream->count; i++) {
    uint8_t *d = stream->descriptor[i];
    do {
      draw_valid(draw, d);
      if (i == wrong && draw_below(draw, 8) == 0) draw_noise(draw, d);
      else if (i == wrong) draw_mutation(draw, config->window_bytes, d);
    } while (naive_validate(d, &bed->limits, config->window_bytes, 0).code == 0 &&
             !is_runnable(d, config->ring, ring_end, WORK));
    if (draw_below(draw, 12) == 0) { /* a NOP with anything in the fields that it has not */
      draw_noise(draw, d);
      memset(d + 0x30, 0, 12);
      d[0] = d[7] = 0;
      d[1] = (uint8_t)draw_below(draw, 4);
    }
  }
  if (draw_below(draw, 40) == 0) stream->overrun = most - stream->count + 1 + draw_below(draw, 3) * draw_below(draw, 1u << 30);
}

/* Now and then a new configuration, and a HEAD shortly before the counters wrap. */
static bool restart(struct bed *bed, struct draw *draw, struct totals *totals) {
  const uint32_t kind = draw_below(draw, 24);
  if (kind > 1 && totals->streams > 0) return true;
  if (kind == 1) {
    const struct naive_config wrong = draw_config(draw, bed, false);
    totals->configurations++;
    if (naive_validate_config(&wrong, &bed->limits, bed_plain_config(bed).bus, bed->window_bytes).code != 0) totals->refused_configurations++;
    if (!bed_start(bed, &wrong, 0)) return false;
  }
  const struct naive_config config = draw_config(draw, bed, true);
  totals->configurations++;
  return bed_start(bed, &config, draw_below(draw, 2) == 0 ? 0u - draw_below(draw, 40) : draw_below(draw, UINT32_MAX));
}

static int run(struct bed *bed, const struct options *options) {
  static struct bed_stream stream;
  struct totals totals = {0};
  uint64_t hash = 0;
  const double end = now_s() + options->seconds;
  for (; options->seconds > 0 ? now_s() < end : totals.streams < options->streams; totals.streams++) {
    /* Every stream from a seed of its own, so that what a stream draws does not depend on how the ones before it went. */
    struct draw draw = {.state = (options->seed + 1) * UINT64_C(0x9E3779B97F4A7C15) ^ (totals.streams + 1) * UINT64_C(0xBF58476D1CE4E5B9),
                        .begin = BEGIN, .end = WINDOW, .work = WORK};
    for (uint32_t i = 0; i < 8; i++) draw_below(&draw, 2);
    bool good = restart(bed, &draw, &totals);
    const uint32_t head = bed->head;
    if (good) {
      change_window(bed, &draw);
      draw_stream(&draw, bed, &stream);
      struct naive_fault fault;
      good = bed_run(bed, &stream, &fault);
      totals.valid += bed->head - head;
      totals.faults[fault.code]++;
      hash = totals.streams % 16 == 0 || !good ? bed_hash(bed, hash) : hash * 3 + fault.code;
    } else {
      stream.count = 0;
    }
    if (good) continue;
    printf("not ok - seed %llu, stream %llu: %s\n", (unsigned long long)options->seed, (unsigned long long)totals.streams, bed->wrong);
    if (stream.count > 0) shrink_and_print(bed, &stream, head, WORK);
    printf("# again: descriptors --seed %llu --streams %llu\n", (unsigned long long)options->seed, (unsigned long long)totals.streams + 1);
    return 1;
  }
  printf("ok - seed %llu: %llu streams, %llu descriptors complete, ", (unsigned long long)options->seed,
         (unsigned long long)totals.streams, (unsigned long long)totals.valid);
  static const char *const names[CODES] = {"", "CONFIG", "RING", "OP", "RESERVED", "FORMAT", "SHAPE", "LIMIT", "ALIGN", "BOUNDS"};
  for (uint32_t code = 2; code < CODES; code++) printf("%llu %s, ", (unsigned long long)totals.faults[code], names[code]);
  printf("%llu configurations (%llu refused); %u engines:", (unsigned long long)totals.configurations,
         (unsigned long long)totals.refused_configurations, bed->count);
  for (uint32_t i = 0; i < bed->count; i++) printf(" %s", bed->engine[i].options);
  printf("; no mismatch; hash %016llx\n", (unsigned long long)hash);
  return 0;
}

static bool parse(int argc, char **argv, struct options *options) {
  for (int i = 1; i + 1 < argc; i += 2) {
    if (strcmp(argv[i], "--seed") == 0) options->seed = strtoull(argv[i + 1], NULL, 0);
    else if (strcmp(argv[i], "--streams") == 0) options->streams = strtoull(argv[i + 1], NULL, 0);
    else if (strcmp(argv[i], "--seconds") == 0) options->seconds = strtod(argv[i + 1], NULL);
    else if (strcmp(argv[i], "--kernel") == 0) options->kernel = argv[i + 1];
    else return false;
  }
  return argc % 2 == 1;
}

int main(int argc, char **argv) {
  struct options options = {.seed = 1, .streams = 2000};
  if (!parse(argc, argv, &options)) {
    fprintf(stderr, "usage: %s [--seed N] [--streams N | --seconds N] [--kernel NAME]\n", argv[0]);
    return 2;
  }
  static struct bed bed;
  bed_open(&bed, WINDOW, options.kernel, 2);
  const int status = run(&bed, &options);
  bed_close(&bed);
  return status;
}
