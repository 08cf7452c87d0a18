/* exp, erf and tanh of 16 lanes, and the activations that need them. Errors are those that native/test/vector.c measures. */

/*
 * exp(y) for y <= 0, within 1 unit in the last place; 0 below -708, where the result would leave the normal numbers.
 * y = (16 k + j) ln(2)/16 + r: 2^k and 2^(j/16) are exact or from a table, exp(r) - 1 is its Taylor polynomial of degree 7, whose
 * next term is below 2e-18.
 */
INLINE lanes exp_lanes(lanes y) {
  const lanes z = lanes_add(lanes_mul(y, lanes_set(BETA_16_LN2)), lanes_set(ROUNDER));
  const lanes n = lanes_sub(z, lanes_set(ROUNDER));
  const lanes r = lanes_sub(lanes_sub(y, lanes_mul(n, lanes_set(BETA_LN2_16_HIGH))), lanes_mul(n, lanes_set(BETA_LN2_16_LOW)));
  static const double factors[] = {1 / 720.0, 1 / 120.0, 1 / 24.0, 1 / 6.0, 0.5, 1};
  lanes p = lanes_set(1 / 5040.0);
  for (unsigned k = 0; k < sizeof factors / sizeof factors[0]; k++) p = lanes_add(lanes_mul(p, r), lanes_set(factors[k]));
  const lanes root = lanes_of_16(beta_powers, z);
  const lanes e = lanes_mul(lanes_add(root, lanes_mul(root, lanes_mul(p, r))), lanes_power(z));
  return lanes_choose(lanes_above(lanes_set(-708), y), lanes_set(0), e);
}

/* The largest number below 1. */
#define BELOW_ONE 0x1.fffffffffffffp-1
#define ERF_END 6.0

/* |erf(a)| for a >= 0, within 2e-16. It is 1 from ERF_END on, and not before. */
INLINE lanes erf_lanes(lanes a) {
  /* The number of the part, 0 to 15: half less, rounded to nearest. */
  const lanes parts = lanes_sub(lanes_mul(a, lanes_set(16 / ERF_END)), lanes_set(0.5));
  const lanes z = lanes_add(lanes_min(parts, lanes_set(15)), lanes_set(ROUNDER));
  const lanes u = lanes_sub(a, lanes_mul(lanes_add(lanes_sub(z, lanes_set(ROUNDER)), lanes_set(0.5)), lanes_set(ERF_END / 16)));
#ifdef LANES_TURNED
  const lanes p = lanes_polynomial(beta_erf_turned, BETA_ERF_DEGREE, z, u);
#else
  const lanes p = lanes_polynomial(beta_erf, BETA_ERF_DEGREE, z, u);
#endif
  return lanes_choose(lanes_reach(a, lanes_set(ERF_END)), lanes_set(1), lanes_min(p, lanes_set(BELOW_ONE)));
}

/* GELU as the families have it, 0.5 x (1 + erf(x / sqrt(2))). */
#define ROOT_HALF 0.70710678118654752440

INLINE lanes gelu_lanes(lanes x) {
  const lanes e = lanes_sign(erf_lanes(lanes_mul(lanes_abs(x), lanes_set(ROOT_HALF))), x);
  return lanes_mul(lanes_mul(lanes_set(0.5), x), lanes_add(lanes_set(1), e));
}

static void gelu(uint32_t width, double *x) {
  EACH_LANES(width, i, left, { put_doubles(x + i, gelu_lanes(doubles_at(x + i, left)), left); });
}

/* The sign of gelu(x) is that of x, but for 0 where 1 + erf is 0. */
static void gelu_sign(uint32_t width, double *x) {
  const lanes end = lanes_set(-ERF_END);
  EACH_LANES(width, i, left, {
    const lanes y = doubles_at(x + i, left);
    put_doubles(x + i, lanes_choose(lanes_above(lanes_mul(y, lanes_set(ROOT_HALF)), end), y, lanes_set(0)), left);
  });
}

/* GELU falls to its least value here and rises from there. */
#define GELU_TURN -0.75179162

/*
 * gelu() of a set of arguments is largest at the largest or the smallest of them, and smallest at one of those next to its turn. `turns`
 * holds these four of what was seen so far; begin with +-infinity: {smallest, largest, largest before the turn, smallest behind it}.
 */
static void gelu_turns(const double *x, uint32_t width, double turns[4]) {
  lanes least = lanes_set(turns[0]);
  lanes most = lanes_set(turns[1]);
  lanes before = lanes_set(turns[2]);
  lanes behind = lanes_set(turns[3]);
  const lanes turn = lanes_set(GELU_TURN);
  EACH_LANES(width, i, left, {
    const lanes y = doubles_at(x + i, left);
    least = lanes_min(keep(y, left, INFINITY), least);
    most = lanes_max(keep(y, left, -INFINITY), most);
    const marks late = lanes_reach(y, turn);
    before = lanes_max(keep(lanes_choose(late, lanes_set(-INFINITY), y), left, -INFINITY), before);
    behind = lanes_min(keep(lanes_choose(late, y, lanes_set(INFINITY)), left, INFINITY), behind);
  });
  double lane[4][LANES];
  lanes_store(lane[0], least);
  lanes_store(lane[1], most);
  lanes_store(lane[2], before);
  lanes_store(lane[3], behind);
  for (unsigned i = 0; i < LANES; i++) {
    if (lane[0][i] < turns[0]) turns[0] = lane[0][i];
    if (lane[1][i] > turns[1]) turns[1] = lane[1][i];
    if (lane[2][i] > turns[2]) turns[2] = lane[2][i];
    if (lane[3][i] < turns[3]) turns[3] = lane[3][i];
  }
}

/* tanh(x) = (1 - e) / (1 + e), e = exp(-2|x|): within 3e-16, absolute. */
static void tanh_row(uint32_t width, double *x) {
  const lanes one = lanes_set(1);
  EACH_LANES(width, i, left, {
    const lanes y = doubles_at(x + i, left);
    const lanes e = exp_lanes(lanes_mul(lanes_set(-2), lanes_abs(y)));
    put_doubles(x + i, lanes_sign(lanes_div(lanes_sub(one, e), lanes_add(one, e)), y), left);
  });
}
