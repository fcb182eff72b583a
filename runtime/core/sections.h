/* sections.h: typed, bounds-checked views of the sections that the core reads (docs/format.md, "Other inner sections").
 *
 * A view points into the mapped bundle and lives as long as the index. After a successful read every row and every text
 * that the view names lies inside the section, so users need no further checks.
 */
#ifndef VLJ_CORE_SECTIONS_H
#define VLJ_CORE_SECTIONS_H

#include "index.h"
#include "vljepa.h"

/* [rows, width] of float32, float16 or, in a phrase bank, int8. */
typedef struct vlj_matrix {
    uint32_t rows, width;
    vlj_dtype dtype;     /* VLJ_FLOAT32, VLJ_FLOAT16 or VLJ_INT8 */
    const void *data;    /* 64-byte aligned */
    const float *scales; /* [rows] of VLJ_INT8; NULL for the others */
} vlj_matrix;

/* `count` byte strings. */
typedef struct vlj_text_table {
    uint32_t count;
    const uint32_t *offsets; /* [count + 1], ascending, the last <= text_bytes */
    const char *text;
    uint32_t text_bytes;
} vlj_text_table;

/* Row `row` of floats or halves as floats [width]. The caller keeps row < rows. */
void vlj_matrix_row(const vlj_matrix *matrix, uint32_t row, float *floats);
float vlj_half_to_float(uint16_t half);

/* QUERY: `text` is not NUL-terminated. */
vlj_status vlj_read_query(const vlj_index *index, const vlj_section *section, vlj_matrix *embeddings, const char **text,
                          uint32_t *text_bytes);
/* PHRASE_BANK: each phrase ends with NUL inside its bounds, so text + offsets[i] is a C string. */
vlj_status vlj_read_phrase_bank(const vlj_index *index, const vlj_section *section, vlj_text_table *phrases,
                                vlj_matrix *embeddings);
/* VOCABULARY: bytes of token i are text[offsets[i] .. offsets[i + 1]). */
vlj_status vlj_read_vocabulary(const vlj_index *index, const vlj_section *section, vlj_text_table *tokens);
vlj_status vlj_read_token_embeddings(const vlj_index *index, const vlj_section *section, vlj_matrix *embeddings);

#endif
