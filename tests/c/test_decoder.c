/* The decoder's mechanics over a scripted engine that checks every input: positions, mask, KV cache, token embeddings;
 * then ends, limits, cancels, UTF-8 and allocations. */
#include <math.h>

#include "bundle_fixture.h"
#include "check.h"
#include "decoder.h"
#include "model.h"

/* The fixture's tokens 3 and 4 are the bytes C3 and A9 of one letter; others are " word<id>"; 0, 1 and 2 are empty. */
enum { BEGIN = 1, END = 2, LETTER_START = 3, LETTER_END = 4, MOST_RUNS = 64 };

typedef struct script {
    const bundle_fixture *bundle;
    const uint32_t *tokens; /* what the logits favour, run by run */
    uint32_t runs;          /* of the Y-Decoder in this text */
    uint32_t prefix_runs;
    uint32_t past;
    uint32_t fed; /* token whose embedding the next run must get */
    float embedding_first;
    uint32_t cancel_at; /* before this run's logits are given, the generation moves on; 0: never */
    uint32_t fail_at;
    int nan_logits;
    atomic_uint generation;
} script;

static float kv_value(size_t plane_head, int64_t position, size_t dimension) {
    return (float)(plane_head * 100 + (size_t)position) + (float)dimension / 16.0f;
}

static void check_prompt(const script *s, const float *inputs, uint32_t width, uint32_t prefix) {
    for (uint32_t i = 0; i < prefix * width; i++) {
        CHECK_EQ(inputs[i], (float)(i + 1) * s->embedding_first);
    }
    for (uint32_t column = 0; column < width; column++) {
        CHECK_NEAR(inputs[prefix * width + column], bundle_fixture_table_value(BEGIN, column), 1e-6);
    }
}

static void check_mask(const float *mask, uint32_t n, uint32_t cache_length, uint32_t past) {
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t column = 0; column < cache_length + n; column++) {
            int visible;
            if (column < cache_length) {
                visible = column < past;
            } else { /* of the new tokens all see the soft ones, and the last sees itself too */
                visible = column - cache_length < n - 1 || i == n - 1;
            }
            float found = mask[i * (cache_length + n) + column];
            CHECK(visible ? found == 0.0f : found <= -1e8f && isfinite(found));
        }
    }
}

static void check_cache(const bundle_fixture *b, const float *cache, uint32_t past) {
    size_t heads = (size_t)b->decoder_planes * b->decoder_kv_heads;
    for (size_t head = 0; head < heads; head++) {
        for (uint32_t column = 0; column < b->decoder_cache_length; column++) {
            for (uint32_t d = 0; d < b->decoder_head_dim; d++) {
                float expected = column < past ? kv_value(head, column, d) : 0.0f;
                CHECK_EQ(16 * cache[(head * b->decoder_cache_length + column) * b->decoder_head_dim + d],
                         16 * expected);
            }
        }
    }
}

static vlj_status run(void *user_data, vlj_component component, const vlj_tensor *in, uint32_t input_count,
                      vlj_tensor *out, uint32_t output_count, char *message, size_t message_bytes) {
    script *s = user_data;
    const bundle_fixture *b = s->bundle;
    if (component == VLJ_Y_DECODER_PREFIX) {
        CHECK(input_count == 1 && output_count == 1);
        CHECK(in[0].rank == 2 && in[0].shape[0] == 1 && in[0].shape[1] == b->embedding_width);
        CHECK(out[0].rank == 3 && out[0].shape[1] == b->prefix_tokens && out[0].shape[2] == b->decoder_width);
        s->embedding_first = *(const float *)in[0].data;
        for (uint32_t i = 0; i < b->prefix_tokens * b->decoder_width; i++) {
            ((float *)out[0].data)[i] = (float)(i + 1) * s->embedding_first;
        }
        s->prefix_runs++;
        s->past = 0;
        return VLJ_OK;
    }
    CHECK_EQ(component, VLJ_Y_DECODER);
    CHECK(input_count == 4 && output_count == 2);
    uint32_t n = s->runs == 0 ? b->prefix_tokens + 1 : 1, width = b->decoder_width;
    CHECK_EQ(in[0].shape[1], n);
    CHECK_EQ(in[1].shape[0], n);
    CHECK(in[2].shape[0] == n && in[2].shape[1] == b->decoder_cache_length + n);
    CHECK(in[3].shape[0] == b->decoder_planes && in[3].shape[2] == b->decoder_cache_length);
    CHECK(out[1].shape[2] == n && out[0].shape[1] == b->vocabulary);
    if (s->runs == 0) {
        check_prompt(s, in[0].data, width, b->prefix_tokens);
    } else {
        for (uint32_t column = 0; column < width; column++) {
            CHECK_NEAR(((const float *)in[0].data)[column], bundle_fixture_table_value(s->fed, column), 1e-6);
        }
    }
    for (uint32_t i = 0; i < n; i++) {
        CHECK_EQ(((const int64_t *)in[1].data)[i], s->past + i);
    }
    check_mask(in[2].data, n, b->decoder_cache_length, s->past);
    check_cache(b, in[3].data, s->past);
    size_t heads = (size_t)b->decoder_planes * b->decoder_kv_heads;
    for (size_t i = 0; i < heads * n * b->decoder_head_dim; i++) {
        size_t d = i % b->decoder_head_dim, token = i / b->decoder_head_dim % n, head = i / b->decoder_head_dim / n;
        ((float *)out[1].data)[i] = kv_value(head, s->past + (int64_t)token, d);
    }
    s->past += n;
    s->fed = s->tokens[s->runs];
    for (uint32_t v = 0; v < b->vocabulary; v++) {
        ((float *)out[0].data)[v] = s->nan_logits ? NAN : v == s->fed ? 3.0f : -1.0f;
    }
    s->runs++;
    if (s->runs == s->cancel_at) {
        atomic_fetch_add(&s->generation, 1);
    }
    if (s->runs == s->fail_at) {
        snprintf(message, message_bytes, "no such luck");
        return VLJ_E_BACKEND_RUN;
    }
    return VLJ_OK;
}

typedef struct fixture {
    bundle_fixture bundle;
    script script;
    vlj_model *model;
    vlj_host host;
    vlj_decoder *decoder;
} fixture;

static void fixture_open(fixture *f, vlj_dtype dtype) {
    memset(f, 0, sizeof *f);
    bundle_fixture_defaults(&f->bundle);
    f->bundle.decoder_planes = 4;
    f->bundle.decoder_kv_heads = 3;
    f->bundle.prefix_tokens = 3;
    f->bundle.max_new_tokens = 6;
    f->bundle.decoder_cache_length = 9; /* just enough: prefix + new tokens */
    f->bundle.embedding_dtype = dtype;
    bundle_fixture_write(&f->bundle);
    f->script.bundle = &f->bundle;
    vlj_engine_callbacks callbacks;
    VLJ_INIT(callbacks);
    callbacks.user_data = &f->script;
    callbacks.run = run;
    vlj_model_options options;
    VLJ_INIT(options);
    options.header_version = VLJ_HEADER_VERSION;
    options.backend = "callback";
    options.callbacks = &callbacks;
    CHECK_OK(vlj_model_open(f->bundle.path, &options, &f->model));
    CHECK_OK(vlj_host_init(&f->host, NULL));
    CHECK_OK(vlj_decoder_open(f->model, &f->host, &f->decoder));
    CHECK_EQ(vlj_host_allocations(&f->host), 1);
    CHECK_EQ(vlj_host_bytes(&f->host), vlj_decoder_bytes(f->model));
}

static void fixture_close(fixture *f) {
    CHECK_EQ(vlj_host_allocations(&f->host), 1); /* no text allocated anything */
    vlj_decoder_close(f->decoder);
    CHECK_EQ(vlj_host_bytes(&f->host), 0);
    vlj_model_close(f->model);
    bundle_fixture_remove(&f->bundle);
}

static vlj_status decode(fixture *f, const uint32_t *tokens, char *text, size_t text_bytes, vlj_decode_result *result) {
    static float embedding[8] = {1.0f};
    embedding[0] = embedding[0] == 1.0f ? 2.0f : 1.0f; /* each text is of another embedding */
    f->script.tokens = tokens;
    f->script.runs = f->script.prefix_runs = 0;
    unsigned expected = atomic_load(&f->script.generation);
    VLJ_INIT(*result);
    return vlj_decoder_run(f->decoder, embedding, &f->script.generation, expected, text, text_bytes, result);
}

static void test_text(fixture *f) {
    static const uint32_t tokens[] = {7, 8, LETTER_START, LETTER_END, END};
    vlj_decode_result result;
    char text[64];
    for (int i = 0; i < 3; i++) { /* again and again: the cache starts empty each time */
        CHECK_OK(decode(f, tokens, text, sizeof text, &result));
        CHECK(strcmp(text, " word7 word8\xC3\xA9") == 0);
        CHECK_EQ(result.token_count, 4);
        CHECK_EQ(result.complete, 1);
        CHECK_EQ(f->script.runs, 5);
        CHECK_EQ(f->script.prefix_runs, 1);
        CHECK_NEAR(result.mean_logprob, -log(1 + 39 * exp(-4)), 1e-6);
        CHECK(result.prefill_ns >= 0 && result.tokens_ns >= 0);
    }
    static const uint32_t nothing[] = {END};
    CHECK_OK(decode(f, nothing, text, sizeof text, &result));
    CHECK(text[0] == '\0' && result.token_count == 0 && result.complete == 1);
}

static void test_limits(fixture *f) {
    static const uint32_t endless[] = {9, 9, 9, 9, 9, 9, 9, 9};
    vlj_decode_result result;
    char text[64];
    CHECK_OK(decode(f, endless, text, sizeof text, &result));
    CHECK_EQ(result.token_count, 6); /* max_new_tokens: and the cache of 9 columns sufficed */
    CHECK_EQ(result.complete, 0);
    CHECK_EQ(f->script.runs, 6);
    CHECK(strcmp(text, " word9 word9 word9 word9 word9 word9") == 0);

    for (size_t room = 1; room < 20; room++) {
        char *small = malloc(room); /* to the byte, for AddressSanitizer */
        CHECK_OK(decode(f, endless, small, room, &result));
        CHECK_EQ(strlen(small), room - 1);
        CHECK(strncmp(" word9 word9 word9 word9", small, room - 1) == 0);
        CHECK_EQ(result.token_count, (room - 1) / 6);
        CHECK_EQ(result.complete, 0);
        free(small);
    }
    CHECK_FAILS(decode(f, endless, text, 0, &result), VLJ_E_BUFFER, "no room");
}

static void test_utf8(fixture *f) {
    vlj_decode_result result;
    char text[64];
    static const uint32_t letters[] = {LETTER_START, LETTER_END, LETTER_START, LETTER_END, END};
    CHECK_OK(decode(f, letters, text, 4, &result)); /* room for one letter and a half */
    CHECK(strcmp(text, "\xC3\xA9") == 0);
    CHECK_EQ(result.complete, 0);
    static const uint32_t cut[] = {9,          9,           9, LETTER_START,
                                   LETTER_END, LETTER_START}; /* max_new_tokens within a letter */
    CHECK_OK(decode(f, cut, text, sizeof text, &result));
    CHECK(strcmp(text, " word9 word9 word9\xC3\xA9") == 0);
    static const uint32_t wrong[] = {LETTER_END, LETTER_START, 9, LETTER_START,
                                     END}; /* bytes that belong to no letter */
    CHECK_OK(decode(f, wrong, text, sizeof text, &result));
    CHECK(strcmp(text, "?? word9") == 0);
}

static void test_cancel(fixture *f) {
    static const uint32_t tokens[] = {7, 8, 9, 10, END};
    vlj_decode_result result;
    char text[64];
    for (uint32_t at = 1; at <= 4; at++) {
        f->script.cancel_at = at;
        strcpy(text, "old");
        CHECK_FAILS(decode(f, tokens, text, sizeof text, &result), VLJ_E_CANCELLED, "cancelled");
        CHECK_EQ(f->script.runs, at); /* no run after it */
        CHECK(text[0] == '\0');
    }
    f->script.cancel_at = 5; /* the end token is there: the text is whole, and told */
    CHECK_OK(decode(f, tokens, text, sizeof text, &result));
    CHECK_EQ(result.complete, 1);
    f->script.cancel_at = 0;
    f->script.runs = 0;
    CHECK_FAILS(
        vlj_decoder_run(f->decoder, (const float[8]){1}, &f->script.generation, 12345, text, sizeof text, &result),
        VLJ_E_CANCELLED, "before");
    CHECK_EQ(f->script.runs, 0);
    CHECK_OK(decode(f, tokens, text, sizeof text, &result)); /* nothing of the cancelled ones is left */
}

static void test_failures(fixture *f) {
    static const uint32_t tokens[] = {7, 8, END};
    vlj_decode_result result;
    char text[64];
    f->script.fail_at = 2;
    CHECK_FAILS(decode(f, tokens, text, sizeof text, &result), VLJ_E_BACKEND_RUN, "no such luck");
    CHECK(text[0] == '\0');
    f->script.fail_at = 0;
    f->script.nan_logits = 1;
    CHECK_FAILS(decode(f, tokens, text, sizeof text, &result), VLJ_E_BACKEND_RUN, "NaN");
    f->script.nan_logits = 0;
    CHECK_OK(decode(f, tokens, text, sizeof text, &result));
}

static void test_public(fixture *f) {
    static const uint32_t tokens[] = {11, END};
    float embedding[8] = {1};
    vlj_decode_result result;
    char text[64];
    f->script.tokens = tokens;
    uint64_t before = vlj_host_allocations(vlj_model_host(f->model));
    for (int i = 0; i < 3; i++) {
        f->script.runs = 0;
        VLJ_INIT(result);
        CHECK_OK(vlj_decode(f->model, embedding, 8, text, sizeof text, &result));
        CHECK(strcmp(text, " word11") == 0);
    }
    CHECK_EQ(vlj_host_allocations(vlj_model_host(f->model)), before + 1); /* its buffers, once */
    CHECK_FAILS(vlj_decode(f->model, embedding, 7, text, sizeof text, &result), VLJ_E_ARGUMENT, "7 floats");
    CHECK_FAILS(vlj_decode(f->model, NULL, 8, text, sizeof text, &result), VLJ_E_ARGUMENT, "embedding is NULL");
    CHECK_FAILS(vlj_decode(f->model, embedding, 8, text, sizeof text, NULL), VLJ_E_ARGUMENT, "result is NULL");
    CHECK_FAILS(vlj_decode(f->model, embedding, 8, NULL, 0, &result), VLJ_E_ARGUMENT, "text");
}

static void test_without_decoder(void) {
    bundle_fixture bundle;
    bundle_fixture_defaults(&bundle);
    bundle.prefix_tokens = 0;
    bundle_fixture_write(&bundle);
    vlj_engine_callbacks callbacks;
    VLJ_INIT(callbacks);
    callbacks.run = run;
    vlj_model_options options;
    VLJ_INIT(options);
    options.header_version = VLJ_HEADER_VERSION;
    options.backend = "callback";
    options.callbacks = &callbacks;
    vlj_model *model;
    CHECK_OK(vlj_model_open(bundle.path, &options, &model));
    CHECK_EQ(vlj_decoder_bytes(model), 0);
    float embedding[8] = {1};
    vlj_decode_result result;
    char text[8];
    VLJ_INIT(result);
    CHECK_FAILS(vlj_decode(model, embedding, 8, text, sizeof text, &result), VLJ_E_BUNDLE_MISSING, "Y-Decoder");
    vlj_model_close(model);
    bundle_fixture_remove(&bundle);
}

int main(void) {
    static const vlj_dtype dtypes[] = {VLJ_FLOAT32, VLJ_FLOAT16};
    for (int i = 0; i < 2; i++) {
        fixture f;
        fixture_open(&f, dtypes[i]);
        test_text(&f);
        test_limits(&f);
        test_utf8(&f);
        test_cancel(&f);
        test_failures(&f);
        test_public(&f);
        fixture_close(&f);
    }
    test_without_decoder();
    return 0;
}
