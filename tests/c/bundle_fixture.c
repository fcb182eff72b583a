/* Writes the small bundle of bundle_fixture.h: its own writer of docs/format.md, so that the reader has an independent
 * peer. */
#define _GNU_SOURCE 1 /* strict C11 hides POSIX */
#include "bundle_fixture.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sha256.h"

enum { HEADER_BYTES = 128, ENTRY_BYTES = 192, MAX_SECTIONS = 64, PAGE_BYTES = 4096 };

typedef struct section {
    uint32_t kind;
    char name[64], file[64];
    uint8_t *bytes;
    size_t size, offset, capacity;
} section;

static void die(const char *what, const char *path) {
    fprintf(stderr, "bundle_fixture: %s %s\n", what, path);
    exit(1);
}

static void put_u32(uint8_t *at, uint32_t value) {
    for (int i = 0; i < 4; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

static void put_u64(uint8_t *at, uint64_t value) {
    for (int i = 0; i < 8; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

static void put_f32(uint8_t *at, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_u32(at, bits);
}

/* Values of the fixture are small and exact in half precision or rounded here: no subnormals, no infinities. */
static uint16_t half_bits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    uint32_t sign = bits >> 31, exponent = (bits >> 23) & 255, mantissa = bits & 0x7fffff;
    if (exponent < 113) {
        return (uint16_t)(sign << 15);
    }
    uint32_t half = ((exponent - 112) << 10 | mantissa >> 13) + ((mantissa >> 12) & 1);
    return (uint16_t)(sign << 15 | half);
}

static size_t align_up(size_t value, size_t alignment) {
    return (value + alignment - 1) / alignment * alignment;
}

static uint8_t *extend(section *s, size_t bytes) {
    size_t at = s->size;
    if (at + bytes > s->capacity) {
        s->capacity = (at + bytes) * 2;
        s->bytes = realloc(s->bytes, s->capacity);
        if (!s->bytes) {
            die("no memory for", s->name);
        }
    }
    memset(s->bytes + at, 0, bytes);
    s->size += bytes;
    return s->bytes + at;
}

static void pad(section *s) {
    extend(s, align_up(s->size, 64) - s->size);
}

static void put_value(section *s, vlj_dtype dtype, float value) {
    if (dtype == VLJ_FLOAT16) {
        uint16_t half = half_bits(value);
        uint8_t *at = extend(s, 2);
        at[0] = (uint8_t)half, at[1] = (uint8_t)(half >> 8);
    } else {
        put_f32(extend(s, 4), value);
    }
}

static section *add(section *list, uint32_t *count, uint32_t kind, const char *name, const char *file) {
    if (*count == MAX_SECTIONS) {
        die("too many sections at", name);
    }
    section *s = &list[(*count)++];
    memset(s, 0, sizeof *s);
    s->kind = kind;
    snprintf(s->name, sizeof s->name, "%.63s", name);
    snprintf(s->file, sizeof s->file, "%.63s", file);
    return s;
}

float bundle_fixture_query_value(uint32_t query, uint32_t token, uint32_t column) {
    return (float)((query * 7 + token * 3 + column) % 16) / 16.0f;
}

float bundle_fixture_table_value(uint32_t row, uint32_t column) {
    return (float)((row * 5 + column * 3) % 32) / 32.0f - 0.5f;
}

/* Phrase i lies on the half circle of fixture_engines.h, so that the nearest phrase of a grey level is known. */
float bundle_fixture_phrase_value(const bundle_fixture *bundle, uint32_t phrase, uint32_t column) {
    float theta = 3.14159265f * (float)phrase / (float)(bundle->phrase_count > 1 ? bundle->phrase_count - 1 : 1);
    return column == 0 ? cosf(theta) : column == 1 ? sinf(theta) : 0.0f;
}

void bundle_fixture_token_bytes(const bundle_fixture *bundle, uint32_t token, char bytes[16]) {
    bytes[0] = bytes[1] = 0;
    if (token == bundle->begin_token || token == bundle->end_token || token == 0) {
        return;
    }
    if (token == 3 || token == 4) {
        bytes[0] = token == 3 ? (char)0xC3 : (char)0xA9; /* U+00E9 */
    } else {
        snprintf(bytes, 16, " word%u", token);
    }
}

void bundle_fixture_defaults(bundle_fixture *bundle) {
    *bundle = (bundle_fixture){.name = "fixture",
                               .precision = "fp32",
                               .frames = 4,
                               .height = 32,
                               .width = 32,
                               .tubelet = 2,
                               .patch = 16,
                               .fps = 10.0f,
                               .stride = 2,
                               .resize_short_side = 36,
                               .visual_width = 16,
                               .query_width = 12,
                               .max_query_tokens = 512,
                               .embedding_width = 8,
                               .text_max_tokens = 32,
                               .prefix_tokens = 2,
                               .decoder_width = 8,
                               .decoder_planes = 2,
                               .decoder_kv_heads = 1,
                               .decoder_head_dim = 4,
                               .decoder_cache_length = 24,
                               .vocabulary = 40,
                               .begin_token = 1,
                               .end_token = 2,
                               .max_new_tokens = 12,
                               .decode_when = VLJ_DECODE_ONSET,
                               .query_count = 2,
                               .phrase_count = 5,
                               .query_table_rows = 32,
                               .embedding_dtype = VLJ_FLOAT32,
                               .component_mask = 0x1f,
                               .format_version = 1};
    bundle->gate = (vlj_gate_options){.smoothing = 1,
                                      .confirm = 1,
                                      .ward_threshold = 0.1f,
                                      .variance_threshold = -1.0f,
                                      .hysteresis = -1.0f,
                                      .min_interval_ns = 0,
                                      .max_interval_ns = -1};
}

static void write_config(const bundle_fixture *b, section *s) {
    uint8_t *at = extend(s, 512);
    put_u32(at, 512);
    memcpy(at + 4, b->name, 63);
    memcpy(at + 68, b->precision, 15);
    uint32_t tokens =
        b->visual_tokens ? b->visual_tokens : b->frames / b->tubelet * (b->height / b->patch) * (b->width / b->patch);
    const uint32_t geometry[] = {b->frames, b->height, b->width, b->tubelet, b->patch};
    for (uint32_t i = 0; i < 5; i++) {
        put_u32(at + 84 + 4 * i, geometry[i]);
    }
    put_f32(at + 104, b->fps);
    uint32_t text = b->prefix_tokens > 0;
    const uint32_t rest[] = {b->stride,
                             b->resize_short_side,
                             0,
                             tokens,
                             b->visual_width,
                             b->query_width,
                             b->max_query_tokens,
                             b->embedding_width,
                             b->text_max_tokens,
                             0,
                             0,
                             b->prefix_tokens,
                             text * b->decoder_width,
                             text * b->decoder_planes,
                             text * b->decoder_kv_heads,
                             text * b->decoder_head_dim,
                             text * b->decoder_cache_length,
                             text * b->vocabulary,
                             text * b->begin_token,
                             text * b->end_token,
                             text * b->max_new_tokens,
                             b->decode_when,
                             b->gate.smoothing,
                             b->gate.confirm};
    for (uint32_t i = 0; i < sizeof rest / sizeof rest[0]; i++) {
        put_u32(at + 108 + 4 * i, rest[i]);
    }
    put_f32(at + 204, b->gate.ward_threshold);
    put_f32(at + 208, b->gate.variance_threshold);
    put_f32(at + 212, b->gate.hysteresis);
    put_f32(at + 216, b->gate.target_rate_hz);
    put_u64(at + 224, (uint64_t)b->gate.min_interval_ns);
    put_u64(at + 232, (uint64_t)b->gate.max_interval_ns);
}

static void write_queries(const bundle_fixture *b, section *list, uint32_t *count) {
    for (uint32_t q = 0; q < b->query_count; q++) {
        char text[32];
        snprintf(text, sizeof text, "query %u?", q);
        section *s = add(list, count, VLJ_SECTION_QUERY, text, "");
        uint8_t *at = extend(s, 64);
        put_u32(at, 3 + q), put_u32(at + 4, b->query_width), put_u32(at + 8, b->embedding_dtype);
        put_u32(at + 12, (uint32_t)strlen(text));
        memcpy(extend(s, strlen(text)), text, strlen(text));
        pad(s);
        for (uint32_t i = 0; i < (3 + q) * b->query_width; i++) {
            put_value(s, b->embedding_dtype, bundle_fixture_query_value(q, i / b->query_width, i % b->query_width));
        }
    }
}

/* As vlj_quantise_rows stores them: the bank's own rows, then their scales. */
static void write_int8_rows(const bundle_fixture *b, section *s) {
    float row[256], scales[256];
    for (uint32_t i = 0; i < b->phrase_count; i++) {
        for (uint32_t j = 0; j < b->embedding_width; j++) {
            row[j] = bundle_fixture_phrase_value(b, i, j);
        }
        int8_t *values = (int8_t *)extend(s, b->embedding_width);
        if (vlj_quantise_rows(row, 1, b->embedding_width, values, &scales[i]) != VLJ_OK) {
            abort();
        }
    }
    pad(s);
    for (uint32_t i = 0; i < b->phrase_count; i++) {
        put_f32(extend(s, 4), scales[i]);
    }
}

static void write_phrases(const bundle_fixture *b, section *s) {
    uint32_t text_bytes = 0;
    char text[32];
    uint8_t *at = extend(s, 64 + 4 * (b->phrase_count + 1));
    for (uint32_t i = 0; i <= b->phrase_count; i++) {
        put_u32(at + 64 + 4 * i, text_bytes);
        if (i < b->phrase_count) {
            text_bytes += (uint32_t)snprintf(text, sizeof text, "phrase %u", i) + 1;
        }
    }
    put_u32(at, b->phrase_count), put_u32(at + 4, b->embedding_width),
        put_u32(at + 8, b->phrases_int8 ? VLJ_INT8 : b->embedding_dtype);
    put_u32(at + 12, text_bytes);
    pad(s);
    for (uint32_t i = 0; i < b->phrase_count; i++) {
        size_t length = (size_t)snprintf(text, sizeof text, "phrase %u", i) + 1;
        memcpy(extend(s, length), text, length);
    }
    pad(s);
    if (b->phrases_int8) {
        write_int8_rows(b, s);
        return;
    }
    for (uint32_t i = 0; i < b->phrase_count * b->embedding_width; i++) {
        put_value(s, b->embedding_dtype,
                  bundle_fixture_phrase_value(b, i / b->embedding_width, i % b->embedding_width));
    }
}

static void write_vocabulary(const bundle_fixture *b, section *s) {
    uint32_t text_bytes = 0;
    char bytes[16];
    uint8_t *at = extend(s, 64 + 4 * (b->vocabulary + 1));
    for (uint32_t i = 0; i <= b->vocabulary; i++) {
        put_u32(at + 64 + 4 * i, text_bytes);
        if (i < b->vocabulary) {
            bundle_fixture_token_bytes(b, i, bytes), text_bytes += (uint32_t)strlen(bytes);
        }
    }
    put_u32(at, b->vocabulary), put_u32(at + 4, text_bytes);
    pad(s);
    for (uint32_t i = 0; i < b->vocabulary; i++) {
        bundle_fixture_token_bytes(b, i, bytes);
        memcpy(extend(s, strlen(bytes)), bytes, strlen(bytes));
    }
}

static void write_table(const bundle_fixture *b, section *s, uint32_t rows, uint32_t width) {
    uint8_t *at = extend(s, 64);
    put_u32(at, rows), put_u32(at + 4, width), put_u32(at + 8, b->embedding_dtype);
    for (uint32_t i = 0; i < rows * width; i++) {
        put_value(s, b->embedding_dtype, bundle_fixture_table_value(i / width, i % width));
    }
}

static uint32_t write_sections(const bundle_fixture *b, section *list) {
    static const char *const engines[] = {"x_encoder", "predictor", "y_encoder", "y_decoder_prefix", "y_decoder"};
    uint32_t count = 0;
    write_config(b, add(list, &count, VLJ_SECTION_CONFIG, "config", ""));
    for (uint32_t i = 0; i < VLJ_COMPONENT_COUNT; i++) {
        if (!(b->component_mask >> i & 1) || (i >= VLJ_Y_DECODER_PREFIX && !b->prefix_tokens)) {
            continue;
        }
        char text[96];
        snprintf(text, sizeof text, "%s.onnx", engines[i]);
        section *s = add(list, &count, VLJ_SECTION_ENGINE, engines[i], b->image ? "" : text);
        int length = snprintf(text, sizeof text, "dummy engine %s: run by backend \"callback\"\n", engines[i]);
        memcpy(extend(s, (size_t)length), text, (size_t)length);
    }
    write_queries(b, list, &count);
    if (b->phrase_count) {
        write_phrases(b, add(list, &count, VLJ_SECTION_PHRASE_BANK, "words", ""));
    }
    if (b->query_table_rows) {
        write_table(b, add(list, &count, VLJ_SECTION_TOKEN_EMBEDDINGS, "query", ""), b->query_table_rows,
                    b->query_width);
    }
    if (b->prefix_tokens) {
        write_vocabulary(b, add(list, &count, VLJ_SECTION_VOCABULARY, "y_decoder", ""));
        write_table(b, add(list, &count, VLJ_SECTION_TOKEN_EMBEDDINGS, "y_decoder", ""), b->vocabulary,
                    b->decoder_width);
    }
    return count;
}

static void write_file(const char *path, const uint8_t *bytes, size_t size) {
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(bytes, 1, size, file) != size || fclose(file)) {
        die("cannot write", path);
    }
}

static void digest(const uint8_t *bytes, size_t size, const uint8_t *more, size_t more_size, uint8_t out[32]) {
    vlj_sha256 state;
    vlj_sha256_init(&state);
    vlj_sha256_update(&state, bytes, size);
    vlj_sha256_update(&state, more, more_size);
    vlj_sha256_final(&state, out);
}

void bundle_fixture_write(bundle_fixture *b) {
    const char *parent = getenv("TMPDIR");
    snprintf(b->folder, sizeof b->folder, "%s/vljepa_bundle_XXXXXX", parent ? parent : "/tmp");
    if (!mkdtemp(b->folder)) {
        die("cannot make folder", b->folder);
    }
    snprintf(b->index_path, sizeof b->index_path, "%s/%s", b->folder, b->image ? "model.vlj" : "index.vlj");
    snprintf(b->path, sizeof b->path, "%s", b->image ? b->index_path : b->folder);

    section list[MAX_SECTIONS];
    uint32_t count = write_sections(b, list);
    size_t end = HEADER_BYTES + (size_t)count * ENTRY_BYTES;
    for (uint32_t i = 0; i < count; i++) {
        if (list[i].file[0]) {
            char path[400];
            snprintf(path, sizeof path, "%s/%s", b->folder, list[i].file);
            write_file(path, list[i].bytes, list[i].size);
            continue;
        }
        list[i].offset = align_up(end, list[i].kind == VLJ_SECTION_ENGINE ? PAGE_BYTES : 64);
        end = list[i].offset + list[i].size;
    }
    uint8_t *out = calloc(1, end);
    if (!out) {
        die("no memory for", b->index_path);
    }
    memcpy(out, "VLJEPA\x1a\n", 8);
    put_u32(out + 8, b->format_version), put_u32(out + 12, b->image), put_u64(out + 16, end);
    put_u32(out + 24, count), put_u32(out + 28, ENTRY_BYTES), put_u64(out + 32, HEADER_BYTES);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *entry = out + HEADER_BYTES + (size_t)i * ENTRY_BYTES;
        put_u32(entry, list[i].kind), put_u64(entry + 8, list[i].offset), put_u64(entry + 16, list[i].size);
        digest(list[i].bytes, list[i].size, NULL, 0, entry + 24);
        memcpy(entry + 56, list[i].name, 63);
        memcpy(entry + 120, list[i].file, 63);
        if (list[i].offset) {
            memcpy(out + list[i].offset, list[i].bytes, list[i].size);
        }
        free(list[i].bytes);
    }
    digest(out, 40, out + HEADER_BYTES, (size_t)count * ENTRY_BYTES, out + 40);
    write_file(b->index_path, out, end);
    free(out);
}

void bundle_fixture_remove(bundle_fixture *b) {
    DIR *folder = opendir(b->folder);
    if (!folder) {
        return;
    }
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char path[600];
        snprintf(path, sizeof path, "%s/%s", b->folder, entry->d_name);
        if (entry->d_name[0] != '.') {
            unlink(path);
        }
    }
    closedir(folder);
    rmdir(b->folder);
}
