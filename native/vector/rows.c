/*
 * Drives a producer over its rows and hands each to its quantisers, on the pool's threads.
 *
 * Rows are cut into a few units for each thread: what a unit prepares for its rows is prepared as seldom as may be. Where a quantiser takes the range of a sequence, a first pass finds it;
 * few sequences are cut into units for either pass, many are units themselves.
 */
#include <math.h>

#include "threads/pool.h"
#include "vector.h"

/* Elements that are worth a thread's while, some microseconds of work; units for each thread, and the most of a sequence. */
#define UNIT_ELEMENTS 8192u
#define UNITS_OF_THREAD 4u
#define UNITS_MAX (UNITS_OF_THREAD * BETA_POOL_THREADS_MAX)

void beta_range_rows(const beta_job *job, uint32_t sequence, uint32_t begin, uint32_t end, beta_ranges *ranges) {
  const unsigned consumers = job->g->step.header.consumers;
  double x[BETA_STEP_WIDTH_MAX];
  beta_coder coders[BETA_STEP_CONSUMERS_MAX];
  for (unsigned c = 0; c < consumers; c++) coders[c] = beta_coder_of(job->v, &job->g->consumers[c], (beta_found){.step = 1, .t = 0});
  for (uint32_t row = begin; row < end; row++) {
    job->row(job, sequence, row, x, NULL);
    for (unsigned c = 0; c < consumers; c++) {
      if (beta_needs_range(&job->g->consumers[c])) job->v->kernel->range(&coders[c], x, job->width, &ranges->of[c]);
    }
  }
}

/* Whether rows in floats are of use: to signs and to lines. */
static int wants_floats(const beta_job *job, const beta_lines *lines) {
  for (unsigned c = 0; c < job->g->step.header.consumers; c++) {
    if (lines->decides[c]) return 1;
  }
  return 0;
}

void beta_emit_rows(const beta_job *job, uint32_t sequence, uint32_t begin, uint32_t end, const beta_found *found) {
  const unsigned consumers = job->g->step.header.consumers;
  double x[BETA_STEP_WIDTH_MAX];
  float narrow[BETA_STEP_WIDTH_MAX];
  beta_coder coders[BETA_STEP_CONSUMERS_MAX];
  beta_lines lines;
  for (unsigned c = 0; c < consumers; c++) coders[c] = beta_coder_of(job->v, &job->g->consumers[c], found[c]);
  beta_lines_of_floats(job, coders, &lines);
  const int narrows = !job->out_off && wants_floats(job, &lines);
  for (uint32_t row = begin; row < end; row++) {
    float *out = job->out_off ? (float *)beta_at(job->v, job->out_off) + (size_t)row * job->width : NULL;
    job->row(job, sequence, row, x, out);
    if (narrows) job->v->kernel->narrow(x, job->width, narrow);
    for (unsigned c = 0; c < consumers; c++) {
      beta_quantise_row(job->v, &job->g->consumers[c], &coders[c], lines.decides[c] ? &lines.of[c] : NULL, x, narrows ? narrow : out,
                        job->width, row);
    }
  }
}

static void begin_ranges(beta_ranges *ranges) {
  for (unsigned c = 0; c < BETA_STEP_CONSUMERS_MAX; c++) ranges->of[c] = (beta_range){.low = INFINITY, .high = -INFINITY};
  ranges->turns[0] = ranges->turns[3] = INFINITY;
  ranges->turns[1] = ranges->turns[2] = -INFINITY;
}

static void join_ranges(beta_ranges *all, const beta_ranges *part) {
  for (unsigned c = 0; c < BETA_STEP_CONSUMERS_MAX; c++) {
    if (part->of[c].low < all->of[c].low) all->of[c].low = part->of[c].low;
    if (part->of[c].high > all->of[c].high) all->of[c].high = part->of[c].high;
  }
  for (unsigned i = 0; i < 4; i++) {
    const int smaller = i == 0 || i == 3;
    if (smaller ? part->turns[i] < all->turns[i] : part->turns[i] > all->turns[i]) all->turns[i] = part->turns[i];
  }
}

static void find_ranges(const beta_job *job, uint32_t sequence, uint32_t begin, uint32_t end, beta_ranges *ranges) {
  begin_ranges(ranges);
  (job->range ? job->range : beta_range_rows)(job, sequence, begin, end, ranges);
}

/* Steps and offsets as the records have them, or as the ranges of a sequence give them: those are stored. */
static void find(const beta_job *job, uint32_t sequence, beta_ranges *ranges, beta_found *found) {
  if (ranges && job->settle) job->settle(job, ranges);
  for (unsigned c = 0; c < job->g->step.header.consumers; c++) {
    const beta_step_quantise *q = &job->g->consumers[c];
    found[c] = (beta_found){.step = q->step, .t = 0};
    if (!ranges || !beta_needs_range(q)) continue;
    found[c] = beta_range_found(q, ranges->of[c]);
    ((beta_found *)beta_at(job->v, q->found_off))[sequence] = found[c];
  }
}

static void emit(const beta_job *job, uint32_t sequence, uint32_t begin, uint32_t end, const beta_found *found) {
  (job->emit ? job->emit : beta_emit_rows)(job, sequence, begin, end, found);
}

/* Rows [begin, end) in units of `size`: of one sequence, or of all of them. */
typedef struct span {
  const beta_job *job;
  const uint32_t *starts;
  uint32_t begin, end, size;
  uint32_t sequence;
  beta_ranges *ranges; /* of each unit */
  const beta_found *found;
} span;

static uint32_t unit_begin(const span *s, uint32_t unit) { return s->begin + unit * s->size; }
static uint32_t unit_end(const span *s, uint32_t unit) { return s->size < s->end - unit_begin(s, unit) ? unit_begin(s, unit) + s->size : s->end; }

static void range_unit(void *context, uint32_t unit, uint32_t seat) {
  (void)seat;
  const span *s = context;
  find_ranges(s->job, s->sequence, unit_begin(s, unit), unit_end(s, unit), &s->ranges[unit]);
}

static void emit_unit(void *context, uint32_t unit, uint32_t seat) {
  (void)seat;
  const span *s = context;
  emit(s->job, s->sequence, unit_begin(s, unit), unit_end(s, unit), s->found);
}

/* The sequence that row `row` belongs to. */
static uint32_t sequence_at(const span *s, uint32_t row) {
  uint32_t low = 0, high = s->job->sequences;
  while (high - low > 1) {
    const uint32_t middle = low + (high - low) / 2;
    if (s->starts[middle] <= row) low = middle;
    else high = middle;
  }
  return low;
}

/* Rows of any sequences: nothing is found at run time. */
static void emit_mixed_unit(void *context, uint32_t unit, uint32_t seat) {
  (void)seat;
  const span *s = context;
  const uint32_t end = unit_end(s, unit);
  for (uint32_t row = unit_begin(s, unit), sequence = sequence_at(s, row); row < end; sequence++) {
    const uint32_t until = s->starts[sequence + 1] < end ? s->starts[sequence + 1] : end;
    if (row < until) emit(s->job, sequence, row, until, s->found);
    row = until;
  }
}

static uint32_t unit_rows(const beta_job *job, uint32_t rows) {
  const uint32_t threads = beta_pool_threads(job->v->pool), units = threads > 1 ? UNITS_OF_THREAD * threads : 1;
  /* Codes straight from integers take a quarter of the time. */
  const uint32_t worth = (job->emit ? 3 : 1) * UNIT_ELEMENTS / job->width + 1, most = (rows + units - 1) / units;
  return worth > most ? worth : most;
}

static uint32_t units_of(const span *s) { return (s->end - s->begin + s->size - 1) / s->size; }

/* Both passes over one sequence, cut into units. */
static void run_sequence(span s) {
  beta_ranges ranges[UNITS_MAX];
  beta_found found[BETA_STEP_CONSUMERS_MAX];
  s.size = unit_rows(s.job, s.end - s.begin);
  s.ranges = ranges;
  s.found = found;
  beta_pool_run(s.job->v->pool, BETA_SEAT_HOST, units_of(&s), range_unit, &s);
  for (uint32_t unit = 1; unit < units_of(&s); unit++) join_ranges(&ranges[0], &ranges[unit]);
  find(s.job, s.sequence, &ranges[0], found);
  beta_pool_run(s.job->v->pool, BETA_SEAT_HOST, units_of(&s), emit_unit, &s);
}

/* Both passes over a whole sequence by one thread. */
static void whole_sequence(void *context, uint32_t unit, uint32_t seat) {
  (void)seat;
  const span *s = context;
  beta_ranges ranges;
  beta_found found[BETA_STEP_CONSUMERS_MAX];
  const uint32_t sequence = s->sequence + unit, begin = s->starts[sequence], end = s->starts[sequence + 1];
  if (begin == end) return;
  find_ranges(s->job, sequence, begin, end, &ranges);
  find(s->job, sequence, &ranges, found);
  emit(s->job, sequence, begin, end, found);
}

/* A part of a step that takes ranges holds whole sequences. */
static void run_ranged(const span *all) {
  const uint32_t first = sequence_at(all, all->begin), last = sequence_at(all, all->end - 1);
  span s = *all;
  s.sequence = first;
  if (last - first + 1 >= 4 * beta_pool_threads(all->job->v->pool)) {
    beta_pool_run(all->job->v->pool, BETA_SEAT_HOST, last - first + 1, whole_sequence, &s);
    return;
  }
  for (; s.sequence <= last; s.sequence++) {
    s.begin = s.starts[s.sequence];
    s.end = s.starts[s.sequence + 1];
    if (s.begin < s.end) run_sequence(s);
  }
}

void beta_run_rows(const beta_job *job) {
  const uint32_t whole[2] = {0, job->rows};
  span s = {.job = job, .starts = job->starts_off ? beta_at(job->v, job->starts_off) : whole, .begin = job->first, .end = job->end ? job->end : job->rows};
  if (beta_group_takes_range(job->g)) {
    run_ranged(&s);
    return;
  }
  beta_found found[BETA_STEP_CONSUMERS_MAX];
  find(job, 0, NULL, found);
  s.found = found;
  s.size = unit_rows(job, s.end - s.begin);
  beta_pool_run(job->v->pool, BETA_SEAT_HOST, units_of(&s), emit_mixed_unit, &s);
}
