/*
 * external-engine: the emulator as a device in a process of its own, over a register page and a window in files that it shares with the
 * host. For tests of the board's driver on a machine without a board, and for a QEMU machine whose memory is such a file.
 *
 * Ends when its standard input does, so that it never outlives whoever started it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "device/emulator/emulator.h"
#include "external/line.h"
#include "external/mirror.h"

#define USAGE                                                                                                                    \
  "usage: external-engine PAGE@OFFSET WINDOW@OFFSET BYTES BUS LINE [OPTIONS]\n"                                                  \
  "  PAGE    file with the register page, at an offset (numbers may begin with 0x)\n"                                            \
  "  WINDOW  file with the window of BYTES; it may be the same\n"                                                                \
  "  BUS     the window's address on the host's bus\n"                                                                           \
  "  LINE    terminal:PATH for a link to a terminal in place of /dev/uioN, or qtest:SOCKET:INPUT\n"                              \
  "  OPTIONS of the emulator (\"?threads=2\": nobody waits on it here, so it needs a thread of its own)\n"

/* Turns that look without a pause before the mirror begins to sleep between them, and how long it sleeps then. */
#define BUSY_TURNS 2000u
#define PAUSE_NS 20000

static uint64_t number(const char *text) {
  char *end;
  errno = 0;
  const unsigned long long value = strtoull(text, &end, 0);
  if (errno == 0 && *text != '\0' && *text != '-' && *end == '\0') return value;
  fprintf(stderr, "external-engine: \"%s\" is no number\n%s", text, USAGE);
  exit(2);
}

/* `where` is FILE@OFFSET. */
static void *map(char *where, uint64_t bytes) {
  char *at = strrchr(where, '@');
  if (at == NULL) {
    fprintf(stderr, "external-engine: \"%s\" has no @OFFSET\n%s", where, USAGE);
    exit(2);
  }
  *at = '\0';
  const char *path = where;
  const uint64_t offset = number(at + 1);
  const int fd = open(path, O_RDWR | O_CLOEXEC);
  void *memory = fd < 0 ? MAP_FAILED : mmap(NULL, (size_t)bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)offset);
  if (memory == MAP_FAILED) {
    fprintf(stderr, "external-engine: %s: 0x%llx bytes at 0x%llx: %s\n", path, (unsigned long long)bytes, (unsigned long long)offset,
            strerror(errno));
    exit(1);
  }
  close(fd);
  return memory;
}

static bool open_line(struct line *line, char *where) {
  if (strncmp(where, "terminal:", 9) == 0) return line_open_terminal(line, where + 9);
  char *colon = strrchr(where, ':');
  if (strncmp(where, "qtest:", 6) == 0 && colon > where + 6) {
    *colon = '\0';
    return line_open_qtest(line, where + 6, (uint32_t)number(colon + 1));
  }
  fprintf(stderr, "external-engine: \"%s\" is no line\n%s", where, USAGE);
  exit(2);
}

static bool input_ended(void) {
  struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
  char ignored[64];
  return poll(&input, 1, 0) == 1 && read(STDIN_FILENO, ignored, sizeof ignored) == 0;
}

int main(int argc, char **argv) {
  if (argc < 6 || argc > 7) {
    fputs(USAGE, stderr);
    return 2;
  }
  const uint64_t bytes = number(argv[3]);
  void *page = map(argv[1], BETA_REGISTER_SPACE);
  void *window = map(argv[2], bytes);
  struct line line;
  if (!open_line(&line, argv[5])) return 1;
  beta_device *engine;
  if (beta_emulator_open_over(argc == 7 ? argv[6] : "?threads=2", window, bytes, number(argv[4]), &engine) != 0) {
    fprintf(stderr, "external-engine: %s\n", beta_error());
    return 1;
  }
  static struct mirror mirror;
  mirror_open(&mirror, engine, page);
  puts("ready");
  fflush(stdout);
  uint32_t quiet = 0;
  for (;;) {
    const bool changed = mirror_turn(&mirror);
    const bool was = line.level;
    if (!line_drive(&line, mirror_irq(&mirror))) break; /* the other end is gone */
    quiet = changed || line.level != was ? 0 : quiet + 1;
    if (quiet < BUSY_TURNS) continue;
    if (input_ended()) break;
    nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
  }
  beta_close(engine);
  return 0;
}
