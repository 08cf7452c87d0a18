/* LayerNorm of one row in place: three passes over a row that stays in the first cache. */

static void layer_norm(const float *gamma, const float *beta, double epsilon, uint32_t width, double *x, float *out) {
  sums s = sums_none();
  EACH_PAIR(width, i, left, odd, { sums_add(&s, odd, doubles_at(x + i, left)); });
  const lanes mean = lanes_set(sums_total(s) / width);
  s = sums_none();
  EACH_PAIR(width, i, left, odd, {
    const lanes d = keep(lanes_sub(doubles_at(x + i, left), mean), left, 0);
    sums_add(&s, odd, lanes_mul(d, d));
  });
  const lanes inverse = lanes_set(1 / sqrt(sums_total(s) / width + epsilon));
  EACH_LANES(width, i, left, {
    const lanes d = lanes_mul(lanes_sub(doubles_at(x + i, left), mean), inverse);
    const lanes y = lanes_add(lanes_mul(floats_at(gamma + i, left), d), floats_at(beta + i, left));
    put_doubles(x + i, y, left);
    if (out) put_floats(out + i, y, left);
  });
}
