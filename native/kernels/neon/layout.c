/* Bit-planes turned into the layouts of the NEON methods. */
#include "kernels/neon/neon.h"

#if defined(__aarch64__)

#include <string.h>

uint64_t beta_neon_plane_word(const beta_pair *pair, const beta_matrix *matrix, struct beta_code code, uint32_t row,
                              uint32_t plane, uint32_t word) {
  const uint32_t at = beta_first_word(pair->k0) + word;
  uint64_t bits;
  memcpy(&bits, matrix->row0 + row * matrix->stride + beta_word_offset(matrix, at, plane), sizeof bits);
  if ((code.flip >> plane & 1u) != 0) bits = ~bits;
  return bits & beta_word_mask(at, pair->k0, pair->k);
}

static inline uint32_t ones(uint64_t bits) { return vaddv_u8(vcnt_u8(vcreate_u8(bits))); }

/* Lane `lane` of a vector. Returns the plane's number of ones. */
static uint32_t hold_plane(const beta_pair *pair, struct beta_code code, uint32_t row, uint32_t plane,
                           uint8_t *lane) {
  const uint32_t words = beta_code_words(pair);
  uint32_t sum = 0;
  for (uint32_t w = 0; w < words; w++) {
    const uint64_t bits = beta_neon_plane_word(pair, &pair->held, code, row, plane, w);
    sum += ones(bits);
    for (uint32_t byte = 0; byte < 8; byte++) lane[(w * 8 + byte) * 32] = (uint8_t)(bits >> 8 * byte);
  }
  return sum;
}

void beta_neon_hold_bits(const beta_pair *pair, uint32_t planes, uint32_t first, uint32_t count, uint8_t *to) {
  const struct beta_code code = beta_code_unsigned(&pair->held);
  int32_t *sums = (int32_t *)(void *)to;
  for (uint32_t lane = 0; lane < count; lane++) {
    sums[lane] = 0;
    for (uint32_t plane = 0; plane < planes; plane++) {
      uint8_t *bits = to + BETA_NEON_BITS_SUMS_BYTES + plane * 16 + lane;
      sums[lane] += (int32_t)(hold_plane(pair, code, first + lane, plane, bits) << plane);
    }
  }
}

/* Which byte of a plane's 64-bit word the lanes of quarter 0 look at; quarter q looks 2q further. */
static const uint8_t byte_of_lane[16] = {0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1};
static const uint8_t bit_of_lane[16] = {1, 2, 4, 8, 16, 32, 64, 128, 1, 2, 4, 8, 16, 32, 64, 128};

/* 0xFF in the lanes whose bit is set, for elements 16 * quarter and on. */
static inline uint8x16_t spread(uint64_t bits, uint32_t quarter) {
  const uint8x16_t word = vreinterpretq_u8_u64(vdupq_n_u64(bits));
  const uint8x16_t index = vaddq_u8(vld1q_u8(byte_of_lane), vdupq_n_u8((uint8_t)(2 * quarter)));
  return vtstq_u8(vqtbl1q_u8(word, index), vld1q_u8(bit_of_lane));
}

static void decode_word(const beta_pair *pair, const beta_matrix *matrix, struct beta_code code, uint32_t row,
                        uint32_t word, uint8_t *to) {
  uint8x16_t codes[4] = {vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0), vdupq_n_u8(0)};
  for (uint32_t plane = 0; plane < matrix->bits; plane++) {
    const uint8x16_t weight = vdupq_n_u8((uint8_t)(1u << plane));
    const uint64_t bits = beta_neon_plane_word(pair, matrix, code, row, plane, word);
    for (uint32_t q = 0; q < 4; q++) codes[q] = vorrq_u8(codes[q], vandq_u8(spread(bits, q), weight));
  }
  for (uint32_t q = 0; q < 4; q++) vst1q_u8(to + 16 * q, codes[q]);
}

int32_t beta_neon_decode(const beta_pair *pair, const beta_matrix *matrix, struct beta_code code, bool is_signed,
                         uint32_t row, uint8_t *to) {
  const uint32_t words = beta_code_words(pair);
  for (uint32_t w = 0; w < words; w++) decode_word(pair, matrix, code, row, w, to + 64 * (size_t)w);
  /* Pairs are summed in 16 bits, which two bytes cannot overflow, then in 32. */
  int32x4_t sum = vdupq_n_s32(0);
  for (uint32_t i = 0; i < words * 64; i += 16) {
    const uint8x16_t codes = vld1q_u8(to + i);
    const int16x8_t pairs =
        is_signed ? vpaddlq_s8(vreinterpretq_s8_u8(codes)) : vreinterpretq_s16_u16(vpaddlq_u8(codes));
    sum = vpadalq_s16(sum, pairs);
  }
  return vaddvq_s32(sum);
}

#endif
