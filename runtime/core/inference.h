/* inference.h: the buffers of one user of encode + predict, planned once, and the two runs over them. */
#ifndef VLJ_CORE_INFERENCE_H
#define VLJ_CORE_INFERENCE_H

#include "hooks.h"
#include "vljepa.h"

typedef struct vlj_workspace vlj_workspace;

/* Bytes that vlj_workspace_open takes from the host: one allocation. 0 when the sizes don't fit. */
size_t vlj_workspace_bytes(const vlj_model *model, uint32_t max_queries, uint32_t max_query_tokens);
vlj_status vlj_workspace_open(vlj_model *model, const vlj_host *host, uint32_t max_queries, uint32_t max_query_tokens,
                              vlj_workspace **workspace);
/* Copies the queries, padded to the longest: embeddings [Q, L, W] and mask [Q, L] of 1 and 0. VLJ_E_QUERY when one is
 * empty or longer than the bundle or the plan allows. The backend may compile the Predictor for this count and length,
 * which takes OpenVINO a fifth of a second for nano. */
vlj_status vlj_workspace_set_queries(vlj_workspace *workspace, const vlj_query *queries, uint32_t count);
/* frames uint8 [1, T, 3, H, W], handed to the engine without a copy. */
vlj_status vlj_workspace_encode(vlj_workspace *workspace, const uint8_t *frames);
/* Predicts every query over the last encoded window. *embeddings: [Q, E], the workspace's own, until the next predict.
 */
vlj_status vlj_workspace_predict(vlj_workspace *workspace, const float **embeddings);
/* Bytes that the backend has copied to and from memory of its own, in all encodes and predicts so far. */
void vlj_workspace_copied(const vlj_workspace *workspace, uint64_t *encode_bytes, uint64_t *predict_bytes);
void vlj_workspace_close(vlj_workspace *workspace);

#endif
