/* nearest.c: exact search over float, half and INT8 rows, and INT8 rows themselves. */
#include "nearest.h"

#include <math.h>

enum { MOST_STEPS = 8191 }; /* of a quantised query, up to 2,048 values: 128 * 8191 * 2048 < 2^31 */

/* The best so far, best first. Few rows get in once these are good, so moving them one by one costs next to nothing. */
typedef struct best {
    uint32_t k, found, *indices;
    float *cosines;
} best;

static inline void offer(best *b, size_t index, float cosine) {
    if (isnan(cosine)) {
        cosine = -INFINITY; /* a damaged row comes last, and leaves the order whole */
    }
    if (b->found == b->k && !(cosine > b->cosines[b->k - 1])) {
        return;
    }
    uint32_t place = b->found < b->k ? b->found++ : b->k - 1;
    for (; place > 0 && cosine > b->cosines[place - 1]; place--) {
        b->cosines[place] = b->cosines[place - 1];
        b->indices[place] = b->indices[place - 1];
    }
    b->cosines[place] = cosine;
    b->indices[place] = (uint32_t)index;
}

/* The query as integers, and what one step of them is worth. */
static float quantise_query(const float *query, size_t width, int16_t *steps_of) {
    size_t most = (size_t)INT32_MAX / (128u * width);
    float steps = (float)(most < MOST_STEPS ? most : MOST_STEPS), largest = 0.0f;
    for (size_t i = 0; i < width; i++) {
        largest = fmaxf(largest, fabsf(query[i]));
    }
    float factor = largest > 0.0f ? steps / largest : 0.0f;
    for (size_t i = 0; i < width; i++) {
        steps_of[i] = (int16_t)lrintf(query[i] * factor);
    }
    return largest / steps;
}

static void nearest_int8(const vlj_dot_kernels *kernels, const vlj_bank *bank, const float *query, float scale,
                         best *b) {
    int16_t steps_of[VLJ_NEAREST_MOST_INT8_WIDTH];
    const int8_t *row = bank->rows;
    float step = scale * quantise_query(query, bank->width, steps_of);
    for (size_t i = 0; i < bank->count; i++, row += bank->width) {
        float row_scale = bank->scales != NULL ? bank->scales[i] : 1.0f / 127.0f;
        offer(b, i, step * row_scale * (float)kernels->dot_int8(row, steps_of, bank->width));
    }
}

void vlj_nearest(const vlj_dot_kernels *kernels, const vlj_bank *bank, const float *query, float scale, uint32_t k,
                 uint32_t *indices, float *cosines) {
    best b = {k, 0, indices, cosines};
    const float *row = bank->rows;
    const uint16_t *half = bank->rows;
    switch (bank->type) {
    case VLJ_ROWS_FLOAT:
        for (size_t i = 0; i < bank->count; i++, row += bank->width) {
            offer(&b, i, scale * kernels->dot(row, query, bank->width));
        }
        return;
    case VLJ_ROWS_HALF:
        for (size_t i = 0; i < bank->count; i++, half += bank->width) {
            offer(&b, i, scale * kernels->dot_half(half, query, bank->width));
        }
        return;
    case VLJ_ROWS_INT8: nearest_int8(kernels, bank, query, scale, &b); return;
    }
}

float vlj_quantise_row(const float *row, size_t width, int8_t *values) {
    float largest = 0.0f;
    double square = 0.0;
    for (size_t i = 0; i < width; i++) {
        largest = fmaxf(largest, fabsf(row[i]));
    }
    for (size_t i = 0; i < width; i++) { /* divided first: 127 / a tiny number would be infinite */
        values[i] = (int8_t)(largest > 0.0f ? lrintf(row[i] / largest * 127.0f) : 0);
        square += (double)values[i] * (double)values[i];
    }
    return square > 0.0 ? (float)(1.0 / sqrt(square)) : 0.0f;
}
