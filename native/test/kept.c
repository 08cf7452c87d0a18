/*
 * Panels that a kernel keeps between descriptors: one B that the host announced, with A of every format in turn, so that
 * each product meets what an earlier one, perhaps of other formats, has left.
 */
#include "kernels/kernel.h"
#include "test/support.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define LOG2 4u
#define WINDOW 0x100000u
#define A_OFF 0x10000u
#define B_OFF 0x20000u
#define O_OFF 0x30000u
#define M 3u
#define N 40u
#define K 300u
#define ROUNDS 3u /* a panel is kept from its second use on */

static const uint8_t formats[] = {0x00, 0x01, 0x02, 0x03, 0x10, 0x11, 0x12, 0x13, 0x20};

static uint32_t bits_of(uint8_t format) { return 1u << (format & 7); }
static uint32_t stride_of(uint8_t format) { return (K + 127) / 128 * 16 * bits_of(format); }

/* Value of element k of row r, by section 4. */
static int64_t element(const uint8_t *operand, uint8_t format, uint32_t r, uint32_t k) {
  const uint32_t bits = bits_of(format), encoding = format >> 4;
  int64_t value = 0;
  for (uint32_t i = 0; i < bits; i++) {
    const int64_t bit = operand[r * stride_of(format) + k / 128 * 16 * bits + 16 * i + k % 128 / 8] >> k % 8 & 1;
    value += encoding == BETA_ENC_S && i == bits - 1 ? -(bit << i) : bit << i;
  }
  return encoding == BETA_ENC_PM1 ? 2 * value - 1 : value;
}

static bool is_product(const uint8_t *window, uint8_t a, uint8_t b) {
  for (uint32_t m = 0; m < M; m++) {
    for (uint32_t n = 0; n < N; n++) {
      int64_t expected = 0;
      for (uint32_t k = 0; k < K; k++) expected += element(window + A_OFF, a, m, k) * element(window + B_OFF, b, n, k);
      int32_t found;
      memcpy(&found, window + O_OFF + 4 * (m * N + n), sizeof found);
      if (found != expected) return false;
    }
  }
  return true;
}

static bool run_product(beta_device *device, uint32_t *tail, uint8_t a, uint8_t b) {
  const beta_descriptor d = {.op = BETA_OP_QMM, .a_fmt = a, .b_fmt = b, .o_fmt = format_of(5, BETA_ENC_S), .m = M,
                             .n = N, .k = K, .a_off = A_OFF, .a_stride = stride_of(a), .b_off = B_OFF,
                             .b_stride = stride_of(b), .o_off = O_OFF, .o_stride = 4 * N};
  put_descriptor(device, LOG2, *tail, &d);
  beta_kick(device, ++*tail);
  return beta_wait(device, *tail, 10 * SECOND) == BETA_WAIT_DONE && is_product(beta_window(device), a, b);
}

static void test_kernel(const char *name) {
  char uri[64];
  snprintf(uri, sizeof uri, "emu:?kernel=%s", name);
  beta_device *device = open_device(uri, WINDOW);
  start(device, LOG2);
  uint64_t random = 88172645463325252u;
  for (uint32_t i = A_OFF; i < O_OFF; i++) ((uint8_t *)beta_window(device))[i] = (uint8_t)next_random(&random);
  uint32_t tail = 0;
  for (size_t b = 0; b < COUNT(formats); b++) {
    beta_sync_for_device(device, A_OFF, O_OFF - A_OFF);
    bool good = true;
    for (size_t i = 0; i < ROUNDS * COUNT(formats) && good; i++) {
      good = run_product(device, &tail, formats[i % COUNT(formats)], formats[b]);
      if (!good) printf("# A format 0x%02X, round %zu\n", formats[i % COUNT(formats)], i / COUNT(formats));
    }
    check(good, "%s: a kept B of format 0x%02X with A of every format", name, formats[b]);
  }
  beta_close(device);
}

int main(void) {
  for (const struct beta_kernel *const *kernel = beta_kernels(); *kernel != NULL; kernel++) {
    if ((*kernel)->supported()) test_kernel((*kernel)->name);
  }
  return finish();
}
