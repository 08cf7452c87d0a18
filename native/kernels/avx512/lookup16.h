/*
 * The inner loop of lookups in tables of 32 words: what is held are indices of five bits, and a lookup adds an entry to the 16-bit sums of
 * 32 held rows.
 *
 * A word keeps two indices, one in each byte: a load that begins a byte later brings the second to where the permutation looks, and
 * takes no shift, which would be done by the units that permute.
 */
#ifndef BETA_KERNELS_AVX512_LOOKUP16_H
#define BETA_KERNELS_AVX512_LOOKUP16_H

#include "kernels/avx512/avx512.h"

#if defined(__x86_64__)

#define LANES 32u      /* held rows of a group */
#define TILE_ROWS 4u   /* whose tables are made at once */
#define TILE_GROUPS 4u /* held groups that are multiplied at once with them */
#define VECTOR 64u     /* bytes: a table, and two indices of every lane */

/* Where the indices of lane l lie in a vector: the two words of a 32-bit element end up in two vectors of 16 neighbours. */
static inline uint32_t lane_of(uint32_t l) { return 4 * (l % 16) + 2 * (l / 16); }

/* As many groups of elements as sums of 16 bits hold. */
struct chunk {
  size_t group_bytes;
  uint32_t vectors; /* of indices */
  __m512i start;    /* of the sums */
  int32_t c;        /* what they are multiplied with */
  bool first;       /* products are still to be set: to a constant of the row, or else a term of the lane */
  const int32_t *constant;
  const uint8_t *term; /* int32 of 32 lanes, group_bytes apart */
};

/* TILE_ROWS rows, whose tables lie beside each other, and `groups` groups: dot += c sums. A byte behind the indices is read. */
static inline __attribute__((always_inline)) void add_tile(const struct chunk *chunk, const uint8_t *index,
                                                           const uint8_t *table, const uint8_t *term, uint32_t groups,
                                                           int32_t *dot, size_t dot_stride) {
  __m512i sum[TILE_ROWS][TILE_GROUPS];
#pragma GCC unroll 16
  for (uint32_t i = 0; i < TILE_ROWS * groups; i++) sum[i / groups][i % groups] = chunk->start;
  for (uint32_t i = 0; i < chunk->vectors; i++, index += VECTOR) {
#pragma GCC unroll 2
    for (uint32_t u = 0; u < 2; u++, table += TILE_ROWS * VECTOR) {
      __m512i at[TILE_GROUPS];
#pragma GCC unroll 4
      for (uint32_t v = 0; v < groups; v++) at[v] = _mm512_loadu_si512(index + v * chunk->group_bytes + u);
#pragma GCC unroll 4
      for (uint32_t r = 0; r < TILE_ROWS; r++) {
        const __m512i entries = _mm512_load_si512(table + r * VECTOR);
#pragma GCC unroll 4
        for (uint32_t v = 0; v < groups; v++) beta_add_words(&sum[r][v], _mm512_permutexvar_epi16(at[v], entries));
      }
    }
  }
  /* A dot product of words with (c, 0) or (0, c) widens, multiplies and adds. */
  const __m512i factor[2] = {_mm512_set1_epi32(chunk->c & 0xFFFF), _mm512_set1_epi32((int32_t)((uint32_t)chunk->c << 16))};
#pragma GCC unroll 16
  for (uint32_t i = 0; i < TILE_ROWS * groups; i++) {
    const uint32_t r = i / groups, v = i % groups;
    int32_t *at = dot + r * dot_stride + v * LANES;
#pragma GCC unroll 2
    for (uint32_t q = 0; q < 2; q++) {
      const __m512i before = !chunk->first  ? _mm512_loadu_si512(at + 16 * q)
                             : term != NULL ? _mm512_load_si512(term + v * chunk->group_bytes + VECTOR * q)
                                            : _mm512_set1_epi32(chunk->constant[r]);
      _mm512_storeu_si512(at + 16 * q, _mm512_dpwssd_epi32(before, sum[r][v], factor[q]));
    }
  }
}

/* The same for any number of groups. */
static inline __attribute__((always_inline)) void add_chunk(const struct chunk *chunk, const uint8_t *index,
                                                            const uint8_t *table, uint32_t groups, int32_t *dot,
                                                            size_t dot_stride) {
  const uint8_t *term = chunk->term;
  for (uint32_t v = 0; v < groups;) {
    const uint32_t tile = groups - v < TILE_GROUPS ? 1 : TILE_GROUPS;
    if (tile == TILE_GROUPS) {
      add_tile(chunk, index, table, term, TILE_GROUPS, dot, dot_stride);
    } else {
      add_tile(chunk, index, table, term, 1, dot, dot_stride);
    }
    v += tile;
    index += tile * chunk->group_bytes;
    if (term != NULL) term += tile * chunk->group_bytes;
    dot += tile * LANES;
  }
}

#endif
#endif
