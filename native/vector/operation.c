/*
 * The steps of one operation of a program. None depends on another, so those that are too small for several threads to share run side by
 * side: one job of the pool, whose units are steps or parts of them. A unit runs alone on its thread, from the program's own records.
 *
 * Units are in the order of the steps and dealt by the work in them: each thread gets the sequences whose rows it had before.
 */
#include <errno.h>

#include "device/device.h"
#include "threads/pool.h"
#include "vector.h"

/* Steps of one job; an operation of more is several jobs. */
#define STEPS_MAX 256u
/*
 * Work is counted in elements, a microsecond for a thousand or so. What a step prepares takes some microseconds, so a part of a step has many
 * more elements than that is worth; and of every thread's work there are some units, for others to take where its CPU is slow.
 */
#define PREPARED_ELEMENTS 4096u
#define UNIT_ELEMENTS 32768u
#define UNITS_OF_THREAD 4u

static const void *record_at(const void *records, uint32_t index) { return (const uint8_t *)records + (size_t)index * BETA_STEP_BYTES; }

/* Whether the other steps spare the index arrays of the one at `index`. */
static int others_spare(const void *records, uint32_t count, uint32_t index) {
  beta_group own, other;
  beta_group_gather(record_at(records, index), count - index, &own);
  const beta_indices kept = beta_indices_of(&own);
  if (kept.count == 0) return 1;
  for (uint32_t i = 0, taken; i < count; i += taken) {
    taken = beta_group_gather(record_at(records, i), count - i, &other);
    if (i != index && !beta_group_spares(&other, &kept)) return 0;
  }
  return 1;
}

int beta_operation_check(uint64_t window_bytes, const void *records, uint32_t count, uint32_t *failed) {
  const beta_vector v = {.base = NULL, .bytes = window_bytes};
  beta_group g;
  for (uint32_t i = 0, taken; i < count; i += taken) {
    taken = beta_group_gather(record_at(records, i), count - i, &g);
    if (taken == 0 || beta_group_check_record(&v, &g) != 0) return beta_group_refuse(&g, i, failed);
  }
  for (uint32_t i = 0, taken; i < count; i += taken) {
    taken = beta_group_gather(record_at(records, i), count - i, &g);
    if (!others_spare(records, count, i)) return beta_group_refuse(&g, i, failed);
  }
  return 0;
}

/* The fields that say which rows a record computes; NULL where a step has no parts. */
typedef struct part {
  uint32_t *first, *end;
} part;

#define PART(s) \
  (part) { &(s)->first_row, &(s)->end_row }

static part part_of(beta_group *g) {
  beta_record *s = &g->step;
  switch (s->header.op) {
    case BETA_STEP_EMBED: return PART(&s->embed);
    case BETA_STEP_AFFINE: return PART(&s->affine);
    case BETA_STEP_NORM: return PART(&s->norm);
    case BETA_STEP_SOFTMAX: return s->header.terms ? (part){NULL, NULL} : PART(&s->softmax); /* V is unpacked for all rows */
    default: return (part){NULL, NULL};
  }
}

/* What a record computes: rows, how many parts these may have, and elements. */
typedef struct extent {
  uint32_t first, end, parts;
  uint64_t elements;
} extent;

static extent extent_of(beta_group *g) {
  const beta_shape shape = beta_shape_of(g);
  const part p = part_of(g);
  extent e = {.first = p.first ? *p.first : 0, .end = p.end && *p.end ? *p.end : shape.rows, .parts = 1};
  e.elements = (uint64_t)(e.end - e.first) * shape.width;
  if (g->step.header.op == BETA_STEP_DENSE) e.elements *= g->step.dense.width;
  if (g->step.header.op == BETA_STEP_SOFTMAX && g->step.header.terms) e.elements *= g->step.softmax.tokens;
  if (p.first) e.parts = !beta_group_takes_range(g) ? e.end - e.first : shape.starts_off ? shape.sequences : 1;
  return e;
}

/* The first row of part `index` of `parts`; where ranges are taken, the next one that begins a sequence. */
static uint32_t part_begin(const beta_vector *v, const beta_group *g, const extent *e, uint32_t index, uint32_t parts) {
  const uint32_t row = e->first + (uint32_t)((uint64_t)(e->end - e->first) * index / parts);
  if (!beta_group_takes_range(g)) return row;
  const beta_shape shape = beta_shape_of(g);
  const uint32_t *starts = beta_at(v, shape.starts_off);
  uint32_t sequence = 0;
  while (starts[sequence] < row) sequence++; /* the last one is the number of rows */
  return starts[sequence];
}

/* A step of a job. */
typedef struct member {
  uint32_t record;
  uint32_t units, begin; /* how many, and the number of the first */
  uint64_t work;
} member;

typedef struct together {
  beta_vector alone; /* the window, for one thread */
  const void *records;
  uint32_t count;
  uint32_t steps;
  uint64_t work;
  member step[STEPS_MAX];
} together;

static void run_unit(void *context, uint32_t unit, uint32_t seat) {
  (void)seat;
  const together *t = context;
  uint32_t low = 0, high = t->steps;
  while (high - low > 1) {
    const uint32_t middle = low + (high - low) / 2;
    if (t->step[middle].begin <= unit) low = middle;
    else high = middle;
  }
  const member *m = &t->step[low];
  beta_group g;
  beta_group_gather(record_at(t->records, m->record), t->count - m->record, &g);
  if (m->units > 1) {
    const extent e = extent_of(&g);
    const uint32_t begin = part_begin(&t->alone, &g, &e, unit - m->begin, m->units);
    const uint32_t end = part_begin(&t->alone, &g, &e, unit - m->begin + 1, m->units);
    if (begin == end) return;
    const part p = part_of(&g);
    *p.first = begin;
    *p.end = end;
  }
  beta_group_run(&t->alone, &g);
}

/* Cuts steps into units, and deals these by the work in them. */
static void deal(together *t, uint32_t threads, uint32_t *ends) {
  uint64_t unit = t->work / (UNITS_OF_THREAD * threads), before = 0;
  if (unit < UNIT_ELEMENTS) unit = UNIT_ELEMENTS;
  uint32_t units = 0, seat = 0;
  for (uint32_t i = 0; i < t->steps; i++) {
    member *m = &t->step[i];
    if (m->work / unit < m->units) m->units = m->work < unit ? 1 : (uint32_t)(m->work / unit);
    m->begin = units;
    /* A seat's last unit is the one in which its share of the work ends. */
    for (; seat < threads && (before + m->work) * threads >= t->work * (seat + 1); seat++) {
      const uint64_t share = t->work * (seat + 1) / threads - before;
      ends[seat] = units + (uint32_t)((share * m->units + m->work - 1) / m->work);
    }
    before += m->work;
    units += m->units;
  }
  for (; seat < threads; seat++) ends[seat] = units;
  ends[threads - 1] = units;
}

/* A step that one thread would be left with at the end is cut as a step on its own is. */
static void run_large(const beta_vector *v, together *t) {
  const uint64_t large = t->work / (2 * beta_pool_threads(v->pool));
  uint32_t kept = 0;
  for (uint32_t i = 0; i < t->steps; i++) {
    const member m = t->step[i];
    if (m.units > 1 || m.work <= large || m.work < 2 * UNIT_ELEMENTS) {
      t->step[kept++] = m;
      continue;
    }
    beta_group g;
    beta_group_gather(record_at(t->records, m.record), t->count - m.record, &g);
    beta_group_run(v, &g);
    t->work -= m.work;
  }
  t->steps = kept;
}

static void run_together(const beta_vector *v, together *t) {
  uint32_t ends[BETA_POOL_THREADS_MAX];
  run_large(v, t);
  if (t->steps == 0) return;
  deal(t, beta_pool_threads(v->pool), ends);
  beta_pool_run_dealt(v->pool, BETA_SEAT_HOST, 0, ends, run_unit, t);
}

/* As many steps as a job has from record `first` on; returns the record behind them. */
static uint32_t gather_steps(together *t, uint32_t first) {
  beta_group g;
  t->steps = 0;
  t->work = 0;
  while (first < t->count && t->steps < STEPS_MAX) {
    const uint32_t taken = beta_group_gather(record_at(t->records, first), t->count - first, &g);
    const extent e = extent_of(&g);
    const uint64_t work = e.elements + PREPARED_ELEMENTS;
    t->step[t->steps++] = (member){.record = first, .units = e.parts, .work = work};
    t->work += work;
    first += taken;
  }
  return first;
}

static void run_in_order(const beta_vector *v, const void *records, uint32_t count) {
  beta_group g;
  for (uint32_t i = 0; i < count;) {
    i += beta_group_gather(record_at(records, i), count - i, &g);
    beta_group_run(v, &g);
  }
}

int beta_operation_run(beta_device *device, const void *records, uint32_t count, uint32_t *failed) {
  const beta_vector v = beta_vector_of(device);
  uint32_t steps = 0;
  beta_group g;
  for (uint32_t i = 0, taken; i < count; i += taken, steps++) {
    taken = beta_group_gather(record_at(records, i), count - i, &g);
    if (beta_group_check_indices(&v, &g) != 0) return beta_group_refuse(&g, i, failed);
  }
  if (steps == 1 || beta_pool_threads(v.pool) == 1) {
    run_in_order(&v, records, count);
    return 0;
  }
  together t = {.alone = v, .records = records, .count = count};
  t.alone.pool = NULL;
  for (uint32_t next = 0; next < count;) {
    next = gather_steps(&t, next);
    run_together(&v, &t);
  }
  return 0;
}
