/*
 * A job is announced by a new generation. Its units are cut into one stretch for each thread, which begins with its own, so that
 * what it touches stays together, and then helps with the others': a thread that lost its CPU delays nobody by more than a unit.
 * The caller waits only for threads that have joined the job: a thread that sleeps through it is not
 * waited for.
 *
 * `state` holds the generation and how many threads are inside in one word, so that joining a job and closing it cannot
 * both succeed: a thread joins only while the generation is the one it has seen announced, and open.
 *
 * Wake-ups are lost by nobody: a sleeper counts itself asleep and then looks, a waker stores and then looks for sleepers, and
 * all of these are sequentially consistent.
 */
#define _GNU_SOURCE
#include "threads/pool.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "threads/spin.h"

#define STACK_BYTES ((size_t)1 << 20)

/* state: 63:33 generation, 32 open, 31:0 threads inside. */
#define INSIDE_MASK UINT64_C(0xFFFFFFFF)
#define OPEN (UINT64_C(1) << 32)
#define GENERATION (UINT64_C(1) << 33)

struct seat {
  pthread_cond_t wake; /* with the pool's lock */
  _Atomic uint32_t asleep;
  _Atomic bool taken;
};

/* Units that are taken from one end. Apart from each other, because every unit writes here. */
struct stretch {
  _Alignas(128) _Atomic uint32_t next;
  uint32_t end;
};

struct beta_pool {
  uint32_t threads;
  uint32_t seats;
  bool spin; /* a CPU for every thread: a short spin is cheaper than a sleep */
  _Atomic bool busy; /* has a job: whoever set it is its caller */
  _Atomic uint32_t claims;
  _Atomic uint64_t state;
  _Atomic uint32_t joined; /* threads that have come to the open job */
  void (*work)(void *context, uint32_t unit, uint32_t seat);
  void *context;
  struct stretch stretch[BETA_POOL_THREADS_MAX]; /* `threads` of them */
  pthread_mutex_t lock;
  struct seat seat[BETA_POOL_SEATS_MAX];
  _Atomic bool closing;
  uint32_t started;
  struct member {
    pthread_t thread;
    struct beta_pool *pool;
    uint32_t seat;
  } member[BETA_POOL_THREADS_MAX];
};

/* The open job as its generation and open bit, or 0. */
static uint64_t open_job(const struct beta_pool *pool) {
  const uint64_t state = atomic_load(&pool->state) & ~INSIDE_MASK;
  return (state & OPEN) != 0 ? state : 0;
}

/* Counts this thread in while `job` is still open. */
static bool join(struct beta_pool *pool, uint64_t job) {
  uint64_t state = atomic_load(&pool->state);
  while ((state & ~INSIDE_MASK) == job) {
    if (atomic_compare_exchange_weak(&pool->state, &state, state + 1)) return true;
  }
  return false;
}

/* One visit, or a pool's own thread: what it waits for, and the last job that it has seen to its end. */
struct visit {
  struct beta_pool *pool;
  struct seat *seat;
  bool seated; /* may work */
  bool (*done)(void *context);
  void *context;
  uint64_t deadline_ns;
  uint64_t seen;
};

static bool has_job(const struct visit *visit) {
  const uint64_t job = open_job(visit->pool);
  return visit->seated && job != 0 && job != visit->seen;
}

static bool is_late(const struct visit *visit) {
  return visit->deadline_ns != 0 && beta_monotonic_ns() >= visit->deadline_ns;
}

/* Takes units, from stretch `first` on, until there are none or, for a visitor, until its visit ends. */
static void take_units(struct beta_pool *pool, uint32_t first, uint32_t seat, const struct visit *visit) {
  for (uint32_t i = 0; i < pool->threads; i++) {
    struct stretch *stretch = &pool->stretch[(first + i) % pool->threads];
    for (;;) {
      const uint32_t unit = atomic_fetch_add(&stretch->next, 1);
      if (unit >= stretch->end) break;
      pool->work(pool->context, unit, seat);
      if (visit != NULL && (visit->done(visit->context) || is_late(visit))) return;
    }
  }
}

static void spin(const struct visit *visit) {
  const uint64_t began = beta_monotonic_ns();
  uint64_t now = began;
  do {
    if (visit->done(visit->context) || has_job(visit)) return;
    beta_spin_once(now - began);
    now = beta_monotonic_ns();
  } while (now - began < BETA_SPIN_NS && (visit->deadline_ns == 0 || now < visit->deadline_ns));
}

/* Until a wake-up, which may come too late for the job that it was for: its thread then spins for the next one. */
static void sleep_until(const struct visit *visit) {
  struct beta_pool *pool = visit->pool;
  pthread_mutex_lock(&pool->lock);
  atomic_fetch_add(&visit->seat->asleep, 1);
  if (!visit->done(visit->context) && !has_job(visit)) {
    const struct timespec deadline = {.tv_sec = (time_t)(visit->deadline_ns / 1000000000u),
                                      .tv_nsec = (long)(visit->deadline_ns % 1000000000u)};
    if (visit->deadline_ns == 0) pthread_cond_wait(&visit->seat->wake, &pool->lock);
    else pthread_cond_timedwait(&visit->seat->wake, &pool->lock, &deadline);
  }
  atomic_fetch_sub(&visit->seat->asleep, 1);
  pthread_mutex_unlock(&pool->lock);
}

bool beta_pool_visit(struct beta_pool *pool, uint32_t seat, bool (*done)(void *context), void *context,
                     uint64_t deadline_ns) {
  struct visit visit = {.pool = pool, .seat = &pool->seat[seat], .done = done, .context = context,
                        .deadline_ns = deadline_ns};
  visit.seated = !atomic_exchange(&visit.seat->taken, true);
  bool is_done;
  while (!(is_done = done(context)) && !is_late(&visit)) {
    if (!has_job(&visit)) {
      if (pool->spin) spin(&visit);
      if (!has_job(&visit)) sleep_until(&visit);
      continue;
    }
    visit.seen = open_job(pool);
    if (visit.seen == 0 || !join(pool, visit.seen)) continue;
    take_units(pool, 1 + atomic_fetch_add(&pool->joined, 1), seat, &visit);
    atomic_fetch_sub(&pool->state, 1);
  }
  if (visit.seated) atomic_store(&visit.seat->taken, false);
  return is_done;
}

void beta_pool_wake(struct beta_pool *pool, uint32_t seat) {
  if (atomic_load(&pool->seat[seat].asleep) == 0) return;
  pthread_mutex_lock(&pool->lock);
  pthread_cond_broadcast(&pool->seat[seat].wake);
  pthread_mutex_unlock(&pool->lock);
}

static bool is_closing(void *context) { return atomic_load(&((struct beta_pool *)context)->closing); }

static void *run_member(void *argument) {
  const struct member *member = argument;
  beta_pool_visit(member->pool, member->seat, is_closing, member->pool, 0);
  return NULL;
}

/* Wakes as many sleepers as there are units for them. */
static void announce(struct beta_pool *pool, uint32_t units) {
  uint32_t wanted = units - 1;
  for (uint32_t seat = 1; seat < pool->seats && wanted > 0; seat++) {
    if (atomic_load(&pool->seat[seat].asleep) == 0) continue;
    beta_pool_wake(pool, seat);
    wanted--;
  }
}

void beta_pool_run(struct beta_pool *pool, uint32_t units, void (*work)(void *context, uint32_t unit, uint32_t seat),
                   void *context) {
  if (pool == NULL || pool->threads == 1 || units <= 1 || atomic_exchange(&pool->busy, true)) {
    for (uint32_t unit = 0; unit < units; unit++) work(context, unit, BETA_SEAT_CALLER);
    return;
  }
  /* Nobody is inside, and nobody joins before the open bit is set: these are the caller's alone. */
  pool->work = work;
  pool->context = context;
  atomic_store(&pool->joined, 0);
  for (uint32_t i = 0; i < pool->threads; i++) {
    atomic_store(&pool->stretch[i].next, (uint32_t)((uint64_t)units * i / pool->threads));
    pool->stretch[i].end = (uint32_t)((uint64_t)units * (i + 1) / pool->threads);
  }
  const uint64_t job = (atomic_load(&pool->state) & ~(INSIDE_MASK | OPEN)) + GENERATION + OPEN;
  atomic_store(&pool->state, job);
  announce(pool, units);
  take_units(pool, 0, BETA_SEAT_CALLER, NULL);
  atomic_fetch_and(&pool->state, ~OPEN); /* no thread joins from here on */
  const uint64_t began = beta_monotonic_ns();
  while ((atomic_load(&pool->state) & INSIDE_MASK) != 0) beta_spin_once(beta_monotonic_ns() - began);
  atomic_store(&pool->busy, false);
}

void beta_pool_claim(struct beta_pool *pool) {
  if (pool != NULL) atomic_fetch_add(&pool->claims, 1);
}

void beta_pool_disclaim(struct beta_pool *pool) {
  if (pool != NULL) atomic_fetch_sub(&pool->claims, 1);
}

bool beta_pool_is_claimed(const struct beta_pool *pool) { return pool != NULL && atomic_load(&pool->claims) != 0; }

uint32_t beta_pool_threads(const struct beta_pool *pool) { return pool == NULL ? 1 : pool->threads; }
uint32_t beta_pool_seats(const struct beta_pool *pool) { return pool == NULL ? 1 : pool->seats; }

void beta_pool_close(struct beta_pool *pool) {
  if (pool == NULL) return;
  atomic_store(&pool->closing, true);
  for (uint32_t seat = BETA_SEAT_OWN; seat < pool->seats; seat++) beta_pool_wake(pool, seat);
  for (uint32_t i = 0; i < pool->started; i++) pthread_join(pool->member[i].thread, NULL);
  for (uint32_t seat = 0; seat < pool->seats; seat++) pthread_cond_destroy(&pool->seat[seat].wake);
  pthread_mutex_destroy(&pool->lock);
  free(pool);
}

static uint32_t count_cpus(void) {
  cpu_set_t cpus;
  return sched_getaffinity(0, sizeof cpus, &cpus) == 0 ? (uint32_t)CPU_COUNT(&cpus) : 1;
}

static void init_seats(struct beta_pool *pool) {
  pthread_condattr_t monotonic; /* timeouts must not jump with the wall clock */
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  for (uint32_t seat = 0; seat < pool->seats; seat++) pthread_cond_init(&pool->seat[seat].wake, &monotonic);
  pthread_condattr_destroy(&monotonic);
}

/* Starts the pool's own threads; 0 or an errno. */
static int start_members(struct beta_pool *pool) {
  pthread_attr_t attributes; /* a stack of known size: tiles live on it, whatever the host's limit is */
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, STACK_BYTES);
  /* The host's signals are the host's: these threads inherit a full mask. */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int failed = 0;
  for (uint32_t seat = BETA_SEAT_OWN; seat < pool->seats && failed == 0; seat++) {
    struct member *member = &pool->member[pool->started];
    member->pool = pool;
    member->seat = seat;
    failed = pthread_create(&member->thread, &attributes, run_member, member);
    if (failed != 0) break;
    pthread_setname_np(member->thread, "beta-worker");
    pool->started++;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  return failed;
}

struct beta_pool *beta_pool_open(uint32_t threads, uint32_t visitors) {
  struct beta_pool *pool = aligned_alloc(_Alignof(struct beta_pool), sizeof *pool);
  if (pool == NULL) return NULL;
  memset(pool, 0, sizeof *pool);
  pool->threads = threads;
  pool->seats = BETA_SEAT_OWN + (threads - 1 - visitors);
  pool->spin = threads > 1 && threads <= count_cpus();
  pthread_mutex_init(&pool->lock, NULL);
  init_seats(pool);
  const int failed = start_members(pool);
  if (failed == 0) return pool;
  beta_pool_close(pool);
  errno = failed;
  return NULL;
}
