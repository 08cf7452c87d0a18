/* AVX-512 with VPOPCNTDQ, VBMI and VNNI: Ice Lake, Zen 4 and later. */
#include "kernels/avx512/avx512.h"

#if defined(__x86_64__)

static bool supported(void) {
  __builtin_cpu_init();
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("avx512vnni") &&
         __builtin_cpu_supports("avx512vpopcntdq") && __builtin_cpu_supports("gfni") && __builtin_cpu_supports("bmi2");
}

/* Long rows of two-bit signed codes: weights, whose codes are as a rule -1, 0 and +1, and which are held once for many products. */
#define TERNARY_K_MIN 256u
static bool is_ternary_weight(const beta_qmm *job) {
  const beta_matrix *few = job->a.bits < job->b.bits ? &job->a : &job->b;
  return few->bits == 2 && few->encoding == BETA_ENC_S && job->k >= TERNARY_K_MIN;
}

static const struct beta_method *choose(const beta_qmm *job, bool *hold_a) {
  const uint32_t few = job->a.bits < job->b.bits ? job->a.bits : job->b.bits;
  const uint32_t many = job->a.bits < job->b.bits ? job->b.bits : job->a.bits;
  *hold_a = job->a.bits < job->b.bits;
  if (beta_avx512_triples_take(job)) return &beta_avx512_triples;
  if (beta_avx512_words_take(job)) return &beta_avx512_words;
  if (many == 1) {
    *hold_a = job->table_by_row; /* a table goes by weights, as a rule: those are held, and kept */
    return &beta_avx512_popcount;
  }
  if (few == 1 && many <= 4) return &beta_avx512_lookup8;
  if (few == 1) return &beta_avx512_lookup16;
  if (few == 2 && many == 2) return &beta_avx512_popcount;
  if (many == 8 && is_ternary_weight(job)) return &beta_avx512_ternary;
  return &beta_avx512_dot;
}

const struct beta_kernel beta_kernel_avx512 = {"avx512", supported, choose, beta_avx512_epilogue, beta_avx512_turn,
                                               beta_avx512_epilogue16, beta_avx512_turn16, beta_avx512_turn_bits};

#endif
