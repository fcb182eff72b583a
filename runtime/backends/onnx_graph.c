/* onnx_graph.c: the nodes of an ONNX graph with who gives and who takes each value (onnx_graph.h). */
#include "onnx_graph.h"

#include "error.h"

/* Far beyond any export, and sizes of arrays stay small even where a size_t has 32 bits. */
enum { MOST_NODES = 1 << 14, MOST_NAMES = 1 << 20 };

/* ---- names ---- */

static vlj_onnx_value **bucket(const vlj_onnx_graph *g, span name) {
    uint32_t hash = 2166136261u; /* FNV-1a */
    for (size_t i = 0; i < name.size; i++) {
        hash = (hash ^ name.bytes[i]) * 16777619u;
    }
    return &g->buckets[(hash ^ hash >> 16) & (g->bucket_count - 1)];
}

vlj_onnx_value *vlj_onnx_value_of(const vlj_onnx_graph *g, span name) {
    vlj_onnx_value *value = name.size > 0 && g->bucket_count > 0 ? *bucket(g, name) : NULL;
    while (value != NULL && !same(value->name, name)) {
        value = value->next;
    }
    return value;
}

/* The same, made where there is none. `rest` takes what is said of an optional input that isn't given. */
static vlj_onnx_value *named(vlj_onnx_graph *g, span name, vlj_onnx_value *rest) {
    vlj_onnx_value *value = vlj_onnx_value_of(g, name);
    if (value == NULL && name.size == 0) {
        *rest = (vlj_onnx_value){.uses = 0};
        return rest;
    }
    if (value == NULL) {
        vlj_onnx_value **first_of_hash = bucket(g, name);
        value = &g->values[g->value_count++];
        *value = (vlj_onnx_value){.name = name, .next = *first_of_hash};
        *first_of_hash = value;
    }
    return value;
}

/* ---- reading ---- */

/* A value that two nodes give isn't ONNX; it would let one be mistaken for the other: 0. */
static int read_node(vlj_onnx_graph *g, span message) {
    vlj_onnx_node *node = &g->nodes[g->count++];
    vlj_onnx_value *value, nameless;
    span rest = message;
    field f;
    *node = (vlj_onnx_node){.message = message, .op = first(message, NODE_OP)};
    while (next_field(&rest, &f)) {
        if (f.number == NODE_INPUT && f.wire == DELIMITED) {
            value = named(g, f.content, &nameless);
            value->uses++;
            if (node->input_count < VLJ_ONNX_MOST_INPUTS) {
                node->inputs[node->input_count] = f.content;
                value->first_taker = value->first_taker != NULL ? value->first_taker : node;
                value->last_taker = node;
            }
            node->input_count++;
        } else if (f.number == NODE_OUTPUT && f.wire == DELIMITED) {
            value = named(g, f.content, &nameless);
            if (value->producer != NULL) {
                return 0;
            }
            value->producer = node;
            value->slot = node->output_count;
            if (node->output_count < VLJ_ONNX_MOST_OUTPUTS) {
                node->outputs[node->output_count] = f.content;
            }
            node->output_count++;
        }
    }
    return 1;
}

/* Nodes and names that are mentioned; 0 where the graph may not be rewritten. */
static int count_graph(span graph, size_t *nodes, size_t *names) {
    field f, g, h;
    while (next_field(&graph, &f)) {
        *names += (f.number == GRAPH_OUTPUT || f.number == GRAPH_INPUT || f.number == GRAPH_INITIALIZER) &&
                  f.wire == DELIMITED;
        if (f.number != GRAPH_NODE || f.wire != DELIMITED) {
            continue;
        }
        span node = f.content;
        (*nodes)++;
        while (next_field(&node, &g)) {
            *names += (g.number == NODE_INPUT || g.number == NODE_OUTPUT) && g.wire == DELIMITED;
            if (g.number == NODE_ATTRIBUTE && g.wire == DELIMITED) {
                span attribute = g.content;
                while (next_field(&attribute, &h)) {
                    if (h.number == ATTRIBUTE_GRAPH || h.number == ATTRIBUTE_GRAPHS) {
                        return 0;
                    }
                }
                if (attribute.size > 0) {
                    return 0;
                }
            }
        }
        if (node.size > 0) {
            return 0;
        }
    }
    return graph.size == 0 && *nodes <= MOST_NODES && *names <= MOST_NAMES;
}

static int read_fields(vlj_onnx_graph *g) {
    span rest = g->message;
    vlj_onnx_value nameless;
    field f;
    while (next_field(&rest, &f)) {
        if (f.wire != DELIMITED) {
            continue;
        }
        if (f.number == GRAPH_NODE && !read_node(g, f.content)) {
            return 0;
        } else if (f.number == GRAPH_OUTPUT) {
            named(g, first(f.content, VALUE_NAME), &nameless)->uses++;
        } else if (f.number == GRAPH_INPUT) {
            named(g, first(f.content, VALUE_NAME), &nameless)->is_input = 1;
        } else if (f.number == GRAPH_INITIALIZER) {
            named(g, first(f.content, TENSOR_NAME), &nameless)->initializer = f.content;
        }
    }
    return 1;
}

vlj_status vlj_onnx_read_graph(const vlj_host *host, span model, vlj_onnx_graph *graph) {
    size_t graphs = 0, nodes = 0, names = 0;
    vlj_onnx_graph g = {.count = 0};
    field f;
    *graph = g;
    while (next_field(&model, &f)) {
        if (f.number == MODEL_GRAPH && f.wire == DELIMITED) {
            g.message = f.content;
            graphs++;
        } else if (f.number == MODEL_OPSET && f.wire == DELIMITED) {
            span domain = first(f.content, OPSET_DOMAIN), rest = f.content;
            field v;
            while (domain.size == 0 && next_field(&rest, &v)) {
                if (v.number == OPSET_VERSION && v.wire == VARINT) {
                    g.opset = v.value <= INT32_MAX ? (int64_t)v.value : 0;
                }
            }
        }
    }
    if (model.size > 0 || graphs != 1 || !count_graph(g.message, &nodes, &names) || nodes == 0) {
        return VLJ_OK;
    }
    for (g.bucket_count = 16; g.bucket_count < names;) {
        g.bucket_count *= 2;
    }
    g.bytes = nodes * sizeof *g.nodes + names * sizeof *g.values + g.bucket_count * sizeof *g.buckets;
    g.nodes = vlj_alloc(host, g.bytes, 0); /* zeroed */
    if (g.nodes == NULL) {
        return vlj_fail(VLJ_E_MEMORY, "no memory for the %zu nodes of an ONNX graph", nodes);
    }
    g.values = (vlj_onnx_value *)(g.nodes + nodes);
    g.buckets = (vlj_onnx_value **)(g.values + names);
    if (!read_fields(&g)) {
        vlj_onnx_free_graph(host, &g);
    }
    *graph = g;
    return VLJ_OK;
}

void vlj_onnx_free_graph(const vlj_host *host, vlj_onnx_graph *graph) {
    vlj_free(host, graph->nodes, graph->bytes);
    *graph = (vlj_onnx_graph){.count = 0};
}

/* ---- values ---- */

vlj_onnx_node *vlj_onnx_producer(const vlj_onnx_graph *g, span name, size_t slot) {
    const vlj_onnx_value *value = vlj_onnx_value_of(g, name);
    return value != NULL && value->slot == slot ? value->producer : NULL;
}

vlj_onnx_node *vlj_onnx_consumer(const vlj_onnx_graph *g, span name) {
    const vlj_onnx_value *value = vlj_onnx_value_of(g, name);
    return value != NULL ? value->first_taker : NULL;
}

size_t vlj_onnx_uses(const vlj_onnx_graph *g, span name) {
    const vlj_onnx_value *value = vlj_onnx_value_of(g, name);
    return value != NULL ? value->uses : 0;
}

span vlj_onnx_initializer(const vlj_onnx_graph *g, span name) {
    const vlj_onnx_value *value = vlj_onnx_value_of(g, name);
    return value != NULL && !value->is_input ? value->initializer : (span){NULL, 0};
}

int vlj_onnx_is(const vlj_onnx_node *node, const char *op, size_t inputs) {
    return node->input_count == inputs && is(node->op, op) && first(node->message, NODE_DOMAIN).size == 0;
}

/* ---- attributes and constants ---- */

size_t vlj_onnx_attributes(const vlj_onnx_node *node) {
    span rest = node->message;
    size_t count = 0;
    field f;
    while (next_field(&rest, &f)) {
        count += f.number == NODE_ATTRIBUTE;
    }
    return count;
}

span vlj_onnx_attribute(const vlj_onnx_node *node, const char *name) {
    span rest = node->message;
    field f;
    while (next_field(&rest, &f)) {
        if (f.number == NODE_ATTRIBUTE && f.wire == DELIMITED && is(first(f.content, ATTRIBUTE_NAME), name)) {
            return f.content;
        }
    }
    return (span){NULL, 0};
}

int vlj_onnx_has_int(const vlj_onnx_node *node, const char *name, int64_t value) {
    span a = vlj_onnx_attribute(node, name);
    int64_t found, type;
    return read_numbers(a, ATTRIBUTE_TYPE, &type, 1) == 1 && type == ATTRIBUTE_IS_INT && !has(a, ATTRIBUTE_REFERENCE) &&
           read_numbers(a, ATTRIBUTE_INT, &found, 1) == 1 && found == value;
}

int vlj_onnx_has_ints(const vlj_onnx_node *node, const char *name, const int64_t *values, size_t count) {
    span a = vlj_onnx_attribute(node, name);
    int64_t found[8], type;
    return read_numbers(a, ATTRIBUTE_TYPE, &type, 1) == 1 && type == ATTRIBUTE_IS_INTS &&
           !has(a, ATTRIBUTE_REFERENCE) && count <= 8 && read_numbers(a, ATTRIBUTE_INTS, found, 8) == count &&
           memcmp(found, values, count * sizeof *found) == 0;
}

size_t vlj_onnx_constant(const vlj_onnx_graph *g, span name, int64_t *values, size_t most) {
    span tensor = vlj_onnx_initializer(g, name);
    int64_t type = 0, size = 1;
    if (tensor.size == 0 || read_numbers(tensor, TENSOR_TYPE, &type, 1) != 1 || type != TYPE_INT64 ||
        read_numbers(tensor, TENSOR_DIMS, &size, 1) > 1 || size < 1 || (uint64_t)size > most ||
        has(tensor, TENSOR_EXTERNAL)) {
        return 0;
    }
    if (!has(tensor, TENSOR_RAW)) {
        return read_numbers(tensor, TENSOR_INT64, values, most) == (size_t)size ? (size_t)size : 0;
    }
    span raw = first(tensor, TENSOR_RAW);
    if (raw.size != (size_t)size * sizeof *values) {
        return 0;
    }
    for (size_t i = 0; i < (size_t)size; i++) { /* little-endian, wherever this runs */
        uint64_t value = 0;
        for (size_t k = 8; k-- > 0;) {
            value = value << 8 | raw.bytes[8 * i + k];
        }
        values[i] = (int64_t)value;
    }
    return (size_t)size;
}

static int is_scalar(span tensor, int64_t expected) {
    int64_t type = 0;
    return tensor.size > 0 && read_numbers(tensor, TENSOR_TYPE, &type, 1) == 1 && type == expected &&
           !has(tensor, TENSOR_DIMS) && !has(tensor, TENSOR_EXTERNAL);
}

int vlj_onnx_is_number(const vlj_onnx_graph *g, span name) {
    return is_scalar(vlj_onnx_initializer(g, name), TYPE_FLOAT);
}

int vlj_onnx_is_int8_zero(const vlj_onnx_graph *g, span name) {
    span tensor = vlj_onnx_initializer(g, name), raw = first(tensor, TENSOR_RAW);
    int64_t value = 1;
    return is_scalar(tensor, TYPE_INT8) &&
           (has(tensor, TENSOR_RAW) ? raw.size == 1 && raw.bytes[0] == 0
                                    : read_numbers(tensor, TENSOR_INT32, &value, 1) == 1 && value == 0);
}

int vlj_onnx_fits(const vlj_onnx_graph *g, span name, int64_t rows, int64_t columns) {
    span tensor = vlj_onnx_initializer(g, name);
    int64_t type = 0, dims[2];
    if (tensor.size == 0) {
        return vlj_onnx_producer(g, name, 0) != NULL || vlj_onnx_producer(g, name, 1) != NULL;
    }
    return read_numbers(tensor, TENSOR_TYPE, &type, 1) == 1 && type == TYPE_FLOAT &&
           read_numbers(tensor, TENSOR_DIMS, dims, 2) == 2 && dims[0] == rows && dims[1] == columns;
}
