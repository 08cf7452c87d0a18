/* Runs step records in order. */
#include <errno.h>
#include <string.h>

#include "beta.h"
#include "device/error.h"
#include "vector.h"

/* Producers leave their consumers' records behind themselves; copies, because the caller's buffer may be unaligned. */
typedef union record {
  beta_step header;
  beta_step_quantise quantise;
  beta_step_embed embed;
  beta_step_affine affine;
  beta_step_norm norm;
  beta_step_softmax softmax;
  beta_step_dense dense;
} record;

static int run_one(const beta_vector *v, const record *step, const beta_step_quantise *q) {
  if (beta_step_check(v, &step->header, q) != 0) return -EINVAL;
  switch (step->header.op) {
    case BETA_STEP_EMBED: beta_embed(v, &step->embed, q); break;
    case BETA_STEP_AFFINE: beta_affine_rows(v, &step->affine, q); break;
    case BETA_STEP_NORM: beta_norm(v, &step->norm, q); break;
    case BETA_STEP_SOFTMAX: beta_softmax(v, &step->softmax, q); break;
    case BETA_STEP_DENSE: beta_dense(v, &step->dense); break;
    default: return -EINVAL;
  }
  return 0;
}

static int refuse(const record *step, uint32_t index, uint32_t *failed) {
  *failed = index;
  return beta_fail(-EINVAL, "vector step record %u (op %u): it is malformed or reaches outside the window", (unsigned)index,
                   step->header.op);
}

int beta_vector_run(beta_device *device, const void *records, uint32_t count, uint32_t *failed) {
  const beta_vector v = {.base = beta_window(device), .bytes = beta_window_bytes(device)};
  const uint8_t *bytes = records;

  for (uint32_t i = 0; i < count;) {
    record step;
    beta_step_quantise q[BETA_STEP_CONSUMERS_MAX];
    memcpy(&step, bytes + (size_t)i * BETA_STEP_BYTES, BETA_STEP_BYTES);
    const uint32_t consumers = step.header.consumers;
    if (consumers > BETA_STEP_CONSUMERS_MAX || consumers >= count - i) return refuse(&step, i, failed);
    memcpy(q, bytes + (size_t)(i + 1) * BETA_STEP_BYTES, (size_t)consumers * BETA_STEP_BYTES);
    if (run_one(&v, &step, q) != 0) return refuse(&step, i, failed);
    i += 1 + consumers;
  }
  return 0;
}
