#define _GNU_SOURCE
#include "device/emulator/held.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "beta_contract.h"

#define ENTRIES 4096u
#define BYTES_MAX ((size_t)256 << 20)
#define PENDING_MAX 256u /* announcements between two descriptors before they are merged into one range */
#define RANGES_MAX 256u  /* lasting ranges that are remembered apart */
#define RANGE_MIN 4096u  /* what is left of one that is cut, if it is to be remembered: no operand worth keeping is as small */
#define ALIGN 64u
#define BUCKETS 1024u    /* of keys, and of units of 64 KiB of the window */
#define NONE UINT16_MAX

struct range {
  uint64_t begin, end;
};

struct pending {
  struct range range;
  bool lasting;
};

struct beta_held {
  /* Entries; begin and end apart, because every output is compared with all of them. */
  uint32_t count;
  uint32_t begin[ENTRIES], last[ENTRIES]; /* first and last byte of the window that the panel was made of */
  struct beta_held_key key[ENTRIES];
  uint8_t *bytes[ENTRIES]; /* NULL: seen once, not kept */
  size_t size[ENTRIES];
  size_t total;
  /* Entries whose keys are of one bucket, as a list; how many entries lie in a unit of a bucket. */
  uint16_t first[BUCKETS], next[ENTRIES];
  uint32_t touching[BUCKETS];

  /* Disjoint ranges that the host has announced to last, and that nobody has written to since; the engine thread's copy. */
  struct range lasting[RANGES_MAX];
  uint32_t lasting_count;

  _Atomic bool has_pending;
  pthread_mutex_t lock; /* guards what follows */
  struct pending pending[PENDING_MAX];
  uint32_t pending_count;
};

struct beta_held *beta_held_open(void) {
  struct beta_held *held = calloc(1, sizeof *held);
  if (held == NULL) return NULL;
  for (uint32_t i = 0; i < BUCKETS; i++) held->first[i] = NONE;
  pthread_mutex_init(&held->lock, NULL);
  return held;
}

void beta_held_close(struct beta_held *held) {
  for (uint32_t i = 0; i < held->count; i++) free(held->bytes[i]);
  pthread_mutex_destroy(&held->lock);
  free(held);
}

static void widen(struct range *range, struct range by) {
  if (by.begin < range->begin) range->begin = by.begin;
  if (by.end > range->end) range->end = by.end;
}

void beta_held_announce(struct beta_held *held, uint32_t off, uint32_t bytes, bool lasting) {
  if (bytes == 0) return;
  const struct range range = {off, (uint64_t)off + bytes};
  pthread_mutex_lock(&held->lock);
  struct pending *last = held->pending_count == 0 ? NULL : &held->pending[held->pending_count - 1];
  if (last != NULL && last->lasting == lasting && range.begin <= last->range.end && range.end >= last->range.begin) {
    widen(&last->range, range);
  } else if (held->pending_count < PENDING_MAX) {
    held->pending[held->pending_count++] = (struct pending){range, lasting};
  } else {
    /* Too many to tell apart. Invalidating more than was written is right; what lasts is not told then: see refresh(). */
    widen(&last->range, range);
  }
  atomic_store(&held->has_pending, true);
  pthread_mutex_unlock(&held->lock);
}

/* Two heads of attention that share their blocks differ in k0 alone. */
static uint32_t bucket_of(const struct beta_held_key *key) {
  return (key->off / BETA_BEAT_BYTES + key->k0 * UINT32_C(0x9E37)) * UINT32_C(2654435761) >> 22;
}
static uint32_t unit_of(uint32_t byte) { return byte / BETA_WINDOW_ALIGN; }

static void link_entry(struct beta_held *held, uint32_t index) {
  uint16_t *first = &held->first[bucket_of(&held->key[index])];
  held->next[index] = *first;
  *first = (uint16_t)index;
}

static void unlink_entry(struct beta_held *held, uint32_t index) {
  uint16_t *at = &held->first[bucket_of(&held->key[index])];
  while (*at != index) at = &held->next[*at];
  *at = held->next[index];
}

/* Counts an entry in (1) or out (-1). */
static void count_units(struct beta_held *held, uint32_t index, int by) {
  const uint32_t last = unit_of(held->last[index]);
  for (uint32_t unit = unit_of(held->begin[index]); unit <= last; unit++) held->touching[unit % BUCKETS] += (uint32_t)by;
}

static bool may_touch(const struct beta_held *held, uint32_t first, uint32_t last) {
  for (uint32_t unit = unit_of(first); unit <= unit_of(last); unit++) {
    if (held->touching[unit % BUCKETS] != 0) return true;
  }
  return false;
}

static void drop(struct beta_held *held, uint32_t index) {
  count_units(held, index, -1);
  unlink_entry(held, index);
  free(held->bytes[index]);
  if (held->bytes[index] != NULL) held->total -= held->size[index];
  const uint32_t end = --held->count;
  if (index == end) return;
  unlink_entry(held, end);
  held->begin[index] = held->begin[end];
  held->last[index] = held->last[end];
  held->key[index] = held->key[end];
  held->bytes[index] = held->bytes[end];
  held->size[index] = held->size[end];
  link_entry(held, index);
}

/* Drops the entries that lie in [off, end). */
static void invalidate(struct beta_held *held, uint64_t off, uint64_t end) {
  const uint32_t first = (uint32_t)off, last = (uint32_t)(end - 1);
  if (!may_touch(held, first, last)) return;
  /* Most outputs touch no kept operand: one pass that compilers turn into vector code says so. */
  uint32_t touched = 0;
  for (uint32_t i = 0; i < held->count; i++) touched |= (held->begin[i] <= last) & (held->last[i] >= first);
  if (touched == 0) return;
  for (uint32_t i = held->count; i-- > 0;) {
    if (held->begin[i] <= last && held->last[i] >= first) drop(held, i);
  }
}

/* A range that finds no place is forgotten: slower, never wrong. */
static void remember(struct beta_held *held, struct range range) {
  if (held->lasting_count < RANGES_MAX) held->lasting[held->lasting_count++] = range;
}

/* Adds a range to the lasting ones, joining those it meets. */
static void join(struct beta_held *held, struct range range) {
  for (uint32_t i = held->lasting_count; i-- > 0;) {
    if (held->lasting[i].begin > range.end || held->lasting[i].end < range.begin) continue;
    widen(&range, held->lasting[i]);
    held->lasting[i] = held->lasting[--held->lasting_count];
  }
  remember(held, range);
}

/* Takes a range away from the lasting ones. */
static void cut(struct beta_held *held, struct range range) {
  for (uint32_t i = held->lasting_count; i-- > 0;) {
    const struct range one = held->lasting[i];
    if (one.begin >= range.end || one.end <= range.begin) continue;
    held->lasting[i] = held->lasting[--held->lasting_count];
    if (range.begin >= one.begin + RANGE_MIN) remember(held, (struct range){one.begin, range.begin});
    if (one.end >= range.end + RANGE_MIN) remember(held, (struct range){range.end, one.end});
  }
}

void beta_held_overwrite(struct beta_held *held, uint64_t off, uint64_t end) {
  invalidate(held, off, end);
  cut(held, (struct range){off, end});
}

void beta_held_refresh(struct beta_held *held) {
  if (!atomic_load(&held->has_pending)) return;
  pthread_mutex_lock(&held->lock);
  const bool merged = held->pending_count == PENDING_MAX; /* the last range may cover bytes that nobody announced */
  for (uint32_t i = 0; i < held->pending_count; i++) {
    const struct pending *pending = &held->pending[i];
    invalidate(held, pending->range.begin, pending->range.end);
    if (merged && i + 1 == held->pending_count) continue;
    if (pending->lasting) join(held, pending->range);
    else cut(held, pending->range);
  }
  held->pending_count = 0;
  atomic_store(&held->has_pending, false);
  pthread_mutex_unlock(&held->lock);
}

bool beta_held_lasts(const struct beta_held *held, uint64_t begin, uint64_t end) {
  for (uint32_t i = 0; i < held->lasting_count; i++) {
    if (held->lasting[i].begin <= begin && end <= held->lasting[i].end) return true;
  }
  return false;
}

/* The entry of a key, or the one behind the last. */
static uint32_t index_of(const struct beta_held *held, const struct beta_held_key *key) {
  uint32_t i = held->first[bucket_of(key)];
  while (i != NONE && memcmp(&held->key[i], key, sizeof *key) != 0) i = held->next[i];
  return i == NONE ? held->count : i;
}

const uint8_t *beta_held_find(struct beta_held *held, const struct beta_held_key *key, size_t bytes, uint8_t **room) {
  *room = NULL;
  const uint64_t end = key->off + (uint64_t)(key->rows - 1) * key->stride + key->row_bytes;
  if (!beta_held_lasts(held, key->off, end)) return NULL;
  const uint32_t index = index_of(held, key);
  if (index < held->count && held->bytes[index] != NULL) return held->bytes[index];
  if (index == held->count) { /* the first use: operands that are used once are not worth their memory */
    if (held->count == ENTRIES) return NULL;
    held->begin[index] = key->off;
    held->last[index] = (uint32_t)(end - 1);
    held->key[index] = *key;
    held->bytes[index] = NULL;
    held->size[index] = bytes;
    held->count++;
    count_units(held, index, 1);
    link_entry(held, index);
    return NULL;
  }
  if (held->total + bytes > BYTES_MAX) return NULL;
  held->bytes[index] = aligned_alloc(ALIGN, (bytes + ALIGN - 1) / ALIGN * ALIGN);
  if (held->bytes[index] == NULL) return NULL;
  held->size[index] = bytes;
  held->total += bytes;
  *room = held->bytes[index];
  return NULL;
}
