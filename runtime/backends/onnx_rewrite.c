/* onnx_rewrite.c: writes a model anew around another graph (onnx_rewrite.h). */
#include "onnx_rewrite.h"

#include "error.h"
#include "onnx_message.h"

static void put_model(span model, vlj_onnx_put_graph *put_graph, const void *context, size_t graph_size, output *out) {
    int knows_domain = 0;
    field f;
    while (next_field(&model, &f)) {
        if (f.number == MODEL_GRAPH && f.wire == DELIMITED) {
            put_key(out, MODEL_GRAPH, graph_size);
            put_graph(context, out);
        } else {
            knows_domain |=
                f.number == MODEL_OPSET && f.wire == DELIMITED && is(first(f.content, OPSET_DOMAIN), "vljepa");
            put(out, f.whole);
        }
    }
    if (!knows_domain) {
        put_key(out, MODEL_OPSET, 10);
        put_field(out, OPSET_DOMAIN, text("vljepa"));
        put_number(out, OPSET_VERSION, 1);
    }
}

vlj_status vlj_onnx_rewrite(const vlj_host *host, vlj_onnx_put_graph *put_graph, const void *context, uint32_t count,
                            vlj_fused_onnx *fused) {
    span model = {fused->bytes, fused->size};
    output graph = {NULL, 0}, out = {NULL, 0};
    put_graph(context, &graph);
    put_model(model, put_graph, context, graph.size, &out);
    size_t size = out.size;
    out = (output){vlj_alloc(host, size, 0), 0};
    if (out.bytes == NULL) {
        return vlj_fail(VLJ_E_MEMORY, "no memory for %zu bytes of an ONNX graph", size);
    }
    put_model(model, put_graph, context, graph.size, &out);
    *fused = (vlj_fused_onnx){out.bytes, size, out.bytes, count};
    return VLJ_OK;
}

void vlj_onnx_fused_free(const vlj_host *host, vlj_fused_onnx *fused) {
    vlj_free(host, fused->owned, fused->size);
    fused->owned = NULL;
}
