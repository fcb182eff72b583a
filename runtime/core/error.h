/* error.h: the calling thread's last error sentence. Every failing path goes through vlj_fail, so status and sentence
 * agree. */
#ifndef VLJ_CORE_ERROR_H
#define VLJ_CORE_ERROR_H

#include <stdarg.h>

#include "vljepa.h"

/* Keeps the sentence (cut to 511 bytes at a character) for vlj_last_error and returns `status`. Allocates nothing. */
vlj_status vlj_fail(vlj_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));
vlj_status vlj_fail_v(vlj_status status, const char *format, va_list arguments) __attribute__((format(printf, 2, 0)));

/* For threads inside the library: carries a sentence from the thread that failed to the one that reports it. */
void vlj_error_copy(char *sentence, size_t sentence_bytes);

#endif
