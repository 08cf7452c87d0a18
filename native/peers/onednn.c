/*
 * oneDNN's u8s8s32 matrix product, its fastest for quantised layers. Constant weights are in the format that oneDNN asks
 * for, reordered in advance.
 */
#include <dnnl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "peers/peer.h"

/*
 * The OpenMP runtime that oneDNN brought along, if it was built with one: a weak reference needs no flag, and the flag
 * would bring a second runtime where this compiler's is not oneDNN's.
 */
extern void omp_set_num_threads(int count) __attribute__((weak));

struct beta_peer_product {
  dnnl_primitive_t primitive;
  dnnl_primitive_desc_t desc;
  dnnl_memory_t source, weights, result;
};

static dnnl_engine_t engine;
static dnnl_stream_t stream;

int beta_peer_open(const char *isa) {
  if (omp_set_num_threads) omp_set_num_threads(1);
  if (strcmp(isa, "avx2") == 0) {
#if defined(__x86_64__)
    if (dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx2) != dnnl_success) return -ENOTSUP;
#else
    return -ENOTSUP;
#endif
  } else if (isa[0] != '\0') {
    return -ENOTSUP;
  }
  if (engine) return 0;
  if (dnnl_engine_create(&engine, dnnl_cpu, 0) != dnnl_success) return -ENOTSUP;
  return dnnl_stream_create(&stream, engine, dnnl_stream_default_flags) == dnnl_success ? 0 : -ENOTSUP;
}

const char *beta_peer_version(void) {
  static char text[48];
  const dnnl_version_t *version = dnnl_version();
  snprintf(text, sizeof text, "oneDNN %d.%d.%d", version->major, version->minor, version->patch);
  return text;
}

/* Version 3 made memory descriptors opaque and dropped the step between them and a primitive descriptor. */
#if DNNL_VERSION_MAJOR >= 3
typedef dnnl_memory_desc_t layout;
typedef const_dnnl_memory_desc_t layout_view;
#define VIEW(layout) (layout)
#define LAYOUT_BY_STRIDES dnnl_memory_desc_create_with_strides
#define LAYOUT_BY_TAG dnnl_memory_desc_create_with_tag

static void discard(layout *desc) {
  if (*desc) dnnl_memory_desc_destroy(*desc);
}

static int choose(dnnl_primitive_desc_t *desc, layout source, layout weights, layout result) {
  return dnnl_matmul_primitive_desc_create(desc, engine, source, weights, NULL, result, NULL) == dnnl_success;
}
#else
typedef dnnl_memory_desc_t layout;
typedef const dnnl_memory_desc_t *layout_view;
#define VIEW(layout) (&(layout))
#define LAYOUT_BY_STRIDES dnnl_memory_desc_init_by_strides
#define LAYOUT_BY_TAG dnnl_memory_desc_init_by_tag

static void discard(layout *desc) { (void)desc; }

static int choose(dnnl_primitive_desc_t *desc, layout source, layout weights, layout result) {
  dnnl_matmul_desc_t matmul;
  return dnnl_matmul_desc_init(&matmul, &source, &weights, NULL, &result) == dnnl_success &&
         dnnl_primitive_desc_create(desc, &matmul, NULL, engine, NULL) == dnnl_success;
}
#endif

/*
 * Heads, rows, columns; without strides oneDNN chooses. A single product has no rank for heads: with one, oneDNN takes
 * some percent longer.
 */
static int describe(layout *desc, const int64_t sizes[3], dnnl_data_type_t type, const int64_t strides[3]) {
  const int skip = sizes[0] == 1, ranks = 3 - skip;
  dnnl_dims_t dims = {0}, steps = {0};
  memcpy(dims, sizes + skip, (size_t)ranks * sizeof *dims);
  if (!strides) return LAYOUT_BY_TAG(desc, ranks, dims, type, dnnl_format_tag_any) == dnnl_success;
  memcpy(steps, strides + skip, (size_t)ranks * sizeof *steps);
  return LAYOUT_BY_STRIDES(desc, ranks, dims, type, steps) == dnnl_success;
}

/* Memory of a layout, filled with random bytes: codes of 8 bits are what they are. */
static int allocate(dnnl_memory_t *memory, layout_view desc, size_t elements) {
  void *bytes = NULL;
  if (dnnl_memory_create(memory, desc, engine, DNNL_MEMORY_ALLOCATE) != dnnl_success) return 0;
  if (dnnl_memory_get_data_handle(*memory, &bytes) != dnnl_success) return 0;
  uint32_t state = 1;
  for (size_t i = 0; i < elements; i++) ((uint8_t *)bytes)[i] = beta_peer_random(&state);
  return 1;
}

static int reorder(dnnl_memory_t from, layout_view from_desc, dnnl_memory_t to, layout_view to_desc) {
  dnnl_primitive_desc_t desc = NULL;
  dnnl_primitive_t primitive = NULL;
  dnnl_exec_arg_t arguments[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
  int good = dnnl_reorder_primitive_desc_create(&desc, from_desc, engine, to_desc, engine, NULL) == dnnl_success &&
             dnnl_primitive_create(&primitive, desc) == dnnl_success &&
             dnnl_primitive_execute(primitive, stream, 2, arguments) == dnnl_success &&
             dnnl_stream_wait(stream) == dnnl_success;
  if (primitive) dnnl_primitive_destroy(primitive);
  if (desc) dnnl_primitive_desc_destroy(desc);
  return good;
}

/* The right operand in the format that the primitive wants, from plain random codes. */
static int fill_weights(beta_peer_product *product, layout_view plain, size_t elements) {
  layout_view wanted = dnnl_primitive_desc_query_md(product->desc, dnnl_query_weights_md, 0);
  if (dnnl_memory_desc_equal(wanted, plain)) return allocate(&product->weights, plain, elements);
  dnnl_memory_t codes = NULL;
  int good = allocate(&codes, plain, elements) && allocate(&product->weights, wanted, 0) &&
             reorder(codes, plain, product->weights, wanted);
  if (codes) dnnl_memory_destroy(codes);
  return good;
}

int beta_peer_prepare(uint32_t m, uint32_t n, uint32_t k, uint32_t heads, uint32_t right,
                      beta_peer_product **result) {
  const int64_t source_size[3] = {heads, m, k}, weights_size[3] = {heads, k, n}, output_size[3] = {heads, m, n};
  const struct beta_peer_layout lay = beta_peer_layout_of(m, n, k, heads, right);
  const int64_t source_strides[3] = {lay.left.head, lay.left.row, 1}, output_strides[3] = {lay.result.head, lay.result.row, 1};
  const int64_t rows_of_k[3] = {lay.right.head, 1, lay.right.row}, rows_of_n[3] = {lay.right.head, lay.right.row, 1};
  const int64_t *strides = lay.rows_of_n ? rows_of_n : rows_of_k;
  beta_peer_product *product = calloc(1, sizeof *product);
  if (!product) return -ENOMEM;
  layout source = {0}, plain = {0}, weights = {0}, output = {0};
  int good = describe(&source, source_size, dnnl_u8, source_strides) &&
             describe(&plain, weights_size, dnnl_s8, strides) &&
             describe(&weights, weights_size, dnnl_s8, right == BETA_PEER_WEIGHTS ? NULL : strides) &&
             describe(&output, output_size, dnnl_s32, output_strides) &&
             choose(&product->desc, source, weights, output) &&
             dnnl_primitive_create(&product->primitive, product->desc) == dnnl_success &&
             allocate(&product->source, VIEW(source), (size_t)heads * m * k) &&
             allocate(&product->result, VIEW(output), 0) &&
             fill_weights(product, VIEW(plain), (size_t)heads * n * k);
  discard(&source);
  discard(&plain);
  discard(&weights);
  discard(&output);
  if (!good) {
    beta_peer_free(product);
    return -ENOTSUP;
  }
  *result = product;
  return 0;
}

const char *beta_peer_implementation(const beta_peer_product *product) {
  const char *name = "";
  dnnl_primitive_desc_query(product->desc, dnnl_query_impl_info_str, 0, &name);
  return name;
}

int beta_peer_run(beta_peer_product *product, uint32_t times) {
  dnnl_exec_arg_t arguments[] = {{DNNL_ARG_SRC, product->source},
                                 {DNNL_ARG_WEIGHTS, product->weights},
                                 {DNNL_ARG_DST, product->result}};
  for (uint32_t i = 0; i < times; i++)
    if (dnnl_primitive_execute(product->primitive, stream, 3, arguments) != dnnl_success) return -EIO;
  return dnnl_stream_wait(stream) == dnnl_success ? 0 : -EIO;
}

void beta_peer_free(beta_peer_product *product) {
  if (product->source) dnnl_memory_destroy(product->source);
  if (product->weights) dnnl_memory_destroy(product->weights);
  if (product->result) dnnl_memory_destroy(product->result);
  if (product->primitive) dnnl_primitive_destroy(product->primitive);
  if (product->desc) dnnl_primitive_desc_destroy(product->desc);
  free(product);
}
