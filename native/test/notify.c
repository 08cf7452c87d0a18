/* What the service manager hears, and what happens when there is none. */
#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "test/support.h"

static int listen_at(const char *path, const char *variable) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  const size_t length = strlen(variable);
  memcpy(address.sun_path, variable, length);
  if (*variable == '@') address.sun_path[0] = '\0';
  const int fd = socket(AF_UNIX, SOCK_DGRAM, 0);
  const socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + (*variable == '@' ? 0 : 1));
  if (*variable == '/') unlink(path);
  check(bind(fd, (struct sockaddr *)&address, size) == 0, "a manager listens at %s", variable);
  setenv("NOTIFY_SOCKET", variable, 1);
  return fd;
}

static void hears(int fd) {
  char text[64];
  check(beta_notify("READY=1\nSTATUS=x") == 0, "it is told");
  const ssize_t got = recv(fd, text, sizeof text, MSG_DONTWAIT);
  check(got == 16 && memcmp(text, "READY=1\nSTATUS=x", 16) == 0, "and hears exactly that");
}

int main(void) {
  unsetenv("NOTIFY_SOCKET");
  check(beta_notify("READY=1") == 1, "no manager is no error");
  setenv("NOTIFY_SOCKET", "relative", 1);
  check(beta_notify("READY=1") == -EINVAL, "a relative path is refused: %s", beta_error());
  char path[64], name[64];
  snprintf(path, sizeof path, "/tmp/beta-notify-%d", (int)getpid());
  int fd = listen_at(path, path);
  hears(fd);
  close(fd);
  check(beta_notify("READY=1") == -ECONNREFUSED, "one that is gone is an error: %s", beta_error());
  unlink(path);
  snprintf(name, sizeof name, "@beta-notify-%d", (int)getpid());
  fd = listen_at(path, name);
  hears(fd);
  close(fd);
  return finish();
}
