/* index_table.h: the index as it is being read, shared by the table's checks (index_table.c) and the opening (index.c).
 */
#ifndef VLJ_CORE_INDEX_TABLE_H
#define VLJ_CORE_INDEX_TABLE_H

#include "index.h"
#include "mapped_file.h"

enum { VLJ_INDEX_HEADER_BYTES = 128, VLJ_INDEX_ENTRY_BYTES = 192, VLJ_INDEX_DIGEST_OFFSET = 40 };

typedef struct vlj_index_entry {
    vlj_section section;
    uint64_t offset;        /* 0: a file of its own */
    vlj_mapped_file mapped; /* that file */
} vlj_index_entry;

struct vlj_index {
    const vlj_host *host;
    vlj_host own_host; /* used where the caller of the public functions has none to give */
    vlj_mapped_file mapped;
    const uint8_t *bytes;
    uint64_t size;
    char *path, *folder; /* folder is NULL for bytes in memory */
    size_t path_bytes, folder_bytes;
    uint32_t image;
    uint32_t count;
    vlj_index_entry *entries;
    uint32_t *order; /* of the inner sections by offset */
};

const char *vlj_section_kind_name(uint32_t kind);

/* Checks the header of index->bytes and fills image and count; `exact_size` 0 allows bytes after the image. */
vlj_status vlj_index_read_header(vlj_index *index, int exact_size);
/* Checks every entry and their layout and fills index->entries (allocated by the caller); files are not opened here. */
vlj_status vlj_index_read_table(vlj_index *index, vlj_verify verify);

#endif
