#include "device/emulator/tile.h"

static uint64_t divide_up(uint64_t a, uint64_t b) { return (a + b - 1) / b; }

static beta_matrix matrix(uint8_t *window, uint32_t off, uint32_t stride, uint8_t format) {
  return (beta_matrix){
      .row0 = window + off,
      .stride = stride,
      .bits = 1u << (format & BETA_FMT_WIDTH_MASK),
      .encoding = format >> BETA_FMT_ENC_SHIFT & BETA_FMT_ENC_MASK,
  };
}

static uint64_t blocks_of(const beta_qmm *job) { return divide_up((uint64_t)job->k0 + job->k, BETA_BLOCK_ELEMENTS); }

uint32_t beta_row_bytes(const beta_matrix *matrix, uint32_t first, uint32_t count) {
  return (uint32_t)divide_up((uint64_t)first + count, BETA_BLOCK_ELEMENTS) * BETA_BEAT_BYTES * matrix->bits;
}

/* The bytes that an output's columns lie in: of planes the first and the last may hold others' beside them, in blocks of other columns none. */
static struct beta_area output_of(const beta_descriptor *d, const beta_matrix *o) {
  struct beta_area area = {.off = d->o_off, .stride = d->o_stride, .rows = d->m};
  if (o->bits >= 16) {
    area.bytes = (uint64_t)d->n * (o->bits / 8);
  } else if (o->bits == 1 && d->n0 + d->n <= BETA_BLOCK_ELEMENTS) {
    area.off += d->n0 / 8;
    area.bytes = divide_up(d->n, 8);
  } else {
    area.bytes = beta_row_bytes(o, d->n0, d->n);
  }
  return area;
}

void beta_tile_resolve(struct beta_tile *tile, const beta_descriptor *d, uint8_t *window) {
  beta_qmm *job = &tile->job;
  *job = (beta_qmm){
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
  job->table = job->o.bits == 32 ? NULL : window + d->e_off;
  tile->beats = (uint64_t)job->m * job->n * blocks_of(job) * (job->a.bits * job->b.bits);
  tile->a = (struct beta_area){d->a_off, d->a_stride, d->m, beta_row_bytes(&job->a, d->k0, d->k)};
  tile->b = (struct beta_area){d->b_off, d->b_stride, d->n, beta_row_bytes(&job->b, d->k0, d->k)};
  tile->o = output_of(d, &job->o);
  const uint64_t entries = job->table == NULL ? 0 : job->table_by_row ? d->m : d->n;
  tile->table = (struct beta_area){d->e_off, 0, 1, entries * BETA_TABLE_ENTRY_BYTES};
}

/* What the array of GEOMETRY would count: a pair of planes of 8x8 rows and 128 elements in each cycle. */
void beta_tile_count(const struct beta_tile *tile, struct beta_counters *counters) {
  const beta_qmm *job = &tile->job;
  const uint64_t blocks = blocks_of(job);
  const uint64_t tiles = divide_up(job->m, BETA_EMULATOR_DM) * divide_up(job->n, BETA_EMULATOR_DN);
  const uint64_t plane_pairs = (uint64_t)job->a.bits * job->b.bits;
  const uint64_t out_bytes = divide_up((uint64_t)job->n * job->o.bits, 8);
  counters->cycles += (uint32_t)(tiles * blocks * plane_pairs);
  counters->beats += (uint32_t)tile->beats;
  counters->rd_beats += (uint32_t)(job->m * blocks * job->a.bits + job->n * blocks * job->b.bits + divide_up(tile->table.bytes, BETA_BEAT_BYTES));
  counters->wr_beats += (uint32_t)(job->m * divide_up(out_bytes, BETA_BEAT_BYTES));
}

static bool ranges_meet(const struct beta_area *x, const struct beta_area *y) {
  return x->bytes != 0 && y->bytes != 0 && x->off < beta_area_end(y) && y->off < beta_area_end(x);
}

/* Areas of one stride may lie side by side: y then has the place between x's pieces to itself, or the other way round. */
static bool areas_meet(const struct beta_area *x, const struct beta_area *y) {
  if (!ranges_meet(x, y)) return false;
  if (x->stride != y->stride || x->stride == 0) return true;
  if (x->off > y->off) return areas_meet(y, x);
  const uint64_t apart = (y->off - x->off) % x->stride;
  return x->bytes > apart || apart + y->bytes > x->stride;
}

bool beta_tiles_interleave(const struct beta_tile *x, const struct beta_tile *y) { return ranges_meet(&x->o, &y->o); }

static bool disturbs(const struct beta_tile *writer, const struct beta_tile *reader) {
  return areas_meet(&writer->o, &reader->a) || areas_meet(&writer->o, &reader->b) || areas_meet(&writer->o, &reader->table);
}

bool beta_tiles_independent(const struct beta_tile *x, const struct beta_tile *y) {
  return !areas_meet(&x->o, &y->o) && !disturbs(x, y) && !disturbs(y, x);
}
