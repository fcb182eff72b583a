/* index.h: what the rest of the core asks a bundle's index beyond the public vlj_index_* functions. */
#ifndef VLJ_CORE_INDEX_H
#define VLJ_CORE_INDEX_H

#include "hooks.h"
#include "vljepa.h"

/* Which sections' digests are compared at open. The header's digest over the section table is always compared. */
typedef enum vlj_verify {
    VLJ_VERIFY_TABLE = 0,  /* the section table only */
    VLJ_VERIFY_ALL = 1,    /* every section, and that the bytes between sections are zero */
    VLJ_VERIFY_INSIDE = 2, /* what the core itself reads; engines and files for tools are left out */
} vlj_verify;

/* vlj_index_open with the caller's hooks. `host` must outlive the index. */
vlj_status vlj_index_open_host(const vlj_host *host, const char *path, vlj_verify verify, vlj_index **index);

/* VLJ_E_BUNDLE_MISSING with a sentence when the bundle has no such section. section->struct_size needs no setting. */
vlj_status vlj_index_find(const vlj_index *index, uint32_t kind, const char *name, vlj_section *section);
/* The same without an error sentence: 1 when it is there. */
int vlj_index_has(const vlj_index *index, uint32_t kind, const char *name);
/* The i-th section of that kind in table order, 0 when there are fewer. */
int vlj_index_nth(const vlj_index *index, uint32_t kind, uint32_t i, vlj_section *section);

const char *vlj_index_path(const vlj_index *index); /* the opened file, for sentences; "<memory>" for bytes in memory */
const char *vlj_index_folder(const vlj_index *index);    /* where its files lie; NULL for an image or memory */
const uint8_t *vlj_index_digest(const vlj_index *index); /* 32 bytes: identifies the bundle */
size_t vlj_index_mapped_bytes(const vlj_index *index);

#endif
