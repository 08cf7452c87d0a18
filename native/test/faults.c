/* Validation (contract section 6): every class, the order of the classes, and arithmetic near 2^32. */
#include "device/emulator/emulator.h"
#include "device/emulator/engine.h"
#include "test/support.h"

#define AT 0x1040u
#define WINDOW 0x100000u

static const struct beta_limits limits = {.caps = 0x3FFF, .max_k = 16384, .max_kp = 1032, .ring_max = 12};

#define FIELD(name) offsetof(beta_descriptor, name)

static void expect(const beta_descriptor *d, const struct beta_limits *device, uint32_t window, uint32_t code,
                   uint32_t field, uint32_t at, const char *what) {
  const struct beta_fault fault = beta_validate(d, device, window, AT);
  const bool same = fault.code == code && fault.field == field && fault.at == at;
  check(same, "%s: code %u field 0x%02X at 0x%X (got %u 0x%02X 0x%X)", what, code, field, at, fault.code, fault.field,
        fault.at);
}

/* One wrong field at a time. `change` is applied to a valid descriptor named d. */
#define REFUSES(change, code, field)                                              \
  do {                                                                            \
    beta_descriptor d = small_qmm();                                              \
    change;                                                                       \
    expect(&d, &limits, WINDOW, BETA_FAULT_##code, FIELD(field), AT, #code " " #change); \
  } while (0)

#define ACCEPTS(change)                                                  \
  do {                                                                   \
    beta_descriptor d = small_qmm();                                     \
    change;                                                              \
    expect(&d, &limits, WINDOW, BETA_FAULT_NONE, 0, 0, "valid " #change); \
  } while (0)

static void test_classes(void) {
  ACCEPTS(d.tag = 0xFFFFFFFFu);
  ACCEPTS(d.flags = 3);
  REFUSES(d.op = 2, OP, op);
  REFUSES(d.op = 255, OP, op);
  REFUSES(d.flags = 4, OP, flags);
  REFUSES(d.flags = 0x81, OP, flags);
  REFUSES(d.reserved0 = 1, RESERVED, reserved0);
  REFUSES(d.reserved1 = 0x80000000u, RESERVED, reserved1);
  REFUSES(d.reserved2 = 1, RESERVED, reserved2);
  REFUSES(d.reserved3 = 1, RESERVED, reserved3);
  REFUSES(d.a_fmt = 4, FORMAT, a_fmt);                              /* 16 bits is no operand */
  REFUSES(d.a_fmt = 0x08, FORMAT, a_fmt);                           /* spare bit 3 */
  REFUSES(d.a_fmt = 0x40, FORMAT, a_fmt);                           /* spare bit 6 */
  REFUSES(d.b_fmt = format_of(1, BETA_ENC_PM1), FORMAT, b_fmt);     /* PM1 is one bit only */
  REFUSES(d.b_fmt = format_of(0, 3), FORMAT, b_fmt);                /* no such encoding */
  REFUSES(d.o_fmt = format_of(6, BETA_ENC_S), FORMAT, o_fmt);
  REFUSES(d.o_fmt = format_of(5, BETA_ENC_U), FORMAT, o_fmt);       /* integer rows are S */
  REFUSES(d.o_fmt = format_of(4, BETA_ENC_U), FORMAT, o_fmt);
  REFUSES(d.o_fmt = format_of(5, BETA_ENC_PM1), FORMAT, o_fmt);
  REFUSES(d.k0 = 128, SHAPE, k0);
  REFUSES(d.n0 = 8, SHAPE, n0);                                     /* int32 rows start at 0 */
  REFUSES((d.o_fmt = 0, d.n0 = 4), SHAPE, n0);
  REFUSES((d.o_fmt = 0, d.n0 = 128), SHAPE, n0);
  REFUSES(d.m = 0, SHAPE, m);
  REFUSES(d.n = 0, SHAPE, n);
  REFUSES(d.k = 0, SHAPE, k);
  REFUSES(d.a_stride = 0, SHAPE, a_stride);
  REFUSES(d.a_fmt = 1, SHAPE, a_stride);                            /* two planes need 32 bytes */
  REFUSES(d.k0 = 29, SHAPE, a_stride);                              /* 29 + 100 elements: two blocks */
  ACCEPTS(d.k0 = 28);
  REFUSES((d.k = 129, d.a_stride = 32), SHAPE, b_stride);
  REFUSES(d.n = 5, SHAPE, o_stride);                                /* 5 int32 are 20 bytes */
  REFUSES((d.o_fmt = format_of(4, BETA_ENC_S), d.n = 9), SHAPE, o_stride);
  REFUSES((d.o_fmt = 0, d.n0 = 120, d.n = 9), SHAPE, o_stride);     /* 129 columns: two blocks */
  ACCEPTS((d.o_fmt = 0, d.n0 = 120, d.n = 8));
  REFUSES(d.e_off = 16, SHAPE, e_off);                              /* int32 has no table */
  REFUSES((d.k = 16385, d.a_stride = d.b_stride = 16400), LIMIT, k);
  ACCEPTS((d.k = 16384, d.k0 = 127, d.a_stride = d.b_stride = 2064));
  REFUSES(d.a_off += 8, ALIGN, a_off);
  REFUSES(d.a_stride = 24, ALIGN, a_stride);
  REFUSES(d.b_off += 1, ALIGN, b_off);
  REFUSES(d.b_stride = 17, ALIGN, b_stride);
  REFUSES(d.o_off += 4, ALIGN, o_off);
  REFUSES(d.o_stride = 20, ALIGN, o_stride);
  REFUSES((d.o_fmt = 0, d.e_off = 8), ALIGN, e_off);
}

static void test_nop(void) {
  beta_descriptor d;
  memset(&d, 0xFF, sizeof d); /* everything that a NOP does not look at */
  d.op = BETA_OP_NOP;
  expect(&d, &limits, WINDOW, BETA_FAULT_OP, FIELD(flags), AT, "NOP: flags are checked");
  d.flags = BETA_FLAG_EARLY_B;
  expect(&d, &limits, WINDOW, BETA_FAULT_RESERVED, FIELD(reserved0), AT, "NOP: reserved fields are checked");
  d.reserved0 = 0;
  d.reserved1 = d.reserved2 = d.reserved3 = 0;
  expect(&d, &limits, WINDOW, BETA_FAULT_NONE, 0, 0, "NOP: nothing else is checked");
}

static void test_limits(void) {
  beta_descriptor d = small_qmm();
  struct beta_limits small = limits;
  small.max_k = 99;
  expect(&d, &small, WINDOW, BETA_FAULT_LIMIT, FIELD(k), AT, "MAX_K of the device");
  small.max_k = 100;
  expect(&d, &small, WINDOW, BETA_FAULT_NONE, 0, 0, "K = MAX_K");
  d.b_fmt = 3; /* 8 planes of one block */
  d.b_stride = 128;
  small.max_kp = 7;
  expect(&d, &small, WINDOW, BETA_FAULT_LIMIT, FIELD(k), AT, "MAX_KP counts planes of B");
  small.max_kp = 8;
  expect(&d, &small, WINDOW, BETA_FAULT_NONE, 0, 0, "row of B = MAX_KP");
  d.k0 = 127; /* a second block */
  d.a_stride = 32;
  d.b_stride = 256;
  expect(&d, &small, WINDOW, BETA_FAULT_LIMIT, FIELD(k), AT, "MAX_KP counts k0");
  small = limits;
  small.caps &= ~(1u << 3);
  d.b_fmt = 3;
  expect(&d, &small, WINDOW, BETA_FAULT_NONE, 0, 0, "CAPS of A do not bind B");
  d.a_fmt = 3;
  expect(&d, &small, WINDOW, BETA_FAULT_FORMAT, FIELD(a_fmt), AT, "a width that CAPS lacks");
}

/* Wrong in every way at once: the first class is reported; then repaired class by class. */
static void test_order(void) {
  beta_descriptor d = {
      .op = 9, .flags = 0xFF, .a_fmt = 0xFF, .b_fmt = 0xFF, .o_fmt = 0xFF, .k0 = 255, .n0 = 255, .reserved0 = 255,
      .m = 0, .n = 0, .k = 0, .a_off = 0xFFFFFFF1u, .b_off = 0xFFFFFFF1u, .o_off = 0xFFFFFFF1u, .e_off = 0xFFFFFFF1u,
      .reserved1 = 1, .reserved2 = 1, .reserved3 = 1,
  };
  struct beta_limits small = limits;
  small.max_k = 199;
#define NEXT(code, field, at) expect(&d, &small, WINDOW, BETA_FAULT_##code, FIELD(field), at, "order: " #code " " #field)
  NEXT(OP, op, AT);
  d.op = BETA_OP_QMM;
  NEXT(OP, flags, AT);
  d.flags = 0;
  NEXT(RESERVED, reserved0, AT);
  d.reserved0 = 0;
  NEXT(RESERVED, reserved1, AT);
  d.reserved1 = 0;
  NEXT(RESERVED, reserved2, AT);
  d.reserved2 = 0;
  NEXT(RESERVED, reserved3, AT);
  d.reserved3 = 0;
  NEXT(FORMAT, a_fmt, AT);
  d.a_fmt = 0;
  NEXT(FORMAT, b_fmt, AT);
  d.b_fmt = 0;
  NEXT(FORMAT, o_fmt, AT);
  d.o_fmt = format_of(5, BETA_ENC_S);
  NEXT(SHAPE, k0, AT);
  d.k0 = 0;
  NEXT(SHAPE, n0, AT);
  d.n0 = 0;
  NEXT(SHAPE, m, AT);
  d.m = 2;
  NEXT(SHAPE, n, AT);
  d.n = 2;
  NEXT(SHAPE, k, AT);
  d.k = 200;
  NEXT(SHAPE, a_stride, AT);
  d.a_stride = 33;
  NEXT(SHAPE, b_stride, AT);
  d.b_stride = 33;
  NEXT(SHAPE, o_stride, AT);
  d.o_stride = 9;
  NEXT(SHAPE, e_off, AT);
  d.o_fmt = format_of(4, BETA_ENC_S);
  NEXT(LIMIT, k, AT);
  d.k = 199;
  NEXT(ALIGN, a_off, AT);
  d.a_off = 0xFFFFFFF0u;
  NEXT(ALIGN, a_stride, AT);
  d.a_stride = 32;
  NEXT(ALIGN, b_off, AT);
  d.b_off = 0xFFFFFFE0u;
  NEXT(ALIGN, b_stride, AT);
  d.b_stride = 32;
  NEXT(ALIGN, o_off, AT);
  d.o_off = 0xFFFFFFD0u;
  NEXT(ALIGN, o_stride, AT);
  d.o_stride = 16;
  NEXT(ALIGN, e_off, AT);
  d.e_off = 0xFFFFFFC0u;
  NEXT(BOUNDS, a_off, 0xFFFFFFF0u);
  d.a_off = 0;
  NEXT(BOUNDS, b_off, 0xFFFFFFE0u);
  d.b_off = 0;
  NEXT(BOUNDS, o_off, 0xFFFFFFD0u);
  d.o_off = 0;
  NEXT(BOUNDS, e_off, 0xFFFFFFC0u);
  d.e_off = 0;
  expect(&d, &small, WINDOW, BETA_FAULT_NONE, 0, 0, "order: repaired");
#undef NEXT
}

static void bounds(bool fits, uint32_t window, beta_descriptor d, uint32_t field, uint32_t at, const char *what) {
  if (fits) expect(&d, &limits, window, BETA_FAULT_NONE, 0, 0, what);
  else expect(&d, &limits, window, BETA_FAULT_BOUNDS, field, at, what);
}

static void test_bounds(void) {
  const uint32_t largest = 0xFFFF0000u;
  beta_descriptor d = small_qmm();
  d.m = 1;
  d.a_off = WINDOW - 16;
  bounds(true, WINDOW, d, 0, 0, "A's only row ends with the window");
  d.m = 2;
  bounds(false, WINDOW, d, FIELD(a_off), d.a_off, "A's second row lies behind it");
  d.a_off = WINDOW;
  d.m = 1;
  bounds(false, WINDOW, d, FIELD(a_off), d.a_off, "A begins behind the window");

  d = small_qmm();
  d.m = 1;
  d.a_stride = 0xFFFFFFF0u;
  bounds(true, WINDOW, d, 0, 0, "the stride of a single row does not count");
  d.m = 2;
  bounds(false, largest, d, FIELD(a_off), d.a_off, "off + stride wraps 2^32");
  d.m = 0xFFFFFFFFu;
  bounds(false, largest, d, FIELD(a_off), d.a_off, "(M-1) * stride near 2^64");
  d = small_qmm();
  d.m = 0x10000001u; /* (M-1) * 16 = 2^32: zero in 32 bits */
  bounds(false, largest, d, FIELD(a_off), d.a_off, "(M-1) * stride = 2^32");
  d.m = (largest - d.a_off) / 16; /* to the last byte of a window of almost 4 GiB */
  d.n = 1;
  d.b_off = d.o_off = 0;
  bounds(true, largest, d, 0, 0, "A ends with the largest window");
  d.m++;
  bounds(false, largest, d, FIELD(a_off), d.a_off, "and one row more does not fit");
  d = small_qmm();
  d.n = 0x40000001u; /* row of 2^32 + 4 bytes */
  expect(&d, &limits, largest, BETA_FAULT_SHAPE, FIELD(o_stride), AT, "an output row of 2^32 + 4 bytes");
  d = small_qmm();
  d.n = 0xFFFFFFFFu;
  d.o_stride = 0xFFFFFFF0u;
  d.o_fmt = format_of(3, BETA_ENC_S); /* row of 2^32 bytes */
  expect(&d, &limits, largest, BETA_FAULT_SHAPE, FIELD(o_stride), AT, "N = 2^32-1, an output row of 2^32 bytes");
  d.o_fmt = 0;
  bounds(false, largest, d, FIELD(b_off), d.b_off, "N = 2^32-1 rows of B");
  d = small_qmm();
  d.o_fmt = 0;
  d.e_off = WINDOW - 32;
  bounds(true, WINDOW, d, 0, 0, "a table of 3 entries at the end");
  d.n = 5;
  bounds(false, WINDOW, d, FIELD(e_off), d.e_off, "a table of 5 entries there");
  d.flags = BETA_FLAG_TABLE_BY_ROW;
  bounds(true, WINDOW, d, 0, 0, "by row it has 2 entries");
  d.m = 5;
  d.n = 1;
  bounds(false, WINDOW, d, FIELD(e_off), d.e_off, "by row with 5 rows");
  d = small_qmm();
  d.o_off = WINDOW - 32;
  bounds(true, WINDOW, d, 0, 0, "int32 output: the last row's 12 bytes end before the window's end");
}

static void config(struct beta_config config, uint32_t reg, const char *what) {
  const struct beta_fault fault = beta_validate_config(&config, &limits, BETA_EMULATOR_BUS, WINDOW);
  const uint32_t code = reg == 0 ? BETA_FAULT_NONE : BETA_FAULT_CONFIG;
  check(fault.code == code && fault.field == reg && fault.at == 0, "%s: register 0x%02X (got %u 0x%02X)", what, reg,
        fault.code, fault.field);
}

#define CONFIG(change, reg)                                                                                  \
  do {                                                                                                       \
    struct beta_config c = {.bus = BETA_EMULATOR_BUS, .window_bytes = WINDOW, .ring = 0x1000, .ring_log2 = 4}; \
    change;                                                                                                  \
    config(c, reg, "CONFIG " #change);                                                                       \
  } while (0)

static void test_config(void) {
  CONFIG((void)c, 0);
  CONFIG(c.bus += 0x10000, BETA_REG_WIN_LO);
  CONFIG(c.bus += 1, BETA_REG_WIN_LO);
  CONFIG(c.bus ^= UINT64_C(1) << 32, BETA_REG_WIN_HI);
  CONFIG(c.bus = 0, BETA_REG_WIN_LO);
  CONFIG(c.window_bytes = 0, BETA_REG_WIN_SIZE);
  CONFIG(c.window_bytes -= 16, BETA_REG_WIN_SIZE);
  CONFIG(c.window_bytes += 0x10000, BETA_REG_WIN_SIZE);
  CONFIG(c.window_bytes = 0x10000, 0);
  CONFIG(c.ring += 32, BETA_REG_RING);
  CONFIG(c.ring = WINDOW - 15 * 64, BETA_REG_RING);
  CONFIG(c.ring = WINDOW - 16 * 64, 0);
  CONFIG(c.ring = 0xFFFFFFC0u, BETA_REG_RING);
  CONFIG(c.ring_log2 = 12, 0);
  CONFIG(c.ring_log2 = 13, BETA_REG_RING_LOG2);
  CONFIG(c.ring_log2 = 64, BETA_REG_RING_LOG2);
  CONFIG(c.ring_log2 = 0xFFFFFFFFu, BETA_REG_RING_LOG2);
  CONFIG((c.ring = WINDOW, c.ring_log2 = 13), BETA_REG_RING);
}

int main(void) {
  test_classes();
  test_nop();
  test_limits();
  test_order();
  test_bounds();
  test_config();
  return finish();
}
