/* The deterministic "callback" engines of fixture_engines.h. */
#define _GNU_SOURCE 1 /* strict C11 hides POSIX */
#include "fixture_engines.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static float *floats(const vlj_tensor *tensor) {
    return tensor->data;
}

/* visual_tokens[n][d] = mean grey of the n-th part of the window's bytes */
static void run_x_encoder(const vlj_tensor *frames, vlj_tensor *tokens) {
    const uint8_t *bytes = frames->data;
    size_t count = (size_t)tokens->shape[1], width = (size_t)tokens->shape[2], part = frames->size_bytes / count;
    for (size_t n = 0; n < count; n++) {
        uint64_t sum = 0;
        for (size_t i = 0; i < part; i++) {
            sum += bytes[n * part + i];
        }
        for (size_t d = 0; d < width; d++) {
            floats(tokens)[n * width + d] = (float)sum / (float)part / 255.0f;
        }
    }
}

static void run_predictor(const vlj_tensor *in, vlj_tensor *out) {
    size_t tokens = (size_t)(in[0].shape[1] * in[0].shape[2]);
    size_t queries = (size_t)in[1].shape[0], length = (size_t)in[1].shape[1], width = (size_t)in[1].shape[2];
    size_t embedding = (size_t)out->shape[1];
    double grey = 0;
    for (size_t i = 0; i < tokens; i++) {
        grey += floats(&in[0])[i];
    }
    grey /= (double)tokens;
    memset(out->data, 0, out->size_bytes);
    for (size_t q = 0; q < queries; q++) {
        double theta = 3.14159265358979 * grey;
        for (size_t l = 0; l < length; l++) {
            theta += 0.001 * (double)(floats(&in[2])[q * length + l] * floats(&in[1])[(q * length + l) * width]);
        }
        floats(out)[q * embedding] = (float)cos(theta);
        floats(out)[q * embedding + 1] = (float)sin(theta);
    }
}

static void run_y_encoder(const vlj_tensor *in, vlj_tensor *out) {
    const int64_t *ids = in->data;
    double theta = 0;
    for (int64_t i = 0; i < in->shape[1]; i++) {
        theta += 0.1 * (double)ids[i];
    }
    memset(out->data, 0, out->size_bytes);
    floats(out)[0] = (float)cos(theta);
    floats(out)[1] = (float)sin(theta);
}

static void run_prefix(const vlj_tensor *in, vlj_tensor *out) {
    size_t count = out->size_bytes / sizeof(float), width = (size_t)in->shape[1];
    for (size_t i = 0; i < count; i++) {
        floats(out)[i] = floats(in)[i % width];
    }
}

/* kv_new[p][g][i][h] = input[i][h]; the text depends on what column 0 (of the soft prefix) holds, read through the
 * cache. */
static void run_y_decoder(const fixture_engines *engines, const vlj_tensor *in, vlj_tensor *out) {
    const bundle_fixture *b = engines->bundle;
    size_t tokens = (size_t)in[0].shape[1], width = (size_t)in[0].shape[2], head = (size_t)out[1].shape[3];
    size_t planes = (size_t)(out[1].shape[0] * out[1].shape[1]), vocabulary = (size_t)out[0].shape[1];
    for (size_t p = 0; p < planes; p++) {
        for (size_t i = 0; i < tokens; i++) {
            for (size_t h = 0; h < head; h++) {
                floats(&out[1])[(p * tokens + i) * head + h] = floats(&in[0])[i * width + h % width];
            }
        }
    }
    int64_t position = ((const int64_t *)in[1].data)[tokens - 1];
    float first = position == (int64_t)tokens - 1 ? floats(&in[0])[0] : floats(&in[3])[0];
    int64_t step = position - (int64_t)b->prefix_tokens; /* 0: the begin token */
    int64_t token = 5 + ((int64_t)floorf((first + 1.0f) * 8.0f) + step) % ((int64_t)vocabulary - 5);
    if (step >= (int64_t)engines->text_tokens) {
        token = b->end_token;
    }
    for (size_t v = 0; v < vocabulary; v++) {
        floats(&out[0])[v] = (int64_t)v == token ? 4.0f : 0.0f;
    }
}

static vlj_status run(void *user_data, vlj_component component, const vlj_tensor *inputs, uint32_t input_count,
                      vlj_tensor *outputs, uint32_t output_count, char *message, size_t message_bytes) {
    fixture_engines *engines = user_data;
    (void)input_count, (void)output_count;
    atomic_fetch_add(&engines->runs[component], 1);
    long long delay = atomic_load(&engines->delay_ns[component]);
    if (delay > 0) {
        nanosleep(&(struct timespec){.tv_sec = delay / 1000000000, .tv_nsec = delay % 1000000000}, NULL);
    }
    int left = atomic_load(&engines->fail_after[component]);
    if (left == 0) {
        snprintf(message, message_bytes, "fixture failure of component %d", (int)component);
        return VLJ_E_BACKEND_RUN;
    }
    if (left > 0) {
        atomic_store(&engines->fail_after[component], left - 1);
    }
    switch (component) {
    case VLJ_X_ENCODER: run_x_encoder(inputs, outputs); break;
    case VLJ_PREDICTOR: run_predictor(inputs, outputs); break;
    case VLJ_Y_ENCODER: run_y_encoder(inputs, outputs); break;
    case VLJ_Y_DECODER_PREFIX: run_prefix(inputs, outputs); break;
    default: run_y_decoder(engines, inputs, outputs); break;
    }
    return VLJ_OK;
}

void fixture_engines_init(fixture_engines *engines, const bundle_fixture *bundle) {
    memset(engines, 0, sizeof *engines);
    engines->bundle = bundle;
    engines->text_tokens = 4;
    for (int i = 0; i < VLJ_COMPONENT_COUNT; i++) {
        atomic_store(&engines->fail_after[i], -1);
    }
    VLJ_INIT(engines->callbacks);
    engines->callbacks.user_data = engines;
    engines->callbacks.run = run;
}
