/*
 * The seam between the steps and the arithmetic of their rows: what one instruction set does for all of them.
 *
 * A row is computed in double, 16 elements at a time. The operations are written once (lanes/), in terms of 16 lanes that each
 * instruction set provides (its lanes.h), and use additions, multiplications, divisions, square roots and comparisons alone, never
 * fused; sums have an order of their own. So every kernel leaves the same bytes, but for the bits of a NaN.
 */
#ifndef BETA_VECTOR_KERNEL_H
#define BETA_VECTOR_KERNEL_H

#include <stdbool.h>
#include <stdint.h>

/*
 * One term of a row, and what is added behind the last: x = [x +] scale*D [+ offset*sums] [+ constant] [+ bias] [+ residual],
 * from left to right, then ReLU.
 */
typedef struct beta_sum {
  uint32_t width;
  bool adds;      /* to what x holds; else x is written */
  bool acc_int16; /* D is int16_t[width]; else int32_t[width] */
  const void *acc;
  const double *scales; /* the scale of a channel is scales[i] * scale, or scale where this is NULL */
  double scale;
  double offset;
  const double *sums;         /* or NULL */
  const int32_t *sums_int32;  /* or NULL */
  bool has_constant;
  double constant;
  const float *bias; /* or NULL */
  bool has_bias_of_row;
  double bias_of_row; /* where the bias is one of rows */
  const float *residual; /* or NULL */
  bool relu;
} beta_sum;

/* How a value becomes a code: rne(clip((c - t) / step, low, high)), c = x + shift, clipped where `clips`. */
typedef struct beta_coder {
  const float *shift; /* or NULL */
  bool clips;
  double clip_low, clip_high;
  double t, step;
  double low, high; /* codes, -128 to 255 */
  /* 1 / step, or 0 where that loses too much: then every value is divided. */
  double inverse;
} beta_coder;

/*
 * Codes by single precision, where that decides: rne(clip(slope * number + base, low, high)). `clear` is 0.5 less the error that
 * line.c states for it, so an element that lies farther than this from the nearest code is doubtful, and asked in double.
 */
typedef enum beta_numbers { BETA_FLOATS, BETA_INT16, BETA_INT32 } beta_numbers;
typedef struct beta_line {
  const void *numbers;
  beta_numbers type;
  float slope, base, low, high, clear;
  /* Of each column: slopes and floors, which then take the place of `low`, are those of integers and come with bases; or NULL. */
  const float *slopes, *bases, *floors;
} beta_line;
/* Elements that are doubtful together. */
#define BETA_LINE_CHUNK 64u

/* Smallest and largest prepared value seen. NaN counts as clip_low. */
typedef struct beta_range {
  double low, high;
} beta_range;

/* Exponentials of the distances 0 to 255 in fixed point (softmax.c): sums of them are exact, in any order. */
#define BETA_EXPONENTIAL_BITS 47
#define BETA_EXPONENTIAL_BYTES 6
#define BETA_DISTANCES 256u
/* Hexadecimal digits of a distance. */
#define BETA_DIGITS 8u
typedef struct beta_exponentials {
  int64_t fixed[BETA_DISTANCES];
  /* Byte b of fixed[distance] for the first 128 distances, for kernels that look bytes up. */
  uint8_t byte[BETA_EXPONENTIAL_BYTES][128];
  /* As the table has them, 0 behind its end. */
  double real[BETA_DISTANCES];
  /*
   * powers[k][j] = exp(-scale * j * 16^k), and for kernels that look them up (LANES_PAIRS) the products of two digits: pairs[k][i + 16 * j] =
   * powers[2k][i] * powers[2k + 1][j].
   */
  double powers[BETA_DIGITS][16];
  double pairs[BETA_DIGITS / 2][256];
} beta_exponentials;

struct beta_vector_kernel {
  const char *name;
  /* Whether this CPU can run it. */
  bool (*supported)(void);

  /* Working rows (`x`, `e`: double[], `codes`: uint8_t[]) have room up to a multiple of 128 elements; operands have not. */
  void (*sum)(const beta_sum *sum, double *x);
  /* x += scale * code of `width` elements of a word row: PM1, or S 2 bits if `ternary`. */
  void (*word)(const uint8_t *planes, bool ternary, double scale, uint32_t width, double *x);
  void (*widen)(const float *from, uint32_t width, double *x);
  void (*narrow)(const double *x, uint32_t width, float *to);
  /* x += from */
  void (*add)(const float *from, uint32_t width, double *x);
  /* x *= factor */
  void (*scale)(double factor, uint32_t width, double *x);
  /* x = gamma * ((x - mean) * (1 / sqrt(variance + epsilon))) + beta, the variance biased; `out`, if any, gets it in floats. */
  void (*layer_norm)(const float *gamma, const float *beta, double epsilon, uint32_t width, double *x, float *out);
  void (*gelu)(uint32_t width, double *x);
  void (*tanh)(uint32_t width, double *x);
  /* A value of gelu(x)'s sign, where nothing else of it matters. */
  void (*gelu_sign)(uint32_t width, double *x);
  /* The four arguments in which a range of gelu() is attained: see lanes/activate.h. */
  void (*gelu_turns)(const double *x, uint32_t width, double turns[4]);

  void (*range)(const beta_coder *coder, const double *x, uint32_t width, beta_range *range);
  /*
   * The planes of the signs of x + shift: one of PM1 (a zero counts as +1), or `bits` of two's complement. `rounded`: x in floats, where
   * they are at hand, or NULL.
   */
  void (*signs)(const double *x, const float *rounded, const float *shift, uint32_t width, bool pm1, unsigned bits, uint8_t *planes);
  void (*codes)(const beta_coder *coder, const double *x, uint32_t width, uint8_t *codes);
  /*
   * Codes of a row by a line; and the numbers of the chunks of BETA_LINE_CHUNK elements in which one is doubtful: how many. `codes` has
   * room for whole chunks.
   */
  uint32_t (*line_codes)(const beta_line *line, uint32_t width, uint8_t *codes, uint16_t *doubtful);
  /*
   * The columns of the line that decides what `coder` makes of `sum`, which has neither constants of the row nor a residual: bases, and
   * unless NULL slopes and the floors that ReLU makes. Raises `steepest` to the largest slope and `weight` to the largest sum of magnitudes
   * behind a base; false: there is no such line, a number is not finite.
   */
  bool (*line_columns)(const beta_sum *sum, const beta_coder *coder, double *steepest, double *weight, float *slopes, float *bases, float *floors);
  /* Codes of x * factor, without a shift, of `groups` times 16 elements, and their sum. */
  double (*decide)(const beta_coder *coder, const double *x, double factor, uint32_t groups, uint8_t *codes);
  /* Codes to planes, whole blocks: elements behind `width` become 0 in both. */
  void (*pack)(uint8_t *codes, uint32_t width, unsigned bits, uint8_t *planes);

  /* Rows of scores: int16_t or int32_t. */
  void (*extremes)(const void *scores, bool int16, uint32_t width, int32_t *least, int32_t *most);
  /* Fills `powers`, and `pairs` if it needs them. */
  void (*powers)(double scale, beta_exponentials *exponentials);
  /* e[i] = exp(-scale * (most - score)), by pairs of digits of the distances, the largest being `furthest`; and their sum. */
  double (*weigh)(const void *scores, bool int16, uint32_t width, int32_t most, uint32_t furthest, const beta_exponentials *exponentials,
                  double *e);
  /* e[i] = exp(-scale * (most - y)), y = step*score + t*key_sums[i], most the largest of them; and their sum. */
  double (*weigh_moved)(const void *scores, bool int16, uint32_t width, const int32_t *key_sums, double step, double t, double scale,
                        double *e);
  /*
   * About what weigh() makes, in floats, and their sum: for scores within 2^23 and `scale` within 2^60. With y = scale*(most - score)/ln 2,
   * each is within 2^-24 * (6 + 2.1 y) of itself, or below 2^-125; the sum within 2^-24 * (12 + 2.1 log2(width) + width/16).
   */
  float (*approximate)(const void *scores, bool int16, uint32_t width, int32_t most, double scale, float *e);
  /* most - score, each at most 255; there is room up to a multiple of 128 distances. */
  void (*distances)(const void *scores, bool int16, uint32_t width, int32_t most, uint8_t *distances);
  /* Sum of the exponentials of distances up to `furthest`. */
  int64_t (*total)(const beta_exponentials *exponentials, const uint8_t *distances, uint32_t width, uint32_t furthest);
  /* One plane: whether a score is at least `threshold`, which is one of them. */
  void (*reach)(const void *scores, bool int16, uint32_t width, int32_t threshold, uint8_t *plane);
  /* codes[i] = table[distances[i]], the table of BETA_DISTANCES entries. */
  void (*look_up)(const uint8_t *table, const uint8_t *distances, uint32_t width, uint32_t furthest, uint8_t *codes);

  /* sum of a[i] * b[i] */
  double (*dot)(const float *a, const float *b, uint32_t width);
  /* x[i] = sum over k < count of weights[k] * rows[k * stride + i] */
  void (*blend)(const double *weights, uint32_t count, const float *rows, uint32_t stride, uint32_t width, double *x);
};

/* Every kernel that was compiled in, fastest first, NULL at the end; the last one before it runs everywhere. */
const struct beta_vector_kernel *const *beta_vector_kernels(void);
/* The fastest that this CPU supports. */
const struct beta_vector_kernel *beta_vector_kernel_fastest(void);

extern const struct beta_vector_kernel beta_vector_kernel_portable;
#if defined(__x86_64__)
extern const struct beta_vector_kernel beta_vector_kernel_avx2;
extern const struct beta_vector_kernel beta_vector_kernel_avx512;
#endif
#if defined(__aarch64__)
extern const struct beta_vector_kernel beta_vector_kernel_neon;
#endif

#endif
