#include "kernels/epilogue.h"

#include <string.h>

#define ENTRY_BYTES BETA_TABLE_ENTRY_BYTES
#define HALF (INT64_C(1) << (BETA_EPILOGUE_SHIFT - 1))
#define ONE (INT32_C(1) << BETA_EPILOGUE_SHIFT) /* 1.0 as a multiplier */

/* floor((s * mul + 2^23) / 2^24) with s = D + bias modulo 2^32. |s * mul| <= 2^62, so 64 bits hold all of it. */
static int64_t requantise(int32_t dot, int32_t bias, int32_t mul) {
  const int32_t sum = (int32_t)((uint32_t)dot + (uint32_t)bias);
  /* gcc and clang shift a negative number arithmetically, which is the floor the contract asks for. */
  return ((int64_t)sum * mul + HALF) >> BETA_EPILOGUE_SHIFT;
}

static int64_t clamp(int64_t value, int64_t low, int64_t high) {
  return value < low ? low : value > high ? high : value;
}

/* Requantised values of the columns, not yet clamped. */
static void requantise_row(const beta_qmm *job, uint32_t row, uint32_t column, uint32_t count, const int32_t *dot,
                           int64_t *out) {
  const uint8_t *entry = job->table + (uint64_t)(job->table_by_row ? row : column) * ENTRY_BYTES;
  const uint64_t step = job->table_by_row ? 0 : ENTRY_BYTES;
  for (uint32_t i = 0; i < count; i++, entry += step) {
    int32_t pair[2]; /* bias, mul */
    memcpy(pair, entry, sizeof pair);
    out[i] = requantise(dot[i], pair[0], pair[1]);
  }
}

/* The code of a value: its low `bits` bits are the planes. */
static uint8_t encode(int64_t value, uint32_t bits, uint32_t encoding) {
  switch (encoding) {
    case BETA_ENC_PM1: return value >= 0;
    case BETA_ENC_U: return (uint8_t)clamp(value, 0, (INT64_C(1) << bits) - 1);
    default: return (uint8_t)clamp(value, -(INT64_C(1) << (bits - 1)), (INT64_C(1) << (bits - 1)) - 1);
  }
}

static void store_int16(uint8_t *out, const int64_t *value, uint32_t count) {
  for (uint32_t i = 0; i < count; i++) {
    const int16_t y = (int16_t)clamp(value[i], INT16_MIN, INT16_MAX);
    memcpy(out + 2 * (uint64_t)i, &y, sizeof y);
  }
}

/* `block` is the block's first byte, `first` the first element inside it. */
static void store_planes(uint8_t *block, uint32_t first, const beta_matrix *format, const int64_t *value,
                         uint32_t count) {
  uint8_t planes[8][BETA_BEAT_BYTES] = {{0}};
  for (uint32_t i = 0; i < count; i++) {
    const uint8_t code = encode(value[i], format->bits, format->encoding);
    for (uint32_t plane = 0; plane < format->bits; plane++) {
      planes[plane][i / 8] |= (uint8_t)((code >> plane & 1u) << i % 8);
    }
  }
  for (uint32_t plane = 0; plane < format->bits; plane++) {
    memcpy(block + (uint64_t)plane * BETA_BEAT_BYTES + first / 8, planes[plane], (count + 7) / 8);
  }
}

/* Whether all (at least one) entries are {0, 1.0}: the first is, and each is like the one behind it. */
static bool is_identity(const uint8_t *table, uint32_t entries) {
  static const int32_t identity[2] = {0, ONE};
  return memcmp(table, identity, ENTRY_BYTES) == 0 && memcmp(table, table + ENTRY_BYTES, (entries - 1) * (size_t)ENTRY_BYTES) == 0;
}

void beta_epilogue_prepare(struct beta_epilogue *epilogue, const beta_qmm *job) {
  *epilogue = (struct beta_epilogue){.job = job};
  const uint32_t entries = job->table_by_row ? job->m : job->n;
  epilogue->identity = job->o.bits == 16 && is_identity(job->table, entries);
  if (job->o.bits != 1) return;
  uint32_t other = 0, negative = 0, biases = 0;
  for (uint32_t i = 0; i < entries; i++) {
    int32_t bias, mul;
    memcpy(&bias, job->table + (uint64_t)i * ENTRY_BYTES, sizeof bias);
    memcpy(&mul, job->table + (uint64_t)i * ENTRY_BYTES + 4, sizeof mul);
    const uint32_t sign = (uint32_t)(mul >> 31);
    other |= (((uint32_t)mul ^ sign) - sign) ^ (uint32_t)ONE;
    negative |= sign;
    biases |= (uint32_t)(bias ^ bias >> 31);
  }
  epilogue->thresholds = other == 0;
  epilogue->flips = negative != 0;
  epilogue->near = biases >> 30 == 0;
}

static void store_row(const beta_qmm *job, uint32_t row, uint32_t column, uint32_t count, const int32_t *dot) {
  uint8_t *out = job->o.row0 + (uint64_t)row * job->o.stride;
  if (job->o.bits == 32) {
    memcpy(out + 4 * (uint64_t)column, dot, 4 * (uint64_t)count);
    return;
  }
  /* In pieces, so that the buffer is small; a piece of bit-planes ends with its block. */
  int64_t value[BETA_BLOCK_ELEMENTS];
  for (uint32_t done = 0; done < count;) {
    const uint64_t element = (uint64_t)job->n0 + column + done;
    const uint32_t first = (uint32_t)(element % BETA_BLOCK_ELEMENTS);
    const uint32_t room = BETA_BLOCK_ELEMENTS - first;
    const uint32_t part = count - done < room ? count - done : room;
    requantise_row(job, row, column + done, part, dot + done, value);
    if (job->o.bits == 16) {
      store_int16(out + 2 * element, value, part);
    } else {
      uint8_t *block = out + element / BETA_BLOCK_ELEMENTS * BETA_BEAT_BYTES * job->o.bits;
      store_planes(block, first, &job->o, value, part);
    }
    done += part;
  }
}

void beta_epilogue_portable(const struct beta_epilogue *epilogue, uint32_t row, uint32_t rows, uint32_t column,
                            uint32_t columns, const int32_t *dot, size_t stride) {
  for (uint32_t r = 0; r < rows; r++) store_row(epilogue->job, row + r, column, columns, dot + r * stride);
}
