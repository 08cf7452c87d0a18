/* Rows of integer scores with byte permutations as tables of 128 entries. */

#define CHUNK 64u

INLINE __mmask64 chunk_mask(uint32_t left) { return left >= CHUNK ? ~UINT64_C(0) : (UINT64_C(1) << left) - 1; }

static void extremes(const void *scores, bool int16, uint32_t width, int32_t *least, int32_t *most) {
  __m512i low, high;
  uint32_t i = 0;
  if (int16) {
    const int16_t *score = scores;
    low = _mm512_set1_epi16(INT16_MAX);
    high = _mm512_set1_epi16(INT16_MIN);
    for (; i + 32 <= width; i += 32) {
      const __m512i s = _mm512_loadu_si512(score + i);
      low = _mm512_min_epi16(low, s);
      high = _mm512_max_epi16(high, s);
    }
    if (i < width) {
      const __mmask32 mask = (__mmask32)chunk_mask(width - i);
      const __m512i s = _mm512_maskz_loadu_epi16(mask, score + i);
      low = _mm512_mask_min_epi16(low, mask, low, s);
      high = _mm512_mask_max_epi16(high, mask, high, s);
    }
    low = _mm512_min_epi32(_mm512_cvtepi16_epi32(_mm512_castsi512_si256(low)), _mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64(low, 1)));
    high = _mm512_max_epi32(_mm512_cvtepi16_epi32(_mm512_castsi512_si256(high)), _mm512_cvtepi16_epi32(_mm512_extracti64x4_epi64(high, 1)));
  } else {
    const int32_t *score = scores;
    low = _mm512_set1_epi32(INT32_MAX);
    high = _mm512_set1_epi32(INT32_MIN);
    for (; i + 16 <= width; i += 16) {
      const __m512i s = _mm512_loadu_si512(score + i);
      low = _mm512_min_epi32(low, s);
      high = _mm512_max_epi32(high, s);
    }
    if (i < width) {
      const __mmask16 mask = (__mmask16)chunk_mask(width - i);
      const __m512i s = _mm512_maskz_loadu_epi32(mask, score + i);
      low = _mm512_mask_min_epi32(low, mask, low, s);
      high = _mm512_mask_max_epi32(high, mask, high, s);
    }
  }
  *least = _mm512_reduce_min_epi32(low);
  *most = _mm512_reduce_max_epi32(high);
}

INLINE __m256i short_distances(__m512i top, __m512i scores) { return _mm512_cvtepi16_epi8(_mm512_sub_epi16(top, scores)); }

/* 64 distances are stored at once, as total() and look_up() load them: parts would have to reach the cache first. */
static void distances(const void *scores, bool int16, uint32_t width, int32_t most, uint8_t *distances) {
  if (int16) {
    const __m512i top = _mm512_set1_epi16((int16_t)most);
    const int16_t *score = scores;
    uint32_t i = 0;
    for (; i + CHUNK <= width; i += CHUNK) {
      const __m256i low = short_distances(top, _mm512_loadu_si512(score + i)), high = short_distances(top, _mm512_loadu_si512(score + i + 32));
      _mm512_storeu_si512(distances + i, _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1));
    }
    if (i < width) {
      const __mmask64 mask = chunk_mask(width - i);
      const __m256i low = short_distances(top, _mm512_maskz_loadu_epi16((__mmask32)mask, score + i));
      const __m256i high = short_distances(top, _mm512_maskz_loadu_epi16((__mmask32)(mask >> 32), score + i + 32));
      _mm512_storeu_si512(distances + i, _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1));
    }
  } else {
    const int32_t *score = scores;
    for (uint32_t i = 0; i < width; i++) distances[i] = (uint8_t)(most - score[i]);
  }
}

static int64_t total(const beta_exponentials *exponentials, const uint8_t *distances, uint32_t width, uint32_t furthest) {
  if (furthest >= 128) {
    int64_t sum = 0;
    for (uint32_t i = 0; i < width; i++) sum += exponentials->fixed[distances[i]];
    return sum;
  }
  /* Every byte of the exponentials has a table of its own; the sum of each is exact, and so is that of all. */
  __m512i byte[BETA_EXPONENTIAL_BYTES];
  for (unsigned b = 0; b < BETA_EXPONENTIAL_BYTES; b++) byte[b] = _mm512_setzero_si512();
  for (uint32_t i = 0; i < width; i += CHUNK) {
    const __mmask64 mask = chunk_mask(width - i);
    const __m512i d = _mm512_maskz_loadu_epi8(mask, distances + i);
    for (unsigned b = 0; b < BETA_EXPONENTIAL_BYTES; b++) {
      const uint8_t *table = exponentials->byte[b];
      const __m512i e = _mm512_maskz_permutex2var_epi8(mask, _mm512_loadu_si512(table), d, _mm512_loadu_si512(table + 64));
      byte[b] = _mm512_add_epi64(byte[b], _mm512_sad_epu8(e, _mm512_setzero_si512()));
    }
  }
  __m512i sum = byte[0];
  for (unsigned b = 1; b < BETA_EXPONENTIAL_BYTES; b++) sum = _mm512_add_epi64(sum, _mm512_slli_epi64(byte[b], 8 * b));
  return _mm512_reduce_add_epi64(sum);
}

static void look_up(const uint8_t *table, const uint8_t *distances, uint32_t width, uint32_t furthest, uint8_t *codes) {
  const __m512i t0 = _mm512_loadu_si512(table), t1 = _mm512_loadu_si512(table + 64);
  const __m512i t2 = _mm512_loadu_si512(table + 128), t3 = _mm512_loadu_si512(table + 192);
  for (uint32_t i = 0; i < width; i += CHUNK) {
    const __mmask64 mask = chunk_mask(width - i);
    const __m512i d = _mm512_maskz_loadu_epi8(mask, distances + i);
    __m512i code = _mm512_permutex2var_epi8(t0, d, t1);
    if (furthest >= 128) code = _mm512_mask_blend_epi8(_mm512_movepi8_mask(d), code, _mm512_permutex2var_epi8(t2, d, t3));
    _mm512_mask_storeu_epi8(codes + i, mask, code);
  }
}

static void reach(const void *scores, bool int16, uint32_t width, int32_t threshold, uint8_t *plane) {
  memset(plane + (size_t)(whole_blocks(width) - 1) * BETA_BEAT_BYTES, 0, BETA_BEAT_BYTES);
  if (int16) {
    const __m512i t = _mm512_set1_epi16((int16_t)threshold);
    for (uint32_t i = 0; i < width; i += 32) {
      const __mmask32 mask = (__mmask32)chunk_mask(width - i);
      const __m512i s = _mm512_maskz_loadu_epi16(mask, (const int16_t *)scores + i);
      const uint32_t bits = _mm512_mask_cmpge_epi16_mask(mask, s, t);
      memcpy(plane_bytes(plane, 1, i), &bits, sizeof bits);
    }
  } else {
    const __m512i t = _mm512_set1_epi32(threshold);
    for (uint32_t i = 0; i < width; i += 16) {
      const __mmask16 mask = (__mmask16)chunk_mask(width - i);
      const __m512i s = _mm512_maskz_loadu_epi32(mask, (const int32_t *)scores + i);
      put_marks(plane_bytes(plane, 1, i), _mm512_mask_cmpge_epi32_mask(mask, s, t), LANES);
    }
  }
}
