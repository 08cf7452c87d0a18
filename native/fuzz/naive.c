#include "fuzz/naive.h"

#include <stdlib.h>
#include <string.h>

struct format {
  uint32_t bits;
  enum { U, S, PM1 } encoding;
};

struct fields {
  uint32_t op, flags, a_fmt, b_fmt, o_fmt, k0, n0;
  uint32_t m, n, k, a_off, a_stride, b_off, b_stride, o_off, o_stride, e_off;
};

static uint32_t u32(const uint8_t *bytes) {
  return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static struct fields read_fields(const uint8_t *d) {
  return (struct fields){.op = d[0x00], .flags = d[0x01], .a_fmt = d[0x02], .b_fmt = d[0x03], .o_fmt = d[0x04],
                         .k0 = d[0x05], .n0 = d[0x06], .m = u32(d + 0x08), .n = u32(d + 0x0C), .k = u32(d + 0x10),
                         .a_off = u32(d + 0x14), .a_stride = u32(d + 0x18), .b_off = u32(d + 0x1C),
                         .b_stride = u32(d + 0x20), .o_off = u32(d + 0x24), .o_stride = u32(d + 0x28),
                         .e_off = u32(d + 0x2C)};
}

/* --- section 6 --- */

/* False where the byte is no format up to 2^widest bits. */
static bool read_format(uint32_t byte, uint32_t widest, struct format *format) {
  const uint32_t log2 = byte % 8, encoding = byte / 16 % 4;
  if (byte >= 64 || byte / 8 % 2 != 0 || log2 > widest || encoding > 2) return false;
  format->bits = 1u << log2;
  format->encoding = encoding == 0 ? U : encoding == 1 ? S : PM1;
  if (format->encoding == PM1 && format->bits != 1) return false;
  return format->bits < 16 || format->encoding == S;
}

/* Of a descriptor that is valid. */
static struct format valid_format(uint32_t byte) {
  struct format format = {0, U};
  if (!read_format(byte, 5, &format)) abort();
  return format;
}

/* Whether the `widths` of a device (a bit for each log2) have it. */
static bool has_width(uint32_t widths, const struct format *format) {
  for (uint32_t log2 = 0; log2 < 6; log2++) {
    if (format->bits == 1u << log2) return (widths >> log2) % 2 == 1;
  }
  return false;
}

/* ceil((first + count) / 128) */
static uint64_t blocks(uint32_t first, uint32_t count) { return ((uint64_t)first + count + 127) / 128; }

static uint64_t plane_bytes(uint32_t first, uint32_t count, const struct format *format) {
  return blocks(first, count) * 16 * format->bits;
}

static uint64_t output_bytes(const struct fields *d, const struct format *o) {
  return o->bits >= 16 ? (uint64_t)d->n * (o->bits / 8) : plane_bytes(d->n0, d->n, o);
}

/* Where the last row of `rows` ends; wide enough for any fields. */
static unsigned __int128 end_of(uint32_t off, uint32_t rows, uint32_t stride, uint64_t bytes) {
  return (unsigned __int128)off + (unsigned __int128)(rows - 1) * stride + bytes;
}

static struct naive_fault fault(uint32_t code, uint32_t field, uint32_t at) {
  return (struct naive_fault){code, field, at};
}

struct naive_fault naive_validate_config(const struct naive_config *config, const struct naive_limits *limits,
                                         uint64_t own_bus, uint64_t own_bytes) {
  if (config->bus % (UINT64_C(1) << 32) != own_bus % (UINT64_C(1) << 32)) return fault(1, 0x30, 0);
  if (config->bus / (UINT64_C(1) << 32) != own_bus / (UINT64_C(1) << 32)) return fault(1, 0x34, 0);
  if (config->window_bytes == 0 || config->window_bytes % 65536 != 0 || config->window_bytes > own_bytes) {
    return fault(1, 0x38, 0);
  }
  uint64_t ring_bytes = 64; /* of a ring whose size is refused below, the first entry */
  for (uint32_t i = 0; config->ring_log2 <= limits->ring_max && i < config->ring_log2; i++) ring_bytes *= 2;
  if (config->ring % 64 != 0 || config->ring + ring_bytes > config->window_bytes) return fault(1, 0x3C, 0);
  if (config->ring_log2 > limits->ring_max) return fault(1, 0x40, 0);
  return fault(0, 0, 0);
}

struct naive_fault naive_validate(const uint8_t *bytes, const struct naive_limits *limits, uint64_t window_bytes,
                                  uint32_t at) {
  const struct fields d = read_fields(bytes);
  if (d.op > 1) return fault(3, 0x00, at);
  if (d.flags > 3) return fault(3, 0x01, at);

  if (bytes[0x07] != 0) return fault(4, 0x07, at);
  for (uint32_t field = 0x30; field < 0x3C; field += 4) {
    if (u32(bytes + field) != 0) return fault(4, field, at);
  }
  if (d.op == 0) return fault(0, 0, 0);

  struct format a, b, o;
  if (!read_format(d.a_fmt, 3, &a) || !has_width(limits->caps % 16, &a)) return fault(5, 0x02, at);
  if (!read_format(d.b_fmt, 3, &b) || !has_width(limits->caps / 16 % 16, &b)) return fault(5, 0x03, at);
  if (!read_format(d.o_fmt, 5, &o) || !has_width(limits->caps / 256 % 64, &o)) return fault(5, 0x04, at);

  if (d.k0 > 127) return fault(6, 0x05, at);
  if (d.n0 > 120 || d.n0 % 8 != 0 || (o.bits >= 16 && d.n0 != 0)) return fault(6, 0x06, at);
  if (d.m == 0) return fault(6, 0x08, at);
  if (d.n == 0) return fault(6, 0x0C, at);
  if (d.k == 0) return fault(6, 0x10, at);
  if (d.a_stride < plane_bytes(d.k0, d.k, &a)) return fault(6, 0x18, at);
  if (d.b_stride < plane_bytes(d.k0, d.k, &b)) return fault(6, 0x20, at);
  if (d.o_stride < output_bytes(&d, &o)) return fault(6, 0x28, at);
  if (o.bits == 32 && d.e_off != 0) return fault(6, 0x2C, at);

  if (d.k > limits->max_k) return fault(7, 0x10, at);
  if (blocks(d.k0, d.k) * a.bits > limits->max_kp) return fault(7, 0x10, at);
  if (blocks(d.k0, d.k) * b.bits > limits->max_kp) return fault(7, 0x10, at);

  for (uint32_t field = 0x14; field <= 0x2C; field += 4) {
    if (u32(bytes + field) % 16 != 0) return fault(8, field, at);
  }

  if (end_of(d.a_off, d.m, d.a_stride, plane_bytes(d.k0, d.k, &a)) > window_bytes) return fault(9, 0x14, d.a_off);
  if (end_of(d.b_off, d.n, d.b_stride, plane_bytes(d.k0, d.k, &b)) > window_bytes) return fault(9, 0x1C, d.b_off);
  if (end_of(d.o_off, d.m, d.o_stride, output_bytes(&d, &o)) > window_bytes) return fault(9, 0x24, d.o_off);
  if (o.bits != 32 && end_of(d.e_off, d.flags % 2 == 1 ? d.m : d.n, 8, 8) > window_bytes) return fault(9, 0x2C, d.e_off);
  return fault(0, 0, 0);
}

struct naive_spans naive_spans_of(const uint8_t *bytes) {
  const struct fields d = read_fields(bytes);
  const struct format a = valid_format(d.a_fmt), b = valid_format(d.b_fmt), o = valid_format(d.o_fmt);
  struct naive_spans spans = {
      .a = {d.a_off, (uint64_t)end_of(d.a_off, d.m, d.a_stride, plane_bytes(d.k0, d.k, &a))},
      .b = {d.b_off, (uint64_t)end_of(d.b_off, d.n, d.b_stride, plane_bytes(d.k0, d.k, &b))},
      .o = {d.o_off, (uint64_t)end_of(d.o_off, d.m, d.o_stride, output_bytes(&d, &o))},
  };
  if (o.bits != 32) spans.e = (struct naive_span){d.e_off, (uint64_t)end_of(d.e_off, d.flags % 2 == 1 ? d.m : d.n, 8, 8)};
  return spans;
}

/* --- sections 3 to 5 --- */

/* The byte that holds plane i of element k, as its bit k % 8. */
static uint64_t byte_of(uint64_t row, const struct format *format, uint32_t k, uint32_t i) {
  return row + k / 128 * 16 * format->bits + 16 * i + k % 128 / 8;
}

static int32_t element(const uint8_t *window, uint64_t row, const struct format *format, uint32_t k) {
  int32_t value = 0;
  for (uint32_t i = 0; i < format->bits; i++) {
    const int32_t bit = window[byte_of(row, format, k, i)] >> k % 8 & 1;
    if (format->encoding == PM1) return 2 * bit - 1;
    if (format->encoding == S && i == format->bits - 1) value -= bit << i;
    else value += bit << i;
  }
  return value;
}

/* All elements of `rows` rows, [row][k]. */
static int32_t *decode(const uint8_t *window, uint32_t off, uint32_t stride, const struct format *format, uint32_t rows,
                       uint32_t k0, uint32_t k) {
  int32_t *values = malloc(sizeof *values * rows * k);
  if (values == NULL) abort();
  for (uint32_t r = 0; r < rows; r++) {
    for (uint32_t i = 0; i < k; i++) {
      values[(uint64_t)r * k + i] = element(window, off + (uint64_t)r * stride, format, k0 + i);
    }
  }
  return values;
}

static int64_t epilogue(int64_t dot, const uint8_t *entry, const struct format *o) {
  const int32_t bias = (int32_t)u32(entry), mul = (int32_t)u32(entry + 4);
  const int32_t s = (int32_t)(uint32_t)(uint64_t)(dot + bias);
  const __int128 sum = (__int128)s * mul + 8388608;
  __int128 r = sum / 16777216;
  if (sum < 0 && sum % 16777216 != 0) r--; /* floor */
  if (o->encoding == PM1) return r >= 0;
  const __int128 least = o->encoding == U ? 0 : -((__int128)1 << (o->bits - 1));
  const __int128 most = o->encoding == U ? ((__int128)1 << o->bits) - 1 : ((__int128)1 << (o->bits - 1)) - 1;
  return (int64_t)(r < least ? least : r > most ? most : r);
}

static void store(uint8_t *window, const struct fields *d, const struct format *o, uint32_t m, uint32_t n, int64_t y) {
  const uint64_t row = d->o_off + (uint64_t)m * d->o_stride;
  if (o->bits >= 16) {
    for (uint32_t i = 0; i < o->bits / 8; i++) window[row + (uint64_t)n * (o->bits / 8) + i] = (uint8_t)((uint64_t)y >> 8 * i);
    return;
  }
  for (uint32_t i = 0; i < o->bits; i++) {
    uint8_t *byte = window + byte_of(row, o, d->n0 + n, i);
    if (n % 8 == 0) *byte = 0; /* n0 is a multiple of 8: the first column of a byte, whose spare bits become 0 */
    *byte = (uint8_t)(*byte | ((uint64_t)y >> i & 1) << n % 8);
  }
}

void naive_apply(uint8_t *window, const uint8_t *bytes) {
  const struct fields d = read_fields(bytes);
  if (d.op == 0) return;
  const struct format a = valid_format(d.a_fmt), b = valid_format(d.b_fmt), o = valid_format(d.o_fmt);
  int32_t *left = decode(window, d.a_off, d.a_stride, &a, d.m, d.k0, d.k);
  int32_t *right = decode(window, d.b_off, d.b_stride, &b, d.n, d.k0, d.k);
  for (uint32_t m = 0; m < d.m; m++) {
    for (uint32_t n = 0; n < d.n; n++) {
      int64_t dot = 0;
      for (uint32_t k = 0; k < d.k; k++) dot += left[(uint64_t)m * d.k + k] * right[(uint64_t)n * d.k + k];
      if (o.bits == 32) store(window, &d, &o, m, n, dot);
      else store(window, &d, &o, m, n, epilogue(dot, window + d.e_off + 8 * (uint64_t)(d.flags % 2 == 1 ? m : n), &o));
    }
  }
  free(left);
  free(right);
}
