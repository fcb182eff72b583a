/* decoder_text.c: tokens to text: byte-level tokens may split a character, and a buffer or token limit may cut one. */
#include "decoder_text.h"

#include <string.h>

#include "utf8.h"

int vlj_decoder_text_append(vlj_decoder_text *text, const vlj_text_table *vocabulary, uint32_t token) {
    uint32_t start = vocabulary->offsets[token], size = vocabulary->offsets[token + 1] - start;
    size_t room = text->capacity - 1 - text->length;
    size_t taken = size < room ? size : room;
    memcpy(text->bytes + text->length, vocabulary->text + start, taken);
    text->length += taken;
    return taken == size;
}

/* Bytes of the character that `lead` promises; 1 for what leads none. */
static size_t promised_bytes(unsigned char lead) {
    return lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
}

/* Whether the rest of the text, from `at`, is the beginning of a character and nothing else. */
static int is_cut_character(const vlj_decoder_text *text, size_t at) {
    size_t left = text->length - at;
    if (left >= promised_bytes((unsigned char)text->bytes[at])) {
        return 0;
    }
    for (size_t i = 1; i < left; i++) {
        if (((unsigned char)text->bytes[at + i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    return 1;
}

void vlj_decoder_text_finish(vlj_decoder_text *text) {
    for (size_t at = 0; at < text->length;) {
        size_t bytes = text->bytes[at] == '\0' ? 0 : vlj_utf8_character(text->bytes + at, text->length - at);
        if (bytes == 0 && is_cut_character(text, at)) {
            text->length = at;
        } else if (bytes == 0) {
            text->bytes[at++] = '?';
        } else {
            at += bytes;
        }
    }
    text->bytes[text->length] = '\0';
}
