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

static struct beta_area area(uint32_t off, uint32_t rows, uint32_t stride, uint32_t bytes) {
  return (struct beta_area){off, off + (uint64_t)(rows - 1) * stride + bytes, stride, bytes};
}

/* The bytes that an output's columns lie in: of one bit in one block no other than theirs, else whole blocks. */
static struct beta_area output_of(const beta_descriptor *d, const beta_matrix *o) {
  if (o->bits >= 16) return area(d->o_off, d->m, d->o_stride, d->n * (o->bits / 8));
  if (o->bits == 1 && d->n0 + (uint64_t)d->n <= BETA_BLOCK_ELEMENTS) return area(d->o_off + d->n0 / 8, d->m, d->o_stride, (d->n + 7) / 8);
  return area(d->o_off, d->m, d->o_stride, beta_row_bytes(o, d->n0, d->n));
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
  tile->products = (uint64_t)job->m * job->n * blocks_of(job);
  tile->beats = tile->products * (job->a.bits * job->b.bits);
  tile->a = area(d->a_off, d->m, d->a_stride, beta_row_bytes(&job->a, d->k0, d->k));
  tile->b = area(d->b_off, d->n, d->b_stride, beta_row_bytes(&job->b, d->k0, d->k));
  tile->o = output_of(d, &job->o);
  const uint32_t entries = job->table_by_row ? d->m : d->n;
  tile->table = job->table == NULL ? (struct beta_area){0} : area(d->e_off, entries, BETA_TABLE_ENTRY_BYTES, BETA_TABLE_ENTRY_BYTES);
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
  counters->rd_beats += (uint32_t)(job->m * blocks * job->a.bits + job->n * blocks * job->b.bits + divide_up(tile->table.end - tile->table.off, BETA_BEAT_BYTES));
  counters->wr_beats += (uint32_t)(job->m * divide_up(out_bytes, BETA_BEAT_BYTES));
}

static bool ranges_meet(const struct beta_area *x, const struct beta_area *y) { return x->off < y->end && y->off < x->end; }

/* Areas of one stride may lie side by side: each in what the other's pieces leave between them. */
static bool areas_meet(const struct beta_area *x, const struct beta_area *y) {
  if (!ranges_meet(x, y)) return false;
  if (x->stride != y->stride) return true;
  const bool first = x->off <= y->off;
  const uint32_t apart = (uint32_t)(first ? y->off - x->off : x->off - y->off) % x->stride;
  return (first ? x : y)->bytes > apart || apart + (uint64_t)(first ? y : x)->bytes > x->stride;
}

static void widen(struct beta_area *range, const struct beta_area *by) {
  if (by->end == 0) return;
  if (range->end == 0 || by->off < range->off) range->off = by->off;
  if (by->end > range->end) range->end = by->end;
}

static bool disturbs(const struct beta_tile *writer, const struct beta_tile *reader) {
  return areas_meet(&writer->o, &reader->a) || areas_meet(&writer->o, &reader->b) || areas_meet(&writer->o, &reader->table);
}

static bool extents_disturb(const struct beta_extent *extent, const struct beta_tile *one, const struct beta_area *reads) {
  return ranges_meet(&one->o, &extent->read) || ranges_meet(reads, &extent->written);
}

/* As a rule ranges are all that has to be compared, and of heads that write the same rows the outputs of their sequence. */
bool beta_together_take(struct beta_together *together) {
  const struct beta_tile *one = &together->tile[together->count];
  struct beta_extent *last = &together->last, *before = &together->before;
  struct beta_area reads = one->a;
  widen(&reads, &one->b);
  widen(&reads, &one->table);
  const bool disturb = extents_disturb(last, one, &reads) || extents_disturb(before, one, &reads);
  const bool back = ranges_meet(&one->o, &before->written), interleave = back || ranges_meet(&one->o, &last->written);
  if (disturb || interleave) {
    for (uint32_t i = disturb || back ? 0 : together->since; i < together->count; i++) {
      const struct beta_tile *other = &together->tile[i];
      if (areas_meet(&one->o, &other->o)) return false;
      if (disturb && (disturbs(one, other) || disturbs(other, one))) return false;
    }
  } else {
    widen(&before->read, &last->read);
    widen(&before->written, &last->written);
    *last = (struct beta_extent){0};
    together->since = together->count;
  }
  together->interleaved = together->interleaved || interleave;
  widen(&last->read, &reads);
  widen(&last->written, &one->o);
  together->count++;
  return true;
}
