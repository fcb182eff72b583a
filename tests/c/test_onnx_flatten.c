/* Flattening of ONNX messages: bodies in place of calls, weights in place of references, and no byte read beyond a
 * damaged message (inputs are allocated to the byte, for AddressSanitizer). */
#include "check.h"
#include "image_edit.h"
#include "onnx_flatten.h"
#include "onnx_writer.h"

/* y = Add(Mul(x, w), Mul(x, w)) as a function Twice(x, w) -> y, called once between two standard nodes. */
static message model_with_function(int with_attribute) {
    message function = {{0}, 0}, graph = {{0}, 0}, model = {{0}, 0}, part;
    add_text(&function, 1, "Twice");
    add_text(&function, 4, "x"), add_text(&function, 4, "w"), add_text(&function, 5, "y");
    if (with_attribute) {
        add_text(&function, 6, "alpha");
    }
    part = node(NULL, "Mul", "m", NAMES("x", "w"), NAMES("product"));
    add_message(&function, 7, &part);
    part = node(NULL, "Clip", "c", NAMES("product", "", "w"), NAMES("y"));
    add_message(&function, 7, &part);
    part = opset("", 20);
    add_message(&function, 9, &part);
    add_text(&function, 10, "mine");

    part = node(NULL, "Relu", "first", NAMES("in"), NAMES("a"));
    add_message(&graph, 1, &part);
    part = node("mine", "Twice", "call", NAMES("a", "weight"), NAMES("b"));
    add_message(&graph, 1, &part);
    part = node(NULL, "Relu", "last", NAMES("b"), NAMES("out"));
    add_message(&graph, 1, &part);
    add_number(&model, 1, 0, 9);
    add_message(&model, 7, &graph);
    part = opset("", 20);
    add_message(&model, 8, &part);
    add_message(&model, 25, &function);
    return model;
}

/* ---- an index with one ENGINE_DATA section, "weights" of 16 bytes ---- */

static vlj_index *index_with_weights(image_bytes *image) {
    image->size = 512;
    image->bytes = aligned_alloc(64, image->size);
    memset(image->bytes, 0, image->size);
    memcpy(image->bytes, "VLJEPA\x1a\n", 8);
    image_put_u32(image->bytes + 8, 1), image_put_u32(image->bytes + 12, 1);
    image_put_u64(image->bytes + 16, image->size);
    image_put_u32(image->bytes + 24, 1), image_put_u32(image->bytes + 28, 192), image_put_u64(image->bytes + 32, 128);
    uint8_t *entry = image->bytes + 128;
    image_put_u32(entry, VLJ_SECTION_ENGINE_DATA), image_put_u64(entry + 8, 320), image_put_u64(entry + 16, 16);
    memcpy(entry + 56, "weights", 7);
    for (int i = 0; i < 16; i++) {
        image->bytes[320 + i] = (uint8_t)(100 + i);
    }
    image_rehash(image, NULL);
    vlj_index *index = NULL;
    CHECK_OK(vlj_index_open_memory(image->bytes, image->size, 1, &index));
    return index;
}

static vlj_status flatten(const vlj_host *host, const vlj_index *index, const uint8_t *bytes, size_t size,
                          vlj_flat_onnx *flat) {
    const vlj_engine_spec spec = {
        .component = VLJ_PREDICTOR, .bytes = bytes, .size = size, .file = "predictor.onnx", .index = index};
    return vlj_onnx_flatten(host, &spec, flat);
}

static int holds(const vlj_flat_onnx *flat, const void *bytes, size_t size) {
    for (size_t i = 0; i + size <= flat->size; i++) {
        if (memcmp(flat->bytes + i, bytes, size) == 0) {
            return 1;
        }
    }
    return 0;
}

static void test_functions(const vlj_host *host, const vlj_index *index) {
    message model = model_with_function(0), part, graph = {{0}, 0}, expected = {{0}, 0};
    vlj_flat_onnx flat;
    CHECK_OK(flatten(host, index, model.bytes, model.size, &flat));
    part = node(NULL, "Relu", "first", NAMES("in"), NAMES("a"));
    add_message(&graph, 1, &part);
    part = node(NULL, "Mul", "b/m", NAMES("a", "weight"), NAMES("b/product"));
    add_message(&graph, 1, &part);
    part = node(NULL, "Clip", "b/c", NAMES("b/product", "", "weight"), NAMES("b"));
    add_message(&graph, 1, &part);
    part = node(NULL, "Relu", "last", NAMES("b"), NAMES("out"));
    add_message(&graph, 1, &part);
    add_number(&expected, 1, 0, 9);
    add_message(&expected, 7, &graph);
    part = opset("", 20);
    add_message(&expected, 8, &part);
    CHECK_EQ(flat.size, expected.size);
    CHECK(memcmp(flat.bytes, expected.bytes, expected.size) == 0);
    vlj_onnx_flat_free(host, &flat);

    model = model_with_function(1); /* what a call would bind is left alone */
    CHECK_OK(flatten(host, index, model.bytes, model.size, &flat));
    CHECK(flat.size == model.size && memcmp(flat.bytes, model.bytes, model.size) == 0);
    vlj_onnx_flat_free(host, &flat);
}

static message model_with_weight(const char *location, const char *offset, const char *length) {
    message tensor = {{0}, 0}, entry, graph = {{0}, 0}, model = {{0}, 0};
    const char *const entries[3][2] = {{"location", location}, {"offset", offset}, {"length", length}};
    add_number(&tensor, 1, 0, 2), add_number(&tensor, 2, 0, 1);
    add_text(&tensor, 8, "scale");
    for (int i = 0; i < 3; i++) {
        entry.size = 0;
        add_text(&entry, 1, entries[i][0]), add_text(&entry, 2, entries[i][1]);
        add_message(&tensor, 13, &entry);
    }
    add_number(&tensor, 14, 0, 1);
    add_message(&graph, 5, &tensor);
    add_message(&model, 7, &graph);
    return model;
}

static void test_weights(const vlj_host *host, const vlj_index *index) {
    message model = model_with_weight("weights", "4", "8"), tensor = {{0}, 0};
    vlj_flat_onnx flat;
    CHECK_OK(flatten(host, index, model.bytes, model.size, &flat));
    add_number(&tensor, 1, 0, 2), add_number(&tensor, 2, 0, 1);
    add_text(&tensor, 8, "scale");
    add_bytes(&tensor, 9, (const uint8_t[]){104, 105, 106, 107, 108, 109, 110, 111}, 8);
    CHECK(holds(&flat, tensor.bytes, tensor.size));
    CHECK(!holds(&flat, "location", 8));
    vlj_onnx_flat_free(host, &flat);
    model = model_with_weight("weights", "12", "8");
    CHECK_FAILS(flatten(host, index, model.bytes, model.size, &flat), VLJ_E_BUNDLE,
                "component predictor: weight scale lies outside weights");
    model = model_with_weight("weights", "18446744073709551615", "8");
    CHECK_FAILS(flatten(host, index, model.bytes, model.size, &flat), VLJ_E_BUNDLE, "lies outside weights");
    model = model_with_weight("elsewhere", "0", "8");
    CHECK_FAILS(flatten(host, index, model.bytes, model.size, &flat), VLJ_E_BUNDLE_MISSING,
                "weight scale lies in elsewhere");
}

static void test_damage(const vlj_host *host, const vlj_index *index) {
    const message models[] = {model_with_function(0), model_with_weight("weights", "4", "8")};
    uint32_t seed = 7;
    for (int round = 0; round < 20000; round++) {
        const message *model = &models[round % 2];
        size_t size = round < 1000 ? (size_t)round % (model->size + 1) : model->size;
        uint8_t *bytes = malloc(size + (size == 0));
        memcpy(bytes, model->bytes, size);
        for (int i = 0; round >= 1000 && i < 3; i++) {
            seed = seed * 1664525u + 1013904223u;
            bytes[(seed >> 8) % size] = (uint8_t)(seed >> 24);
        }
        vlj_flat_onnx flat;
        if (flatten(host, index, bytes, size, &flat) == VLJ_OK) {
            vlj_onnx_flat_free(host, &flat);
        }
        free(bytes);
    }
    CHECK_EQ(vlj_host_bytes(host), 0);
    vlj_flat_onnx flat;
    CHECK_FAILS(flatten(host, index, (const uint8_t *)"no", 2, &flat), VLJ_E_BUNDLE,
                "component predictor in predictor.onnx: not an ONNX model");
}

int main(void) {
    vlj_host host;
    image_bytes image;
    CHECK_OK(vlj_host_init(&host, NULL));
    vlj_index *index = index_with_weights(&image);
    test_functions(&host, index);
    test_weights(&host, index);
    test_damage(&host, index);
    vlj_index_close(index);
    image_free(&image);
    return 0;
}
