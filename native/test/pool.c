/* The pool by itself: every unit once, whoever calls, visits or claims. */
#include "threads/pool.h"

#include <pthread.h>
#include <stdatomic.h>

#include "test/support.h"
#include "threads/spin.h"

#define UNITS_MAX 4096u

struct job {
  _Atomic uint32_t runs[UNITS_MAX];
  _Atomic uint32_t inside[BETA_POOL_THREADS_MAX]; /* threads at work in a seat: never two */
  _Atomic uint32_t wrong;
  uint32_t plain[UNITS_MAX]; /* written by units, read by the caller afterwards: TSan sees whether that is ordered */
  uint32_t spin_ns;
};

static void work(void *context, uint32_t unit, uint32_t seat) {
  struct job *job = context;
  if (atomic_fetch_add(&job->inside[seat], 1) != 0) atomic_fetch_add(&job->wrong, 1);
  atomic_fetch_add(&job->runs[unit], 1);
  job->plain[unit] = unit + 1;
  const uint64_t began = beta_monotonic_ns();
  while (beta_monotonic_ns() - began < job->spin_ns) continue;
  atomic_fetch_sub(&job->inside[seat], 1);
}

/* Whether each of `units` ran once. */
static bool run_job(struct beta_pool *pool, struct job *job, uint32_t units) {
  memset(job->plain, 0, sizeof job->plain);
  for (uint32_t i = 0; i < UNITS_MAX; i++) atomic_store(&job->runs[i], 0);
  beta_pool_run(pool, BETA_SEAT_HOST, units, work, job);
  bool good = atomic_load(&job->wrong) == 0;
  for (uint32_t i = 0; i < UNITS_MAX; i++) {
    if (atomic_load(&job->runs[i]) != (i < units) || job->plain[i] != (i < units ? i + 1 : 0)) good = false;
  }
  return good;
}

static void test_sizes(void) {
  static struct job job;
  for (uint32_t threads = 0; threads <= 5; threads++) {
    struct beta_pool *pool = threads == 0 ? NULL : beta_pool_open(threads, 0);
    bool good = threads == 0 || pool != NULL;
    for (uint32_t round = 0; round < 300 && good; round++) {
      job.spin_ns = round % 3 * 500;
      good = run_job(pool, &job, round % 7 == 0 ? UNITS_MAX : round % 40);
      if (round % 50 == 0) sleep_us(100); /* so that threads have fallen asleep */
    }
    check(good && beta_pool_threads(pool) == (threads == 0 ? 1 : threads), "300 jobs on %s of %u threads, every unit once",
          threads == 0 ? "no pool" : "a pool", threads);
    beta_pool_close(pool);
  }
  struct beta_pool *pool = beta_pool_open(BETA_POOL_THREADS_MAX, 0);
  check(pool != NULL && run_job(pool, &job, UNITS_MAX), "the largest pool has a seat for everyone");
  beta_pool_close(pool);
}

struct caller {
  struct beta_pool *pool;
  struct job job;
  bool good;
};

static void *call(void *argument) {
  struct caller *caller = argument;
  caller->good = true;
  for (uint32_t round = 0; round < 500 && caller->good; round++) {
    caller->good = run_job(caller->pool, &caller->job, 1 + round % 60);
  }
  return NULL;
}

/* Whoever finds the pool busy runs alone: all are served, and nobody waits for anybody. */
static void test_callers(void) {
  static struct caller callers[3];
  struct beta_pool *pool = beta_pool_open(3, 0);
  pthread_t thread[3];
  for (size_t i = 0; i < 3; i++) {
    callers[i] = (struct caller){.pool = pool};
    pthread_create(&thread[i], NULL, call, &callers[i]);
  }
  for (size_t i = 0; i < 3; i++) pthread_join(thread[i], NULL);
  check(callers[0].good && callers[1].good && callers[2].good, "three callers at once, each with its own jobs");
  beta_pool_close(pool);
}

struct visitor {
  struct beta_pool *pool;
  uint32_t seat;
  _Atomic bool wanted;
  bool came_back;
};

static bool is_wanted(void *context) { return atomic_load(&((struct visitor *)context)->wanted); }

static void *visit(void *argument) {
  struct visitor *visitor = argument;
  visitor->came_back = beta_pool_visit(visitor->pool, visitor->seat, is_wanted, visitor, 0);
  return NULL;
}

static void test_visitors(void) {
  static struct job job;
  struct beta_pool *pool = beta_pool_open(3, 1);
  struct visitor visitors[] = {{.pool = pool, .seat = BETA_SEAT_ENGINE}, {.pool = pool, .seat = BETA_SEAT_HOST},
                               {.pool = pool, .seat = BETA_SEAT_HOST}};
  pthread_t thread[3];
  for (size_t i = 0; i < 3; i++) pthread_create(&thread[i], NULL, visit, &visitors[i]);
  bool good = true;
  job.spin_ns = 1000;
  for (uint32_t round = 0; round < 300 && good; round++) {
    good = run_job(pool, &job, 64);
    if (round % 50 == 0) sleep_us(100);
  }
  check(good, "300 jobs with visitors, two of them for one seat");
  for (size_t i = 0; i < 3; i++) {
    atomic_store(&visitors[i].wanted, true);
    beta_pool_wake(pool, visitors[i].seat);
  }
  for (size_t i = 0; i < 3; i++) pthread_join(thread[i], NULL);
  check(visitors[0].came_back && visitors[1].came_back && visitors[2].came_back, "visitors leave when they are wanted");

  struct visitor late = {.pool = pool};
  const uint64_t began = beta_monotonic_ns();
  const bool came = beta_pool_visit(pool, BETA_SEAT_HOST, is_wanted, &late, began + 20000000);
  check(!came && beta_monotonic_ns() - began >= 20000000, "a visit ends at its deadline");
  beta_pool_close(pool);
}

static void test_claims(void) {
  struct beta_pool *pool = beta_pool_open(1, 0);
  beta_pool_claim(pool);
  beta_pool_claim(pool);
  beta_pool_disclaim(pool);
  bool good = beta_pool_is_claimed(pool);
  beta_pool_disclaim(pool);
  good = good && !beta_pool_is_claimed(pool) && !beta_pool_is_claimed(NULL);
  beta_pool_claim(NULL);
  beta_pool_disclaim(NULL);
  check(good, "claims count");
  beta_pool_close(pool);
}

int main(void) {
  test_sizes();
  test_callers();
  test_visitors();
  test_claims();
  return finish();
}
