/* One node in place of an INT8 linear map: its message to the byte, and no byte read beyond a damaged one (inputs are
 * allocated to the byte, for AddressSanitizer). That results stay the same, and what is left alone, is tested in
 * Python. */
#include "onnx_linear.h"

#include "check.h"
#include "onnx_writer.h"

enum { FLOAT = 1, INT8 = 3, INT64 = 7 };

static void put(message *graph, const char *op, const char *a, const char *b, const char *c, const char *out) {
    message m = node(NULL, op, out, NAMES(a, b, c), (const char *const[2]){out});
    if (strcmp(op, "DequantizeLinear") == 0 && strcmp(a, "W") == 0) {
        add_attribute(&m, "axis", 1, NULL, 0);
    }
    add_message(graph, 1, &m);
}

/* An initializer of at most two sizes, 0 for none; `bytes` may be fewer than they are, as in another file. */
static void tensor(message *graph, const char *name, uint64_t type, uint64_t rows, uint64_t columns, const void *bytes,
                   size_t size) {
    message m = {{0}, 0};
    if (rows > 0) {
        add_number(&m, 1, 0, rows);
    }
    if (columns > 0) {
        add_number(&m, 1, 0, columns);
    }
    add_number(&m, 2, 0, type), add_text(&m, 8, name), add_bytes(&m, 9, bytes, size);
    add_message(graph, 5, &m);
}

static void value(message *graph, uint32_t number, const char *name) {
    message m = {{0}, 0};
    add_text(&m, 1, name);
    add_message(graph, number, &m);
}

/* A product behind an RMS norm with SiLU and another one's result as factor, its own rounded for a third one, to whose
 * result x is added: everything that a node can have, but for a norm's bias. */
static message gated(void) {
    static const uint8_t zeros[64] = {0};
    message graph = {{0}, 0}, model = {{0}, 0}, part;
    put(&graph, "Pow", "x", "two", NULL, "squares");
    put(&graph, "ReduceMean", "squares", "axis", NULL, "mean");
    put(&graph, "Add", "mean", "epsilon", NULL, "plus");
    put(&graph, "Sqrt", "plus", NULL, NULL, "root");
    put(&graph, "Div", "x", "root", NULL, "divided");
    put(&graph, "Mul", "divided", "nw", NULL, "n");
    put(&graph, "QuantizeLinear", "n", "s", "zero", "q");
    put(&graph, "DequantizeLinear", "q", "s", "zero", "d");
    put(&graph, "DequantizeLinear", "W", "ws", "wz", "w");
    put(&graph, "MatMul", "d", "w", NULL, "p1");
    put(&graph, "Sigmoid", "p1", NULL, NULL, "sigmoid");
    put(&graph, "Mul", "p1", "sigmoid", NULL, "silu");
    put(&graph, "MatMul", "d", "w", NULL, "p2");
    put(&graph, "Add", "p2", "bias", NULL, "up");
    put(&graph, "Mul", "silu", "up", NULL, "product");
    put(&graph, "QuantizeLinear", "product", "s", "zero", "q2");
    put(&graph, "DequantizeLinear", "q2", "s", "zero", "d2");
    put(&graph, "MatMul", "d2", "w", NULL, "p3");
    put(&graph, "Add", "x", "p3", NULL, "y");
    tensor(&graph, "two", FLOAT, 0, 0, "\0\0\0\x40", 4);
    tensor(&graph, "epsilon", FLOAT, 0, 0, "\x01\x02\x03\x3c", 4);
    tensor(&graph, "s", FLOAT, 0, 0, "\0\0\0\x3c", 4);
    tensor(&graph, "zero", INT8, 0, 0, "\0", 1);
    tensor(&graph, "axis", INT64, 1, 0, "\xff\xff\xff\xff\xff\xff\xff\xff", 8);
    tensor(&graph, "W", INT8, 64, 64, "", 0); /* nobody reads these */
    tensor(&graph, "ws", FLOAT, 64, 0, "", 0);
    tensor(&graph, "wz", INT8, 64, 0, zeros, 64);
    tensor(&graph, "bias", FLOAT, 1, 64, "", 0);
    tensor(&graph, "nw", FLOAT, 64, 0, "", 0);
    value(&graph, 11, "x");
    value(&graph, 12, "y");
    add_message(&model, 7, &graph);
    part = opset("", 20);
    add_message(&model, 8, &part);
    return model;
}

static uint32_t fuse(const vlj_host *host, const uint8_t *bytes, size_t size, vlj_fused_onnx *fused) {
    CHECK_OK(vlj_onnx_fuse_linear(host, bytes, size, fused));
    if (fused->count == 0) {
        CHECK(fused->bytes == bytes && fused->size == size && fused->owned == NULL);
    }
    return fused->count;
}

typedef struct settings {
    int biased, norm, norm_biased, factored, summed, quantised, bfloat16, rounded, activation;
    const char *epsilon;
} settings;

static void call(message *graph, const char *const *inputs, const char *out, settings s) {
    message m = {{0}, 0}, epsilon = {{0}, 0};
    for (; *inputs != NULL; inputs++) {
        add_text(&m, 1, *inputs);
    }
    add_text(&m, 2, out), add_text(&m, 3, out), add_text(&m, 4, "QuantisedLinear");
    add_attribute(&m, "unread", 0, NULL, 0);
    add_attribute(&m, "biased", s.biased, NULL, 0), add_attribute(&m, "norm", s.norm, NULL, 0);
    add_attribute(&m, "norm_biased", s.norm_biased, NULL, 0), add_attribute(&m, "factored", s.factored, NULL, 0);
    add_attribute(&m, "summed", s.summed, NULL, 0), add_attribute(&m, "quantised", s.quantised, NULL, 0);
    add_attribute(&m, "bfloat16", s.bfloat16, NULL, 0), add_attribute(&m, "rounded", s.rounded, NULL, 0);
    add_attribute(&m, "activation", s.activation, NULL, 0);
    add_text(&epsilon, 1, "epsilon");
    epsilon.bytes[epsilon.size++] = 2 << 3 | 5;
    memcpy(epsilon.bytes + epsilon.size, s.epsilon, 4);
    epsilon.size += 4;
    add_number(&epsilon, 20, 0, 1);
    add_message(&m, 5, &epsilon);
    add_text(&m, 7, "vljepa");
    add_message(graph, 1, &m);
}
#define INPUTS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void test_found(const vlj_host *host) {
    static const char epsilon[] = "\x01\x02\x03\x3c", none[] = "\0\0\0";
    message model = gated(), expected = {{0}, 0}, domain = {{0}, 0}, version = opset("vljepa", 1);
    vlj_fused_onnx fused;
    CHECK_EQ(fuse(host, model.bytes, model.size, &fused), 3);
    call(&expected, INPUTS("x", "s", "W", "ws", "bias", "nw"), "up",
         (settings){.biased = 1, .norm = 2, .bfloat16 = 1, .epsilon = epsilon});
    call(&expected, INPUTS("x", "s", "W", "ws", "nw", "up", "s"), "q2",
         (settings){.norm = 2, .factored = 1, .quantised = 1, .activation = 2, .epsilon = epsilon});
    call(&expected, INPUTS("q2", "s", "W", "ws", "x"), "y", (settings){.summed = 1, .rounded = 1, .epsilon = none});
    /* These are all its nodes, behind the keys and sizes of the graph. */
    size_t at = 0, nodes = 0;
    while (at + expected.size <= fused.size && memcmp(fused.bytes + at, expected.bytes, expected.size) != 0) {
        at++;
    }
    CHECK(at < 8);
    add_message(&domain, 8, &version);
    CHECK(memcmp(fused.bytes + fused.size - domain.size, domain.bytes, domain.size) == 0);
    for (size_t i = 0; i + 6 <= fused.size; i++) {
        nodes += memcmp(fused.bytes + i, "Linear", 6) == 0;
    }
    CHECK_EQ(nodes, 3); /* no QuantizeLinear or DequantizeLinear */
    vlj_onnx_fused_free(host, &fused);
}

static void test_no_onnx(const vlj_host *host) {
    vlj_fused_onnx fused;
    CHECK_EQ(fuse(host, (const uint8_t *)"no", 2, &fused), 0);
    CHECK_EQ(fuse(host, (const uint8_t *)"", 0, &fused), 0);
}

static void test_damage(const vlj_host *host) {
    const message model = gated();
    uint32_t seed = 7, whole = 0, part = 0;
    for (size_t round = 0; round < 20000; round++) {
        size_t size = round < model.size ? round : model.size;
        uint8_t *bytes = malloc(size + (size == 0));
        memcpy(bytes, model.bytes, size);
        for (int i = 0; round >= model.size && i < 1 + (int)(round % 3); i++) {
            seed = seed * 1664525u + 1013904223u;
            bytes[(seed >> 8) % size] = (uint8_t)(seed >> 24);
        }
        vlj_fused_onnx fused;
        uint32_t count = fuse(host, bytes, size, &fused);
        whole += count == 3;
        part += count == 1 || count == 2;
        vlj_onnx_fused_free(host, &fused);
        free(bytes);
    }
    CHECK(whole > 100 && part > 100); /* what is damaged elsewhere is still found */
    CHECK_EQ(vlj_host_bytes(host), 0);
}

/* Every allocation fails in turn. */
typedef struct scarce {
    int left;
} scarce;

static void *allocate(void *user_data, size_t size, size_t alignment) {
    scarce *s = user_data;
    return s->left-- > 0 ? aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment) : NULL;
}

static void release(void *user_data, void *memory, size_t size) {
    (void)user_data, (void)size;
    free(memory);
}

static void test_no_memory(void) {
    const message model = gated();
    for (int left = 0; left < 4; left++) {
        scarce s = {left};
        vlj_hooks hooks = {.struct_size = sizeof hooks, .user_data = &s, .allocate = allocate, .release = release};
        vlj_host host;
        vlj_fused_onnx fused;
        CHECK_OK(vlj_host_init(&host, &hooks));
        if (left < 3) {
            CHECK_FAILS(vlj_onnx_fuse_linear(&host, model.bytes, model.size, &fused), VLJ_E_MEMORY, "no memory");
            CHECK(fused.bytes == model.bytes && fused.owned == NULL && fused.count == 0);
        } else {
            CHECK_EQ(fuse(&host, model.bytes, model.size, &fused), 3);
            vlj_onnx_fused_free(&host, &fused);
        }
        CHECK_EQ(vlj_host_bytes(&host), 0);
    }
}

int main(void) {
    vlj_host host;
    CHECK_OK(vlj_host_init(&host, NULL));
    test_found(&host);
    test_no_onnx(&host);
    test_damage(&host);
    test_no_memory();
    return 0;
}
