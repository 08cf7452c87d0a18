#include "device/emulator/sheets.h"

#include <stddef.h>
#include <string.h>

#define UNITS_MAX (UINT32_C(1) << 31)

static struct beta_held_key key_of(const uint8_t *window, const beta_blocks *blocks, uint32_t panel) {
  const beta_matrix *held = &blocks->pair.held;
  const uint64_t first = beta_panel_first(blocks, panel);
  struct beta_held_key key;
  memset(&key, 0, sizeof key);
  key.method = blocks->method;
  key.off = (uint32_t)((uint64_t)(held->row0 - window) + first * held->stride);
  key.stride = (uint32_t)held->stride;
  key.rows = beta_panel_count(blocks, panel);
  key.format = held->bits | held->encoding << 8;
  key.other_format = blocks->pair.streamed.bits | blocks->pair.streamed.encoding << 8;
  key.k0 = blocks->pair.k0;
  key.k = blocks->pair.k;
  key.row_bytes = beta_row_bytes(held, blocks->pair.k0, blocks->pair.k);
  return key;
}

/* A panel that is kept, laid out if it was not; or NULL. */
static const uint8_t *keep(const struct beta_resources *resources, const beta_blocks *blocks, uint32_t panel) {
  const struct beta_held_key key = key_of(resources->window, blocks, panel);
  uint8_t *room;
  const uint8_t *kept = beta_held_find(resources->held, &key, beta_panel_bytes(blocks, panel), &room);
  if (kept != NULL || room == NULL) return kept;
  beta_hold_panel(blocks, panel, room);
  return room;
}

/* Tables that are worth looking up what was found in them: to read one whole takes as long as memory does. */
#define LONG_TABLE 256u
static const char epilogue_key; /* in place of a method */

/* What the epilogue knows of its table, kept as panels are. */
static struct beta_epilogue epilogue_of(const struct beta_resources *resources, const beta_qmm *job) {
  struct beta_epilogue epilogue;
  const uint32_t entries = job->table_by_row ? job->m : job->n;
  uint8_t *room = NULL;
  if (job->table != NULL && entries >= LONG_TABLE) {
    struct beta_held_key key;
    memset(&key, 0, sizeof key);
    key.method = &epilogue_key;
    key.off = (uint32_t)(job->table - resources->window);
    key.stride = key.row_bytes = BETA_TABLE_ENTRY_BYTES;
    key.rows = entries;
    key.format = job->o.bits;
    const uint8_t *kept = beta_held_find(resources->held, &key, sizeof epilogue, &room);
    if (kept != NULL) return *(const struct beta_epilogue *)(const void *)kept;
  }
  beta_epilogue_prepare(&epilogue, job);
  if (room != NULL) memcpy(room, &epilogue, sizeof epilogue);
  return epilogue;
}

void beta_sheets_clear(struct beta_sheets *sheets) { sheets->tile = sheets->panel = 0; }

/* Units of a sheet that are dealt in deal d. */
static uint32_t dealt(const struct beta_sheets *sheets, const struct beta_sheet *sheet, uint32_t deal) {
  return sheets->deals == 1 ? sheet->blocks->units * deal : (uint32_t)((uint64_t)sheet->blocks->units * deal / sheets->deals);
}

/*
 * Numbers the units. Rows that one thread computes should be those that it computes everywhere else, and no two threads should write into the
 * same lines: so every sheet is dealt out, a part to each seat. Only where panels would be laid out by every
 * thread for it, sheets are dealt whole, unless outputs lie side by side in the same rows.
 */
static void deal(struct beta_sheets *sheets, bool interleaved, uint32_t *ends) {
  struct beta_pool *pool = sheets->resources->pool;
  const uint32_t threads = beta_pool_threads(pool);
  bool kept = true;
  for (uint32_t s = 0; s < sheets->count; s++) kept = kept && sheets->sheet[s].kept != NULL;
  sheets->deals = kept || interleaved || sheets->count < threads ? threads : 1;
  uint32_t units = 0;
  for (uint32_t d = 0; d < sheets->deals; d++) {
    for (uint32_t s = 0; s < sheets->count; s++) {
      sheets->first[d][s] = units;
      units += dealt(sheets, &sheets->sheet[s], d + 1) - dealt(sheets, &sheets->sheet[s], d);
    }
    ends[d] = units;
  }
  if (sheets->deals == threads) return;
  beta_pool_share(pool, units, ends);
}

bool beta_sheets_next(struct beta_sheets *sheets, const struct beta_together *together, uint32_t *ends) {
  struct beta_resources *resources = sheets->resources;
  const uint32_t threads = beta_pool_threads(resources->pool);
  uint64_t units = 0;
  sheets->serial += sheets->count; /* panels that were laid out for its sheets are nobody else's */
  sheets->count = 0;
  for (beta_blocks *blocks = sheets->blocks; sheets->count < BETA_SHEETS_MAX && sheets->tile < together->count;) {
    const beta_qmm *job = &together->tile[sheets->tile].job;
    if (sheets->panel == 0 || sheets->count == 0) {
      const struct beta_epilogue epilogue = epilogue_of(resources, job);
      beta_blocks_cut(blocks, resources->kernel, job, &epilogue, threads);
    }
    if (sheets->count > 0 && units + blocks->units > UNITS_MAX) break;
    units += blocks->units;
    sheets->sheet[sheets->count++] = (struct beta_sheet){blocks, keep(resources, blocks, sheets->panel), sheets->panel};
    if (++sheets->panel < blocks->panels) continue;
    sheets->panel = 0;
    sheets->tile++;
    blocks++;
  }
  if (sheets->count == 0) return false;
  deal(sheets, together->interleaved, ends);
  return true;
}

/*
 * Asks for the rows of a small operand before they are needed. Another core has written half of them, as a rule, and rows that lie apart come one
 * after another otherwise, each as late as from memory.
 */
#define FETCHED_LINES 512u
static void fetch_rows(const beta_matrix *matrix, uint32_t k0, uint32_t k, uint32_t first, uint32_t end) {
  const uint32_t bytes = beta_row_bytes(matrix, k0, k), lines = (bytes + BETA_CACHE_LINE - 1) / BETA_CACHE_LINE;
  if (first >= end || (uint64_t)(end - first) * lines > FETCHED_LINES) return;
  for (uint32_t row = first; row < end; row++) beta_fetch(matrix->row0 + row * matrix->stride, bytes, BETA_TO_READ);
}

/* The operands of what deal d has of sheet s, if its panel has to be laid out. */
static void fetch_sheet(const struct beta_sheets *sheets, uint32_t d, uint32_t s) {
  if (s >= sheets->count || sheets->sheet[s].kept != NULL || beta_pool_threads(sheets->resources->pool) == 1) return;
  const struct beta_sheet *sheet = &sheets->sheet[s];
  const beta_blocks *blocks = sheet->blocks;
  const beta_pair *pair = &blocks->pair;
  const uint32_t begin = dealt(sheets, sheet, d), end = dealt(sheets, sheet, d + 1), held = beta_panel_first(blocks, sheet->panel);
  if (begin == end) return;
  const uint32_t from = beta_strip_of(blocks, begin) * blocks->strip_rows, to = (beta_strip_of(blocks, end - 1) + 1) * blocks->strip_rows;
  fetch_rows(&pair->held, pair->k0, pair->k, held, held + beta_panel_count(blocks, sheet->panel));
  fetch_rows(&pair->streamed, pair->k0, pair->k, from, to < blocks->streamed_rows ? to : blocks->streamed_rows);
}

/* The panel of sheet s, which the thread lays out for itself where it is not kept. */
static const uint8_t *panel_of(const struct beta_sheets *sheets, uint32_t d, uint32_t s, struct beta_place *place) {
  const struct beta_sheet *sheet = &sheets->sheet[s];
  if (sheet->kept != NULL) return sheet->kept;
  if (place->laid == sheets->serial + s) return place->panel;
  if (place->laid < sheets->serial) fetch_sheet(sheets, d, s);
  fetch_sheet(sheets, d, s + 1);
  beta_hold_panel(sheet->blocks, sheet->panel, place->panel);
  place->laid = sheets->serial + s;
  return place->panel;
}

#define FETCHED_SHEETS 3u
void beta_sheets_fetch(const struct beta_sheets *sheets, enum beta_intent intent) {
  beta_fetch(sheets, offsetof(struct beta_sheets, sheet) + FETCHED_SHEETS * sizeof *sheets->sheet, intent);
  beta_fetch(sheets->first[0], FETCHED_SHEETS * sizeof **sheets->first, intent);
  beta_fetch(sheets->first[1], FETCHED_SHEETS * sizeof **sheets->first, intent);
  beta_fetch(sheets->blocks, FETCHED_SHEETS * sizeof *sheets->blocks, intent);
}

void beta_sheets_run(struct beta_sheets *sheets, uint32_t unit, uint32_t seat) {
  uint32_t d = 0, s = 0;
  while (d + 1 < sheets->deals && unit >= sheets->first[d + 1][0]) d++;
  while (s + 1 < sheets->count && unit >= sheets->first[d][s + 1]) s++;
  const struct beta_sheet *sheet = &sheets->sheet[s];
  struct beta_place *place = &sheets->resources->place[seat];
  const uint8_t *panel = panel_of(sheets, d, s, place);
  const uint32_t own = dealt(sheets, sheet, d) + unit - sheets->first[d][s], strip = beta_strip_of(sheet->blocks, own);
  beta_run_unit(sheet->blocks, sheet->panel, own, panel, place->scratch, place->ran == sheets->serial + s && place->strip == strip);
  place->ran = sheets->serial + s;
  place->strip = strip;
}
