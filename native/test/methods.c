/*
 * Products of every kernel that runs here, behind the engine's interface: all pairs of formats with operands that are
 * extreme in every way a method could overflow on (all bits, only or all but the top plane, none, sparse), ragged shapes,
 * and K up to the largest; as int32, as int16 through a table of identities, and as bits through thresholds that lie among the
 * results. `methods RUNS` repeats it with other shapes.
 */
#include "kernels/blocks.h"
#include "test/support.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define OPERAND_BYTES ((size_t)1 << 20)
#define OUTPUT_BYTES ((size_t)1 << 17)

enum pattern { RANDOM, ONES, TOP, NOT_TOP, ZEROS, SPARSE, PATTERNS };

struct bench {
  uint8_t *a, *b, *panel, *scratch;
  int32_t *out;
  int32_t *values_a, *values_b; /* [row][k] */
  uint64_t random;
};

static uint8_t byte_of(struct bench *bench, enum pattern pattern, bool top) {
  const uint64_t random = next_random(&bench->random);
  switch (pattern) {
    case ONES: return 0xFF;
    case TOP: return top ? 0xFF : 0;
    case NOT_TOP: return top ? 0 : 0xFF;
    case ZEROS: return 0;
    case SPARSE: return (uint8_t)(random & random >> 8 & random >> 16) | (top && random >> 62 == 0 ? 0xFF : 0);
    default: return (uint8_t)random;
  }
}

/* Fills whole rows, so that bits outside [k0, k0 + k) are set as well. */
static void fill(struct bench *bench, const beta_matrix *matrix, uint32_t rows, enum pattern pattern) {
  for (uint64_t i = 0; i < rows * matrix->stride; i++) {
    matrix->row0[i] = byte_of(bench, pattern, i % matrix->stride / 16 % matrix->bits == matrix->bits - 1);
  }
}

/* Values by section 4. */
static void decode(const beta_matrix *matrix, uint32_t rows, const beta_qmm *job, int32_t *to) {
  for (uint32_t r = 0; r < rows; r++) {
    for (uint32_t k = job->k0; k < job->k0 + job->k; k++) {
      int32_t value = 0;
      for (uint32_t i = 0; i < matrix->bits; i++) {
        const uint64_t byte = r * matrix->stride + (uint64_t)(k / 128 * 16) * matrix->bits + 16 * i + k % 128 / 8;
        const int32_t bit = matrix->row0[byte] >> k % 8 & 1;
        value += matrix->encoding == BETA_ENC_S && i == matrix->bits - 1 ? -(bit << i) : bit << i;
      }
      *to++ = matrix->encoding == BETA_ENC_PM1 ? 2 * value - 1 : value;
    }
  }
}

static void run_job(struct bench *bench, const struct beta_kernel *kernel, const beta_qmm *job) {
  beta_blocks blocks;
  struct beta_epilogue epilogue;
  beta_epilogue_prepare(&epilogue, job);
  beta_blocks_cut(&blocks, kernel, job, &epilogue, 1);
  for (uint32_t panel = 0; panel < blocks.panels; panel++) {
    beta_hold_panel(&blocks, panel, bench->panel);
    for (uint32_t unit = 0; unit < blocks.units; unit++) {
      beta_run_unit(&blocks, panel, unit, bench->panel, bench->scratch, false);
    }
  }
}

#define COLUMNS_MAX 140u /* of a shape */
#define ONE (1 << BETA_EPILOGUE_SHIFT)

static int64_t dots[COLUMNS_MAX * COLUMNS_MAX]; /* [row][column] */

static void multiply(const struct bench *bench, const beta_qmm *job) {
  for (uint32_t m = 0; m < job->m; m++) {
    for (uint32_t n = 0; n < job->n; n++) {
      const int32_t *a = bench->values_a + (size_t)m * job->k, *b = bench->values_b + (size_t)n * job->k;
      int64_t sum = 0;
      for (uint32_t k = 0; k < job->k; k++) sum += (int64_t)a[k] * b[k];
      dots[m * job->n + n] = sum;
    }
  }
}

/* Thresholds among the results of the first row or column, and some that are far from all. */
static int32_t bias_of(uint32_t entry, int64_t dot) {
  if (entry % 11 == 10) return entry % 2 == 0 ? INT32_MAX : INT32_MIN;
  return entry % 13 == 12 ? 40000 : (int32_t)(entry % 3) - 1 - (int32_t)dot;
}

/* Whether the multiplier of an entry is -1.0. */
static bool falls(uint32_t entry) { return entry % 4 == 3; }

/* The output of 32, 16 or 1 bits; for one bit, `near` keeps thresholds within what 16 bits can decide. */
static bool agrees_as(struct bench *bench, const struct beta_kernel *kernel, const beta_qmm *job, bool near) {
  static _Alignas(16) int32_t table[COLUMNS_MAX][2];
  for (uint32_t i = 0; i < (job->table_by_row ? job->m : job->n); i++) {
    const int32_t bias = bias_of(i, dots[job->table_by_row ? i * job->n : i]);
    table[i][0] = job->o.bits == 16 ? 0 : near ? bias % 60000 : bias;
    table[i][1] = job->o.bits == 1 && falls(i) ? -ONE : ONE;
  }
  beta_qmm whole = *job;
  whole.table = job->o.bits == 32 ? NULL : (const uint8_t *)table;
  memset(bench->out, 0xA5, job->m * job->o.stride);
  run_job(bench, kernel, &whole);
  for (uint32_t m = 0; m < job->m; m++) {
    const uint8_t *row = (const uint8_t *)bench->out + m * job->o.stride;
    for (uint32_t n = 0; n < job->n; n++) {
      const int64_t dot = dots[m * job->n + n];
      const uint32_t entry = job->table_by_row ? m : n;
      int64_t expected = dot, found;
      if (job->o.bits == 32) {
        found = ((const int32_t *)(const void *)row)[n];
      } else if (job->o.bits == 16) {
        expected = dot > INT16_MAX ? INT16_MAX : dot < INT16_MIN ? INT16_MIN : dot;
        found = ((const int16_t *)(const void *)row)[n];
      } else {
        const int64_t sum = (int32_t)((uint32_t)dot + (uint32_t)table[entry][0]), r = falls(entry) ? -sum : sum;
        expected = job->o.encoding == BETA_ENC_U ? r >= 1 : job->o.encoding == BETA_ENC_S ? r <= -1 : r >= 0;
        found = row[n / 8] >> n % 8 & 1;
      }
      if (found == expected) continue;
      return check(false,
                   "%s: %u bits (%u) by %u (%u) to %u (%u), m %u n %u k %u k0 %u: row %u column %u is %lld, expected %lld",
                   kernel->name, job->a.bits, job->a.encoding, job->b.bits, job->b.encoding, job->o.bits,
                   job->o.encoding, job->m, job->n, job->k, job->k0, m, n, (long long)found, (long long)expected);
    }
  }
  return true;
}

static bool agrees(struct bench *bench, const struct beta_kernel *kernel, const beta_qmm *job) {
  decode(&job->a, job->m, job, bench->values_a);
  decode(&job->b, job->n, job, bench->values_b);
  multiply(bench, job);
  static const struct {
    uint32_t bits, encoding;
    bool near, by_row;
  } outputs[] = {{32, BETA_ENC_S, false, false},  {16, BETA_ENC_S, false, false}, {16, BETA_ENC_S, false, true},
                 {1, BETA_ENC_PM1, false, false}, {1, BETA_ENC_PM1, true, false}, {1, BETA_ENC_PM1, true, true},
                 {1, BETA_ENC_U, true, false},    {1, BETA_ENC_S, true, true}};
  for (size_t i = 0; i < COUNT(outputs); i++) {
    beta_qmm as = *job;
    as.o.bits = outputs[i].bits;
    as.table_by_row = outputs[i].by_row;
    as.o.encoding = outputs[i].encoding;
    as.o.stride = ((uint64_t)job->n * as.o.bits + 127) / 128 * 16;
    if (!agrees_as(bench, kernel, &as, outputs[i].near)) return false;
  }
  return true;
}

static beta_matrix operand(uint8_t *row0, uint8_t format, const beta_qmm *job) {
  const uint32_t bits = 1u << (format & 7);
  const uint64_t stride = (uint64_t)((job->k0 + job->k + 127) / 128) * 16 * bits;
  return (beta_matrix){.row0 = row0, .stride = stride, .bits = bits, .encoding = format >> 4};
}

/* A random shape: small, or with the longest rows, or with more rows or columns than a tile, or a head of attention. */
static beta_qmm shape(struct bench *bench) {
  const uint64_t random = next_random(&bench->random);
  const uint32_t kind = random % 8;
  beta_qmm job = {.k = 1 + (random >> 8) % 1300, .m = 1 + (random >> 20) % 9, .n = 1 + (random >> 28) % 70};
  if (kind < 2) {
    job.k = kind == 0 ? BETA_MAX_K_LIMIT : 1 + (random >> 8) % BETA_MAX_K_LIMIT;
    job.m = 1 + job.m % 5;
    job.n = 1 + job.n % 5;
  }
  const bool head = (random >> 50) % 32 == 0; /* of attention: whole tiles, whose results go straight to the output */
  const bool whole = head && (random >> 55 & 1) != 0; /* of words */
  if (head) {
    job.k = whole ? 64 * (1 + (random >> 8) % 4) : 1 + (random >> 8) % 160;
    job.m = 60 + (random >> 20) % 80;
    job.n = 32 * (1 + (random >> 28) % 4);
  }
  if ((random >> 40 & 1) != 0) {
    const uint32_t m = job.m;
    job.m = job.n;
    job.n = m;
  }
  if ((random >> 41 & 1) != 0) job.k0 = whole ? 64 : (random >> 42) % 128;
  return job;
}

static void test_kernel(struct bench *bench, const struct beta_kernel *kernel, uint32_t runs) {
  static const uint8_t formats[] = {0x00, 0x01, 0x02, 0x03, 0x10, 0x11, 0x12, 0x13, 0x20};
  uint32_t cases = 0;
  for (size_t a = 0; a < COUNT(formats); a++) {
    bool good = true;
    for (uint32_t i = 0; i < runs * COUNT(formats) * PATTERNS * PATTERNS && good; i++, cases++) {
      beta_qmm job = shape(bench);
      job.a = operand(bench->a, formats[a], &job);
      job.b = operand(bench->b, formats[i % COUNT(formats)], &job);
      job.o = (beta_matrix){(uint8_t *)bench->out, (4 * (uint64_t)job.n + 15) / 16 * 16, 32, BETA_ENC_S};
      fill(bench, &job.a, job.m, i / COUNT(formats) % PATTERNS);
      fill(bench, &job.b, job.n, i / COUNT(formats) / PATTERNS % PATTERNS);
      good = agrees(bench, kernel, &job);
    }
    check(good, "%s: A format 0x%02X by every format at the extremes", kernel->name, formats[a]);
  }
  printf("# %s: %u products\n", kernel->name, cases);
}

int main(int count, char **arguments) {
  const long runs = count > 1 ? strtol(arguments[1], NULL, 10) : 1;
  if (runs < 1) {
    fprintf(stderr, "usage: %s [RUNS], at least 1\n", arguments[0]);
    return 2;
  }
  /* The longest operand: 6 rows of K = 16384 from k0 = 127 at 8 bits, or 70 of 1300. */
  struct bench bench = {
      .a = aligned_alloc(64, OPERAND_BYTES),
      .b = aligned_alloc(64, OPERAND_BYTES),
      .panel = aligned_alloc(64, BETA_PANEL_BYTES_MAX),
      .scratch = aligned_alloc(64, BETA_SCRATCH_BYTES),
      .out = aligned_alloc(64, OUTPUT_BYTES),
      .values_a = malloc(sizeof(int32_t) * OPERAND_BYTES),
      .values_b = malloc(sizeof(int32_t) * OPERAND_BYTES),
      .random = 88172645463325252u,
  };
  if (bench.a == NULL || bench.b == NULL || bench.panel == NULL || bench.scratch == NULL || bench.out == NULL ||
      bench.values_a == NULL || bench.values_b == NULL) {
    return 1;
  }
  for (const struct beta_kernel *const *kernel = beta_kernels(); *kernel != NULL; kernel++) {
    if ((*kernel)->supported()) test_kernel(&bench, *kernel, (uint32_t)runs);
  }
  free(bench.a);
  free(bench.b);
  free(bench.panel);
  free(bench.scratch);
  free(bench.out);
  free(bench.values_a);
  free(bench.values_b);
  return finish();
}
