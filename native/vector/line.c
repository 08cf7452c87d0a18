/*
 * Lines: what decides most codes in single precision (kernel.h, beta_line).
 *
 * A code is rne(clip((s*D + rest) / step)) in double. A line computes q = slope*D + base, both rounded from double. With u = 2^-24, Q the
 * exact value in front of clipping and W the sum of the magnitudes of what base is made of, over step: the slope, D and their product
 * are each within u of themselves, and |s*D / step| <= |Q| + W; the base is within u*W, and the sum within u*|q|. So q is within
 * u*(4|Q| + 4W) of Q, to first order. Clipping takes |Q| to at most C, the largest code or bound, and keeps two numbers at least as near.
 * ERROR has room for the rest: higher orders, and the roundings of double that the definition itself has.
 */
#include <math.h>

#include "vector.h"

#define ERROR(code, weight) (4.5 * 0x1p-24 * ((code) + (weight)) + 0x1p-22)
/* A line that leaves more than this in doubt is none. */
#define ERROR_MAX 0.125
/* Beyond, single precision could overflow. Slopes may be as small as they like: D is an integer. */
#define STEEPEST 0x1p60
#define FLATTEST_OF_FLOATS 0x1p-60

static double bounded(double x, double low, double high) { return x > low ? x < high ? x : high : low; }

/* The ends of the codes with those of the clip bounds. */
static void bound(const beta_coder *c, beta_line *line) {
  line->low = (float)(c->clips ? bounded((c->clip_low - c->t) * c->inverse, c->low, c->high) : c->low);
  line->high = (float)(c->clips ? bounded((c->clip_high - c->t) * c->inverse, c->low, c->high) : c->high);
}

static int settle(const beta_coder *c, double steepest, double weight, double given, beta_line *line) {
  const double error = ERROR(fmax(fabs(c->low), fabs(c->high)) + 1, weight) + given;
  if (!(error < ERROR_MAX) || !(steepest < STEEPEST)) return 0;
  line->clear = (float)(0.5 - error);
  return 1;
}

static float *columns(beta_lines *lines, uint32_t width) {
  if (BETA_LINE_FLOATS - lines->used < width) return NULL;
  lines->used += width;
  return lines->columns + lines->used - width;
}

/* What has a line: a rounding by a step whose inverse serves. */
static int is_line(const beta_step_quantise *q, const beta_coder *c) { return q->kind != BETA_STEP_QUANTISER_SIGN && c->inverse > 0; }

static int line_of_floats(const beta_job *job, const beta_step_quantise *q, const beta_coder *c, beta_lines *lines, beta_line *line) {
  if (!is_line(q, c) || c->inverse < FLATTEST_OF_FLOATS) return 0;
  if (!c->shift) return beta_line_of_numbers(c, 0, line);
  double weight = 0, steepest = c->inverse;
  float *bases = columns(lines, job->width);
  const beta_sum none = {.width = job->width};
  *line = (beta_line){.type = BETA_FLOATS, .slope = (float)c->inverse, .bases = bases};
  bound(c, line);
  if (bases == NULL || !job->v->kernel->line_columns(&none, c, &steepest, &weight, NULL, bases, NULL)) return 0;
  return settle(c, steepest, weight, 0, line);
}

int beta_line_of_numbers(const beta_coder *c, double error, beta_line *line) {
  *line = (beta_line){.type = BETA_FLOATS, .slope = (float)c->inverse, .base = (float)(-c->t * c->inverse)};
  bound(c, line);
  return c->inverse > FLATTEST_OF_FLOATS && settle(c, c->inverse, fabs(c->t) * c->inverse, error, line);
}

void beta_lines_of_floats(const beta_job *job, const beta_coder *coders, beta_lines *lines) {
  lines->used = 0;
  for (unsigned c = 0; c < job->g->step.header.consumers; c++)
    lines->decides[c] = line_of_floats(job, &job->g->consumers[c], &coders[c], lines, &lines->of[c]);
}

static int line_of_channels(const beta_job *job, const beta_sum *s, const beta_coder *c, beta_lines *lines, beta_line *line) {
  double weight = 0, steepest = fabs(s->scale * c->inverse);
  float *slopes = s->scales ? columns(lines, s->width) : NULL, *bases = columns(lines, s->width);
  float *floors = s->relu && c->shift ? columns(lines, s->width) : NULL;
  if (bases == NULL || (s->scales && slopes == NULL) || (s->relu && c->shift && floors == NULL)) return 0;
  beta_coder lowest = *c;
  lowest.low = line->low;
  if (s->scales) steepest = 0;
  line->slope = (float)(s->scale * c->inverse);
  line->slopes = slopes;
  line->bases = bases;
  line->floors = floors;
  return job->v->kernel->line_columns(s, &lowest, &steepest, &weight, slopes, bases, floors) && settle(c, steepest, weight, 0, line);
}

int beta_lines_of_integers(const beta_job *job, const beta_terms *terms, uint32_t sequence, const beta_coder *coders, beta_lines *lines) {
  /* By rows, all scales, sums and biases are there as for columns, so the same makes them channels. */
  const beta_terms channels = {.bias_off = terms->bias_off, .relu = terms->relu};
  beta_sum s = beta_sum_of(job, &job->g->terms[0].term, &channels, sequence, 0, 1);
  s.width = terms->by_row ? job->rows : job->width;
  lines->used = 0;
  for (unsigned i = 0; i < job->g->step.header.consumers; i++) {
    const beta_coder *c = &coders[i];
    beta_line *line = &lines->of[i];
    if (!is_line(&job->g->consumers[i], c)) return 0;
    *line = (beta_line){.type = s.acc_int16 ? BETA_INT16 : BETA_INT32};
    bound(c, line);
    if (s.relu && !c->shift) line->low = (float)fmax(line->low, fmin(-c->t * c->inverse, line->high));
    if (!line_of_channels(job, &s, c, lines, line)) return 0;
  }
  return 1;
}

beta_line beta_line_of_row(const beta_line *channels, uint32_t row) {
  beta_line line = *channels;
  if (channels->slopes) line.slope = channels->slopes[row];
  line.base = channels->bases[row];
  line.slopes = line.bases = NULL;
  return line;
}
