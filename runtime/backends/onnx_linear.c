/* onnx_linear.c: puts one node in place of each INT8 linear map (onnx_linear.h). */
#include "onnx_linear.h"

#include "error.h"
#include "onnx_linear_match.h"

enum { REDUCE_MEAN_TAKES_AXES = 18 }; /* operator set; the other operators are older, or newer and have no other form */

typedef struct context {
    vlj_onnx_graph graph;
    vlj_onnx_linear *found; /* in the order of their products */
    size_t count;
} context;

static const vlj_onnx_linear *found_at(const context *c, const vlj_onnx_node *product) {
    size_t low = 0, high = c->count; /* it is among them */
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (c->found[middle].product <= product) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return &c->found[low];
}

/* ---- writing ---- */

/* A node's attribute; a float is given by its bits. */
static void put_attribute(output *out, const char *name, uint64_t type, uint64_t value) {
    output count = {NULL, 0}, *outs[] = {&count, out};
    for (size_t i = 0; i < 2; i++) {
        put_field(outs[i], ATTRIBUTE_NAME, text(name));
        if (type == ATTRIBUTE_IS_FLOAT) {
            uint8_t bits[4] = {(uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16), (uint8_t)(value >> 24)};
            put_varint(outs[i], (uint64_t)ATTRIBUTE_FLOAT << 3 | FIXED32);
            put(outs[i], (span){bits, sizeof bits});
        } else {
            put_number(outs[i], ATTRIBUTE_INT, value);
        }
        put_number(outs[i], ATTRIBUTE_TYPE, type);
        if (i == 0) {
            put_key(out, NODE_ATTRIBUTE, count.size);
        }
    }
}

enum { CALL_INPUTS = 11 };

/* As the node has them, absent ones empty. */
static void call_inputs(const vlj_onnx_linear *m, span inputs[CALL_INPUTS]) {
    const span all[CALL_INPUTS] = {m->x,           m->in_scale,  m->weights, m->weight_scale, m->weight_zero, m->bias,
                                   m->norm_weight, m->norm_bias, m->factor,  m->sum,          m->out_scale};
    memcpy(inputs, all, sizeof all);
}

static void put_call(output *out, const vlj_onnx_linear *m) {
    const struct {
        const char *name;
        int value;
    } settings[] = {
        {"unread", m->weight_zero.size > 0},    {"biased", m->bias.size > 0},     {"norm", m->norm},
        {"norm_biased", m->norm_bias.size > 0}, {"factored", m->factor.size > 0}, {"summed", m->sum.size > 0},
        {"quantised", m->out_scale.size > 0},   {"bfloat16", m->bfloat16},        {"rounded", m->rounded},
        {"activation", m->activation}};
    span inputs[CALL_INPUTS];
    call_inputs(m, inputs);
    for (size_t i = 0; i < CALL_INPUTS; i++) {
        if (inputs[i].size > 0) {
            put_field(out, NODE_INPUT, inputs[i]);
        }
    }
    put_field(out, NODE_OUTPUT, m->out);
    put_field(out, NODE_NAME, m->out);
    put_field(out, NODE_OP, text("QuantisedLinear"));
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
        put_attribute(out, settings[i].name, ATTRIBUTE_IS_INT, (uint64_t)settings[i].value);
    }
    put_attribute(out, "epsilon", ATTRIBUTE_IS_FLOAT, m->epsilon);
    put_field(out, NODE_DOMAIN, text("vljepa"));
}

static void put_graph(const void *all, output *out) {
    const context *c = all;
    span rest = c->graph.message;
    size_t number = 0;
    field f;
    while (next_field(&rest, &f)) {
        const vlj_onnx_node *node = f.number == GRAPH_NODE && f.wire == DELIMITED ? &c->graph.nodes[number++] : NULL;
        if (node == NULL || !node->replaced) {
            put(out, f.whole);
        } else if (node->start != NULL) {
            output count = {NULL, 0};
            put_call(&count, found_at(c, node->start));
            put_key(out, GRAPH_NODE, count.size);
            put_call(out, found_at(c, node->start));
        }
    }
}

/* ---- what nothing takes any more ---- */

static void use(const vlj_onnx_graph *g, span name, int there) {
    vlj_onnx_value *value = vlj_onnx_value_of(g, name);
    if (value != NULL) {
        value->live += there ? (size_t)1 : (size_t)-1;
    }
}

static void use_inputs(const vlj_onnx_graph *g, const vlj_onnx_node *node, int there) {
    span rest = node->message; /* all of them, also beyond those that are held */
    field f;
    while (next_field(&rest, &f)) {
        if (f.number == NODE_INPUT && f.wire == DELIMITED) {
            use(g, f.content, there);
        }
    }
}

static void count_uses(const context *c) {
    span inputs[CALL_INPUTS], rest = c->graph.message;
    field f;
    for (size_t i = 0; i < c->graph.count; i++) {
        if (!c->graph.nodes[i].replaced) {
            use_inputs(&c->graph, &c->graph.nodes[i], 1);
        }
    }
    for (size_t i = 0; i < c->count; i++) {
        call_inputs(&c->found[i], inputs);
        for (size_t k = 0; k < CALL_INPUTS; k++) {
            use(&c->graph, inputs[k], 1);
        }
    }
    while (next_field(&rest, &f)) {
        if (f.number == GRAPH_OUTPUT && f.wire == DELIMITED) {
            use(&c->graph, first(f.content, VALUE_NAME), 1);
        }
    }
}

/* Spare nodes, of one output each, that only replaced ones took. A graph has its nodes in the order that they run in,
 * so going backwards finds most in one pass. */
static void drop_spare(const context *c) {
    int dropped = 1;
    while (dropped) {
        dropped = 0;
        for (size_t i = c->graph.count; i-- > 0;) {
            vlj_onnx_node *node = &c->graph.nodes[i];
            const vlj_onnx_value *given = vlj_onnx_value_of(&c->graph, node->outputs[0]);
            if (node->spare && !node->replaced && given != NULL && given->live == 0) {
                node->replaced = dropped = 1;
                use_inputs(&c->graph, node, 0);
            }
        }
    }
}

vlj_status vlj_onnx_fuse_linear(const vlj_host *host, const uint8_t *bytes, size_t size, vlj_fused_onnx *fused) {
    context c = {.count = 0};
    size_t products = 0;
    *fused = (vlj_fused_onnx){bytes, size, NULL, 0};
    vlj_status status = vlj_onnx_read_graph(host, (span){bytes, size}, &c.graph);
    for (size_t i = 0; i < c.graph.count && c.graph.opset >= REDUCE_MEAN_TAKES_AXES; i++) {
        products += (size_t)is(c.graph.nodes[i].op, "MatMul");
    }
    if (status != VLJ_OK || products == 0) {
        vlj_onnx_free_graph(host, &c.graph);
        return status;
    }
    /* one more, for the product that is being looked at */
    size_t found_bytes = (products + 1) * sizeof *c.found;
    c.found = vlj_alloc(host, found_bytes, 0);
    if (c.found == NULL) {
        status = vlj_fail(VLJ_E_MEMORY, "no memory for %zu products of an ONNX graph", products);
    } else {
        c.count = vlj_onnx_match_linear(&c.graph, c.found);
    }
    if (c.count > 0) {
        count_uses(&c);
        drop_spare(&c);
        status = vlj_onnx_rewrite(host, put_graph, &c, (uint32_t)c.count, fused);
    }
    vlj_free(host, c.found, found_bytes);
    vlj_onnx_free_graph(host, &c.graph);
    return status;
}
