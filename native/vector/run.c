/* Runs step records in order. */
#include <errno.h>
#include <string.h>

#include "beta.h"
#include "device/device.h"
#include "device/error.h"
#include "threads/pool.h"
#include "vector.h"

uint32_t beta_group_gather(const void *records, uint32_t left, beta_group *g) {
  const uint8_t *at = records;
  memcpy(&g->step, at, BETA_STEP_BYTES);
  const uint32_t terms = g->step.header.terms, consumers = g->step.header.consumers;
  if (terms > BETA_STEP_TERMS_MAX || consumers > BETA_STEP_CONSUMERS_MAX || 1 + terms + consumers > left) return 0;
  memcpy(g->terms, at + BETA_STEP_BYTES, (size_t)terms * BETA_STEP_BYTES);
  memcpy(g->consumers, at + (size_t)(1 + terms) * BETA_STEP_BYTES, (size_t)consumers * BETA_STEP_BYTES);
  return 1 + terms + consumers;
}

void beta_group_run(const beta_vector *v, const beta_group *g) {
  switch (g->step.header.op) {
    case BETA_STEP_EMBED: beta_embed(v, g); break;
    case BETA_STEP_AFFINE: beta_affine(v, g); break;
    case BETA_STEP_NORM: beta_norm(v, g); break;
    case BETA_STEP_SOFTMAX: beta_softmax(v, g); break;
    case BETA_STEP_DENSE: beta_dense(v, g); break;
    case BETA_STEP_PICK: beta_pick(v, g); break;
    default: break; /* beta_group_check_record lets no other pass. */
  }
}

int beta_group_refuse(const beta_group *g, uint32_t index, uint32_t *failed) {
  *failed = index;
  return beta_fail(-EINVAL, "vector step record %u (op %u) is malformed or reaches outside the window", index,
                   g->step.header.op);
}

beta_vector beta_vector_of(beta_device *device) {
  return (beta_vector){
      .base = beta_window(device),
      .bytes = beta_window_bytes(device),
      .kernel = device->vector ? device->vector : beta_vector_kernel_fastest(),
      .pool = device->cpu_pool,
  };
}

static int run_records(beta_device *device, const void *records, uint32_t count, uint32_t *failed) {
  const beta_vector v = beta_vector_of(device);
  for (uint32_t i = 0; i < count;) {
    beta_group group;
    const uint32_t taken = beta_group_gather((const uint8_t *)records + (size_t)i * BETA_STEP_BYTES, count - i, &group);
    if (taken == 0 || beta_group_check_record(&v, &group) != 0 || beta_group_check_indices(&v, &group) != 0)
      return beta_group_refuse(&group, i, failed);
    beta_group_run(&v, &group);
    i += taken;
  }
  return 0;
}

/* While the CPU's threads are the caller's. */
int beta_vector_run(beta_device *device, const void *records, uint32_t count, uint32_t *failed) {
  beta_pool_claim(device->cpu_pool);
  const int refused = run_records(device, records, count, failed);
  beta_pool_disclaim(device->cpu_pool);
  return refused;
}
