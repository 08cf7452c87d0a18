/* From a URI to a device: the only place that knows which transports there are. */
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "device/board/board.h"
#include "device/device.h"
#include "device/emulator/emulator.h"
#include "device/error.h"

/* `rest` is the URI behind the colon; window_bytes has been checked. */
typedef int open_function(const char *rest, uint64_t window_bytes, beta_device **device);

static const struct {
  const char *scheme;
  open_function *open;
} transports[] = {
    {"emu", beta_emulator_open},
    {"uio", beta_board_open},
};

#define TRANSPORT_COUNT (sizeof transports / sizeof transports[0])
#define OPTIONS_MAX 16u
#define WINDOW_LIMIT (UINT64_C(1) << 32)

/* Appends `name` and a separator to a list for people; cuts at the end of `list`. */
static void list_append(char *list, size_t size, const char *separator, const char *name) {
  const size_t used = strlen(list);
  strncat(list, used == 0 ? "" : separator, size - used - 1);
  strncat(list, name, size - strlen(list) - 1);
}

static int fail_unknown_option(const char *scheme, const char *name, size_t length, const struct beta_option *options,
                               size_t count) {
  char known[256] = "";
  for (size_t i = 0; i < count; i++) list_append(known, sizeof known, ", ", options[i].name);
  return beta_fail(-EINVAL, "%s: has no option \"%.*s\"; its options are: %s", scheme,
                   (int)(length < 64 ? length : 64), name, known);
}

/* A decimal u32 of `length` characters; false if it is none. */
static bool parse_u32(const char *text, size_t length, uint32_t *value) {
  uint64_t sum = 0;
  if (length == 0) return false;
  for (size_t i = 0; i < length; i++) {
    if (text[i] < '0' || text[i] > '9') return false;
    sum = sum * 10 + (uint64_t)(text[i] - '0');
    if (sum > UINT32_MAX) return false;
  }
  *value = (uint32_t)sum;
  return true;
}

/* The number of the choice that is `length` characters of `text`; false if it is none. */
static bool parse_choice(const char *const *choices, const char *text, size_t length, uint32_t *value) {
  for (uint32_t i = 0; choices[i] != NULL; i++) {
    if (strlen(choices[i]) != length || memcmp(choices[i], text, length) != 0) continue;
    *value = i;
    return true;
  }
  return false;
}

static int fail_value(const char *scheme, const struct beta_option *option) {
  if (option->choices == NULL) {
    return beta_fail(-EINVAL, "%s: option %s needs a decimal number from %u to %u, as in \"%s=%u\"", scheme,
                     option->name, (unsigned)option->min, (unsigned)option->max, option->name, (unsigned)option->max);
  }
  char known[256] = "";
  for (size_t i = 0; option->choices[i] != NULL; i++) list_append(known, sizeof known, ", ", option->choices[i]);
  return beta_fail(-EINVAL, "%s: option %s must be one of: %s", scheme, option->name, known);
}

static bool parse_value(const struct beta_option *option, const char *text, size_t length, uint32_t *value) {
  if (option->choices != NULL) return parse_choice(option->choices, text, length, value);
  return parse_u32(text, length, value) && *value >= option->min && *value <= option->max;
}

int beta_options_parse(const char *scheme, const char *query, const struct beta_option *options, size_t count) {
  bool seen[OPTIONS_MAX] = {false};
  if (count > OPTIONS_MAX) return beta_fail(-EINVAL, "%s: has more than %u options", scheme, OPTIONS_MAX);
  if (*query == '\0') return 0;
  if (*query != '?') {
    return beta_fail(-EINVAL, "%s: takes only options, as in \"%s:?%s=%u\", but the URI goes on with \"%.64s\"", scheme,
                     scheme, options[0].name, (unsigned)options[0].max, query);
  }
  const char *at = query + 1;
  while (*at != '\0') {
    const size_t length = strcspn(at, "&");
    const char *equals = memchr(at, '=', length);
    const size_t name_length = equals == NULL ? length : (size_t)(equals - at);
    size_t index = 0;
    while (index < count &&
           (strlen(options[index].name) != name_length || memcmp(options[index].name, at, name_length) != 0)) {
      index++;
    }
    if (index == count) return fail_unknown_option(scheme, at, name_length, options, count);
    const struct beta_option *option = &options[index];
    if (seen[index]) return beta_fail(-EINVAL, "%s: option %s is given twice", scheme, option->name);
    seen[index] = true;
    uint32_t value = 0;
    if (equals == NULL || !parse_value(option, equals + 1, length - name_length - 1, &value)) {
      return fail_value(scheme, option);
    }
    *option->value = value;
    at += length;
    if (*at == '&') at++;
  }
  return 0;
}

int beta_open(const char *uri, uint64_t window_bytes, beta_device **device) {
  if (uri == NULL || device == NULL) return beta_fail(-EINVAL, "beta_open: uri and device must not be NULL");
  *device = NULL;
  if (window_bytes == 0 || window_bytes % BETA_WINDOW_ALIGN != 0 || window_bytes >= WINDOW_LIMIT) {
    return beta_fail(-EINVAL, "a window of %llu bytes is not possible: use a multiple of 64 KiB below 4 GiB",
                     (unsigned long long)window_bytes);
  }
  const size_t length = strcspn(uri, ":");
  if (uri[length] != ':') {
    return beta_fail(-EINVAL, "\"%.64s\" is no device URI: it needs a scheme and a colon, as in \"emu:\"", uri);
  }
  for (size_t i = 0; i < TRANSPORT_COUNT; i++) {
    if (strlen(transports[i].scheme) == length && memcmp(transports[i].scheme, uri, length) == 0) {
      return transports[i].open(uri + length + 1, window_bytes, device);
    }
  }
  char known[128] = "";
  for (size_t i = 0; i < TRANSPORT_COUNT; i++) list_append(known, sizeof known, ", ", transports[i].scheme);
  return beta_fail(-ENODEV, "no transport for \"%.64s\"; this libbeta has: %s", uri, known);
}
