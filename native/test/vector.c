/*
 * Vector steps under the sanitizers: records of every step at random sizes over a window full of noise (so that every float is
 * met, NaN and infinities too), then the same records with random damage. What they compute is tested from TypeScript; here
 * nothing may be undefined, and a record either runs or is refused.
 */
#include <errno.h>

#include "test/support.h"
#include "vector/vector.h"

#define WINDOW 0x100000u
#define VALID_ROUNDS 300
#define DAMAGED_ROUNDS 20000
#define GROUP_MAX (1 + BETA_STEP_CONSUMERS_MAX)

static uint64_t state = 88172645463325252u;

static uint32_t below(uint32_t limit) { return (uint32_t)(next_random(&state) >> 16) % limit; }
static uint32_t between(uint32_t from, uint32_t to) { return from + below(to - from + 1); }

static beta_device *device;
static uint8_t *window;
static uint32_t next_free;

static void fill_with_noise(void) {
  for (uint32_t at = 0; at < WINDOW; at += 8) {
    const uint64_t word = next_random(&state);
    memcpy(window + at, &word, sizeof word);
  }
  next_free = 0x1000;
}

/* Window offset of `bytes` bytes of their own. */
static uint32_t space(uint32_t bytes) {
  const uint32_t off = next_free;
  next_free += (bytes + 63) / 64 * 64;
  if (next_free > WINDOW) {
    printf("Bail out! a case of %u bytes does not fit the window\n", (unsigned)next_free);
    exit(1);
  }
  return off;
}

/* An array of `count` indices below `limit`. */
static uint32_t indices(uint32_t count, uint32_t limit) {
  const uint32_t off = space(count * 4);
  for (uint32_t i = 0; i < count; i++) {
    const uint32_t value = below(limit);
    memcpy(window + off + 4 * i, &value, sizeof value);
  }
  return off;
}

static uint32_t starts(uint32_t sequences, uint32_t rows) {
  const uint32_t off = space((sequences + 1) * 4);
  uint32_t row = 0;
  for (uint32_t i = 0; i <= sequences; i++) {
    memcpy(window + off + 4 * i, &row, sizeof row);
    row = i + 1 == sequences ? rows : between(row, rows);
  }
  return off;
}

typedef union record {
  uint8_t bytes[BETA_STEP_BYTES];
  beta_step header;
  beta_step_quantise quantise;
  beta_step_embed embed;
  beta_step_affine affine;
  beta_step_norm norm;
  beta_step_softmax softmax;
  beta_step_dense dense;
} record;

/* A consumer of any kind and format. */
static beta_step_quantise consumer(uint32_t heads, uint32_t rows, uint32_t width, uint32_t sequences, bool minima) {
  const uint32_t kind = below(minima ? 3 : 2), log2 = below(4), bits = 1u << log2;
  const bool pm1 = kind == BETA_STEP_QUANTISER_SIGN && (log2 == 0 || below(2));
  const bool is_signed = kind == BETA_STEP_QUANTISER_SIGN || below(2);
  const uint32_t k0 = below(128), stride = (k0 + width + 127) / 128 * 16 * (pm1 ? 1 : bits);
  return (beta_step_quantise){
      .op = BETA_STEP_QUANTISE,
      .format = pm1 ? format_of(0, BETA_ENC_PM1) : format_of(log2, is_signed ? BETA_ENC_S : BETA_ENC_U),
      .kind = (uint8_t)kind,
      .qmin = is_signed ? -(1 << (bits - 1)) : 0,
      .qmax = is_signed ? (1 << (bits - 1)) - 1 : (1 << bits) - 1,
      .step = 0.01 + below(1000) / 100.0,
      .k0 = k0,
      .shift_off = below(2) ? space(width * 4) : 0,
      .out_stride = stride,
      .out_head_stride = rows * stride,
      .out_off = space(heads * rows * stride),
      .found_off = space(sequences * 8),
  };
}

static record embed(uint32_t rows, uint32_t width) {
  const uint32_t words = between(1, 9), positions = between(1, 5), types = between(1, 2), ternary = below(2);
  const uint32_t stride = (width + 127) / 128 * 16 * (ternary ? 2 : 1);
  return (record){.embed = {
      .op = BETA_STEP_EMBED, .rows = rows, .width = width, .words = words, .positions = positions, .types = types,
      .word_format = ternary ? format_of(1, BETA_ENC_S) : format_of(0, BETA_ENC_PM1), .word_stride = stride,
      .word_off = space(words * stride), .word_scale_off = space(words * 8), .position_off = space(positions * width * 4),
      .type_off = space(types * width * 4), .ids_off = indices(rows, words), .positions_off = indices(rows, positions),
      .types_off = indices(rows, types), .gamma_off = space(width * 4), .beta_off = space(width * 4), .epsilon = 1e-12,
      .out_off = below(2) ? space(rows * width * 4) : 0}};
}

static record affine(uint32_t rows, uint32_t width, uint32_t sequences) {
  const uint32_t blocks = width % 3 == 0 ? 3 : 1, block = width / blocks, by_row = below(2), per_sequence = below(2);
  const uint32_t channels = by_row ? rows : width;
  return (record){.affine = {
      .op = BETA_STEP_AFFINE, .rows = rows, .width = width, .block = block, .by_row = (uint8_t)by_row,
      .activation = (uint8_t)below(4), .acc_stride = block * 4, .block_stride = rows * block * 4,
      .acc_off = space(rows * width * 4), .scale_off = below(2) ? space(channels * 8) : 0, .scale = 0.125,
      .bias_off = below(2) ? space(channels * 4) : 0, .starts_off = starts(sequences, rows), .sequences = sequences,
      .t_off = below(2) ? space(sequences * 8) : 0, .offset_scale = 0.5, .sums_stride = per_sequence ? width * 4 : 0,
      .sums_off = space(per_sequence ? sequences * width * 4 : width * 8), .out_off = below(2) ? space(rows * width * 4) : 0}};
}

static record norm(uint32_t rows, uint32_t width, uint32_t sequences) {
  const uint32_t residual = space(rows * width * 4);
  return (record){.norm = {
      .op = BETA_STEP_NORM, .rows = rows, .width = width, .acc_off = space(rows * width * 4), .acc_stride = width * 4,
      .scale_off = below(2) ? space(width * 8) : 0, .scale = 0.125, .bias_off = below(2) ? space(width * 4) : 0,
      .starts_off = starts(sequences, rows), .sequences = sequences, .t_off = below(2) ? space(sequences * 8) : 0,
      .sums_off = space(width * 8), .residual_off = residual, .gamma_off = space(width * 4), .beta_off = space(width * 4),
      .epsilon = 1e-5, .out_off = below(2) ? residual : space(rows * width * 4)}};
}

static record softmax(uint32_t tokens, uint32_t heads) {
  const uint32_t length = below(2) ? between(1, 200) : 0, acc = space(heads * tokens * tokens * 4);
  if (below(2)) { /* near enough to one another for the table */
    for (uint32_t i = 0; i < heads * tokens * tokens; i++) memcpy(window + acc + 4 * i, &(int32_t){(int32_t)below(150)}, 4);
  }
  return (record){.softmax = {.op = BETA_STEP_SOFTMAX, .consumers = 1, .tokens = tokens, .heads = heads, .acc_off = acc,
                              .acc_stride = tokens * 4, .head_stride = tokens * tokens * 4, .scale = 0.05,
                              .table_off = length ? space(length * 8) : 0, .table_length = length}};
}

static record dense(uint32_t rows, uint32_t width) {
  const uint32_t out = between(1, 30);
  return (record){.dense = {.op = BETA_STEP_DENSE, .rows = rows, .width = width, .out_width = out,
                            .x_off = space(rows * width * 4), .weight_off = space(out * width * 4),
                            .bias_off = below(2) ? space(out * 4) : 0, .out_off = space(rows * out * 4)}};
}

/* A producer with its consumers, all valid; returns how many records. */
static uint32_t valid_group(uint32_t op, record group[GROUP_MAX]) {
  fill_with_noise();
  const uint32_t rows = between(1, 6), width = between(1, 300), sequences = between(1, 3), heads = between(1, 3);
  const uint32_t tokens = between(1, 40);
  const uint32_t consumers = op == BETA_STEP_SOFTMAX ? 1 : op == BETA_STEP_DENSE ? 0 : below(GROUP_MAX);
  switch (op) {
    case BETA_STEP_EMBED: group[0] = embed(rows, width); break;
    case BETA_STEP_AFFINE: group[0] = affine(rows, width, sequences); break;
    case BETA_STEP_NORM: group[0] = norm(rows, width, sequences); break;
    case BETA_STEP_SOFTMAX: group[0] = softmax(tokens, heads); break;
    default: group[0] = dense(rows, width); break;
  }
  group[0].header.consumers = (uint8_t)consumers;
  for (uint32_t i = 1; i <= consumers; i++) {
    group[i].quantise = op == BETA_STEP_SOFTMAX ? consumer(heads, tokens, tokens, 1, true)
                                                : consumer(1, rows, width, sequences, op == BETA_STEP_AFFINE);
  }
  return 1 + consumers;
}

static void damage(record *victim) {
  static const uint32_t interesting[] = {0, 1, 2, 4, 16, 64, 127, 128, 256, 0x1000, WINDOW - 16, WINDOW, 1u << 31, UINT32_MAX};
  const uint32_t at = 4 * below(20); /* the fields */
  uint32_t word;
  memcpy(&word, victim->bytes + at, sizeof word);
  switch (below(4)) {
    case 0: word = interesting[below(sizeof interesting / sizeof interesting[0])]; break;
    case 1: word += between(0, 128) - 64; break;
    case 2: word = below(WINDOW); break;
    default: word ^= 1u << below(32); break;
  }
  memcpy(victim->bytes + at, &word, sizeof word);
}

static const uint32_t producers[] = {BETA_STEP_EMBED, BETA_STEP_AFFINE, BETA_STEP_NORM, BETA_STEP_SOFTMAX, BETA_STEP_DENSE};
#define PRODUCERS (sizeof producers / sizeof producers[0])

static void test_valid(void) {
  record group[GROUP_MAX];
  uint32_t failed, refused = 0;
  for (uint32_t i = 0; i < VALID_ROUNDS * PRODUCERS; i++) {
    const uint32_t count = valid_group(producers[i % PRODUCERS], group);
    if (beta_vector_run(device, group, count, &failed) != 0) refused++;
  }
  check(refused == 0, "%u groups of valid records over noise run; %u were refused", VALID_ROUNDS * (unsigned)PRODUCERS, refused);

  fill_with_noise();
  group[0] = dense(1, BETA_STEP_WIDTH_MAX / 8);
  check(beta_vector_run(device, group, 1, &failed) == 0, "a wide row runs");
  fill_with_noise();
  group[0] = affine(1, BETA_STEP_WIDTH_MAX, 1);
  group[0].affine.consumers = 1;
  group[1].quantise = consumer(1, 1, BETA_STEP_WIDTH_MAX, 1, true);
  check(beta_vector_run(device, group, 2, &failed) == 0, "the widest row runs: it fits the stack");
}

static void test_damaged(void) {
  record group[GROUP_MAX];
  uint32_t ran = 0, refused = 0, wrong = 0;
  for (uint32_t i = 0; i < DAMAGED_ROUNDS; i++) {
    static record valid[GROUP_MAX];
    static uint32_t count;
    if (i % 20 == 0) count = valid_group(producers[i / 20 % PRODUCERS], valid);
    memcpy(group, valid, sizeof group);
    for (uint32_t n = between(1, 3); n > 0; n--) damage(&group[below(count)]);
    uint32_t failed = UINT32_MAX;
    const int code = beta_vector_run(device, group, count, &failed);
    if (code == 0) ran++;
    else if (code == -EINVAL && failed < count && beta_error()[0] != '\0') refused++;
    else wrong++;
  }
  check(wrong == 0 && ran > DAMAGED_ROUNDS / 20 && refused > DAMAGED_ROUNDS / 20,
        "of %u damaged groups %u run, %u are refused with a number and a sentence", DAMAGED_ROUNDS, ran, refused);
}

int main(void) {
  device = open_device("emu:", WINDOW);
  window = beta_window(device);
  test_valid();
  test_damaged();
  beta_close(device);
  return finish();
}
