/*
 * beta-loader: the one part that needs root, and does nothing else: it applies and removes the device-tree overlay of a bitstream
 * package, by which the kernel loads the bitstream. Takes a package's name, never a path; what it loads belongs to root.
 *
 *   beta-loader load NAME [axi-timeout] | unload NAME
 *   beta-loader socket        reads one such line from standard input, for a systemd socket with Accept=yes
 *
 * Answers one line: "ok", or "error" and why.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "loader/axi_timeout.h"

#define OVERLAYS "/sys/kernel/config/device-tree/overlays"
#define PACKAGES "/lib/firmware/xilinx"
#define NAME_MAX_LENGTH 63u
#define OVERLAY_MAX_BYTES (1u << 20)
#define APPLY_TIMEOUT_MS 10000
#define REQUEST_TIMEOUT_MS 5000

static char path[PATH_MAX];

/* One line to whoever asked; false, so that a failure is one statement. */
__attribute__((format(printf, 1, 2))) static bool fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("error: ", stdout);
  vprintf(format, arguments);
  putchar('\n');
  va_end(arguments);
  return false;
}

/* Under BETA_ROOT, for tests, nothing is the system's. */
static const char *root(void) {
  const char *from = getenv("BETA_ROOT");
  return from == NULL ? "" : from;
}

__attribute__((format(printf, 1, 2))) static const char *in_root(const char *format, ...) {
  const int prefix = snprintf(path, sizeof path / 2, "%.2000s", root());
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(path + prefix, sizeof path - (size_t)prefix, format, arguments);
  va_end(arguments);
  return path;
}

static bool is_name(const char *name) {
  const size_t length = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_");
  return length > 0 && length <= NAME_MAX_LENGTH && name[length] == '\0' && name[0] != '-' && name[0] != '_';
}

/* Only root may have put it there: what is loaded can reach all of memory. */
static bool is_trusted(const struct stat *info) {
  return *root() != '\0' || (info->st_uid == 0 && (info->st_mode & (S_IWGRP | S_IWOTH)) == 0);
}

/* The overlay of a package, read whole; NULL after a failure. */
static uint8_t *read_overlay(const char *name, size_t *bytes) {
  char found[NAME_MAX + 1] = "";
  DIR *folder = opendir(in_root(PACKAGES "/%s", name));
  if (folder == NULL) return fail("there is no package %s in " PACKAGES " (%s)", name, strerror(errno)), NULL;
  struct stat info;
  if (fstat(dirfd(folder), &info) != 0 || !is_trusted(&info)) {
    closedir(folder);
    return fail("the folder of package %s may be written by others than root", name), NULL;
  }
  unsigned count = 0;
  const struct dirent *entry;
  while ((entry = readdir(folder)) != NULL) {
    const size_t length = strlen(entry->d_name);
    if (length <= 5 || strcmp(entry->d_name + length - 5, ".dtbo") != 0) continue;
    snprintf(found, sizeof found, "%s", entry->d_name);
    count++;
  }
  const int fd = count == 1 ? openat(dirfd(folder), found, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
  const int failed = errno;
  closedir(folder);
  if (count != 1) return fail("package %s has %u overlays (.dtbo), not one", name, count), NULL;
  if (fd < 0) return fail("the overlay of %s cannot be read (%s)", name, strerror(failed)), NULL;
  uint8_t *content = NULL;
  if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || !is_trusted(&info) || info.st_size <= 0 || info.st_size > OVERLAY_MAX_BYTES) {
    fail("the overlay of %s is empty, too large, no plain file, or may be written by others than root", name);
  } else if ((content = malloc((size_t)info.st_size)) == NULL || read(fd, content, (size_t)info.st_size) != info.st_size) {
    fail("the overlay of %s cannot be read", name);
    free(content);
    content = NULL;
  }
  close(fd);
  *bytes = content == NULL ? 0 : (size_t)info.st_size;
  return content;
}

static bool status_is_applied(const char *name) {
  char text[32] = "";
  const int fd = open(in_root(OVERLAYS "/%s/status", name), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const ssize_t got = read(fd, text, sizeof text - 1);
  close(fd);
  return got > 0 && strncmp(text, "applied", 7) == 0;
}

/* The write returns when the kernel has loaded the bitstream; an insertion that failed shows in the status alone. */
static bool apply(const char *name, const uint8_t *content, size_t bytes) {
  const int fd = open(in_root(OVERLAYS "/%s/dtbo", name), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return fail("the overlay of %s cannot be written (%s)", name, strerror(errno));
  const ssize_t put = write(fd, content, bytes);
  const int failed = errno;
  close(fd);
  if (put < 0 || (size_t)put != bytes) return fail("the kernel refuses the overlay of %s (%s); see dmesg", name, strerror(failed));
  for (int waited = 0; waited < APPLY_TIMEOUT_MS; waited += 10) {
    if (status_is_applied(name)) return true;
    nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
  }
  return fail("the overlay of %s is not applied after %d s; see dmesg", name, APPLY_TIMEOUT_MS / 1000);
}

/* configfs takes an overlay's attributes away with its folder; the plain files of a test do not go by themselves. */
static int remove_overlay(const char *name) {
  if (*root() != '\0') {
    unlink(in_root(OVERLAYS "/%s/dtbo", name));
    unlink(in_root(OVERLAYS "/%s/status", name));
  }
  return rmdir(in_root(OVERLAYS "/%s", name));
}

static bool load(const char *name, bool axi_timeout) {
  size_t bytes;
  uint8_t *content = read_overlay(name, &bytes);
  if (content == NULL) return false;
  bool good = false;
  if (access(in_root(OVERLAYS), F_OK) != 0) {
    fail("this kernel takes no overlays at run time (no " OVERLAYS "); is configfs mounted, and CONFIG_OF_CONFIGFS set?");
  } else if (mkdir(in_root(OVERLAYS "/%s", name), 0755) != 0) {
    fail("the overlay %s cannot be made (%s)%s", name, strerror(errno), errno == EEXIST ? ": it is loaded already, unload it first" : "");
  } else {
    good = apply(name, content, bytes);
    if (!good) remove_overlay(name);
  }
  free(content);
  if (!good || !axi_timeout) return good;
  const char *problem = axi_timeout_enable();
  if (problem == NULL) return true;
  remove_overlay(name); /* asked for, so not without it */
  return fail("%s", problem);
}

static bool unload(const char *name) {
  if (remove_overlay(name) == 0) return true;
  return errno == ENOENT ? fail("%s is not loaded", name) : fail("the overlay %s cannot be removed (%s)", name, strerror(errno));
}

static bool act(const char *verb, const char *name, const char *option) {
  if (!is_name(name)) return fail("a package's name has up to %u lower-case letters, digits, \"-\" and \"_\"", NAME_MAX_LENGTH);
  if (strcmp(verb, "load") == 0 && (*option == '\0' || strcmp(option, "axi-timeout") == 0)) return load(name, *option != '\0');
  if (strcmp(verb, "unload") == 0 && *option == '\0') return unload(name);
  return fail("usage: load NAME [axi-timeout] | unload NAME");
}

/* A line from standard input, in time; it has three words at most. */
static bool act_on_line(void) {
  char line[160] = "", verb[16] = "", name[NAME_MAX_LENGTH + 2] = "", option[16] = "", rest;
  size_t used = 0;
  while (strchr(line, '\n') == NULL) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    if (poll(&input, 1, REQUEST_TIMEOUT_MS) != 1) return fail("no request in %d s", REQUEST_TIMEOUT_MS / 1000);
    const ssize_t got = read(STDIN_FILENO, line + used, sizeof line - 1 - used);
    if (got <= 0 || memchr(line + used, '\0', (size_t)got) != NULL) return fail("no request");
    used += (size_t)got;
    line[used] = '\0';
  }
  const int words = sscanf(line, "%15s %64s %15s %c", verb, name, option, &rest);
  return words == 2 || words == 3 ? act(verb, name, option) : fail("usage: load NAME [axi-timeout] | unload NAME");
}

int main(int argc, char **argv) {
  bool good;
  if (argc == 2 && strcmp(argv[1], "socket") == 0) {
    good = act_on_line();
  } else {
    good = argc == 3 || argc == 4 ? act(argv[1], argv[2], argc == 4 ? argv[3] : "")
                                  : fail("usage: beta-loader load NAME [axi-timeout] | unload NAME | socket");
  }
  if (good) puts("ok");
  return good ? 0 : 1;
}
