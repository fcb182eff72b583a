/* engine_key.c: reads engines.key and compares it with the bundle's sections. */
#include "engine_key.h"

#include <stdio.h>
#include <string.h>

#include "error.h"
#include "mapped_file.h"
#include "sha256.h"

enum { MOST_BYTES = 4096, LINES = 3 + VLJ_COMPONENT_COUNT, LINE_BYTES = 256 };

/* "y_decoder.onnx.data" belongs to y_decoder, and not to y_decoder_prefix. */
static int is_data_of(const vlj_section *section, const char *component) {
    size_t length = strlen(component);
    return strncmp(section->name, component, length) == 0 && strncmp(section->name + length, ".onnx", 5) == 0;
}

static vlj_status digest_sources(const vlj_engine_spec *spec, char hex[65]) {
    const char *name = vlj_component_name(spec->component);
    vlj_section section;
    vlj_sha256 hash;
    uint8_t digest[32];
    vlj_status status = vlj_index_find(spec->index, VLJ_SECTION_ENGINE, name, &section);
    if (status != VLJ_OK) {
        return status;
    }
    vlj_sha256_init(&hash);
    vlj_sha256_update(&hash, section.sha256, sizeof section.sha256);
    for (uint32_t i = 0; vlj_index_nth(spec->index, VLJ_SECTION_ENGINE_DATA, i, &section); i++) {
        if (is_data_of(&section, name)) {
            vlj_sha256_update(&hash, section.sha256, sizeof section.sha256);
        }
    }
    vlj_sha256_final(&hash, digest);
    vlj_sha256_hex(digest, hex);
    return VLJ_OK;
}

/* Cuts the text into lines; how many there are, of those that fit. */
static int cut(const uint8_t *bytes, size_t size, char lines[LINES][LINE_BYTES]) {
    int count = 0;
    for (size_t at = 0; at < size && count < LINES;) {
        const uint8_t *end = memchr(bytes + at, '\n', size - at);
        size_t length = end != NULL ? (size_t)(end - bytes) - at : size - at;
        size_t kept = length < LINE_BYTES - 1 ? length : LINE_BYTES - 1;
        memcpy(lines[count], bytes + at, kept);
        lines[count++][kept] = '\0';
        at += length + 1;
    }
    return count;
}

static vlj_status find_component(const char *path, const vlj_engine_spec *spec, char lines[LINES][LINE_BYTES],
                                 int count, vlj_engine_key *key) {
    const char *wanted = vlj_component_name(spec->component);
    char expected[65];
    vlj_status status = digest_sources(spec, expected);
    if (status != VLJ_OK) {
        return status;
    }
    for (int i = 3; i < count; i++) {
        char name[32], digest[65], file[96];
        if (sscanf(lines[i], "%31s %64s %95s", name, digest, file) != 3 || strcmp(name, wanted) != 0) {
            continue;
        }
        if (strchr(file, '/') != NULL) {
            return vlj_fail(VLJ_E_BUNDLE, "%s: %s's engine is \"%s\", expected a file of the folder", path, wanted,
                            file);
        }
        if (strcmp(digest, expected) != 0) {
            return vlj_fail(VLJ_E_BUNDLE_HASH,
                            "%s: %s's engine was built from another bundle (%.12s..., here %.12s...): %s", path, wanted,
                            digest, expected, VLJ_ENGINE_KEY_ADVICE);
        }
        snprintf(key->file, sizeof key->file, "%s", file);
        return VLJ_OK;
    }
    return vlj_fail(VLJ_E_BUNDLE_MISSING, "%s: there is no engine of component %s: %s", path, wanted,
                    VLJ_ENGINE_KEY_ADVICE);
}

vlj_status vlj_engine_key_read(const char *folder, const vlj_engine_spec *spec, const char *builder,
                               vlj_engine_key *key) {
    char path[4096], lines[LINES][LINE_BYTES] = {{0}};
    vlj_mapped_file file;
    memset(key, 0, sizeof *key);
    int length = snprintf(path, sizeof path, "%s/" VLJ_ENGINE_KEY_FILE, folder);
    if (length < 0 || (size_t)length >= sizeof path) {
        return vlj_fail(VLJ_E_BUNDLE_MISSING, "options.engine_folder is too long a path");
    }
    vlj_status status = vlj_mapped_file_open(path, &file);
    if (status != VLJ_OK) {
        return status;
    }
    int count = file.size <= MOST_BYTES ? cut(file.bytes, file.size, lines) : 0;
    vlj_mapped_file_close(&file);
    if (count < 4 || strcmp(lines[0], "vljepa-engines 1") != 0) {
        return vlj_fail(VLJ_E_BUNDLE, "%s: expected \"vljepa-engines 1\" and engines, found \"%.40s\"", path, lines[0]);
    }
    size_t name = strlen(builder);
    if (strncmp(lines[1], builder, name) != 0 || lines[1][name] != ' ') {
        return vlj_fail(VLJ_E_BACKEND, "%s: engines for %.60s, expected %s", path, lines[1], builder);
    }
    snprintf(key->library, sizeof key->library, "%.95s", lines[1]);
    snprintf(key->device, sizeof key->device, "%.159s", lines[2]);
    return find_component(path, spec, lines, count, key);
}

int vlj_engine_key_same_library(const vlj_engine_key *key, const char *name, const char *version) {
    int built[3] = {-1, -1, -1}, here[3] = {-1, -1, -1};
    size_t length = strlen(name);
    return strncmp(key->library, name, length) == 0 &&
           sscanf(key->library + length, " %d.%d.%d", &built[0], &built[1], &built[2]) == 3 &&
           sscanf(version, "%d.%d.%d", &here[0], &here[1], &here[2]) == 3 && memcmp(built, here, sizeof built) == 0;
}
