/* onnx_constants.c: what initializers and attributes of an ONNX graph hold (onnx_constants.h). */
#include "onnx_constants.h"

enum { MOST_RANK = 8 };

int vlj_onnx_has_rank(const vlj_onnx_graph *g, span name, int64_t type, int64_t *sizes, size_t rank) {
    span tensor = vlj_onnx_initializer(g, name);
    int64_t found = 0;
    return tensor.size > 0 && read_numbers(tensor, TENSOR_TYPE, &found, 1) == 1 && found == type &&
           read_numbers(tensor, TENSOR_DIMS, sizes, rank) == rank;
}

int vlj_onnx_is_vector(const vlj_onnx_graph *g, span name, int64_t type, int64_t size) {
    int64_t found;
    return vlj_onnx_has_rank(g, name, type, &found, 1) && found == size;
}

int vlj_onnx_is_row(const vlj_onnx_graph *g, span name, int64_t type, int64_t size) {
    span tensor = vlj_onnx_initializer(g, name);
    int64_t found = 0, sizes[MOST_RANK];
    size_t rank = read_numbers(tensor, TENSOR_DIMS, sizes, MOST_RANK);
    if (rank == 0 || rank > MOST_RANK || read_numbers(tensor, TENSOR_TYPE, &found, 1) != 1 || found != type) {
        return 0;
    }
    for (size_t i = 0; i + 1 < rank; i++) {
        if (sizes[i] != 1) {
            return 0;
        }
    }
    return sizes[rank - 1] == size;
}

int vlj_onnx_is_int8_zeros(const vlj_onnx_graph *g, span name, int64_t size) {
    span tensor = vlj_onnx_initializer(g, name);
    if (!vlj_onnx_is_vector(g, name, TYPE_INT8, size) || has(tensor, TENSOR_EXTERNAL)) {
        return 0;
    }
    if (has(tensor, TENSOR_RAW)) {
        span raw = first(tensor, TENSOR_RAW);
        for (size_t i = 0; i < raw.size; i++) {
            if (raw.bytes[i] != 0) {
                return 0;
            }
        }
        return raw.size == (uint64_t)size;
    }
    int64_t count = 0;
    field f;
    while (next_field(&tensor, &f)) { /* a number per varint, packed or one by one */
        uint64_t value = f.value;
        while (f.number == TENSOR_INT32 && (f.wire == VARINT || f.wire == DELIMITED)) {
            if (f.wire == DELIMITED && !read_varint(&f.content, &value)) {
                if (f.content.size > 0) {
                    return 0;
                }
                break;
            }
            if (value != 0) {
                return 0;
            }
            count++;
            if (f.wire == VARINT) {
                break;
            }
        }
    }
    return count == size;
}

static int read_bits(span four, uint32_t *bits) {
    *bits = 0;
    for (size_t i = 4; i-- > 0 && four.size == 4;) { /* little-endian, wherever this runs */
        *bits = *bits << 8 | four.bytes[i];
    }
    return four.size == 4;
}

int vlj_onnx_number(const vlj_onnx_graph *g, span name, uint32_t *bits) {
    span tensor = vlj_onnx_initializer(g, name);
    field f;
    if (!vlj_onnx_is_number(g, name)) {
        return 0;
    }
    if (has(tensor, TENSOR_RAW)) {
        return read_bits(first(tensor, TENSOR_RAW), bits);
    }
    while (next_field(&tensor, &f)) { /* packed or not, one number takes four bytes */
        if (f.number == TENSOR_FLOAT && (f.wire == FIXED32 || f.wire == DELIMITED)) {
            return read_bits(f.content, bits);
        }
    }
    return 0;
}

static int is_given(const vlj_onnx_graph *g, span name) {
    const vlj_onnx_value *value = vlj_onnx_value_of(g, name);
    return value != NULL && value->initializer.size == 0 && (value->producer != NULL || value->is_input);
}

int vlj_onnx_is_constant(const vlj_onnx_graph *g, span name) {
    const vlj_onnx_value *value = vlj_onnx_value_of(g, name);
    if (!is_given(g, name)) {
        return 1;
    }
    int constant = value->producer != NULL;
    span rest = constant ? value->producer->message : (span){NULL, 0};
    field f;
    while (next_field(&rest, &f)) {
        constant &= f.number != NODE_INPUT || f.wire != DELIMITED || !is_given(g, f.content);
    }
    return constant;
}

int vlj_onnx_float_attribute(const vlj_onnx_node *node, const char *name, uint32_t *bits) {
    span a = vlj_onnx_attribute(node, name);
    int64_t type;
    field f;
    if (read_numbers(a, ATTRIBUTE_TYPE, &type, 1) != 1 || type != ATTRIBUTE_IS_FLOAT || has(a, ATTRIBUTE_REFERENCE)) {
        return 0;
    }
    while (next_field(&a, &f)) {
        if (f.number == ATTRIBUTE_FLOAT && f.wire == FIXED32) {
            return read_bits(f.content, bits);
        }
    }
    return 0;
}

int vlj_onnx_has_text(const vlj_onnx_node *node, const char *name, const char *characters) {
    span a = vlj_onnx_attribute(node, name);
    int64_t type;
    return read_numbers(a, ATTRIBUTE_TYPE, &type, 1) == 1 && type == ATTRIBUTE_IS_STRING &&
           !has(a, ATTRIBUTE_REFERENCE) && is(first(a, ATTRIBUTE_STRING), characters);
}
