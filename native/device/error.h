/* The sentence behind beta_error(): one per thread, so that two threads with a device each never mix theirs. */
#ifndef BETA_DEVICE_ERROR_H
#define BETA_DEVICE_ERROR_H

/* Stores the formatted sentence (cut at 511 bytes) and returns `code`, so that a failure is one statement. */
int beta_fail(int code, const char *format, ...) __attribute__((format(printf, 2, 3)));

#endif
