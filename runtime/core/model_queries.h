/* model_queries.h: the bundle's compiled queries as vlj_query, and compiling more from its embedding table. */
#ifndef VLJ_CORE_MODEL_QUERIES_H
#define VLJ_CORE_MODEL_QUERIES_H

#include "config.h"
#include "hooks.h"
#include "index.h"
#include "vljepa.h"

typedef struct vlj_model_queries {
    uint32_t count;
    vlj_query *queries; /* at the start of `block`, followed by texts and by rows that were stored as float16 */
    void *block;
    size_t block_bytes;
} vlj_model_queries;

/* Checks every QUERY section against the config; one allocation. */
vlj_status vlj_model_queries_open(const vlj_host *host, const vlj_index *index, const vlj_config *config,
                                  vlj_model_queries *queries);
void vlj_model_queries_close(const vlj_host *host, vlj_model_queries *queries);

#endif
