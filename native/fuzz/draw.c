#include "fuzz/draw.h"

#include <string.h>

#include "device/emulator/emulator.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

uint32_t draw_below(struct draw *draw, uint32_t bound) {
  draw->state ^= draw->state << 13;
  draw->state ^= draw->state >> 7;
  draw->state ^= draw->state << 17;
  return (uint32_t)((draw->state >> 32) * bound >> 32);
}

static bool one_in(struct draw *draw, uint32_t n) { return draw_below(draw, n) == 0; }

uint32_t get_field(const uint8_t *descriptor, uint32_t offset) {
  if (offset < 8) return descriptor[offset];
  uint32_t value;
  memcpy(&value, descriptor + offset, 4);
  return value;
}

void put_field(uint8_t *descriptor, uint32_t offset, uint32_t value) {
  if (offset < 8) descriptor[offset] = (uint8_t)value;
  else memcpy(descriptor + offset, &value, 4);
}

static const uint8_t operands[] = {0x00, 0x01, 0x02, 0x03, 0x10, 0x11, 0x12, 0x13, 0x20};
static const uint8_t outputs[] = {0x00, 0x01, 0x02, 0x03, 0x10, 0x11, 0x12, 0x13, 0x20, 0x14, 0x15};

static uint32_t bits_of(uint8_t format) { return 1u << (format & 7); }
static uint32_t plane_row(uint32_t first, uint32_t count, uint8_t format) {
  return (first + count + 127) / 128 * 16 * bits_of(format);
}

struct shape {
  uint32_t m, n, k, k0, n0;
};

/* Around the borders of bytes, words, blocks, vectors and tiles, or anywhere below `bound`. */
static uint32_t draw_size(struct draw *draw, uint32_t bound) {
  static const uint32_t borders[] = {1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 96, 127, 128, 129, 192, 255, 256,
                                     257, 384, 511, 512, 513, 768, 1023, 1024, 1025};
  uint32_t size = 1 + draw_below(draw, bound);
  if (one_in(draw, 2)) size = borders[draw_below(draw, COUNT(borders))];
  return size > bound ? bound : size;
}

static struct shape draw_shape(struct draw *draw) {
  static const uint32_t bounds[][3] = {{12, 40, 300}, {12, 40, 300}, {40, 12, 300}, {3, 5, 16384}, {4, 1300, 70},
                                       {1300, 4, 70}, {140, 140, 130}, {20, 140, 800}};
  const uint32_t *bound = bounds[draw_below(draw, COUNT(bounds))];
  struct shape shape;
  do {
    shape.m = draw_size(draw, bound[0]);
    shape.n = draw_size(draw, bound[1]);
    shape.k = draw_size(draw, bound[2]);
  } while ((uint64_t)shape.m * shape.n * shape.k > draw->work);
  shape.k0 = one_in(draw, 2) ? 0 : one_in(draw, 2) ? 64 : draw_below(draw, 128);
  shape.n0 = one_in(draw, 2) ? 0 : 8 * draw_below(draw, 16);
  return shape;
}

static uint32_t draw_stride(struct draw *draw, uint32_t row) {
  row = (row + 15) / 16 * 16;
  return one_in(draw, 3) ? row + 16 * draw_below(draw, 4) : row;
}

/* A place for `bytes` between begin and end, or UINT32_MAX. */
static uint32_t draw_place(struct draw *draw, uint64_t bytes) {
  const uint32_t room = draw->end - draw->begin;
  if (bytes > room) return UINT32_MAX;
  const uint32_t beats = (uint32_t)(room - bytes) / 16 + 1;
  /* Now and then at the very end: the last byte of the window. */
  return draw->begin + 16 * (one_in(draw, 8) ? beats - 1 : draw_below(draw, beats));
}

static bool overlap(struct naive_span x, struct naive_span y) { return x.begin < y.end && y.begin < x.end; }

static bool is_disjoint(const uint8_t *descriptor) {
  const struct naive_spans spans = naive_spans_of(descriptor);
  return !overlap(spans.o, spans.a) && !overlap(spans.o, spans.b) &&
         (spans.e.end == spans.e.begin || !overlap(spans.o, spans.e));
}

bool is_runnable(const uint8_t *descriptor, uint32_t ring, uint32_t ring_end, uint64_t work) {
  if (descriptor[0] == 0) return true;
  const uint64_t m = get_field(descriptor, 0x08), n = get_field(descriptor, 0x0C), k = get_field(descriptor, 0x10);
  if (m * k > work || n * k > work || (unsigned __int128)m * n * k > work) return false;
  const struct naive_spans spans = naive_spans_of(descriptor);
  return is_disjoint(descriptor) && !overlap(spans.o, (struct naive_span){ring, ring_end});
}

/* The same B as the last descriptor's: what a kernel may have kept. False where there is none. */
static bool share_b(struct draw *draw, uint8_t *d, struct shape *shape) {
  if (draw->last[0] != 1) return false;
  shape->n = get_field(draw->last, 0x0C);
  shape->k = get_field(draw->last, 0x10);
  shape->k0 = draw->last[5];
  while ((uint64_t)shape->m * shape->n * shape->k > draw->work && shape->m > 1) shape->m /= 2;
  d[3] = draw->last[3];
  put_field(d, 0x1C, get_field(draw->last, 0x1C));
  put_field(d, 0x20, get_field(draw->last, 0x20));
  return true;
}

/* The columns behind the last output, where they may share its last block: a neighbouring head. */
static bool share_output(struct draw *draw, uint8_t *d, struct shape *shape) {
  const uint8_t format = draw->last[4];
  if (draw->last[0] != 1 || bits_of(format) >= 16) return false;
  const uint32_t stride = get_field(draw->last, 0x28), columns = stride / (16 * bits_of(format)) * 128;
  const uint32_t next = (draw->last[6] + get_field(draw->last, 0x0C) + 7) / 8 * 8;
  if (next >= columns) return false;
  shape->m = get_field(draw->last, 0x08);
  shape->n0 = next % 128;
  if (shape->n > columns - next) shape->n = columns - next;
  while ((uint64_t)shape->m * shape->n * shape->k > draw->work && shape->k > 1) shape->k /= 2;
  d[4] = format;
  put_field(d, 0x24, get_field(draw->last, 0x24) + next / 128 * 16 * bits_of(format));
  /* The stride may end before the row does: that many rows of the rest must still lie inside it. */
  put_field(d, 0x28, stride);
  return plane_row(shape->n0, shape->n, format) <= stride && (uint64_t)shape->m * shape->n * shape->k <= draw->work;
}

static bool draw_once(struct draw *draw, uint8_t *d) {
  memset(d, 0, NAIVE_DESCRIPTOR_BYTES);
  d[0] = 1;
  d[1] = (uint8_t)draw_below(draw, 2);
  d[2] = operands[draw_below(draw, COUNT(operands))];
  d[3] = operands[draw_below(draw, COUNT(operands))];
  d[4] = outputs[draw_below(draw, COUNT(outputs))];
  struct shape shape = draw_shape(draw);
  const bool has_b = one_in(draw, 3) && share_b(draw, d, &shape);
  const bool has_o = !has_b && one_in(draw, 4) && share_output(draw, d, &shape);
  if (bits_of(d[4]) >= 16) shape.n0 = 0;

  const uint32_t a_stride = draw_stride(draw, plane_row(shape.k0, shape.k, d[2]));
  const uint32_t a_off = draw_place(draw, (uint64_t)shape.m * a_stride);
  if (a_off == UINT32_MAX) return false;
  put_field(d, 0x14, a_off);
  put_field(d, 0x18, a_stride);
  if (!has_b) {
    const uint32_t b_stride = draw_stride(draw, plane_row(shape.k0, shape.k, d[3]));
    const uint32_t kind = draw_below(draw, 6);
    uint32_t b_off = draw_place(draw, (uint64_t)shape.n * b_stride);
    if (kind == 0) b_off = a_off; /* the same bytes, or overlapping ones */
    if (kind == 1) b_off = a_off + 16 * draw_below(draw, 20);
    if (b_off == UINT32_MAX) return false;
    put_field(d, 0x1C, b_off);
    put_field(d, 0x20, b_stride);
  }
  if (!has_o) {
    const uint32_t row = bits_of(d[4]) >= 16 ? shape.n * bits_of(d[4]) / 8 : plane_row(shape.n0, shape.n, d[4]);
    const uint32_t stride = draw_stride(draw, row) + (one_in(draw, 3) ? 16 * bits_of(d[4]) : 0);
    const uint32_t off = draw_place(draw, (uint64_t)shape.m * stride);
    if (off == UINT32_MAX) return false;
    put_field(d, 0x24, off);
    put_field(d, 0x28, stride);
  }
  if (bits_of(d[4]) != 32) {
    const uint32_t entries = d[1] % 2 == 1 ? shape.m : shape.n;
    uint32_t off = draw_place(draw, (uint64_t)entries * 8);
    if (one_in(draw, 4)) off = one_in(draw, 2) ? a_off : get_field(d, 0x1C); /* inside an operand */
    put_field(d, 0x2C, off);
  }
  d[5] = (uint8_t)shape.k0;
  d[6] = (uint8_t)shape.n0;
  put_field(d, 0x08, shape.m);
  put_field(d, 0x0C, shape.n);
  put_field(d, 0x10, shape.k);
  put_field(d, 0x3C, draw_below(draw, UINT32_MAX)); /* the tag is nobody's business */
  const struct naive_spans spans = naive_spans_of(d);
  return spans.a.end <= draw->end && spans.b.end <= draw->end && spans.o.end <= draw->end && spans.e.end <= draw->end &&
         is_disjoint(d);
}

void draw_valid(struct draw *draw, uint8_t *descriptor) {
  while (!draw_once(draw, descriptor)) continue;
  memcpy(draw->last, descriptor, NAIVE_DESCRIPTOR_BYTES);
}

static uint32_t draw_edge(struct draw *draw, uint32_t window_bytes) {
  static const uint32_t edges[] = {0,    1,    2,    3,    4,    5,     6,     7,     8,     9,     15,    16,   17,
                                   0x13, 0x14, 0x15, 0x20, 0x21, 0x22,  0x30,  31,    32,    33,    48,    63,   64,
                                   65,   112,  119,  120,  121,  124,   127,   128,   129,   136,   255,   256,  1032,
                                   4096, 8192, 8193, 16383, 16384, 16385, 65535, 65536, 65537, 0x40000000, 0x40000001};
  static const int32_t near[] = {-17, -16, -15, -1, 0, 1, 15, 16, 17};
  const uint32_t kind = draw_below(draw, 8);
  if (kind < 4) return edges[draw_below(draw, COUNT(edges))];
  const uint32_t beside = (uint32_t)near[draw_below(draw, COUNT(near))];
  if (kind == 4) return window_bytes + beside;
  if (kind == 5) return UINT32_C(0x80000000) + beside;
  if (kind == 6) return 0u + beside; /* around 2^32 */
  return draw_below(draw, UINT32_MAX);
}

void draw_mutation(struct draw *draw, uint32_t window_bytes, uint8_t *descriptor) {
  static const uint8_t fields[] = {0, 1, 2, 3, 4, 5, 6, 7, 0x08, 0x0C, 0x10, 0x14, 0x18, 0x1C, 0x20, 0x24, 0x28, 0x2C,
                                   0x30, 0x34, 0x38, 0x3C};
  for (uint32_t times = 1 + draw_below(draw, 3); times > 0; times--) {
    const uint32_t field = fields[draw_below(draw, COUNT(fields))];
    const uint32_t now = get_field(descriptor, field);
    const uint32_t kind = draw_below(draw, 4);
    put_field(descriptor, field,
              kind == 0 ? now ^ UINT32_C(1) << draw_below(draw, field < 8 ? 8 : 32)
                        : kind == 1 ? now + (uint32_t[]){1, 16, UINT32_MAX, UINT32_MAX - 15}[draw_below(draw, 4)]
                                    : draw_edge(draw, window_bytes));
  }
}

struct naive_config draw_config(struct draw *draw, const struct bed *bed, bool accepted) {
  struct naive_config config = bed_plain_config(bed);
  config.ring_log2 = 1 + draw_below(draw, 6);
  config.ring = 64 * draw_below(draw, 64);
  if (one_in(draw, 4)) config.window_bytes = bed->window_bytes - 0x10000 * draw_below(draw, bed->window_bytes / 0x20000);
  if (accepted) return config;
  switch (draw_below(draw, 5)) {
    case 0: config.bus ^= UINT64_C(1) << draw_below(draw, 64); break;
    case 1: config.bus = draw_edge(draw, 0) | (uint64_t)draw_edge(draw, 0) << 32; break;
    case 2: config.window_bytes = draw_edge(draw, bed->window_bytes); break;
    case 3: config.ring = draw_edge(draw, config.window_bytes - (64u << config.ring_log2)); break;
    default: config.ring_log2 = draw_edge(draw, 0); break;
  }
  if (one_in(draw, 4)) config.ring_log2 = draw_edge(draw, 0);
  return config;
}
