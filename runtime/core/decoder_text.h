/* decoder_text.h: puts generated tokens together into one NUL-terminated text in a fixed buffer, always valid UTF-8. */
#ifndef VLJ_CORE_DECODER_TEXT_H
#define VLJ_CORE_DECODER_TEXT_H

#include <stddef.h>
#include <stdint.h>

#include "sections.h"

typedef struct vlj_decoder_text {
    char *bytes;
    size_t capacity; /* NUL included, >= 1 */
    size_t length;
} vlj_decoder_text;

/* Appends a token's bytes, which may be part of a character. 0 when they don't all fit (as many as fit are kept). */
int vlj_decoder_text_append(vlj_decoder_text *text, const vlj_text_table *vocabulary, uint32_t token);
/* Drops a character that was left incomplete at the end, makes '?' of bytes that belong to none, and ends with NUL. */
void vlj_decoder_text_finish(vlj_decoder_text *text);

#endif
