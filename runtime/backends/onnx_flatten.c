/* onnx_flatten.c: a component's ONNX as one message of standard operators, for backends that read no more than that. */
#include "onnx_flatten.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"
#include "onnx_message.h"

typedef struct context {
    const vlj_engine_spec *spec;
    span model;
    vlj_status status; /* the first failure */
} context;

/* ---- functions ---- */

/* Whether its body may stand in place of a call: no attributes that a call would bind, no subgraphs whose names would
 * need the same renaming, and the operator versions of the model itself. */
static int can_inline(const context *c, span function) {
    span rest = function;
    field f, g;
    if (has(function, FUNCTION_ATTRIBUTE) || has(function, FUNCTION_ATTRIBUTE_DEFAULT)) {
        return 0;
    }
    while (next_field(&rest, &f)) {
        if (f.number == FUNCTION_OPSET && f.wire == DELIMITED) {
            span model = c->model;
            int found = 0;
            while (!found && next_field(&model, &g)) {
                found = g.number == MODEL_OPSET && same(f.content, g.content);
            }
            if (!found) {
                return 0;
            }
        }
        if (f.number == FUNCTION_NODE && f.wire == DELIMITED) {
            span node = f.content;
            while (next_field(&node, &g)) {
                if (g.number == NODE_ATTRIBUTE && g.wire == DELIMITED &&
                    (has(g.content, ATTRIBUTE_GRAPH) || has(g.content, ATTRIBUTE_GRAPHS) ||
                     has(g.content, ATTRIBUTE_REFERENCE))) {
                    return 0;
                }
            }
        }
    }
    return 1;
}

static int find_function(const context *c, span node, span *function) {
    span rest = c->model, op = first(node, NODE_OP), domain = first(node, NODE_DOMAIN);
    field f;
    if (domain.size == 0) {
        return 0; /* a standard operator */
    }
    while (next_field(&rest, &f)) {
        if (f.number == MODEL_FUNCTIONS && f.wire == DELIMITED && same(first(f.content, FUNCTION_NAME), op) &&
            same(first(f.content, FUNCTION_DOMAIN), domain)) {
            *function = f.content;
            return can_inline(c, f.content);
        }
    }
    return 0;
}

/* A name inside the body: the call's own where it is a parameter, else one under the call's first output. */
static void put_name(output *out, uint32_t number, span name, span function, span call) {
    static const uint32_t sides[2][2] = {{FUNCTION_INPUT, NODE_INPUT}, {FUNCTION_OUTPUT, NODE_OUTPUT}};
    for (int side = 0; side < 2 && name.size > 0; side++) {
        int found = 1, given;
        for (size_t i = 0; found; i++) {
            span parameter = nth(function, sides[side][0], i, &found);
            if (found && same(parameter, name)) {
                span argument = nth(call, sides[side][1], i, &given);
                if (argument.size > 0 || side == 0) {
                    put_field(out, number, argument);
                    return;
                }
            }
        }
    }
    if (name.size == 0) {
        put_field(out, number, name); /* an optional input that is left out */
        return;
    }
    span prefix = first(call, NODE_OUTPUT);
    put_key(out, number, prefix.size + 1 + name.size);
    put(out, prefix);
    put(out, text("/"));
    put(out, name);
}

static void put_body_node(output *out, span node, span function, span call) {
    field f;
    while (next_field(&node, &f)) {
        if (f.wire == DELIMITED && (f.number == NODE_INPUT || f.number == NODE_OUTPUT || f.number == NODE_NAME)) {
            put_name(out, f.number, f.content, function, call);
        } else {
            put(out, f.whole);
        }
    }
}

static void put_node(const context *c, output *out, const field *node) {
    span function, rest;
    field f;
    if (!find_function(c, node->content, &function)) {
        put(out, node->whole);
        return;
    }
    rest = function;
    while (next_field(&rest, &f)) {
        if (f.number == FUNCTION_NODE && f.wire == DELIMITED) {
            output count = {NULL, 0};
            put_body_node(&count, f.content, function, node->content);
            put_key(out, GRAPH_NODE, count.size);
            put_body_node(out, f.content, function, node->content);
        }
    }
}

/* ---- external weights ---- */

static uint64_t number_of(span digits) {
    char copy[24] = "";
    memcpy(copy, digits.bytes != NULL ? digits.bytes : (const uint8_t *)copy, digits.size < 23 ? digits.size : 23);
    return strtoull(copy, NULL, 10);
}

/* The weights of a tensor whose data lie in a file: the ENGINE_DATA section of that name. */
static int external_bytes(context *c, span tensor, span *bytes) {
    span rest = tensor, location = {NULL, 0};
    uint64_t offset = 0, length = 0;
    int whole = 1;
    field f;
    while (next_field(&rest, &f)) {
        if (f.number == TENSOR_EXTERNAL && f.wire == DELIMITED) {
            span key = first(f.content, ENTRY_KEY), value = first(f.content, ENTRY_VALUE);
            if (is(key, "location")) {
                location = value;
            } else if (is(key, "offset")) {
                offset = number_of(value);
            } else if (is(key, "length")) {
                length = number_of(value);
                whole = 0;
            }
        }
    }
    span name = first(tensor, TENSOR_NAME);
    vlj_section section;
    for (uint32_t i = 0; vlj_index_nth(c->spec->index, VLJ_SECTION_ENGINE_DATA, i, &section); i++) {
        if (is(location, section.name)) {
            if (offset > section.size || (!whole && length > section.size - offset)) {
                c->status = vlj_fail(VLJ_E_BUNDLE, "component %s: weight %.*s lies outside %s",
                                     vlj_component_name(c->spec->component), (int)(name.size < 100 ? name.size : 100),
                                     (const char *)name.bytes, section.name);
                return 0;
            }
            *bytes = (span){section.bytes + offset, (size_t)(whole ? section.size - offset : length)};
            return 1;
        }
    }
    c->status = vlj_fail(
        VLJ_E_BUNDLE_MISSING, "component %s: weight %.*s lies in %.*s, which the bundle's index doesn't have",
        vlj_component_name(c->spec->component), (int)(name.size < 100 ? name.size : 100), (const char *)name.bytes,
        (int)(location.size < 64 ? location.size : 64), (const char *)location.bytes);
    return 0;
}

static void put_tensor_with(output *out, span tensor, span bytes) {
    field f;
    while (next_field(&tensor, &f)) {
        if (f.number != TENSOR_EXTERNAL && f.number != TENSOR_LOCATION) {
            put(out, f.whole);
        }
    }
    put_field(out, TENSOR_RAW, bytes);
}

static void put_initializer(context *c, output *out, const field *tensor) {
    output count = {NULL, 0};
    span bytes;
    if (!has(tensor->content, TENSOR_EXTERNAL)) {
        put(out, tensor->whole);
    } else if (external_bytes(c, tensor->content, &bytes)) {
        put_tensor_with(&count, tensor->content, bytes);
        put_key(out, GRAPH_INITIALIZER, count.size);
        put_tensor_with(out, tensor->content, bytes);
    }
}

/* ---- the message ---- */

static void damaged(context *c) {
    if (c->status == VLJ_OK) {
        c->status =
            vlj_fail(VLJ_E_BUNDLE, "component %s%s%s: not an ONNX model", vlj_component_name(c->spec->component),
                     c->spec->file[0] != '\0' ? " in " : "", c->spec->file);
    }
}

static void put_graph(context *c, output *out, span graph) {
    field f;
    while (c->status == VLJ_OK && next_field(&graph, &f)) {
        if (f.number == GRAPH_NODE && f.wire == DELIMITED) {
            put_node(c, out, &f);
        } else if (f.number == GRAPH_INITIALIZER && f.wire == DELIMITED) {
            put_initializer(c, out, &f);
        } else {
            put(out, f.whole);
        }
    }
    if (graph.size > 0) {
        damaged(c);
    }
}

/* `graph_size` 0 counts it; the second time it is known. */
static void put_model(context *c, output *out, size_t *graph_size) {
    span rest = c->model;
    field f;
    while (c->status == VLJ_OK && next_field(&rest, &f)) {
        if (f.number == MODEL_GRAPH && f.wire == DELIMITED) {
            if (*graph_size == 0) {
                output count = {NULL, 0};
                put_graph(c, &count, f.content);
                *graph_size = count.size;
                put_key(out, MODEL_GRAPH, count.size);
                out->size += count.size;
            } else {
                put_key(out, MODEL_GRAPH, *graph_size);
                put_graph(c, out, f.content);
            }
        } else if (f.number != MODEL_FUNCTIONS || !can_inline(c, f.content)) {
            put(out, f.whole);
        }
    }
    if (rest.size > 0) {
        damaged(c);
    }
}

vlj_status vlj_onnx_flatten(const vlj_host *host, const vlj_engine_spec *spec, vlj_flat_onnx *flat) {
    context c = {spec, {spec->bytes, spec->size}, VLJ_OK};
    output out = {NULL, 0};
    size_t graph_size = 0, graphs = 0, functions = 0;
    vlj_section weights;
    span rest = c.model;
    field f;
    *flat = (vlj_flat_onnx){spec->bytes, spec->size, NULL};
    while (next_field(&rest, &f)) {
        graphs += f.number == MODEL_GRAPH && f.wire == DELIMITED;
        functions += f.number == MODEL_FUNCTIONS && f.wire == DELIMITED;
    }
    if (rest.size > 0 || graphs != 1) {
        damaged(&c);
        return c.status;
    }
    if (functions == 0 && !vlj_index_nth(spec->index, VLJ_SECTION_ENGINE_DATA, 0, &weights)) {
        return VLJ_OK;
    }
    put_model(&c, &out, &graph_size);
    if (c.status != VLJ_OK) {
        return c.status;
    }
    if (out.size > MOST_BYTES) {
        return vlj_fail(VLJ_E_BACKEND, "component %s: %zu bytes with its weights, an ONNX message has at most %zu",
                        vlj_component_name(spec->component), out.size, MOST_BYTES);
    }
    size_t size = out.size;
    out = (output){vlj_alloc(host, size, 0), 0};
    if (out.bytes == NULL) {
        return vlj_fail(VLJ_E_MEMORY, "no memory for %zu bytes of component %s", size,
                        vlj_component_name(spec->component));
    }
    put_model(&c, &out, &graph_size);
    *flat = (vlj_flat_onnx){out.bytes, size, out.bytes};
    return VLJ_OK;
}

void vlj_onnx_flat_free(const vlj_host *host, vlj_flat_onnx *flat) {
    vlj_free(host, flat->owned, flat->size);
    flat->owned = NULL;
}
