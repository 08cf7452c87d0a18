/*
 * Bit-planes, exclusive or, population count: one-bit operands, and small numbers of planes.
 *
 * With X = |A_i ^ B_j|, |A_i & B_j| = (|A_i| + |B_j| - X) / 2, so that every pair of formats is (coefficients of formats.h)
 *   2 D = (sum_j cb_j + 2 zb) sum_i ca_i |A_i| + (sum_i ca_i + 2 za) sum_j cb_j |B_j| + 2 za zb K - sum_ij ca_i cb_j X_ij:
 * a term of the streamed row, a term of the lane, and the counts.
 *
 * Lanes are 64-bit words of 16 held rows, so nothing is summed across a register. Two words a and a' of a row are kept as
 * (a, a ^ a'): with x = a ^ b, x' = a' ^ b' and a running bit `ones`, the full adder ones + x + x' = ones' + 2 carry is then
 *   ones' = ones ^ (a ^ a') ^ (b ^ b'),   carry = majority(ones, x, x') = a function of ones, x and ones':
 * five operations for two words (xor, two ternary logics, count, add) in place of six.
 */
#include "kernels/avx512/avx512.h"

#if defined(__x86_64__)

#include <string.h>

#define LANES 16u
#define ROWS 32u   /* streamed at once, in tiles of TILE: what the epilogue makes of its table serves so many */
#define TILE 4u
#define COLUMNS 256u
#define XOR3 0x96
#define CARRY 0xD4 /* of (ones, x, ones'): ones where ones == x, else not ones' */

/* Vectors of one plane of a group: two for each word. */
static size_t plane_vectors(const beta_pair *pair) { return 2 * (size_t)beta_word_count(pair->k0, pair->k); }

static size_t held_bytes(const beta_pair *pair) { return 64 * (1 + pair->held.bits * plane_vectors(pair)); }

/* Words of one plane of a tile of streamed rows; whole vectors of two words of each row, stored four at a time. */
static size_t tile_plane(const beta_pair *pair) { return TILE * ((beta_word_count(pair->k0, pair->k) + 7) / 8 * 8); }

/* A tile of streamed rows: its terms, then its planes. */
static size_t tile_bytes(const beta_pair *pair) { return 64 + 8 * pair->streamed.bits * tile_plane(pair); }

static size_t streamed_bytes(const beta_pair *pair) { return ROWS / TILE * tile_bytes(pair); }

/* One-bit operands of which one is PM1: every term and factor is even, and is halved before the counting. */
static bool is_even(const beta_pair *pair) {
  return pair->held.bits * pair->streamed.bits == 1 &&
         (pair->held.encoding == BETA_ENC_PM1 || pair->streamed.encoding == BETA_ENC_PM1);
}

/* sum of c plus 2 z: what the other operand's ones are worth, twice. */
static int32_t weight_of(const struct beta_coefficients *of) {
  int32_t sum = 2 * of->z;
  for (uint32_t i = 0; i < of->planes; i++) sum += of->c[i];
  return sum;
}

/*
 * A group: 16 int32 terms of the lanes, then for every plane and word two vectors, of the even lanes and of the odd lanes: the counts
 * of both then fit side by side as the 32-bit halves of one vector.
 */
static void hold(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  const struct beta_coefficients of = beta_coefficients_of(&pair->held);
  const struct beta_coefficients streamed_of = beta_coefficients_of(&pair->streamed);
  const uint32_t first_word = beta_first_word(pair->k0), words = beta_word_count(pair->k0, pair->k);
  const uint8_t *row[2][8]; /* even and odd lanes */
  for (uint32_t l = 0; l < LANES; l++) {
    /* Lanes without a row repeat the last one: their results are never read. */
    row[l % 2][l / 2] = pair->held.row0 + (uint64_t)(first + (l < count ? l : count - 1)) * pair->held.stride;
  }
  __m512i term[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
  __m512i *out = (__m512i *)(void *)to + 1;
  for (uint32_t j = 0; j < of.planes; j++) {
    const __m512i c = _mm512_set1_epi64(of.c[j]);
    __m512i before[2] = {_mm512_setzero_si512(), _mm512_setzero_si512()};
    for (uint32_t w = 0; w < words; w++) {
      const __m512i mask = _mm512_set1_epi64((long long)beta_word_mask(first_word + w, pair->k0, pair->k));
      const uint64_t at = beta_word_offset(&pair->held, first_word + w, j);
      for (uint32_t half = 0; half < 2; half++) {
        const __m512i bits = _mm512_and_si512(beta_load_words(row[half], at), mask);
        term[half] = _mm512_add_epi64(term[half], _mm512_mullo_epi64(_mm512_popcnt_epi64(bits), c));
        *out++ = w % 2 == 0 ? bits : _mm512_xor_si512(bits, before[half]);
        before[half] = bits;
      }
    }
  }
  const __m512i terms = _mm512_mask_shuffle_epi32(term[0], 0xAAAA, term[1], (_MM_PERM_ENUM)0xA0);
  const __m512i weighted = _mm512_mullo_epi32(terms, _mm512_set1_epi32(weight_of(&streamed_of)));
  _mm512_store_si512(to, is_even(pair) ? _mm512_srai_epi32(weighted, 1) : weighted);
}

/* What the rows of a unit share: which bits of the first and of the last word are theirs, and whether their ones are counted. */
struct row_reader {
  uint64_t offset; /* of the first word, in bytes */
  uint32_t words;
  __m512i first, last; /* masks of the first eight words, and of eight of which the last word is the last */
  __mmask8 tail;       /* lanes of those */
  bool counted;
};

static struct row_reader row_reader_of(const beta_pair *pair, bool counted) {
  const uint32_t first_word = beta_first_word(pair->k0), words = beta_word_count(pair->k0, pair->k);
  const uint32_t tail = (words - 1) % 8; /* lane of the last word */
  const __m512i all = _mm512_set1_epi64(-1);
  struct row_reader reader = {.offset = 8 * (uint64_t)first_word, .words = words, .counted = counted};
  const long long head_mask = (long long)beta_word_mask(first_word, pair->k0, pair->k);
  const long long tail_mask = (long long)beta_word_mask(first_word + words - 1, pair->k0, pair->k);
  reader.tail = (__mmask8)(0xFF >> (7 - tail));
  reader.first = _mm512_mask_set1_epi64(all, 1, head_mask);
  reader.last = _mm512_mask_set1_epi64(all, (__mmask8)(1u << tail), tail_mask);
  if (words <= 8) reader.first = reader.last = _mm512_and_si512(reader.first, reader.last);
  return reader;
}

/*
 * A tile of rows of one plane, whose words lie side by side: eight words of four rows at a time. Returns c times the ones of
 * each row.
 */
static inline __m128i stream_tile(const struct row_reader *reader, const uint8_t *const row[TILE], int32_t c,
                                  uint64_t *to) {
  const __m512i lows = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0), highs = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
  __m512i sum[TILE] = {_mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512(), _mm512_setzero_si512()};
  for (uint32_t w = 0; w < reader->words; w += 8, to += 8 * TILE) {
    const bool last = w + 8 >= reader->words;
    const __mmask8 lanes = last ? reader->tail : 0xFF;
    const __m512i mask = last ? reader->last : w == 0 ? reader->first : _mm512_set1_epi64(-1);
    __m512i x[TILE];
#pragma GCC unroll 4
    for (uint32_t r = 0; r < TILE; r++) {
      x[r] = _mm512_and_si512(_mm512_maskz_loadu_epi64(lanes, row[r] + reader->offset + 8 * (uint64_t)w), mask);
      if (reader->counted) sum[r] = _mm512_add_epi64(sum[r], _mm512_popcnt_epi64(x[r]));
      x[r] = _mm512_xor_si512(x[r], _mm512_bslli_epi128(x[r], 8)); /* a word and its pair */
    }
    const __m512i even01 = _mm512_unpacklo_epi64(x[0], x[1]), odd01 = _mm512_unpackhi_epi64(x[0], x[1]);
    const __m512i even23 = _mm512_unpacklo_epi64(x[2], x[3]), odd23 = _mm512_unpackhi_epi64(x[2], x[3]);
    const __m512i even_low = _mm512_permutex2var_epi64(even01, lows, even23);
    const __m512i even_high = _mm512_permutex2var_epi64(even01, highs, even23);
    const __m512i odd_low = _mm512_permutex2var_epi64(odd01, lows, odd23);
    const __m512i odd_high = _mm512_permutex2var_epi64(odd01, highs, odd23);
    _mm512_store_si512(to, _mm512_shuffle_i64x2(even_low, odd_low, 0x44));
    _mm512_store_si512(to + 8, _mm512_shuffle_i64x2(even_low, odd_low, 0xEE));
    _mm512_store_si512(to + 16, _mm512_shuffle_i64x2(even_high, odd_high, 0x44));
    _mm512_store_si512(to + 24, _mm512_shuffle_i64x2(even_high, odd_high, 0xEE));
  }
  if (!reader->counted) return _mm_setzero_si128();
  int32_t ones[TILE];
  for (uint32_t r = 0; r < TILE; r++) ones[r] = (int32_t)_mm512_reduce_add_epi64(sum[r]);
  return _mm_mullo_epi32(_mm_set_epi32(ones[3], ones[2], ones[1], ones[0]), _mm_set1_epi32(c));
}

/* Two tiles of rows of any number of planes, word by word; returns the sum over planes of c_i times their ones. */
static __m256i stream_tiles(const beta_pair *pair, const uint8_t *const row[2 * TILE], uint8_t *to) {
  const struct beta_coefficients of = beta_coefficients_of(&pair->streamed);
  const uint32_t first_word = beta_first_word(pair->k0), words = beta_word_count(pair->k0, pair->k);
  __m512i sum = _mm512_setzero_si512();
  for (uint32_t i = 0; i < of.planes; i++) {
    uint64_t *plane = (uint64_t *)(void *)(to + 64) + i * tile_plane(pair);
    uint64_t *next = (uint64_t *)(void *)((uint8_t *)plane + tile_bytes(pair));
    __m512i before = _mm512_setzero_si512(), ones = _mm512_setzero_si512();
    for (uint32_t w = 0; w < words; w++) {
      const uint64_t at = beta_word_offset(&pair->streamed, first_word + w, i);
      const __m512i mask = _mm512_set1_epi64((long long)beta_word_mask(first_word + w, pair->k0, pair->k));
      const __m512i bits = _mm512_and_si512(beta_load_words(row, at), mask);
      const __m512i stored = w % 2 == 0 ? bits : _mm512_xor_si512(bits, before);
      ones = _mm512_add_epi64(ones, _mm512_popcnt_epi64(bits));
      _mm256_store_si256((__m256i *)(void *)(plane + w * TILE), _mm512_castsi512_si256(stored));
      _mm256_store_si256((__m256i *)(void *)(next + w * TILE), _mm512_extracti64x4_epi64(stored, 1));
      before = bits;
    }
    sum = _mm512_add_epi32(sum, _mm512_mullo_epi32(ones, _mm512_set1_epi32(of.c[i])));
  }
  return _mm512_cvtepi64_epi32(sum);
}

/* Tiles of rows: their int32 terms, then for every plane and word the word of each row. */
static void stream(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  const struct beta_coefficients of = beta_coefficients_of(&pair->streamed);
  const struct beta_coefficients held_of = beta_coefficients_of(&pair->held);
  const __m256i weight = _mm256_set1_epi32(weight_of(&held_of));
  const __m256i constant = _mm256_set1_epi32(2 * of.z * held_of.z * (int32_t)pair->k);
  /* Nothing is made of a row's ones where the other operand is PM1, or its factors cancel in another way. */
  const struct row_reader reader = row_reader_of(pair, weight_of(&held_of) != 0);
  const bool wide = of.planes == 1 && beta_word_count(pair->k0, pair->k) >= 4, even = is_even(pair);
  for (uint32_t t = 0; t < count; t += 2 * TILE, to += 2 * tile_bytes(pair)) {
    const uint8_t *row[2 * TILE];
    for (uint32_t r = 0; r < 2 * TILE; r++) {
      /* Rows behind the last repeat it: their results are never read. */
      const uint32_t at = t + r < count ? t + r : count - 1;
      row[r] = pair->streamed.row0 + (uint64_t)(first + at) * pair->streamed.stride;
    }
    __m256i sum;
    if (wide) {
      const __m128i low = stream_tile(&reader, row, of.c[0], (uint64_t *)(void *)(to + 64));
      uint64_t *high_to = (uint64_t *)(void *)(to + tile_bytes(pair) + 64);
      sum = _mm256_set_m128i(stream_tile(&reader, row + TILE, of.c[0], high_to), low);
    } else {
      sum = stream_tiles(pair, row, to);
    }
    __m256i term = _mm256_add_epi32(constant, _mm256_mullo_epi32(weight, sum));
    if (even) term = _mm256_srai_epi32(term, 1);
    _mm_store_si128((__m128i *)(void *)to, _mm256_castsi256_si128(term));
    _mm_store_si128((__m128i *)(void *)(to + tile_bytes(pair)), _mm256_extracti128_si256(term, 1));
  }
}

/* Even lanes' 64-bit counts and odd lanes' side by side as 32-bit ones. */
static inline __m512i interleave(__m512i even, __m512i odd) {
  return _mm512_mask_shuffle_epi32(even, 0xAAAA, odd, (_MM_PERM_ENUM)0xA0);
}

/* Two words of a plane of the lanes against those of a tile of rows; `first`: the counters are still to be set. */
static inline __attribute__((always_inline)) void count_words(__m512i ones[TILE][2], __m512i carries[TILE][2],
                                                              const uint8_t *held, const uint64_t *streamed,
                                                              bool first) {
#pragma GCC unroll 2
  for (uint32_t half = 0; half < 2; half++) {
    const __m512i b = _mm512_load_si512(held + 64 * half), q = _mm512_load_si512(held + 128 + 64 * half);
#pragma GCC unroll 4
    for (uint32_t r = 0; r < TILE; r++) {
      const __m512i x = _mm512_xor_si512(b, _mm512_set1_epi64((long long)streamed[r]));
      const __m512i p = _mm512_set1_epi64((long long)streamed[TILE + r]);
      if (first) {
        ones[r][half] = _mm512_xor_si512(q, p);
        carries[r][half] = _mm512_popcnt_epi64(_mm512_andnot_si512(ones[r][half], x));
      } else {
        const __m512i sum = _mm512_ternarylogic_epi64(ones[r][half], q, p, XOR3);
        const __m512i carry = _mm512_ternarylogic_epi64(ones[r][half], x, sum, CARRY);
        carries[r][half] = _mm512_add_epi64(carries[r][half], _mm512_popcnt_epi64(carry));
        ones[r][half] = sum;
      }
    }
  }
}

/*
 * total[r] += factor * X for a tile of rows and the 16 lanes of one plane pair. `factor` in the low half of every 32-bit element: counts
 * are at most 16384, so the dot product of 16-bit halves multiplies and adds at once.
 */
static inline __attribute__((always_inline)) void count_plane(__m512i total[TILE], const uint8_t *held,
                                                              const uint64_t *streamed, uint32_t words,
                                                              __m512i factor) {
  uint32_t w = 0;
  if (words > 1) {
    const __m512i twice = _mm512_slli_epi16(factor, 1);
    __m512i ones[TILE][2], carries[TILE][2];
    count_words(ones, carries, held, streamed, true);
    for (w = 2; w + 1 < words; w += 2) {
      count_words(ones, carries, held + 128 * (size_t)w, streamed + TILE * (size_t)w, false);
    }
#pragma GCC unroll 4
    for (uint32_t r = 0; r < TILE; r++) {
      const __m512i x = interleave(_mm512_popcnt_epi64(ones[r][0]), _mm512_popcnt_epi64(ones[r][1]));
      total[r] = _mm512_dpwssd_epi32(total[r], interleave(carries[r][0], carries[r][1]), twice);
      total[r] = _mm512_dpwssd_epi32(total[r], x, factor);
    }
  }
  if (w < words) {
    const __m512i b0 = _mm512_load_si512(held + 128 * (size_t)w), b1 = _mm512_load_si512(held + 128 * (size_t)w + 64);
#pragma GCC unroll 4
    for (uint32_t r = 0; r < TILE; r++) {
      const __m512i a = _mm512_set1_epi64((long long)streamed[TILE * (size_t)w + r]);
      const __m512i x0 = _mm512_popcnt_epi64(_mm512_xor_si512(b0, a));
      const __m512i x1 = _mm512_popcnt_epi64(_mm512_xor_si512(b1, a));
      total[r] = _mm512_dpwssd_epi32(total[r], interleave(x0, x1), factor);
    }
  }
}

/* Where the results of a group go: products to `wide`, or saturated to `narrow`, or as bits to `bits`. */
struct sink {
  int32_t *wide;
  int16_t *narrow;
  uint8_t *bits;
  size_t stride; /* of rows, in elements */
  struct beta_comparison with; /* bits */
  bool flips, complement;      /* some multiplier is negative; the bits are those of lanes that do not reach their limits */
};

static inline __attribute__((always_inline)) void store_row(const struct sink *sink, uint32_t r, __m512i product) {
  if (sink->bits != NULL) {
    const __m512i t = sink->flips ? _mm512_xor_si512(product, sink->with.negative) : product;
    const __mmask16 bits =
        sink->complement ? _mm512_cmple_epi32_mask(t, sink->with.limit) : _mm512_cmpgt_epi32_mask(t, sink->with.limit);
    memcpy(sink->bits + r * sink->stride, &bits, sizeof bits);
  } else if (sink->narrow != NULL) {
    _mm256_storeu_si256((__m256i *)(void *)(sink->narrow + r * sink->stride), _mm512_cvtsepi32_epi16(product));
  } else {
    _mm512_storeu_si512(sink->wide + r * sink->stride, product);
  }
}

/* A tile of rows and a group; the first `count` rows of it are stored. What is stored as bits has its bias added. */
static inline __attribute__((always_inline)) void multiply_tile(const beta_pair *pair, const uint8_t *held,
                                                                const uint8_t *streamed,
                                                                const struct beta_coefficients *held_of,
                                                                const struct beta_coefficients *streamed_of, bool even,
                                                                uint32_t count, const struct sink *sink) {
  const uint32_t words = beta_word_count(pair->k0, pair->k);
  const int32_t *term = (const int32_t *)(const void *)streamed;
  const uint64_t *rows = (const uint64_t *)(const void *)(streamed + 64);
  const __m512i lanes = _mm512_load_si512(held);
  const __m512i first = even && sink->bits != NULL ? _mm512_add_epi32(lanes, sink->with.bias) : lanes;
  __m512i total[TILE];
#pragma GCC unroll 4
  for (uint32_t r = 0; r < TILE; r++) total[r] = _mm512_add_epi32(first, _mm512_set1_epi32(term[r]));
  if (even) {
    const int32_t factor = -held_of->c[0] * streamed_of->c[0] / 2;
    count_plane(total, held + 64, rows, words, _mm512_set1_epi32(factor & 0xFFFF));
  } else {
    for (uint32_t j = 0; j < held_of->planes; j++) {
      for (uint32_t i = 0; i < streamed_of->planes; i++) {
        const int32_t factor = -held_of->c[j] * streamed_of->c[i];
        count_plane(total, held + 64 + 64 * j * plane_vectors(pair), rows + i * tile_plane(pair), words,
                    _mm512_set1_epi32(factor & 0xFFFF));
      }
    }
#pragma GCC unroll 4
    for (uint32_t r = 0; r < TILE; r++) {
      total[r] = _mm512_srai_epi32(total[r], 1);
      if (sink->bits != NULL) total[r] = _mm512_add_epi32(total[r], sink->with.bias);
    }
  }
#pragma GCC unroll 4
  for (uint32_t r = 0; r < TILE; r++) {
    if (r < count) store_row(sink, r, total[r]);
  }
}

/* A group against all tiles. */
static inline __attribute__((always_inline)) void multiply_group(const beta_pair *pair, const uint8_t *held,
                                                                 const uint8_t *streamed, uint32_t count,
                                                                 const struct beta_coefficients *held_of,
                                                                 const struct beta_coefficients *streamed_of,
                                                                 struct sink sink) {
  const size_t tile = tile_bytes(pair), step = TILE * sink.stride;
  const bool even = is_even(pair);
  for (uint32_t t = 0; t < count; t += TILE, streamed += tile) {
    /* Behind the last row there is room for products, and none for bits. */
    const uint32_t rows = sink.bits == NULL || count - t > TILE ? TILE : count - t;
    if (even) multiply_tile(pair, held, streamed, held_of, streamed_of, true, rows, &sink);
    else multiply_tile(pair, held, streamed, held_of, streamed_of, false, rows, &sink);
    if (sink.bits != NULL) sink.bits += step;
    else if (sink.narrow != NULL) sink.narrow += step;
    else sink.wide += step;
  }
}

static void multiply(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed,
                     uint32_t count, int32_t *dot, size_t dot_stride) {
  const struct beta_coefficients held_of = beta_coefficients_of(&pair->held);
  const struct beta_coefficients streamed_of = beta_coefficients_of(&pair->streamed);
  const size_t group = held_bytes(pair);
  for (uint32_t g = 0; g < groups; g++) {
    const struct sink sink = {.wide = dot + g * LANES, .stride = dot_stride};
    multiply_group(pair, held + g * group, streamed, count, &held_of, &streamed_of, sink);
  }
}

static void multiply16(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed,
                       uint32_t count, int16_t *dot, size_t dot_stride) {
  const struct beta_coefficients held_of = beta_coefficients_of(&pair->held);
  const struct beta_coefficients streamed_of = beta_coefficients_of(&pair->streamed);
  const size_t group = held_bytes(pair);
  for (uint32_t g = 0; g < groups; g++) {
    const struct sink sink = {.narrow = dot + g * LANES, .stride = dot_stride};
    multiply_group(pair, held + g * group, streamed, count, &held_of, &streamed_of, sink);
  }
}

static void compare(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed, uint32_t count,
                    const struct beta_epilogue *epilogue, uint32_t row, uint32_t column) {
  const beta_qmm *job = epilogue->job;
  const struct beta_coefficients held_of = beta_coefficients_of(&pair->held);
  const struct beta_coefficients streamed_of = beta_coefficients_of(&pair->streamed);
  const size_t group = held_bytes(pair);
  const bool complement = job->o.encoding == BETA_ENC_S;
  uint8_t *bits = job->o.row0 + row * job->o.stride + ((uint64_t)job->n0 + column) / 8;
  for (uint32_t g = 0; g < groups; g++, bits += LANES / 8) {
    struct sink sink = {.bits = bits, .stride = job->o.stride, .with = beta_avx512_comparison_of(job, column + g * LANES)};
    if (epilogue->flips || complement) {
      sink.flips = true;
      sink.complement = complement;
      multiply_group(pair, held + g * group, streamed, count, &held_of, &streamed_of, sink);
    } else {
      multiply_group(pair, held + g * group, streamed, count, &held_of, &streamed_of, sink);
    }
  }
}

const struct beta_method beta_avx512_popcount = {"popcount",     LANES, ROWS,   COLUMNS,  held_bytes,
                                                 streamed_bytes, hold,  stream, multiply, multiply16, compare};

#endif
