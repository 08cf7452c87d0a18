/*
 * QMM results of every kernel, with one thread and with two, against the naive oracle of fuzz/: all pairs of formats, ragged shapes, k0, n0,
 * strides and both tables. The whole window is compared, so a byte written beside the output fails too.
 */
#include "fuzz/bed.h"
#include "test/support.h"

#define A_OFF 0x10000u
#define B_OFF 0x60000u
#define E_OFF 0xB0000u
#define O_OFF 0xC0000u
#define WINDOW 0x200000u

static uint32_t bits_of(uint8_t format) { return 1u << (format & 7); }

struct bench {
  struct bed bed; /* every kernel, and the oracle */
  uint64_t random;
};

/* Runs d on every kernel and on paper, and compares the windows. */
static bool agrees(struct bench *bench, const beta_descriptor *d) {
  struct bed_stream stream = {.count = 1};
  memcpy(stream.descriptor[0], d, sizeof *d);
  struct naive_fault fault;
  if (bed_run(&bench->bed, &stream, &fault) && fault.code == 0) return true;
  return check(false, "formats %02X %02X %02X m %u n %u k %u k0 %u n0 %u flags %u: fault %u, %s", d->a_fmt, d->b_fmt, d->o_fmt,
               d->m, d->n, d->k, d->k0, d->n0, d->flags, fault.code, bench->bed.wrong);
}

static uint32_t row_bytes(uint32_t first, uint32_t count, uint8_t format) {
  return (first + count + 127) / 128 * 16 * bits_of(format);
}

/* Strides for the descriptor's shape, with `gap` beats between rows. */
static void set_strides(beta_descriptor *d, uint32_t gap) {
  d->a_stride = row_bytes(d->k0, d->k, d->a_fmt) + 16 * gap;
  d->b_stride = row_bytes(d->k0, d->k, d->b_fmt) + 16 * gap;
  const uint32_t bits = bits_of(d->o_fmt);
  d->o_stride = bits >= 16 ? (d->n * bits / 8 + 15) / 16 * 16 : row_bytes(d->n0, d->n, d->o_fmt);
  d->o_stride += 16 * gap;
  if (bits != 32) d->e_off = E_OFF;
}

static const uint8_t operand_formats[] = {0x00, 0x01, 0x02, 0x03, 0x10, 0x11, 0x12, 0x13, 0x20};
static const uint8_t output_formats[] = {0x00, 0x01, 0x02, 0x03, 0x10, 0x11, 0x12, 0x13, 0x20, 0x14, 0x15};
#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void fill_random(struct bench *bench) {
  static uint8_t bytes[WINDOW - A_OFF];
  for (uint32_t i = 0; i < sizeof bytes; i += 8) {
    const uint64_t word = next_random(&bench->random);
    memcpy(bytes + i, &word, 8);
  }
  bed_write(&bench->bed, A_OFF, bytes, sizeof bytes);
}

/* A table whose results spread over the output's range, with some entries at the extremes. */
static void fill_table(struct bench *bench, const beta_descriptor *d) {
  static const int32_t extremes[] = {INT32_MIN, INT32_MAX, 0, -1, 1 << 24, -(1 << 24), 1 << 23};
  const uint32_t entries = d->m > d->n ? d->m : d->n;
  for (uint32_t i = 0; i < entries; i++) {
    const uint64_t random = next_random(&bench->random);
    int32_t entry[2] = {(int32_t)(random % 2001) - 1000, (int32_t)(random >> 32) >> (random >> 24) % 16};
    if (random >> 60 == 0) entry[0] = extremes[(random >> 16) % COUNT(extremes)];
    if (random >> 60 <= 1) entry[1] = extremes[(random >> 20) % COUNT(extremes)];
    bed_write(&bench->bed, E_OFF + 8 * i, entry, sizeof entry);
  }
}

static void test_formats(struct bench *bench) {
  for (size_t a = 0; a < COUNT(operand_formats); a++) {
    bool good = true;
    for (size_t b = 0; b < COUNT(operand_formats) && good; b++) {
      for (size_t o = 0; o < COUNT(output_formats) && good; o++) {
        const uint64_t random = next_random(&bench->random);
        beta_descriptor d = {
            .op = BETA_OP_QMM,
            .flags = random & 3,
            .a_fmt = operand_formats[a],
            .b_fmt = operand_formats[b],
            .o_fmt = output_formats[o],
            .m = 1 + (random >> 8) % 11,
            .n = 1 + (random >> 16) % 150,
            .k = 1 + (random >> 24) % 300,
            .a_off = A_OFF,
            .b_off = B_OFF,
            .o_off = O_OFF,
        };
        if ((random >> 40 & 1) != 0) d.k0 = (random >> 41) % 128;
        if (bits_of(d.o_fmt) < 16) d.n0 = (random >> 48) % 16 * 8;
        set_strides(&d, (random >> 52) % 3);
        fill_table(bench, &d);
        good = agrees(bench, &d);
      }
    }
    check(good, "A format 0x%02X with every B and output format", operand_formats[a]);
  }
}

/* K and k0 around every edge of words and blocks. */
static void test_edges(struct bench *bench) {
  static const uint32_t ks[] = {1, 2, 63, 64, 65, 127, 128, 129, 191, 192, 193, 255, 256, 257, 4000};
  bool good = true;
  for (size_t i = 0; i < COUNT(ks) && good; i++) {
    for (uint32_t k0 = 0; k0 < 128 && good; k0 += ks[i] == 4000 ? 61 : 1) {
      beta_descriptor d = {.op = BETA_OP_QMM, .a_fmt = 0x11, .b_fmt = 0x20, .o_fmt = 0x15, .k0 = (uint8_t)k0, .m = 2,
                           .n = 2, .k = ks[i], .a_off = A_OFF, .b_off = B_OFF, .o_off = O_OFF};
      set_strides(&d, 0);
      good = agrees(bench, &d);
    }
  }
  check(good, "K at the edges of words and blocks, from every k0");
}

/* The ends of a format: all ones, or -128, which is the top plane alone. */
static void fill_extreme(struct bench *bench, uint32_t off, uint8_t format) {
  static uint8_t bytes[0x8100];
  memset(bytes, 0xFF, sizeof bytes);
  for (uint32_t at = 0; format == 0x13 && at < sizeof bytes; at += 128) memset(bytes + at, 0, 112);
  bed_write(&bench->bed, off, bytes, sizeof bytes);
}

static void test_extremes(struct bench *bench) {
  static const uint8_t formats[][2] = {{0x03, 0x03}, {0x13, 0x13}, {0x03, 0x13}, {0x13, 0x20}, {0x20, 0x20}};
  for (size_t i = 0; i < COUNT(formats); i++) {
    beta_descriptor d = {.op = BETA_OP_QMM, .a_fmt = formats[i][0], .b_fmt = formats[i][1], .o_fmt = 0x15, .m = 2, .n = 2,
                         .k = 16384, .a_off = A_OFF, .b_off = B_OFF, .o_off = O_OFF};
    set_strides(&d, 0);
    fill_extreme(bench, A_OFF, formats[i][0]);
    fill_extreme(bench, B_OFF, formats[i][1]);
    check(agrees(bench, &d), "K = 16384 at the ends of formats 0x%02X and 0x%02X", formats[i][0], formats[i][1]);
  }
  int32_t first;
  memcpy(&first, bench->bed.engine[0].window + O_OFF, 4);
  check(first == 16384, "and 16384 times +1 * +1 is 16384");
}

/* Large enough that the emulator cuts it into blocks of rows and of columns. */
static void test_blocks(struct bench *bench) {
  static const struct {
    uint8_t a, b, o, k0, n0, flags;
    uint32_t m, n, k;
  } cases[] = {
      {0x00, 0x20, 0x11, 3, 0, 0, 5, 4300, 40},   {0x20, 0x20, 0x00, 0, 120, 0, 3, 4300, 70},
      {0x01, 0x10, 0x14, 0, 0, 0, 4, 4200, 33},   {0x01, 0x10, 0x12, 0, 8, 1, 4, 4200, 33},
      {0x20, 0x01, 0x15, 0, 0, 0, 2, 4500, 20},   {0x13, 0x13, 0x13, 1, 16, 0, 19, 15, 16000},
      {0x20, 0x20, 0x20, 0, 0, 0, 700, 300, 17},
  };
  for (size_t i = 0; i < COUNT(cases); i++) {
    beta_descriptor d = {.op = BETA_OP_QMM, .flags = cases[i].flags, .a_fmt = cases[i].a, .b_fmt = cases[i].b,
                         .o_fmt = cases[i].o, .k0 = cases[i].k0, .n0 = cases[i].n0, .m = cases[i].m, .n = cases[i].n,
                         .k = cases[i].k, .a_off = A_OFF, .b_off = B_OFF, .o_off = O_OFF};
    set_strides(&d, 0);
    fill_table(bench, &d);
    check(agrees(bench, &d), "%u x %u x %u in blocks, output format 0x%02X", d.m, d.n, d.k, d.o_fmt);
  }
}

int main(void) {
  static struct bench bench = {.random = 88172645463325252u};
  bed_open(&bench.bed, WINDOW, NULL, 2, "");
  const struct naive_config config = bed_plain_config(&bench.bed);
  check(bed_start(&bench.bed, &config, 0), "%u engines start", bench.bed.count);
  fill_random(&bench);
  test_formats(&bench);
  test_edges(&bench);
  test_blocks(&bench);
  test_extremes(&bench);
  bed_close(&bench.bed);
  return finish();
}
