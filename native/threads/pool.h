/*
 * The threads that compute: a pool runs one job at a time, cut into units that any of its threads may take.
 *
 * `threads` counts everyone who computes, the caller of beta_pool_run included. Some of them need not be the pool's own: a
 * thread with another duty (the emulator's engine, a host that waits for it) visits the pool while it has nothing else to do, and
 * helps with whatever job there is. Threads that find no job sleep.
 */
#ifndef BETA_THREADS_POOL_H
#define BETA_THREADS_POOL_H

#include <stdbool.h>
#include <stdint.h>

#define BETA_POOL_THREADS_MAX 64u

/*
 * Where a thread sits while it works on a job: no two threads of a job share a seat, so buffers may be kept by seat. The
 * caller's is 0, behind the visitors' are those of the pool's own threads.
 */
enum { BETA_SEAT_CALLER, BETA_SEAT_ENGINE, BETA_SEAT_HOST, BETA_SEAT_OWN };
#define BETA_POOL_SEATS_MAX (BETA_POOL_THREADS_MAX + 2u)

struct beta_pool;

/*
 * A pool of `threads` (1 to BETA_POOL_THREADS_MAX), of which the caller is one, `visitors` (0 or 1, less than threads) come by
 * themselves, and the rest are the pool's own. NULL with errno set when it cannot be had.
 */
struct beta_pool *beta_pool_open(uint32_t threads, uint32_t visitors);
/* Nobody may use the pool any more. NULL is nothing. */
void beta_pool_close(struct beta_pool *pool);

/* Threads that may work on one job together, and a bound of their seats. A pool that is NULL is the caller alone: 1. */
uint32_t beta_pool_threads(const struct beta_pool *pool);
uint32_t beta_pool_seats(const struct beta_pool *pool);

/*
 * Calls work(context, unit, seat) once for every unit < units and returns when all calls have. What was written before the call
 * is visible to the units, and what they wrote to the caller afterwards. From any thread: while the pool has another job
 * (and where it is NULL) the caller runs alone. `work` must not run a job of the same pool.
 */
void beta_pool_run(struct beta_pool *pool, uint32_t units, void (*work)(void *context, uint32_t unit, uint32_t seat),
                   void *context);

/*
 * Works on the pool's jobs until done(context) or, unless deadline_ns is 0, that moment of the monotonic clock; false says it
 * was the deadline. Between jobs the thread sleeps: whoever makes done() true calls beta_pool_wake() with the same seat
 * afterwards. Several threads may visit with one seat; only one of them works. `done` may be asked at any time: it
 * must be cheap, change nothing, and read only what is atomic.
 */
bool beta_pool_visit(struct beta_pool *pool, uint32_t seat, bool (*done)(void *context), void *context,
                     uint64_t deadline_ns);
void beta_pool_wake(struct beta_pool *pool, uint32_t seat);

/*
 * A host that computes, in jobs or beside them, claims the pool while it does, so that an engine with no thread of its own keeps
 * still meanwhile (from any thread; claims count; NULL is nothing).
 */
void beta_pool_claim(struct beta_pool *pool);
void beta_pool_disclaim(struct beta_pool *pool);
bool beta_pool_is_claimed(const struct beta_pool *pool);

#endif
