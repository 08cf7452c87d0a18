/*
 * Runs a program: one call for a whole forward pass. Mechanism only; who submits what when was decided when the program was built.
 * It touches a device through the public functions, so barriers and cache maintenance are those of any other caller.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "device/device.h"
#include "device/error.h"
#include "program/program.h"
#include "threads/pool.h"
#include "vector/vector.h"

struct runner {
  beta_device *device;
  const beta_program *program;
  beta_run *run;
  double *timeline; /* NULL, or beta.h: a pair for each operation, then a pair for each descriptor */
  uint32_t base;    /* TAIL before the program's first descriptor */
  uint32_t observed; /* descriptors whose completion the timeline has */
  double began;
};

static double monotonic_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

static double *descriptor_times(const struct runner *r, uint32_t index) {
  return r->timeline + 2 * ((size_t)r->program->operation_count + index);
}

/* Gives every descriptor that HEAD has passed since the last look the time of this one. */
static void observe(struct runner *r) {
  if (r->timeline == NULL) return;
  const uint32_t done = beta_reg_read(r->device, BETA_REG_HEAD) - r->base, submitted = r->run->tail - r->base;
  if (done > submitted) return; /* a counter that the driver cannot have caused: the next wait or submit says so */
  const double now = monotonic_ns() - r->began;
  for (; r->observed < done; r->observed++) descriptor_times(r, r->observed)[1] = now;
}

/* Waits for a sequence number. The deadline starts again whenever HEAD moves. */
static int wait_for(struct runner *r, uint32_t sequence) {
  uint32_t head = beta_reg_read(r->device, BETA_REG_HEAD);
  for (;;) {
    const int outcome = beta_wait(r->device, sequence, r->run->timeout_us);
    if (outcome != BETA_WAIT_TIMEOUT) return outcome;
    const uint32_t now = beta_reg_read(r->device, BETA_REG_HEAD);
    if (now == head) return BETA_WAIT_TIMEOUT;
    head = now;
  }
}

/* With a timeline, descriptor by descriptor, so that each gets the time of its own completion. */
static int wait_count(struct runner *r, uint32_t count) {
  observe(r);
  while (r->timeline != NULL && r->observed < count) {
    const int outcome = wait_for(r, r->base + r->observed + 1);
    if (outcome != BETA_WAIT_DONE) return outcome;
    observe(r);
  }
  return wait_for(r, r->base + count);
}

/* Copies descriptors into the ring's slots from the tail on, up to the end of the ring, and returns how many. */
static uint32_t fill_ring(struct runner *r, uint32_t first, uint32_t count, int *failed) {
  const uint32_t entries = 1u << r->run->ring_log2, slot = r->run->tail & (entries - 1);
  const uint32_t part = count < entries - slot ? count : entries - slot;
  const uint32_t off = r->run->ring_off + slot * (uint32_t)sizeof(beta_descriptor), bytes = part * (uint32_t)sizeof(beta_descriptor);
  memcpy((uint8_t *)beta_window(r->device) + off, r->program->descriptors + first, bytes);
  *failed = beta_sync_computed(r->device, off, bytes);
  r->run->tail += part;
  return part;
}

static int submit(struct runner *r, uint32_t first, uint32_t count) {
  const uint32_t entries = 1u << r->run->ring_log2, end = first + count;
  for (uint32_t next = first; next < end;) {
    const uint32_t used = r->run->tail - beta_reg_read(r->device, BETA_REG_HEAD);
    if (used > entries) return BETA_RUN_GONE;
    if (used == entries) {
      /* Wake with a quarter of the ring free rather than for every single entry. */
      const int outcome = wait_for(r, r->run->tail - entries + (entries + 3) / 4);
      if (outcome != BETA_WAIT_DONE) return outcome;
      continue;
    }
    const uint32_t space = entries - used, batch = end - next < space ? end - next : space;
    for (uint32_t left = batch; left > 0;) {
      int failed;
      const uint32_t part = fill_ring(r, next + batch - left, left, &failed);
      if (failed != 0) return failed;
      left -= part;
    }
    if (r->timeline != NULL) {
      const double now = monotonic_ns() - r->began;
      for (uint32_t i = next; i < next + batch; i++) descriptor_times(r, i)[0] = now;
    }
    beta_kick(r->device, r->run->tail);
    next += batch;
  }
  return BETA_WAIT_DONE;
}

static int perform(struct runner *r, const beta_operation *o, double **spent) {
  beta_run *run = r->run;
  switch (o->kind) {
    case BETA_OPERATION_SUBMIT: *spent = &run->submit_ns; return submit(r, o->first, o->count);
    case BETA_OPERATION_WAIT: *spent = &run->wait_ns; return wait_count(r, o->first);
    case BETA_OPERATION_VECTOR: {
      uint32_t failed = 0;
      *spent = &run->vector_ns;
      observe(r);
      const int refused =
          beta_operation_run(r->device, r->program->records + (size_t)o->first * BETA_STEP_BYTES, o->count, &failed);
      if (refused == 0) return BETA_WAIT_DONE;
      run->record = o->first + failed;
      return refused;
    }
    case BETA_OPERATION_SYNC_FOR_DEVICE: *spent = &run->sync_ns; return beta_sync_computed(r->device, o->first, o->count);
    default: *spent = &run->sync_ns; return beta_sync_for_cpu(r->device, o->first, o->count);
  }
}

static int run_operations(struct runner *r) {
  beta_run *run = r->run;
  double at = 0;
  for (run->position = 0; run->position < r->program->operation_count; run->position++) {
    double *spent;
    const int outcome = perform(r, &r->program->operations[run->position], &spent);
    const double now = monotonic_ns() - r->began;
    *spent += now - at;
    if (r->timeline != NULL) {
      r->timeline[2 * (size_t)run->position] = at;
      r->timeline[2 * (size_t)run->position + 1] = now;
    }
    if (outcome != BETA_WAIT_DONE) return outcome;
    at = now;
  }
  return BETA_WAIT_DONE;
}

int beta_program_run(beta_device *device, const beta_program *program, beta_run *run, double *timeline) {
  const uint64_t ring_end = run->ring_off + ((uint64_t)sizeof(beta_descriptor) << (run->ring_log2 & 31));
  if (program->window_bytes > beta_window_bytes(device)) {
    return beta_fail(-EINVAL, "the program is for a window of %llu bytes, this one has %llu", (unsigned long long)program->window_bytes,
                     (unsigned long long)beta_window_bytes(device));
  }
  if (run->ring_log2 > BETA_RING_LOG2_LIMIT || run->ring_off % sizeof(beta_descriptor) != 0 || ring_end > beta_window_bytes(device)) {
    return beta_fail(-EINVAL, "a ring of 2^%u entries at window offset 0x%X is not possible", run->ring_log2, run->ring_off);
  }
  struct runner r = {.device = device, .program = program, .run = run, .timeline = timeline, .base = run->tail, .began = monotonic_ns()};
  run->submit_ns = run->wait_ns = run->vector_ns = run->sync_ns = 0;
  /* All that is submitted here is waited for here: where the engine is these CPUs, the same threads do the same parts of everything. */
  beta_pool_claim(device->cpu_pool);
  const int outcome = run_operations(&r);
  beta_pool_disclaim(device->cpu_pool);
  return outcome;
}
