/*
 * What a benchmark's peer is: another library's matrix product of the same shape, on one thread of the caller. Each peer
 * is a shared object of its own (`make peers`), because the libraries are optional; all export the same functions, and
 * nothing but `beta bench` loads them.
 */
#ifndef BETA_PEERS_PEER_H
#define BETA_PEERS_PEER_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define BETA_PEER_API __attribute__((visibility("default")))

typedef struct beta_peer_product beta_peer_product;

/* How the right operand lies in memory, and who prepares it. */
enum {
  BETA_PEER_WEIGHTS = 0,     /* constant: the peer may pack it in advance, outside the timing */
  BETA_PEER_ROWS_OF_K = 1,   /* activations, n rows of k elements (K of Q.K^T): packing is part of the product */
  BETA_PEER_ROWS_OF_N = 2,   /* activations, k rows of n elements (V of P.V): packing is part of the product */
  /* The same as a layer has them, heads side by side in rows of all heads; so lie the left operand of Q.K^T and the result of P.V as well. */
  BETA_PEER_ROWS_OF_K_BESIDE = 3,
  BETA_PEER_ROWS_OF_N_BESIDE = 4,
};

/*
 * Prepares the library for one thread; before anything else. isa: "avx2" keeps the library from newer instructions, ""
 * leaves it all. Returns 0, or -ENOTSUP where this cannot be asked for (any more).
 */
BETA_PEER_API int beta_peer_open(const char *isa);

/* Name and version of the library; never NULL. */
BETA_PEER_API const char *beta_peer_version(void);

/*
 * A product [m, k] x [k, n], `heads` times over separate operands of random values. Returns 0 and the product, or
 * -ENOMEM, or -ENOTSUP where the library refuses the shape.
 */
BETA_PEER_API int beta_peer_prepare(uint32_t m, uint32_t n, uint32_t k, uint32_t heads, uint32_t right,
                                    beta_peer_product **product);

/* What the library chose to compute the product with; valid as long as the product. */
BETA_PEER_API const char *beta_peer_implementation(const beta_peer_product *product);

/* Computes the product `times` times. Returns 0 or -EIO where the library failed. */
BETA_PEER_API int beta_peer_run(beta_peer_product *product, uint32_t times);

BETA_PEER_API void beta_peer_free(beta_peer_product *product);

/* Elements from one head of an operand to the next, and from one row to the next. */
struct beta_peer_steps {
  int64_t head, row;
};

/* How the operands of a product lie; the rows of the right one are `rows_of_n`, k of n elements, or n of k. */
struct beta_peer_layout {
  struct beta_peer_steps left, right, result;
  int rows_of_n;
};

static inline struct beta_peer_steps beta_peer_steps_of(int64_t heads, int64_t rows, int64_t columns, int beside) {
  if (beside) return (struct beta_peer_steps){columns, heads * columns};
  return (struct beta_peer_steps){rows * columns, columns};
}

static inline struct beta_peer_layout beta_peer_layout_of(uint32_t m, uint32_t n, uint32_t k, uint32_t heads, uint32_t right) {
  const int k_beside = right == BETA_PEER_ROWS_OF_K_BESIDE, n_beside = right == BETA_PEER_ROWS_OF_N_BESIDE;
  const int rows_of_n = n_beside || right == BETA_PEER_ROWS_OF_N;
  return (struct beta_peer_layout){
      .left = beta_peer_steps_of(heads, m, k, k_beside),
      .right = rows_of_n ? beta_peer_steps_of(heads, k, n, n_beside) : beta_peer_steps_of(heads, n, k, k_beside),
      .result = beta_peer_steps_of(heads, m, n, n_beside),
      .rows_of_n = rows_of_n,
  };
}

/* Pseudorandom bytes, the same every time: speed and clock of a core can depend on the data. */
static inline uint8_t beta_peer_random(uint32_t *state) {
  *state = *state * 1664525u + 1013904223u;
  return (uint8_t)(*state >> 24);
}

#ifdef __cplusplus
}
#endif

#endif
