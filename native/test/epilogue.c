/*
 * The epilogue of every kernel that runs here, behind the engine's interface, against the contract's formula (section 5) in
 * 128 bits: all combinations of extreme dot products, biases and multipliers, and tables of thresholds.
 */
#include "kernels/epilogue.h"
#include "test/support.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define ONE (1 << BETA_EPILOGUE_SHIFT)

static const int32_t edges[] = {INT32_MIN,   INT32_MIN + 1, -ONE - 1, -ONE,        -ONE + 1, -ONE / 2 - 1, -ONE / 2, -256,
                                -129,        -128,          -2,       -1,          0,        1,            2,        127,
                                128,         255,           256,      ONE / 2 - 1, ONE / 2,  ONE - 1,      ONE,      ONE + 1,
                                INT32_MAX - 1, INT32_MAX};
static const int32_t ones[] = {ONE, -ONE};

#define COLUMNS_MAX (COUNT(edges) * COUNT(edges) * COUNT(edges))
#define ROW_BYTES (2 * (COLUMNS_MAX + 2 * BETA_BLOCK_ELEMENTS)) /* of the widest output, int16; wider than 8 bits */

static int32_t dots[COLUMNS_MAX];
static _Alignas(16) int32_t table[COLUMNS_MAX][2];
static _Alignas(16) uint8_t found[ROW_BYTES], expected[ROW_BYTES];

/* Every dot product with every bias and every one of the multipliers; returns how many. */
static uint32_t combine(const int32_t *multipliers, size_t count) {
  uint32_t columns = 0;
  for (size_t m = 0; m < count; m++) {
    for (size_t b = 0; b < COUNT(edges); b++) {
      for (size_t d = 0; d < COUNT(edges); d++, columns++) {
        dots[columns] = edges[d];
        table[columns][0] = edges[b];
        table[columns][1] = multipliers[m];
      }
    }
  }
  return columns;
}

static int64_t floor_divide(__int128 value, int64_t divisor) {
  const __int128 quotient = value / divisor;
  return (int64_t)(value % divisor < 0 ? quotient - 1 : quotient);
}

static int64_t naive_value(int32_t dot, const int32_t entry[2], const beta_matrix *o) {
  const int32_t s = (int32_t)(uint32_t)((int64_t)dot + entry[0]);
  const int64_t r = floor_divide((__int128)s * entry[1] + ONE / 2, ONE);
  if (o->encoding == BETA_ENC_PM1) return r >= 0;
  const int64_t low = o->encoding == BETA_ENC_U ? 0 : -(INT64_C(1) << (o->bits - 1));
  const int64_t high = low + (INT64_C(1) << o->bits) - 1;
  return r < low ? low : r > high ? high : r;
}

static void naive_store(uint8_t *row, const beta_matrix *o, uint32_t at, int64_t y) {
  if (o->bits == 16) {
    const int16_t value = (int16_t)y;
    memcpy(row + 2 * (uint64_t)at, &value, sizeof value);
    return;
  }
  for (uint32_t i = 0; i < o->bits; i++) {
    uint8_t *byte = row + (uint64_t)(at / 128) * 16 * o->bits + 16 * i + at % 128 / 8;
    if (at % 8 == 0) *byte = 0;
    *byte = (uint8_t)(*byte | (y >> i & 1) << at % 8);
  }
}

/* One row with a table by columns, in pieces whose widths are not those of the vectors. */
static bool by_column(const struct beta_kernel *kernel, beta_matrix o, uint32_t columns, uint32_t n0) {
  o.row0 = found;
  const beta_qmm job = {.o = o, .table = (const uint8_t *)table, .m = 1, .n = columns, .k = 1, .n0 = n0};
  struct beta_epilogue epilogue;
  beta_epilogue_prepare(&epilogue, &job);
  memset(found, 0xA5, sizeof found);
  memset(expected, 0xA5, sizeof expected);
  for (uint32_t i = 0; i < columns; i++) naive_store(expected, &o, n0 + i, naive_value(dots[i], table[i], &o));
  static const uint32_t widths[] = {1024, 8, 56, 400, 16, 128, 1000};
  for (uint32_t done = 0, piece = 0; done < columns; piece++) {
    const uint32_t width = widths[piece % COUNT(widths)];
    const uint32_t part = columns - done < width ? columns - done : width;
    kernel->epilogue(&epilogue, 0, 1, done, part, dots + done, part);
    done += part;
  }
  return memcmp(found, expected, sizeof found) == 0;
}

/* One entry for all columns of a row, and several rows in a call. */
static bool by_row(const struct beta_kernel *kernel, beta_matrix o, uint32_t entries, uint32_t n0) {
  enum { ROWS = 3, COLUMNS = COUNT(edges), STRIDE = 512 };
  o.row0 = found;
  o.stride = STRIDE;
  const beta_qmm job = {.o = o, .table = (const uint8_t *)table, .table_by_row = true, .m = entries, .n = COLUMNS,
                        .k = 1, .n0 = n0};
  struct beta_epilogue epilogue;
  beta_epilogue_prepare(&epilogue, &job);
  for (uint32_t row = 0; row + ROWS <= entries; row += ROWS) {
    /* As if the output began `row` rows earlier: the buffer holds the call's rows only. */
    beta_qmm moved = job;
    moved.o.row0 = found;
    moved.table = (const uint8_t *)table[row];
    epilogue.job = &moved;
    int32_t dot[ROWS * 32];
    memset(found, 0x5A, ROWS * STRIDE);
    memset(expected, 0x5A, ROWS * STRIDE);
    for (uint32_t r = 0; r < ROWS; r++) {
      memcpy(dot + r * 32, edges, sizeof edges);
      for (uint32_t i = 0; i < COLUMNS; i++) {
        naive_store(expected + r * STRIDE, &o, n0 + i, naive_value(edges[i], table[row + r], &o));
      }
    }
    kernel->epilogue(&epilogue, 0, ROWS, 0, COLUMNS, dot, 32);
    if (memcmp(found, expected, ROWS * STRIDE) != 0) return false;
  }
  return true;
}

static void test_kernel(const struct beta_kernel *kernel) {
  static const uint8_t formats[] = {0x00, 0x01, 0x02, 0x03, 0x10, 0x11, 0x12, 0x13, 0x20, 0x14};
  for (size_t f = 0; f < COUNT(formats); f++) {
    const beta_matrix o = {.bits = 1u << (formats[f] & 7), .encoding = formats[f] >> 4, .stride = ROW_BYTES};
    bool good = true;
    for (uint32_t n0 = 0; n0 < (o.bits == 16 ? 8 : 128) && good; n0 += 40) {
      for (uint32_t thresholds = 0; thresholds < 2 && good; thresholds++) {
        const uint32_t count = thresholds == 1 ? combine(ones, COUNT(ones)) : combine(edges, COUNT(edges));
        /* The last column is left out: a ragged byte. */
        good = by_column(kernel, o, count - 1, n0) && by_row(kernel, o, count, n0);
      }
    }
    check(good, "%s: epilogue to format 0x%02X, at the extremes and with thresholds", kernel->name, formats[f]);
  }
}

int main(void) {
  for (const struct beta_kernel *const *kernel = beta_kernels(); *kernel != NULL; kernel++) {
    if ((*kernel)->supported()) test_kernel(*kernel);
  }
  return finish();
}
