/*
 * Descriptors that several threads execute together: which may, and that the window is as if they had run one after another. Streams are
 * heads side by side, products that read what others wrote or write what they read, and tables that change.
 */
#include "device/emulator/tile.h"
#include <stdlib.h>

#include "test/support.h"

#define LOG2 7u
#define ENTRIES (1u << LOG2)
#define WINDOW 0x100000u
#define OPERANDS 0x10000u
#define TABLE 0x80000u
#define TABLE_ENTRIES 512u
#define END (TABLE + TABLE_ENTRIES * BETA_TABLE_ENTRY_BYTES)
#define THREADS_MAX 5u
#if defined(__SANITIZE_THREAD__)
#define SEEDS 1u
#else
#define SEEDS 8u
#endif

/* --- which may: areas against the bytes that they are --- */

#define BYTES 512u

static struct beta_area random_area(uint64_t *random, uint32_t stride, uint8_t bytes[BYTES]) {
  const uint32_t rows = 1 + next_random(random) % 6, width = 1 + next_random(random) % stride, off = next_random(random) % 200;
  memset(bytes, 0, BYTES);
  for (uint32_t r = 0; r < rows; r++) memset(bytes + off + r * stride, 1, width);
  return (struct beta_area){off, off + (rows - 1) * stride + width, stride, width};
}

struct drawn {
  uint8_t a[BYTES], b[BYTES], table[BYTES], o[BYTES];
};

static bool share(const uint8_t *x, const uint8_t *y) {
  for (uint32_t i = 0; i < BYTES; i++) {
    if (x[i] && y[i]) return true;
  }
  return false;
}

static bool conflict(const struct drawn *x, const struct drawn *y) {
  return share(x->o, y->o) || share(x->o, y->a) || share(x->o, y->b) || share(x->o, y->table) || share(y->o, x->a) || share(y->o, x->b) ||
         share(y->o, x->table);
}

static void test_areas(void) {
  enum { TILES = 4 };
  uint64_t random = 1;
  uint32_t wrong = 0, timid = 0, apart = 0, rounds = 200000;
  for (uint32_t round = 0; round < rounds; round++) {
    struct beta_tile tile[TILES];
    struct drawn drawn[TILES];
    struct beta_together together = {.tile = tile};
    for (uint32_t i = 0; i < TILES; i++) {
      const uint32_t strides[] = {16, 32, 48}, stride = strides[next_random(&random) % 3];
      struct beta_tile *one = &tile[together.count];
      struct drawn *bytes = &drawn[together.count];
      one->a = random_area(&random, strides[next_random(&random) % 3], bytes->a);
      one->b = random_area(&random, stride, bytes->b);
      one->o = random_area(&random, stride, bytes->o);
      memset(bytes->table, 0, BYTES);
      one->table = next_random(&random) % 2 ? random_area(&random, 8, bytes->table) : (struct beta_area){0};
      bool conflicts = false;
      for (uint32_t j = 0; j < together.count; j++) conflicts |= conflict(bytes, &drawn[j]);
      const bool taken = beta_together_take(&together);
      if (taken && conflicts) wrong++;
      if (!taken && !conflicts) timid++;
      if (taken && i > 0) apart++;
    }
  }
  check(wrong == 0 && apart > 10000, "%u tiles were taken to others, none that met them; %u waited without need", apart, timid);
}

/* --- streams --- */

struct stream {
  beta_descriptor descriptor[ENTRIES];
  uint32_t count;
};

static uint32_t pick(uint64_t *random, uint32_t count) { return (uint32_t)(next_random(random) % count); }

/* Heads side by side in the rows of one output, of A and of B. */
static void add_heads(struct stream *stream, uint64_t *random) {
  const uint32_t heads = 2 + pick(random, 9), m = 1 + pick(random, 140), width = 8 * (1 + pick(random, 8)), stride = (heads * width + 127) / 128 * 16;
  const uint32_t from = OPERANDS + 0x8000 * pick(random, 3), to = OPERANDS + 0x8000 * (4 + pick(random, 3));
  const bool is_value = pick(random, 2);
  for (uint32_t h = 0; h < heads && stream->count < ENTRIES; h++) {
    const uint32_t first = h * width;
    beta_descriptor d = {.op = BETA_OP_QMM, .a_fmt = format_of(0, BETA_ENC_PM1), .b_fmt = format_of(0, BETA_ENC_PM1), .m = m, .a_stride = stride};
    if (is_value) { /* a head's rows of B, columns of the output */
      d.n = width, d.k = 1 + pick(random, 8 * stride), d.n0 = (uint8_t)(first % 128), d.o_fmt = format_of(0, BETA_ENC_PM1);
      d.a_off = from, d.b_off = from + first * stride, d.b_stride = stride, d.o_off = to + first / 128 * 16, d.o_stride = stride, d.e_off = TABLE;
      if (d.n0 + width > 128) continue;
    } else { /* a head's columns of A and B, rows of the output */
      d.n = 1 + pick(random, 140), d.k = width, d.k0 = (uint8_t)(first % 128), d.o_fmt = format_of(5, BETA_ENC_S);
      if (d.k0 + width > 128) continue;
      d.a_off = from + first / 128 * 16, d.b_off = d.a_off, d.b_stride = stride;
      if (pick(random, 4)) d.m = 1, d.n = 16; /* rows that meet no other head's */
      d.o_stride = (4 * d.n + 15) / 16 * 16, d.o_off = to + h * 64;
    }
    stream->descriptor[stream->count++] = d;
  }
}

/*
 * The heads of a batch: sequences one after another in the rows of A and B, each head's products in rows of their own, or side by side with those of its
 * sequence. So many small tiles are dealt whole.
 */
static void add_batch(struct stream *stream, uint64_t *random) {
  const uint32_t heads = 1 + pick(random, 12), width = 8 * (1 + pick(random, 4)), stride = (heads * width + 127) / 128 * 16, log2 = pick(random, 4);
  const uint32_t from = OPERANDS + 0x4000 * pick(random, 4), to = OPERANDS + 0x30000;
  const bool is_value = pick(random, 2);
  for (uint32_t row = 0, out = 0; stream->count + heads < ENTRIES && out < 0x38000;) {
    const uint32_t tokens = 1 + pick(random, 20);
    for (uint32_t h = 0; h < heads; h++) {
      const uint32_t first = h * width;
      beta_descriptor d = {.op = BETA_OP_QMM, .a_fmt = format_of(log2, BETA_ENC_U), .b_fmt = format_of(0, BETA_ENC_PM1), .m = tokens};
      if (first % 128 + width > 128) continue;
      if (is_value) {
        d.n = width, d.k = tokens, d.n0 = (uint8_t)(first % 128), d.o_fmt = format_of(0, BETA_ENC_PM1), d.e_off = TABLE;
        d.a_off = from + row * 16, d.b_off = from + 0x4000 + first * 16, d.a_stride = 16 << log2, d.b_stride = 16;
        d.o_off = to + out + first / 128 * 16, d.o_stride = stride;
      } else {
        d.n = tokens, d.k = width, d.k0 = (uint8_t)(first % 128), d.o_fmt = format_of(5, BETA_ENC_S);
        d.a_off = from + row * (stride << log2) + (first / 128 * 16 << log2), d.a_stride = stride << log2;
        d.b_off = from + 0x8000 + row * stride + first / 128 * 16, d.b_stride = stride;
        d.o_stride = (4 * tokens + 15) / 16 * 16, d.o_off = to + out, out += tokens * d.o_stride;
      }
      stream->descriptor[stream->count++] = d;
    }
    row += tokens;
    if (is_value) out += tokens * stride;
    if (row > 80) row = 0; /* their operands may be the same */
  }
}

/* A product of anything into anything, now and then into the table; its own operands stay whole. */
static void add_product(struct stream *stream, uint64_t *random) {
  const uint32_t log2 = pick(random, 4), k = 1 + pick(random, 500), stride = (k + 127) / 128 * 16 << log2;
  beta_descriptor d = {.op = BETA_OP_QMM, .a_fmt = format_of(log2, BETA_ENC_S), .b_fmt = format_of(0, BETA_ENC_PM1), .k = k, .m = 1 + pick(random, 40),
                       .n = 1 + pick(random, TABLE_ENTRIES), .a_stride = stride, .b_stride = (k + 127) / 128 * 16,
                       .o_fmt = format_of(4, BETA_ENC_S), .e_off = TABLE};
  if (log2 == 0) d.o_fmt = format_of(0, BETA_ENC_PM1);
  d.o_stride = log2 == 0 ? (d.n + 127) / 128 * 16 : (2 * d.n + 15) / 16 * 16;
  d.a_off = OPERANDS + 0x8000 * pick(random, 8) + 16 * pick(random, 4);
  d.b_off = OPERANDS + 0x8000 * pick(random, 8);
  d.o_off = pick(random, 8) == 0 ? TABLE + 16 * pick(random, 100) : OPERANDS + 0x8000 * pick(random, 8);
  const uint64_t o_end = d.o_off + (uint64_t)d.m * d.o_stride, a_end = d.a_off + (uint64_t)d.m * d.a_stride, b_end = d.b_off + (uint64_t)d.n * d.b_stride;
  const uint64_t e_end = TABLE + (uint64_t)d.n * BETA_TABLE_ENTRY_BYTES;
  const bool meets = (d.o_off < a_end && d.a_off < o_end) || (d.o_off < b_end && d.b_off < o_end) || (d.o_off < e_end && TABLE < o_end);
  if (!meets && o_end <= WINDOW && a_end <= WINDOW && b_end <= WINDOW) stream->descriptor[stream->count++] = d;
}

static void draw_stream(struct stream *stream, uint64_t *random) {
  stream->count = 0;
  if (pick(random, 2)) add_batch(stream, random);
  while (stream->count + 12 < ENTRIES) {
    if (pick(random, 3) == 0) add_heads(stream, random);
    else add_product(stream, random);
    if (pick(random, 16) == 0) stream->descriptor[stream->count++] = (beta_descriptor){.op = BETA_OP_NOP};
  }
}

/* Thresholds, some of them falling, or anything; in a part of the table, of which alone the device is told, if it is. */
static void draw_table(beta_device *device, uint32_t first, bool told, uint64_t *random) {
  uint8_t *window = beta_window(device);
  const bool wild = pick(random, 3) == 0, falling = pick(random, 2);
  for (uint32_t i = first; i < TABLE_ENTRIES; i++) {
    const int32_t one = 1 << BETA_EPILOGUE_SHIFT;
    const int32_t entry[2] = {(int32_t)pick(random, 41) - 20, wild ? (int32_t)next_random(random) : falling && pick(random, 2) ? -one : one};
    memcpy(window + TABLE + i * BETA_TABLE_ENTRY_BYTES, entry, sizeof entry);
  }
  const uint32_t off = first * BETA_TABLE_ENTRY_BYTES;
  if (told) beta_sync_for_device(device, TABLE + off, TABLE_ENTRIES * BETA_TABLE_ENTRY_BYTES - off);
}

static uint64_t hash_of(const uint8_t *window) {
  uint64_t hash = 14695981039346656037u;
  for (uint32_t i = OPERANDS; i < WINDOW; i++) hash = (hash ^ window[i]) * 1099511628211u;
  return hash;
}

/* Several streams over what the ones before left. A device that is told what the host writes keeps panels and what tables say, others nothing. */
static uint64_t run_streams(const char *kernel, uint32_t threads, bool told, uint64_t seed, uint32_t *ran) {
  char uri[64];
  snprintf(uri, sizeof uri, "emu:?kernel=%s&threads=%u", kernel, threads);
  beta_device *device = open_device(uri, WINDOW);
  uint8_t *window = beta_window(device);
  uint64_t random = seed, hash = 0;
  for (uint32_t i = OPERANDS; i < END; i++) window[i] = (uint8_t)next_random(&random);
  if (told) beta_sync_for_device(device, OPERANDS, END - OPERANDS);
  bool good = start(device, LOG2);
  struct stream stream;
  uint32_t tail = 0;
  for (uint32_t round = 0; round < 12 && good; round++) {
    if (round % 2 == 0) draw_table(device, round == 0 ? 0 : pick(&random, TABLE_ENTRIES), told, &random);
    if (round % 6 == 0) draw_stream(&stream, &random);
    for (uint32_t i = 0; i < stream.count; i++) put_descriptor(device, LOG2, tail + i, &stream.descriptor[i]);
    beta_kick(device, tail += stream.count);
    good = beta_wait(device, tail, 20 * SECOND) == BETA_WAIT_DONE;
    hash = hash * 31 + hash_of(window);
    *ran += stream.count;
  }
  if (!good) printf("# %s, seed %u: FAULT 0x%X\n", uri, (unsigned)seed, (unsigned)beta_reg_read(device, BETA_REG_FAULT));
  beta_close(device);
  return good ? hash : 0;
}

static void test_streams(const char *kernel, uint32_t seeds) {
  uint32_t wrong = 0, ran = 0;
  for (uint64_t seed = 1; seed <= seeds && wrong == 0; seed++) {
    const uint64_t alone = run_streams(kernel, 1, false, seed, &ran);
    for (uint32_t threads = 1; threads <= THREADS_MAX; threads++) {
      const bool told = (seed + threads) % 2 != 0; /* untold, small tiles keep nothing, and are dealt whole */
      if (alone != 0 && run_streams(kernel, threads, told, seed, &ran) == alone) continue;
      printf("# kernel %s, seed %u, %u threads\n", kernel, (unsigned)seed, threads);
      wrong++;
    }
  }
  check(wrong == 0, "%s: %u descriptors in streams, the same bytes with 1 to %u threads", kernel, ran, THREADS_MAX);
}

/* An argument is the number of seeds. */
int main(int count, char **arguments) {
  const uint32_t seeds = count > 1 ? (uint32_t)atoi(arguments[1]) : SEEDS;
  test_areas();
  for (const struct beta_kernel *const *kernel = beta_kernels(); *kernel != NULL; kernel++) {
    if ((*kernel)->supported()) test_streams((*kernel)->name, seeds);
  }
  return finish();
}
