/* sections.c: bounds-checked views of QUERY, PHRASE_BANK, VOCABULARY and TOKEN_EMBEDDINGS (docs/format.md). */
#include "sections.h"

#include <string.h>

#include "bytes.h"
#include "error.h"
#include "nearest.h"

enum { HEADER_BYTES = 64 };

/* Takes blocks from a section one after another, each on a multiple of 64. */
typedef struct cursor {
    const vlj_index *index;
    const vlj_section *section;
    uint64_t at;
} cursor;

static vlj_status malformed(const cursor *c, const char *field, uint64_t found, const char *expected) {
    return vlj_fail(VLJ_E_BUNDLE, "%s: section \"%s\": %s is %llu, expected %s", vlj_index_path(c->index),
                    c->section->name, field, (unsigned long long)found, expected);
}

static vlj_status start(cursor *c, const vlj_index *index, const vlj_section *section) {
    c->index = index;
    c->section = section;
    c->at = HEADER_BYTES;
    return section->size < HEADER_BYTES ? malformed(c, "size", section->size, "at least 64 bytes") : VLJ_OK;
}

static uint32_t field(const cursor *c, uint32_t i) {
    return vlj_load_u32(c->section->bytes + 4 * (size_t)i);
}

/* count and bytes_each are below 2^32 and 2^34, so nothing here can wrap 64 bits: checked by division all the same. */
static vlj_status take(cursor *c, const char *what, uint64_t count, uint64_t bytes_each, const void **block) {
    uint64_t start_at = (c->at + 63) / 64 * 64; /* c->at <= section->size, which is far below 2^64 */
    if (start_at > c->section->size || (bytes_each > 0 && count > (c->section->size - start_at) / bytes_each)) {
        return malformed(c, what, count, "no more than the section has bytes for");
    }
    *block = c->section->bytes + start_at;
    c->at = start_at + count * bytes_each;
    return VLJ_OK;
}

static vlj_status take_matrix(cursor *c, uint32_t rows, uint32_t width, uint32_t dtype, vlj_matrix *matrix) {
    matrix->scales = NULL;
    if (dtype != VLJ_FLOAT32 && dtype != VLJ_FLOAT16) {
        return malformed(c, "dtype", dtype, "2 (float32) or 3 (float16)");
    }
    if (rows == 0 || width == 0) {
        return malformed(c, rows == 0 ? "rows" : "width", 0, "at least 1");
    }
    matrix->rows = rows;
    matrix->width = width;
    matrix->dtype = (vlj_dtype)dtype;
    return take(c, "rows", rows, (uint64_t)width * (dtype == VLJ_FLOAT32 ? 4 : 2), &matrix->data);
}

/* Rows of unit length: floats, or INT8 with a scale for each row behind them. */
static vlj_status take_bank(cursor *c, uint32_t rows, uint32_t width, uint32_t dtype, vlj_matrix *matrix) {
    if (dtype != VLJ_INT8) {
        return take_matrix(c, rows, width, dtype, matrix);
    }
    if (rows == 0 || width == 0 || width > VLJ_NEAREST_MOST_INT8_WIDTH) {
        return malformed(c, rows == 0 ? "rows" : "width", rows == 0 ? 0 : width, "at least 1, and at most 8192 wide");
    }
    const void *scales = NULL;
    *matrix = (vlj_matrix){.rows = rows, .width = width, .dtype = VLJ_INT8};
    vlj_status status = take(c, "rows", rows, width, &matrix->data);
    if (status == VLJ_OK) {
        status = take(c, "scales", rows, sizeof(float), &scales);
    }
    matrix->scales = scales;
    return status;
}

static vlj_status take_texts(cursor *c, uint32_t count, uint32_t text_bytes, vlj_text_table *table) {
    const void *offsets = NULL, *text = NULL;
    vlj_status status = take(c, "count", (uint64_t)count + 1, sizeof(uint32_t), &offsets);
    if (status == VLJ_OK) {
        status = take(c, "text_bytes", text_bytes, 1, &text);
    }
    if (status != VLJ_OK) {
        return status;
    }
    table->count = count;
    table->offsets = offsets;
    table->text = text;
    table->text_bytes = text_bytes;
    for (uint32_t i = 0; i < count; i++) {
        if (table->offsets[i] > table->offsets[i + 1]) {
            return malformed(c, "an offset", table->offsets[i + 1], "ascending offsets");
        }
    }
    return table->offsets[count] <= text_bytes
               ? VLJ_OK
               : malformed(c, "the last offset", table->offsets[count], "at most text_bytes");
}

vlj_status vlj_read_query(const vlj_index *index, const vlj_section *section, vlj_matrix *embeddings, const char **text,
                          uint32_t *text_bytes) {
    cursor c;
    const void *block = NULL;
    vlj_status status = start(&c, index, section);
    if (status == VLJ_OK) {
        *text_bytes = field(&c, 3);
        status = take(&c, "text_bytes", *text_bytes, 1, &block);
    }
    if (status == VLJ_OK) {
        *text = block;
        status = take_matrix(&c, field(&c, 0), field(&c, 1), field(&c, 2), embeddings);
    }
    if (status == VLJ_OK && (*text_bytes == 0 || !vlj_utf8_valid(*text, *text_bytes))) {
        status = malformed(&c, "text_bytes", *text_bytes, "a text in UTF-8");
    }
    return status;
}

vlj_status vlj_read_phrase_bank(const vlj_index *index, const vlj_section *section, vlj_text_table *phrases,
                                vlj_matrix *embeddings) {
    cursor c;
    vlj_status status = start(&c, index, section);
    if (status == VLJ_OK) {
        status = take_texts(&c, field(&c, 0), field(&c, 3), phrases);
    }
    if (status == VLJ_OK) {
        status = take_bank(&c, field(&c, 0), field(&c, 1), field(&c, 2), embeddings);
    }
    for (uint32_t i = 0; status == VLJ_OK && i < phrases->count; i++) {
        uint32_t bytes = phrases->offsets[i + 1] - phrases->offsets[i];
        const char *text = phrases->text + phrases->offsets[i];
        if (bytes == 0 || text[bytes - 1] != '\0' || !vlj_utf8_valid(text, bytes - 1)) {
            status = malformed(&c, "a phrase's index", i, "a phrase in UTF-8 that ends with NUL");
        }
    }
    return status;
}

vlj_status vlj_read_vocabulary(const vlj_index *index, const vlj_section *section, vlj_text_table *tokens) {
    cursor c;
    vlj_status status = start(&c, index, section);
    return status == VLJ_OK ? take_texts(&c, field(&c, 0), field(&c, 1), tokens) : status;
}

vlj_status vlj_read_token_embeddings(const vlj_index *index, const vlj_section *section, vlj_matrix *embeddings) {
    cursor c;
    vlj_status status = start(&c, index, section);
    return status == VLJ_OK ? take_matrix(&c, field(&c, 0), field(&c, 1), field(&c, 2), embeddings) : status;
}

float vlj_half_to_float(uint16_t half) {
    uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, mantissa = half & 1023, bits;
    if (exponent == 31) {
        bits = sign | 0x7F800000u | mantissa << 13; /* infinity, NaN */
    } else if (exponent > 0) {
        bits = sign | (exponent + 112) << 23 | mantissa << 13;
    } else {
        float subnormal = (float)mantissa * (1.0f / 16777216.0f); /* mantissa * 2^-24, exact */
        memcpy(&bits, &subnormal, sizeof bits);
        bits |= sign;
    }
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

void vlj_matrix_row(const vlj_matrix *matrix, uint32_t row, float *floats) {
    size_t at = (size_t)row * matrix->width;
    if (matrix->dtype == VLJ_FLOAT32) {
        memcpy(floats, (const float *)matrix->data + at, matrix->width * sizeof(float));
        return;
    }
    const uint16_t *halves = (const uint16_t *)matrix->data + at;
    for (uint32_t i = 0; i < matrix->width; i++) {
        floats[i] = vlj_half_to_float(halves[i]);
    }
}
