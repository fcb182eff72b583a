/* index.c: opens a bundle folder, its index or an image, maps what it names and compares digests.
 *
 * The bytes may come from anywhere, so nothing is used before it is checked: magic, version, bounds, the digest over
 * the section table, each entry (index_table.c), then, when asked, each section's own digest.
 */
#define _POSIX_C_SOURCE 200809L
#include "index.h"

#include <stdio.h>
#include <sys/stat.h>

#include "abi.h"
#include "error.h"
#include "index_table.h"
#include "sha256.h"

/* ---- sections ---- */

static vlj_status map_file(vlj_index *index, vlj_index_entry *e) {
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/%s", index->folder, e->section.file);
    if (length < 0 || (size_t)length >= sizeof path) {
        return vlj_fail(VLJ_E_BUNDLE_MISSING, "the path of %s in %s is too long", e->section.file, index->folder);
    }
    vlj_status status = vlj_mapped_file_open(path, &e->mapped);
    if (status != VLJ_OK) {
        char why[400];
        vlj_error_copy(why, sizeof why);
        return vlj_fail(status, "%s \"%s\": %s", vlj_section_kind_name(e->section.kind), e->section.name, why);
    }
    if (e->mapped.size != e->section.size) {
        return vlj_fail(VLJ_E_BUNDLE_HASH, "%s has %llu bytes, %s says %llu: the file was cut or changed", path,
                        (unsigned long long)e->mapped.size, index->path, (unsigned long long)e->section.size);
    }
    e->section.bytes = e->mapped.bytes;
    return VLJ_OK;
}

/* What the core itself reads and parses. */
static int is_core_kind(uint32_t kind) {
    return kind == VLJ_SECTION_CONFIG || kind == VLJ_SECTION_QUERY || kind == VLJ_SECTION_PHRASE_BANK ||
           kind == VLJ_SECTION_VOCABULARY || kind == VLJ_SECTION_TOKEN_EMBEDDINGS;
}

static vlj_status verify_section(const vlj_index *index, const vlj_index_entry *e) {
    vlj_sha256 hash;
    uint8_t digest[32];
    vlj_sha256_init(&hash);
    vlj_sha256_update(&hash, e->section.bytes, (size_t)e->section.size);
    vlj_sha256_final(&hash, digest);
    if (memcmp(digest, e->section.sha256, sizeof digest) != 0) {
        return vlj_fail(VLJ_E_BUNDLE_HASH,
                        "%s%s%s: the SHA-256 of %s \"%s\" is not the one in the section table: damaged",
                        e->offset == 0 ? index->folder : index->path, e->offset == 0 ? "/" : "", e->section.file,
                        vlj_section_kind_name(e->section.kind), e->section.name);
    }
    return VLJ_OK;
}

static vlj_status read_sections(vlj_index *index, vlj_verify verify) {
    if (index->count == 0) {
        return vlj_index_read_table(index, verify);
    }
    index->entries = vlj_alloc(index->host, index->count * sizeof *index->entries, 0);
    index->order = vlj_alloc(index->host, index->count * sizeof *index->order, 0);
    if (index->entries == NULL || index->order == NULL) {
        return vlj_fail(VLJ_E_MEMORY, "%s: no memory for %u sections", index->path, index->count);
    }
    vlj_status status = vlj_index_read_table(index, verify);
    for (uint32_t i = 0; i < index->count && status == VLJ_OK; i++) {
        vlj_index_entry *e = &index->entries[i];
        if (e->offset == 0) {
            status = map_file(index, e);
        }
        if (status == VLJ_OK &&
            (verify == VLJ_VERIFY_ALL || (verify == VLJ_VERIFY_INSIDE && is_core_kind(e->section.kind)))) {
            status = verify_section(index, e);
        }
    }
    return status;
}

/* ---- opening ---- */

static char *copy_text(const vlj_host *host, const char *text, size_t length, size_t *bytes) {
    char *copy = vlj_alloc(host, length + 1, 0);
    if (copy != NULL) {
        memcpy(copy, text, length);
        *bytes = length + 1;
    }
    return copy;
}

static vlj_status new_index(const vlj_host *host, vlj_index **index) {
    vlj_host own;
    if (host == NULL) {
        vlj_host_init(&own, NULL); /* cannot fail without hooks */
    }
    vlj_index *made = vlj_alloc(host != NULL ? host : &own, sizeof *made, 0);
    if (made == NULL) {
        return vlj_fail(VLJ_E_MEMORY, "no memory for an index");
    }
    if (host == NULL) {
        vlj_host_init(&made->own_host, NULL);
    }
    made->host = host != NULL ? host : &made->own_host;
    *index = made;
    return VLJ_OK;
}

/* A folder stands for the index in it. */
static vlj_status resolve_path(vlj_index *index, const char *path) {
    char buffer[4096];
    struct stat status;
    int is_folder = stat(path, &status) == 0 && S_ISDIR(status.st_mode);
    size_t length = strlen(path);
    while (is_folder && length > 1 && path[length - 1] == '/') {
        length--;
    }
    int written = snprintf(buffer, sizeof buffer, "%.*s%s", (int)(length < 4096 ? length : 4096), path,
                           is_folder ? "/index.vlj" : "");
    if (written < 0 || (size_t)written >= sizeof buffer) {
        return vlj_fail(VLJ_E_BUNDLE_MISSING, "the bundle's path is too long: it has %zu bytes, at most 4000", length);
    }
    const char *slash = strrchr(buffer, '/');
    size_t folder_length = slash == NULL ? 1 : slash == buffer ? 1 : (size_t)(slash - buffer);
    index->path = copy_text(index->host, buffer, (size_t)written, &index->path_bytes);
    index->folder = copy_text(index->host, slash == NULL ? "." : buffer, folder_length, &index->folder_bytes);
    return index->path != NULL && index->folder != NULL ? VLJ_OK
                                                        : vlj_fail(VLJ_E_MEMORY, "no memory for the path %s", path);
}

vlj_status vlj_index_open_host(const vlj_host *host, const char *path, vlj_verify verify, vlj_index **index) {
    if (index == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "vlj_index_open: index is NULL");
    }
    *index = NULL;
    if (path == NULL || path[0] == '\0') {
        return vlj_fail(VLJ_E_ARGUMENT, "the bundle's path is empty");
    }
    vlj_index *made = NULL;
    vlj_status status = new_index(host, &made);
    if (status != VLJ_OK) {
        return status;
    }
    status = resolve_path(made, path);
    if (status == VLJ_OK) {
        status = vlj_mapped_file_open(made->path, &made->mapped);
    }
    if (status == VLJ_OK) {
        made->bytes = made->mapped.bytes;
        made->size = made->mapped.size;
        status = vlj_index_read_header(made, 1);
    }
    if (status == VLJ_OK) {
        status = read_sections(made, verify);
    }
    if (status != VLJ_OK) {
        vlj_index_close(made);
        return status;
    }
    *index = made;
    return VLJ_OK;
}

vlj_status vlj_index_open(const char *path, uint32_t verify_hashes, vlj_index **index) {
    return vlj_index_open_host(NULL, path, verify_hashes ? VLJ_VERIFY_ALL : VLJ_VERIFY_TABLE, index);
}

vlj_status vlj_index_open_memory(const void *bytes, size_t size, uint32_t verify_hashes, vlj_index **index) {
    if (index == NULL || bytes == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "vlj_index_open_memory: %s is NULL", index == NULL ? "index" : "bytes");
    }
    *index = NULL;
    if ((uintptr_t)bytes % 64 != 0) {
        return vlj_fail(VLJ_E_ARGUMENT, "vlj_index_open_memory: bytes are not aligned to 64");
    }
    vlj_index *made = NULL;
    vlj_status status = new_index(NULL, &made);
    if (status != VLJ_OK) {
        return status;
    }
    made->path = copy_text(made->host, "<memory>", 8, &made->path_bytes);
    made->bytes = bytes;
    made->size = size;
    /* A flash partition is larger than the image in it, so bytes after the image are let be. */
    status = made->path != NULL ? vlj_index_read_header(made, 0) : vlj_fail(VLJ_E_MEMORY, "no memory for an index");
    if (status == VLJ_OK) {
        status = read_sections(made, verify_hashes ? VLJ_VERIFY_ALL : VLJ_VERIFY_TABLE);
    }
    if (status != VLJ_OK) {
        vlj_index_close(made);
        return status;
    }
    *index = made;
    return VLJ_OK;
}

void vlj_index_close(vlj_index *index) {
    if (index == NULL) {
        return;
    }
    const vlj_host *host = index->host;
    for (uint32_t i = 0; index->entries != NULL && i < index->count; i++) {
        vlj_mapped_file_close(&index->entries[i].mapped);
    }
    vlj_free(host, index->entries, index->count * sizeof *index->entries);
    vlj_free(host, index->order, index->count * sizeof *index->order);
    vlj_free(host, index->path, index->path_bytes);
    vlj_free(host, index->folder, index->folder_bytes);
    vlj_mapped_file_close(&index->mapped);
    vlj_host own;
    if (host == &index->own_host) { /* it goes with the index, so its last release needs a copy */
        vlj_host_fork(&own, host);
        host = &own;
    }
    vlj_free(host, index, sizeof *index);
}

/* ---- questions ---- */

uint32_t vlj_index_section_count(const vlj_index *index) {
    return index != NULL ? index->count : 0;
}

vlj_status vlj_index_section(const vlj_index *index, uint32_t i, vlj_section *section) {
    if (index == NULL || i >= index->count) {
        return vlj_fail(VLJ_E_ARGUMENT, "vlj_index_section: section %u of %u", i, vlj_index_section_count(index));
    }
    return vlj_struct_write(section, &index->entries[i].section, sizeof *section, "section");
}

static const vlj_index_entry *find(const vlj_index *index, uint32_t kind, const char *name) {
    for (uint32_t i = 0; i < index->count; i++) {
        const vlj_section *section = &index->entries[i].section;
        if (section->kind == kind && strcmp(section->name, name) == 0) {
            return &index->entries[i];
        }
    }
    return NULL;
}

vlj_status vlj_index_find(const vlj_index *index, uint32_t kind, const char *name, vlj_section *section) {
    const vlj_index_entry *e = find(index, kind, name);
    if (e == NULL) {
        return vlj_fail(VLJ_E_BUNDLE_MISSING, "%s has no %s \"%s\"", index->path, vlj_section_kind_name(kind), name);
    }
    *section = e->section;
    return VLJ_OK;
}

int vlj_index_has(const vlj_index *index, uint32_t kind, const char *name) {
    return find(index, kind, name) != NULL;
}

int vlj_index_nth(const vlj_index *index, uint32_t kind, uint32_t i, vlj_section *section) {
    for (uint32_t at = 0; at < index->count; at++) {
        if (index->entries[at].section.kind == kind && i-- == 0) {
            *section = index->entries[at].section;
            return 1;
        }
    }
    return 0;
}

const char *vlj_index_path(const vlj_index *index) {
    return index->path;
}

const char *vlj_index_folder(const vlj_index *index) {
    return index->image ? NULL : index->folder;
}

const uint8_t *vlj_index_digest(const vlj_index *index) {
    return index->bytes + VLJ_INDEX_DIGEST_OFFSET;
}

size_t vlj_index_mapped_bytes(const vlj_index *index) {
    size_t bytes = index->mapped.size;
    for (uint32_t i = 0; i < index->count; i++) {
        bytes += index->entries[i].mapped.size;
    }
    return bytes;
}
