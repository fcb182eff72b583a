/* error.c: thread-local last error, status names and the library's version. */
#include "error.h"

#include <stdio.h>
#include <string.h>

#ifndef VLJ_VERSION /* the build passes the VERSION file's content */
#define VLJ_VERSION "0.1.0"
#endif

#define SENTENCE_BYTES 512

static _Thread_local char last_sentence[SENTENCE_BYTES];

/* Cuts at a character's start, so that the sentence stays UTF-8 whatever path or query text it quotes. */
static void cut_at_character(char *text, size_t length) {
    while (length > 0 && ((unsigned char)text[length] & 0xC0) == 0x80) {
        length--;
    }
    text[length] = '\0';
}

vlj_status vlj_fail_v(vlj_status status, const char *format, va_list arguments) {
    /* One spare byte tells whether the character at the cut continues. A sentence may quote the previous one, hence the
     * copy. */
    char sentence[SENTENCE_BYTES + 1];
    int length = vsnprintf(sentence, sizeof sentence, format, arguments);
    if (length < 0) {
        sentence[0] = '\0';
    } else if (length >= SENTENCE_BYTES) {
        cut_at_character(sentence, SENTENCE_BYTES - 1);
    }
    for (char *at = sentence; *at != '\0'; at++) { /* one line, whatever a quoted query or file name holds */
        *at = (unsigned char)*at < 0x20 || *at == 0x7F ? ' ' : *at;
    }
    memcpy(last_sentence, sentence, strlen(sentence) + 1);
    return status;
}

vlj_status vlj_fail(vlj_status status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vlj_fail_v(status, format, arguments);
    va_end(arguments);
    return status;
}

void vlj_error_copy(char *sentence, size_t sentence_bytes) {
    if (sentence_bytes == 0) {
        return;
    }
    size_t length = strlen(last_sentence);
    if (length >= sentence_bytes) {
        length = sentence_bytes - 1;
    }
    memcpy(sentence, last_sentence, length);
    sentence[length] = '\0';
}

const char *vlj_last_error(void) {
    return last_sentence;
}

const char *vlj_version(void) {
    return VLJ_VERSION;
}

const char *vlj_status_name(vlj_status status) {
    switch (status) {
    case VLJ_OK: return "VLJ_OK";
    case VLJ_WOULD_BLOCK: return "VLJ_WOULD_BLOCK";
    case VLJ_END: return "VLJ_END";
    case VLJ_E_ARGUMENT: return "VLJ_E_ARGUMENT";
    case VLJ_E_FRAME_FORMAT: return "VLJ_E_FRAME_FORMAT";
    case VLJ_E_FRAME_SIZE: return "VLJ_E_FRAME_SIZE";
    case VLJ_E_TIMESTAMP: return "VLJ_E_TIMESTAMP";
    case VLJ_E_QUERY: return "VLJ_E_QUERY";
    case VLJ_E_STATE: return "VLJ_E_STATE";
    case VLJ_E_BUFFER: return "VLJ_E_BUFFER";
    case VLJ_E_BUNDLE: return "VLJ_E_BUNDLE";
    case VLJ_E_BUNDLE_MISSING: return "VLJ_E_BUNDLE_MISSING";
    case VLJ_E_BUNDLE_HASH: return "VLJ_E_BUNDLE_HASH";
    case VLJ_E_BUNDLE_SCHEMA: return "VLJ_E_BUNDLE_SCHEMA";
    case VLJ_E_BUNDLE_SHAPE: return "VLJ_E_BUNDLE_SHAPE";
    case VLJ_E_BACKEND: return "VLJ_E_BACKEND";
    case VLJ_E_BACKEND_MISSING: return "VLJ_E_BACKEND_MISSING";
    case VLJ_E_BACKEND_RUN: return "VLJ_E_BACKEND_RUN";
    case VLJ_E_MEMORY: return "VLJ_E_MEMORY";
    case VLJ_E_CANCELLED: return "VLJ_E_CANCELLED";
    case VLJ_E_TIMEOUT: return "VLJ_E_TIMEOUT";
    case VLJ_E_VERSION: return "VLJ_E_VERSION";
    }
    return "unknown status";
}
