/*
 * One bit by one bit: ones of the and of two codes.
 *
 * A byte of a streamed row is repeated into 16 lanes and meets that byte of 16 held rows: and, cnt and add are 128 MACs.
 * A tile is 4 rows by 32 lanes: per byte 24 vector operations, one ld4r and 2 loads, and every 24 bytes 16 additions that
 * widen the counters: 41.5 MACs per vector operation. (Carry-save trees, which pay where a population count is many
 * operations, cost more than they save: 3.5 operations for each cnt and add that they replace.)
 */
#include "kernels/neon/neon.h"

#if defined(__aarch64__)

#define LANES 32u
#define ROWS BETA_NEON_ROWS
/* Words between widenings: a byte counts to 8 per byte, and 8 * 24 fits. */
#define RUN_WORDS 3u
#define COLUMNS 256u
#define SUMS_BYTES BETA_METHOD_ALIGN /* of the streamed rows, before their bytes */

static size_t streamed_bytes(const beta_pair *pair) { return SUMS_BYTES + (size_t)beta_code_words(pair) * 8 * ROWS; }

static void hold(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  beta_neon_hold_bits(pair, 1, first, count, to);
}

/* [byte][row], so that a tile reads on. */
static void stream(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  const struct beta_code code = beta_code_unsigned(&pair->streamed);
  const uint32_t words = beta_code_words(pair);
  int32_t *sums = (int32_t *)(void *)to;
  for (uint32_t r = 0; r < count; r++) {
    uint8_t *bytes = to + SUMS_BYTES + r;
    sums[r] = 0;
    for (uint32_t w = 0; w < words; w++) {
      const uint64_t bits = beta_neon_plane_word(pair, &pair->streamed, code, first + r, 0, w);
      sums[r] += vaddv_u8(vcnt_u8(vcreate_u8(bits)));
      for (uint32_t byte = 0; byte < 8; byte++) bytes[(w * 8 + byte) * ROWS] = (uint8_t)(bits >> 8 * byte);
    }
  }
}

/* sums[r][l] = ones of streamed row r and lane l; at most 16384, so 16 bits hold them. */
static void tile(const uint8_t *held, const uint8_t *streamed, uint32_t words, uint16_t sums[ROWS][LANES]) {
  uint16x8_t total[ROWS][4];
  for (uint32_t r = 0; r < ROWS; r++) {
    for (uint32_t i = 0; i < 4; i++) total[r][i] = vdupq_n_u16(0);
  }
  while (words > 0) {
    const uint32_t run = words < RUN_WORDS ? words : RUN_WORDS;
    uint8x16_t count[ROWS][2];
    for (uint32_t r = 0; r < ROWS; r++) count[r][0] = count[r][1] = vdupq_n_u8(0);
    for (uint32_t byte = 0; byte < run * 8; byte++) {
      const uint8x16_t low = vld1q_u8(held), high = vld1q_u8(held + 16);
      const uint8x16x4_t bits = vld4q_dup_u8(streamed);
      for (uint32_t r = 0; r < ROWS; r++) {
        count[r][0] = vaddq_u8(count[r][0], vcntq_u8(vandq_u8(low, bits.val[r])));
        count[r][1] = vaddq_u8(count[r][1], vcntq_u8(vandq_u8(high, bits.val[r])));
      }
      held += LANES;
      streamed += ROWS;
    }
    for (uint32_t r = 0; r < ROWS; r++) {
      for (uint32_t v = 0; v < 2; v++) {
        total[r][2 * v] = vaddw_u8(total[r][2 * v], vget_low_u8(count[r][v]));
        total[r][2 * v + 1] = vaddw_high_u8(total[r][2 * v + 1], count[r][v]);
      }
    }
    words -= run;
  }
  for (uint32_t r = 0; r < ROWS; r++) {
    for (uint32_t i = 0; i < 4; i++) vst1q_u16(sums[r] + 8 * i, total[r][i]);
  }
}

static void multiply(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed,
                     uint32_t count, int32_t *dot, size_t dot_stride) {
  const struct beta_terms terms =
      beta_terms_of(beta_code_unsigned(&pair->held), beta_code_unsigned(&pair->streamed), pair->k);
  const uint32_t words = beta_code_words(pair);
  const int32_t *streamed_sums = (const int32_t *)(const void *)streamed;
  for (uint32_t g = 0; g < groups; g++, held += beta_neon_held_bits_bytes(pair)) {
    uint16_t sums[ROWS][LANES];
    tile(held + BETA_NEON_BITS_SUMS_BYTES, streamed + SUMS_BYTES, words, sums);
    for (uint32_t r = 0; r < count; r++) {
      int32_t *to = dot + r * dot_stride + g * LANES;
      beta_neon_begin(&terms, (const int32_t *)(const void *)held, streamed_sums[r], LANES, to);
      for (uint32_t l = 0; l < LANES; l += 8) beta_neon_add(to + l, vld1q_u16(sums[r] + l), (uint16_t)terms.product);
    }
  }
}

const struct beta_method beta_neon_popcount = {
    "popcount", LANES, ROWS, COLUMNS, beta_neon_held_bits_bytes, streamed_bytes, hold, stream, multiply, NULL, NULL,
};

#endif
