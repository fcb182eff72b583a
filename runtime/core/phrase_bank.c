/* phrase_bank.c: nearest phrases of an embedding, over banks of floats, halves or INT8. */
#include "phrase_bank.h"

#include <math.h>

#include "error.h"
#include "model.h"
#include "nearest.h"

vlj_status vlj_phrase_bank_open(const vlj_model *model, uint32_t bank, vlj_phrase_bank *opened) {
    const vlj_index *index = vlj_model_index(model);
    vlj_section section;
    if (!vlj_index_nth(index, VLJ_SECTION_PHRASE_BANK, bank, &section)) {
        uint32_t count = 0;
        while (vlj_index_nth(index, VLJ_SECTION_PHRASE_BANK, count, &section)) {
            count++;
        }
        return vlj_fail(VLJ_E_ARGUMENT, "%s: phrase bank %u was asked for, the bundle has %u", vlj_index_path(index),
                        bank, count);
    }
    vlj_status status = vlj_read_phrase_bank(index, &section, &opened->phrases, &opened->embeddings);
    uint32_t width = vlj_model_config(model)->embedding_width;
    if (status == VLJ_OK && opened->embeddings.width != width) {
        return vlj_fail(VLJ_E_BUNDLE_SHAPE, "%s: phrase bank \"%s\" has embeddings of width %u, expected %u",
                        vlj_index_path(index), section.name, opened->embeddings.width, width);
    }
    return status;
}

vlj_status vlj_phrase_bank_nearest(const vlj_phrase_bank *bank, const float *embedding, uint32_t k, uint32_t *indices,
                                   float *cosines) {
    const vlj_dot_kernels *kernels = vlj_dot_kernels_best();
    const vlj_matrix *rows = &bank->embeddings;
    if (k == 0 || k > rows->rows) {
        return vlj_fail(VLJ_E_ARGUMENT, "k is %u, expected 1 to %u, the phrases of the bank", k, rows->rows);
    }
    double square = kernels->square(embedding, rows->width);
    if (!isfinite(square) || square <= 0.0) {
        return vlj_fail(VLJ_E_ARGUMENT, "embedding has length %g, expected a finite one above 0", sqrt(square));
    }
    const vlj_bank searched = {.type = rows->dtype == VLJ_INT8      ? VLJ_ROWS_INT8
                                       : rows->dtype == VLJ_FLOAT16 ? VLJ_ROWS_HALF
                                                                    : VLJ_ROWS_FLOAT,
                               .rows = rows->data,
                               .scales = rows->scales,
                               .count = rows->rows,
                               .width = rows->width};
    vlj_nearest(kernels, &searched, embedding, (float)(1.0 / sqrt(square)), k, indices, cosines);
    return VLJ_OK;
}

const char *vlj_phrase_bank_text(const vlj_phrase_bank *bank, uint32_t index) {
    return bank->phrases.text + bank->phrases.offsets[index];
}

vlj_status vlj_nearest_phrases(const vlj_model *model, uint32_t bank, const float *embedding, size_t embedding_floats,
                               uint32_t k, uint32_t *indices, float *cosines) {
    if (model == NULL || embedding == NULL || indices == NULL || cosines == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "vlj_nearest_phrases: %s is NULL",
                        model == NULL       ? "model"
                        : embedding == NULL ? "embedding"
                        : indices == NULL   ? "indices"
                                            : "cosines");
    }
    uint32_t width = vlj_model_config(model)->embedding_width;
    if (embedding_floats != width) {
        return vlj_fail(VLJ_E_ARGUMENT, "embedding has %zu floats, expected %u", embedding_floats, width);
    }
    vlj_phrase_bank opened;
    vlj_status status = vlj_phrase_bank_open(model, bank, &opened);
    return status == VLJ_OK ? vlj_phrase_bank_nearest(&opened, embedding, k, indices, cosines) : status;
}

vlj_status vlj_phrase_text(const vlj_model *model, uint32_t bank, uint32_t index, const char **text) {
    if (model == NULL || text == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "vlj_phrase_text: %s is NULL", model == NULL ? "model" : "text");
    }
    vlj_phrase_bank opened;
    vlj_status status = vlj_phrase_bank_open(model, bank, &opened);
    if (status != VLJ_OK) {
        return status;
    }
    if (index >= opened.phrases.count) {
        return vlj_fail(VLJ_E_ARGUMENT, "phrase %u was asked for, bank %u has %u", index, bank, opened.phrases.count);
    }
    *text = vlj_phrase_bank_text(&opened, index);
    return VLJ_OK;
}
