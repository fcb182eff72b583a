/* One node in place of an attention: found whole, in both layouts, and no byte read beyond a damaged message (inputs
 * are allocated to the byte, for AddressSanitizer). That results stay the same is tested in Python. */
#include "onnx_attention.h"

#include "check.h"
#include "onnx_writer.h"

enum { HEADS = 4, KV_HEADS = 2, WIDTH = 64 };

static void put(message *graph, const char *op, const char *a, const char *b, const char *c, const char *out,
                const char *out_2, const char *attribute, int64_t value, const int64_t *values, int count) {
    message m = node(NULL, op, out, NAMES(a, b, c), (const char *const[2]){out, out_2});
    if (attribute != NULL) {
        add_attribute(&m, attribute, value, values, count);
    }
    if (strcmp(op, "Split") == 0 && b == NULL) {
        add_attribute(&m, "num_outputs", 2, NULL, 0);
    }
    add_message(graph, 1, &m);
}
#define PLAIN NULL, 0, NULL, 0
#define PERMUTED(...) "perm", 0, (const int64_t[]){__VA_ARGS__}, 4
#define AXIS(axis) "axis", axis, NULL, 0
#define INTEGERS(graph, name, ...)                                                                                     \
    add_integers(graph, name, (const int64_t[]){__VA_ARGS__}, sizeof((const int64_t[]){__VA_ARGS__}) / 8)

/* The Predictor's layout, queries grouped and the result quantised; `extra` also uses that value. */
static message predictor(const char *extra) {
    message graph = {{0}, 0}, model = {{0}, 0}, part;
    put(&graph, "Reshape", "qkv", "in_shape", NULL, "x", NULL, PLAIN);
    put(&graph, "Transpose", "x", NULL, NULL, "t", NULL, PERMUTED(0, 2, 1, 3));
    put(&graph, "Split", "t", "parts", NULL, "qk", "v", AXIS(1));
    put(&graph, "Split", "qk", NULL, NULL, "low", "high", AXIS(3));
    put(&graph, "Mul", "qk", "c", NULL, "straight", NULL, PLAIN);
    put(&graph, "Concat", "high", "low", NULL, "swapped", NULL, AXIS(-1));
    put(&graph, "Mul", "swapped", "s", NULL, "turned", NULL, PLAIN);
    put(&graph, "Add", "straight", "turned", NULL, "rotated", NULL, PLAIN);
    put(&graph, "Split", "rotated", "pair", NULL, "q", "k", AXIS(1));
    put(&graph, "Reshape", "q", "groups", NULL, "gq", NULL, PLAIN);
    put(&graph, "Transpose", "k", NULL, NULL, "kt", NULL, PERMUTED(0, 1, 3, 2));
    put(&graph, "MatMul", "gq", "kt", NULL, "scores", NULL, PLAIN);
    put(&graph, "Unsqueeze", "m", "axes", NULL, "mask", NULL, PLAIN);
    put(&graph, "Add", "scores", "mask", NULL, "masked", NULL, PLAIN);
    put(&graph, "Softmax", "masked", NULL, NULL, "weights", NULL, AXIS(-1));
    put(&graph, "MatMul", "weights", "v", NULL, "mixed", NULL, PLAIN);
    put(&graph, "Reshape", "mixed", "ungroup", NULL, "heads", NULL, PLAIN);
    put(&graph, "Transpose", "heads", NULL, NULL, "back", NULL, PERMUTED(0, 2, 1, 3));
    put(&graph, "Reshape", "back", "out_shape", NULL, "merged", NULL, PLAIN);
    put(&graph, "QuantizeLinear", "merged", "step", "zero", "out", NULL, PLAIN);
    if (extra != NULL) {
        put(&graph, "Relu", extra, NULL, NULL, "more", NULL, PLAIN);
    }
    INTEGERS(&graph, "in_shape", 0, 0, HEADS + 2 * KV_HEADS, WIDTH);
    INTEGERS(&graph, "parts", HEADS + KV_HEADS, KV_HEADS);
    INTEGERS(&graph, "pair", HEADS, KV_HEADS);
    INTEGERS(&graph, "groups", 0, KV_HEADS, -1, WIDTH);
    INTEGERS(&graph, "ungroup", 0, HEADS, -1, WIDTH);
    INTEGERS(&graph, "out_shape", 0, 0, HEADS * WIDTH);
    INTEGERS(&graph, "axes", 1, 2);
    part = (message){{0}, 0};
    add_number(&part, 2, 0, 1), add_text(&part, 8, "step"), add_bytes(&part, 9, "\0\0\0\x3c", 4);
    add_message(&graph, 5, &part);
    part = (message){{0}, 0};
    add_number(&part, 2, 0, 3), add_text(&part, 8, "zero"), add_bytes(&part, 9, "\0", 1);
    add_message(&graph, 5, &part);
    part = (message){{0}, 0};
    add_text(&part, 1, "out");
    add_message(&graph, 12, &part);
    add_message(&model, 7, &graph);
    part = opset("", 20);
    add_message(&model, 8, &part);
    return model;
}

static uint32_t fuse(const vlj_host *host, const uint8_t *bytes, size_t size, uint32_t width, vlj_fused_onnx *fused) {
    CHECK_OK(vlj_onnx_fuse_attention(host, bytes, size, width, fused));
    if (fused->count == 0) {
        CHECK(fused->bytes == bytes && fused->size == size && fused->owned == NULL);
    }
    return fused->count;
}

static void test_found(const vlj_host *host) {
    message model = predictor(NULL), graph = {{0}, 0}, expected;
    vlj_fused_onnx fused;
    CHECK_EQ(fuse(host, model.bytes, model.size, WIDTH, &fused), 1);
    put(&graph, "Unsqueeze", "m", "axes", NULL, "mask", NULL, PLAIN);
    expected = (message){{0}, 0};
    const char *const inputs[] = {"qkv", "c", "s", "mask", "step"};
    for (int i = 0; i < 5; i++) {
        add_text(&expected, 1, inputs[i]);
    }
    add_text(&expected, 2, "out"), add_text(&expected, 3, "out"), add_text(&expected, 4, "RotaryAttention");
    add_attribute(&expected, "heads", HEADS, NULL, 0), add_attribute(&expected, "kv_heads", KV_HEADS, NULL, 0);
    add_attribute(&expected, "masked", 1, NULL, 0), add_attribute(&expected, "quantised", 1, NULL, 0);
    add_text(&expected, 7, "vljepa");
    add_message(&graph, 1, &expected);
    int found = 0;
    for (size_t i = 0; i + graph.size <= fused.size; i++) {
        found |= memcmp(fused.bytes + i, graph.bytes, graph.size) == 0; /* these two nodes, and */
        CHECK(memcmp(fused.bytes + i, "Softmax", 7) != 0);
    }
    CHECK(found);
    message domain = {{0}, 0}, version = opset("vljepa", 1);
    add_message(&domain, 8, &version);
    CHECK(memcmp(fused.bytes + fused.size - domain.size, domain.bytes, domain.size) == 0);
    vlj_onnx_fused_free(host, &fused);
}

static void test_left_alone(const vlj_host *host) {
    static const char *const values[] = {"x",       "t",      "qk",     "v",     "low",     "high", "straight",
                                         "swapped", "q",      "turned", "k",     "rotated", "gq",   "kt",
                                         "scores",  "masked", "back",   "mixed", "weights", "heads"};
    vlj_fused_onnx fused;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        message model = predictor(values[i]);
        CHECK_EQ(fuse(host, model.bytes, model.size, WIDTH, &fused), 0);
    }
    message model = predictor("merged"); /* taken by more than the quantiser, which then stays */
    CHECK_EQ(fuse(host, model.bytes, model.size, WIDTH, &fused), 1);
    vlj_onnx_fused_free(host, &fused);
    model = predictor(NULL);
    CHECK_EQ(fuse(host, model.bytes, model.size, 32, &fused), 0);
    CHECK_EQ(fuse(host, (const uint8_t *)"no", 2, WIDTH, &fused), 0);
}

static void test_damage(const vlj_host *host) {
    const message model = predictor(NULL);
    uint32_t seed = 7, whole = 0;
    for (size_t round = 0; round < 20000; round++) {
        size_t size = round < model.size ? round : model.size;
        uint8_t *bytes = malloc(size + (size == 0));
        memcpy(bytes, model.bytes, size);
        for (int i = 0; round >= model.size && i < 1 + (int)(round % 3); i++) {
            seed = seed * 1664525u + 1013904223u;
            bytes[(seed >> 8) % size] = (uint8_t)(seed >> 24);
        }
        vlj_fused_onnx fused;
        whole += fuse(host, bytes, size, WIDTH, &fused);
        vlj_onnx_fused_free(host, &fused);
        free(bytes);
    }
    CHECK(whole > 100); /* what is damaged elsewhere is still found */
    CHECK_EQ(vlj_host_bytes(host), 0);
}

int main(void) {
    vlj_host host;
    CHECK_OK(vlj_host_init(&host, NULL));
    test_found(&host);
    test_left_alone(&host);
    test_damage(&host);
    return 0;
}
