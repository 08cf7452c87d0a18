/*
 * Two operands of two bits: one lookup for three elements of a row and of 64 lanes.
 *
 * Three elements of two bits are a number of six bits on either side, so that all products of three elements with three are a table of 64
 * by 64 bytes, which is constant: a streamed row's number selects a line, whose bytes a held lane's number selects (vpermb). A
 * lookup and an addition are 192 multiplications; a population count takes twice as many operations.
 *
 * Codes are signed, from -2 to 1, and sums of three products from -6 to 12; the table has them less 3, so that eleven stay in a byte.
 * An unsigned streamed code is a signed one with the upper plane turned over, plus 2. What is left out is a term of each lane.
 */
#include "kernels/avx512/avx512.h"

#if defined(__x86_64__)

#include <string.h>

#define LANES 64u
#define ROWS 64u
#define COLUMNS 256u
#define VECTOR 64u /* bytes */

#define LOOKUPS 22u /* of a word of 64 elements */
#define CHUNK 11u   /* of them whose sum fits a byte */
#define EIGHTS 3u   /* of lookups: what is laid out at once */
#define ROW_STEP 8u /* streamed rows that are laid out together */
#define BIAS 3

/* Planes of three elements: bits 0 to 2 and 3 to 5 of a number. */
#define BIT(number, i) ((number) >> (i) & 1)
#define VALUE(number, e) (BIT(number, e) - 2 * BIT(number, (e) + 3))
#define SUM(a, b) (VALUE(a, 0) * VALUE(b, 0) + VALUE(a, 1) * VALUE(b, 1) + VALUE(a, 2) * VALUE(b, 2) - BIAS)
#define FOUR(a, b) SUM(a, b), SUM(a, b + 1), SUM(a, b + 2), SUM(a, b + 3)
#define SIXTEEN(a, b) FOUR(a, b), FOUR(a, b + 4), FOUR(a, b + 8), FOUR(a, b + 12)
#define LINE(a) {SIXTEEN(a, 0), SIXTEEN(a, 16), SIXTEEN(a, 32), SIXTEEN(a, 48)}
#define FOUR_LINES(a) LINE(a), LINE(a + 1), LINE(a + 2), LINE(a + 3)
#define LINES(a) FOUR_LINES(a), FOUR_LINES(a + 4), FOUR_LINES(a + 8), FOUR_LINES(a + 12)
static const _Alignas(64) int8_t sums[64][64] = {LINES(0), LINES(16), LINES(32), LINES(48)};

bool beta_avx512_triples_take(const beta_qmm *job) {
  /* A sum of 16 bits is at most 7 K. A line that serves one group takes twice as long a lookup. */
  return job->a.bits == 2 && job->b.bits == 2 && job->b.encoding == BETA_ENC_S && job->k <= 4096 && job->n > LANES;
}

static uint32_t words_of(const beta_pair *pair) { return beta_word_count(pair->k0, pair->k); }

/* Two vectors of terms, those of 32 lanes each; then the numbers of all lanes for every lookup of every word. */
static size_t held_bytes(const beta_pair *pair) { return VECTOR * (2 + (size_t)LOOKUPS * words_of(pair)); }

/* 16-bit numbers of eight rows: for every word and lookup, where the line of each row begins. */
static size_t step_size(uint32_t words) { return (size_t)ROW_STEP * 8 * EIGHTS * words; }

static size_t streamed_bytes(const beta_pair *pair) { return sizeof(uint16_t) * step_size(words_of(pair)) * (ROWS / ROW_STEP); }

static inline __m512i mask_of(const beta_pair *pair, uint32_t w) {
  return _mm512_set1_epi64((long long)beta_word_mask(beta_first_word(pair->k0) + w, pair->k0, pair->k));
}

/* Numbers 8 e to 8 e + 7 of words of eight rows, in six bits of the bytes of each; a number that passes the end goes on at the beginning. */
static inline __m512i numbers(__m512i low, __m512i high, uint32_t e) {
  const __m512i first = _mm512_set1_epi64(0x15120F0C09060300 + 0x1818181818181818 * (long long)e);
  const __m512i of_low = _mm512_multishift_epi64_epi8(first, low);
  const __m512i of_high = _mm512_multishift_epi64_epi8(_mm512_sub_epi8(first, _mm512_set1_epi8(3)), high);
  return _mm512_ternarylogic_epi64(_mm512_set1_epi8(7), of_low, of_high, 0xCA);
}

/* Turns eight rows of eight bytes: byte 8 j + i comes from byte 8 i + j. */
static inline __m512i turn_square(__m512i x) {
  const __m512i iota = beta_iota8();
  const __m512i low = _mm512_slli_epi16(_mm512_and_si512(iota, _mm512_set1_epi8(7)), 3);
  return _mm512_permutexvar_epi8(_mm512_or_si512(low, beta_srl8(iota, 3)), x);
}

/* 64 rows of eight bytes, eight in a vector, become eight vectors of 64. */
static inline void turn(__m512i x[8]) {
  __m512i y[8];
#pragma GCC unroll 8
  for (uint32_t i = 0; i < 8; i++) y[i] = turn_square(x[i]);
#pragma GCC unroll 4
  for (uint32_t i = 0; i < 8; i += 2) {
    x[i] = _mm512_unpacklo_epi64(y[i], y[i + 1]);     /* parts 0, 2, 4, 6 */
    x[i + 1] = _mm512_unpackhi_epi64(y[i], y[i + 1]); /* parts 1, 3, 5, 7 */
  }
#pragma GCC unroll 2
  for (uint32_t odd = 0; odd < 2; odd++) {
    const __m512i a = _mm512_shuffle_i64x2(x[odd], x[2 + odd], 0x88), b = _mm512_shuffle_i64x2(x[4 + odd], x[6 + odd], 0x88);
    const __m512i c = _mm512_shuffle_i64x2(x[odd], x[2 + odd], 0xDD), d = _mm512_shuffle_i64x2(x[4 + odd], x[6 + odd], 0xDD);
    y[odd] = _mm512_shuffle_i64x2(a, b, 0x88);
    y[4 + odd] = _mm512_shuffle_i64x2(a, b, 0xDD);
    y[2 + odd] = _mm512_shuffle_i64x2(c, d, 0x88);
    y[6 + odd] = _mm512_shuffle_i64x2(c, d, 0xDD);
  }
#pragma GCC unroll 8
  for (uint32_t i = 0; i < 8; i++) x[i] = y[i];
}

/*
 * Eights of a vector's bytes are lanes of the lower and of the upper half of a group in turn. Two vectors of sums in bytes, unpacked
 * beside each other, are then pairs in the order of the lanes, which one instruction adds up to 16 bits.
 */
static inline uint32_t lane_of(uint32_t eight) { return eight / 2 * 8 + eight % 2 * 32; }

static void hold(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  const uint32_t words = words_of(pair);
  const bool turned = pair->streamed.encoding == BETA_ENC_U;
  __m512i values[8]; /* sums of eight lanes each, in 64 bits */
  for (uint32_t i = 0; i < 8; i++) values[i] = _mm512_setzero_si512();
  uint8_t *out = to + 2 * VECTOR;
  for (uint32_t w = 0; w < words; w++, out += LOOKUPS * VECTOR) {
    const uint32_t word = beta_first_word(pair->k0) + w;
    const __m512i mask = mask_of(pair, w);
    __m512i low[8], high[8];
#pragma GCC unroll 8
    for (uint32_t i = 0; i < 8; i++) {
      const struct beta_eight rows = {first + lane_of(i), 1, 2, first + count - 1};
      low[i] = beta_load_eight(&pair->held, rows, beta_word_offset(&pair->held, word, 0));
      high[i] = beta_load_eight(&pair->held, rows, beta_word_offset(&pair->held, word, 1));
      if (!turned) continue;
      const __m512i ones = _mm512_popcnt_epi64(_mm512_and_si512(low[i], mask));
      const __m512i twos = _mm512_popcnt_epi64(_mm512_and_si512(high[i], mask));
      values[i] = _mm512_add_epi64(values[i], _mm512_sub_epi64(ones, _mm512_add_epi64(twos, twos)));
    }
    for (uint32_t e = 0; e < EIGHTS; e++) {
      __m512i x[8];
#pragma GCC unroll 8
      for (uint32_t i = 0; i < 8; i++) x[i] = numbers(low[i], high[i], e);
      turn(x);
#pragma GCC unroll 8
      for (uint32_t j = 0; j < 8; j++) {
        if (8 * e + j < LOOKUPS) _mm512_store_si512(out + VECTOR * (8 * e + j), x[j]);
      }
    }
  }
  _Alignas(64) int16_t sum[LANES];
  for (uint32_t i = 0; i < 8; i++) {
    _mm_store_si128((__m128i *)(void *)(sum + lane_of(i)), _mm512_cvtepi64_epi16(values[i]));
  }
  const __m512i bias = _mm512_set1_epi16((short)(BIAS * LOOKUPS * words));
  for (uint32_t half = 0; half < 2; half++) {
    const __m512i twice = _mm512_slli_epi16(_mm512_load_si512(sum + 32 * half), 1);
    _mm512_store_si512(to + VECTOR * half, _mm512_add_epi16(bias, twice));
  }
}

static void stream(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  const beta_matrix matrix = pair->streamed; /* stores cannot change a copy, so that loops need not load it again */
  const uint32_t words = words_of(pair);
  const __m512i over = _mm512_set1_epi64(matrix.encoding == BETA_ENC_U ? -1 : 0);
  for (uint32_t w = 0; w < words; w++) {
    const uint32_t word = beta_first_word(pair->k0) + w;
    const uint64_t low_at = beta_word_offset(&matrix, word, 0), high_at = beta_word_offset(&matrix, word, 1);
    const __m512i mask = mask_of(pair, w);
    uint16_t *out = (uint16_t *)(void *)to + w * step_size(1);
    for (uint32_t r = 0; r < count; r += ROW_STEP, out += step_size(words)) {
      const struct beta_eight rows = {first + r, 1, 2, first + count - 1};
      const __m512i low = _mm512_and_si512(beta_load_eight(&matrix, rows, low_at), mask);
      const __m512i high = _mm512_and_si512(_mm512_xor_si512(beta_load_eight(&matrix, rows, high_at), over), mask);
#pragma GCC unroll 3
      for (uint32_t e = 0; e < EIGHTS; e++) {
        /* The last number is of one element. */
        const long long used = e < 2 ? 0x3F3F3F3F3F3F3F3F : 0x0000093F3F3F3F3F;
        const __m512i number = turn_square(_mm512_and_si512(numbers(low, high, e), _mm512_set1_epi64(used)));
        const __m512i lower = _mm512_cvtepu8_epi16(_mm512_castsi512_si256(number));
        const __m512i upper = _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(number, 1));
        _mm512_store_si512(out + 8 * ROW_STEP * e, _mm512_slli_epi16(lower, 6));
        _mm512_store_si512(out + 8 * ROW_STEP * e + 32, _mm512_slli_epi16(upper, 6));
      }
    }
  }
}

/*
 * CHUNK lookups of a word from number `first` on, for eight rows and one or two groups. What is scarce is loads, of which two begin in a
 * cycle, and instructions: with one group a line serves one lookup, and two numbers come with one load.
 */
static inline __attribute__((always_inline)) void add_chunk(const uint8_t *const held[2], uint32_t groups,
                                                            const uint16_t *lines, uint32_t first,
                                                            __m512i sum[ROW_STEP][2]) {
#pragma GCC unroll 11
  for (uint32_t i = first; i < first + CHUNK; i++) {
    __m512i number[2];
#pragma GCC unroll 2
    for (uint32_t g = 0; g < groups; g++) number[g] = _mm512_load_si512(held[g] + VECTOR * (size_t)i);
#pragma GCC unroll 8
    for (uint32_t r = 0; r < ROW_STEP; r++) {
      uint32_t at = lines[ROW_STEP * i + r];
      if (groups == 1) {
        memcpy(&at, lines + ROW_STEP * i + r / 2 * 2, sizeof at);
        at = r % 2 == 0 ? (uint16_t)at : at >> 16;
      }
      const __m512i line = _mm512_load_si512((const uint8_t *)sums + at);
#pragma GCC unroll 2
      for (uint32_t g = 0; g < groups; g++) {
        const __m512i x = _mm512_permutexvar_epi8(number[g], line);
        if (i == first) sum[r][g] = x;
        else beta_add_bytes(&sum[r][g], x);
      }
    }
  }
}

/* Eight rows against one or two groups. */
static inline __attribute__((always_inline)) void multiply_tile(const uint8_t *held, size_t group_bytes, uint32_t groups,
                                                                const uint16_t *lines, uint32_t words, int16_t *dot,
                                                                size_t dot_stride) {
  const __m512i ones = _mm512_set1_epi8(1);
  const uint8_t *numbers[2] = {held + 2 * VECTOR, held + group_bytes + 2 * VECTOR};
  const uint8_t *term = held; /* what sums are added to: terms, then the sums of the words before */
  size_t term_row = 0, term_group = group_bytes;
  for (uint32_t w = 0; w < words; w++, lines += step_size(1)) {
    __m512i sum[2][ROW_STEP][2];
    /* Compilers compute the address of every lookup ahead otherwise, and have no registers for them. */
    __asm__("" : "+r"(numbers[0]), "+r"(numbers[1]), "+r"(lines));
    add_chunk(numbers, groups, lines, 0, sum[0]);
    add_chunk(numbers, groups, lines, CHUNK, sum[1]);
    numbers[0] += LOOKUPS * VECTOR;
    numbers[1] += LOOKUPS * VECTOR;
#pragma GCC unroll 8
    for (uint32_t r = 0; r < ROW_STEP; r++) {
#pragma GCC unroll 2
      for (uint32_t g = 0; g < groups; g++) {
        const __m512i pairs[2] = {_mm512_unpacklo_epi8(sum[0][r][g], sum[1][r][g]),
                                  _mm512_unpackhi_epi8(sum[0][r][g], sum[1][r][g])};
#pragma GCC unroll 2
        for (uint32_t h = 0; h < 2; h++) {
          const __m512i before = _mm512_loadu_si512(term + r * term_row + g * term_group + VECTOR * h);
          const __m512i both = _mm512_add_epi16(before, _mm512_maddubs_epi16(ones, pairs[h]));
          _mm512_storeu_si512(dot + r * dot_stride + LANES * g + 32 * h, both);
        }
      }
    }
    term = (const uint8_t *)dot;
    term_row = sizeof *dot * dot_stride;
    term_group = sizeof *dot * LANES;
  }
}

static void multiply16(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed,
                       uint32_t count, int16_t *dot, size_t dot_stride) {
  const size_t group_bytes = held_bytes(pair);
  const uint32_t words = words_of(pair);
  const uint16_t *rows = (const uint16_t *)(const void *)streamed;
  for (uint32_t g = 0; g < groups; held += 2 * group_bytes, dot += 2 * LANES, g += 2) {
    for (uint32_t r = 0; r < count; r += ROW_STEP) {
      const uint16_t *lines = rows + r / ROW_STEP * step_size(words);
      int16_t *to = dot + r * dot_stride;
      if (groups - g == 1) multiply_tile(held, group_bytes, 1, lines, words, to, dot_stride);
      else multiply_tile(held, group_bytes, 2, lines, words, to, dot_stride);
    }
  }
}

static void multiply(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed, uint32_t count,
                     int32_t *dot, size_t dot_stride) {
  const size_t group_bytes = held_bytes(pair);
  _Alignas(64) int16_t lanes[ROWS][LANES];
  for (uint32_t g = 0; g < groups; g++, held += group_bytes, dot += LANES) {
    multiply16(pair, held, 1, streamed, count, lanes[0], LANES);
    for (uint32_t r = 0; r < count; r++) {
      for (uint32_t i = 0; i < LANES; i += 16) {
        const __m256i narrow = _mm256_load_si256((const __m256i *)(const void *)(lanes[r] + i));
        _mm512_storeu_si512(dot + r * dot_stride + i, _mm512_cvtepi16_epi32(narrow));
      }
    }
  }
}

const struct beta_method beta_avx512_triples = {"triples",      LANES, ROWS,   COLUMNS,  held_bytes,
                                                streamed_bytes, hold,  stream, multiply, multiply16, NULL};

#endif
