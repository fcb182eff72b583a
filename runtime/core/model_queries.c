/* model_queries.c: the bundle's compiled queries as vlj_query, and compiling more from its embedding table. */
#include "model_queries.h"

#include <string.h>

#include "error.h"
#include "model.h"
#include "sections.h"

static vlj_status read_query(const vlj_index *index, const vlj_config *config, const vlj_section *section,
                             vlj_matrix *rows, const char **text, uint32_t *text_bytes) {
    vlj_status status = vlj_read_query(index, section, rows, text, text_bytes);
    if (status == VLJ_OK && rows->width != config->query_width) {
        status = vlj_fail(VLJ_E_BUNDLE_SHAPE, "%s: query \"%s\": embedding width is %u, expected %u",
                          vlj_index_path(index), section->name, rows->width, config->query_width);
    }
    if (status == VLJ_OK && rows->rows > config->max_query_tokens) {
        status = vlj_fail(VLJ_E_BUNDLE, "%s: query \"%s\" has %u tokens, CONFIG allows %u", vlj_index_path(index),
                          section->name, rows->rows, config->max_query_tokens);
    }
    return status;
}

vlj_status vlj_model_queries_open(const vlj_host *host, const vlj_index *index, const vlj_config *config,
                                  vlj_model_queries *queries) {
    vlj_section section;
    vlj_matrix rows;
    const char *text = NULL;
    uint32_t text_bytes = 0;
    size_t half_bytes = 0, all_text_bytes = 0; /* sums of parts of mapped files: they fit */
    for (queries->count = 0; vlj_index_nth(index, VLJ_SECTION_QUERY, queries->count, &section); queries->count++) {
        vlj_status status = read_query(index, config, &section, &rows, &text, &text_bytes);
        if (status != VLJ_OK) {
            queries->count = 0;
            return status;
        }
        all_text_bytes += (size_t)text_bytes + 1;
        half_bytes += rows.dtype == VLJ_FLOAT16 ? (size_t)rows.rows * rows.width * sizeof(float) : 0;
    }
    if (queries->count == 0) {
        return VLJ_OK;
    }
    size_t list_bytes = vlj_align_up(queries->count * sizeof(vlj_query), VLJ_ALIGNMENT);
    queries->block_bytes = list_bytes + half_bytes + all_text_bytes;
    queries->block = vlj_alloc(host, queries->block_bytes, 0);
    if (queries->block == NULL) {
        queries->count = 0;
        return vlj_fail(VLJ_E_MEMORY, "no memory for %zu bytes of compiled queries", queries->block_bytes);
    }
    queries->queries = queries->block;
    float *floats = (float *)((uint8_t *)queries->block + list_bytes);
    char *texts = (char *)queries->block + list_bytes + half_bytes;
    for (uint32_t i = 0; i < queries->count; i++) {
        vlj_query *query = &queries->queries[i];
        vlj_index_nth(index, VLJ_SECTION_QUERY, i, &section);
        vlj_status status = read_query(index, config, &section, &rows, &text, &text_bytes);
        if (status != VLJ_OK) { /* it was well-formed above: the file changes under us */
            return status;
        }
        query->struct_size = sizeof *query;
        query->token_count = rows.rows;
        query->embeddings = rows.data;
        if (rows.dtype == VLJ_FLOAT16) {
            query->embeddings = floats;
            for (uint32_t row = 0; row < rows.rows; row++, floats += rows.width) {
                vlj_matrix_row(&rows, row, floats);
            }
        }
        memcpy(texts, text, text_bytes);
        query->text = texts; /* the block is zeroed, so the NUL is there */
        texts += (size_t)text_bytes + 1;
    }
    return VLJ_OK;
}

void vlj_model_queries_close(const vlj_host *host, vlj_model_queries *queries) {
    vlj_free(host, queries->block, queries->block_bytes);
    memset(queries, 0, sizeof *queries);
}

vlj_status vlj_model_compile_query(const vlj_model *model, const int64_t *token_ids, uint32_t token_count,
                                   float *embeddings, size_t embedding_floats) {
    if (model == NULL || token_ids == NULL || embeddings == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "vlj_model_compile_query: %s is NULL",
                        model == NULL       ? "model"
                        : token_ids == NULL ? "token_ids"
                                            : "embeddings");
    }
    const vlj_config *config = vlj_model_config(model);
    const vlj_index *index = vlj_model_index(model);
    if (token_count == 0 || token_count > config->max_query_tokens) {
        return vlj_fail(VLJ_E_QUERY, "a query of %u tokens, expected 1 to %u", token_count, config->max_query_tokens);
    }
    vlj_section section;
    vlj_matrix table;
    if (!vlj_index_has(index, VLJ_SECTION_TOKEN_EMBEDDINGS, "query")) {
        return vlj_fail(VLJ_E_QUERY, "%s has no query embedding table: compile queries with `vljepa query add`",
                        vlj_index_path(index));
    }
    vlj_status status = vlj_index_find(index, VLJ_SECTION_TOKEN_EMBEDDINGS, "query", &section);
    if (status == VLJ_OK) {
        status = vlj_read_token_embeddings(index, &section, &table);
    }
    if (status != VLJ_OK) {
        return status;
    }
    size_t needed = (size_t)token_count * table.width;
    if (embedding_floats < needed) {
        return vlj_fail(VLJ_E_BUFFER, "embeddings takes %zu floats, %u tokens need %zu", embedding_floats, token_count,
                        needed);
    }
    for (uint32_t i = 0; i < token_count; i++) {
        if (token_ids[i] < 0 || token_ids[i] >= (int64_t)table.rows) {
            return vlj_fail(VLJ_E_QUERY, "query token %u is %lld, expected 0 to %u", i, (long long)token_ids[i],
                            table.rows - 1);
        }
        vlj_matrix_row(&table, (uint32_t)token_ids[i], embeddings + (size_t)i * table.width);
    }
    return VLJ_OK;
}
