/*
 * Lines (vector/line.c): whatever a line does not leave in doubt is the code that the definition has in double, at ties and next to them
 * as well; and little is in doubt.
 */
#include <math.h>

#include "test/support.h"
#include "vector/vector.h"

#define WIDTH_MAX 400u
#define ROUNDS 4000u

static uint64_t state = 88172645463325252u;

static uint32_t below(uint32_t limit) { return (uint32_t)(next_random(&state) >> 16) % limit; }
static double fraction(void) { return (double)(next_random(&state) >> 11) * 0x1p-53; }
static double real(void) { return (fraction() + fraction() + fraction() + fraction() - 2) * 2; }

/* What a step's offsets are relative to. 0 is no operand. */
static _Alignas(64) struct window {
  uint8_t none[64];
  int16_t int16[WIDTH_MAX];
  int32_t int32[WIDTH_MAX], sums[WIDTH_MAX];
  double scales[WIDTH_MAX];
  float bias[WIDTH_MAX], shift[WIDTH_MAX];
  beta_found a;
} window;

#define AT(field) ((uint32_t)offsetof(struct window, field))

typedef struct round {
  beta_group group;
  beta_job job;
  beta_terms terms;
  beta_coder coder;
  beta_found found;
} round_of;

/* `kind` 0: quarters, so that ties occur; 1: scales and steps a little off those; 2: anything near 1; 3: large and small ones. */
static void draw(round_of *r, const beta_vector *v, uint32_t kind) {
  const uint32_t width = 1 + below(WIDTH_MAX), log2 = below(4), bits = 1u << log2, is_signed = below(2), by_row = below(3) == 0;
  const double unit = kind == 0 ? 0.25 : kind == 1 ? 0.25 * (1 + 0x1p-26 * real()) : kind == 2 ? fabs(real()) + 0.01 : exp(8 * real());
  const int32_t most = kind == 3 ? 2000000000 : below(2) ? 20 : 3000;
  for (uint32_t i = 0; i < WIDTH_MAX; i++) {
    window.int32[i] = (int32_t)((fraction() - 0.5) * most);
    window.int16[i] = (int16_t)window.int32[i];
    window.sums[i] = (int32_t)below(200) - 100;
    window.scales[i] = kind < 2 ? unit * (1 + below(3)) : unit * (0.5 + fraction());
    window.bias[i] = (float)(kind < 2 ? 0.25 * ((double)below(17) - 8) : real());
    window.shift[i] = (float)(kind < 2 ? 0.25 * ((double)below(17) - 8) : real());
  }
  window.a = (beta_found){.step = kind < 2 ? 0.5 : 0.3 + fraction(), .t = kind < 2 ? 0.25 : real()};
  const bool int16 = most < 32768 && below(2);
  r->group = (beta_group){
      .step.affine = {.op = BETA_STEP_AFFINE, .terms = 1, .consumers = 1, .rows = 1, .width = width},
      .terms[0].term = {.op = BETA_STEP_TERM, .acc_int16 = int16, .acc_off = int16 ? AT(int16) : AT(int32), .block = width,
                        .scale_off = below(2) ? AT(scales) : 0, .scale = unit, .found_a_off = below(2) ? AT(a) : 0,
                        .sums_off = !by_row && below(2) ? AT(sums) : 0, .sums_stride = width * 4, .sums_scale = unit},
      .consumers[0] = {.op = BETA_STEP_QUANTISE, .kind = below(2) ? BETA_STEP_QUANTISER_ROUND_FROM_MIN : BETA_STEP_QUANTISER_ASYMMETRIC,
                       .qmin = is_signed ? -(1 << (bits - 1)) : 0, .qmax = is_signed ? (1 << (bits - 1)) - 1 : (1 << bits) - 1,
                       .clip_low = below(2) ? -INFINITY : -0.5, .clip_high = below(2) ? INFINITY : 1.25,
                       .shift_off = !by_row && below(2) ? AT(shift) : 0}};
  r->job = (beta_job){.v = v, .g = &r->group, .rows = 1, .width = width, .sequences = 1};
  r->terms = (beta_terms){.bias_off = below(2) ? AT(bias) : 0, .by_row = (int)by_row, .relu = (int)below(2)};
  r->found = (beta_found){.step = kind < 2 ? 0.5 * (1 << below(3)) : kind == 3 ? exp(4 * real()) : fabs(real()) + 0.05, .t = below(2) ? window.bias[0] : 0};
  r->coder = beta_coder_of(v, &r->group.consumers[0], r->found);
}

/* Codes that differ where no doubt was left, and what was in doubt. */
typedef struct outcome {
  uint32_t rows, chunks, doubts, wrong;
} outcome;

static void compare(const struct beta_vector_kernel *k, const round_of *r, const beta_line *line, const uint8_t *expected, outcome *o) {
  uint8_t codes[WIDTH_MAX + 128];
  uint16_t doubtful[WIDTH_MAX / BETA_LINE_CHUNK + 1];
  bool doubted[WIDTH_MAX / BETA_LINE_CHUNK + 1] = {false};
  const uint32_t doubts = k->line_codes(line, r->job.width, codes, doubtful);
  for (uint32_t i = 0; i < doubts; i++) doubted[doubtful[i]] = true;
  o->rows++;
  o->doubts += doubts;
  o->chunks += (r->job.width + BETA_LINE_CHUNK - 1) / BETA_LINE_CHUNK;
  for (uint32_t i = 0; i < r->job.width; i++) o->wrong += !doubted[i / BETA_LINE_CHUNK] && codes[i] != expected[i];
}

static void test_lines(const struct beta_vector_kernel *k) {
  const beta_vector v = {.base = (uint8_t *)&window, .bytes = sizeof window, .kernel = k};
  static round_of r;
  static beta_lines lines;
  static double x[WIDTH_MAX + 128];
  static float rounded[WIDTH_MAX];
  uint8_t expected[WIDTH_MAX + 128];
  outcome integers[4] = {{0}}, floats[4] = {{0}};
  for (uint32_t round = 0; round < ROUNDS; round++) {
    const uint32_t kind = round % 4;
    draw(&r, &v, kind);
    beta_sum_terms(&r.job, &r.terms, 0, 0, 0, r.job.width, x);
    beta_vector_kernel_portable.codes(&r.coder, x, r.job.width, expected);
    if (beta_lines_of_integers(&r.job, &r.terms, 0, &r.coder, &lines)) {
      beta_line line = r.terms.by_row ? beta_line_of_row(&lines.of[0], 0) : lines.of[0];
      line.numbers = (uint8_t *)&window + r.group.terms[0].term.acc_off;
      compare(k, &r, &line, expected, &integers[kind]);
    }
    for (uint32_t i = 0; i < r.job.width; i++) rounded[i] = (float)x[i];
    beta_lines_of_floats(&r.job, &r.coder, &lines);
    if (!lines.decides[0]) continue;
    lines.of[0].numbers = rounded;
    compare(k, &r, &lines.of[0], expected, &floats[kind]);
  }
  for (uint32_t kind = 0; kind < 4; kind++) {
    check(integers[kind].wrong == 0 && integers[kind].rows > ROUNDS / 8, "%s: codes of integers by %u lines of kind %u; %u are wrong", k->name,
          integers[kind].rows, kind, integers[kind].wrong);
    check(floats[kind].wrong == 0 && floats[kind].rows > ROUNDS / 8, "%s: codes of floats by %u lines of kind %u; %u are wrong", k->name, floats[kind].rows,
          kind, floats[kind].wrong);
  }
  check(integers[0].doubts > integers[0].chunks / 4, "%s: ties are in doubt, %u of %u chunks", k->name, integers[0].doubts, integers[0].chunks);
  check(integers[2].doubts < integers[2].chunks / 20 && floats[2].doubts < floats[2].chunks / 20, "%s: little else is, %u and %u of %u chunks", k->name,
        integers[2].doubts, floats[2].doubts, integers[2].chunks);
}

/* Operands that are no numbers, and codes that single precision cannot tell, have no line. */
static void test_none(const struct beta_vector_kernel *k) {
  const beta_vector v = {.base = (uint8_t *)&window, .bytes = sizeof window, .kernel = k};
  static round_of r;
  static beta_lines lines;
  static const double bad[] = {NAN, INFINITY, -INFINITY, 1e9};
  uint32_t taken = 0;
  for (uint32_t round = 0; round < 400; round++) {
    draw(&r, &v, 2);
    if (r.terms.bias_off == 0) continue;
    window.bias[r.terms.by_row ? 0 : below(r.job.width)] = (float)bad[round % 4];
    r.coder.t = 0;
    r.coder.step = r.coder.inverse = 1;
    taken += (uint32_t)beta_lines_of_integers(&r.job, &r.terms, 0, &r.coder, &lines);
  }
  check(taken == 0, "%s: no line has an operand that is no number or too large; %u had", k->name, taken);
}

int main(void) {
  for (const struct beta_vector_kernel *const *kernel = beta_vector_kernels(); *kernel != NULL; kernel++) {
    if (!(*kernel)->supported()) continue;
    test_lines(*kernel);
    test_none(*kernel);
  }
  return finish();
}
