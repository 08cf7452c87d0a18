/*
 * A job is dealt to lanes, one for each seat: the units of a lane are taken one by one, by the thread that sits there first of all, and
 * by others who have none left: a thread that lost its CPU delays nobody by more than a unit. The caller waits for units that have been
 * taken, and so for no thread that sleeps through its job.
 *
 * What a thread looks at while it waits for a job, and what it has to know of it, is one cache line, because that is what travels between
 * cores. `left` holds the job's number beside the number of units that nobody has taken: one is taken by an exchange that succeeds only
 * while there are some of the job whose work was read, and that work stays as long as there are, so there is nothing to join and nothing to
 * leave.
 *
 * Wake-ups are lost by nobody: a sleeper counts itself asleep and then looks for a job; whoever deals one looks for sleepers, once at
 * once and once behind a fence, when the first unit has hidden what the fence waits for.
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

#define LINE 128u

struct lane {
  _Alignas(LINE) _Atomic uint64_t left; /* 63:32 job, 31:0 units */
  _Atomic uint32_t end;
  _Atomic(beta_pool_work) work;
  _Atomic(void *) context;
};

struct seat {
  _Alignas(LINE) _Atomic uint32_t finished; /* units of all jobs, by whoever sits here */
  _Atomic bool taken;
  _Alignas(LINE) _Atomic uint32_t asleep;
  pthread_cond_t wake; /* with the pool's lock */
};

/* The seats of the threads, and one for a visitor that no job needs. */
#define SEATS_MAX (BETA_POOL_THREADS_MAX + 1)

struct beta_pool {
  uint32_t threads, seats;
  bool spin; /* a CPU for every thread: a short spin is cheaper than a sleep */
  _Atomic bool closing;
  _Alignas(LINE) _Atomic uint32_t claims;
  _Alignas(LINE) _Atomic bool busy; /* has a job: whoever set it is its caller, and has what follows to itself */
  uint32_t job;
  uint32_t dealt; /* units of all jobs */
  struct lane lane[BETA_POOL_THREADS_MAX];
  struct seat seat[SEATS_MAX];
  pthread_mutex_t lock;
  uint32_t started;
  struct member {
    pthread_t thread;
    struct beta_pool *pool;
    uint32_t seat;
  } member[BETA_POOL_THREADS_MAX];
};

/* One visit, or a pool's own thread: what it waits for, and the last job that it has seen to its end. */
struct visit {
  struct beta_pool *pool;
  uint32_t seat;
  bool (*done)(void *context);
  void *context;
  uint64_t deadline_ns;
  uint32_t seen;
};

static uint32_t job_at(struct beta_pool *pool, uint32_t seat) {
  return seat < pool->threads ? (uint32_t)(atomic_load(&pool->lane[seat].left) >> 32) : 0;
}

static bool has_job(const struct visit *visit) { return job_at(visit->pool, visit->seat) != visit->seen; }

static bool is_late(const struct visit *visit) {
  return visit->deadline_ns != 0 && beta_monotonic_ns() >= visit->deadline_ns;
}

/* Takes a unit of a lane, if the lane is of this job and has one left. */
static bool take(struct lane *lane, uint32_t job, uint32_t *unit, beta_pool_work *work, void **context) {
  uint64_t left = atomic_load_explicit(&lane->left, memory_order_acquire);
  do {
    if ((uint32_t)(left >> 32) != job || (uint32_t)left == 0) return false;
    *unit = atomic_load_explicit(&lane->end, memory_order_relaxed) - (uint32_t)left;
    *work = atomic_load_explicit(&lane->work, memory_order_relaxed);
    *context = atomic_load_explicit(&lane->context, memory_order_relaxed);
  } while (!atomic_compare_exchange_weak(&lane->left, &left, left - 1));
  return true;
}

/* Everything that a unit wrote is visible to whoever sees it finished. The seat's own thread alone counts. */
static void finish(struct seat *seat) {
  const uint32_t finished = atomic_load_explicit(&seat->finished, memory_order_relaxed);
  atomic_store_explicit(&seat->finished, finished + 1, memory_order_release);
}

/* Takes units, of the seat's lane first, until there are none or, for a visitor, until its visit ends. */
static void take_units(struct beta_pool *pool, uint32_t seat, uint32_t job, const struct visit *visit) {
  uint32_t unit;
  beta_pool_work work;
  void *context;
  for (uint32_t i = 0, at = seat; i < pool->threads; i++, at = at + 1 < pool->threads ? at + 1 : 0) {
    while (take(&pool->lane[at], job, &unit, &work, &context)) {
      work(context, unit, seat);
      finish(&pool->seat[seat]);
      if (visit != NULL && (visit->done(visit->context) || is_late(visit))) return;
    }
  }
}

/* What a visitor waits for concerns lines that others write: it is asked for seldom. */
#define TURNS_OF_DONE 16u
static void spin(const struct visit *visit) {
  const uint64_t began = beta_monotonic_ns();
  uint64_t now = began;
  do {
    for (uint32_t turn = 0; turn < TURNS_OF_DONE; turn++) {
      if (has_job(visit)) return;
      beta_spin_once(now - began);
    }
    if (visit->done(visit->context)) return;
    now = beta_monotonic_ns();
  } while (now - began < BETA_SPIN_NS && (visit->deadline_ns == 0 || now < visit->deadline_ns));
}

/* Until a wake-up, which may come too late for the job that it was for: its thread then spins for the next one. */
static void sleep_until(const struct visit *visit) {
  struct beta_pool *pool = visit->pool;
  struct seat *seat = &pool->seat[visit->seat];
  pthread_mutex_lock(&pool->lock);
  atomic_fetch_add(&seat->asleep, 1);
  if (!visit->done(visit->context) && !has_job(visit)) {
    const struct timespec deadline = {.tv_sec = (time_t)(visit->deadline_ns / 1000000000u),
                                      .tv_nsec = (long)(visit->deadline_ns % 1000000000u)};
    if (visit->deadline_ns == 0) pthread_cond_wait(&seat->wake, &pool->lock);
    else pthread_cond_timedwait(&seat->wake, &pool->lock, &deadline);
  }
  atomic_fetch_sub(&seat->asleep, 1);
  pthread_mutex_unlock(&pool->lock);
}

bool beta_pool_visit(struct beta_pool *pool, uint32_t seat, bool (*done)(void *context), void *context,
                     uint64_t deadline_ns) {
  struct visit visit = {.pool = pool, .seat = seat, .done = done, .context = context, .deadline_ns = deadline_ns};
  bool is_done;
  while (!(is_done = done(context)) && !is_late(&visit)) {
    if (!has_job(&visit)) {
      if (pool->spin) spin(&visit);
      if (!has_job(&visit)) sleep_until(&visit);
      continue;
    }
    visit.seen = job_at(pool, seat);
    if (atomic_exchange(&pool->seat[seat].taken, true)) continue; /* somebody else works here */
    take_units(pool, seat, visit.seen, &visit);
    atomic_store(&pool->seat[seat].taken, false);
  }
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
static void wake_sleepers(struct beta_pool *pool, uint32_t seat, uint32_t units) {
  uint32_t wanted = units - 1;
  for (uint32_t i = 0; i < pool->threads && wanted > 0; i++) {
    if (i == seat || atomic_load(&pool->seat[i].asleep) == 0) continue;
    beta_pool_wake(pool, i);
    wanted--;
  }
}

static void deal(struct beta_pool *pool, uint32_t first, const uint32_t *ends, beta_pool_work work, void *context) {
  const uint64_t job = (uint64_t)(++pool->job == 0 ? ++pool->job : pool->job) << 32;
  for (uint32_t i = 0, begin = first; i < pool->threads; i++) {
    struct lane *lane = &pool->lane[i];
    const uint32_t end = ends[i] > begin ? ends[i] : begin;
    atomic_store_explicit(&lane->end, end, memory_order_relaxed);
    atomic_store_explicit(&lane->work, work, memory_order_relaxed);
    atomic_store_explicit(&lane->context, context, memory_order_relaxed);
    atomic_store_explicit(&lane->left, job | (end - begin), memory_order_release);
    begin = end;
  }
}

static uint32_t finished(const struct beta_pool *pool) {
  uint32_t units = 0;
  for (uint32_t i = 0; i < pool->threads; i++) units += atomic_load_explicit(&pool->seat[i].finished, memory_order_acquire);
  return units;
}

/* The caller's first unit comes between the two looks for sleepers. */
static void run_together(struct beta_pool *pool, uint32_t seat, uint32_t units, beta_pool_work work, void *context) {
  wake_sleepers(pool, seat, units);
  uint32_t unit;
  if (take(&pool->lane[seat], pool->job, &unit, &work, &context)) {
    work(context, unit, seat);
    finish(&pool->seat[seat]);
  }
  beta_fence();
  wake_sleepers(pool, seat, units);
  take_units(pool, seat, pool->job, NULL);
  pool->dealt += units;
  const uint64_t began = beta_monotonic_ns();
  while (finished(pool) != pool->dealt) beta_spin_once(beta_monotonic_ns() - began);
}

/* Makes the caller the one whose job the pool has, in its seat. */
static bool begin(struct beta_pool *pool, uint32_t seat) {
  if (atomic_exchange(&pool->busy, true)) return false;
  if (!atomic_exchange(&pool->seat[seat].taken, true)) return true;
  atomic_store(&pool->busy, false);
  return false;
}

void beta_pool_run_dealt(struct beta_pool *pool, uint32_t seat, uint32_t first, const uint32_t *ends, beta_pool_work work,
                         void *context) {
  const uint32_t end = ends[beta_pool_threads(pool) - 1];
  if (beta_pool_threads(pool) == 1 || end - first <= 1 || !begin(pool, seat)) {
    for (uint32_t unit = first; unit < end; unit++) work(context, unit, seat);
    return;
  }
  deal(pool, first, ends, work, context);
  run_together(pool, seat, end - first, work, context);
  atomic_store(&pool->seat[seat].taken, false);
  atomic_store(&pool->busy, false);
}

/* Rounded up: where units are few the first seats, the host's among them, have one. */
void beta_pool_share(const struct beta_pool *pool, uint32_t units, uint32_t *ends) {
  const uint32_t threads = beta_pool_threads(pool);
  for (uint32_t i = 0; i < threads; i++) ends[i] = (uint32_t)(((uint64_t)units * (i + 1) + threads - 1) / threads);
}

void beta_pool_run(struct beta_pool *pool, uint32_t seat, uint32_t units, beta_pool_work work, void *context) {
  uint32_t ends[BETA_POOL_THREADS_MAX];
  beta_pool_share(pool, units, ends);
  beta_pool_run_dealt(pool, seat, 0, ends, work, context);
}

void beta_pool_claim(struct beta_pool *pool) {
  if (pool != NULL) atomic_fetch_add(&pool->claims, 1);
}

void beta_pool_disclaim(struct beta_pool *pool) {
  if (pool != NULL && atomic_fetch_sub(&pool->claims, 1) == 1 && pool->threads > 1) beta_pool_wake(pool, BETA_SEAT_ENGINE);
}

bool beta_pool_is_claimed(const struct beta_pool *pool) { return pool != NULL && atomic_load(&pool->claims) != 0; }

uint32_t beta_pool_threads(const struct beta_pool *pool) { return pool == NULL ? 1 : pool->threads; }

void beta_pool_close(struct beta_pool *pool) {
  if (pool == NULL) return;
  atomic_store(&pool->closing, true);
  for (uint32_t seat = 0; seat < pool->seats; seat++) beta_pool_wake(pool, seat);
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

/* Starts the pool's own threads, in the seats from `first` on; 0 or an errno. */
static int start_members(struct beta_pool *pool, uint32_t first) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, BETA_POOL_STACK_BYTES);
  /* The host's signals are the host's: these threads inherit a full mask. */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int failed = 0;
  for (uint32_t seat = first; seat < pool->threads; seat++) {
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
  pool->seats = threads > 1 ? threads : 2; /* where the engine's thread sleeps, even if it never helps */
  pool->spin = threads > 1 && threads <= count_cpus();
  pthread_mutex_init(&pool->lock, NULL);
  init_seats(pool);
  const int failed = start_members(pool, 1 + visitors);
  if (failed == 0) return pool;
  beta_pool_close(pool);
  errno = failed;
  return NULL;
}
