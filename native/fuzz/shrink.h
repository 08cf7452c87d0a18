/* From a stream that fails to a small one that still does. */
#ifndef BETA_FUZZ_SHRINK_H
#define BETA_FUZZ_SHRINK_H

#include "fuzz/bed.h"

/*
 * Shrinks the last stream of `bed`, which has just failed, and prints what is left: fields, and what differs. Says so where it fails only
 * after what came before it (what a kernel has kept).
 */
void shrink_and_print(const struct bed *bed, const struct bed_stream *stream, uint32_t head, uint64_t work);

#endif
