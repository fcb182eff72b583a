/* utf8.h: UTF-8 text from anywhere, measured and cut at characters. */
#ifndef VLJ_UTF8_H
#define VLJ_UTF8_H

#include <stddef.h>

/* Length in bytes (1-4) of the well-formed character at `text`, of which `available` bytes may be read; 0: malformed.
 */
size_t vlj_utf8_character(const char *text, size_t available);
/* Copies a NUL-terminated text, cut at a character so that it fits `capacity` bytes with its NUL; capacity >= 1. */
void vlj_utf8_copy(char *copy, size_t capacity, const char *text);

#endif
