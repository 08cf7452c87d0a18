/*
 * One job at a time. A job is announced by a new generation; threads take units from a shared counter, so that a thread that
 * lost its CPU delays nobody by more than a unit. The caller waits only for threads that have joined the job: a thread that
 * sleeps through it is not waited for.
 *
 * `state` holds the generation and how many threads are inside in one word, so that joining a job and closing it cannot
 * both succeed: a thread joins only while the generation is the one it has seen announced, and open.
 */
#define _GNU_SOURCE
#include "device/emulator/pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "device/emulator/engine.h"

#define STACK_BYTES ((size_t)1 << 20)

/* state: 63:33 generation, 32 open, 31:0 threads inside. */
#define INSIDE_MASK UINT64_C(0xFFFFFFFF)
#define OPEN (UINT64_C(1) << 32)
#define GENERATION (UINT64_C(1) << 33)

struct beta_pool {
  uint32_t threads;
  bool spin;
  _Atomic uint64_t state;
  _Atomic uint32_t next; /* the next unit of the open job */
  _Atomic bool closing;
  _Atomic uint32_t asleep;
  uint32_t units;
  void (*work)(void *context, uint32_t unit, uint32_t thread);
  void *context;
  pthread_mutex_t lock;
  pthread_cond_t wake;
  uint32_t started; /* threads beside the caller */
  pthread_t thread[BETA_POOL_THREADS_MAX];
  struct member {
    struct beta_pool *pool;
    uint32_t index;
  } member[BETA_POOL_THREADS_MAX];
};

static void take_units(struct beta_pool *pool, uint32_t thread) {
  for (;;) {
    const uint32_t unit = atomic_fetch_add(&pool->next, 1);
    if (unit >= pool->units) return;
    pool->work(pool->context, unit, thread);
  }
}

/* Waits for a job after `seen` (a generation with its open bit) or for the end. */
static uint64_t await_job(struct beta_pool *pool, uint64_t seen) {
  const uint64_t began = beta_monotonic_ns();
  uint64_t spun = 0;
  do {
    const uint64_t state = atomic_load(&pool->state) & ~INSIDE_MASK;
    if (atomic_load(&pool->closing) || ((state & OPEN) != 0 && state != seen)) return state;
    beta_spin_once(spun);
    spun = beta_monotonic_ns() - began;
  } while (pool->spin && spun < BETA_SPIN_NS);
  pthread_mutex_lock(&pool->lock);
  atomic_fetch_add(&pool->asleep, 1);
  uint64_t state;
  for (;;) {
    state = atomic_load(&pool->state) & ~INSIDE_MASK;
    if (atomic_load(&pool->closing) || ((state & OPEN) != 0 && state != seen)) break;
    pthread_cond_wait(&pool->wake, &pool->lock);
  }
  atomic_fetch_sub(&pool->asleep, 1);
  pthread_mutex_unlock(&pool->lock);
  return state;
}

/* Counts this thread in while `job` is still open. */
static bool join(struct beta_pool *pool, uint64_t job) {
  uint64_t state = atomic_load(&pool->state);
  while ((state & ~INSIDE_MASK) == job) {
    if (atomic_compare_exchange_weak(&pool->state, &state, state + 1)) return true;
  }
  return false;
}

static void *run_member(void *argument) {
  struct member *member = argument;
  struct beta_pool *pool = member->pool;
  uint64_t seen = 0;
  while (!atomic_load(&pool->closing)) {
    const uint64_t job = await_job(pool, seen);
    if (atomic_load(&pool->closing)) break;
    seen = job;
    if (!join(pool, job)) continue;
    take_units(pool, member->index);
    atomic_fetch_sub(&pool->state, 1);
  }
  return NULL;
}

void beta_pool_run(struct beta_pool *pool, uint32_t units, void (*work)(void *context, uint32_t unit, uint32_t thread),
                   void *context) {
  if (pool->started == 0 || units <= 1) {
    for (uint32_t unit = 0; unit < units; unit++) work(context, unit, 0);
    return;
  }
  /* Nobody is inside, and nobody joins before the open bit is set: these are the caller's alone. */
  pool->work = work;
  pool->context = context;
  pool->units = units;
  atomic_store(&pool->next, 0);
  const uint64_t job = (atomic_load(&pool->state) & ~(INSIDE_MASK | OPEN)) + GENERATION + OPEN;
  atomic_store(&pool->state, job);
  if (atomic_load(&pool->asleep) != 0) {
    pthread_mutex_lock(&pool->lock);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
  }
  take_units(pool, 0);
  atomic_fetch_and(&pool->state, ~OPEN); /* no thread joins from here on */
  const uint64_t began = beta_monotonic_ns();
  while ((atomic_load(&pool->state) & INSIDE_MASK) != 0) beta_spin_once(beta_monotonic_ns() - began);
}

uint32_t beta_pool_threads(const struct beta_pool *pool) { return pool->threads; }

void beta_pool_close(struct beta_pool *pool) {
  pthread_mutex_lock(&pool->lock);
  atomic_store(&pool->closing, true);
  pthread_cond_broadcast(&pool->wake);
  pthread_mutex_unlock(&pool->lock);
  for (uint32_t i = 0; i < pool->started; i++) pthread_join(pool->thread[i], NULL);
  pthread_cond_destroy(&pool->wake);
  pthread_mutex_destroy(&pool->lock);
  free(pool);
}

struct beta_pool *beta_pool_open(uint32_t threads, bool spin) {
  struct beta_pool *pool = calloc(1, sizeof *pool);
  if (pool == NULL) return NULL;
  pool->threads = threads;
  pool->spin = spin;
  pthread_mutex_init(&pool->lock, NULL);
  pthread_cond_init(&pool->wake, NULL);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, STACK_BYTES);
  int failed = 0;
  while (failed == 0 && pool->started + 1 < threads) {
    struct member *member = &pool->member[pool->started];
    *member = (struct member){.pool = pool, .index = pool->started + 1};
    failed = pthread_create(&pool->thread[pool->started], &attributes, run_member, member);
    if (failed != 0) break;
    pthread_setname_np(pool->thread[pool->started], "beta-kernel");
    pool->started++;
  }
  pthread_attr_destroy(&attributes);
  if (failed == 0) return pool;
  beta_pool_close(pool);
  errno = failed;
  return NULL;
}
