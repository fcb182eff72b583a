/* sha256.h: incremental SHA-256 (FIPS 180-4). */
#ifndef VLJ_CORE_SHA256_H
#define VLJ_CORE_SHA256_H

#include <stddef.h>
#include <stdint.h>

typedef struct vlj_sha256 {
    uint32_t state[8];
    uint64_t length; /* bytes so far */
    uint8_t block[64];
} vlj_sha256;

void vlj_sha256_init(vlj_sha256 *hash);
void vlj_sha256_update(vlj_sha256 *hash, const void *bytes, size_t size);
void vlj_sha256_final(vlj_sha256 *hash, uint8_t digest[32]);

/* `text` takes 64 hex digits and NUL. */
void vlj_sha256_hex(const uint8_t digest[32], char text[65]);

#endif
