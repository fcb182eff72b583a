/* Backend "ort" on real ONNX models: the same results as the fixture's C engines, misfits refused, weights beside the
 * ONNX.
 *
 *   test_ort LIBONNXRUNTIME MODELS    MODELS is written by make_ort_models.py; without arguments the test is skipped
 * (77)
 */
#include <unistd.h>

#include "bundle_fixture.h"
#include "check.h"
#include "fixture_engines.h"
#include "image_edit.h"
#include "inference.h"
#include "model.h"
#include "ort_pool_op.h"

static const char *library, *models;
static int logged;

static void count_log(void *user_data, vlj_log_level level, const char *message) {
    (void)user_data;
    CHECK(level == VLJ_LOG_ERROR && strncmp(message, "onnxruntime: ", 13) == 0);
    logged++;
}

static void copy_file(const char *from, const char *to) {
    image_bytes file = image_load(from);
    image_save(&file, to);
    image_free(&file);
}

/* The fixture's bundle with real engines; `wrong` (may be NULL) replaces the component that its name begins with. */
static void write_bundle(bundle_fixture *bundle, const char *wrong) {
    static const char *const names[] = {"x_encoder", "predictor", "y_encoder", "y_decoder_prefix", "y_decoder"};
    bundle_fixture_write(bundle);
    for (int i = 0; i < 5; i++) {
        char from[600], to[600];
        size_t length = strlen(names[i]);
        int replace =
            wrong != NULL && strncmp(wrong, names[i], length) == 0 && strncmp(wrong + length, "_prefix", 7) != 0;
        snprintf(from, sizeof from, "%s/%s/%s.onnx", models,
                 replace ? (strstr(wrong, "pooled") ? "other" : "wrong") : "good", replace ? wrong : names[i]);
        snprintf(to, sizeof to, "%s/%s.onnx", bundle->folder, names[i]);
        copy_file(from, to);
    }
    image_bytes index = image_load(bundle->index_path);
    image_rehash(&index, bundle->folder);
    image_save(&index, bundle->index_path);
    image_free(&index);
}

static vlj_model_options options_for(const vlj_hooks *hooks) {
    vlj_model_options options;
    VLJ_INIT(options);
    options.header_version = VLJ_HEADER_VERSION;
    options.backend = "ort";
    options.backend_library = library;
    options.threads = 1;
    options.hooks = hooks;
    return options;
}

/* One image of all sections of `index`, and of `extra` when it isn't NULL: what `vljepa pack` does. */
static void pack(const vlj_index *index, const char *path, const vlj_section *extra) {
    uint32_t sections = vlj_index_section_count(index), count = sections + (extra != NULL);
    size_t end = 128 + (size_t)count * 192;
    image_bytes image = {calloc(1, 1 << 20), 0};
    CHECK(image.bytes != NULL);
    memcpy(image.bytes, "VLJEPA\x1a\n", 8);
    image_put_u32(image.bytes + 8, 1), image_put_u32(image.bytes + 12, 1);
    image_put_u32(image.bytes + 24, count), image_put_u32(image.bytes + 28, 192), image_put_u64(image.bytes + 32, 128);
    for (uint32_t i = 0; i < count; i++) {
        vlj_section section;
        VLJ_INIT(section);
        if (i == sections) {
            section = *extra;
        } else {
            CHECK_OK(vlj_index_section(index, i, &section));
        }
        end = (end + 4095) / 4096 * 4096;
        CHECK(end + section.size < 1 << 20);
        uint8_t *entry = image.bytes + 128 + 192 * (size_t)i;
        image_put_u32(entry, section.kind), image_put_u64(entry + 8, end), image_put_u64(entry + 16, section.size);
        memcpy(entry + 56, section.name, 64);
        memcpy(image.bytes + end, section.bytes, (size_t)section.size);
        end += (size_t)section.size;
    }
    image.size = end;
    image_put_u64(image.bytes + 16, end);
    image_rehash(&image, NULL);
    image_save(&image, path);
    image_free(&image);
}

/* Both backends over the same windows, queries, texts and embeddings. */
static void compare(vlj_model *ort, vlj_model *reference) {
    static uint8_t frames[4 * 3 * 32 * 32];
    float visual[2][128], embeddings[2][16], text[2][8];
    vlj_query queries[2];
    for (uint32_t q = 0; q < 2; q++) {
        VLJ_INIT(queries[q]);
        CHECK_OK(vlj_model_query_at(ort, q, &queries[q]));
    }
    for (uint32_t round = 0; round < 6; round++) {
        for (size_t i = 0; i < sizeof frames; i++) {
            frames[i] = (uint8_t)(round * 40 + i / 100);
        }
        uint32_t count = 1 + round % 2; /* the shape changes from run to run */
        for (int side = 0; side < 2; side++) {
            vlj_model *model = side == 0 ? ort : reference;
            const int64_t ids[] = {1 + round, 2, 3};
            CHECK_OK(vlj_encode_window(model, frames, sizeof frames, visual[side], 128));
            CHECK_OK(vlj_predict(model, visual[side], 128, queries, count, embeddings[side], 16));
            CHECK_OK(vlj_embed_tokens(model, ids, 1 + round % 3, text[side], 8));
        }
        for (int i = 0; i < 128; i++) {
            CHECK_NEAR(visual[0][i], visual[1][i], 1e-5);
        }
        for (uint32_t i = 0; i < count * 8; i++) {
            CHECK_NEAR(embeddings[0][i], embeddings[1][i], 1e-5);
        }
        for (int i = 0; i < 8; i++) {
            CHECK_NEAR(text[0][i], text[1][i], 1e-5);
        }
        char words[2][200];
        vlj_decode_result results[2];
        for (int side = 0; side < 2; side++) {
            VLJ_INIT(results[side]);
            CHECK_OK(vlj_decode(side == 0 ? ort : reference, embeddings[1], 8, words[side], 200, &results[side]));
        }
        CHECK(strcmp(words[0], words[1]) == 0 && words[0][0] != '\0');
        CHECK(results[0].token_count == results[1].token_count && results[0].complete == 1);
        CHECK_NEAR(results[0].mean_logprob, results[1].mean_logprob, 1e-5);
    }
}

static void test_same_results(void) {
    bundle_fixture bundle;
    fixture_engines engines;
    bundle_fixture_defaults(&bundle);
    write_bundle(&bundle, NULL);
    fixture_engines_init(&engines, &bundle);
    vlj_model_options options = options_for(NULL);
    vlj_model *ort = NULL, *reference = NULL;
    CHECK_OK(vlj_model_open(bundle.path, &options, &ort));
    options.backend = "callback";
    options.callbacks = &engines.callbacks;
    CHECK_OK(vlj_model_open(bundle.path, &options, &reference));
    vlj_model_description d;
    VLJ_INIT(d);
    CHECK_OK(vlj_model_describe(ort, &d));
    CHECK(strcmp(d.backend, "ort") == 0 && d.component_mask == 0x1f);
    compare(ort, reference);

    /* a workspace: the core allocates nothing from run to run */
    vlj_workspace *workspace = NULL;
    vlj_host host;
    vlj_host_fork(&host, vlj_model_host(ort));
    CHECK_OK(vlj_workspace_open(ort, &host, 2, 8, &workspace));
    vlj_query query;
    VLJ_INIT(query);
    CHECK_OK(vlj_model_query_at(ort, 1, &query));
    CHECK_OK(vlj_workspace_set_queries(workspace, &query, 1));
    static uint8_t frames[2][4 * 3 * 32 * 32];
    uint64_t before = vlj_host_allocations(vlj_model_host(ort));
    for (int i = 0; i < 200; i++) {
        const float *embedding = NULL;
        CHECK_OK(vlj_workspace_encode(workspace, frames[i % 2]));
        CHECK_OK(vlj_workspace_predict(workspace, &embedding));
        CHECK_NEAR(embedding[0] * embedding[0] + embedding[1] * embedding[1], 1.0, 1e-5);
    }
    CHECK_EQ(vlj_host_allocations(&host), 1);
    CHECK_EQ(vlj_host_allocations(vlj_model_host(ort)), before);
    vlj_workspace_close(workspace);
    vlj_model_close(ort);

    /* the same as an image, where sessions are made from mapped bytes */
    char path[400];
    snprintf(path, sizeof path, "%s/model.vlj", bundle.folder);
    vlj_index *index = NULL;
    CHECK_OK(vlj_index_open(bundle.path, 1, &index));
    pack(index, path, NULL);
    vlj_index_close(index);
    options.backend = NULL; /* the default */
    options.callbacks = NULL;
    CHECK_OK(vlj_model_open(path, &options, &ort));
    compare(ort, reference);
    vlj_model_close(ort);
    vlj_model_close(reference);
    bundle_fixture_remove(&bundle);
}

static void test_misfits(void) {
    static const struct {
        const char *name, *words;
    } cases[] = {
        {"x_encoder_dtype",
         "component x_encoder in x_encoder.onnx: tensor frames is float32 [1, 4, 3, 32, 32], expected uint8"},
        {"predictor_width", "component predictor in predictor.onnx: tensor predicted_embedding is float32 [?, 10], "
                            "expected float32 [?, 8]"},
        {"predictor_input_name",
         "component predictor predictor.onnx: there is no input \"query_mask\"; it has also mask"},
        {"predictor_output_name", "there is no output \"predicted_embedding\"; it has also embedding"},
        {"predictor_fixed_queries", "tensor query_embeddings is float32 [1, ?, 12], expected float32 [?, ?, 12]"},
        {"predictor_extra_input", "unexpected input temperature"},
        {"y_decoder_prefix_rank", "tensor soft_tokens is float32 [2, 8], expected float32 [1, 2, 8]"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bundle_fixture bundle;
        bundle_fixture_defaults(&bundle);
        write_bundle(&bundle, cases[i].name);
        vlj_model_options options = options_for(NULL);
        vlj_model *model = NULL;
        CHECK_FAILS(vlj_model_open(bundle.path, &options, &model), VLJ_E_BUNDLE_SHAPE, cases[i].words);
        bundle_fixture_remove(&bundle);
    }
    bundle_fixture bundle; /* engines that are no ONNX at all, under a correct digest */
    bundle_fixture_defaults(&bundle);
    bundle_fixture_write(&bundle);
    vlj_hooks hooks;
    VLJ_INIT(hooks);
    hooks.log = count_log;
    vlj_model_options options = options_for(&hooks);
    vlj_model *model = NULL;
    CHECK_FAILS(vlj_model_open(bundle.path, &options, &model), VLJ_E_BACKEND,
                "component x_encoder in x_encoder.onnx: ");
    options.backend_library = "/nowhere/libonnxruntime.so";
    CHECK_FAILS(vlj_model_open(bundle.path, &options, &model), VLJ_E_BACKEND_MISSING, "/nowhere/libonnxruntime.so");
    options.backend_library = "libc.so.6";
    CHECK_FAILS(vlj_model_open(bundle.path, &options, &model), VLJ_E_BACKEND_MISSING, "libc.so.6 is not ONNX Runtime");
    bundle_fixture_remove(&bundle);
}

/* A failing run gives ONNX Runtime's words, the log hook hears them, and the next run works. */
static void test_failing_run(void) {
    bundle_fixture bundle;
    bundle_fixture_defaults(&bundle);
    write_bundle(&bundle, NULL);
    vlj_hooks hooks;
    VLJ_INIT(hooks);
    hooks.log = count_log;
    vlj_model_options options = options_for(&hooks);
    vlj_model *model = NULL;
    CHECK_OK(vlj_model_open(bundle.path, &options, &model));
    const vlj_signature *s = vlj_model_signature(model, VLJ_PREDICTOR);
    static float visual[128], rows[3 * 4 * 12], mask[3 * 4], embeddings[3 * 8];
    vlj_tensor inputs[3], output;
    vlj_tensor_set(&inputs[0], &s->inputs[0], s->inputs[0].shape, visual);
    vlj_tensor_set(&inputs[1], &s->inputs[1], (const int64_t[]){3, 4, 12}, rows);
    vlj_tensor_set(&inputs[2], &s->inputs[2], (const int64_t[]){2, 4}, mask); /* not as many as there are queries */
    vlj_tensor_set(&output, &s->outputs[0], (const int64_t[]){3, 8}, embeddings);
    logged = 0;
    CHECK_FAILS(vlj_model_run(model, VLJ_PREDICTOR, inputs, 3, &output, 1), VLJ_E_BACKEND_RUN, "component predictor: ");
    CHECK(logged > 0);
    vlj_tensor_set(&inputs[2], &s->inputs[2], (const int64_t[]){3, 4}, mask);
    CHECK_OK(vlj_model_run(model, VLJ_PREDICTOR, inputs, 3, &output, 1));
    CHECK_NEAR(embeddings[8], 1.0, 1e-6);
    vlj_model_close(model);
    bundle_fixture_remove(&bundle);
}

/* Weights in a file beside the ONNX (opened by path), and inside an image (handed over in memory). */
static void test_external_weights(void) {
    bundle_fixture bundle;
    bundle_fixture_defaults(&bundle);
    bundle.component_mask = 3;
    bundle.prefix_tokens = 0;
    bundle_fixture_write(&bundle);
    char from[600], to[600], image_path[400];
    for (int i = 0; i < 3; i++) {
        static const char *const names[] = {"external/x_encoder.onnx", "external/x_encoder.onnx.data",
                                            "good/predictor.onnx"};
        snprintf(from, sizeof from, "%s/%s", models, names[i]);
        snprintf(to, sizeof to, "%s/%s", bundle.folder, strchr(names[i], '/') + 1);
        copy_file(from, to);
    }
    image_bytes index = image_load(bundle.index_path);
    image_rehash(&index, bundle.folder);
    image_save(&index, bundle.index_path);
    image_free(&index);

    static uint8_t frames[4 * 3 * 32 * 32];
    memset(frames, 51, sizeof frames);
    float visual[128];
    vlj_model_options options = options_for(NULL);
    vlj_model *model = NULL;
    snprintf(from, sizeof from, "%s/external/x_encoder.onnx.data", models);
    image_bytes data = image_load(from);
    vlj_section extra = {.struct_size = sizeof extra,
                         .kind = VLJ_SECTION_ENGINE_DATA,
                         .name = "x_encoder.onnx.data",
                         .size = data.size,
                         .bytes = data.bytes};
    vlj_index *sections = NULL;
    CHECK_OK(vlj_index_open(bundle.path, 1, &sections));
    snprintf(image_path, sizeof image_path, "%s/model.vlj", bundle.folder);
    pack(sections, image_path, &extra);
    vlj_index_close(sections);
    CHECK_OK(vlj_model_open(image_path, &options, &model));
    CHECK_OK(vlj_encode_window(model, frames, sizeof frames, visual, 128));
    CHECK_NEAR(visual[0], 0.2, 1e-6);
    CHECK_NEAR(visual[127], 0.2, 1e-6);
    vlj_model_close(model);

    /* the folder: an ENGINE_DATA entry that names the file, which lets the backend open by path; its digest is checked
     * too */
    image_bytes image = image_load(image_path);
    for (uint32_t i = 0; i < image_u32(image.bytes + 24); i++) {
        uint8_t *entry = image_entry(&image, i);
        if (image_u32(entry) == VLJ_SECTION_ENGINE || image_u32(entry) == VLJ_SECTION_ENGINE_DATA) {
            int is_data = image_u32(entry) == VLJ_SECTION_ENGINE_DATA;
            memset(image.bytes + image_u64(entry + 8), 0, (size_t)image_u64(entry + 16)); /* now between sections */
            image_put_u64(entry + 8, 0);
            snprintf((char *)entry + 120, 64, "%.40s%s", (char *)entry + 56, is_data ? "" : ".onnx");
        }
    }
    image_put_u32(image.bytes + 12, 0);
    image_rehash(&image, bundle.folder);
    image_save(&image, bundle.index_path);
    image_free(&image);
    CHECK_OK(vlj_model_open(bundle.path, &options, &model));
    memset(visual, 0, sizeof visual);
    CHECK_OK(vlj_encode_window(model, frames, sizeof frames, visual, 128));
    CHECK_NEAR(visual[64], 0.2, 1e-6);
    vlj_model_close(model);
    data.bytes[9] ^= 1;
    snprintf(to, sizeof to, "%s/x_encoder.onnx.data", bundle.folder);
    image_save(&data, to);
    CHECK_FAILS(vlj_model_open(bundle.path, &options, &model), VLJ_E_BUNDLE_HASH, "x_encoder.onnx.data");
    image_free(&data);
    bundle_fixture_remove(&bundle);
}

/* An image of the fixture with real engines, for check_install.sh. */
static void write_image(const char *path) {
    bundle_fixture bundle;
    bundle_fixture_defaults(&bundle);
    write_bundle(&bundle, NULL);
    vlj_index *index = NULL;
    CHECK_OK(vlj_index_open(bundle.path, 1, &index));
    pack(index, path, NULL);
    vlj_index_close(index);
    bundle_fixture_remove(&bundle);
}

/* Providers that this library lacks, and ones that nobody has; memory options; the same results without the arena. */
static void test_options(void) {
    bundle_fixture bundle;
    fixture_engines engines;
    bundle_fixture_defaults(&bundle);
    write_bundle(&bundle, NULL);
    fixture_engines_init(&engines, &bundle);
    vlj_model_options options = options_for(NULL);
    vlj_model *model = NULL, *reference = NULL;
    options.provider = "npu";
    CHECK_FAILS(vlj_model_open(bundle.path, &options, &model), VLJ_E_ARGUMENT,
                "options.provider is \"npu\", expected \"cpu\", \"cuda\" or \"tensorrt\"");
    static const char *const gpus[] = {"cuda", "tensorrt"};
    for (int i = 0; i < 2; i++) { /* the CPU's wheel, or a GPU's on a machine without one */
        options.provider = gpus[i];
        vlj_status status = vlj_model_open(bundle.path, &options, &model);
        if (status == VLJ_OK) {
            printf("provider %s works here\n", gpus[i]);
            vlj_model_close(model);
        } else {
            CHECK_EQ(status, VLJ_E_BACKEND_MISSING);
            CHECK(strstr(vlj_last_error(), i == 0 ? "CUDA" : "TensorRT") != NULL || strstr(vlj_last_error(), gpus[i]));
        }
    }
    options.provider = "cpu";
    options.arena = options.own_ops = options.packed_weights = VLJ_OFF;
    CHECK_OK(vlj_model_open(bundle.path, &options, &model));
    options.backend = "callback";
    options.callbacks = &engines.callbacks;
    CHECK_OK(vlj_model_open(bundle.path, &options, &reference));
    compare(model, reference);
    vlj_model_close(model);
    vlj_model_close(reference);
    bundle_fixture_remove(&bundle);
}

/* A tail of vljepa::MaskedMeanPool: this library's operator runs it, and the function body where it is told to, with
 * the same result. */
static void test_own_operator(void) {
    bundle_fixture bundle;
    bundle_fixture_defaults(&bundle);
    write_bundle(&bundle, "predictor_pooled");
    float visual[128] = {0}, embeddings[2][16];
    for (int side = 0; side < 2; side++) {
        vlj_model_options options = options_for(NULL);
        options.own_ops = side == 0 ? VLJ_DEFAULT : VLJ_OFF;
        vlj_model *model = NULL;
        vlj_query queries[2];
        CHECK_OK(vlj_model_open(bundle.path, &options, &model));
        for (uint32_t q = 0; q < 2; q++) {
            VLJ_INIT(queries[q]);
            CHECK_OK(vlj_model_query_at(model, q, &queries[q]));
        }
        unsigned long long before = vlj_ort_pool_runs();
        CHECK_OK(vlj_predict(model, visual, 128, queries, 2, embeddings[side], 16));
        CHECK_EQ(vlj_ort_pool_runs() - before, side == 0 ? 1 : 0);
        vlj_model_close(model);
    }
    for (int i = 0; i < 16; i++) {
        CHECK_NEAR(embeddings[0][i], embeddings[1][i], 1e-6);
    }
    CHECK(embeddings[0][0] != embeddings[0][8]); /* two queries of different lengths */
    bundle_fixture_remove(&bundle);
}

int main(int argc, char **argv) {
    if (argc < 3) {
        return 77;
    }
    library = argv[1];
    models = argv[2];
    if (argc > 3) {
        write_image(argv[3]);
        return 0;
    }
    test_same_results();
    test_misfits();
    test_failing_run();
    test_options();
    test_own_operator();
    test_external_weights();
    return 0;
}
