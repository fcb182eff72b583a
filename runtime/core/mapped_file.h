/* mapped_file.h: a whole regular file, mapped read-only. */
#ifndef VLJ_CORE_MAPPED_FILE_H
#define VLJ_CORE_MAPPED_FILE_H

#include "vljepa.h"

typedef struct vlj_mapped_file {
    const uint8_t *bytes; /* never NULL after a successful open, page-aligned unless size is 0 */
    size_t size;
} vlj_mapped_file;

/* VLJ_E_BUNDLE_MISSING when it is absent, unreadable or not a regular file. */
vlj_status vlj_mapped_file_open(const char *path, vlj_mapped_file *file);
void vlj_mapped_file_close(vlj_mapped_file *file);

#endif
