/* onnx_attention.c: puts one node in place of each layer's attention (onnx_attention.h).
 *
 * The search starts at a Softmax and goes up to the projection and down to the merged heads. A subgraph is taken only
 * whole: each value between its nodes must have no other use, so that nothing misses what is gone.
 */
#include "onnx_attention.h"

#include "onnx_graph.h"
#include "onnx_message.h"

enum { MOST_STEPS = 20, SPLIT_HAS_NUM_OUTPUTS = 18 }; /* nodes of an attention; operator set */

/* One attention. `steps` are the nodes that it replaces, the last one in the graph's order being `last`. */
typedef struct attention {
    span qkv, cosine, sine, mask, scale, out; /* mask and scale: empty where there is none */
    int64_t heads, kv_heads, width;
    vlj_onnx_node *steps[MOST_STEPS];
    size_t count;
    vlj_onnx_node *last;
} attention;

/* The node that gives `name` as its output number `slot`, if it is such an operator, and all uses of the name are in
 * the attention. It becomes a step, once. */
static vlj_onnx_node *above(const vlj_onnx_graph *g, attention *a, span name, size_t slot, const char *op,
                            size_t inputs, size_t uses) {
    vlj_onnx_node *node = vlj_onnx_producer(g, name, slot);
    if (node == NULL || !vlj_onnx_is(node, op, inputs) || vlj_onnx_uses(g, name) != uses) {
        return NULL;
    }
    for (size_t i = 0; i < a->count; i++) {
        if (a->steps[i] == node) {
            return node;
        }
    }
    if (a->count == MOST_STEPS) {
        return NULL;
    }
    a->steps[a->count++] = node;
    return node;
}

/* The one node that takes `name`, as its first input. */
static vlj_onnx_node *below(const vlj_onnx_graph *g, attention *a, span name, const char *op, size_t inputs) {
    vlj_onnx_node *node = vlj_onnx_uses(g, name) == 1 ? vlj_onnx_consumer(g, name) : NULL;
    if (node == NULL || !vlj_onnx_is(node, op, inputs) || node->output_count != 1 || !same(node->inputs[0], name) ||
        a->count == MOST_STEPS) {
        return NULL;
    }
    a->steps[a->count++] = node;
    return node;
}

static int has_ints(const vlj_onnx_graph *g, span name, const int64_t *expected, size_t count) {
    int64_t found[4];
    return vlj_onnx_constant(g, name, found, 4) == count && memcmp(found, expected, count * sizeof *found) == 0;
}
#define INTS(...) ((const int64_t[]){__VA_ARGS__}), sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)

static int permutes(const vlj_onnx_node *node, int64_t i, int64_t j, int64_t k, int64_t l) {
    return vlj_onnx_attributes(node) == 1 && vlj_onnx_has_ints(node, "perm", INTS(i, j, k, l));
}

static int splits_in_two(const vlj_onnx_node *node, int64_t axis) {
    return node->output_count == 2 && vlj_onnx_attributes(node) == 2 && vlj_onnx_has_int(node, "axis", axis) &&
           vlj_onnx_has_int(node, "num_outputs", 2);
}

static int splits(const vlj_onnx_graph *g, const vlj_onnx_node *node, int64_t axis, int64_t first, int64_t second) {
    return node->output_count == 2 && vlj_onnx_attributes(node) == 1 && vlj_onnx_has_int(node, "axis", axis) &&
           has_ints(g, node->inputs[1], INTS(first, second));
}

/* The last size may be left to be found. */
static int merges(const vlj_onnx_graph *g, const vlj_onnx_node *reshape, int64_t batch, int64_t tokens, int64_t width) {
    return has_ints(g, reshape->inputs[1], INTS(batch, tokens, width)) ||
           has_ints(g, reshape->inputs[1], INTS(batch, tokens, -1));
}

/* Split.0 of queries and keys, rotated: x * cosine + (its halves, swapped) * sine. Gives the Split, or NULL. */
static vlj_onnx_node *match_rotation(const vlj_onnx_graph *g, attention *a, span rotated) {
    vlj_onnx_node *add = above(g, a, rotated, 0, "Add", 2, 1);
    vlj_onnx_node *straight = add != NULL ? above(g, a, add->inputs[0], 0, "Mul", 2, 1) : NULL;
    vlj_onnx_node *swapped = add != NULL ? above(g, a, add->inputs[1], 0, "Mul", 2, 1) : NULL;
    vlj_onnx_node *concat = swapped != NULL ? above(g, a, swapped->inputs[0], 0, "Concat", 2, 1) : NULL;
    vlj_onnx_node *halves = concat != NULL ? above(g, a, concat->inputs[0], 1, "Split", 1, 1) : NULL;
    if (straight == NULL || halves == NULL || above(g, a, concat->inputs[1], 0, "Split", 1, 1) != halves) {
        return NULL;
    }
    if (vlj_onnx_attributes(add) + vlj_onnx_attributes(straight) + vlj_onnx_attributes(swapped) != 0 ||
        vlj_onnx_attributes(concat) != 1 || !vlj_onnx_has_int(concat, "axis", -1) || !splits_in_two(halves, 3) ||
        !same(halves->inputs[0], straight->inputs[0])) {
        return NULL;
    }
    a->cosine = straight->inputs[1];
    a->sine = swapped->inputs[1];
    return above(g, a, straight->inputs[0], 0, "Split", 2, 2);
}

/* What the two components' exports do alike: everything between the Split of the values and the product with them.
 * *grouped: queries of one key head were joined by a Reshape. Gives the Split, or NULL. */
static vlj_onnx_node *match_scores(const vlj_onnx_graph *g, attention *a, span scores, vlj_onnx_node **grouped,
                                   vlj_onnx_node **queries_and_keys) {
    vlj_onnx_node *sum = vlj_onnx_producer(g, scores, 0);
    if (sum != NULL && vlj_onnx_is(sum, "Add", 2)) {
        if (above(g, a, scores, 0, "Add", 2, 1) == NULL || vlj_onnx_attributes(sum) != 0) {
            return NULL;
        }
        vlj_onnx_node *unsqueeze =
            vlj_onnx_producer(g, sum->inputs[1], 0); /* [B,N] -> [B,1,1,N]; it stays, others use it */
        if (unsqueeze == NULL || !vlj_onnx_is(unsqueeze, "Unsqueeze", 2) || vlj_onnx_attributes(unsqueeze) != 0 ||
            !has_ints(g, unsqueeze->inputs[1], INTS(1, 2))) {
            return NULL;
        }
        a->mask = sum->inputs[1];
        scores = sum->inputs[0];
    }
    vlj_onnx_node *product = above(g, a, scores, 0, "MatMul", 2, 1);
    vlj_onnx_node *turn = product != NULL ? above(g, a, product->inputs[1], 0, "Transpose", 1, 1) : NULL;
    if (turn == NULL || vlj_onnx_attributes(product) != 0 || !permutes(turn, 0, 1, 3, 2)) {
        return NULL;
    }
    span queries = product->inputs[0];
    vlj_onnx_node *reshape = vlj_onnx_producer(g, queries, 0);
    *grouped = reshape != NULL && vlj_onnx_is(reshape, "Reshape", 2) ? above(g, a, queries, 0, "Reshape", 2, 1) : NULL;
    if (*grouped != NULL) {
        queries = (*grouped)->inputs[0];
    }
    size_t split_inputs = a->mask.size > 0 ? 2 : 1; /* match_layout says of what */
    vlj_onnx_node *pair = above(g, a, queries, 0, "Split", split_inputs, 1);
    if (pair == NULL || above(g, a, turn->inputs[0], 1, "Split", split_inputs, 1) != pair) {
        return NULL;
    }
    *queries_and_keys = pair;
    return match_rotation(g, a, pair->inputs[0]);
}

/* The axes that heads are on before and after. The X-Encoder: [1,N,3 H D] -> [N,3,H,D] -> [3,H,N,D] and back to
 * [1,N,H D], a known N. The Predictor: [B,N,(H + 2 K) D] -> [B,N,H + 2 K,D] -> [B,H + 2 K,N,D] and back. */
static int match_layout(const vlj_onnx_graph *g, attention *a, const vlj_onnx_node *split, const vlj_onnx_node *pair,
                        const vlj_onnx_node *grouped, const vlj_onnx_node *ungrouped, const vlj_onnx_node *merge) {
    vlj_onnx_node *turn = above(g, a, split->inputs[0], 0, "Transpose", 1, 1);
    vlj_onnx_node *reshape = turn != NULL ? above(g, a, turn->inputs[0], 0, "Reshape", 2, 1) : NULL;
    int64_t sizes[4], parts[2];
    if (reshape == NULL || vlj_onnx_attributes(reshape) != 0 || vlj_onnx_attributes(merge) != 0 ||
        vlj_onnx_constant(g, reshape->inputs[1], sizes, 4) != 4) {
        return 0;
    }
    a->qkv = reshape->inputs[0];
    a->out = merge->outputs[0];
    a->width = sizes[3];
    if (a->mask.size == 0) {
        a->heads = a->kv_heads = sizes[2];
        return sizes[0] > 0 && sizes[1] == 3 && a->heads > 0 && permutes(turn, 1, 2, 0, 3) && grouped == NULL &&
               ungrouped == NULL && splits(g, split, 0, 2, 1) && splits_in_two(pair, 0) &&
               vlj_onnx_fits(g, a->cosine, sizes[0], a->width) && vlj_onnx_fits(g, a->sine, sizes[0], a->width) &&
               merges(g, merge, 1, sizes[0], a->heads * a->width);
    }
    if (vlj_onnx_constant(g, pair->inputs[1], parts, 2) != 2 || sizes[0] != 0 || sizes[1] != 0) {
        return 0;
    }
    int64_t heads = a->heads = parts[0], kv_heads = a->kv_heads = parts[1];
    int groups = grouped != NULL && ungrouped != NULL &&
                 vlj_onnx_attributes(grouped) + vlj_onnx_attributes(ungrouped) == 0 &&
                 has_ints(g, grouped->inputs[1], INTS(0, kv_heads, -1, a->width)) &&
                 has_ints(g, ungrouped->inputs[1], INTS(0, heads, -1, a->width));
    return heads > 0 && kv_heads > 0 && heads <= UINT16_MAX && heads % kv_heads == 0 &&
           sizes[2] == heads + 2 * kv_heads && permutes(turn, 0, 2, 1, 3) &&
           splits(g, split, 1, heads + kv_heads, kv_heads) && splits(g, pair, 1, heads, kv_heads) &&
           (groups || (heads == kv_heads && grouped == NULL && ungrouped == NULL)) &&
           merges(g, merge, 0, 0, heads * a->width);
}

/* A quantiser that is the only one to take the result becomes part of it. */
static void match_quantiser(const vlj_onnx_graph *g, attention *a) {
    vlj_onnx_node *quantise = vlj_onnx_uses(g, a->out) == 1 ? vlj_onnx_consumer(g, a->out) : NULL;
    if (quantise != NULL && vlj_onnx_is(quantise, "QuantizeLinear", 3) && same(quantise->inputs[0], a->out) &&
        quantise->output_count == 1 && vlj_onnx_attributes(quantise) == 0 &&
        vlj_onnx_is_number(g, quantise->inputs[1]) && vlj_onnx_is_int8_zero(g, quantise->inputs[2]) &&
        a->count < MOST_STEPS) {
        a->steps[a->count++] = a->last = quantise;
        a->scale = quantise->inputs[1];
        a->out = quantise->outputs[0];
    }
}

static int match(const vlj_onnx_graph *g, vlj_onnx_node *softmax, uint32_t width, attention *a) {
    vlj_onnx_node *grouped = NULL, *ungrouped = NULL, *pair = NULL;
    *a = (attention){.steps = {softmax}, .count = 1};
    if (!vlj_onnx_is(softmax, "Softmax", 1) || softmax->output_count != 1 || vlj_onnx_attributes(softmax) != 1 ||
        !vlj_onnx_has_int(softmax, "axis", -1)) {
        return 0;
    }
    vlj_onnx_node *split = match_scores(g, a, softmax->inputs[0], &grouped, &pair);
    vlj_onnx_node *product = split != NULL ? below(g, a, softmax->outputs[0], "MatMul", 2) : NULL;
    if (product == NULL || vlj_onnx_attributes(product) != 0 ||
        above(g, a, product->inputs[1], 1, "Split", 2, 1) != split) {
        return 0;
    }
    span heads = product->outputs[0];
    if (grouped != NULL) {
        ungrouped = below(g, a, heads, "Reshape", 2);
        heads = ungrouped != NULL ? ungrouped->outputs[0] : heads;
    }
    vlj_onnx_node *turn = below(g, a, heads, "Transpose", 1);
    vlj_onnx_node *merge =
        turn != NULL && permutes(turn, 0, 2, 1, 3) ? below(g, a, turn->outputs[0], "Reshape", 2) : NULL;
    a->last = merge;
    if (merge == NULL || !match_layout(g, a, split, pair, grouped, ungrouped, merge) || a->width != (int64_t)width) {
        return 0;
    }
    match_quantiser(g, a);
    return 1;
}

/* ---- writing ---- */

static void put_int_value(output *out, const char *name, int64_t value) {
    put_field(out, ATTRIBUTE_NAME, text(name));
    put_number(out, ATTRIBUTE_INT, (uint64_t)value);
    put_number(out, ATTRIBUTE_TYPE, ATTRIBUTE_IS_INT);
}

static void put_int_attribute(output *out, const char *name, int64_t value) {
    output count = {NULL, 0};
    put_int_value(&count, name, value);
    put_key(out, NODE_ATTRIBUTE, count.size);
    put_int_value(out, name, value);
}

static void put_call(output *out, const attention *a) {
    const span inputs[] = {a->qkv, a->cosine, a->sine, a->mask, a->scale};
    for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
        if (inputs[i].size > 0) {
            put_field(out, NODE_INPUT, inputs[i]);
        }
    }
    put_field(out, NODE_OUTPUT, a->out);
    put_field(out, NODE_NAME, a->out);
    put_field(out, NODE_OP, text("RotaryAttention"));
    put_int_attribute(out, "heads", a->heads);
    put_int_attribute(out, "kv_heads", a->kv_heads);
    put_int_attribute(out, "masked", a->mask.size > 0);
    put_int_attribute(out, "quantised", a->scale.size > 0);
    put_field(out, NODE_DOMAIN, text("vljepa"));
}

typedef struct search {
    vlj_onnx_graph graph;
    uint32_t width;
} search;

static void put_graph(const void *context, output *out) {
    const search *s = context;
    const vlj_onnx_graph *g = &s->graph;
    span rest = g->message;
    size_t number = 0;
    field f;
    while (next_field(&rest, &f)) {
        vlj_onnx_node *node = f.number == GRAPH_NODE && f.wire == DELIMITED ? &g->nodes[number++] : NULL;
        attention a;
        if (node == NULL || !node->replaced) {
            put(out, f.whole);
        } else if (node->start != NULL && match(g, node->start, s->width, &a)) { /* as it did before */
            output count = {NULL, 0};
            put_call(&count, &a);
            put_key(out, GRAPH_NODE, count.size);
            put_call(out, &a);
        }
    }
}

vlj_status vlj_onnx_fuse_attention(const vlj_host *host, const uint8_t *bytes, size_t size, uint32_t width,
                                   vlj_fused_onnx *fused) {
    search s = {.width = width};
    vlj_onnx_graph *g = &s.graph;
    uint32_t found = 0;
    *fused = (vlj_fused_onnx){bytes, size, NULL, 0};
    vlj_status status = vlj_onnx_read_graph(host, (span){bytes, size}, g);
    if (status != VLJ_OK || g->opset < SPLIT_HAS_NUM_OUTPUTS) {
        vlj_onnx_free_graph(host, g);
        return status;
    }
    for (size_t i = 0; i < g->count; i++) {
        attention a;
        int taken = 0;
        if (is(g->nodes[i].op, "Softmax") && match(g, &g->nodes[i], width, &a)) {
            for (size_t k = 0; k < a.count; k++) {
                taken |= a.steps[k]->replaced;
            }
            for (size_t k = 0; k < a.count && !taken; k++) {
                a.steps[k]->replaced = 1;
            }
            if (taken) {
                continue; /* by another attention: no graph that export writes */
            }
            a.last->start = &g->nodes[i];
            found++;
        }
    }
    if (found > 0) {
        status = vlj_onnx_rewrite(host, put_graph, &s, found, fused);
    }
    vlj_onnx_free_graph(host, g);
    return status;
}
