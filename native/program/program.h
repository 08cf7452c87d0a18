/*
 * A program: descriptors, vector step records, and the operations that order them (vector/steps.yaml, enum operation). Private to
 * program/. It is a copy, checked whole when it is loaded (load.c), so nothing is left to check when it runs (run.c) but what
 * changes with every input. It belongs to no device: any device whose window is as large can run it.
 */
#ifndef BETA_PROGRAM_H
#define BETA_PROGRAM_H

#include <stdint.h>

#include "beta.h"
#include "vector/steps.h"

typedef struct beta_operation {
  uint32_t kind;
  uint32_t first; /* first, count, or off */
  uint32_t count; /* count, or bytes */
  uint32_t zero;
} beta_operation;

struct beta_program {
  uint64_t window_bytes; /* that the records and the ranges were checked for */
  uint32_t descriptor_count, record_count, operation_count;
  beta_descriptor *descriptors;
  uint8_t *records;
  beta_operation *operations;
};

#endif
