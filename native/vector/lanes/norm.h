/* LayerNorm of one row in place: three passes over a row that stays in the first cache. */

static void layer_norm(const float *gamma, const float *beta, double epsilon, uint32_t width, double *x) {
  sums s = sums_none();
  EACH_LANES(width, i, left, { sums_add(&s, i, doubles_at(x + i, left)); });
  const double mean = sums_total(s) / width;
  const lanes means = lanes_set(mean);
  s = sums_none();
  EACH_LANES(width, i, left, {
    const lanes d = keep(lanes_sub(doubles_at(x + i, left), means), left, 0);
    sums_add(&s, i, lanes_mul(d, d));
  });
  const lanes inverse = lanes_set(1 / sqrt(sums_total(s) / width + epsilon));
  EACH_LANES(width, i, left, {
    const lanes d = lanes_mul(lanes_sub(doubles_at(x + i, left), means), inverse);
    put_doubles(x + i, lanes_add(lanes_mul(floats_at(gamma + i, left), d), floats_at(beta + i, left)), left);
  });
}
