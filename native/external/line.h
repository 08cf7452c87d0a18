/* Where the interrupt of an external engine goes. */
#ifndef BETA_EXTERNAL_LINE_H
#define BETA_EXTERNAL_LINE_H

#include <stdbool.h>
#include <stdint.h>

struct line {
  int fd;
  bool level;    /* as the engine drives it */
  bool unmasked; /* terminal: as uio_pdrv_genirq keeps it */
  uint32_t count;
  uint32_t input; /* qtest: the interrupt controller's input */
};

/*
 * A terminal in place of /dev/uioN: behaves like uio_pdrv_genirq at its other end. Each interrupt is masked and adds to a total, which is
 * written; reading 1 unmasks. `path` becomes a link to the other end. False with a message on stderr.
 */
bool line_open_terminal(struct line *line, const char *path);

/* The line `input` of the interrupt controller of a QEMU machine, driven through its qtest socket. */
bool line_open_qtest(struct line *line, const char *path, uint32_t input);

/* Drives the line, and looks after the other end. False when it is gone. */
bool line_drive(struct line *line, bool level);

#endif
