/* From the caller's arrays to a checked copy of them. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "device/error.h"
#include "program/program.h"
#include "vector/vector.h"

_Static_assert(sizeof(beta_operation) == BETA_OPERATION_WORDS * 4, "an operation is its words");
_Static_assert(sizeof(beta_run) == 64, "the TypeScript side lays the same 64 bytes out");

/* What the operations before one have done. */
struct progress {
  uint32_t submitted, waited;
};

/* `first`... of what comes next: operations take everything, in order. */
static int is_next(uint32_t first, uint32_t count, uint32_t done, uint32_t all) {
  return first == done && count > 0 && count <= all - done;
}

static int operation_valid(const beta_program *program, const beta_operation *o, struct progress *at, uint32_t *ran) {
  if (o->zero != 0) return 0;
  switch (o->kind) {
    case BETA_OPERATION_SUBMIT:
      if (!is_next(o->first, o->count, at->submitted, program->descriptor_count)) return 0;
      at->submitted += o->count;
      return 1;
    case BETA_OPERATION_WAIT:
      if (o->first > at->submitted || o->count != 0) return 0;
      if (o->first > at->waited) at->waited = o->first;
      return 1;
    case BETA_OPERATION_VECTOR: {
      uint32_t failed;
      if (!is_next(o->first, o->count, *ran, program->record_count)) return 0;
      *ran += o->count;
      return beta_operation_check(program->window_bytes, program->records + (size_t)o->first * BETA_STEP_BYTES, o->count, &failed) == 0;
    }
    case BETA_OPERATION_SYNC_FOR_DEVICE:
    case BETA_OPERATION_SYNC_FOR_CPU: return (uint64_t)o->first + o->count <= program->window_bytes;
    default: return 0;
  }
}

static int check(const beta_program *program) {
  struct progress at = {0, 0};
  uint32_t ran = 0;
  for (uint32_t i = 0; i < program->operation_count; i++) {
    const beta_operation *o = &program->operations[i];
    if (operation_valid(program, o, &at, &ran)) continue;
    return beta_fail(-EINVAL, "operation %u of the program (%u: %u, %u) is malformed, out of order, or reaches outside the window", i,
                     o->kind, o->first, o->count);
  }
  if (at.submitted == program->descriptor_count && at.waited == at.submitted && ran == program->record_count) return 0;
  return beta_fail(-EINVAL, "the program ends with %u of %u descriptors submitted, %u complete, and %u of %u records run", at.submitted,
                   program->descriptor_count, at.waited, ran, program->record_count);
}

void beta_program_free(beta_program *program) { free(program); }

int beta_program_load(uint64_t window_bytes, const void *descriptors, uint32_t descriptor_count, const void *records,
                      uint32_t record_count, const void *operations, uint32_t operation_count, beta_program **loaded) {
  *loaded = NULL;
  const size_t descriptor_bytes = (size_t)descriptor_count * sizeof(beta_descriptor);
  const size_t record_bytes = (size_t)record_count * BETA_STEP_BYTES;
  const size_t operation_bytes = (size_t)operation_count * sizeof(beta_operation);
  /* One piece of memory, aligned for all three; the sizes are multiples of the next one's alignment. */
  beta_program *program = malloc(sizeof *program + descriptor_bytes + record_bytes + operation_bytes);
  if (program == NULL) return beta_fail(-ENOMEM, "no memory for a program of %u operations", operation_count);
  uint8_t *at = (uint8_t *)(program + 1);
  *program = (beta_program){
      .window_bytes = window_bytes,
      .descriptor_count = descriptor_count,
      .record_count = record_count,
      .operation_count = operation_count,
      .descriptors = (beta_descriptor *)(void *)at,
      .records = at + descriptor_bytes,
      .operations = (beta_operation *)(void *)(at + descriptor_bytes + record_bytes),
  };
  if (descriptor_bytes > 0) memcpy(program->descriptors, descriptors, descriptor_bytes);
  if (record_bytes > 0) memcpy(program->records, records, record_bytes);
  if (operation_bytes > 0) memcpy(program->operations, operations, operation_bytes);
  const int refused = check(program);
  if (refused != 0) {
    free(program);
    return refused;
  }
  *loaded = program;
  return 0;
}
