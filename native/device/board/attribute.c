#include "device/board/attribute.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const char *beta_board_root(void) {
  const char *root = getenv("BETA_ROOT");
  return root == NULL ? "" : root;
}

bool beta_board_path(char path[BETA_PATH_MAX], const char *format, ...) {
  const int prefix = snprintf(path, BETA_PATH_MAX, "%s", beta_board_root());
  if (prefix < 0 || (size_t)prefix >= BETA_PATH_MAX) return false;
  va_list arguments;
  va_start(arguments, format);
  const int rest = vsnprintf(path + prefix, BETA_PATH_MAX - (size_t)prefix, format, arguments);
  va_end(arguments);
  return rest >= 0 && (size_t)rest < BETA_PATH_MAX - (size_t)prefix;
}

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

int beta_attribute_text(const char *path, char *text, size_t size) {
  char line[256];
  const int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return -errno;
  const ssize_t got = read(fd, line, sizeof line);
  const int failed = errno;
  close(fd);
  if (got < 0) return -failed;
  size_t begin = 0, end = 0;
  while (end < (size_t)got && line[end] != '\n' && line[end] != '\0') end++;
  if (end == sizeof line) return -E2BIG;
  while (begin < end && is_space(line[begin])) begin++;
  while (end > begin && is_space(line[end - 1])) end--;
  if (end - begin >= size) return -E2BIG;
  memcpy(text, line + begin, end - begin);
  text[end - begin] = '\0';
  return 0;
}

int beta_attribute_u64(const char *path, uint64_t *value) {
  char text[32];
  const int failed = beta_attribute_text(path, text, sizeof text);
  if (failed != 0) return failed;
  /* strtoull would take a sign and spaces too. */
  if (text[0] < '0' || text[0] > '9') return -EINVAL;
  char *end;
  errno = 0;
  const unsigned long long parsed = strtoull(text, &end, text[1] == 'x' || text[1] == 'X' ? 16 : 10);
  if (errno != 0 || *end != '\0') return -EINVAL;
  *value = parsed;
  return 0;
}
