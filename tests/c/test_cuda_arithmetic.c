/* The GPU kernels' arithmetic, executed on the CPU: blocks as loops over their threads, phase by phase, in a changing
 * order of blocks; pooling against double, NV12 against the CPU's own bytes. */
#include <math.h>

#include "check.h"
#include "cuda/nv12_pixel.h"
#include "cuda/pool_block.h"
#include "preprocess.h"

static uint32_t seed = 1;

static uint32_t pick(uint32_t limit) {
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % limit;
}

static float *make(size_t count) { /* to the element, for AddressSanitizer */
    float *values = malloc(count * sizeof *values);
    for (size_t i = 0; i < count; i++) {
        values[i] = (float)pick(1 << 20) / (float)(1 << 19) - 1.0f;
    }
    return values;
}

#define EACH_THREAD(call)                                                                                              \
    for (uint32_t thread = 0; thread < VLJ_POOL_THREADS; thread++) {                                                   \
        call;                                                                                                          \
    }

static void run_project_block(const vlj_pool_arguments *a, uint32_t tile, uint32_t batch, vlj_pool_shared *s) {
    const uint32_t tiles = vlj_pool_tiles(a->embedding);
    EACH_THREAD(vlj_pool_project_mean(a, batch, thread, s));
    EACH_THREAD(vlj_pool_project_rows(a, tile, thread, s));
    EACH_THREAD(vlj_pool_project_store(a, tile, batch, thread, s));
    for (uint32_t half = VLJ_POOL_TILE / 2; half > 0; half /= 2) {
        EACH_THREAD(vlj_pool_reduce(half, thread, s));
    }
    a->squares[(size_t)batch * tiles + tile] = s->square[0];
    if (a->ticket[batch]++ == tiles - 1) {
        EACH_THREAD(vlj_pool_unit(a, batch, thread));
        a->ticket[batch] = 0;
    }
}

static void check_pool(uint32_t batches, uint32_t tokens, uint32_t width, uint32_t embedding, uint32_t splits) {
    const uint32_t tiles = vlj_pool_tiles(embedding);
    float *hidden = make((size_t)batches * tokens * width), *mask = make((size_t)batches * tokens);
    float *weight = make((size_t)width * embedding), *bias = make(embedding);
    unsigned *ticket = calloc(batches, sizeof *ticket);
    vlj_pool_shared *s = malloc(sizeof *s);
    for (uint32_t b = 0; b < batches; b++) {
        uint32_t real = 1 + pick(tokens);
        for (uint32_t i = 0; i < tokens; i++) {
            mask[b * tokens + i] = i < real ? 1.0f : 0.0f;
        }
    }
    const vlj_pool_arguments a = {
        .hidden = hidden,
        .mask = mask,
        .weight = weight,
        .bias = bias,
        .sums = make((size_t)batches * splits * width),
        .counts = make((size_t)batches * splits),
        .squares = make((size_t)batches * tiles),
        .out = make((size_t)batches * embedding),
        .ticket = ticket,
        .tokens = tokens,
        .width = width,
        .embedding = embedding,
        .splits = splits,
    };
    for (uint32_t b = 0; b < batches; b++) {
        for (uint32_t split = splits; split-- > 0;) { /* the order of blocks is anybody's */
            for (uint32_t tile = 0; tile < vlj_pool_tiles(width); tile++) {
                memset(s, 0xFF, sizeof *s); /* NaN: what a phase doesn't write must not be read */
                EACH_THREAD(vlj_pool_partial_rows(&a, tile, split, b, thread, s));
                EACH_THREAD(vlj_pool_partial_store(&a, tile, split, b, thread, s));
            }
        }
        for (uint32_t tile = tiles; tile-- > 0;) {
            memset(s, 0xFF, sizeof *s);
            run_project_block(&a, tile, b, s);
        }
        CHECK_EQ(ticket[b], 0);
        double *mean = calloc(width, sizeof *mean), *expected = calloc(embedding, sizeof *expected);
        double count = 0, square = 0;
        for (uint32_t i = 0; i < tokens; i++) {
            count += (double)mask[b * tokens + i];
            for (uint32_t j = 0; j < width; j++) {
                size_t at = ((size_t)b * tokens + i) * width + j;
                mean[j] += (double)mask[b * tokens + i] * (double)hidden[at];
            }
        }
        for (uint32_t e = 0; e < embedding; e++) {
            expected[e] = (double)bias[e];
            for (uint32_t j = 0; j < width; j++) {
                expected[e] += mean[j] / count * (double)weight[(size_t)j * embedding + e];
            }
            square += expected[e] * expected[e];
        }
        for (uint32_t e = 0; e < embedding; e++) {
            CHECK_NEAR(a.out[(size_t)b * embedding + e], expected[e] / sqrt(square), 3e-6);
        }
        free(mean), free(expected);
    }
    free(hidden), free(mask), free(weight), free(bias), free(ticket), free(s);
    free(a.sums), free(a.counts), free(a.squares), free(a.out);
}

/* Through the tables that the CPU's preprocessor makes, for a picture whose window is its whole. */
static void check_nv12(uint32_t width, uint32_t height, uint32_t side) {
    const uint32_t chroma_width = (width + 1) / 2, chroma_height = (height + 1) / 2;
    const uint32_t resized_w = width > height ? (uint32_t)((uint64_t)side * width / height) : side;
    const uint32_t resized_h = width > height ? side : (uint32_t)((uint64_t)side * height / width);
    size_t plane = (size_t)resized_w * resized_h;
    uint8_t *luma = malloc((size_t)width * height), *chroma = malloc((size_t)chroma_width * chroma_height * 2);
    uint8_t *expected = malloc(3 * plane), *found = malloc(3 * plane);
    for (size_t i = 0; i < (size_t)width * height; i++) {
        luma[i] = (uint8_t)pick(256);
    }
    for (size_t i = 0; i < (size_t)chroma_width * chroma_height * 2; i++) {
        chroma[i] = (uint8_t)pick(256);
    }
    vlj_frame frame;
    VLJ_INIT(frame);
    frame.format = VLJ_NV12;
    frame.yuv = VLJ_BT709;
    frame.width = width;
    frame.height = height;
    frame.planes[0] = luma;
    frame.planes[1] = chroma;
    CHECK_OK(vlj_prepare_frame(&frame, side, resized_h, resized_w, expected, 3 * plane));
    vlj_nv12_arguments a = {.luma = luma,
                            .chroma = chroma,
                            .luma_stride = width,
                            .chroma_stride = 2 * (uint64_t)chroma_width,
                            .matrix = *vlj_yuv_matrix_of(VLJ_BT709),
                            .planar = found};
    double scale_x = (double)width / resized_w, scale_y = (double)height / resized_h;
    void *tables[4];
    for (int i = 0; i < 4; i++) {
        tables[i] = aligned_alloc(64, vlj_resize_axis_bytes(i % 2 ? resized_w : resized_h, i % 2 ? scale_x : scale_y));
    }
    vlj_resize_axis_init(&a.rows, tables[0], height, resized_h, 0, resized_h, VLJ_RESIZE_MAX_SHIFT_ROWS);
    vlj_resize_axis_init(&a.columns, tables[1], width, resized_w, 0, resized_w, VLJ_RESIZE_MAX_SHIFT_COLUMNS);
    vlj_resize_axis_init_chroma(&a.chroma_rows, tables[2], height, resized_h, 0, resized_h, VLJ_RESIZE_MAX_SHIFT_ROWS);
    vlj_resize_axis_init_chroma(&a.chroma_columns, tables[3], width, resized_w, 0, resized_w,
                                VLJ_RESIZE_MAX_SHIFT_COLUMNS);
    for (uint32_t y = 0; y < resized_h; y++) {
        for (uint32_t x = 0; x < resized_w; x++) {
            vlj_nv12_pixel(&a, y, x);
        }
    }
    CHECK(memcmp(found, expected, 3 * plane) == 0);
    free(luma), free(chroma), free(expected), free(found);
    for (int i = 0; i < 4; i++) {
        free(tables[i]);
    }
}

int main(void) {
    check_pool(1, 1, 4, 4, 1);
    check_pool(2, 37, 132, 260, 4);
    check_pool(3, 5, 64, 128, 7); /* more splits than some have tokens */
    check_pool(1, 300, 2048, 1536, 8);
    for (uint32_t i = 0; i < 25; i++) {
        check_pool(1 + pick(2), 1 + pick(60), 4 * (1 + pick(50)), 4 * (1 + pick(70)), 1 + pick(6));
        check_nv12(1 + pick(160), 1 + pick(120), 16 + pick(40));
    }
    return 0;
}
