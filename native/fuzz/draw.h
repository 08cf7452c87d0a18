/* Random descriptors: valid ones of every kind, and mutations. From a seed alone, so that a case can be drawn again. */
#ifndef BETA_FUZZ_DRAW_H
#define BETA_FUZZ_DRAW_H

#include "fuzz/bed.h"

struct draw {
  uint64_t state;
  /* Where operands and outputs may lie, behind the ring. */
  uint32_t begin, end;
  /* Multiplications that one product may ask for: the oracle is slow. */
  uint64_t work;
  /* The last descriptor, to share operands and output blocks with. */
  uint8_t last[NAIVE_DESCRIPTOR_BYTES];
};

/* 0 <= result < bound; bound >= 1. */
uint32_t draw_below(struct draw *draw, uint32_t bound);

/* A valid descriptor whose output overlaps none of its operands. */
void draw_valid(struct draw *draw, uint8_t *descriptor);

/* Overwrites one to three fields, with numbers from the edges or from anywhere. */
void draw_mutation(struct draw *draw, uint32_t window_bytes, uint8_t *descriptor);

/* A configuration, accepted or not. */
struct naive_config draw_config(struct draw *draw, const struct bed *bed, bool accepted);

/*
 * Whether a valid descriptor has a result that the contract defines, and a size that the oracle finishes: its output overlaps
 * neither its operands nor the ring [ring, ring_end).
 */
bool is_runnable(const uint8_t *descriptor, uint32_t ring, uint32_t ring_end, uint64_t work);

/* Little-endian fields of a descriptor by their offset. */
uint32_t get_field(const uint8_t *descriptor, uint32_t offset);
void put_field(uint8_t *descriptor, uint32_t offset, uint32_t value);

#endif
