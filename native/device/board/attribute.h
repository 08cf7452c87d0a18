/* Small files of sysfs, and where they are. Private to device/board. */
#ifndef BETA_BOARD_ATTRIBUTE_H
#define BETA_BOARD_ATTRIBUTE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BETA_PATH_MAX 256u

/*
 * The folder that stands in for "/" in every path of a board, from the environment's BETA_ROOT; "" without it. For tests, and for
 * looking at another system's root.
 */
const char *beta_board_root(void);

/* BETA_ROOT and the formatted path; false when it does not fit. */
__attribute__((format(printf, 2, 3))) bool beta_board_path(char path[BETA_PATH_MAX], const char *format, ...);

/* The first line of a file without spaces around it: 0 or a negative errno; -E2BIG when it does not fit. */
int beta_attribute_text(const char *path, char *text, size_t size);

/* The same as a number, decimal or with 0x; -EINVAL when it is none. */
int beta_attribute_u64(const char *path, uint64_t *value);

#endif
