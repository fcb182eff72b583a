/* index_table.c: checks an index's header and section table (docs/format.md) before anything in them is used. */
#include "index_table.h"

#include <string.h>

#include "bytes.h"
#include "error.h"
#include "sha256.h"

enum { MAX_SECTIONS = 4096, PAGE_BYTES = 4096, NAME_BYTES = 64 };
#define FORMAT_VERSION 1u
#define FLAG_IMAGE 1u

const char *vlj_section_kind_name(uint32_t kind) {
    static const char *const names[] = {"unknown", "config",      "engine",     "engine data",
                                        "query",   "phrase bank", "vocabulary", "token embeddings",
                                        "golden",  "tokenizer",   "manifest"};
    return kind < sizeof names / sizeof names[0] ? names[kind] : names[0];
}

/* ---- header ---- */

vlj_status vlj_index_read_header(vlj_index *index, int exact_size) {
    static const uint8_t magic[8] = {'V', 'L', 'J', 'E', 'P', 'A', 0x1a, '\n'};
    const uint8_t *at = index->bytes;
    if (index->size < sizeof magic || memcmp(at, magic, sizeof magic) != 0) {
        return vlj_fail(VLJ_E_BUNDLE, "%s is not a vljepa index or image: its first 8 bytes are not the magic",
                        index->path);
    }
    if (index->size < VLJ_INDEX_HEADER_BYTES) {
        return vlj_fail(VLJ_E_BUNDLE, "%s is cut: it has %llu bytes, the header alone takes %d", index->path,
                        (unsigned long long)index->size, VLJ_INDEX_HEADER_BYTES);
    }
    uint32_t version = vlj_load_u32(at + 8);
    if (version != FORMAT_VERSION) {
        return vlj_fail(VLJ_E_BUNDLE_SCHEMA, "%s: format version is %u, this library reads %u: export the bundle again",
                        index->path, version, FORMAT_VERSION);
    }
    uint64_t told = vlj_load_u64(at + 16);
    if (told > index->size || told < VLJ_INDEX_HEADER_BYTES || (exact_size && told != index->size)) {
        return vlj_fail(VLJ_E_BUNDLE,
                        "%s has %llu bytes, its header says %llu: the file was cut or something was appended",
                        index->path, (unsigned long long)index->size, (unsigned long long)told);
    }
    index->size = told;
    index->image = vlj_load_u32(at + 12) & FLAG_IMAGE;
    index->count = vlj_load_u32(at + 24);
    if (index->count > MAX_SECTIONS) {
        return vlj_fail(VLJ_E_BUNDLE, "%s: number of sections is %u, at most %d", index->path, index->count,
                        MAX_SECTIONS);
    }
    uint32_t entry_bytes = vlj_load_u32(at + 28);
    if (entry_bytes != VLJ_INDEX_ENTRY_BYTES) {
        return vlj_fail(VLJ_E_BUNDLE, "%s: bytes per section entry is %u, expected %d", index->path, entry_bytes,
                        VLJ_INDEX_ENTRY_BYTES);
    }
    uint64_t table = vlj_load_u64(at + 32), table_bytes = (uint64_t)index->count * VLJ_INDEX_ENTRY_BYTES;
    if (table < VLJ_INDEX_HEADER_BYTES || table % 64 != 0 || table > index->size || table_bytes > index->size - table) {
        return vlj_fail(VLJ_E_BUNDLE,
                        "%s: the section table at %llu (%u sections) does not lie in the file's %llu bytes",
                        index->path, (unsigned long long)table, index->count, (unsigned long long)index->size);
    }
    vlj_sha256 hash;
    uint8_t digest[32];
    vlj_sha256_init(&hash);
    vlj_sha256_update(&hash, at, VLJ_INDEX_DIGEST_OFFSET);
    vlj_sha256_update(&hash, at + table, (size_t)table_bytes);
    vlj_sha256_final(&hash, digest);
    if (memcmp(digest, at + VLJ_INDEX_DIGEST_OFFSET, sizeof digest) != 0) {
        return vlj_fail(VLJ_E_BUNDLE_HASH,
                        "%s: the SHA-256 of header and section table is not the one in the header: damaged",
                        index->path);
    }
    /* No digest covers the rest of the header, so this is where a flipped bit in it shows. */
    if (!vlj_all_zero(at + VLJ_INDEX_DIGEST_OFFSET + 32, VLJ_INDEX_HEADER_BYTES - VLJ_INDEX_DIGEST_OFFSET - 32)) {
        return vlj_fail(VLJ_E_BUNDLE_HASH, "%s: the header's bytes 72-127 are not zero: damaged", index->path);
    }
    return VLJ_OK;
}

/* ---- section table ---- */

/* A field of 64 bytes: UTF-8, NUL-padded, at least one NUL. */
static int read_name(char to[NAME_BYTES], const uint8_t *from) {
    size_t length = 0;
    while (length < NAME_BYTES && from[length] != 0) {
        length++;
    }
    if (length == NAME_BYTES || !vlj_all_zero(from + length, NAME_BYTES - length)) {
        return 0;
    }
    memcpy(to, from, NAME_BYTES);
    return vlj_utf8_valid(to, length);
}

static vlj_status read_entry(vlj_index *index, uint32_t i, const uint8_t *at) {
    vlj_index_entry *e = &index->entries[i];
    vlj_section *section = &e->section;
    section->struct_size = sizeof *section;
    section->kind = vlj_load_u32(at);
    e->offset = vlj_load_u64(at + 8);
    section->size = vlj_load_u64(at + 16);
    memcpy(section->sha256, at + 24, sizeof section->sha256);
    if (!read_name(section->name, at + 56) || section->name[0] == '\0') {
        return vlj_fail(VLJ_E_BUNDLE, "%s: section %u: name is empty, or not text padded with NUL", index->path, i);
    }
    if (!read_name(section->file, at + 120)) {
        return vlj_fail(VLJ_E_BUNDLE, "%s: section %u (%s \"%s\"): file is not text padded with NUL", index->path, i,
                        vlj_section_kind_name(section->kind), section->name);
    }
    if (section->file[0] != '\0') {
        if (index->image || index->folder == NULL) {
            return vlj_fail(VLJ_E_BUNDLE, "%s: section %u (%s \"%s\") names the file %s, but an image has all inside",
                            index->path, i, vlj_section_kind_name(section->kind), section->name, section->file);
        }
        if (strchr(section->file, '/') != NULL || strstr(section->file, "..") != NULL ||
            strcmp(section->file, ".") == 0) {
            return vlj_fail(VLJ_E_BUNDLE, "%s: section %u (%s \"%s\"): file \"%s\" is not a plain file name",
                            index->path, i, vlj_section_kind_name(section->kind), section->name, section->file);
        }
        if (e->offset != 0) {
            return vlj_fail(VLJ_E_BUNDLE, "%s: section %u (%s \"%s\"): offset is %llu, expected 0 for a file",
                            index->path, i, vlj_section_kind_name(section->kind), section->name,
                            (unsigned long long)e->offset);
        }
        return VLJ_OK;
    }
    uint64_t align = index->image && section->kind == VLJ_SECTION_ENGINE ? PAGE_BYTES : 64;
    if (e->offset < VLJ_INDEX_HEADER_BYTES || e->offset % align != 0 || e->offset > index->size ||
        section->size > index->size - e->offset) {
        return vlj_fail(
            VLJ_E_BUNDLE,
            "%s: section %u (%s \"%s\"): offset %llu with %llu bytes does not lie in the file's %llu bytes on a "
            "multiple of %llu",
            index->path, i, vlj_section_kind_name(section->kind), section->name, (unsigned long long)e->offset,
            (unsigned long long)section->size, (unsigned long long)index->size, (unsigned long long)align);
    }
    section->bytes = index->bytes + e->offset;
    return VLJ_OK;
}

static vlj_status check_unique(const vlj_index *index) {
    for (uint32_t i = 0; i < index->count; i++) {
        const vlj_section *a = &index->entries[i].section;
        for (uint32_t j = 0; j < i; j++) {
            const vlj_section *b = &index->entries[j].section;
            if (a->kind == b->kind && memcmp(a->name, b->name, NAME_BYTES) == 0) {
                return vlj_fail(VLJ_E_BUNDLE, "%s: sections %u and %u are both %s \"%s\"", index->path, j, i,
                                vlj_section_kind_name(a->kind), a->name);
            }
        }
    }
    return VLJ_OK;
}

static vlj_status check_gap(const vlj_index *index, vlj_verify verify, uint64_t end, uint64_t start, const char *what) {
    if (start < end) {
        return vlj_fail(VLJ_E_BUNDLE, "%s: \"%s\" at %llu overlaps what ends at %llu", index->path, what,
                        (unsigned long long)start, (unsigned long long)end);
    }
    if (verify == VLJ_VERIFY_ALL && !vlj_all_zero(index->bytes + end, (size_t)(start - end))) {
        return vlj_fail(VLJ_E_BUNDLE_HASH, "%s: the bytes between sections, %llu to %llu, are not zero: damaged",
                        index->path, (unsigned long long)end, (unsigned long long)start);
    }
    return VLJ_OK;
}

/* Sections, header and table must not overlap; and since no digest covers what lies between them, that must be zero. */
static vlj_status check_layout(vlj_index *index, vlj_verify verify) {
    uint64_t table = vlj_load_u64(index->bytes + 32),
             table_end = table + (uint64_t)index->count * VLJ_INDEX_ENTRY_BYTES;
    uint32_t inner = 0;
    for (uint32_t i = 0; i < index->count; i++) {
        uint64_t offset = index->entries[i].offset;
        if (offset == 0) {
            continue;
        }
        uint32_t at = inner++; /* insertion sort: writers put sections in order */
        for (; at > 0 && index->entries[index->order[at - 1]].offset > offset; at--) {
            index->order[at] = index->order[at - 1];
        }
        index->order[at] = i;
    }
    uint64_t end = VLJ_INDEX_HEADER_BYTES;
    int table_done = 0;
    for (uint32_t i = 0; i <= inner; i++) {
        const vlj_index_entry *e = i < inner ? &index->entries[index->order[i]] : NULL;
        if (!table_done && (e == NULL || e->offset >= table)) { /* the table's turn */
            vlj_status status = check_gap(index, verify, end, table, "the section table");
            if (status != VLJ_OK) {
                return status;
            }
            end = table_end;
            table_done = 1;
        }
        uint64_t start = e != NULL ? e->offset : index->size;
        vlj_status status = check_gap(index, verify, end, start, e != NULL ? e->section.name : "the end of the file");
        if (status != VLJ_OK) {
            return status;
        }
        end = e != NULL ? e->offset + e->section.size : start;
    }
    return VLJ_OK;
}

vlj_status vlj_index_read_table(vlj_index *index, vlj_verify verify) {
    const uint8_t *table = index->bytes + vlj_load_u64(index->bytes + 32);
    for (uint32_t i = 0; i < index->count; i++) {
        vlj_status status = read_entry(index, i, table + (size_t)i * VLJ_INDEX_ENTRY_BYTES);
        if (status != VLJ_OK) {
            return status;
        }
    }
    vlj_status status = check_unique(index);
    return status == VLJ_OK ? check_layout(index, verify) : status;
}
