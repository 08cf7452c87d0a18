#include "device/error.h"

#include <stdarg.h>
#include <stdio.h>

#include "beta.h"

static _Thread_local char sentence[512];

int beta_fail(int code, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  /* vsnprintf cuts; a sentence that is cut still names what and where, because those come first. */
  if (vsnprintf(sentence, sizeof sentence, format, arguments) < 0) sentence[0] = '\0';
  va_end(arguments);
  return code;
}

const char *beta_error(void) { return sentence; }
