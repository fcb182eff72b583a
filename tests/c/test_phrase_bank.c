/* Nearest phrases: order, ties, k, all three dtypes, unnormalised embeddings and refusals, on a fixture bundle. */
#include <math.h>

#include "check.h"
#include "fixture_engines.h"
#include "phrase_bank.h"

enum { E = 8, PHRASES = 21 };

static void open_fixture(bundle_fixture *bundle, fixture_engines *engines, vlj_dtype dtype, vlj_model **model) {
    bundle_fixture_defaults(bundle);
    bundle->phrase_count = PHRASES;
    bundle->phrases_int8 = dtype == VLJ_INT8;
    bundle->embedding_dtype = dtype == VLJ_INT8 ? VLJ_FLOAT32 : dtype;
    bundle_fixture_write(bundle);
    fixture_engines_init(engines, bundle);
    vlj_model_options options;
    VLJ_INIT(options);
    options.header_version = VLJ_HEADER_VERSION;
    options.backend = "callback";
    options.callbacks = &engines->callbacks;
    CHECK_OK(vlj_model_open(bundle->path, &options, model));
}

static double exact_cosine(const bundle_fixture *bundle, uint32_t phrase, const float *embedding) {
    double dot = 0, square = 0, row = 0;
    for (uint32_t i = 0; i < E; i++) {
        double value = (double)bundle_fixture_phrase_value(bundle, phrase, i);
        dot += value * (double)embedding[i];
        square += (double)embedding[i] * (double)embedding[i];
        row += value * value;
    }
    return dot / sqrt(square * row);
}

static void test_dtype(vlj_dtype dtype, double tolerance) {
    bundle_fixture bundle;
    fixture_engines engines;
    vlj_model *model;
    open_fixture(&bundle, &engines, dtype, &model);
    for (int trial = 0; trial < 50; trial++) {
        /* Not halfway between two phrases, where rounding decides; any length; off the half circle too. */
        double theta = 3.14159265 * (trial % 20 + 0.3) / 20;
        float embedding[E] = {(float)(2.5 * cos(theta)), (float)(2.5 * sin(theta)), 0, 0, 0.1f * (float)(trial % 7)};
        for (uint32_t k = 1; k <= PHRASES; k++) {
            uint32_t indices[PHRASES + 1];
            float cosines[PHRASES + 1];
            indices[k] = 12345; /* beyond what was asked for */
            CHECK_OK(vlj_nearest_phrases(model, 0, embedding, E, k, indices, cosines));
            CHECK_EQ(indices[k], 12345);
            int seen[PHRASES] = {0};
            for (uint32_t i = 0; i < k; i++) {
                CHECK(indices[i] < PHRASES && !seen[indices[i]]++);
                CHECK_NEAR(cosines[i], exact_cosine(&bundle, indices[i], embedding), tolerance);
                CHECK(i == 0 || cosines[i] <= cosines[i - 1]);
            }
            CHECK_EQ(indices[0], trial % 20);
            for (uint32_t phrase = 0; phrase < PHRASES; phrase++) { /* nothing better was left out */
                CHECK(seen[phrase] || exact_cosine(&bundle, phrase, embedding) <= (double)cosines[k - 1] + tolerance);
            }
        }
    }
    vlj_model_close(model);
    bundle_fixture_remove(&bundle);
}

static void test_texts_and_refusals(void) {
    bundle_fixture bundle;
    fixture_engines engines;
    vlj_model *model;
    open_fixture(&bundle, &engines, VLJ_FLOAT32, &model);
    const char *text;
    CHECK_OK(vlj_phrase_text(model, 0, 20, &text));
    CHECK(strcmp(text, "phrase 20") == 0);
    CHECK_FAILS(vlj_phrase_text(model, 0, 21, &text), VLJ_E_ARGUMENT, "phrase 21");
    CHECK_FAILS(vlj_phrase_text(model, 1, 0, &text), VLJ_E_ARGUMENT, "the bundle has 1");

    float embedding[E] = {0, 0, 1}, cosines[PHRASES];
    uint32_t indices[PHRASES];
    CHECK_OK(vlj_nearest_phrases(model, 0, embedding, E, 3, indices, cosines)); /* as far from all: the first ones */
    CHECK(indices[0] == 0 && indices[1] == 1 && indices[2] == 2);
    CHECK_FAILS(vlj_nearest_phrases(model, 1, embedding, E, 1, indices, cosines), VLJ_E_ARGUMENT, "phrase bank 1");
    CHECK_FAILS(vlj_nearest_phrases(model, 0, embedding, E, 0, indices, cosines), VLJ_E_ARGUMENT, "k is 0");
    CHECK_FAILS(vlj_nearest_phrases(model, 0, embedding, E, PHRASES + 1, indices, cosines), VLJ_E_ARGUMENT, "k is 22");
    CHECK_FAILS(vlj_nearest_phrases(model, 0, embedding, E - 1, 1, indices, cosines), VLJ_E_ARGUMENT, "7 floats");
    embedding[2] = 0;
    CHECK_FAILS(vlj_nearest_phrases(model, 0, embedding, E, 1, indices, cosines), VLJ_E_ARGUMENT, "length 0");
    embedding[2] = NAN;
    CHECK_FAILS(vlj_nearest_phrases(model, 0, embedding, E, 1, indices, cosines), VLJ_E_ARGUMENT, "length");
    CHECK_FAILS(vlj_nearest_phrases(model, 0, NULL, E, 1, indices, cosines), VLJ_E_ARGUMENT, "embedding is NULL");

    /* A damaged row: last, and the others in order. */
    static float rows[3][2] = {{NAN, 0}, {0, 1}, {1, 0}};
    vlj_phrase_bank bank = {.embeddings = {.rows = 3, .width = 2, .dtype = VLJ_FLOAT32, .data = rows}};
    float right[2] = {1, 0};
    CHECK_OK(vlj_phrase_bank_nearest(&bank, right, 3, indices, cosines));
    CHECK(indices[0] == 2 && indices[1] == 1 && indices[2] == 0);
    vlj_model_close(model);
    bundle_fixture_remove(&bundle);
}

int main(void) {
    test_dtype(VLJ_FLOAT32, 1e-5);
    test_dtype(VLJ_FLOAT16, 2e-3);
    test_dtype(VLJ_INT8, 1e-2);
    test_texts_and_refusals();
    return 0;
}
