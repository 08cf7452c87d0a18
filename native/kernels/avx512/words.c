/*
 * Operands of one or two bits and a few words: the products of attention, where both operands are new every time.
 *
 * Results fit 16 bits, so 32 held rows are the lanes of a vector, and nothing is shuffled but when it is laid out. A word of 64
 * elements is four vectors of 16-bit pieces. Vector v has piece (i + v) mod 4 of its row in lane i of every four, so that what
 * meets it is one word of the streamed row, rotated, in all lanes: loads broadcast 64 bits for nothing, and 16 bits not.
 *
 * One bit, where B = 2 b - 1: with X = |a ^ b|,
 *   A = 2 a - 1: D = K - 2 X,   A = a: D = |b| - X.
 * Where words are whole, half of the pieces are held turned over: what differs in them is what agrees, so that a difference of
 * counts is D / 2 already.
 * Two bits, both signed, A = a - 2 a' and B = b - 2 b': a product is n - 2 s + 4 t with three bits in place of four,
 *   n = ab,   s = ab' ^ a'b,   t = a'b' and not n    (where ab' and a'b are both set, so are n and a'b': -4 + 4 is not counted).
 * An unsigned A is a signed one with a' turned over, plus 2.
 */
#include "kernels/avx512/avx512.h"

#if defined(__x86_64__)

#define LANES 32u
#define ROWS 64u
#define COLUMNS 128u
#define PIECES 4u  /* of 16 bits in a word */
#define VECTOR 64u /* bytes */

#define NOT_AND 0x40 /* of (a, b, c): a and b and not c */
#define XOR_AND 0x78 /* a xor (b and c) */

bool beta_avx512_words_take(const beta_qmm *job) {
  const uint32_t words = beta_word_count(job->k0, job->k);
  if (job->a.bits == 1 && job->b.bits == 1) {
    return words <= BETA_AVX512_WORDS_MAX && job->b.encoding == BETA_ENC_PM1 && job->a.encoding != BETA_ENC_S;
  }
  return job->a.bits == 2 && job->b.bits == 2 && words <= BETA_AVX512_WORDS_MAX / 2 && job->b.encoding == BETA_ENC_S;
}

/* Words of all planes of a row. */
static uint32_t words_of(const beta_pair *pair) { return pair->held.bits * beta_word_count(pair->k0, pair->k); }

/* The terms of the lanes, then the pieces of every word, plane by plane. */
static size_t held_bytes(const beta_pair *pair) { return VECTOR * (1 + PIECES * (size_t)words_of(pair)); }

/* For every word, plane by plane, and every rotation: the words of all rows. */
static size_t streamed_bytes(const beta_pair *pair) { return sizeof(uint64_t) * ROWS * PIECES * words_of(pair); }

static inline __m512i mask_of(const beta_pair *pair, uint32_t w) {
  return _mm512_set1_epi64((long long)beta_word_mask(beta_first_word(pair->k0) + w, pair->k0, pair->k));
}

/* What a lane adds: one of these, whose ones are counted in a plane, times `factor`. */
static int32_t factor_of(const beta_pair *pair, uint32_t plane) {
  if (pair->held.bits == 1) return pair->streamed.encoding == BETA_ENC_PM1 ? 0 : 1;
  if (pair->streamed.encoding == BETA_ENC_S) return 0;
  return plane == 0 ? 2 : -4; /* 2 B */
}

/* How bits are counted. */
enum count { ONCE, TWICE, BALANCED };

static enum count count_of(const beta_pair *pair) {
  if (pair->streamed.encoding != BETA_ENC_PM1) return ONCE;
  return pair->k0 % 64 == 0 && pair->k % 64 == 0 ? BALANCED : TWICE;
}

static void hold(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  const uint32_t words = beta_word_count(pair->k0, pair->k);
  const enum count counts = count_of(pair);
  const bool balanced = counts == BALANCED;
  __m512i term = _mm512_set1_epi16(counts == TWICE ? (short)pair->k : 0);
  __m512i *out = (__m512i *)(void *)to + 1;
  for (uint32_t j = 0; j < pair->held.bits; j++) {
    const int32_t factor = factor_of(pair, j);
    for (uint32_t w = 0; w < words; w++) {
      const uint64_t at = beta_word_offset(&pair->held, beta_first_word(pair->k0) + w, j);
      __m512i word[PIECES];
#pragma GCC unroll 4
      for (uint32_t i = 0; i < PIECES; i++) {
        /* Row 4 e + i is lane i of the e-th four. */
        const struct beta_eight rows = {first + i, PIECES, 2 * PIECES, first + count - 1};
        word[i] = _mm512_and_si512(beta_load_eight(&pair->held, rows, at), mask_of(pair, w));
      }
      if (factor != 0) {
        __m512i ones = _mm512_setzero_si512();
#pragma GCC unroll 4
        for (uint32_t i = 0; i < PIECES; i++) {
          ones = _mm512_or_si512(ones, _mm512_slli_epi64(_mm512_popcnt_epi64(word[i]), 16 * i));
        }
        term = _mm512_add_epi16(term, _mm512_mullo_epi16(ones, _mm512_set1_epi16((short)factor)));
      }
#pragma GCC unroll 4
      for (uint32_t v = 0; v < PIECES; v++) {
        /* Piece p comes from lane p - v and then moves there. */
        __m512i pieces = word[(0 - v) % PIECES];
        pieces = _mm512_mask_blend_epi16(0x22222222, pieces, word[(1 - v) % PIECES]);
        pieces = _mm512_mask_blend_epi16(0x44444444, pieces, word[(2 - v) % PIECES]);
        pieces = _mm512_mask_blend_epi16(0x88888888, pieces, word[(3 - v) % PIECES]);
        const __m512i over = _mm512_set1_epi64(balanced && v < PIECES / 2 ? -1 : 0);
        *out++ = _mm512_xor_si512(_mm512_rorv_epi64(pieces, _mm512_set1_epi64(16 * v)), over);
      }
    }
  }
  _mm512_store_si512(to, term);
}

static void stream(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  const beta_matrix matrix = pair->streamed; /* stores cannot change a copy, so that loops need not load it again */
  const uint32_t words = beta_word_count(pair->k0, pair->k);
  const bool turns = matrix.bits == 2 && matrix.encoding == BETA_ENC_U;
  uint64_t *out = (uint64_t *)(void *)to;
  for (uint32_t i = 0; i < matrix.bits; i++) {
    const __m512i over = _mm512_set1_epi64(turns && i == 1 ? -1 : 0);
    for (uint32_t w = 0; w < words; w++, out += ROWS * PIECES) {
      const uint64_t at = beta_word_offset(&matrix, beta_first_word(pair->k0) + w, i);
      const __m512i mask = mask_of(pair, w);
      for (uint32_t r = 0; r < count; r += 8) {
        const struct beta_eight rows = {first + r, 1, 2, first + count - 1};
        const __m512i word = _mm512_and_si512(_mm512_xor_si512(beta_load_eight(&matrix, rows, at), over), mask);
#pragma GCC unroll 4
        for (uint32_t v = 0; v < PIECES; v++) {
          _mm512_store_si512(out + ROWS * v + r, _mm512_rorv_epi64(word, _mm512_set1_epi64(16 * v)));
        }
      }
    }
  }
}

/* Word `i` of row `r`, in all lanes. */
static inline __m512i row_word(const uint64_t *streamed, uint32_t i, uint32_t r) {
  return _mm512_set1_epi64((long long)streamed[ROWS * (size_t)i + r]);
}

/* One bit: `count` pieces of 32 lanes against a row. */
static inline __m512i count_one(__m512i term, const __m512i *pieces, uint32_t count, const uint64_t *streamed, uint32_t r,
                                enum count counts) {
  __m512i sum = _mm512_setzero_si512();
#pragma GCC unroll 16
  for (uint32_t i = 0; i < count; i++) {
    const __m512i ones = _mm512_popcnt_epi16(_mm512_xor_si512(pieces[i], row_word(streamed, i, r)));
    sum = counts == BALANCED && i % PIECES >= PIECES / 2 ? _mm512_sub_epi16(sum, ones) : _mm512_add_epi16(sum, ones);
  }
  if (counts == BALANCED) return _mm512_add_epi16(sum, sum);
  const __m512i once = _mm512_sub_epi16(term, sum);
  return counts == TWICE ? _mm512_sub_epi16(once, sum) : once;
}

/* Two bits: the first half of the pieces are those of the lower plane. */
static inline __m512i count_two(__m512i term, const __m512i *pieces, uint32_t count, const uint64_t *streamed, uint32_t r) {
  __m512i n = _mm512_setzero_si512(), s = n, t = n;
#pragma GCC unroll 8
  for (uint32_t i = 0; i < count / 2; i++) {
    const __m512i a = row_word(streamed, i, r), top_a = row_word(streamed, count / 2 + i, r);
    const __m512i b = pieces[i], top_b = pieces[count / 2 + i];
    const __m512i both = _mm512_and_si512(a, b);
    n = _mm512_add_epi16(n, _mm512_popcnt_epi16(both));
    s = _mm512_add_epi16(s, _mm512_popcnt_epi16(
                                _mm512_ternarylogic_epi64(_mm512_and_si512(a, top_b), top_a, b, XOR_AND)));
    t = _mm512_add_epi16(t, _mm512_popcnt_epi16(_mm512_ternarylogic_epi64(top_a, top_b, both, NOT_AND)));
  }
  const __m512i upper = _mm512_sub_epi16(_mm512_add_epi16(t, t), s);
  return _mm512_add_epi16(_mm512_add_epi16(term, n), _mm512_add_epi16(upper, upper));
}

/* A group of lanes against `count` rows. */
static inline __attribute__((always_inline)) void count_group(const uint8_t *held, uint32_t words, uint32_t bits,
                                                              const uint64_t *streamed, uint32_t count, enum count counts,
                                                              int16_t *dot, size_t dot_stride) {
  const __m512i term = _mm512_load_si512(held);
  __m512i pieces[PIECES * BETA_AVX512_WORDS_MAX];
#pragma GCC unroll 16
  for (uint32_t i = 0; i < PIECES * words; i++) pieces[i] = _mm512_load_si512(held + VECTOR * (1 + (size_t)i));
  for (uint32_t r = 0; r < count; r++, dot += dot_stride) {
    _mm512_storeu_si512(dot, bits == 1 ? count_one(term, pieces, PIECES * words, streamed, r, counts)
                                       : count_two(term, pieces, PIECES * words, streamed, r));
  }
}

static void count_lanes(const beta_pair *pair, const uint8_t *held, const uint8_t *streamed, uint32_t count, int16_t *dot,
                        size_t dot_stride) {
  const uint64_t *rows = (const uint64_t *)(const void *)streamed;
  const bool two = pair->held.bits == 2;
  const enum count counts = count_of(pair);
  /* A loop of each, with the pieces in registers. */
#define ONE_BIT(words)                                                                            \
  case words:                                                                                     \
    if (counts == BALANCED) count_group(held, words, 1, rows, count, BALANCED, dot, dot_stride);  \
    else if (counts == TWICE) count_group(held, words, 1, rows, count, TWICE, dot, dot_stride);   \
    else count_group(held, words, 1, rows, count, ONCE, dot, dot_stride);                         \
    break;
#define TWO_BITS(words)                                              \
  case words | 8:                                                    \
    count_group(held, words, 2, rows, count, ONCE, dot, dot_stride); \
    break;
  switch (words_of(pair) | (two ? 8u : 0u)) {
    ONE_BIT(1)
    ONE_BIT(2)
    ONE_BIT(3)
    ONE_BIT(4)
    TWO_BITS(2)
    TWO_BITS(4)
    default: __builtin_unreachable();
  }
#undef ONE_BIT
#undef TWO_BITS
}

static void multiply16(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed,
                       uint32_t count, int16_t *dot, size_t dot_stride) {
  const size_t group = held_bytes(pair);
  for (uint32_t g = 0; g < groups; g++) count_lanes(pair, held + g * group, streamed, count, dot + LANES * g, dot_stride);
}

static void multiply(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed, uint32_t count,
                     int32_t *dot, size_t dot_stride) {
  const size_t group = held_bytes(pair);
  _Alignas(64) int16_t lanes[ROWS][LANES];
  for (uint32_t g = 0; g < groups; g++, held += group, dot += LANES) {
    count_lanes(pair, held, streamed, count, lanes[0], LANES);
    for (uint32_t r = 0; r < count; r++) {
      for (uint32_t half = 0; half < LANES; half += 16) {
        const __m256i narrow = _mm256_load_si256((const __m256i *)(const void *)(lanes[r] + half));
        _mm512_storeu_si512(dot + r * dot_stride + half, _mm512_cvtepi16_epi32(narrow));
      }
    }
  }
}

const struct beta_method beta_avx512_words = {"words",        LANES, ROWS,   COLUMNS,  held_bytes,
                                              streamed_bytes, hold,  stream, multiply, multiply16, NULL};

#endif
