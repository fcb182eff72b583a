/* onnx_flatten.c: a component's ONNX as one message of standard operators, for backends that read no more than that.
 *
 * ONNX is protobuf: a message is a run of fields, each a key (number << 3 | wire type) and a value; strings, bytes and
 * messages are length-delimited. What isn't understood is copied as it is. Everything is emitted twice, once to count.
 */
#include "onnx_flatten.h"

#include <stdlib.h>
#include <string.h>

#include "error.h"

/* Field numbers of onnx.proto. */
enum {
    MODEL_GRAPH = 7,
    MODEL_OPSET = 8,
    MODEL_FUNCTIONS = 25,
    GRAPH_NODE = 1,
    GRAPH_INITIALIZER = 5,
    NODE_INPUT = 1,
    NODE_OUTPUT = 2,
    NODE_NAME = 3,
    NODE_OP = 4,
    NODE_ATTRIBUTE = 5,
    NODE_DOMAIN = 7,
    FUNCTION_NAME = 1,
    FUNCTION_INPUT = 4,
    FUNCTION_OUTPUT = 5,
    FUNCTION_ATTRIBUTE = 6,
    FUNCTION_NODE = 7,
    FUNCTION_OPSET = 9,
    FUNCTION_DOMAIN = 10,
    FUNCTION_ATTRIBUTE_DEFAULT = 11,
    ATTRIBUTE_GRAPH = 6,
    ATTRIBUTE_GRAPHS = 11,
    ATTRIBUTE_REFERENCE = 21,
    TENSOR_NAME = 8,
    TENSOR_RAW = 9,
    TENSOR_EXTERNAL = 13,
    TENSOR_LOCATION = 14,
    ENTRY_KEY = 1,
    ENTRY_VALUE = 2,
};
enum { VARINT = 0, FIXED64 = 1, DELIMITED = 2, FIXED32 = 5 };
#define MOST_BYTES ((size_t)INT32_MAX) /* protobuf's own limit */

typedef struct span {
    const uint8_t *bytes;
    size_t size;
} span;

typedef struct field {
    uint32_t number, wire;
    uint64_t value; /* VARINT */
    span content;   /* DELIMITED */
    span whole;     /* key and value */
} field;

/* Counts; writes too once `bytes` is set. */
typedef struct output {
    uint8_t *bytes;
    size_t size;
} output;

typedef struct context {
    const vlj_engine_spec *spec;
    span model;
    vlj_status status; /* the first failure */
} context;

/* ---- reading ---- */

static int read_varint(span *rest, uint64_t *value) {
    *value = 0;
    for (unsigned shift = 0; shift < 64 && rest->size > 0; shift += 7) {
        uint8_t byte = *rest->bytes++;
        rest->size--;
        *value |= (uint64_t)(byte & 0x7Fu) << shift;
        if ((byte & 0x80u) == 0) {
            return 1;
        }
    }
    return 0;
}

/* 1: a field was taken off the front; 0: the end, or damage (rest->size > 0 then). */
static int next_field(span *rest, field *f) {
    span at = *rest;
    uint64_t key = 0, size = 0;
    if (at.size == 0 || !read_varint(&at, &key) || key >> 3 == 0 || key >> 3 > UINT32_MAX) {
        return 0;
    }
    f->number = (uint32_t)(key >> 3);
    f->wire = (uint32_t)(key & 7u);
    f->value = 0;
    switch (f->wire) {
    case VARINT:
        if (!read_varint(&at, &f->value)) {
            return 0;
        }
        break;
    case FIXED64: size = 8; break;
    case FIXED32: size = 4; break;
    case DELIMITED:
        if (!read_varint(&at, &size)) {
            return 0;
        }
        break;
    default: return 0;
    }
    if (size > at.size) {
        return 0;
    }
    f->content = (span){at.bytes, (size_t)size};
    f->whole = (span){rest->bytes, (size_t)(at.bytes - rest->bytes) + (size_t)size};
    rest->bytes += f->whole.size;
    rest->size -= f->whole.size;
    return 1;
}

/* The n-th length-delimited field of that number; an empty span where there is none. */
static span nth(span message, uint32_t number, size_t n, int *found) {
    field f;
    while (next_field(&message, &f)) {
        if (f.number == number && f.wire == DELIMITED && n-- == 0) {
            *found = 1;
            return f.content;
        }
    }
    *found = 0;
    return (span){NULL, 0};
}

static span first(span message, uint32_t number) {
    int found;
    return nth(message, number, 0, &found);
}

static int has(span message, uint32_t number) {
    field f;
    while (next_field(&message, &f)) {
        if (f.number == number) {
            return 1;
        }
    }
    return 0;
}

static int same(span a, span b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.bytes, b.bytes, a.size) == 0);
}

/* ---- writing ---- */

static void put(output *out, span bytes) {
    if (out->bytes != NULL && bytes.size > 0) {
        memcpy(out->bytes + out->size, bytes.bytes, bytes.size);
    }
    out->size += bytes.size;
}

static void put_varint(output *out, uint64_t value) {
    uint8_t bytes[10];
    size_t size = 0;
    do {
        bytes[size++] = (uint8_t)((value & 0x7Fu) | (value > 0x7Fu ? 0x80u : 0u));
        value >>= 7;
    } while (value > 0);
    put(out, (span){bytes, size});
}

static void put_key(output *out, uint32_t number, size_t size) {
    put_varint(out, (uint64_t)number << 3 | DELIMITED);
    put_varint(out, size);
}

static void put_field(output *out, uint32_t number, span content) {
    put_key(out, number, content.size);
    put(out, content);
}

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
    put(out, (span){(const uint8_t *)"/", 1});
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
    char text[24] = "";
    memcpy(text, digits.bytes != NULL ? digits.bytes : (const uint8_t *)text, digits.size < 23 ? digits.size : 23);
    return strtoull(text, NULL, 10);
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
            if (same(key, (span){(const uint8_t *)"location", 8})) {
                location = value;
            } else if (same(key, (span){(const uint8_t *)"offset", 6})) {
                offset = number_of(value);
            } else if (same(key, (span){(const uint8_t *)"length", 6})) {
                length = number_of(value);
                whole = 0;
            }
        }
    }
    span name = first(tensor, TENSOR_NAME);
    vlj_section section;
    for (uint32_t i = 0; vlj_index_nth(c->spec->index, VLJ_SECTION_ENGINE_DATA, i, &section); i++) {
        if (same(location, (span){(const uint8_t *)section.name, strlen(section.name)})) {
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
