/* onnx_writer.h: a protobuf writer of the few kinds that ONNX needs, for tests of what reads them. */
#ifndef VLJ_TESTS_ONNX_WRITER_H
#define VLJ_TESTS_ONNX_WRITER_H

#include <stdint.h>
#include <string.h>

typedef struct message {
    uint8_t bytes[8192];
    size_t size;
} message;

static inline void add_number(message *m, uint32_t number, uint32_t wire, uint64_t value) {
    uint64_t parts[2] = {(uint64_t)number << 3 | wire, value};
    for (int i = 0; i < 2; i++) {
        for (; parts[i] > 0x7F; parts[i] >>= 7) {
            m->bytes[m->size++] = (uint8_t)(parts[i] | 0x80);
        }
        m->bytes[m->size++] = (uint8_t)parts[i];
    }
}

static inline void add_bytes(message *m, uint32_t number, const void *bytes, size_t size) {
    add_number(m, number, 2, size);
    memcpy(m->bytes + m->size, bytes, size);
    m->size += size;
}

static inline void add_text(message *m, uint32_t number, const char *text) {
    add_bytes(m, number, text, strlen(text));
}

static inline void add_message(message *m, uint32_t number, const message *inner) {
    add_bytes(m, number, inner->bytes, inner->size);
}

static inline message node(const char *domain, const char *op, const char *name, const char *const inputs[4],
                           const char *const outputs[2]) {
    message m = {{0}, 0};
    for (int i = 0; i < 4 && inputs[i] != NULL; i++) {
        add_text(&m, 1, inputs[i]);
    }
    for (int i = 0; i < 2 && outputs[i] != NULL; i++) {
        add_text(&m, 2, outputs[i]);
    }
    add_text(&m, 3, name);
    add_text(&m, 4, op);
    if (domain != NULL) {
        add_text(&m, 7, domain);
    }
    return m;
}
#define NAMES(...)                                                                                                     \
    (const char *const[4]) {                                                                                           \
        __VA_ARGS__                                                                                                    \
    }

static inline message opset(const char *domain, uint64_t version) {
    message m = {{0}, 0};
    add_text(&m, 1, domain);
    add_number(&m, 2, 0, version);
    return m;
}

/* An attribute of one integer (`values` of `count` 0), or of several. */
static inline void add_attribute(message *node, const char *name, int64_t value, const int64_t *values, int count) {
    message m = {{0}, 0};
    add_text(&m, 1, name);
    if (count == 0) {
        add_number(&m, 3, 0, (uint64_t)value);
    }
    for (int i = 0; i < count; i++) {
        add_number(&m, 8, 0, (uint64_t)values[i]);
    }
    add_number(&m, 20, 0, count == 0 ? 2 : 7);
    add_message(node, 5, &m);
}

/* An initializer of int64. */
static inline void add_integers(message *graph, const char *name, const int64_t *values, int count) {
    message m = {{0}, 0};
    add_number(&m, 1, 0, (uint64_t)count), add_number(&m, 2, 0, 7);
    add_text(&m, 8, name);
    add_bytes(&m, 9, values, (size_t)count * sizeof *values); /* little-endian machines only */
    add_message(graph, 5, &m);
}

#endif
