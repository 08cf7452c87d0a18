/*
 * Private to vector/: what every step shares. A record is checked whole before it runs (check.c), then runs unchecked.
 *
 * A producer is a pure function from (sequence, row) to a row of real values in double, made by a kernel (kernel.h). rows.c drives
 * it: where a quantiser needs the range of a whole sequence, it computes every row twice, which costs time and no accuracy.
 */
#ifndef BETA_VECTOR_H
#define BETA_VECTOR_H

#include <stddef.h>
#include <stdint.h>

#include "beta.h"
#include "steps.h"
#include "vector/kernel.h"

typedef struct beta_vector {
  uint8_t *base;  /* the window */
  uint64_t bytes; /* its size */
  const struct beta_vector_kernel *kernel;
  struct beta_pool *pool; /* threads/pool.h; NULL is the calling thread alone */
} beta_vector;

typedef union beta_record {
  beta_step header;
  beta_step_quantise quantise;
  beta_step_term term;
  beta_step_table table;
  beta_step_embed embed;
  beta_step_affine affine;
  beta_step_norm norm;
  beta_step_softmax softmax;
  beta_step_dense dense;
  beta_step_pick pick;
  beta_step_value value;
} beta_record;

/* A step with the records that follow it. */
typedef struct beta_group {
  beta_record step;
  beta_record terms[BETA_STEP_TERMS_MAX];
  beta_step_quantise consumers[BETA_STEP_CONSUMERS_MAX];
} beta_group;

/* Address of a window offset that has been checked. */
static inline void *beta_at(const beta_vector *v, uint32_t off) { return v->base + off; }
/* The same for an operand that may be absent. */
static inline void *beta_optional(const beta_vector *v, uint32_t off) { return off ? v->base + off : NULL; }

/* Bytes of one integer that the engine left. */
static inline uint32_t beta_acc_bytes(int is_int16) { return is_int16 ? 2 : 4; }

/* Step and offset that a quantiser found for one sequence. */
typedef struct beta_found {
  double step;
  double t;
} beta_found;

static inline beta_found beta_found_at(const beta_vector *v, uint32_t off, uint32_t sequence) {
  const beta_found none = {.step = 1, .t = 0};
  return off ? ((const beta_found *)beta_at(v, off))[sequence] : none;
}

/* --- rows.c --- */

/*
 * What a first pass over rows knows of them. Ranges and turns of parts are put together by their smaller and larger ends, so
 * it makes no difference into which parts the rows of a sequence were cut.
 */
typedef struct beta_ranges {
  beta_range of[BETA_STEP_CONSUMERS_MAX];
  double turns[4]; /* kernel.h, gelu_turns */
} beta_ranges;

/* One step that runs. starts_off 0: one sequence of all rows. out_off 0: no float output. end 0: to the last row. */
typedef struct beta_job beta_job;
struct beta_job {
  const beta_vector *v;
  const beta_group *g;
  uint32_t rows, width, starts_off, sequences, out_off, first, end;
  /* Real values of one row; pure. `x` has room for the width, up to a multiple of 128. `out`, if any, gets them in floats. */
  void (*row)(const beta_job *job, uint32_t sequence, uint32_t row, double *x, float *out);
  /* Widens the ranges of all consumers by rows [begin, end) of a sequence; NULL: by `row`. */
  void (*range)(const beta_job *job, uint32_t sequence, uint32_t begin, uint32_t end, beta_ranges *ranges);
  /* Makes ranges of turns, once all rows of a sequence have been seen; or NULL. */
  void (*settle)(const beta_job *job, beta_ranges *ranges);
  /* Leaves rows [begin, end) of a sequence; NULL: by `row`. */
  void (*emit)(const beta_job *job, uint32_t sequence, uint32_t begin, uint32_t end, const beta_found *found);
  const void *prepared; /* the producer's own */
};

void beta_run_rows(const beta_job *job);
/* What stands for `range` and `emit` where they are NULL. */
void beta_range_rows(const beta_job *job, uint32_t sequence, uint32_t begin, uint32_t end, beta_ranges *ranges);
void beta_emit_rows(const beta_job *job, uint32_t sequence, uint32_t begin, uint32_t end, const beta_found *found);

/* --- terms.c: x = sum of the terms + bias + residual, in the order in which the compiler searches its thresholds --- */
typedef struct beta_terms {
  uint32_t bias_off;
  const float *residual; /* of this row, or NULL */
  int by_row;
  int relu;
} beta_terms;

/* Columns [begin, end) of a row, the first of them to x[0]. */
void beta_sum_terms(const beta_job *job, const beta_terms *terms, uint32_t sequence, uint32_t row, uint32_t begin, uint32_t end, double *x);
/* Bytes from a term's accumulators to the one of a column of a row. */
static inline size_t beta_acc_at(const beta_step_term *t, uint32_t row, uint32_t column) {
  return (size_t)row * t->acc_stride + (size_t)(column / t->block) * t->block_stride + (size_t)(column % t->block) * beta_acc_bytes(t->acc_int16);
}
/* What one term adds to a row, but for its place and the offsets of its blocks; with what follows the last term. */
beta_sum beta_sum_of(const beta_job *job, const beta_step_term *term, const beta_terms *terms, uint32_t sequence, uint32_t row, int last);
/* That for `width` columns from `begin` on, inside one block. */
beta_sum beta_sum_part(beta_sum sum, const beta_step_term *term, uint32_t row, uint32_t begin, uint32_t width);

/* --- quantise.c --- */

static inline int beta_needs_range(const beta_step_quantise *q) { return q->kind >= BETA_STEP_QUANTISER_ROUND_FROM_MIN; }

/* The found entry of a range, for kinds 2 to 4. */
beta_found beta_range_found(const beta_step_quantise *q, beta_range range);
/* How a quantiser makes codes, for every kind but SIGN; without what is found also how it prepares values. */
beta_coder beta_coder_of(const beta_vector *v, const beta_step_quantise *q, beta_found found);
/*
 * Quantises `x`, the values of row `row`, and leaves planes and sums where the record wants them. `rounded`: x in floats, where they are
 * at hand, or NULL; `line`: what decides codes from these, or NULL.
 */
void beta_quantise_row(const beta_vector *v, const beta_step_quantise *q, const beta_coder *coder, const beta_line *line, const double *x,
                       const float *rounded, uint32_t width, uint32_t row);
/* Leaves planes of codes, columns `begin`, a multiple of a block, and on; `codes` has room for whole blocks. */
void beta_leave_part(const beta_vector *v, const beta_step_quantise *q, uint8_t *codes, uint32_t begin, uint32_t width, uint32_t row);
/* Leaves the sum of a row whose planes are there, where the record wants it. */
void beta_leave_sum(const beta_vector *v, const beta_step_quantise *q, const beta_coder *coder, uint32_t width, uint32_t row);
/* Both, of a whole row. */
void beta_leave_codes(const beta_vector *v, const beta_step_quantise *q, const beta_coder *coder, uint8_t *codes, uint32_t width, uint32_t row);

/* Quantises `width` elements of a row from column `begin` on, x[0] and codes[0] the first of them. */
void beta_code_part(const beta_vector *v, const beta_step_quantise *q, const beta_coder *coder, const double *x, uint32_t begin, uint32_t width,
                    uint8_t *codes);

/* --- line.c --- */

/* Lines of a step's consumers, and the columns that they have. */
#define BETA_LINE_FLOATS 32768u
typedef struct beta_lines {
  int decides[BETA_STEP_CONSUMERS_MAX]; /* whether there is one */
  beta_line of[BETA_STEP_CONSUMERS_MAX];
  uint32_t used;
  float columns[BETA_LINE_FLOATS];
} beta_lines;

/* Lines for rows of real values in single precision. */
void beta_lines_of_floats(const beta_job *job, const beta_coder *coders, beta_lines *lines);
/*
 * Lines for the integers of a step of one term without offsets of blocks, whose channels are its columns, or its rows where the terms are
 * by row; without shifts then. Returns whether every consumer has one.
 */
int beta_lines_of_integers(const beta_job *job, const beta_terms *terms, uint32_t sequence, const beta_coder *coders, beta_lines *lines);
/* The line of one row, of a line whose channels are rows. */
beta_line beta_line_of_row(const beta_line *channels, uint32_t row);
/*
 * A line for numbers that are each within `error` of what they stand for, in units of codes, besides what a line's own arithmetic adds;
 * without a shift. For each of them its slope may be set anew, as long as it is within that error.
 */
int beta_line_of_numbers(const beta_coder *coder, double error, beta_line *line);

/* --- the producers --- */
void beta_embed(const beta_vector *v, const beta_group *g);
void beta_affine(const beta_vector *v, const beta_group *g);
void beta_norm(const beta_vector *v, const beta_group *g);
void beta_softmax(const beta_vector *v, const beta_group *g);
void beta_dense(const beta_vector *v, const beta_group *g);
void beta_pick(const beta_vector *v, const beta_group *g);

/* --- softmax.c --- */

/* One row of scores: where it is, and how far its scores lie apart. */
typedef struct beta_scores {
  const void *scores;
  uint32_t tokens;
  int int16;
  int32_t most;
  uint32_t furthest; /* largest distance */
} beta_scores;

static inline const void *beta_scores_row(const beta_vector *v, const beta_step_softmax *s, uint32_t row) {
  return (const uint8_t *)beta_at(v, s->acc_off) + (size_t)row * s->acc_stride;
}
static inline void beta_scores_at(const beta_vector *v, const beta_step_softmax *s, uint32_t row, beta_scores *r) {
  int32_t least;
  r->scores = beta_scores_row(v, s, row);
  r->tokens = s->tokens;
  r->int16 = s->acc_int16;
  v->kernel->extremes(r->scores, r->int16, r->tokens, &least, &r->most);
  r->furthest = (uint32_t)r->most - (uint32_t)least;
}
/* What a step's scores have in common. */
void beta_exponentials_of(const beta_vector *v, const beta_step_softmax *s, beta_exponentials *e);
/* The inverse of a sum of fixed-point exponentials. */
double beta_inverse_of(int64_t total);
/* Exponentials of one row, and the inverse of their sum. `r`: its scores, where no sums of keys move them. */
double beta_weigh_row(const beta_vector *v, const beta_step_softmax *s, const beta_exponentials *exponentials, uint32_t row, const beta_scores *r,
                      double *e);
/* Probabilities of row `row`, head after head, of the scores: p[tokens]. */
void beta_softmax_row(const beta_vector *v, const beta_step_softmax *s, const beta_exponentials *exponentials, uint32_t row, double *p);
/* decide.c: runs a job of probabilities whose quantiser has no shift and is no sign. */
void beta_decide_probabilities(beta_job *job);
/* A SOFTMAX with a VALUE record: rows of the context. */
void beta_context(const beta_vector *v, const beta_group *g);

/* --- indices.c --- */

/* Rows and columns of the whole step, whatever part of it a record computes; starts_off 0: one sequence. */
typedef struct beta_shape {
  uint32_t rows, width, sequences, starts_off;
} beta_shape;

typedef struct beta_bytes {
  uint64_t off, bytes;
} beta_bytes;

/* The index arrays of a step. */
typedef struct beta_indices {
  unsigned count;
  beta_bytes array[4];
} beta_indices;

/* Whether a consumer takes the range of a sequence. */
int beta_group_takes_range(const beta_group *g);
/* These are of groups whose records are valid. */
beta_shape beta_shape_of(const beta_group *g);
beta_indices beta_indices_of(const beta_group *g);
/* Whether nothing that a step writes lies on the index arrays of one. */
int beta_group_spares(const beta_group *g, const beta_indices *kept);
/* 0, or -EINVAL where the index arrays of a group hold what they may not. */
int beta_group_check_indices(const beta_vector *v, const beta_group *g);

/* --- check.c --- */

/* Every operand of the group lies in the window: 0 or -EINVAL. Depends on the records and the window's size alone. */
int beta_group_check_record(const beta_vector *v, const beta_group *g);

/* --- run.c --- */

/*
 * Gathers a producer and the records behind it; copies, because the caller's buffer may be unaligned. Returns how many records it
 * took, 0 where they run past the end.
 */
uint32_t beta_group_gather(const void *records, uint32_t left, beta_group *g);
/* Runs what has been checked. */
void beta_group_run(const beta_vector *v, const beta_group *g);
/* The sentence for record `index`, which is refused: -EINVAL. */
int beta_group_refuse(const beta_group *g, uint32_t index, uint32_t *failed);
beta_vector beta_vector_of(beta_device *device);

/* --- operation.c: for programs, whose records are checked once --- */

/*
 * Checks `count` records of one operation for a window of `window_bytes`; 0, or -EINVAL with the index of the refused one. Refuses steps
 * of which one writes on the index arrays of another: steps of one operation run at the same time.
 */
int beta_operation_check(uint64_t window_bytes, const void *records, uint32_t count, uint32_t *failed);
/*
 * Runs records that beta_operation_check has taken, and that nobody can have changed since. Indices are still checked, those of all steps before
 * one of them runs. The program has claimed the pool.
 */
int beta_operation_run(beta_device *device, const void *records, uint32_t count, uint32_t *failed);

#endif
