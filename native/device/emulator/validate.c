/*
 * Which fault a configuration or a descriptor raises: pure functions in the contract's order (section 6). Everything is
 * checked against a private copy, and all sizes are computed in 64 bits.
 */
#include "device/emulator/engine.h"

#define K0_LIMIT (BETA_BLOCK_ELEMENTS - 1)
#define N0_STEP 8u
#define INT16_LOG2 4u
#define INT32_LOG2 5u
#define KNOWN_FLAGS (BETA_FLAG_TABLE_BY_ROW | BETA_FLAG_EARLY_B)

#define FIELD(name) ((uint8_t)offsetof(beta_descriptor, name))

static const struct beta_fault none = {BETA_FAULT_NONE, 0, 0};

static struct beta_fault config_fault(uint32_t reg) {
  return (struct beta_fault){BETA_FAULT_CONFIG, (uint8_t)reg, 0};
}

struct beta_fault beta_validate_config(const struct beta_config *config, const struct beta_limits *limits,
                                       uint64_t own_bus, uint64_t own_bytes) {
  if ((uint32_t)config->bus != (uint32_t)own_bus) return config_fault(BETA_REG_WIN_LO);
  if (config->bus != own_bus) return config_fault(BETA_REG_WIN_HI);
  if (config->window_bytes == 0 || config->window_bytes % BETA_WINDOW_ALIGN != 0 || config->window_bytes > own_bytes) {
    return config_fault(BETA_REG_WIN_SIZE);
  }
  /* With a RING_LOG2 that is refused below, RING is still judged, as a ring of one entry. */
  const bool log2_fits = config->ring_log2 <= limits->ring_max;
  const uint64_t ring_bytes = (uint64_t)sizeof(beta_descriptor) << (log2_fits ? config->ring_log2 : 0);
  if (config->ring % sizeof(beta_descriptor) != 0 || config->ring + ring_bytes > config->window_bytes) {
    return config_fault(BETA_REG_RING);
  }
  return log2_fits ? none : config_fault(BETA_REG_RING_LOG2);
}

/* --- formats --- */

static uint32_t width_log2(uint8_t format) { return format & BETA_FMT_WIDTH_MASK; }
static uint32_t encoding(uint8_t format) { return format >> BETA_FMT_ENC_SHIFT & BETA_FMT_ENC_MASK; }
static uint32_t width(uint8_t format) { return 1u << width_log2(format); }
static bool is_integer_row(uint8_t o_fmt) { return width_log2(o_fmt) >= INT16_LOG2; }

/* `widths` has a bit for each log2 that the device supports. */
static bool is_format(uint8_t format, uint32_t widths, uint32_t max_log2) {
  const uint32_t used = BETA_FMT_WIDTH_MASK | BETA_FMT_ENC_MASK << BETA_FMT_ENC_SHIFT;
  if ((format & ~used) != 0 || width_log2(format) > max_log2) return false;
  if ((widths >> width_log2(format) & 1u) == 0 || encoding(format) > BETA_ENC_PM1) return false;
  if (encoding(format) == BETA_ENC_PM1) return width_log2(format) == 0;
  return width_log2(format) < INT16_LOG2 || encoding(format) == BETA_ENC_S;
}

static uint8_t format_field(const beta_descriptor *d, uint32_t caps) {
  const uint32_t a_widths = caps >> BETA_CAPS_A_WIDTHS_SHIFT & BETA_CAPS_A_WIDTHS_MASK;
  const uint32_t b_widths = caps >> BETA_CAPS_B_WIDTHS_SHIFT & BETA_CAPS_B_WIDTHS_MASK;
  const uint32_t o_widths = caps >> BETA_CAPS_O_WIDTHS_SHIFT & BETA_CAPS_O_WIDTHS_MASK;
  if (!is_format(d->a_fmt, a_widths, BETA_FMT_OPERAND_MAX_LOG2)) return FIELD(a_fmt);
  if (!is_format(d->b_fmt, b_widths, BETA_FMT_OPERAND_MAX_LOG2)) return FIELD(b_fmt);
  if (!is_format(d->o_fmt, o_widths, BETA_FMT_OUTPUT_MAX_LOG2)) return FIELD(o_fmt);
  return 0;
}

/* --- shapes: field offsets below are never 0, so 0 says "all well" --- */

/* Blocks of 128 elements that `count` elements from `first` touch. */
static uint64_t blocks(uint32_t first, uint32_t count) {
  return ((uint64_t)first + count + BETA_BLOCK_ELEMENTS - 1) / BETA_BLOCK_ELEMENTS;
}

static uint64_t plane_row_bytes(uint32_t first, uint32_t count, uint8_t format) {
  return blocks(first, count) * BETA_BEAT_BYTES * width(format);
}

static uint64_t output_row_bytes(const beta_descriptor *d) {
  return is_integer_row(d->o_fmt) ? (uint64_t)d->n * (width(d->o_fmt) / 8) : plane_row_bytes(d->n0, d->n, d->o_fmt);
}

static uint8_t shape_field(const beta_descriptor *d) {
  if (d->k0 > K0_LIMIT) return FIELD(k0);
  if (d->n0 > BETA_N0_LIMIT || d->n0 % N0_STEP != 0 || (is_integer_row(d->o_fmt) && d->n0 != 0)) return FIELD(n0);
  if (d->m == 0) return FIELD(m);
  if (d->n == 0) return FIELD(n);
  if (d->k == 0) return FIELD(k);
  if (d->a_stride < plane_row_bytes(d->k0, d->k, d->a_fmt)) return FIELD(a_stride);
  if (d->b_stride < plane_row_bytes(d->k0, d->k, d->b_fmt)) return FIELD(b_stride);
  if (d->o_stride < output_row_bytes(d)) return FIELD(o_stride);
  if (width_log2(d->o_fmt) == INT32_LOG2 && d->e_off != 0) return FIELD(e_off);
  return 0;
}

static bool exceeds_limits(const beta_descriptor *d, const struct beta_limits *limits) {
  const uint64_t row_blocks = blocks(d->k0, d->k);
  return d->k > limits->max_k || row_blocks * width(d->a_fmt) > limits->max_kp ||
         row_blocks * width(d->b_fmt) > limits->max_kp;
}

static uint8_t align_field(const beta_descriptor *d) {
  if (d->a_off % BETA_BEAT_BYTES != 0) return FIELD(a_off);
  if (d->a_stride % BETA_BEAT_BYTES != 0) return FIELD(a_stride);
  if (d->b_off % BETA_BEAT_BYTES != 0) return FIELD(b_off);
  if (d->b_stride % BETA_BEAT_BYTES != 0) return FIELD(b_stride);
  if (d->o_off % BETA_BEAT_BYTES != 0) return FIELD(o_off);
  if (d->o_stride % BETA_BEAT_BYTES != 0) return FIELD(o_stride);
  if (d->e_off % BETA_BEAT_BYTES != 0) return FIELD(e_off);
  return 0;
}

/*
 * Whether `rows` (>= 1) rows lie inside the window. Cannot overflow: SHAPE has seen to row_bytes <= stride < 2^32, so the
 * sum is at most (2^32-1) * (2^32-1) + 2^32-1 < 2^64.
 */
static bool inside(uint32_t off, uint32_t rows, uint32_t stride, uint64_t row_bytes, uint32_t window_bytes) {
  return off + (uint64_t)(rows - 1) * stride + row_bytes <= window_bytes;
}

static struct beta_fault bounds_fault(const beta_descriptor *d, uint32_t window_bytes) {
  const uint64_t a_row = plane_row_bytes(d->k0, d->k, d->a_fmt), b_row = plane_row_bytes(d->k0, d->k, d->b_fmt);
  if (!inside(d->a_off, d->m, d->a_stride, a_row, window_bytes)) {
    return (struct beta_fault){BETA_FAULT_BOUNDS, FIELD(a_off), d->a_off};
  }
  if (!inside(d->b_off, d->n, d->b_stride, b_row, window_bytes)) {
    return (struct beta_fault){BETA_FAULT_BOUNDS, FIELD(b_off), d->b_off};
  }
  if (!inside(d->o_off, d->m, d->o_stride, output_row_bytes(d), window_bytes)) {
    return (struct beta_fault){BETA_FAULT_BOUNDS, FIELD(o_off), d->o_off};
  }
  const uint32_t entries = (d->flags & BETA_FLAG_TABLE_BY_ROW) != 0 ? d->m : d->n;
  if (width_log2(d->o_fmt) != INT32_LOG2 &&
      !inside(d->e_off, entries, BETA_TABLE_ENTRY_BYTES, BETA_TABLE_ENTRY_BYTES, window_bytes)) {
    return (struct beta_fault){BETA_FAULT_BOUNDS, FIELD(e_off), d->e_off};
  }
  return none;
}

static uint8_t reserved_field(const beta_descriptor *d) {
  if (d->reserved0 != 0) return FIELD(reserved0);
  if (d->reserved1 != 0) return FIELD(reserved1);
  if (d->reserved2 != 0) return FIELD(reserved2);
  if (d->reserved3 != 0) return FIELD(reserved3);
  return 0;
}

struct beta_fault beta_validate(const beta_descriptor *d, const struct beta_limits *limits, uint32_t window_bytes,
                                uint32_t at) {
  if (d->op != BETA_OP_NOP && d->op != BETA_OP_QMM) return (struct beta_fault){BETA_FAULT_OP, FIELD(op), at};
  if ((d->flags & ~KNOWN_FLAGS) != 0) return (struct beta_fault){BETA_FAULT_OP, FIELD(flags), at};
  uint8_t field = reserved_field(d);
  if (field != 0) return (struct beta_fault){BETA_FAULT_RESERVED, field, at};
  if (d->op == BETA_OP_NOP) return none;
  field = format_field(d, limits->caps);
  if (field != 0) return (struct beta_fault){BETA_FAULT_FORMAT, field, at};
  field = shape_field(d);
  if (field != 0) return (struct beta_fault){BETA_FAULT_SHAPE, field, at};
  /* Both limits are about K: the field that a host would change. */
  if (exceeds_limits(d, limits)) return (struct beta_fault){BETA_FAULT_LIMIT, FIELD(k), at};
  field = align_field(d);
  if (field != 0) return (struct beta_fault){BETA_FAULT_ALIGN, field, at};
  return bounds_fault(d, window_bytes);
}
