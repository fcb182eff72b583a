/* image_edit.h: a bundle's index in memory, to be damaged on purpose; with or without digests that hide the damage. */
#ifndef VLJ_TESTS_IMAGE_EDIT_H
#define VLJ_TESTS_IMAGE_EDIT_H

#include <stddef.h>
#include <stdint.h>

typedef struct image_bytes {
    uint8_t *bytes; /* 64-byte aligned */
    size_t size;
} image_bytes;

image_bytes image_load(const char *path);
image_bytes image_copy(const image_bytes *from);
void image_save(const image_bytes *from, const char *path);
void image_free(image_bytes *image);

uint8_t *image_entry(const image_bytes *image, uint32_t section); /* its 192 bytes in the section table */
uint8_t *image_section(const image_bytes *image, uint32_t kind,
                       const char *name); /* its bytes; exits when there is none */

void image_put_u32(uint8_t *at, uint32_t value);
void image_put_u64(uint8_t *at, uint64_t value);
uint32_t image_u32(const uint8_t *at);
uint64_t image_u64(const uint8_t *at);

/* Makes every digest fit again: of inner sections whose bounds are sound, of files that lie in `folder` (with their
 * sizes; NULL: leave them), then of header and table. */
void image_rehash(image_bytes *image, const char *folder);

#endif
