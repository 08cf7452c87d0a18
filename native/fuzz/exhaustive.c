/*
 * Small sizes, all of them, for every pair of operand formats on every kernel against the naive oracle:
 *
 *   exhaustive [--part I/N] [--kernel NAME]
 *
 * values: every vector that fits 8 bits with every other one, in every output, so that every product of two codes occurs.
 * shapes: every M, N and K around the borders of bytes, words, vectors, tiles and blocks; k0, n0, outputs, tables and strides walk along in
 * lists of coprime lengths. --part runs every Nth case, from the Ith (0 <= I < N) on.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "fuzz/draw.h"
#include "fuzz/shrink.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define WINDOW 0x200000u
#define RING_LOG2 6u
#define A_OFF 0x2000u
#define B_OFF 0x22000u
#define E_OFF 0x42000u
#define O_OFF 0x44000u
#define ENTRIES 256u
#define WORK UINT64_C(1000000)

static const uint8_t operands[] = {0x00, 0x01, 0x02, 0x03, 0x10, 0x11, 0x12, 0x13, 0x20};
static const uint8_t outputs[] = {0x00, 0x01, 0x02, 0x03, 0x10, 0x11, 0x12, 0x13, 0x20, 0x14, 0x15};

struct run {
  struct bed bed;
  struct bed_stream stream;
  uint32_t next_output;
  uint64_t cases, part, parts, random;
};

static uint32_t bits_of(uint8_t format) { return 1u << (format & 7); }
static uint32_t plane_row(uint32_t first, uint32_t count, uint8_t format) {
  return (first + count + 127) / 128 * 16 * bits_of(format);
}

static void flush(struct run *run) {
  if (run->stream.count == 0) return;
  const uint32_t head = run->bed.head;
  struct naive_fault fault;
  const bool good = bed_run(&run->bed, &run->stream, &fault);
  if (!good || fault.code != 0) {
    printf("not ok - %s (fault %u)\n", run->bed.wrong, fault.code);
    shrink_and_print(&run->bed, &run->stream, head, WORK);
    exit(1);
  }
  run->cases += run->stream.count;
  run->stream.count = 0;
  run->next_output = O_OFF;
}

/* pad: bytes that strides are longer than their rows. */
struct product {
  uint8_t a, b, o, k0, n0, by_row;
  uint32_t m, n, k, pad;
};

static void add(struct run *run, const struct product *one) {
  const uint32_t n0 = bits_of(one->o) >= 16 ? 0 : one->n0;
  const uint32_t row = bits_of(one->o) >= 16 ? (one->n * bits_of(one->o) / 8 + 15) / 16 * 16 : plane_row(n0, one->n, one->o);
  const uint32_t stride = row + one->pad;
  if (run->stream.count == 1u << RING_LOG2 || run->next_output + one->m * stride > WINDOW) flush(run);
  uint8_t *d = run->stream.descriptor[run->stream.count++];
  memset(d, 0, NAIVE_DESCRIPTOR_BYTES);
  const uint8_t head[] = {1, one->by_row, one->a, one->b, one->o, one->k0, (uint8_t)n0};
  memcpy(d, head, sizeof head);
  const uint32_t words[] = {one->m, one->n, one->k, A_OFF, plane_row(one->k0, one->k, one->a) + one->pad,
                            B_OFF, plane_row(one->k0, one->k, one->b) + one->pad, run->next_output, stride,
                            bits_of(one->o) == 32 ? 0 : E_OFF};
  for (uint32_t i = 0; i < COUNT(words); i++) put_field(d, 0x08 + 4 * i, words[i]);
  run->next_output += one->m * stride;
}

static uint32_t next(struct run *run) {
  run->random ^= run->random << 13;
  run->random ^= run->random >> 7;
  run->random ^= run->random << 17;
  return (uint32_t)(run->random >> 32);
}

/* Random operands, and a table whose results spread over the outputs. */
static void fill(struct run *run) {
  static uint8_t bytes[E_OFF - A_OFF];
  for (uint32_t i = 0; i < sizeof bytes; i += 4) {
    const uint32_t word = next(run);
    memcpy(bytes + i, &word, 4);
  }
  bed_write(&run->bed, A_OFF, bytes, sizeof bytes);
  static int32_t table[ENTRIES][2];
  for (uint32_t i = 0; i < ENTRIES; i++) {
    table[i][0] = (int32_t)(next(run) % 401) - 200;
    table[i][1] = ((int32_t)next(run) >> 7) / (1 << next(run) % 12);
  }
  bed_write(&run->bed, E_OFF, table, sizeof table);
}

/* Row r of an operand holds the bits of r: `k` elements of `bits` each, from k0 on. */
static void write_vectors(struct run *run, uint32_t off, uint8_t format, uint32_t k0, uint32_t k) {
  static uint8_t bytes[0x20000];
  const uint32_t bits = bits_of(format), rows = 1u << (bits * k), stride = plane_row(k0, k, format);
  memset(bytes, 0xA5, sizeof bytes);
  for (uint32_t r = 0; r < rows; r++) {
    for (uint32_t at = 0; at < k * bits; at++) {
      const uint32_t element = k0 + at / bits;
      uint8_t *byte = bytes + r * stride + element / 128 * 16 * bits + 16 * (at % bits) + element % 128 / 8;
      *byte = (uint8_t)((*byte & ~(1u << element % 8)) | (r >> at & 1) << element % 8);
    }
  }
  bed_write(&run->bed, off, bytes, rows * stride);
}

static void test_values(struct run *run) {
  static const uint32_t firsts[] = {0, 60, 124}; /* the second and third lie across a word and a block */
  uint64_t index = 0;
  for (size_t a = 0; a < COUNT(operands); a++) {
    for (size_t b = 0; b < COUNT(operands); b++, index++) {
      if (index % run->parts != run->part) continue;
      const uint32_t most = bits_of(operands[a]) > bits_of(operands[b]) ? bits_of(operands[a]) : bits_of(operands[b]);
      const uint32_t k = 8 / most, k0 = firsts[index % COUNT(firsts)];
      fill(run);
      write_vectors(run, A_OFF, operands[a], k0, k);
      write_vectors(run, B_OFF, operands[b], k0, k);
      for (size_t o = 0; o < COUNT(outputs); o++) {
        add(run, &(struct product){.a = operands[a], .b = operands[b], .o = outputs[o], .k0 = (uint8_t)k0,
                                     .by_row = (index + o) % 2 == 0, .m = 1u << (bits_of(operands[a]) * k),
                                     .n = 1u << (bits_of(operands[b]) * k), .k = k});
      }
      flush(run);
    }
  }
}

static const uint32_t sizes_m[] = {1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33};
static const uint32_t sizes_n[] = {1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65};
static const uint32_t sizes_k[] = {1, 2, 3, 5, 7, 8, 9, 14, 16, 17, 31, 33, 63, 64, 65, 127, 128, 129, 193, 257};
static const uint8_t firsts[] = {0, 1, 7, 0, 64, 63, 0, 100, 127, 0, 65};
static const uint8_t columns[] = {0, 8, 120, 0, 64, 56, 0, 96, 0, 104, 0, 16, 0};
static const uint8_t pads[] = {0, 16, 0, 0, 48, 0, 0};

static void test_shapes(struct run *run) {
  uint64_t index = 0;
  for (size_t a = 0; a < COUNT(operands); a++) {
    for (size_t b = 0; b < COUNT(operands); b++) {
      fill(run);
      for (size_t k = 0; k < COUNT(sizes_k); k++) {
        for (size_t m = 0; m < COUNT(sizes_m); m++) {
          for (size_t n = 0; n < COUNT(sizes_n); n++, index++) {
            /* Not every Nth of a list whose length N divides: neighbours stay together. */
            if (index / 7 % run->parts != run->part) continue;
            add(run, &(struct product){
                         .a = operands[a], .b = operands[b], .o = outputs[index % COUNT(outputs)],
                         .k0 = firsts[(index + index / COUNT(firsts)) % COUNT(firsts)], .n0 = columns[index % COUNT(columns)],
                         .by_row = index / 3 % 2 == 0, .m = sizes_m[m], .n = sizes_n[n], .k = sizes_k[k],
                         .pad = pads[index % COUNT(pads)]});
          }
        }
      }
      flush(run);
    }
  }
}

int main(int argc, char **argv) {
  static struct run run = {.parts = 1, .next_output = O_OFF, .random = 88172645463325252u};
  const char *kernel = NULL;
  bool good = argc % 2 == 1;
  for (int i = 1; i + 1 < argc; i += 2) {
    unsigned long long part, parts;
    if (strcmp(argv[i], "--kernel") == 0) kernel = argv[i + 1];
    else if (strcmp(argv[i], "--part") != 0 || sscanf(argv[i + 1], "%llu/%llu", &part, &parts) != 2 || part >= parts) good = false;
    else run.part = part, run.parts = parts;
  }
  if (!good) {
    fprintf(stderr, "usage: %s [--part I/N] [--kernel NAME]\n", argv[0]);
    return 2;
  }
  bed_open(&run.bed, WINDOW, kernel, 2);
  struct naive_config config = bed_plain_config(&run.bed);
  config.ring_log2 = RING_LOG2;
  if (!bed_start(&run.bed, &config, 0)) {
    printf("not ok - %s\n", run.bed.wrong);
    return 1;
  }
  test_values(&run);
  const uint64_t values = run.cases;
  test_shapes(&run);
  printf("ok - part %llu/%llu: %llu products of all values, %llu shapes; %u engines:", (unsigned long long)run.part,
         (unsigned long long)run.parts, (unsigned long long)values, (unsigned long long)(run.cases - values), run.bed.count);
  for (uint32_t i = 0; i < run.bed.count; i++) printf(" %s", run.bed.engine[i].options);
  printf("; no mismatch\n");
  bed_close(&run.bed);
  return 0;
}
