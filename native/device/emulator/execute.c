/* Runs one QMM through the kernel seam, in blocks small enough that a reset need not wait long. */
#include "device/emulator/engine.h"

/*
 * Work of one block, in products of 64-bit plane words: a few milliseconds of the portable kernel. The smallest block is
 * BLOCK_ROWS x BLOCK_COLUMNS all the same, so that a kernel amortises what it prepares for a row; with the longest K at
 * 8 x 8 bits that is about a tenth of a second, which bounds how long a reset waits.
 */
#define BLOCK_WORK (UINT64_C(1) << 22)
#define BLOCK_COLUMNS 1024u /* a multiple of 8 */
#define BLOCK_ROWS 8u

static uint32_t min_u32(uint32_t a, uint32_t b) { return a < b ? a : b; }
static uint64_t divide_up(uint64_t a, uint64_t b) { return (a + b - 1) / b; }

static beta_matrix matrix(uint8_t *window, uint32_t off, uint32_t stride, uint8_t format) {
  return (beta_matrix){
      .row0 = window + off,
      .stride = stride,
      .bits = 1u << (format & BETA_FMT_WIDTH_MASK),
      .encoding = format >> BETA_FMT_ENC_SHIFT & BETA_FMT_ENC_MASK,
  };
}

static beta_qmm resolve(const beta_descriptor *d, uint8_t *window) {
  beta_qmm job = {
      .a = matrix(window, d->a_off, d->a_stride, d->a_fmt),
      .b = matrix(window, d->b_off, d->b_stride, d->b_fmt),
      .o = matrix(window, d->o_off, d->o_stride, d->o_fmt),
      .table_by_row = (d->flags & BETA_FLAG_TABLE_BY_ROW) != 0,
      .m = d->m,
      .n = d->n,
      .k = d->k,
      .k0 = d->k0,
      .n0 = d->n0,
  };
  job.table = job.o.bits == 32 ? NULL : window + d->e_off;
  return job;
}

/*
 * The columns [column, column + count) of a job as a job of their own: descriptors are position-independent, and so are
 * blocks. `column` is a multiple of 8, so that no two blocks share a byte of the output.
 */
static beta_qmm columns_of(const beta_qmm *job, uint32_t column, uint32_t count) {
  beta_qmm part = *job;
  const uint64_t element = (uint64_t)job->n0 + column;
  part.n = count;
  part.b.row0 += (uint64_t)column * job->b.stride;
  if (!job->table_by_row && part.table != NULL) part.table += (uint64_t)column * BETA_TABLE_ENTRY_BYTES;
  if (job->o.bits >= 16) {
    part.o.row0 += (uint64_t)column * (job->o.bits / 8);
  } else {
    part.o.row0 += element / BETA_BLOCK_ELEMENTS * BETA_BEAT_BYTES * job->o.bits;
    part.n0 = (uint32_t)(element % BETA_BLOCK_ELEMENTS);
  }
  return part;
}

/* What the array of GEOMETRY would count: a pair of planes of 8x8 rows and 128 elements in each cycle. */
static void count_work(const beta_qmm *job, struct beta_counters *counters) {
  const uint64_t blocks = divide_up((uint64_t)job->k0 + job->k, BETA_BLOCK_ELEMENTS);
  const uint64_t tiles = divide_up(job->m, BETA_EMULATOR_DM) * divide_up(job->n, BETA_EMULATOR_DN);
  const uint64_t plane_pairs = (uint64_t)job->a.bits * job->b.bits;
  const uint64_t table_rows = job->table == NULL ? 0 : job->table_by_row ? job->m : job->n;
  const uint64_t out_bytes = divide_up((uint64_t)job->n * job->o.bits, 8);
  counters->cycles += (uint32_t)(tiles * blocks * plane_pairs);
  counters->beats += (uint32_t)((uint64_t)job->m * job->n * blocks * plane_pairs);
  counters->rd_beats += (uint32_t)(job->m * blocks * job->a.bits + job->n * blocks * job->b.bits +
                                   divide_up(table_rows * BETA_TABLE_ENTRY_BYTES, BETA_BEAT_BYTES));
  counters->wr_beats += (uint32_t)(job->m * divide_up(out_bytes, BETA_BEAT_BYTES));
}

bool beta_execute(const struct beta_kernel *kernel, const beta_descriptor *descriptor, uint8_t *window,
                  bool (*stop)(void *context), void *context, struct beta_counters *counters) {
  const beta_qmm job = resolve(descriptor, window);
  const uint64_t row_words = divide_up((uint64_t)job.k0 + job.k, 64);
  for (uint32_t column = 0; column < job.n;) {
    const uint32_t width = min_u32(job.n - column, BLOCK_COLUMNS);
    const beta_qmm part = columns_of(&job, column, width);
    const uint64_t row_work = width * row_words * job.a.bits * job.b.bits;
    const uint64_t height = BLOCK_WORK / row_work / BLOCK_ROWS * BLOCK_ROWS;
    for (uint32_t row = 0; row < job.m;) {
      if (stop(context)) return false;
      const uint32_t rows = min_u32(job.m - row, height < BLOCK_ROWS ? BLOCK_ROWS : (uint32_t)height);
      kernel->qmm(&part, row, row + rows);
      row += rows;
    }
    column += width;
  }
  count_work(&job, counters);
  return true;
}
