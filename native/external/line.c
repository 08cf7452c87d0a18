#define _GNU_SOURCE
#include "external/line.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#define NO_INPUT UINT32_MAX

static bool fail(const char *what, const char *path) {
  fprintf(stderr, "external-engine: %s %s: %s\n", what, path, strerror(errno));
  return false;
}

bool line_open_terminal(struct line *line, const char *path) {
  *line = (struct line){.fd = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC), .unmasked = true, .input = NO_INPUT};
  if (line->fd < 0 || grantpt(line->fd) != 0 || unlockpt(line->fd) != 0) return fail("terminal for", path);
  const char *other = ptsname(line->fd);
  struct termios raw;
  /* Kept open here too: a terminal whose other end nobody has open yet reads as hung up. */
  const int slave = other == NULL ? -1 : open(other, O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (slave < 0 || tcgetattr(slave, &raw) != 0) return fail("terminal for", path);
  cfmakeraw(&raw);
  if (tcsetattr(slave, TCSANOW, &raw) != 0) return fail("terminal for", path);
  if (unlink(path) != 0 && errno != ENOENT) return fail("link", path);
  return symlink(other, path) == 0 ? true : fail("link", path);
}

bool line_open_qtest(struct line *line, const char *path, uint32_t input) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  *line = (struct line){.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0), .input = input};
  if (strlen(path) >= sizeof address.sun_path) {
    errno = ENAMETOOLONG;
    return fail("qtest socket", path);
  }
  memcpy(address.sun_path, path, strlen(path) + 1);
  if (line->fd < 0 || connect(line->fd, (struct sockaddr *)&address, sizeof address) != 0) return fail("qtest socket", path);
  return true;
}

/* uio_pdrv_genirq's handler: masks the line and counts. */
static bool drive_terminal(struct line *line) {
  uint32_t word;
  ssize_t got;
  while ((got = read(line->fd, &word, sizeof word)) == sizeof word) line->unmasked = word == 1;
  if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) return false;
  if (!line->level || !line->unmasked) return true;
  line->unmasked = false;
  line->count++;
  return write(line->fd, &line->count, sizeof line->count) == sizeof line->count;
}

/* A command and its answer, "OK". */
static bool drive_qtest(struct line *line) {
  char text[128];
  const int length = snprintf(text, sizeof text, "set_irq_in /machine/soc/gic unnamed-gpio-in %u %d\n", (unsigned)line->input,
                              line->level ? 1 : 0);
  if (send(line->fd, text, (size_t)length, MSG_NOSIGNAL) != length) return false;
  size_t used = 0;
  while (used + 1 < sizeof text) {
    struct pollfd file = {.fd = line->fd, .events = POLLIN};
    if (poll(&file, 1, 10000) != 1) return false;
    const ssize_t got = recv(line->fd, text + used, 1, 0);
    if (got != 1) return false;
    if (text[used++] == '\n') break;
  }
  text[used] = '\0';
  if (strncmp(text, "OK", 2) == 0) return true;
  fprintf(stderr, "external-engine: qtest answered \"%s\"\n", text);
  return false;
}

bool line_drive(struct line *line, bool level) {
  const bool changed = level != line->level;
  line->level = level;
  if (line->input == NO_INPUT) return drive_terminal(line);
  return !changed || drive_qtest(line);
}
