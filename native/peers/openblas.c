/* OpenBLAS sgemm: what the published float code of these models ends in. It packs its operands inside every call. */
#include <cblas.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peers/peer.h"

struct beta_peer_product {
  uint32_t m, n, k, heads, right;
  float *a, *b, *c;
};

/* The instruction set is chosen while the library loads: OPENBLAS_CORETYPE, which whoever loads this sets first. */
int beta_peer_open(const char *isa) {
  (void)isa;
  openblas_set_num_threads(1);
  return 0;
}

/* "OpenBLAS 0.3.21 (Zen)": of the build options, the name and the version, and the core it took this one for. */
const char *beta_peer_version(void) {
  static char text[96];
  const char *config = openblas_get_config();
  const char *name_end = strchr(config, ' ');
  const size_t length = name_end ? strcspn(name_end + 1, " ") + (size_t)(name_end + 1 - config) : strlen(config);
  snprintf(text, sizeof text, "%.*s (%s)", (int)length, config, openblas_get_corename());
  return text;
}

/* Codes of 8 bits as floats: no denormals, no overflow. */
static float *codes(uint64_t count) {
  float *values = malloc(count * sizeof *values);
  uint32_t state = 1;
  for (uint64_t i = 0; values && i < count; i++) values[i] = beta_peer_random(&state);
  return values;
}

int beta_peer_prepare(uint32_t m, uint32_t n, uint32_t k, uint32_t heads, uint32_t right,
                      beta_peer_product **result) {
  beta_peer_product *product = malloc(sizeof *product);
  if (!product) return -ENOMEM;
  *product = (beta_peer_product){.m = m, .n = n, .k = k, .heads = heads, .right = right};
  product->a = codes((uint64_t)heads * m * k);
  product->b = codes((uint64_t)heads * n * k);
  product->c = codes((uint64_t)heads * m * n);
  if (!product->a || !product->b || !product->c) {
    beta_peer_free(product);
    return -ENOMEM;
  }
  *result = product;
  return 0;
}

const char *beta_peer_implementation(const beta_peer_product *product) {
  (void)product;
  return openblas_get_corename();
}

int beta_peer_run(beta_peer_product *product, uint32_t times) {
  const beta_peer_product p = *product;
  const struct beta_peer_layout lay = beta_peer_layout_of(p.m, p.n, p.k, p.heads, p.right);
  const struct beta_peer_steps a = lay.left, b = lay.right, c = lay.result;
  for (uint32_t i = 0; i < times; i++) {
    for (int64_t head = 0; head < p.heads; head++) {
      cblas_sgemm(CblasRowMajor, CblasNoTrans, lay.rows_of_n ? CblasNoTrans : CblasTrans, (blasint)p.m, (blasint)p.n,
                  (blasint)p.k, 1.0f, p.a + head * a.head, (blasint)a.row, p.b + head * b.head, (blasint)b.row, 0.0f,
                  p.c + head * c.head, (blasint)c.row);
    }
  }
  return 0;
}

void beta_peer_free(beta_peer_product *product) {
  free(product->a);
  free(product->b);
  free(product->c);
  free(product);
}
