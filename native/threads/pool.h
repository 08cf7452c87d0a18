/*
 * The threads that compute: a pool runs one job at a time, cut into units that any of its threads may take.
 *
 * `threads` counts everyone who computes, the caller of beta_pool_run included. Some of them need not be the pool's own: a
 * thread with another duty (the emulator's engine, a host that waits for it) visits the pool while it has nothing else to do, and
 * helps with whatever job there is. Threads that find no job sleep.
 *
 * Every thread has a seat, and begins with the units that are dealt to its seat: the same part of every job. So what one job wrote
 * the same core reads in the next, whoever calls; between cores bytes travel ten times as slowly as out of a cache.
 */
#ifndef BETA_THREADS_POOL_H
#define BETA_THREADS_POOL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BETA_POOL_THREADS_MAX 64u

/*
 * Stack of every thread that computes: known, whatever the host's limit is. Rows of the largest width lie on it, in the deepest steps three of
 * doubles and as many of floats, which is most of a MiB; sanitizers have their own part of it.
 */
#define BETA_POOL_STACK_BYTES ((size_t)4 << 20)

/*
 * Seats of a host and of a visitor; those from there on are the pool's own threads'. No two threads work in one seat at the same time, so
 * buffers may be kept by seat.
 */
enum { BETA_SEAT_HOST, BETA_SEAT_ENGINE };

struct beta_pool;

/*
 * A pool of `threads` (1 to BETA_POOL_THREADS_MAX), of which the host is one, `visitors` (0 or 1, less than threads) come by
 * themselves, and the rest are the pool's own. NULL with errno set when it cannot be had.
 */
struct beta_pool *beta_pool_open(uint32_t threads, uint32_t visitors);
/* Nobody may use the pool any more. NULL is nothing. */
void beta_pool_close(struct beta_pool *pool);

/* Threads that may work on one job together, in seats below this number. A pool that is NULL is the caller alone: 1. */
uint32_t beta_pool_threads(const struct beta_pool *pool);

typedef void (*beta_pool_work)(void *context, uint32_t unit, uint32_t seat);

/*
 * Calls work(context, unit, seat) once for every unit < units and returns when all calls have. What was written before the call
 * is visible to the units, and what they wrote to the caller afterwards. From any thread, with its seat: while the pool has another
 * job or somebody else works in that seat (and where the pool is NULL) the caller runs alone. `work` must not run a job of the same pool.
 */
void beta_pool_run(struct beta_pool *pool, uint32_t seat, uint32_t units, beta_pool_work work, void *context);

/* The same for units from `first` on that are dealt by the caller: seat i gets those below ends[i] and not below ends[i - 1]; ends ascend. */
void beta_pool_run_dealt(struct beta_pool *pool, uint32_t seat, uint32_t first, const uint32_t *ends, beta_pool_work work,
                         void *context);

/* `ends`, one for each thread, as beta_pool_run deals. */
void beta_pool_share(const struct beta_pool *pool, uint32_t units, uint32_t *ends);

/*
 * Works on the pool's jobs until done(context) or, unless deadline_ns is 0, that moment of the monotonic clock; false says it
 * was the deadline. Between jobs the thread sleeps: whoever makes done() true calls beta_pool_wake() with the same seat
 * afterwards. Several threads may visit with one seat; only one of them works at a time. `done` may be asked at any time: it
 * must be cheap, change nothing, and read only what is atomic.
 */
bool beta_pool_visit(struct beta_pool *pool, uint32_t seat, bool (*done)(void *context), void *context,
                     uint64_t deadline_ns);
void beta_pool_wake(struct beta_pool *pool, uint32_t seat);

/*
 * A host that computes, in jobs or beside them, claims the pool while it does, so that the engine's thread only helps
 * meanwhile: the host is about to wait, and is the engine then (from any thread; claims count; NULL is nothing). The last one to go wakes it, but where
 * the caller is the only thread: then it looks for itself.
 */
void beta_pool_claim(struct beta_pool *pool);
void beta_pool_disclaim(struct beta_pool *pool);
bool beta_pool_is_claimed(const struct beta_pool *pool);

#endif
