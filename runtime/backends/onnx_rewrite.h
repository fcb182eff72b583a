/* onnx_rewrite.h: an ONNX message with another graph, which calls this project's operators. */
#ifndef VLJ_BACKENDS_ONNX_REWRITE_H
#define VLJ_BACKENDS_ONNX_REWRITE_H

#include "hooks.h"

struct output; /* onnx_message.h */

typedef struct vlj_fused_onnx {
    const uint8_t *bytes; /* the given ones where nothing was replaced */
    size_t size;
    void *owned;    /* NULL in that case */
    uint32_t count; /* nodes that were put in */
} vlj_fused_onnx;

/* Emits the graph's fields; it is called more than once, to count them first. */
typedef void vlj_onnx_put_graph(const void *context, struct output *out);

/* *fused has the given message, and gets one of its own, in which the domain "vljepa" is known: with that graph, which
 * has so many new nodes. VLJ_E_MEMORY is the only failure; *fused stays then. */
vlj_status vlj_onnx_rewrite(const vlj_host *host, vlj_onnx_put_graph *put_graph, const void *context, uint32_t count,
                            vlj_fused_onnx *fused);
void vlj_onnx_fused_free(const vlj_host *host, vlj_fused_onnx *fused);

#endif
