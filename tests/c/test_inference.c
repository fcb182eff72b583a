/* Encode and predict through a workspace and directly: padding, sizes, failures, and no allocation per window. */
#include "inference.h"

#include <math.h>
#include <pthread.h>

#include "bundle_fixture.h"
#include "check.h"
#include "fixture_engines.h"
#include "model.h"

enum { WINDOW_BYTES = 4 * 3 * 32 * 32, VISUAL_FLOATS = 8 * 16, WIDTH = 8 };

typedef struct setup {
    bundle_fixture bundle;
    fixture_engines engines;
    vlj_model *model;
    uint8_t frames[WINDOW_BYTES];
    float visual[VISUAL_FLOATS];
    vlj_query queries[3];
} setup;

static void begin(setup *s) {
    bundle_fixture_defaults(&s->bundle);
    s->bundle.query_count = 3;
    bundle_fixture_write(&s->bundle);
    fixture_engines_init(&s->engines, &s->bundle);
    vlj_model_options options;
    VLJ_INIT(options);
    options.header_version = VLJ_HEADER_VERSION;
    options.backend = "callback";
    options.callbacks = &s->engines.callbacks;
    CHECK_OK(vlj_model_open(s->bundle.path, &options, &s->model));
    for (size_t i = 0; i < WINDOW_BYTES; i++) {
        s->frames[i] = (uint8_t)(i * 7 / 100);
    }
    for (uint32_t q = 0; q < 3; q++) {
        VLJ_INIT(s->queries[q]);
        CHECK_OK(vlj_model_query_at(s->model, q, &s->queries[q]));
    }
}

static void end(setup *s) {
    vlj_model_close(s->model);
    bundle_fixture_remove(&s->bundle);
}

/* What the fixture's predictor gives for one query alone, from its documented formula. */
static void expected_embedding(const setup *s, uint32_t query, float out[WIDTH]) {
    double grey = 0;
    for (size_t i = 0; i < VISUAL_FLOATS; i++) {
        grey += s->visual[i];
    }
    double theta = 3.14159265358979 * grey / VISUAL_FLOATS;
    for (uint32_t token = 0; token < s->queries[query].token_count; token++) {
        theta += 0.001 * (double)bundle_fixture_query_value(query, token, 0);
    }
    memset(out, 0, WIDTH * sizeof(float));
    out[0] = (float)cos(theta);
    out[1] = (float)sin(theta);
}

static void check_embeddings(const setup *s, const float *found, uint32_t count) {
    for (uint32_t q = 0; q < count; q++) {
        float expected[WIDTH];
        expected_embedding(s, q, expected);
        for (int i = 0; i < WIDTH; i++) {
            CHECK_NEAR(found[q * WIDTH + i], expected[i], 1e-6);
        }
    }
}

static void test_workspace(setup *s) {
    vlj_host host; /* a stream's own, whose counters start at 0 */
    vlj_host_fork(&host, vlj_model_host(s->model));
    vlj_workspace *workspace = NULL;
    CHECK_OK(vlj_workspace_open(s->model, &host, 3, 16, &workspace));
    CHECK_EQ(vlj_host_allocations(&host), 1);
    CHECK_EQ(vlj_host_bytes(&host), vlj_workspace_bytes(s->model, 3, 16));
    const float *embeddings = NULL;
    CHECK_FAILS(vlj_workspace_predict(workspace, &embeddings), VLJ_E_STATE, "an encoded window first");
    CHECK_OK(vlj_workspace_encode(workspace, s->frames));
    CHECK_FAILS(vlj_workspace_predict(workspace, &embeddings), VLJ_E_STATE, "queries first");
    CHECK_OK(vlj_encode_window(s->model, s->frames, WINDOW_BYTES, s->visual, VISUAL_FLOATS));
    const uint32_t counts[] = {1, 3, 2, 3}; /* padding left by an earlier set must not show in a later one */
    for (int i = 0; i < 4; i++) {
        CHECK_OK(vlj_workspace_set_queries(workspace, s->queries, counts[i]));
        CHECK_OK(vlj_workspace_predict(workspace, &embeddings));
        check_embeddings(s, embeddings, counts[i]);
    }
    for (int i = 0; i < 100; i++) {
        CHECK_OK(vlj_workspace_encode(workspace, s->frames));
        CHECK_OK(vlj_workspace_predict(workspace, &embeddings));
    }
    CHECK_EQ(vlj_host_allocations(&host), 1);
    CHECK_FAILS(vlj_workspace_set_queries(workspace, s->queries, 4), VLJ_E_QUERY,
                "4 queries, at most 3 were planned for");
    CHECK_FAILS(vlj_workspace_set_queries(workspace, s->queries, 0), VLJ_E_QUERY, "no query");
    vlj_query query = s->queries[0];
    query.token_count = 17;
    CHECK_FAILS(vlj_workspace_set_queries(workspace, &query, 1), VLJ_E_QUERY, "query 0 has 17 tokens, at most 16 fit");
    query.token_count = 0;
    CHECK_FAILS(vlj_workspace_set_queries(workspace, &query, 1), VLJ_E_QUERY, "query 0 is empty");
    query.struct_size = 0;
    CHECK_FAILS(vlj_workspace_set_queries(workspace, &query, 1), VLJ_E_ARGUMENT, "queries[0].struct_size is 0");
    CHECK_OK(vlj_workspace_predict(workspace, &embeddings)); /* a refused set leaves the old queries in place */
    check_embeddings(s, embeddings, 3);
    atomic_store(&s->engines.fail_after[VLJ_X_ENCODER], 0);
    CHECK_FAILS(vlj_workspace_encode(workspace, s->frames), VLJ_E_BACKEND_RUN,
                "x_encoder: the callback's run returned 302: fixture");
    CHECK_FAILS(vlj_workspace_predict(workspace, &embeddings), VLJ_E_STATE, "encoded window");
    atomic_store(&s->engines.fail_after[VLJ_X_ENCODER], -1);
    vlj_workspace_close(workspace);
    CHECK_EQ(vlj_host_bytes(&host), 0);
    CHECK_FAILS(vlj_workspace_open(s->model, &host, 0, 16, &workspace), VLJ_E_QUERY, "0 queries");
    CHECK_FAILS(vlj_workspace_open(s->model, &host, 1, 513, &workspace), VLJ_E_QUERY, "1 to 512");
    vlj_workspace_close(NULL);
}

static void test_direct(setup *s) {
    float embeddings[3 * WIDTH];
    CHECK_OK(vlj_encode_window(s->model, s->frames, WINDOW_BYTES, s->visual, VISUAL_FLOATS));
    CHECK_OK(vlj_predict(s->model, s->visual, VISUAL_FLOATS, s->queries, 1, embeddings, WIDTH));
    check_embeddings(s, embeddings, 1);
    CHECK_OK(vlj_predict(s->model, s->visual, VISUAL_FLOATS, s->queries, 3, embeddings, 3 * WIDTH));
    check_embeddings(s, embeddings, 3);
    uint64_t allocations = vlj_host_allocations(vlj_model_host(s->model));
    CHECK_OK(vlj_predict(s->model, s->visual, VISUAL_FLOATS, s->queries, 3, embeddings, 3 * WIDTH));
    CHECK_EQ(vlj_host_allocations(vlj_model_host(s->model)), allocations);
    CHECK_FAILS(vlj_encode_window(s->model, s->frames, 7, s->visual, VISUAL_FLOATS), VLJ_E_ARGUMENT,
                "frames has 7 bytes");
    CHECK_FAILS(vlj_encode_window(s->model, s->frames, WINDOW_BYTES, s->visual, 9), VLJ_E_BUFFER, "room for 9 floats");
    CHECK_FAILS(vlj_predict(s->model, s->visual, 9, s->queries, 1, embeddings, WIDTH), VLJ_E_ARGUMENT, "9 floats");
    CHECK_FAILS(vlj_predict(s->model, s->visual, VISUAL_FLOATS, s->queries, 3, embeddings, WIDTH), VLJ_E_BUFFER,
                "expected 24");
    CHECK_FAILS(vlj_predict(s->model, s->visual, VISUAL_FLOATS, NULL, 3, embeddings, WIDTH), VLJ_E_QUERY, "no query");
    CHECK_FAILS(vlj_embed_tokens(s->model, (const int64_t[]){1}, 0, embeddings, WIDTH), VLJ_E_QUERY,
                "a text of 0 tokens");
    CHECK_FAILS(vlj_embed_tokens(s->model, (const int64_t[]){1}, 33, embeddings, WIDTH), VLJ_E_QUERY, "takes 1 to 32");
    CHECK_OK(vlj_embed_tokens(s->model, (const int64_t[]){1, 2}, 2, embeddings, WIDTH));
    CHECK_NEAR(embeddings[0], cos(0.3), 1e-6);
}

static void *predict_many(void *setup_) {
    const setup *s = setup_;
    float visual[VISUAL_FLOATS], embeddings[3 * WIDTH];
    for (uint32_t i = 0; i < 50; i++) {
        uint32_t count = 1 + i % 3;
        CHECK_OK(vlj_encode_window(s->model, s->frames, WINDOW_BYTES, visual, VISUAL_FLOATS));
        CHECK_OK(vlj_predict(s->model, visual, VISUAL_FLOATS, s->queries, count, embeddings,
                             sizeof embeddings / sizeof(float)));
        check_embeddings(s, embeddings, count);
    }
    return NULL;
}

/* Direct calls from several threads share the model's one buffer of padded queries. */
static void test_threads(setup *s) {
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        CHECK(pthread_create(&threads[i], NULL, predict_many, s) == 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
}

static float poison;

static vlj_status run_poisoned(void *user_data, vlj_component component, const vlj_tensor *inputs, uint32_t input_count,
                               vlj_tensor *outputs, uint32_t output_count, char *message, size_t message_bytes) {
    (void)user_data, (void)component, (void)inputs, (void)input_count, (void)output_count, (void)message,
        (void)message_bytes;
    ((float *)outputs[0].data)[3] = poison;
    return VLJ_OK;
}

static void test_not_finite(void) {
    setup s;
    memset(&s, 0, sizeof s);
    bundle_fixture_defaults(&s.bundle);
    bundle_fixture_write(&s.bundle);
    vlj_engine_callbacks callbacks;
    VLJ_INIT(callbacks);
    callbacks.run = run_poisoned;
    vlj_model_options options;
    VLJ_INIT(options);
    options.header_version = VLJ_HEADER_VERSION;
    options.backend = "callback";
    options.callbacks = &callbacks;
    CHECK_OK(vlj_model_open(s.bundle.path, &options, &s.model));
    VLJ_INIT(s.queries[0]);
    CHECK_OK(vlj_model_query_at(s.model, 0, &s.queries[0]));
    float embedding[WIDTH] = {0};
    for (int i = 0; i < 3; i++) {
        poison = i == 0 ? NAN : i == 1 ? INFINITY : -INFINITY;
        CHECK_FAILS(vlj_predict(s.model, s.visual, VISUAL_FLOATS, s.queries, 1, embedding, WIDTH), VLJ_E_BACKEND_RUN,
                    "predictor gave an embedding with NaN or infinity");
    }
    poison = 3e38f;
    CHECK_OK(vlj_predict(s.model, s.visual, VISUAL_FLOATS, s.queries, 1, embedding, WIDTH));
    end(&s);
}

int main(void) {
    setup *s = calloc(1, sizeof *s);
    CHECK(s != NULL);
    begin(s);
    test_workspace(s);
    test_direct(s);
    test_threads(s);
    end(s);
    free(s);
    test_not_finite();
    return 0;
}
