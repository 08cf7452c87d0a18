/*
 * The exact epilogue, 8 columns at a time.
 *
 * smull and sqrshrn #24 are the contract's r = floor((s * mul + 2^23) / 2^24): the product has 64 bits, the rounding
 * addition has no carry out to lose, and an r beyond 32 bits becomes the end of their range, which every output format
 * clamps to its own end anyway and whose sign is that of r.
 *
 * Thresholds (epilogue.h) need no multiplication. With m = mul >> 31 (0 or -1) and x = s ^ m, which is s or -s - 1:
 * r >= 0 is x >= m, r >= 1 is x > m, and r <= -1 is x < m, for all s.
 */
#include "kernels/neon/neon.h"

#if defined(__aarch64__)

#include <string.h>

#include "kernels/epilogue.h"

#define STEP 8u

/* The table's entries of 8 columns, or of one row in every lane. */
struct entries {
  int32x4x2_t low, high; /* bias, mul */
};

static inline struct entries entries_at(const beta_qmm *job, uint32_t row, uint32_t column) {
  const int32_t *pair = (const int32_t *)(const void *)job->table + 2 * (size_t)(job->table_by_row ? row : column);
  if (job->table_by_row) {
    const int32x4x2_t entry = vld2q_dup_s32(pair);
    return (struct entries){entry, entry};
  }
  return (struct entries){vld2q_s32(pair), vld2q_s32(pair + STEP)};
}

/* s = D + bias modulo 2^32. */
static inline int32x4_t add(int32x4_t dot, int32x4_t bias) {
  return vreinterpretq_s32_u32(vaddq_u32(vreinterpretq_u32_s32(dot), vreinterpretq_u32_s32(bias)));
}

/* r of 4 columns, saturated to 32 bits. */
static inline int32x4_t requantise(int32x4_t dot, int32x4x2_t entry) {
  const int32x4_t s = add(dot, entry.val[0]), mul = entry.val[1];
  const int32x2_t low = vqrshrn_n_s64(vmull_s32(vget_low_s32(s), vget_low_s32(mul)), BETA_EPILOGUE_SHIFT);
  return vqrshrn_high_n_s64(low, vmull_high_s32(s, mul), BETA_EPILOGUE_SHIFT);
}

/* r of 8 columns, saturated to 16 bits, which hold every output. */
static inline int16x8_t requantise_step(const int32_t *dot, const struct entries *entries) {
  const int16x4_t low = vqmovn_s32(requantise(vld1q_s32(dot), entries->low));
  return vqmovn_high_s32(low, requantise(vld1q_s32(dot + 4), entries->high));
}

/* All ones where the bit of a one-bit output is 1, for 4 columns whose table has thresholds only. */
static inline uint32x4_t compare(int32x4_t dot, int32x4x2_t entry, uint32_t encoding) {
  const int32x4_t m = vshrq_n_s32(entry.val[1], 31), x = veorq_s32(add(dot, entry.val[0]), m);
  switch (encoding) {
    case BETA_ENC_PM1: return vcgeq_s32(x, m);
    case BETA_ENC_U: return vcgtq_s32(x, m);
    default: return vcltq_s32(x, m);
  }
}

static inline uint8x8_t compare_step(const int32_t *dot, const struct entries *entries, uint32_t encoding) {
  const uint16x4_t low = vmovn_u32(compare(vld1q_s32(dot), entries->low, encoding));
  return vmovn_u16(vmovn_high_u32(low, compare(vld1q_s32(dot + 4), entries->high, encoding)));
}

/* The codes of 8 values: their low `bits` bits are the planes. */
static inline uint8x8_t encode(int16x8_t value, const beta_matrix *format) {
  if (format->encoding == BETA_ENC_PM1) return vmovn_u16(vcgezq_s16(value));
  const bool is_unsigned = format->encoding == BETA_ENC_U;
  const int16_t top = (int16_t)((1 << (is_unsigned ? format->bits : format->bits - 1)) - 1);
  const int16_t bottom = is_unsigned ? 0 : (int16_t)(-top - 1);
  const int16x8_t clamped = vminq_s16(vmaxq_s16(value, vdupq_n_s16(bottom)), vdupq_n_s16(top));
  return vmovn_u16(vreinterpretq_u16_s16(clamped));
}

/* The byte of a plane from 8 codes: bit i is bit `plane` of code i. */
static inline uint8_t pack(uint8x8_t codes, uint32_t plane) {
  const uint8x8_t places = vcreate_u8(UINT64_C(0x8040201008040201));
  return vaddv_u8(vand_u8(vtst_u8(codes, vdup_n_u8((uint8_t)(1u << plane))), places));
}

/* 8 columns of rows. They share a byte of each plane, so they lie inside one block. */
static void store_planes(const struct beta_epilogue *epilogue, uint32_t row, uint32_t rows, uint32_t column,
                         const int32_t *dot, size_t stride) {
  const beta_qmm *job = epilogue->job;
  const beta_matrix *o = &job->o;
  const uint32_t element = job->n0 + column;
  uint8_t *to = o->row0 + row * o->stride + (uint64_t)(element / BETA_BLOCK_ELEMENTS) * BETA_BEAT_BYTES * o->bits +
                element % BETA_BLOCK_ELEMENTS / 8;
  struct entries entries = entries_at(job, row, column);
  for (uint32_t r = 0; r < rows; r++, to += o->stride, dot += stride) {
    if (job->table_by_row) entries = entries_at(job, row + r, column);
    const uint8x8_t codes = epilogue->thresholds ? compare_step(dot, &entries, o->encoding)
                                                 : encode(requantise_step(dot, &entries), o);
    for (uint32_t plane = 0; plane < o->bits; plane++) to[plane * BETA_BEAT_BYTES] = pack(codes, plane);
  }
}

static void store_int16(const beta_qmm *job, uint32_t row, uint32_t rows, uint32_t column, const int32_t *dot,
                        size_t stride) {
  uint8_t *to = job->o.row0 + row * job->o.stride + 2 * (uint64_t)column;
  struct entries entries = entries_at(job, row, column);
  for (uint32_t r = 0; r < rows; r++, to += job->o.stride, dot += stride) {
    if (job->table_by_row) entries = entries_at(job, row + r, column);
    vst1q_s16((int16_t *)(void *)to, requantise_step(dot, &entries));
  }
}

static void store_int32(const beta_matrix *o, uint32_t row, uint32_t rows, uint32_t column, uint32_t columns,
                        const int32_t *dot, size_t stride) {
  for (uint32_t r = 0; r < rows; r++) {
    memcpy(o->row0 + (row + r) * o->stride + 4 * (uint64_t)column, dot + r * stride, 4 * (size_t)columns);
  }
}

void beta_neon_epilogue(const struct beta_epilogue *epilogue, uint32_t row, uint32_t rows, uint32_t column,
                        uint32_t columns, const int32_t *dot, size_t stride) {
  const beta_qmm *job = epilogue->job;
  if (job->o.bits == 32) {
    store_int32(&job->o, row, rows, column, columns, dot, stride);
    return;
  }
  const uint32_t whole = columns / STEP * STEP;
  for (uint32_t i = 0; i < whole; i += STEP) {
    if (job->o.bits == 16) {
      store_int16(job, row, rows, column + i, dot + i, stride);
    } else {
      store_planes(epilogue, row, rows, column + i, dot + i, stride);
    }
  }
  if (whole < columns) {
    beta_epilogue_portable(epilogue, row, rows, column + whole, columns - whole, dot + whole, stride);
  }
}

#endif
