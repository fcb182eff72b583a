/* abi.h: copies options in and results out across struct_size, so that a caller built against another header works. */
#ifndef VLJ_CORE_ABI_H
#define VLJ_CORE_ABI_H

#include <string.h>

#include "error.h"
#include "vljepa.h"

/* Reads a caller's struct into ours: fields that an older caller doesn't know stay 0. A newer caller's extra fields
 * must be 0, since this library cannot do what they ask. `theirs` NULL leaves all 0. ours->struct_size becomes our
 * size. */
static inline vlj_status vlj_struct_read(void *ours, size_t ours_bytes, const void *theirs, const char *name) {
    uint32_t theirs_bytes = 0;
    memset(ours, 0, ours_bytes);
    if (theirs != NULL) {
        memcpy(&theirs_bytes, theirs, sizeof theirs_bytes);
        if (theirs_bytes < sizeof theirs_bytes || theirs_bytes > 65536) {
            return vlj_fail(VLJ_E_ARGUMENT, "%s.struct_size is %u, expected %zu: set it with VLJ_INIT", name,
                            theirs_bytes, ours_bytes);
        }
        memcpy(ours, theirs, theirs_bytes < ours_bytes ? theirs_bytes : ours_bytes);
        for (size_t i = ours_bytes; i < theirs_bytes; i++) {
            if (((const unsigned char *)theirs)[i] != 0) {
                return vlj_fail(VLJ_E_VERSION, "%s has a field at byte %zu that this library, version %s, doesn't know",
                                name, i, vlj_version());
            }
        }
    }
    uint32_t size = (uint32_t)ours_bytes;
    memcpy(ours, &size, sizeof size);
    return VLJ_OK;
}

/* Writes our struct into a caller's, as far as the caller knows it; theirs->struct_size stays. */
static inline vlj_status vlj_struct_write(void *theirs, const void *ours, size_t ours_bytes, const char *name) {
    uint32_t theirs_bytes = 0;
    if (theirs == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "%s is NULL", name);
    }
    memcpy(&theirs_bytes, theirs, sizeof theirs_bytes);
    if (theirs_bytes < sizeof theirs_bytes || theirs_bytes > 65536) {
        return vlj_fail(VLJ_E_ARGUMENT, "%s.struct_size is %u, expected %zu: set it with VLJ_INIT", name, theirs_bytes,
                        ours_bytes);
    }
    memset(theirs, 0, theirs_bytes);
    memcpy(theirs, ours, theirs_bytes < ours_bytes ? theirs_bytes : ours_bytes);
    memcpy(theirs, &theirs_bytes, sizeof theirs_bytes);
    return VLJ_OK;
}

#endif
