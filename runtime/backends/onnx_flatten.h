/* onnx_flatten.h: a component's ONNX as one message of standard operators, for backends that read no more than that. */
#ifndef VLJ_BACKENDS_ONNX_FLATTEN_H
#define VLJ_BACKENDS_ONNX_FLATTEN_H

#include "engine.h"

typedef struct vlj_flat_onnx {
    const uint8_t *bytes; /* spec->bytes itself where there is nothing to change */
    size_t size;
    void *owned; /* NULL in that case */
} vlj_flat_onnx;

/* Puts the bodies of model-local functions in place of their calls, and external weights (ENGINE_DATA sections of
 * spec->index) into the message. A function that takes attributes or holds subgraphs stays as it is.
 * VLJ_E_BUNDLE: not an ONNX message, or a weight outside its file. VLJ_E_BACKEND: 2 GiB or more, which no ONNX may
 * have.
 */
vlj_status vlj_onnx_flatten(const vlj_host *host, const vlj_engine_spec *spec, vlj_flat_onnx *flat);
void vlj_onnx_flat_free(const vlj_host *host, vlj_flat_onnx *flat);

#endif
