/*
 * Products of codes: umlal and smlal multiply 8 bytes into 16 bits, uadalp and sadalp add pairs of those to 32.
 *
 * Two neighbouring elements of a row are a pair; 8 rows' pairs are a vector of the held operand, and a streamed pair is
 * repeated into all lanes, so that sadalp's pairs are a row's own. A tile is 4 rows by 16 lanes. Per 2 elements of K it
 * takes 16 multiplications of 8 MACs, one ld4r and 2 to 4 loads.
 *
 * Unsigned codes, sums of products in 16 bits for as long as they fit: 8.0 MACs per vector operation for 4 x 4 bits (291
 * products), 7.9 for 2 x 8 (85), 7.6 for 4 x 8 (17). Two products of 8 x 8 unsigned bits do not fit; of signed codes all do
 * but twice -128 * -128. So 8 x 8 has signed codes, and multiplies twice before it widens (5.3 MACs per operation) unless
 * both operands hold a -128 somewhere in the rows at hand (then 4).
 */
#include "kernels/neon/neon.h"

#if defined(__aarch64__)

#define ROWS BETA_NEON_ROWS
#define LANES 16u
#define COLUMNS 256u
/* Before the codes of a group or of streamed rows: their sums, and for signed codes whether one of them is -128. */
struct header {
  _Alignas(BETA_METHOD_ALIGN) int32_t sums[LANES];
  _Alignas(BETA_METHOD_ALIGN) bool has_least;
};

static inline uint32_t pairs_of(const beta_pair *pair) { return beta_code_words(pair) * 32; }

static size_t held_bytes(const beta_pair *pair) { return sizeof(struct header) + (size_t)pairs_of(pair) * 2 * LANES; }
static size_t streamed_bytes(const beta_pair *pair) { return sizeof(struct header) + (size_t)pairs_of(pair) * 2 * ROWS; }

static bool has_least(const uint8_t *codes, uint32_t count) {
  uint8x16_t found = vdupq_n_u8(0);
  for (uint32_t i = 0; i < count; i += 16) found = vorrq_u8(found, vceqq_u8(vld1q_u8(codes + i), vdupq_n_u8(0x80)));
  return vmaxvq_u8(found) != 0;
}

/* Rows side by side: [pair][row of `across`][2]. */
static void lay_out(const beta_pair *pair, const beta_matrix *matrix, bool is_signed, uint32_t first, uint32_t count,
                    uint32_t across, uint8_t *to) {
  const struct beta_code code = is_signed ? beta_neon_signed(matrix) : beta_code_unsigned(matrix);
  const uint32_t pairs = pairs_of(pair);
  struct header *header = (struct header *)(void *)to;
  header->has_least = false;
  for (uint32_t r = 0; r < count; r++) {
    _Alignas(16) uint8_t codes[BETA_CODES_MAX];
    header->sums[r] = beta_neon_decode(pair, matrix, code, is_signed, first + r, codes);
    if (is_signed) header->has_least = header->has_least || has_least(codes, pairs * 2);
    const uint16_t *from = (const uint16_t *)(const void *)codes;
    uint16_t *lane = (uint16_t *)(void *)(to + sizeof *header) + r;
    for (uint32_t p = 0; p < pairs; p++) lane[p * across] = from[p];
  }
}

static void hold_unsigned(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  lay_out(pair, &pair->held, false, first, count, LANES, to);
}

static void stream_unsigned(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  lay_out(pair, &pair->streamed, false, first, count, ROWS, to);
}

static void hold_signed(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  lay_out(pair, &pair->held, true, first, count, LANES, to);
}

static void stream_signed(const beta_pair *pair, uint32_t first, uint32_t count, uint8_t *to) {
  lay_out(pair, &pair->streamed, true, first, count, ROWS, to);
}

/* Adds `pairs` pairs to the results of a tile; so many that 16 bits hold the sums. */
static void tile_unsigned(const uint8_t *held, const uint8_t *streamed, uint32_t pairs, uint32_t count, int32_t *dot,
                          size_t dot_stride) {
  uint16x8_t sums[ROWS][4];
  for (uint32_t r = 0; r < ROWS; r++) {
    for (uint32_t i = 0; i < 4; i++) sums[r][i] = vdupq_n_u16(0);
  }
  for (uint32_t p = 0; p < pairs; p++) {
    const uint8x16_t low = vld1q_u8(held), high = vld1q_u8(held + 16);
    const uint16x8x4_t all = vld4q_dup_u16((const uint16_t *)(const void *)streamed);
    for (uint32_t r = 0; r < ROWS; r++) {
      const uint8x16_t row = vreinterpretq_u8_u16(all.val[r]);
      sums[r][0] = vmlal_u8(sums[r][0], vget_low_u8(low), vget_low_u8(row));
      sums[r][1] = vmlal_high_u8(sums[r][1], low, row);
      sums[r][2] = vmlal_u8(sums[r][2], vget_low_u8(high), vget_low_u8(row));
      sums[r][3] = vmlal_high_u8(sums[r][3], high, row);
    }
    held += 2 * LANES;
    streamed += 2 * ROWS;
  }
  for (uint32_t r = 0; r < ROWS; r++) {
    if (r == count) break;
    uint32_t *to = (uint32_t *)(dot + r * dot_stride);
    for (uint32_t i = 0; i < 4; i++) vst1q_u32(to + 4 * i, vpadalq_u16(vld1q_u32(to + 4 * i), sums[r][i]));
  }
}

/* The products of 4 lanes, two pairs of each: 16 bits hold their sum while no two of them are -128 * -128. */
static inline int32x4_t multiply_pairs(int32x4_t sum, const int8x8_t held[2], const int8x8_t row[2], bool least) {
  const int16x8_t product = vmull_s8(held[0], row[0]);
  if (!least) return vpadalq_s16(sum, vmlal_s8(product, held[1], row[1]));
  return vpadalq_s16(vpadalq_s16(sum, product), vmull_s8(held[1], row[1]));
}

/* Adds all pairs, two at a time, to the results of a tile. `least`: a -128 may meet a -128. */
static inline void tile_signed(const uint8_t *held, const uint8_t *streamed, uint32_t pairs, const bool least,
                               uint32_t count, int32_t *dot, size_t dot_stride) {
  int32x4_t sums[ROWS][4];
  for (uint32_t r = 0; r < ROWS; r++) {
    for (uint32_t i = 0; i < 4; i++) sums[r][i] = vdupq_n_s32(0);
  }
  for (uint32_t p = 0; p < pairs; p += 2) {
    const int16_t *rows = (const int16_t *)(const void *)streamed;
    const int16x4x4_t first = vld4_dup_s16(rows), second = vld4_dup_s16(rows + ROWS);
    for (uint32_t i = 0; i < 4; i++) {
      const int8_t *lanes = (const int8_t *)held + 8 * i;
      const int8x8_t both[2] = {vld1_s8(lanes), vld1_s8(lanes + 2 * LANES)};
      for (uint32_t r = 0; r < ROWS; r++) {
        const int8x8_t row[2] = {vreinterpret_s8_s16(first.val[r]), vreinterpret_s8_s16(second.val[r])};
        sums[r][i] = multiply_pairs(sums[r][i], both, row, least);
      }
      __asm__ volatile(""); /* else gcc hoists later loads, and spills sums for them */
    }
    held += 4 * LANES;
    streamed += 4 * ROWS;
  }
  for (uint32_t r = 0; r < ROWS; r++) {
    if (r == count) break;
    uint32_t *to = (uint32_t *)(dot + r * dot_stride);
    for (uint32_t i = 0; i < 4; i++) {
      vst1q_u32(to + 4 * i, vaddq_u32(vld1q_u32(to + 4 * i), vreinterpretq_u32_s32(sums[r][i])));
    }
  }
}

/* Pairs whose products of unsigned codes fit 16 bits. */
static uint32_t run_of(const beta_pair *pair) {
  const uint32_t held = (1u << pair->held.bits) - 1, streamed = (1u << pair->streamed.bits) - 1;
  return UINT16_MAX / (held * streamed);
}

static void begin(const beta_pair *pair, bool is_signed, const struct header *held, const struct header *streamed,
                  uint32_t count, int32_t *dot, size_t dot_stride) {
  const struct beta_terms terms =
      is_signed ? beta_terms_of(beta_neon_signed(&pair->held), beta_neon_signed(&pair->streamed), pair->k)
                : beta_terms_of(beta_code_unsigned(&pair->held), beta_code_unsigned(&pair->streamed), pair->k);
  for (uint32_t r = 0; r < count; r++) {
    beta_neon_begin(&terms, held->sums, streamed->sums[r], LANES, dot + r * dot_stride);
  }
}

static void multiply_unsigned(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed,
                              uint32_t count, int32_t *dot, size_t dot_stride) {
  const uint32_t pairs = pairs_of(pair), run = run_of(pair);
  const uint8_t *rows = streamed + sizeof(struct header);
  for (uint32_t g = 0; g < groups; g++, held += held_bytes(pair), dot += LANES) {
    begin(pair, false, (const struct header *)(const void *)held, (const struct header *)(const void *)streamed, count,
          dot, dot_stride);
    const uint8_t *lanes = held + sizeof(struct header);
    for (uint32_t p = 0; p < pairs; p += run) {
      tile_unsigned(lanes + (size_t)p * 2 * LANES, rows + (size_t)p * 2 * ROWS, pairs - p < run ? pairs - p : run, count,
                    dot, dot_stride);
    }
  }
}

static void multiply_signed(const beta_pair *pair, const uint8_t *held, uint32_t groups, const uint8_t *streamed,
                            uint32_t count, int32_t *dot, size_t dot_stride) {
  const uint32_t pairs = pairs_of(pair);
  const struct header *row = (const struct header *)(const void *)streamed;
  const uint8_t *rows = streamed + sizeof *row;
  for (uint32_t g = 0; g < groups; g++, held += held_bytes(pair), dot += LANES) {
    const struct header *group = (const struct header *)(const void *)held;
    begin(pair, true, group, row, count, dot, dot_stride);
    if (group->has_least && row->has_least) {
      tile_signed(held + sizeof *group, rows, pairs, true, count, dot, dot_stride);
    } else {
      tile_signed(held + sizeof *group, rows, pairs, false, count, dot, dot_stride);
    }
  }
}

const struct beta_method beta_neon_dot = {
    "dot", LANES, ROWS, COLUMNS, held_bytes, streamed_bytes, hold_unsigned, stream_unsigned, multiply_unsigned, NULL, NULL,
};

const struct beta_method beta_neon_dot_signed = {
    "dot-signed", LANES, ROWS, COLUMNS, held_bytes, streamed_bytes, hold_signed, stream_signed, multiply_signed, NULL, NULL,
};

#endif
