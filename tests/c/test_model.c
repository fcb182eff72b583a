/* Opening a model: components, options, sections that don't fit, queries, and the host's memory in every failing path.
 */
#include "model.h"

#include <stdatomic.h>
#include <unistd.h>

#include "bundle_fixture.h"
#include "check.h"
#include "fixture_engines.h"
#include "image_edit.h"

/* An allocator that counts what is out, and refuses from a chosen call on. */
typedef struct budget {
    long calls, allowed; /* allowed < 0: all */
    long out;
    size_t bytes_out;
} budget;

static void *take(void *user_data, size_t size, size_t alignment) {
    budget *b = user_data;
    if (b->allowed >= 0 && b->calls >= b->allowed) {
        return NULL;
    }
    b->calls++;
    b->out++;
    b->bytes_out += size;
    return aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
}

static void give(void *user_data, void *memory, size_t size) {
    budget *b = user_data;
    b->out--;
    b->bytes_out -= size;
    free(memory);
}

static vlj_model_options options_for(const fixture_engines *engines) {
    vlj_model_options options;
    VLJ_INIT(options);
    options.header_version = VLJ_HEADER_VERSION;
    options.backend = "callback";
    options.callbacks = &engines->callbacks;
    return options;
}

static void test_describe(void) {
    bundle_fixture bundle;
    fixture_engines engines;
    bundle_fixture_defaults(&bundle);
    bundle_fixture_write(&bundle);
    fixture_engines_init(&engines, &bundle);
    vlj_model_options options = options_for(&engines);
    vlj_model *model = NULL;
    CHECK_OK(vlj_model_open(bundle.path, &options, &model));
    vlj_model_description d;
    VLJ_INIT(d);
    CHECK_OK(vlj_model_describe(model, &d));
    CHECK(d.format_version == 1 && d.component_mask == 0x1f && d.query_count == 2 && d.phrase_bank_count == 1);
    CHECK(strcmp(d.name, "fixture") == 0 && strcmp(d.precision, "fp32") == 0 && strcmp(d.backend, "callback") == 0);
    CHECK(strlen(d.bundle_sha256) == 64 && d.frames == 4 && d.stride == 2 && d.fps == 10.0f && d.embedding_width == 8);
    CHECK(d.decoder_cache_length == 24);
    vlj_gate_options gate;
    VLJ_INIT(gate);
    CHECK_OK(vlj_model_gate(model, &gate));
    CHECK(gate.smoothing == 1 && gate.width == 8);
    CHECK_FAILS(vlj_model_gate(NULL, &gate), VLJ_E_ARGUMENT, "model is NULL");
    vlj_model_description older; /* a caller of an older header, with a shorter struct */
    memset(&older, 0x5A, sizeof older);
    older.struct_size = offsetof(vlj_model_description, frames);
    CHECK_OK(vlj_model_describe(model, &older));
    CHECK(older.component_mask == 0x1f && older.frames == 0x5A5A5A5Au);
    CHECK_FAILS(vlj_model_describe(NULL, &d), VLJ_E_ARGUMENT, "model is NULL");
    vlj_model_close(model);
    vlj_model_close(NULL);
    bundle_fixture_remove(&bundle);
}

static void test_options(void) {
    bundle_fixture bundle;
    fixture_engines engines;
    bundle_fixture_defaults(&bundle);
    bundle_fixture_write(&bundle);
    fixture_engines_init(&engines, &bundle);
    vlj_model *model = NULL;
    vlj_model_options options = options_for(&engines);
    CHECK_FAILS(vlj_model_open(bundle.path, NULL, &model), VLJ_E_ARGUMENT, "options is NULL");
    CHECK_FAILS(vlj_model_open(bundle.path, &options, NULL), VLJ_E_ARGUMENT, "model is NULL");
    CHECK_FAILS(vlj_model_open(NULL, &options, &model), VLJ_E_ARGUMENT, "path is empty");
    options.header_version = VLJ_HEADER_VERSION + 1;
    CHECK_FAILS(vlj_model_open(bundle.path, &options, &model), VLJ_E_VERSION, "header_version is 2");
    options.header_version = 0;
    CHECK_FAILS(vlj_model_open(bundle.path, &options, &model), VLJ_E_VERSION, "header_version is 0");
    options = options_for(&engines);
    options.struct_size = 0;
    CHECK_FAILS(vlj_model_open(bundle.path, &options, &model), VLJ_E_ARGUMENT, "options.struct_size is 0");
    options = options_for(&engines);
    options.backend = "tpu";
    CHECK_FAILS(vlj_model_open(bundle.path, &options, &model), VLJ_E_BACKEND_MISSING,
                "\"tpu\": this library has ort, openvino, tensorrt, auto, callback");
    options = options_for(&engines);
    options.callbacks = NULL;
    CHECK_FAILS(vlj_model_open(bundle.path, &options, &model), VLJ_E_ARGUMENT, "needs options.callbacks");
    options = options_for(&engines);
    options.component_mask = 32;
    CHECK_FAILS(vlj_model_open(bundle.path, &options, &model), VLJ_E_ARGUMENT, "component_mask is 0x20");
    options.component_mask = 1u << VLJ_Y_ENCODER;
    CHECK_OK(vlj_model_open(bundle.path, &options, &model));
    CHECK(vlj_model_has(model, VLJ_Y_ENCODER) && !vlj_model_has(model, VLJ_X_ENCODER));
    float embedding[8];
    CHECK_OK(vlj_embed_tokens(model, (const int64_t[]){3, 4}, 2, embedding, 8));
    uint8_t *frames = calloc(1, 12288);
    float visual[128];
    CHECK_FAILS(vlj_encode_window(model, frames, 12288, visual, 128), VLJ_E_STATE, "x_encoder is not open");
    free(frames);
    vlj_model_close(model);
    bundle_fixture_remove(&bundle);
}

static void test_components(void) {
    bundle_fixture bundle;
    fixture_engines engines;
    vlj_model *model = NULL;
    vlj_model_description d;
    const struct {
        uint32_t in_bundle, prefix, text, asked;
        uint32_t opened; /* 0: an error that has these words */
        const char *words;
    } cases[] = {
        {0x1f, 2, 32, 0, 0x1f, ""},
        {0x07, 0, 32, 0, 0x07, ""},
        {0x03, 0, 0, 0, 0x03, ""},
        {0x00, 2, 32, 0, 0x1f, ""}, /* a bundle without engines: the callbacks bring all that CONFIG describes */
        {0x00, 0, 0, 0, 0x03, ""},
        {0x03, 2, 32, 0x07, 0x07, ""}, /* asked for by name, brought by the callbacks */
        {0x01, 0, 32, 0, 0, "no engine \"predictor\""},
        {0x0b, 2, 32, 0, 0, "only one of the engines y_decoder_prefix and y_decoder"},
        {0x07, 0, 32, 0x10, 0, "no engine \"y_decoder\", and its CONFIG describes none"},
        {0x03, 0, 0, 0x04, 0, "no engine \"y_encoder\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bundle_fixture_defaults(&bundle);
        bundle.component_mask = cases[i].in_bundle;
        bundle.prefix_tokens = cases[i].prefix;
        bundle.text_max_tokens = cases[i].text;
        bundle_fixture_write(&bundle);
        fixture_engines_init(&engines, &bundle);
        vlj_model_options options = options_for(&engines);
        options.component_mask = cases[i].asked;
        vlj_status status = vlj_model_open(bundle.path, &options, &model);
        if (cases[i].opened == 0) {
            CHECK_FAILS(status, VLJ_E_BUNDLE_MISSING, cases[i].words);
        } else {
            CHECK_OK(status);
            VLJ_INIT(d);
            CHECK_OK(vlj_model_describe(model, &d));
            CHECK_EQ(d.component_mask, cases[i].opened);
        }
        vlj_model_close(model);
        bundle_fixture_remove(&bundle);
    }
}

/* Sections that are sound by themselves but not what CONFIG or the format says. */
static void test_misfits(void) {
    const struct {
        uint32_t kind;
        const char *name;
        uint32_t offset, value;
        vlj_status status;
        const char *words;
    } cases[] = {
        {VLJ_SECTION_QUERY, "query 0?", 4, 6, VLJ_E_BUNDLE_SHAPE, "\"query 0?\": embedding width is 6, expected 12"},
        {VLJ_SECTION_QUERY, "query 1?", 0, 4000, VLJ_E_BUNDLE, "\"query 1?\": rows is 4000"},
        {VLJ_SECTION_QUERY, "query 1?", 0, 0, VLJ_E_BUNDLE, "\"query 1?\": rows is 0"},
        {VLJ_SECTION_QUERY, "query 1?", 8, 5, VLJ_E_BUNDLE, "\"query 1?\": dtype is 5"},
        {VLJ_SECTION_QUERY, "query 1?", 12, 0xFFFFFFFFu, VLJ_E_BUNDLE, "\"query 1?\": text_bytes is 4294967295"},
        {VLJ_SECTION_QUERY, "query 1?", 64, 0xFFu, VLJ_E_BUNDLE, "a text in UTF-8"},
        {VLJ_SECTION_PHRASE_BANK, "words", 4, 4, VLJ_E_BUNDLE_SHAPE,
         "embedding width of the phrase bank is 4, expected 8"},
        {VLJ_SECTION_PHRASE_BANK, "words", 0, 0xFFFFFFFFu, VLJ_E_BUNDLE, "\"words\": count is 4294967296"},
        {VLJ_SECTION_PHRASE_BANK, "words", 12, 3, VLJ_E_BUNDLE, "\"words\": the last offset"},
        {VLJ_SECTION_PHRASE_BANK, "words", 68, 1000, VLJ_E_BUNDLE, "ascending offsets"},
        {VLJ_SECTION_PHRASE_BANK, "words", 68, 0, VLJ_E_BUNDLE, "ends with NUL"},
        {VLJ_SECTION_TOKEN_EMBEDDINGS, "query", 4, 6, VLJ_E_BUNDLE_SHAPE, "query embedding width is 6, expected 12"},
        {VLJ_SECTION_TOKEN_EMBEDDINGS, "query", 0, 0x80000000u, VLJ_E_BUNDLE, "\"query\": rows is 2147483648"},
        {VLJ_SECTION_TOKEN_EMBEDDINGS, "y_decoder", 4, 4, VLJ_E_BUNDLE_SHAPE, "token embedding width is 4, expected 8"},
        {VLJ_SECTION_TOKEN_EMBEDDINGS, "y_decoder", 0, 39, VLJ_E_BUNDLE_SHAPE,
         "rows of token embeddings is 39, expected 40"},
        {VLJ_SECTION_VOCABULARY, "y_decoder", 0, 39, VLJ_E_BUNDLE_SHAPE, "tokens in the vocabulary is 39, expected 40"},
        {VLJ_SECTION_VOCABULARY, "y_decoder", 4, 0x7FFFFFFFu, VLJ_E_BUNDLE, "text_bytes is 2147483647"},
        {VLJ_SECTION_CONFIG, "config", 136, 9, VLJ_E_BUNDLE_SHAPE,
         "embedding width of the phrase bank is 8, expected 9"},
    };
    bundle_fixture bundle;
    fixture_engines engines;
    bundle_fixture_defaults(&bundle);
    bundle.image = 1;
    bundle_fixture_write(&bundle);
    fixture_engines_init(&engines, &bundle);
    vlj_model_options options = options_for(&engines);
    image_bytes sound = image_load(bundle.index_path);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        image_bytes image = image_copy(&sound);
        image_put_u32(image_section(&image, cases[i].kind, cases[i].name) + cases[i].offset, cases[i].value);
        image_save(&image, bundle.index_path);
        vlj_model *model = NULL;
        CHECK_FAILS(vlj_model_open(bundle.path, &options, &model), VLJ_E_BUNDLE_HASH,
                    cases[i].name); /* unsigned damage */
        options.skip_hashes = 1;    /* what the core reads is compared all the same */
        CHECK_FAILS(vlj_model_open(bundle.path, &options, &model), VLJ_E_BUNDLE_HASH, cases[i].name);
        options.skip_hashes = 0;
        image_rehash(&image, NULL);
        image_save(&image, bundle.index_path);
        CHECK_FAILS(vlj_model_open(bundle.path, &options, &model), cases[i].status, cases[i].words);
        CHECK(model == NULL);
        image_free(&image);
    }
    image_free(&sound);
    bundle_fixture_remove(&bundle);
}

static void test_skip_hashes(void) {
    bundle_fixture bundle;
    fixture_engines engines;
    bundle_fixture_defaults(&bundle);
    bundle_fixture_write(&bundle);
    fixture_engines_init(&engines, &bundle);
    vlj_model_options options = options_for(&engines);
    char path[400];
    snprintf(path, sizeof path, "%s/y_encoder.onnx", bundle.folder);
    image_bytes engine = image_load(path);
    engine.bytes[3] ^= 1;
    image_save(&engine, path);
    image_free(&engine);
    vlj_model *model = NULL;
    CHECK_FAILS(vlj_model_open(bundle.path, &options, &model), VLJ_E_BUNDLE_HASH, "y_encoder.onnx");
    options.skip_hashes = 1;
    CHECK_OK(vlj_model_open(bundle.path, &options, &model));
    vlj_model_close(model);
    bundle_fixture_remove(&bundle);
}

static void test_queries(vlj_dtype dtype) {
    bundle_fixture bundle;
    fixture_engines engines;
    bundle_fixture_defaults(&bundle);
    bundle.embedding_dtype = dtype;
    bundle.query_count = 3;
    bundle_fixture_write(&bundle);
    fixture_engines_init(&engines, &bundle);
    vlj_model_options options = options_for(&engines);
    vlj_model *model = NULL;
    CHECK_OK(vlj_model_open(bundle.path, &options, &model));
    for (uint32_t q = 0; q < 3; q++) {
        char text[32];
        vlj_query query, same;
        VLJ_INIT(query);
        VLJ_INIT(same);
        snprintf(text, sizeof text, "query %u?", q);
        CHECK_OK(vlj_model_query_at(model, q, &query));
        CHECK_OK(vlj_model_find_query(model, text, &same));
        CHECK(strcmp(query.text, text) == 0 && same.embeddings == query.embeddings && query.token_count == 3 + q);
        CHECK((uintptr_t)query.embeddings % 4 == 0);
        for (uint32_t i = 0; i < query.token_count * 12; i++) {
            CHECK_NEAR(query.embeddings[i], bundle_fixture_query_value(q, i / 12, i % 12), 1e-6);
        }
    }
    vlj_query query;
    VLJ_INIT(query);
    CHECK_FAILS(vlj_model_query_at(model, 3, &query), VLJ_E_QUERY, "has 3 compiled queries, no number 3");
    CHECK_FAILS(vlj_model_find_query(model, "query", &query), VLJ_E_QUERY, "no compiled query \"query\"");

    float rows[36];
    const int64_t ids[3] = {31, 0, 7};
    CHECK_OK(vlj_model_compile_query(model, ids, 3, rows, 36));
    for (uint32_t i = 0; i < 36; i++) {
        CHECK_NEAR(rows[i], bundle_fixture_table_value((uint32_t)ids[i / 12], i % 12), 1e-6);
    }
    CHECK_FAILS(vlj_model_compile_query(model, ids, 3, rows, 35), VLJ_E_BUFFER, "35 floats, 3 tokens need 36");
    CHECK_FAILS(vlj_model_compile_query(model, ids, 0, rows, 36), VLJ_E_QUERY, "a query of 0 tokens");
    CHECK_FAILS(vlj_model_compile_query(model, ids, 513, rows, 36), VLJ_E_QUERY,
                "a query of 513 tokens, expected 1 to 512");
    CHECK_FAILS(vlj_model_compile_query(model, (const int64_t[]){32}, 1, rows, 36), VLJ_E_QUERY, "token 0 is 32");
    CHECK_FAILS(vlj_model_compile_query(model, (const int64_t[]){-1}, 1, rows, 36), VLJ_E_QUERY, "token 0 is -1");
    vlj_model_close(model);
    bundle_fixture_remove(&bundle);
}

/* Whatever allocation fails, the error is VLJ_E_MEMORY and all that was taken comes back. */
static void test_memory(void) {
    bundle_fixture bundle;
    fixture_engines engines;
    bundle_fixture_defaults(&bundle);
    bundle.embedding_dtype = VLJ_FLOAT16;
    bundle_fixture_write(&bundle);
    fixture_engines_init(&engines, &bundle);
    vlj_model_options options = options_for(&engines);
    budget money = {.allowed = -1};
    vlj_hooks hooks;
    VLJ_INIT(hooks);
    hooks.user_data = &money;
    hooks.allocate = take;
    hooks.release = give;
    options.hooks = &hooks;
    vlj_model *model = NULL;
    CHECK_OK(vlj_model_open(bundle.path, &options, &model));
    vlj_memory memory;
    VLJ_INIT(memory);
    vlj_model_memory(model, &memory);
    CHECK_EQ(memory.model_bytes, money.bytes_out);
    CHECK(memory.mapped_bytes > 1000);
    CHECK_EQ(vlj_host_allocations(vlj_model_host(model)), money.calls);
    long needed = money.calls;
    vlj_model_close(model);
    CHECK(money.out == 0 && money.bytes_out == 0);
    for (money.allowed = 0; money.allowed < needed; money.allowed++) {
        money.calls = 0;
        CHECK_FAILS(vlj_model_open(bundle.path, &options, &model), VLJ_E_MEMORY, "no memory");
        CHECK(model == NULL && money.out == 0 && money.bytes_out == 0);
    }
    bundle_fixture_remove(&bundle);
}

static int opened, closed;

static vlj_status refuse_predictor(void *user_data, vlj_component component) {
    (void)user_data;
    opened++;
    return component == VLJ_PREDICTOR ? VLJ_E_BACKEND : VLJ_OK;
}

static void count_close(void *user_data, vlj_component component) {
    (void)user_data, (void)component;
    closed++;
}

static void test_engine_refuses(void) {
    bundle_fixture bundle;
    fixture_engines engines;
    bundle_fixture_defaults(&bundle);
    bundle_fixture_write(&bundle);
    fixture_engines_init(&engines, &bundle);
    engines.callbacks.open = refuse_predictor;
    engines.callbacks.close = count_close;
    vlj_model_options options = options_for(&engines);
    vlj_model *model = NULL;
    CHECK_FAILS(vlj_model_open(bundle.path, &options, &model), VLJ_E_BACKEND,
                "predictor: the callback's open returned 300");
    CHECK(opened == 2 && closed == 1); /* only what was opened is closed */
    bundle_fixture_remove(&bundle);
}

int main(void) {
    test_describe();
    test_options();
    test_components();
    test_misfits();
    test_skip_hashes();
    test_queries(VLJ_FLOAT32);
    test_queries(VLJ_FLOAT16);
    test_memory();
    test_engine_refuses();
    return 0;
}
