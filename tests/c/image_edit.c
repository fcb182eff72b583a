/* image_edit.c: loads, edits and re-signs an index or image for the tests of its reader. */
#include "image_edit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sha256.h"

enum { HEADER_BYTES = 128, ENTRY_BYTES = 192 };

static void die(const char *what, const char *which) {
    fprintf(stderr, "image_edit: %s %s\n", what, which);
    exit(1);
}

static image_bytes make(size_t size) {
    size_t room = (size + 63) / 64 * 64 + 64;
    image_bytes made = {aligned_alloc(64, room), size};
    if (made.bytes == NULL) {
        die("no memory for", "an image");
    }
    memset(made.bytes, 0, room);
    return made;
}

image_bytes image_load(const char *path) {
    FILE *file = fopen(path, "rb");
    if (file == NULL || fseek(file, 0, SEEK_END) != 0) {
        die("cannot open", path);
    }
    image_bytes loaded = make((size_t)ftell(file));
    rewind(file);
    if (fread(loaded.bytes, 1, loaded.size, file) != loaded.size) {
        die("cannot read", path);
    }
    fclose(file);
    return loaded;
}

image_bytes image_copy(const image_bytes *from) {
    image_bytes copy = make(from->size);
    memcpy(copy.bytes, from->bytes, from->size);
    return copy;
}

void image_save(const image_bytes *from, const char *path) {
    FILE *file = fopen(path, "wb");
    if (file == NULL || fwrite(from->bytes, 1, from->size, file) != from->size || fclose(file) != 0) {
        die("cannot write", path);
    }
}

void image_free(image_bytes *image) {
    free(image->bytes);
    image->bytes = NULL;
}

uint32_t image_u32(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

uint64_t image_u64(const uint8_t *at) {
    return image_u32(at) | (uint64_t)image_u32(at + 4) << 32;
}

void image_put_u32(uint8_t *at, uint32_t value) {
    for (int i = 0; i < 4; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

void image_put_u64(uint8_t *at, uint64_t value) {
    image_put_u32(at, (uint32_t)value);
    image_put_u32(at + 4, (uint32_t)(value >> 32));
}

uint8_t *image_entry(const image_bytes *image, uint32_t section) {
    return image->bytes + image_u64(image->bytes + 32) + (size_t)section * ENTRY_BYTES;
}

uint8_t *image_section(const image_bytes *image, uint32_t kind, const char *name) {
    for (uint32_t i = 0; i < image_u32(image->bytes + 24); i++) {
        uint8_t *entry = image_entry(image, i);
        if (image_u32(entry) == kind && strcmp((const char *)entry + 56, name) == 0) {
            return image->bytes + image_u64(entry + 8);
        }
    }
    die("no section", name);
    return NULL;
}

static void digest(const uint8_t *bytes, size_t size, const uint8_t *more, size_t more_size, uint8_t out[32]) {
    vlj_sha256 hash;
    vlj_sha256_init(&hash);
    vlj_sha256_update(&hash, bytes, size);
    vlj_sha256_update(&hash, more, more_size);
    vlj_sha256_final(&hash, out);
}

void image_rehash(image_bytes *image, const char *folder) {
    uint64_t table = image_u64(image->bytes + 32), count = image_u32(image->bytes + 24);
    if (image->size < HEADER_BYTES || table > image->size || count > (image->size - table) / ENTRY_BYTES) {
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        uint8_t *entry = image_entry(image, i);
        uint64_t offset = image_u64(entry + 8), size = image_u64(entry + 16);
        if (offset != 0 && offset <= image->size && size <= image->size - offset) {
            digest(image->bytes + offset, (size_t)size, NULL, 0, entry + 24);
        } else if (offset == 0 && folder != NULL) {
            char path[1024];
            snprintf(path, sizeof path, "%s/%.63s", folder, (const char *)entry + 120);
            image_bytes file = image_load(path);
            image_put_u64(entry + 16, file.size);
            digest(file.bytes, file.size, NULL, 0, entry + 24);
            image_free(&file);
        }
    }
    digest(image->bytes, 40, image->bytes + table, (size_t)count * ENTRY_BYTES, image->bytes + 40);
}
