/* onnx_message.h: reading and writing ONNX as what it is, protobuf.
 *
 * A message is a run of fields, each a key (number << 3 | wire type) and a value; strings, bytes and messages are
 * length-delimited. What isn't understood is copied as it is. Everything is emitted twice, once to count.
 */
#ifndef VLJ_BACKENDS_ONNX_MESSAGE_H
#define VLJ_BACKENDS_ONNX_MESSAGE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Field numbers of onnx.proto. */
enum {
    MODEL_GRAPH = 7,
    MODEL_OPSET = 8,
    MODEL_FUNCTIONS = 25,
    GRAPH_NODE = 1,
    GRAPH_INITIALIZER = 5,
    GRAPH_INPUT = 11,
    GRAPH_OUTPUT = 12,
    VALUE_NAME = 1,
    OPSET_DOMAIN = 1,
    OPSET_VERSION = 2,
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
    ATTRIBUTE_NAME = 1,
    ATTRIBUTE_FLOAT = 2,
    ATTRIBUTE_INT = 3,
    ATTRIBUTE_STRING = 4,
    ATTRIBUTE_GRAPH = 6,
    ATTRIBUTE_INTS = 8,
    ATTRIBUTE_GRAPHS = 11,
    ATTRIBUTE_TYPE = 20,
    ATTRIBUTE_REFERENCE = 21,
    TENSOR_DIMS = 1,
    TENSOR_TYPE = 2,
    TENSOR_FLOAT = 4,
    TENSOR_INT32 = 5,
    TENSOR_INT64 = 7,
    TENSOR_NAME = 8,
    TENSOR_RAW = 9,
    TENSOR_EXTERNAL = 13,
    TENSOR_LOCATION = 14,
    ENTRY_KEY = 1,
    ENTRY_VALUE = 2,
};
enum { TYPE_FLOAT = 1, TYPE_INT8 = 3, TYPE_INT64 = 7, TYPE_FLOAT16 = 10 };
enum { ATTRIBUTE_IS_FLOAT = 1, ATTRIBUTE_IS_INT = 2, ATTRIBUTE_IS_STRING = 3, ATTRIBUTE_IS_INTS = 7 };
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

/* ---- reading ---- */

static inline int read_varint(span *rest, uint64_t *value) {
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
static inline int next_field(span *rest, field *f) {
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
static inline span nth(span message, uint32_t number, size_t n, int *found) {
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

static inline span first(span message, uint32_t number) {
    int found;
    return nth(message, number, 0, &found);
}

static inline int has(span message, uint32_t number) {
    field f;
    while (next_field(&message, &f)) {
        if (f.number == number) {
            return 1;
        }
    }
    return 0;
}

/* Numbers of a repeated field, packed or one by one; how many, or most + 1 for more. */
static inline size_t read_numbers(span message, uint32_t number, int64_t *values, size_t most) {
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

static inline int same(span a, span b) {
    return a.size == b.size && (a.size == 0 || memcmp(a.bytes, b.bytes, a.size) == 0);
}

static inline span text(const char *characters) {
    return (span){(const uint8_t *)characters, strlen(characters)};
}

static inline int is(span a, const char *characters) {
    return same(a, text(characters));
}

/* ---- writing ---- */

static inline void put(output *out, span bytes) {
    if (out->bytes != NULL && bytes.size > 0) {
        memcpy(out->bytes + out->size, bytes.bytes, bytes.size);
    }
    out->size += bytes.size;
}

static inline void put_varint(output *out, uint64_t value) {
    uint8_t bytes[10];
    size_t size = 0;
    do {
        bytes[size++] = (uint8_t)((value & 0x7Fu) | (value > 0x7Fu ? 0x80u : 0u));
        value >>= 7;
    } while (value > 0);
    put(out, (span){bytes, size});
}

static inline void put_key(output *out, uint32_t number, size_t size) {
    put_varint(out, (uint64_t)number << 3 | DELIMITED);
    put_varint(out, size);
}

static inline void put_field(output *out, uint32_t number, span content) {
    put_key(out, number, content.size);
    put(out, content);
}

static inline void put_number(output *out, uint32_t number, uint64_t value) {
    put_varint(out, (uint64_t)number << 3 | VARINT);
    put_varint(out, value);
}

#endif
