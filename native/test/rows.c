/*
 * The kernels of vector steps: each leaves the same bytes as plain C, whatever a row holds, and writes nothing but its row; and exp, erf
 * and tanh are as near to the truth as their comments say.
 */
#include <math.h>

#include "test/support.h"
#include "vector/vector.h"

#define WIDTH_MAX 400u
#define ROOM (WIDTH_MAX + 128)
#define ROUNDS 400

static uint64_t state = 88172645463325252u;

static uint32_t below(uint32_t limit) { return (uint32_t)(next_random(&state) >> 16) % limit; }
static double fraction(void) { return (double)(next_random(&state) >> 11) * 0x1p-53; }
static double real(void) { return (fraction() + fraction() + fraction() + fraction() - 2) * 2; }

/* Operands of one case: numbers of one kind. */
static struct operands {
  double x[ROOM], doubles[ROOM];
  float gamma[ROOM], beta[ROOM];
  int16_t short_scores[ROOM];
  int32_t scores[ROOM], sums[ROOM];
  uint8_t planes[ROOM];
  uint32_t width;
} in;

/* What a kernel leaves; zeroed before every use, so that all of it can be compared. */
static struct results {
  double x[ROOM], values[8];
  float floats[ROOM];
  uint8_t bytes[ROOM], planes[ROOM];
  int64_t whole[4];
} plain, other;

static double draw_double(uint32_t kind) {
  switch (kind) {
    case 0: return real();
    case 1: return (double)((int32_t)below(129) - 64) / 4; /* ties */
    case 2: return real() * 1e3;
    default: { /* anything at all */
      const uint64_t bits = next_random(&state);
      double value;
      memcpy(&value, &bits, sizeof value);
      return value;
    }
  }
}

static void draw(uint32_t kind) {
  in.width = below(4) == 0 ? 16 * (1 + below(WIDTH_MAX / 16)) : 1 + below(WIDTH_MAX);
  const uint32_t spread = 1 + below(3) * 60;
  for (uint32_t i = 0; i < ROOM; i++) {
    in.x[i] = draw_double(kind);
    in.doubles[i] = draw_double(kind);
    in.gamma[i] = (float)draw_double(kind);
    in.beta[i] = (float)draw_double(kind);
    in.short_scores[i] = (int16_t)(kind == 3 ? below(65536) : 300 + below(spread));
    in.scores[i] = (int32_t)(kind == 3 ? next_random(&state) : 300 + below(spread));
    in.sums[i] = (int32_t)below(2000) - 1000;
    in.planes[i] = (uint8_t)next_random(&state);
  }
}

static beta_coder draw_coder(uint32_t kind) {
  const uint32_t bits = 1u << below(4), is_signed = below(2);
  const double step = kind == 1 ? 0.25 * (1 << below(3)) : fabs(draw_double(kind == 3 ? 0 : kind)) + 0.01;
  return (beta_coder){
      .shift = below(2) ? in.beta : NULL,
      .clips = below(2),
      .clip_low = below(2) ? -INFINITY : -2,
      .clip_high = below(2) ? INFINITY : 2.5,
      .t = below(2) ? draw_double(kind == 3 ? 0 : kind) : 0,
      .step = step,
      .low = is_signed ? -(1 << (bits - 1)) : 0,
      .high = is_signed ? (1 << (bits - 1)) - 1 : (1 << bits) - 1,
      .inverse = below(8) ? 1 / step : 0,
  };
}

/* One operation of a case; `choice` and the coder are the same for all kernels. */
typedef struct choices {
  uint32_t bits, flags;
  beta_coder coder;
  int32_t threshold;
} choices;
typedef void operation(const struct beta_vector_kernel *k, const choices *c, struct results *out);

static void copy_row(struct results *out) { memcpy(out->x, in.x, in.width * sizeof *in.x); }

static void do_sum(const struct beta_vector_kernel *k, const choices *c, struct results *out) {
  const beta_sum sum = {
      .width = in.width, .adds = c->flags & 1, .acc_int16 = (c->flags & 2) != 0, .acc = c->flags & 2 ? (void *)in.short_scores : (void *)in.scores,
      .scales = c->flags & 4 ? in.doubles : NULL, .scale = 0.37, .offset = -1.7, .sums = c->flags & 8 ? in.doubles : NULL,
      .sums_int32 = c->flags & 16 ? in.sums : NULL, .has_constant = (c->flags & 32) != 0, .constant = 0.3, .bias = c->flags & 64 ? in.beta : NULL,
      .has_bias_of_row = (c->flags & 128) != 0, .bias_of_row = -0.1, .residual = c->flags & 256 ? in.gamma : NULL, .relu = (c->flags & 512) != 0};
  copy_row(out);
  k->sum(&sum, out->x);
}
static void do_simple(const struct beta_vector_kernel *k, const choices *c, struct results *out) {
  copy_row(out);
  k->add(in.beta, in.width, out->x);
  k->scale(0.7, in.width, out->x);
  k->narrow(out->x, in.width, out->floats);
  k->word(in.planes, c->flags & 1, in.doubles[0], in.width, out->x);
  memset(out->x + in.width, 0, sizeof out->x - in.width * sizeof *out->x); /* its room may be used */
  out->values[0] = k->dot(in.gamma, in.beta, in.width);
}
static void do_widen(const struct beta_vector_kernel *k, const choices *c, struct results *out) {
  (void)c;
  k->widen(in.gamma, in.width, out->x);
}
static void do_norm(const struct beta_vector_kernel *k, const choices *c, struct results *out) {
  copy_row(out);
  k->layer_norm(in.gamma, in.beta, 1e-12, in.width, out->x, c->flags & 1 ? out->floats : NULL);
}
static void do_gelu(const struct beta_vector_kernel *k, const choices *c, struct results *out) {
  copy_row(out);
  if (c->flags & 1) k->gelu(in.width, out->x);
  else k->gelu_sign(in.width, out->x);
  double turns[4] = {INFINITY, -INFINITY, -INFINITY, INFINITY};
  k->gelu_turns(in.x, in.width, turns);
  for (int i = 0; i < 4; i++) out->values[i] = turns[i] + 0.0;
}
static void do_tanh(const struct beta_vector_kernel *k, const choices *c, struct results *out) {
  (void)c;
  copy_row(out);
  k->tanh(in.width, out->x);
}
static void do_range(const struct beta_vector_kernel *k, const choices *c, struct results *out) {
  beta_range range = {INFINITY, -INFINITY};
  k->range(&c->coder, in.x, in.width, &range);
  out->values[0] = range.low + 0.0; /* which zero it met first does not matter */
  out->values[1] = range.high + 0.0;
}
static void do_signs(const struct beta_vector_kernel *k, const choices *c, struct results *out) {
  float rounded[ROOM];
  for (uint32_t i = 0; i < in.width; i++) rounded[i] = (float)in.x[i];
  k->signs(in.x, c->flags & 1 ? rounded : NULL, c->coder.shift, in.width, c->flags & 2, c->flags & 2 ? 1 : c->bits, out->planes);
}
static void do_codes(const struct beta_vector_kernel *k, const choices *c, struct results *out) {
  k->codes(&c->coder, in.x, in.width, out->bytes);
  k->pack(out->bytes, in.width, c->bits < 8 ? c->bits : 1, out->planes);
}
static void do_decide(const struct beta_vector_kernel *k, const choices *c, struct results *out) {
  out->values[0] = k->decide(&c->coder, in.x, 0.81, in.width / 16, out->bytes);
}
static void do_scores(const struct beta_vector_kernel *k, const choices *c, struct results *out) {
  const bool int16 = c->flags & 1;
  const void *scores = int16 ? (void *)in.short_scores : (void *)in.scores;
  int32_t least, most;
  k->extremes(scores, int16, in.width, &least, &most);
  out->whole[0] = least;
  out->whole[1] = most;
  k->reach(scores, int16, in.width, int16 ? in.short_scores[0] : in.scores[0], out->planes);
  const uint32_t furthest = (uint32_t)most - (uint32_t)least;
  static beta_exponentials exponentials;
  k->powers(0.0007 * (1 + c->bits), &exponentials);
  out->values[0] = k->weigh(scores, int16, in.width, most, furthest, &exponentials, out->x);
  if (furthest >= BETA_DISTANCES) return;
  for (uint32_t i = 0; i < BETA_DISTANCES; i++) {
    exponentials.fixed[i] = (int64_t)(exp(-0.07 * i) * 0x1p47);
    for (unsigned b = 0; b < BETA_EXPONENTIAL_BYTES && i < 128; b++) exponentials.byte[b][i] = (uint8_t)(exponentials.fixed[i] >> 8 * b);
  }
  uint8_t distances[ROOM] = {0};
  k->distances(scores, int16, in.width, most, distances);
  out->whole[2] = k->total(&exponentials, distances, in.width, furthest);
  k->look_up(in.planes, distances, in.width, furthest, out->bytes);
}
static void do_moved(const struct beta_vector_kernel *k, const choices *c, struct results *out) {
  const bool int16 = c->flags & 1;
  out->values[0] = k->weigh_moved(int16 ? (void *)in.short_scores : (void *)in.scores, int16, in.width, in.sums, 0.01, 0.003, 0.4, out->x);
}
static void do_blend(const struct beta_vector_kernel *k, const choices *c, struct results *out) {
  const uint32_t columns = 1 + c->flags % 40;
  k->blend(in.doubles, in.width / columns, in.gamma, columns, columns, out->x);
}

static const struct {
  const char *name;
  operation *run;
} operations[] = {{"terms", do_sum}, {"words and floats", do_simple}, {"floats to doubles", do_widen}, {"LayerNorm", do_norm}, {"GELU", do_gelu},
                  {"tanh", do_tanh}, {"ranges", do_range}, {"signs", do_signs}, {"codes and planes", do_codes}, {"decisions", do_decide},
                  {"scores", do_scores}, {"moved scores", do_moved}, {"blends", do_blend}};
#define OPERATIONS (sizeof operations / sizeof operations[0])

/* Every NaN the same. */
static void settle(struct results *r) {
  for (uint32_t i = 0; i < ROOM; i++) {
    if (isnan(r->x[i])) r->x[i] = 12345;
    if (isnan(r->floats[i])) r->floats[i] = 12345;
  }
  for (uint32_t i = 0; i < 8; i++) {
    if (isnan(r->values[i])) r->values[i] = 12345;
  }
}

static void test_equal(const struct beta_vector_kernel *kernel) {
  uint32_t wrong[OPERATIONS] = {0};
  for (uint32_t round = 0; round < ROUNDS; round++) {
    const uint32_t kind = below(4);
    draw(kind);
    const choices c = {.bits = 2u << below(3), .flags = (uint32_t)next_random(&state) >> 3, .coder = draw_coder(kind)};
    for (uint32_t i = 0; i < OPERATIONS; i++) {
      memset(&plain, 0, sizeof plain);
      memset(&other, 0, sizeof other);
      operations[i].run(&beta_vector_kernel_portable, &c, &plain);
      operations[i].run(kernel, &c, &other);
      settle(&plain);
      settle(&other);
      wrong[i] += memcmp(&plain, &other, sizeof plain) != 0;
    }
  }
  for (uint32_t i = 0; i < OPERATIONS; i++)
    check(wrong[i] == 0, "%s: %s are those of plain C in %d rows; %u were not", kernel->name, operations[i].name, ROUNDS, wrong[i]);
}

/* Largest errors over many arguments, against the C library in long double. */
static void test_errors(const struct beta_vector_kernel *k) {
  double exp_error = 0, digits_error = 0, gelu_error = 0, tanh_error = 0;
  double e[WIDTH_MAX], x[WIDTH_MAX], y[WIDTH_MAX];
  for (uint32_t round = 0; round < 250; round++) {
    const double scale = round % 3 == 0 ? 700 : round % 3 == 1 ? 20 : 1;
    int32_t scores[WIDTH_MAX];
    for (uint32_t i = 0; i < WIDTH_MAX; i++) scores[i] = i == 0 ? 0 : -(int32_t)below(1u << 30);
    const double unit = scale * 0x1p-30;
    static const int32_t none[WIDTH_MAX];
    static beta_exponentials exponentials;
    double by_digits[WIDTH_MAX];
    k->weigh_moved(scores, false, WIDTH_MAX, none, 1, 0, unit, e);
    k->powers(unit, &exponentials);
    k->weigh(scores, false, WIDTH_MAX, 0, 1u << 30, &exponentials, by_digits);
    for (uint32_t i = 0; i < WIDTH_MAX; i++) {
      const double argument = -unit * (double)(0 - (int64_t)scores[i]);
      const long double truth = expl((long double)argument);
      const double relative = (double)(fabsl(e[i] - truth) / truth);
      if (relative > exp_error) exp_error = relative;
      const double digits = (double)(fabsl(by_digits[i] - truth) / truth) / (1 - argument / 8);
      if (digits > digits_error) digits_error = digits;
      x[i] = y[i] = (fraction() - 0.5) * (round % 2 ? 20 : 3);
    }
    k->gelu(WIDTH_MAX, y);
    for (uint32_t i = 0; i < WIDTH_MAX; i++) {
      const double error = (double)fabsl(y[i] - 0.5L * x[i] * (1 + erfl((long double)(x[i] * 0.70710678118654752440))));
      const double bound = error / (1 + fabs(x[i]));
      if (bound > gelu_error) gelu_error = bound;
      y[i] = x[i];
    }
    k->tanh(WIDTH_MAX, y);
    for (uint32_t i = 0; i < WIDTH_MAX; i++) {
      const double error = (double)fabsl(y[i] - tanhl((long double)x[i]));
      if (error > tanh_error) tanh_error = error;
    }
  }
  check(exp_error < 0x1p-52, "%s: exp within 1 unit in the last place; %.3g of the value", k->name, exp_error);
  check(digits_error < 0x1p-50, "%s: exp(y) by digits within 4 units (1 + |y| / 8); %.3g of the value", k->name, digits_error);
  check(gelu_error < 3e-16, "%s: GELU(x) within 3e-16 (1 + |x|); %.3g", k->name, gelu_error);
  check(tanh_error < 3e-16, "%s: tanh within 3e-16; %.3g", k->name, tanh_error);
}

/* What kernel.h says of approximate exponentials and their sums. */
static void test_approximations(const struct beta_vector_kernel *k) {
  double worst = 0, worst_sum = 0;
  for (uint32_t round = 0; round < 400; round++) {
    const uint32_t width = 1 + below(WIDTH_MAX), spread = 1u << (1 + below(22));
    const double scale = exp(4 * real()) / spread * (round % 2 ? 10 : 1);
    const bool int16 = spread < 1u << 14 && below(2);
    int16_t short_scores[WIDTH_MAX];
    int32_t scores[WIDTH_MAX], most = INT32_MIN;
    float e[ROOM];
    for (uint32_t i = 0; i < width; i++) {
      scores[i] = (int32_t)below(spread) - (int32_t)(spread / 2);
      short_scores[i] = (int16_t)scores[i];
      most = scores[i] > most ? scores[i] : most;
    }
    const double sum = k->approximate(int16 ? (void *)short_scores : (void *)scores, int16, width, most, scale, e);
    double truth = 0;
    for (uint32_t i = 0; i < width; i++) {
      const double argument = scale * ((double)most - scores[i]), each = exp(-argument), y = argument / log(2);
      truth += each;
      if (each < 0x1p-125 ? !(e[i] >= 0 && e[i] < 0x1p-124f) : 0) worst = INFINITY;
      if (each >= 0x1p-125) worst = fmax(worst, fabs(e[i] - each) / each / (0x1p-24 * (6 + 2.1 * y)));
    }
    worst_sum = fmax(worst_sum, fabs(sum - truth) / truth / (0x1p-24 * (12 + 2.1 * log2(width) + width / 16.0)));
  }
  check(worst < 1 && worst_sum < 1, "%s: approximate exponentials and sums within their bounds; %.3g and %.3g of them", k->name, worst, worst_sum);
}

/* Signs of GELU, and where its range is found, without GELU. */
static void test_gelu(const struct beta_vector_kernel *k) {
  uint32_t wrong = 0, far = 0;
  for (uint32_t round = 0; round < 300; round++) {
    const uint32_t width = 1 + below(WIDTH_MAX);
    double x[WIDTH_MAX], y[WIDTH_MAX], s[WIDTH_MAX];
    const double scale = round % 3 == 0 ? 30 : round % 3 == 1 ? 3 : 0.3, middle = round % 5 == 0 ? 0 : round % 5 == 1 ? -0.75 : -4 + (double)(round % 5);
    for (uint32_t i = 0; i < width; i++) x[i] = y[i] = s[i] = (fraction() - 0.5) * scale + middle;
    k->gelu(width, y);
    k->gelu_sign(width, s);
    double turns[4] = {INFINITY, -INFINITY, -INFINITY, INFINITY}, low = INFINITY, high = -INFINITY, ends[4];
    k->gelu_turns(x, width, turns);
    uint32_t count = 0;
    for (int i = 0; i < 4; i++) {
      if (isfinite(turns[i])) ends[count++] = turns[i];
    }
    k->gelu(count, ends);
    for (uint32_t i = 0; i < width; i++) {
      wrong += ((y[i] > 0) - (y[i] < 0)) != ((s[i] > 0) - (s[i] < 0));
      if (y[i] < low) low = y[i];
      if (y[i] > high) high = y[i];
    }
    double found_low = INFINITY, found_high = -INFINITY;
    for (uint32_t i = 0; i < count; i++) {
      if (ends[i] < found_low) found_low = ends[i];
      if (ends[i] > found_high) found_high = ends[i];
    }
    far += !(fabs(found_low - low) <= 1e-15 && fabs(found_high - high) <= 4e-15 * (1 + fabs(high)));
  }
  check(wrong == 0, "%s: signs of GELU are those of its values; %u are not", k->name, wrong);
  check(far == 0, "%s: the range of GELU is found in four arguments; %u ranges are another", k->name, far);
}

int main(void) {
  for (const struct beta_vector_kernel *const *kernel = beta_vector_kernels(); *kernel != NULL; kernel++) {
    if (!(*kernel)->supported()) continue;
    if (*kernel != &beta_vector_kernel_portable) test_equal(*kernel);
    test_errors(*kernel);
    test_approximations(*kernel);
    test_gelu(*kernel);
  }
  return finish();
}
