/* bytes.h: little-endian loads from unaligned bytes, and the UTF-8 check for every text that comes out of a file. */
#ifndef VLJ_CORE_BYTES_H
#define VLJ_CORE_BYTES_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Mapped rows of floats and offsets are used as they lie in the file. */
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "libvljepa maps little-endian bundles and needs a little-endian machine"
#endif

static inline uint32_t vlj_load_u32(const uint8_t *bytes) {
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}

static inline uint64_t vlj_load_u64(const uint8_t *bytes) {
    return (uint64_t)vlj_load_u32(bytes) | (uint64_t)vlj_load_u32(bytes + 4) << 32;
}

static inline float vlj_load_f32(const uint8_t *bytes) {
    uint32_t bits = vlj_load_u32(bytes);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline int vlj_all_zero(const uint8_t *bytes, size_t size) {
    uint8_t any = 0;
    for (size_t i = 0; i < size; i++) {
        any |= bytes[i];
    }
    return any == 0;
}

/* Well-formed UTF-8 without NUL. */
static inline int vlj_utf8_valid(const char *text, size_t size) {
    const uint8_t *at = (const uint8_t *)text, *end = at + size;
    while (at < end) {
        uint8_t lead = *at++;
        if (lead < 0x80) {
            if (lead == 0) {
                return 0;
            }
            continue;
        }
        int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
        if (lead < 0xC2 || lead > 0xF4 || end - at < more) {
            return 0; /* a continuation alone, an overlong form, above U+10FFFF, or cut */
        }
        if ((lead == 0xE0 && at[0] < 0xA0) || (lead == 0xED && at[0] > 0x9F) || (lead == 0xF0 && at[0] < 0x90) ||
            (lead == 0xF4 && at[0] > 0x8F)) {
            return 0; /* overlong, a surrogate, or above U+10FFFF */
        }
        for (; more > 0; more--) {
            if ((*at++ & 0xC0) != 0x80) {
                return 0;
            }
        }
    }
    return 1;
}

#endif
