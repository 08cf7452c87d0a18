/* sd_notify: a datagram to the service manager, which JavaScript cannot send on a Unix socket. */
#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "beta.h"
#include "device/error.h"

int beta_notify(const char *state) {
  const char *path = getenv("NOTIFY_SOCKET");
  if (path == NULL || *path == '\0') return 1;
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  const size_t length = strlen(path);
  if ((*path != '/' && *path != '@') || length >= sizeof address.sun_path) {
    return beta_fail(-EINVAL, "NOTIFY_SOCKET is \"%.100s\", neither a path nor an abstract name", path);
  }
  memcpy(address.sun_path, path, length);
  if (*path == '@') address.sun_path[0] = '\0'; /* an abstract name has no end but its length */
  const socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (*path == '/' ? 1 : 0));
  const int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return beta_fail(-errno, "no socket to notify the service manager with (%s)", strerror(errno));
  const ssize_t sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, size);
  const int failed = errno;
  close(fd);
  return sent >= 0 ? 0 : beta_fail(-failed, "the service manager at %.100s cannot be notified (%s)", path, strerror(failed));
}
