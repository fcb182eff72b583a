/* onnx_linear_match.c: finds what one QuantisedLinear each takes the place of (onnx_linear_match.h).
 *
 * From a product down, a node is taken where it is all that uses the value, so that nothing misses what is gone. Two
 * products may meet in a node: the first one takes it. Only then is it known which products end in rounding, and so
 * whether the next one's input comes rounded. What stands before a product may have other uses; it is computed again.
 */
#include "onnx_linear_match.h"

#include "onnx_constants.h"

enum { INNER_UNIT = 64, COLUMN_UNIT = 32 }; /* kernels/linear.h */
#define TWO 0x40000000u                     /* 2.0f */
#define DEFAULT_EPSILON 0x3727C5ACu         /* 1e-5f, of LayerNormalization */

static int is_plain(const vlj_onnx_node *node, const char *op, size_t inputs) {
    return node != NULL && vlj_onnx_is(node, op, inputs) && node->output_count == 1 && node->outputs[0].size > 0 &&
           vlj_onnx_attributes(node) == 0;
}

/* QuantizeLinear or DequantizeLinear of a whole tensor by one scale. */
static int is_scaling(const vlj_onnx_graph *g, const vlj_onnx_node *node, const char *op) {
    return is_plain(node, op, 3) && vlj_onnx_is_number(g, node->inputs[1]) && vlj_onnx_is_int8_zero(g, node->inputs[2]);
}

/* ---- the product ---- */

/* The scale that an attention rounds its result by; empty where it doesn't. */
static span attention_scale(const vlj_onnx_node *node) {
    size_t masked = (size_t)vlj_onnx_has_int(node, "masked", 1);
    return is(node->op, "RotaryAttention") && is(first(node->message, NODE_DOMAIN), "vljepa") &&
                   vlj_onnx_has_int(node, "quantised", 1) && node->input_count == 4 + masked
               ? node->inputs[3 + masked]
               : (span){NULL, 0};
}

/* Zeros, or int8 that lie in another file: *unread is their name then. */
static int may_be_zeros(const vlj_onnx_graph *g, span name, int64_t size, span *unread) {
    if (vlj_onnx_is_vector(g, name, TYPE_INT8, size) && has(vlj_onnx_initializer(g, name), TENSOR_EXTERNAL)) {
        *unread = name;
        return 1;
    }
    return vlj_onnx_is_int8_zeros(g, name, size);
}

static int match_product(const vlj_onnx_graph *g, vlj_onnx_node *product, vlj_onnx_linear *m) {
    int64_t sizes[2];
    *m = (vlj_onnx_linear){.product = product, .last = product, .out = product->outputs[0]};
    if (!is_plain(product, "MatMul", 2) || product->replaced) {
        return 0;
    }
    vlj_onnx_node *weights = m->weight_dequantiser = vlj_onnx_producer(g, product->inputs[1], 0);
    vlj_onnx_node *values = m->dequantiser = vlj_onnx_producer(g, product->inputs[0], 0);
    if (weights == NULL || !vlj_onnx_is(weights, "DequantizeLinear", 3) || weights->output_count != 1 ||
        vlj_onnx_attributes(weights) != 1 || !vlj_onnx_has_int(weights, "axis", 1) ||
        !vlj_onnx_has_rank(g, weights->inputs[0], TYPE_INT8, sizes, 2) || sizes[0] <= 0 || sizes[1] <= 0 ||
        sizes[0] % INNER_UNIT != 0 || sizes[1] % COLUMN_UNIT != 0 ||
        !vlj_onnx_is_vector(g, weights->inputs[1], TYPE_FLOAT, sizes[1]) ||
        !may_be_zeros(g, weights->inputs[2], sizes[1], &m->weight_zero) || !is_scaling(g, values, "DequantizeLinear")) {
        return 0;
    }
    m->weights = weights->inputs[0];
    m->weight_scale = weights->inputs[1];
    m->inner = sizes[0];
    m->columns = sizes[1];
    m->x = values->inputs[0];
    m->in_scale = values->inputs[1];
    vlj_onnx_node *giver = vlj_onnx_producer(g, m->x, 0);
    if (giver == NULL) {
        return 0;
    }
    if (is_scaling(g, giver, "QuantizeLinear")) {
        m->quantiser = giver;
        return same(giver->inputs[1], m->in_scale) && !vlj_onnx_is_constant(g, giver->inputs[0]);
    }
    return same(attention_scale(giver), m->in_scale);
}

/* ---- what comes after ---- */

/* The node that is all that uses `value`, and that nobody has taken. */
static vlj_onnx_node *only_taker(const vlj_onnx_graph *g, span value, const char *op, size_t inputs) {
    vlj_onnx_node *node = vlj_onnx_uses(g, value) == 1 ? vlj_onnx_consumer(g, value) : NULL;
    return node != NULL && !node->replaced && vlj_onnx_is(node, op, inputs) && node->output_count == 1 &&
                   node->outputs[0].size > 0
               ? node
               : NULL;
}

static void take(vlj_onnx_linear *m, vlj_onnx_node *node) {
    node->replaced = 1;
    m->last = node;
    m->out = node->outputs[0];
}

static span other_input(const vlj_onnx_node *node, span one) {
    return node->inputs[same(node->inputs[0], one) ? 1 : 0];
}

/* float32 [..1..,columns], or float16 that is cast to it. */
static int is_bias(const vlj_onnx_graph *g, span name, int64_t columns) {
    const vlj_onnx_node *cast = vlj_onnx_producer(g, name, 0);
    if (cast == NULL) {
        return vlj_onnx_is_row(g, name, TYPE_FLOAT, columns);
    }
    return vlj_onnx_is(cast, "Cast", 1) && cast->output_count == 1 && vlj_onnx_attributes(cast) == 1 &&
           vlj_onnx_has_int(cast, "to", TYPE_FLOAT) && vlj_onnx_is_row(g, cast->inputs[0], TYPE_FLOAT16, columns);
}

/* A bias, and before it what is added to the product itself: outlier channels, whose product is in full precision. */
static void match_additions(const vlj_onnx_graph *g, vlj_onnx_linear *m) {
    vlj_onnx_node *add;
    while ((add = only_taker(g, m->out, "Add", 2)) != NULL && vlj_onnx_attributes(add) == 0 && m->bias.size == 0) {
        span other = other_input(add, m->out);
        if (is_bias(g, other, m->columns)) {
            m->bias = other;
        } else if (m->last == m->product && !vlj_onnx_is_constant(g, other)) {
            m->sum = other;
        } else {
            return;
        }
        take(m, add);
    }
}

/* SiLU is x * Sigmoid(x): the value's two uses. */
static void match_silu(const vlj_onnx_graph *g, vlj_onnx_linear *m) {
    const vlj_onnx_value *value = vlj_onnx_value_of(g, m->out);
    if (value == NULL || value->uses != 2 || value->first_taker == NULL) {
        return;
    }
    int turned = is(value->first_taker->op, "Mul");
    vlj_onnx_node *sigmoid = turned ? value->last_taker : value->first_taker;
    vlj_onnx_node *mul = turned ? value->first_taker : value->last_taker;
    if (is_plain(sigmoid, "Sigmoid", 1) && is_plain(mul, "Mul", 2) && !sigmoid->replaced && !mul->replaced &&
        vlj_onnx_uses(g, sigmoid->outputs[0]) == 1 &&
        (same(mul->inputs[0], m->out) ? same(mul->inputs[1], sigmoid->outputs[0])
                                      : same(mul->inputs[1], m->out) && same(mul->inputs[0], sigmoid->outputs[0]))) {
        sigmoid->replaced = 1;
        take(m, mul);
        m->activation = VLJ_ONNX_SILU;
    }
}

static void match_activation(const vlj_onnx_graph *g, vlj_onnx_linear *m) {
    vlj_onnx_node *gelu = only_taker(g, m->out, "Gelu", 1);
    if (gelu == NULL) {
        match_silu(g, m);
    } else if (vlj_onnx_attributes(gelu) == 0 ||
               (vlj_onnx_attributes(gelu) == 1 && vlj_onnx_has_text(gelu, "approximate", "none"))) {
        take(m, gelu);
        m->activation = VLJ_ONNX_GELU;
    }
}

/* Another's result, that nothing else takes: it can be BF16, as the kernels have factors. */
static int match_factor(const vlj_onnx_graph *g, vlj_onnx_linear *m, const vlj_onnx_linear *all, size_t count) {
    vlj_onnx_node *mul = m->activation != 0 ? only_taker(g, m->out, "Mul", 2) : NULL;
    if (mul == NULL || vlj_onnx_attributes(mul) != 0) {
        return 0;
    }
    span other = other_input(mul, m->out);
    for (size_t i = 0; i < count && vlj_onnx_uses(g, other) == 1; i++) {
        if (same(all[i].out, other) && all[i].columns == m->columns && all[i].out_scale.size == 0) {
            m->factor = other;
            take(m, mul);
            return 1;
        }
    }
    return 0;
}

static void match_end(const vlj_onnx_graph *g, vlj_onnx_linear *m) {
    vlj_onnx_node *add = m->sum.size == 0 ? only_taker(g, m->out, "Add", 2) : NULL;
    if (add != NULL && vlj_onnx_attributes(add) == 0 && !vlj_onnx_is_constant(g, other_input(add, m->out))) {
        m->sum = other_input(add, m->out);
        take(m, add);
    }
    vlj_onnx_node *quantise = only_taker(g, m->out, "QuantizeLinear", 3);
    if (quantise != NULL && same(quantise->inputs[0], m->out) && is_scaling(g, quantise, "QuantizeLinear")) {
        m->out_scale = quantise->inputs[1];
        take(m, quantise);
    }
}

/* ---- the norm before ---- */

/* A value whose one use is the next step of a norm. */
static vlj_onnx_node *inner(const vlj_onnx_graph *g, span name, const char *op, size_t inputs) {
    vlj_onnx_node *node = vlj_onnx_producer(g, name, 0);
    return node != NULL && vlj_onnx_is(node, op, inputs) && node->output_count == 1 && vlj_onnx_uses(g, name) == 1
               ? node
               : NULL;
}

/* 1: the attribute is there and is this; *known counts it. Absent is as good where this is the default. */
static int has_or_lacks(const vlj_onnx_node *node, const char *name, int64_t value, size_t *known) {
    int there = vlj_onnx_attribute(node, name).size > 0;
    *known += (size_t)there;
    return !there || vlj_onnx_has_int(node, name, value);
}

static int match_layer_norm(const vlj_onnx_graph *g, vlj_onnx_node *norm, vlj_onnx_linear *m) {
    uint32_t epsilon = DEFAULT_EPSILON;
    size_t known = vlj_onnx_attribute(norm, "epsilon").size > 0;
    if (!(vlj_onnx_is(norm, "LayerNormalization", 2) || vlj_onnx_is(norm, "LayerNormalization", 3)) ||
        norm->output_count != 1 || !has_or_lacks(norm, "axis", -1, &known) ||
        !has_or_lacks(norm, "stash_type", 1, &known) ||
        (vlj_onnx_attribute(norm, "epsilon").size > 0 && !vlj_onnx_float_attribute(norm, "epsilon", &epsilon)) ||
        vlj_onnx_attributes(norm) != known || !vlj_onnx_is_vector(g, norm->inputs[1], TYPE_FLOAT, m->inner) ||
        (norm->input_count == 3 && !vlj_onnx_is_vector(g, norm->inputs[2], TYPE_FLOAT, m->inner))) {
        return 0;
    }
    m->norm = VLJ_ONNX_LAYER_NORM;
    m->norm_weight = norm->inputs[1];
    m->norm_bias = norm->inputs[2]; /* empty where there is none */
    m->epsilon = epsilon;
    m->x = norm->inputs[0];
    return 1;
}

/* x / Sqrt(ReduceMean(x ^ 2) + epsilon) * weight */
static int match_rms_norm(const vlj_onnx_graph *g, vlj_onnx_node *scaled, vlj_onnx_linear *m) {
    const int64_t last_axis = -1;
    int64_t axis[2];
    uint32_t exponent, epsilon;
    size_t known = 0;
    vlj_onnx_node *divide = is_plain(scaled, "Mul", 2) ? inner(g, scaled->inputs[0], "Div", 2) : NULL;
    vlj_onnx_node *root = divide != NULL ? inner(g, divide->inputs[1], "Sqrt", 1) : NULL;
    vlj_onnx_node *add = root != NULL ? inner(g, root->inputs[0], "Add", 2) : NULL;
    vlj_onnx_node *mean = add != NULL ? inner(g, add->inputs[0], "ReduceMean", 2) : NULL;
    vlj_onnx_node *power = mean != NULL ? inner(g, mean->inputs[0], "Pow", 2) : NULL;
    if (power == NULL || !is_plain(divide, "Div", 2) || !is_plain(root, "Sqrt", 1) || !is_plain(add, "Add", 2) ||
        !is_plain(power, "Pow", 2) || !same(power->inputs[0], divide->inputs[0]) ||
        vlj_onnx_is_constant(g, power->inputs[0]) || !vlj_onnx_number(g, power->inputs[1], &exponent) ||
        exponent != TWO || vlj_onnx_constant(g, mean->inputs[1], axis, 2) != 1 || axis[0] != last_axis ||
        !has_or_lacks(mean, "keepdims", 1, &known) || !has_or_lacks(mean, "noop_with_empty_axes", 0, &known) ||
        vlj_onnx_attributes(mean) != known || !vlj_onnx_number(g, add->inputs[1], &epsilon) ||
        !vlj_onnx_is_vector(g, scaled->inputs[1], TYPE_FLOAT, m->inner)) {
        return 0;
    }
    m->norm = VLJ_ONNX_RMS_NORM;
    m->norm_weight = scaled->inputs[1];
    m->epsilon = epsilon;
    m->x = power->inputs[0];
    divide->spare = root->spare = add->spare = mean->spare = power->spare = 1;
    return 1;
}

static void match_before(const vlj_onnx_graph *g, vlj_onnx_linear *m) {
    m->dequantiser->spare = m->weight_dequantiser->spare = 1;
    m->rounded = m->quantiser == NULL || m->quantiser->replaced;
    if (m->rounded) {
        return; /* by an attention, or by another product's end */
    }
    m->quantiser->spare = 1;
    m->x = m->quantiser->inputs[0];
    vlj_onnx_node *norm = vlj_onnx_producer(g, m->x, 0);
    size_t rounded = 0;
    for (size_t i = 0; i < g->count && norm != NULL; i++) {
        rounded += same(g->nodes[i].inputs[0], m->x) && is(g->nodes[i].op, "QuantizeLinear");
    }
    if (norm != NULL && rounded == vlj_onnx_uses(g, m->x) &&
        (match_layer_norm(g, norm, m) || match_rms_norm(g, norm, m))) {
        norm->spare = 1;
    }
}

/* ---- all ---- */

static int suits_bfloat16(const vlj_onnx_graph *g, span out, const vlj_onnx_linear *all, size_t count) {
    size_t uses = 0;
    for (size_t i = 0; i < g->count; i++) {
        uses += is(g->nodes[i].op, "RotaryAttention") && same(g->nodes[i].inputs[0], out) &&
                is(first(g->nodes[i].message, NODE_DOMAIN), "vljepa");
    }
    for (size_t i = 0; i < count; i++) {
        uses += (size_t)same(all[i].factor, out);
    }
    return uses > 0 && uses == vlj_onnx_uses(g, out);
}

size_t vlj_onnx_match_linear(const vlj_onnx_graph *g, vlj_onnx_linear *found) {
    size_t count = 0;
    for (size_t i = 0; i < g->count; i++) {
        if (is(g->nodes[i].op, "MatMul") && match_product(g, &g->nodes[i], &found[count])) {
            found[count++].product->replaced = 1;
        }
    }
    for (size_t i = 0; i < count; i++) {
        match_additions(g, &found[i]);
        if (found[i].sum.size == 0) {
            match_activation(g, &found[i]);
        }
        match_end(g, &found[i]);
    }
    for (size_t i = 0; i < count; i++) {
        if (match_factor(g, &found[i], found, count)) {
            match_end(g, &found[i]);
        }
    }
    for (size_t i = 0; i < count; i++) {
        match_before(g, &found[i]);
        found[i].bfloat16 = found[i].out_scale.size == 0 && suits_bfloat16(g, found[i].out, found, count);
        found[i].last->start = found[i].product;
    }
    return count;
}
