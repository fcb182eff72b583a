/* onnx_graph.c: the nodes of an ONNX graph with who gives and who takes each value (onnx_graph.h). */
#include "onnx_graph.h"

#include "error.h"

enum { MOST_NODES = 1 << 14 }; /* look-ups go through all of them */

/* ---- reading ---- */

static void read_node(vlj_onnx_graph *g, span message) {
    vlj_onnx_node *node = &g->nodes[g->count++];
    span rest = message;
    field f;
    *node = (vlj_onnx_node){.message = message, .op = first(message, NODE_OP)};
    while (next_field(&rest, &f)) {
        if (f.number == NODE_INPUT && f.wire == DELIMITED) {
            if (node->input_count < VLJ_ONNX_MOST_INPUTS) {
                node->inputs[node->input_count] = f.content;
            }
            node->input_count++;
            g->uses[g->use_count++] = f.content;
        } else if (f.number == NODE_OUTPUT && f.wire == DELIMITED) {
            if (node->output_count < VLJ_ONNX_MOST_OUTPUTS) {
                node->outputs[node->output_count] = f.content;
            }
            node->output_count++;
        }
    }
}

/* Nodes and uses; 0 where the graph may not be rewritten. */
static int count_graph(span graph, size_t *nodes, size_t *uses) {
    field f, g, h;
    while (next_field(&graph, &f)) {
        *uses += f.number == GRAPH_OUTPUT && f.wire == DELIMITED;
        if (f.number != GRAPH_NODE || f.wire != DELIMITED) {
            continue;
        }
        span node = f.content;
        (*nodes)++;
        while (next_field(&node, &g)) {
            *uses += g.number == NODE_INPUT && g.wire == DELIMITED;
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
    return graph.size == 0 && *nodes <= MOST_NODES;
}

/* A value that two nodes give isn't ONNX; it would let one be mistaken for the other. */
static int names_are_unique(const vlj_onnx_graph *g) {
    for (size_t i = 0; i < g->count; i++) {
        for (size_t k = 0; k < g->nodes[i].output_count && k < VLJ_ONNX_MOST_OUTPUTS; k++) {
            span name = g->nodes[i].outputs[k];
            const vlj_onnx_node *found = name.size > 0 ? vlj_onnx_producer(g, name, k) : &g->nodes[i];
            if (found != &g->nodes[i]) {
                return 0;
            }
        }
    }
    return 1;
}

vlj_status vlj_onnx_read_graph(const vlj_host *host, span model, vlj_onnx_graph *graph) {
    size_t graphs = 0, nodes = 0, uses = 0;
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
    if (model.size > 0 || graphs != 1 || !count_graph(g.message, &nodes, &uses) || nodes == 0) {
        return VLJ_OK;
    }
    g.bytes = nodes * sizeof *g.nodes + uses * sizeof *g.uses;
    g.nodes = vlj_alloc(host, g.bytes, 0);
    if (g.nodes == NULL) {
        return vlj_fail(VLJ_E_MEMORY, "no memory for the %zu nodes of an ONNX graph", nodes);
    }
    g.uses = (span *)(g.nodes + nodes);
    span rest = g.message;
    while (next_field(&rest, &f)) {
        if (f.number == GRAPH_NODE && f.wire == DELIMITED) {
            read_node(&g, f.content);
        } else if (f.number == GRAPH_OUTPUT && f.wire == DELIMITED) {
            g.uses[g.use_count++] = first(f.content, VALUE_NAME);
        }
    }
    if (!names_are_unique(&g)) {
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
    for (size_t i = 0; i < g->count && name.size > 0; i++) {
        for (size_t k = 0; k < g->nodes[i].output_count && k < VLJ_ONNX_MOST_OUTPUTS; k++) {
            if (same(g->nodes[i].outputs[k], name)) {
                return k == slot ? &g->nodes[i] : NULL;
            }
        }
    }
    return NULL;
}

vlj_onnx_node *vlj_onnx_consumer(const vlj_onnx_graph *g, span name) {
    for (size_t i = 0; i < g->count; i++) {
        for (size_t k = 0; k < g->nodes[i].input_count && k < VLJ_ONNX_MOST_INPUTS; k++) {
            if (same(g->nodes[i].inputs[k], name)) {
                return &g->nodes[i];
            }
        }
    }
    return NULL;
}

size_t vlj_onnx_uses(const vlj_onnx_graph *g, span name) {
    size_t count = 0;
    for (size_t i = 0; i < g->use_count; i++) {
        count += same(g->uses[i], name);
    }
    return count;
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

static span attribute(const vlj_onnx_node *node, const char *name) {
    span rest = node->message;
    field f;
    while (next_field(&rest, &f)) {
        if (f.number == NODE_ATTRIBUTE && f.wire == DELIMITED && is(first(f.content, ATTRIBUTE_NAME), name)) {
            return f.content;
        }
    }
    return (span){NULL, 0};
}

/* Numbers of a repeated field, packed or one by one; how many, or most + 1 for more. */
static size_t numbers(span message, uint32_t number, int64_t *values, size_t most) {
    size_t count = 0;
    field f;
    while (next_field(&message, &f)) {
        if (f.number == number && (f.wire == VARINT || f.wire == DELIMITED)) {
            uint64_t value = f.value;
            do {
                if (f.wire == DELIMITED && !read_varint(&f.content, &value)) {
                    break;
                }
                if (count == most) {
                    return most + 1;
                }
                values[count++] = (int64_t)value;
            } while (f.wire == DELIMITED && f.content.size > 0);
        }
    }
    return count;
}

int vlj_onnx_has_int(const vlj_onnx_node *node, const char *name, int64_t value) {
    span a = attribute(node, name);
    int64_t found, type;
    return numbers(a, ATTRIBUTE_TYPE, &type, 1) == 1 && type == ATTRIBUTE_IS_INT && !has(a, ATTRIBUTE_REFERENCE) &&
           numbers(a, ATTRIBUTE_INT, &found, 1) == 1 && found == value;
}

int vlj_onnx_has_ints(const vlj_onnx_node *node, const char *name, const int64_t *values, size_t count) {
    span a = attribute(node, name);
    int64_t found[8], type;
    return numbers(a, ATTRIBUTE_TYPE, &type, 1) == 1 && type == ATTRIBUTE_IS_INTS && !has(a, ATTRIBUTE_REFERENCE) &&
           count <= 8 && numbers(a, ATTRIBUTE_INTS, found, 8) == count &&
           memcmp(found, values, count * sizeof *found) == 0;
}

/* The initializer of that name; an empty span where there is none, or a graph's input may take its place. */
static span initializer(const vlj_onnx_graph *g, span name) {
    span rest = g->message, found = {NULL, 0};
    field f;
    while (next_field(&rest, &f)) {
        if (f.number == GRAPH_INITIALIZER && f.wire == DELIMITED && same(first(f.content, TENSOR_NAME), name)) {
            found = f.content;
        } else if (f.number == GRAPH_INPUT && f.wire == DELIMITED && same(first(f.content, VALUE_NAME), name)) {
            return (span){NULL, 0};
        }
    }
    return found;
}

size_t vlj_onnx_constant(const vlj_onnx_graph *g, span name, int64_t *values, size_t most) {
    span tensor = initializer(g, name);
    int64_t type = 0, size = 1;
    if (tensor.size == 0 || numbers(tensor, TENSOR_TYPE, &type, 1) != 1 || type != TYPE_INT64 ||
        numbers(tensor, TENSOR_DIMS, &size, 1) > 1 || size < 1 || (uint64_t)size > most ||
        has(tensor, TENSOR_EXTERNAL)) {
        return 0;
    }
    if (!has(tensor, TENSOR_RAW)) {
        return numbers(tensor, TENSOR_INT64, values, most) == (size_t)size ? (size_t)size : 0;
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
    return tensor.size > 0 && numbers(tensor, TENSOR_TYPE, &type, 1) == 1 && type == expected &&
           !has(tensor, TENSOR_DIMS) && !has(tensor, TENSOR_EXTERNAL);
}

int vlj_onnx_is_number(const vlj_onnx_graph *g, span name) {
    return is_scalar(initializer(g, name), TYPE_FLOAT);
}

int vlj_onnx_is_int8_zero(const vlj_onnx_graph *g, span name) {
    span tensor = initializer(g, name), raw = first(tensor, TENSOR_RAW);
    int64_t value = 1;
    return is_scalar(tensor, TYPE_INT8) &&
           (has(tensor, TENSOR_RAW) ? raw.size == 1 && raw.bytes[0] == 0
                                    : numbers(tensor, TENSOR_INT32, &value, 1) == 1 && value == 0);
}

int vlj_onnx_fits(const vlj_onnx_graph *g, span name, int64_t rows, int64_t columns) {
    span tensor = initializer(g, name);
    int64_t type = 0, dims[2];
    if (tensor.size == 0) {
        return vlj_onnx_producer(g, name, 0) != NULL || vlj_onnx_producer(g, name, 1) != NULL;
    }
    return numbers(tensor, TENSOR_TYPE, &type, 1) == 1 && type == TYPE_FLOAT &&
           numbers(tensor, TENSOR_DIMS, dims, 2) == 2 && dims[0] == rows && dims[1] == columns;
}
