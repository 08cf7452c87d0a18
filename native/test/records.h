/* Records of every step at random sizes, for tests of what happens to them; the window around them is noise. */
#ifndef BETA_TEST_RECORDS_H
#define BETA_TEST_RECORDS_H

#include <math.h>

#include "test/support.h"
#include "vector/vector.h"

#define GROUP_MAX (1 + BETA_STEP_TERMS_MAX + BETA_STEP_CONSUMERS_MAX)

static uint64_t state = 88172645463325252u;

static uint32_t below(uint32_t limit) { return (uint32_t)(next_random(&state) >> 16) % limit; }
static uint32_t between(uint32_t from, uint32_t to) { return from + below(to - from + 1); }

static uint8_t *window; /* of WINDOW bytes, which whoever includes this defines */
static uint32_t next_free;
static uint32_t least_rows = 1, most_rows = 6; /* of a step that is no softmax */

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

typedef beta_record record;

static uint32_t found(uint32_t sequences) { return space(sequences * BETA_FOUND_BYTES); }

/* A consumer of any kind and format. */
static beta_step_quantise consumer(uint32_t rows, uint32_t width, uint32_t sequences) {
  const uint32_t kind = below(BETA_STEP_QUANTISER_ASYMMETRIC + 1), log2 = below(4), bits = 1u << log2;
  const bool pm1 = kind == BETA_STEP_QUANTISER_SIGN && (log2 == 0 || below(2));
  /* A signed bit has no code above 0, so a range cannot be divided into them. */
  const bool is_signed = kind == BETA_STEP_QUANTISER_SIGN || (below(2) && !(kind >= BETA_STEP_QUANTISER_SYMMETRIC && log2 == 0));
  const uint32_t stride = (width + 127) / 128 * 16 * (pm1 ? 1 : bits);
  const double low = below(2) ? -INFINITY : -0.01 * below(1000);
  const uint32_t blocks = rows % 3 == 0 ? 3 : 1, sums = below(2);
  return (beta_step_quantise){
      .op = BETA_STEP_QUANTISE,
      .format = pm1 ? format_of(0, BETA_ENC_PM1) : format_of(log2, is_signed ? BETA_ENC_S : BETA_ENC_U),
      .kind = (uint8_t)kind,
      .qmin = is_signed ? -(1 << (bits - 1)) : 0,
      .qmax = is_signed ? (1 << (bits - 1)) - 1 : (1 << bits) - 1,
      .step = 0.01 + below(1000) / 100.0,
      .clip_low = low,
      .clip_high = below(2) ? INFINITY : 0.01 + below(1000) / 100.0,
      .shift_off = below(2) ? space(width * 4) : 0,
      .out_stride = stride,
      .out_off = space(rows * stride),
      .found_off = found(sequences),
      .sums_off = sums ? space(rows * 8) : 0,
      .sums_rows = sums ? rows / blocks : 0,
      .sums_stride = sums ? rows / blocks * 8 : 0,
  };
}

/* A term with sums of either kind or none. */
static beta_step_term term(uint32_t rows, uint32_t width, uint32_t sequences, bool by_row) {
  const uint32_t blocks = width % 3 == 0 ? 3 : 1, block = width / blocks, channels = by_row ? rows : width;
  const uint32_t sums = below(by_row ? 2 : 3); /* none, f64, i32 by sequence */
  return (beta_step_term){
      .op = BETA_STEP_TERM,
      .acc_off = space(rows * width * 4),
      .acc_stride = block * 4,
      .block = block,
      .block_stride = rows * block * 4,
      .scale_off = below(2) ? space(channels * 8) : 0,
      .scale = 0.125,
      .found_a_off = below(2) ? found(sequences) : 0,
      .found_b_off = below(2) ? found(sequences) : 0,
      .sums_off = sums == 0 ? 0 : sums == 1 ? space(channels * 8) : space(sequences * width * 4),
      .sums_stride = sums == 2 ? width * 4 : 0,
      .sums_scale = 0.5,
      .row_sums_off = below(2) ? space(blocks * rows * 8) : 0,
      .row_sums_stride = rows * 8,
  };
}

static beta_step_table table(uint32_t words, uint32_t width) {
  const uint32_t ternary = below(2), stride = (width + 127) / 128 * 16 * (ternary ? 2 : 1);
  return (beta_step_table){
      .op = BETA_STEP_TABLE,
      .word_off = space(words * stride),
      .word_stride = stride,
      .word_format = ternary ? format_of(1, BETA_ENC_S) : format_of(0, BETA_ENC_PM1),
      .word_scale_off = space(words * 8),
  };
}

static record embed(uint32_t rows, uint32_t width, uint32_t sequences, uint32_t words) {
  const uint32_t positions = between(1, 5), types = between(1, 2);
  return (record){.embed = {
      .op = BETA_STEP_EMBED, .rows = rows, .width = width, .starts_off = starts(sequences, rows), .sequences = sequences,
      .words = words, .positions = positions, .types = types, .position_off = space(positions * width * 4),
      .type_off = space(types * width * 4), .ids_off = indices(rows, words), .positions_off = indices(rows, positions),
      .types_off = indices(rows, types), .gamma_off = space(width * 4), .beta_off = space(width * 4), .epsilon = 1e-12,
      .out_off = below(2) ? space(rows * width * 4) : 0}};
}

static record affine(uint32_t rows, uint32_t width, uint32_t sequences, bool by_row) {
  return (record){.affine = {
      .op = BETA_STEP_AFFINE, .rows = rows, .width = width, .by_row = by_row, .activation = (uint8_t)below(4),
      .starts_off = sequences > 1 || below(2) ? starts(sequences, rows) : 0, .sequences = sequences,
      .bias_off = below(2) ? space((by_row ? rows : width) * 4) : 0, .out_off = below(2) ? space(rows * width * 4) : 0}};
}

static record norm(uint32_t rows, uint32_t width, uint32_t sequences) {
  const uint32_t residual = space(rows * width * 4);
  return (record){.norm = {
      .op = BETA_STEP_NORM, .rows = rows, .width = width, .starts_off = starts(sequences, rows), .sequences = sequences,
      .bias_off = below(2) ? space(width * 4) : 0, .residual_off = residual, .gamma_off = space(width * 4),
      .beta_off = space(width * 4), .epsilon = 1e-5, .out_off = below(2) ? residual : space(rows * width * 4)}};
}

static record softmax(uint32_t tokens, uint32_t heads) {
  const uint32_t length = below(2) ? between(1, 200) : 0, acc = space(heads * tokens * tokens * 4);
  if (below(2)) { /* near enough to one another for the table */
    for (uint32_t i = 0; i < heads * tokens * tokens; i++) memcpy(window + acc + 4 * i, &(int32_t){(int32_t)below(150)}, 4);
  }
  return (record){.softmax = {.op = BETA_STEP_SOFTMAX, .tokens = tokens, .heads = heads, .acc_off = acc,
                              .acc_stride = tokens * 4, .scale = 0.05, .found_a_off = below(2) ? found(1) : 0,
                              .found_b_off = below(2) ? found(1) : 0, .table_off = length ? space(length * 8) : 0,
                              .table_length = length, .key_sums_off = below(2) ? space(heads * tokens * 4) : 0,
                              .key_sums_stride = tokens * 4}};
}

static beta_step_value value(uint32_t tokens, uint32_t width) {
  const uint32_t log2 = below(4), encoding = below(log2 == 0 ? 3 : 2), stride = ((tokens + 127) / 128 * 16) << log2;
  return (beta_step_value){.op = BETA_STEP_VALUE, .width = width, .off = space(width * stride), .stride = stride,
                           .format = format_of(log2, encoding), .found_off = below(2) ? found(1) : 0, .scale = 0.5,
                           .codes_off = space(tokens * width * 4)};
}

static record dense(uint32_t rows, uint32_t width) {
  const uint32_t out = between(1, 30);
  return (record){.dense = {.op = BETA_STEP_DENSE, .rows = rows, .width = width, .out_width = out,
                            .x_off = space(rows * width * 4), .weight_off = space(out * width * 4),
                            .bias_off = below(2) ? space(out * 4) : 0, .out_off = space(rows * out * 4)}};
}

static record pick(uint32_t rows, uint32_t width, uint32_t sequences) {
  const uint32_t x_rows = between(1, 9);
  return (record){.pick = {.op = BETA_STEP_PICK, .rows = rows, .width = width, .starts_off = starts(sequences, rows),
                           .sequences = sequences, .index_off = indices(rows, x_rows), .x_off = space(x_rows * width * 4),
                           .x_rows = x_rows, .out_off = below(2) ? space(rows * width * 4) : 0}};
}

/* A producer with its terms and consumers, all valid and in space of its own; returns how many records. */
static uint32_t another_group(uint32_t op, record group[GROUP_MAX]) {
  const bool attends = op == BETA_STEP_SOFTMAX, real = attends && below(2);
  const uint32_t heads = between(1, 3), tokens = between(1, 40), words = between(1, 9);
  /* With V behind it, a softmax leaves rows of the context. */
  const uint32_t rows = real ? tokens : attends ? heads * tokens : between(least_rows, most_rows);
  const uint32_t width = real ? heads * between(1, 70) : attends ? tokens : between(1, 300);
  const uint32_t sequences = attends ? 1 : between(1, 3);
  const bool by_row = op == BETA_STEP_AFFINE && below(2);
  uint32_t terms = between(1, BETA_STEP_TERMS_MAX), consumers = below(BETA_STEP_CONSUMERS_MAX + 1);
  switch (op) {
    case BETA_STEP_EMBED: group[0] = embed(rows, width, sequences, words); break;
    case BETA_STEP_AFFINE: group[0] = affine(rows, width, sequences, by_row); break;
    case BETA_STEP_NORM: group[0] = norm(rows, width, sequences); break;
    case BETA_STEP_SOFTMAX: group[0] = softmax(tokens, heads), terms = real, consumers = real ? between(1, 3) : 1; break;
    case BETA_STEP_PICK: group[0] = pick(rows, width, sequences), terms = 0; break;
    default: group[0] = dense(rows, width), terms = 0, consumers = 0; break;
  }
  group[0].header.terms = (uint8_t)terms;
  group[0].header.consumers = (uint8_t)consumers;
  for (uint32_t i = 1; i <= terms; i++) {
    if (op == BETA_STEP_EMBED) group[i].table = table(words, width);
    else if (attends) group[i].value = value(tokens, width);
    else group[i].term = term(rows, width, sequences, by_row);
  }
  for (uint32_t i = 1 + terms; i <= terms + consumers; i++) group[i].quantise = consumer(rows, width, sequences);
  return 1 + terms + consumers;
}

static const uint32_t producers[] = {BETA_STEP_EMBED, BETA_STEP_AFFINE, BETA_STEP_NORM, BETA_STEP_SOFTMAX, BETA_STEP_DENSE, BETA_STEP_PICK};
#define PRODUCERS (sizeof producers / sizeof producers[0])

#endif
