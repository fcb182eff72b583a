/* Backend "tensorrt": which engines it takes, what it says of others, and visual tokens that stay on the device. Its
 * library is tensorrt/cpu_plugin.c, the first argument: TensorRT itself is not here. */
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle_fixture.h"
#include "check.h"
#include "engine.h"
#include "index.h"
#include "sha256.h"
#include "stream_fixture.h"

static const char *library;
static bundle_fixture bundle;
static char folder[] = "/tmp/vljepa-tensorrt-XXXXXX";

static void write_text(const char *name, const char *text) {
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    CHECK(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0);
}

/* What docs/export.md says: SHA-256 over the digest of the component's one section. */
static void sources_of(const char *component, char hex[65]) {
    vlj_index *index = NULL;
    vlj_section section;
    vlj_sha256 hash;
    uint8_t digest[32];
    CHECK_OK(vlj_index_open(bundle.path, 0, &index));
    CHECK_OK(vlj_index_find(index, VLJ_SECTION_ENGINE, component, &section));
    vlj_sha256_init(&hash);
    vlj_sha256_update(&hash, section.sha256, sizeof section.sha256);
    vlj_sha256_final(&hash, digest);
    vlj_sha256_hex(digest, hex);
    vlj_index_close(index);
}

static void write_key(const char *builder, const char *device) {
    char text[1024], encoder[65], predictor[65];
    sources_of("x_encoder", encoder);
    sources_of("predictor", predictor);
    snprintf(text, sizeof text, "vljepa-engines 1\n%s\n%s\nx_encoder %s x.plan\npredictor %s p.plan\n", builder, device,
             encoder, predictor);
    write_text("engines.key", text);
}

static void write_plans(void) {
    char text[512];
    snprintf(text, sizeof text, "plan\nin frames %d 1 %u 3 %u %u\nout visual_tokens %d 1 %u %u\n", VLJ_UINT8,
             bundle.frames, bundle.height, bundle.width, VLJ_FLOAT32, bundle.visual_tokens, bundle.visual_width);
    write_text("x.plan", text);
    snprintf(text, sizeof text,
             "plan\nin visual_tokens %d 1 %u %u\nin query_embeddings %d -1 -1 %u\nin query_mask %d -1 -1\n"
             "out predicted_embedding %d -1 %u\n",
             VLJ_FLOAT32, bundle.visual_tokens, bundle.visual_width, VLJ_FLOAT32, bundle.query_width, VLJ_FLOAT32,
             VLJ_FLOAT32, bundle.embedding_width);
    write_text("p.plan", text);
}

static vlj_model_options options_of(void) {
    vlj_model_options options;
    VLJ_INIT(options);
    options.header_version = VLJ_HEADER_VERSION;
    options.backend = "tensorrt";
    options.component_mask = 1u << VLJ_X_ENCODER | 1u << VLJ_PREDICTOR;
    options.tensorrt_library = library;
    options.engine_folder = folder;
    return options;
}

static void refuses(vlj_status status, const char *sentence) {
    vlj_model_options options = options_of();
    vlj_model *model = NULL;
    CHECK_FAILS(vlj_model_open(bundle.path, &options, &model), status, sentence);
}

static void test_engines_of_others_are_refused(void) {
    vlj_model_options options = options_of();
    vlj_model *model = NULL;
    options.engine_folder = NULL;
    CHECK_FAILS(vlj_model_open(bundle.path, &options, &model), VLJ_E_BACKEND_MISSING, "vljepa export BUNDLE --engine");
    refuses(VLJ_E_BUNDLE_MISSING, "engines.key");
    write_text("engines.key", "{}");
    refuses(VLJ_E_BUNDLE, "expected \"vljepa-engines 1\"");
    write_key("openvino 2026.4", "a CPU");
    refuses(VLJ_E_BACKEND, "engines for openvino 2026.4, expected tensorrt");
    write_key("tensorrt 10.4.0", "Test GPU sm87");
    refuses(VLJ_E_BACKEND, "built by tensorrt 10.4.0, here is TensorRT 10.3.0");
    write_key("tensorrt 10.3.0.26", "Test GPU sm86");
    refuses(VLJ_E_BACKEND, "built for Test GPU sm86, here is Test GPU sm87");
    write_key("tensorrt 10.3.0.26", "Test GPU sm87");
    refuses(VLJ_E_BUNDLE_MISSING, "x.plan");
    write_text("x.plan", "something else");
    refuses(VLJ_E_BACKEND,
            "backend \"tensorrt\", component x_encoder, x.plan: TensorRT doesn't take the engine: Plugin "
            "not found: MaskedMeanPool");
    write_text("x.plan", "plan\nin frames 0 1 8 3 8 8\n");
    refuses(VLJ_E_BUNDLE_SHAPE, "component x_encoder");
    write_text("engines.key", "vljepa-engines 1\ntensorrt 10.3.0\nTest GPU sm87\nx_encoder 00ff x.plan\n");
    refuses(VLJ_E_BUNDLE_HASH, "built from another bundle");
    write_text("engines.key", "vljepa-engines 1\ntensorrt 10.3.0\nTest GPU sm87\npredictor 00ff p.plan\n");
    refuses(VLJ_E_BUNDLE_MISSING, "no engine of component x_encoder");
    write_key("tensorrt 10.3.0", "Test GPU sm87");
    options = options_of();
    options.device = 3;
    CHECK_FAILS(vlj_model_open(bundle.path, &options, &model), VLJ_E_BACKEND_MISSING, "device 3");
    options = options_of();
    options.tensorrt_library = "/nowhere/libvljepa_tensorrt.so";
    CHECK_FAILS(vlj_model_open(bundle.path, &options, &model), VLJ_E_BACKEND_MISSING,
                "backend \"tensorrt\" cannot be loaded: /nowhere");
}

static void test_a_missing_tensor_is_named(void) {
    write_plans();
    write_text("p.plan", "plan\nin hidden 2 1 4\nout predicted_embedding 2 -1 8\n");
    refuses(VLJ_E_BUNDLE_SHAPE, "it has hidden");
    write_plans();
}

/* Visual tokens lie on the device between the two engines, frames and queries go there, embeddings come back. */
static void test_streams_keep_tokens_on_the_device(void) {
    void *handle = dlopen(library, RTLD_NOW);
    int (*objects)(void) = NULL, (*device_runs)(void) = NULL;
    void *found[] = {dlsym(handle, "cpu_plugin_open_objects"), dlsym(handle, "cpu_plugin_device_runs")};
    memcpy(&objects, &found[0], sizeof objects);
    memcpy(&device_runs, &found[1], sizeof device_runs);
    static event_log log;
    vlj_model_options options = options_of();
    vlj_stream_options plan;
    vlj_model *model = NULL;
    vlj_stream *stream = NULL;
    vlj_stats stats;
    vlj_memory memory, host;
    CHECK_OK(vlj_model_open(bundle.path, &options, &model));
    VLJ_INIT(plan);
    plan.text_source = VLJ_TEXT_NONE;
    plan.emit_embeddings = 1;
    VLJ_INIT(memory);
    CHECK_OK(vlj_query_memory(model, &plan, &memory));
    CHECK_EQ(memory.backend_bytes, 6000);
    CHECK_OK(vlj_stream_open(model, &plan, &stream));
    CHECK_EQ(objects(), 3); /* two engines, one buffer */
    for (int i = 0; i < 12; i++) {
        replay_grey(stream, &log, 100, (int64_t)i * 1000000000);
    }
    replay_finish(stream, &log);
    VLJ_INIT(stats);
    CHECK_OK(vlj_stream_stats(stream, &stats));
    CHECK(stats.windows > 2);
    CHECK_EQ((uint64_t)device_runs(), 2 * stats.windows);
    uint64_t frames = (uint64_t)3 * bundle.frames * bundle.height * bundle.width;
    CHECK_EQ(stats.bytes_copied[VLJ_STAGE_ENCODE], stats.windows * frames);
    uint64_t query = 4 * (uint64_t)3 * (bundle.query_width + 1), embedding = 4 * (uint64_t)bundle.embedding_width;
    CHECK_EQ(stats.bytes_copied[VLJ_STAGE_PREDICT], stats.windows * (query + embedding));
    vlj_stream_close(stream);
    CHECK_EQ(objects(), 2);
    event_log_clear(&log);

    /* A host's own buffers work as well, and an engine's failure names backend, component and op. */
    size_t floats = (size_t)bundle.visual_tokens * bundle.visual_width;
    uint8_t *window = calloc(1, frames);
    float *tokens = calloc(floats, sizeof *tokens);
    memset(window, 200, frames);
    CHECK_OK(vlj_encode_window(model, window, frames, tokens, floats));
    CHECK(tokens[0] == 200.0f);
    memset(window, 13, frames);
    CHECK_FAILS(vlj_encode_window(model, window, frames, tokens, floats), VLJ_E_BACKEND_RUN,
                "backend \"tensorrt\", component x_encoder: TensorRT doesn't run it: Cuda error in MaskedMeanPool");
    free(window);
    free(tokens);
    vlj_model_close(model);
    CHECK_EQ(objects(), 0);

    /* Another backend plans the tokens on the host. */
    stream_fixture fixture;
    stream_fixture_defaults(&fixture);
    stream_fixture_open(&fixture);
    VLJ_INIT(host);
    CHECK_OK(vlj_query_memory(fixture.model, &plan, &host));
    CHECK(host.stream_bytes >= memory.stream_bytes + floats * sizeof(float));
    stream_fixture_close(&fixture);
    dlclose(handle);
}

int main(int argc, char **argv) {
    CHECK(argc == 2 && mkdtemp(folder) != NULL);
    library = argv[1];
    bundle_fixture_defaults(&bundle);
    bundle_fixture_write(&bundle);
    bundle.visual_tokens =
        bundle.frames / bundle.tubelet * (bundle.height / bundle.patch) * (bundle.width / bundle.patch);
    test_engines_of_others_are_refused();
    test_a_missing_tensor_is_named();
    test_streams_keep_tokens_on_the_device();
    bundle_fixture_remove(&bundle);
    char command[100];
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK(system(command) == 0);
    return 0;
}
