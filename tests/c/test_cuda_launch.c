/* The CUDA launcher: through a stand-in driver on the CPU (cuda/cpu_driver.c), results of whole grids; without a
 * driver, and with failing ones, sentences. Where there is a GPU, the same checks run on it.
 *
 *   test_cuda_launch CPU_DRIVER [FATBIN]     FATBIN: vljepa_kernels.fatbin, for the real driver
 */
#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>

#include "check.h"
#include "cuda/launch.h"

static char why[300];

static float value(uint32_t i) {
    return (float)((i * 2654435761u) >> 8) / (float)(1u << 23) - 1.0f;
}

static uint64_t upload(vlj_cuda *cuda, const void *bytes, size_t size) {
    uint64_t device = 0;
    CHECK(vlj_cuda_allocate(cuda, size, &device, why, sizeof why) == 0);
    CHECK(vlj_cuda_to_device(cuda, device, bytes, size, why, sizeof why) == 0);
    return device;
}

static uint64_t upload_floats(vlj_cuda *cuda, float *floats, uint32_t count, uint32_t seed) {
    for (uint32_t i = 0; i < count; i++) {
        floats[i] = value(i + seed);
    }
    return upload(cuda, floats, count * sizeof *floats);
}

static void check_pool(vlj_cuda *cuda) {
    enum { B = 3, M = 41, W = 260, E = 132, SPLITS = 4 };
    static float hidden[B * M * W], mask[B * M], weight[W * E], bias[E], out[B * E], room[B * SPLITS * W];
    static unsigned ticket[B];
    for (uint32_t i = 0; i < B * M; i++) {
        mask[i] = i % M < 20 + i / M ? 1.0f : 0.0f;
    }
    uint64_t device[] = {upload_floats(cuda, hidden, B * M * W, 1), upload(cuda, mask, sizeof mask),
                         upload_floats(cuda, weight, W * E, 7),     upload_floats(cuda, bias, E, 11),
                         upload(cuda, room, sizeof room),           upload(cuda, room, B * SPLITS * sizeof(float)),
                         upload(cuda, room, B * 2 * sizeof(float)), upload(cuda, out, sizeof out),
                         upload(cuda, ticket, sizeof ticket)};
    void *at[9];
    for (int i = 0; i < 9; i++) {
        at[i] = (void *)(uintptr_t)device[i];
    }
    vlj_pool_arguments a = {.hidden = at[0],
                            .mask = at[1],
                            .weight = at[2],
                            .bias = at[3],
                            .sums = at[4],
                            .counts = at[5],
                            .squares = at[6],
                            .out = at[7],
                            .ticket = at[8],
                            .tokens = M,
                            .width = W,
                            .embedding = E,
                            .splits = SPLITS};
    for (int round = 0; round < 2; round++) { /* the ticket is ready for the next launch */
        memset(out, 0, sizeof out);
        CHECK(vlj_cuda_to_device(cuda, device[7], out, sizeof out, why, sizeof why) == 0);
        CHECK(vlj_cuda_pool(cuda, &a, B, NULL, why, sizeof why) == 0);
        CHECK(vlj_cuda_to_host(cuda, out, device[7], sizeof out, why, sizeof why) == 0);
        for (uint32_t b = 0; b < B; b++) {
            double mean[W] = {0}, row[E], square = 0;
            for (uint32_t i = 0; i < M * W; i++) {
                mean[i % W] += (double)mask[b * M + i / W] * (double)hidden[b * M * W + i] / (20.0 + b);
            }
            for (uint32_t e = 0; e < E; e++) {
                row[e] = (double)bias[e];
                for (uint32_t j = 0; j < W; j++) {
                    row[e] += mean[j] * (double)weight[j * E + e];
                }
                square += row[e] * row[e];
            }
            for (uint32_t e = 0; e < E; e++) {
                CHECK_NEAR(out[b * E + e], row[e] / sqrt(square), 3e-6);
            }
        }
    }
    a.width = 262;
    CHECK(vlj_cuda_pool(cuda, &a, B, NULL, why, sizeof why) != 0 && strstr(why, "multiples of 4") != NULL);
    a.width = 8192;
    CHECK(vlj_cuda_pool(cuda, &a, B, NULL, why, sizeof why) != 0 && strstr(why, "at most 4096") != NULL);
    for (int i = 0; i < 9; i++) {
        vlj_cuda_free(cuda, device[i]);
    }
}

/* A picture of one colour stays it, whatever the tables; which bytes others become is test_cuda_arithmetic's. */
static void check_nv12(vlj_cuda *cuda) {
    enum { WIDTH = 100, HEIGHT = 76, SIDE = 40, WIDE = 52 };
    static uint8_t luma[WIDTH * HEIGHT], chroma[WIDTH * HEIGHT / 2], planar[3 * SIDE * WIDE];
    memset(luma, 126, sizeof luma);
    memset(chroma, 128, sizeof chroma);
    vlj_resize_axis axes[4];
    void *memory[4];
    uint64_t tables[4];
    for (int i = 0; i < 4; i++) {
        uint32_t in = i % 2 ? WIDTH : HEIGHT, out = i % 2 ? WIDE : SIDE;
        size_t bytes = vlj_resize_axis_bytes(out, (double)in / out);
        memory[i] = aligned_alloc(64, bytes);
        (i < 2 ? vlj_resize_axis_init : vlj_resize_axis_init_chroma)(
            &axes[i], memory[i], in, out, 0, out, i % 2 ? VLJ_RESIZE_MAX_SHIFT_COLUMNS : VLJ_RESIZE_MAX_SHIFT_ROWS);
        tables[i] = upload(cuda, memory[i], bytes);
        axes[i].weights = (int16_t *)(uintptr_t)(tables[i] + (uint64_t)((char *)axes[i].weights - (char *)memory[i]));
        axes[i].count = (uint32_t *)(uintptr_t)(tables[i] + (uint64_t)((char *)axes[i].count - (char *)memory[i]));
        axes[i].first = (uint32_t *)(uintptr_t)tables[i];
    }
    uint64_t device[] = {upload(cuda, luma, sizeof luma), upload(cuda, chroma, sizeof chroma),
                         upload(cuda, planar, sizeof planar)};
    vlj_nv12_arguments a = {.luma = (const uint8_t *)(uintptr_t)device[0],
                            .chroma = (const uint8_t *)(uintptr_t)device[1],
                            .luma_stride = WIDTH,
                            .chroma_stride = WIDTH,
                            .rows = axes[0],
                            .columns = axes[1],
                            .chroma_rows = axes[2],
                            .chroma_columns = axes[3],
                            .matrix = *vlj_yuv_matrix_of(0),
                            .planar = (uint8_t *)(uintptr_t)device[2]};
    CHECK(vlj_cuda_nv12_window(cuda, &a, NULL, why, sizeof why) == 0);
    CHECK(vlj_cuda_to_host(cuda, planar, device[2], sizeof planar, why, sizeof why) == 0);
    for (size_t i = 0; i < sizeof planar; i++) {
        CHECK_EQ(planar[i], 128); /* (126 - 16) * 255 / 219 */
    }
    for (int i = 0; i < 4; i++) {
        vlj_cuda_free(cuda, tables[i]);
        free(memory[i]);
    }
    for (int i = 0; i < 3; i++) {
        vlj_cuda_free(cuda, device[i]);
    }
}

static void check_failures(const char *driver, int (*open_objects)(void)) {
    CHECK(vlj_cuda_open("/nowhere/libcuda.so.1", 0, "k", why, sizeof why) == NULL);
    CHECK(strstr(why, "there is no driver here: /nowhere/libcuda.so.1") != NULL);
    CHECK(vlj_cuda_open("libm.so.6", 0, "k", why, sizeof why) == NULL && strstr(why, "has no cuInit") != NULL);
    CHECK(vlj_cuda_open(driver, 9, "k", why, sizeof why) == NULL);
    CHECK(strcmp(why, "CUDA: finding the device: invalid device ordinal (101)") == 0);
    CHECK(vlj_cuda_open(driver, 0, "missing.fatbin", why, sizeof why) == NULL);
    CHECK(strcmp(why, "CUDA: missing.fatbin: file not found (301)") == 0);
    CHECK_EQ(open_objects(), 0);
}

int main(int count, char **arguments) {
    if (count < 2) {
        printf("no stand-in driver was named\n");
        return 77;
    }
    void *library = dlopen(arguments[1], RTLD_NOW);
    CHECK(library != NULL);
    int (*open_objects)(void) = NULL;
    void *symbol = dlsym(library, "cpu_driver_open_objects");
    memcpy(&open_objects, &symbol, sizeof symbol);
    check_failures(arguments[1], open_objects);
    vlj_cuda *cuda = vlj_cuda_open(arguments[1], 0, "kernels.fatbin", why, sizeof why);
    CHECK(cuda != NULL);
    uint64_t device;
    CHECK(vlj_cuda_allocate(cuda, (size_t)1 << 60, &device, why, sizeof why) == 2);
    CHECK(strcmp(why, "CUDA: allocating: out of memory (2)") == 0);
    check_pool(cuda);
    check_nv12(cuda);
    vlj_cuda_close(cuda);
    CHECK_EQ(open_objects(), 0);
    cuda = count > 2 ? vlj_cuda_open(NULL, 0, arguments[2], why, sizeof why) : NULL;
    if (cuda == NULL) {
        printf("not on a GPU: %s\n", count > 2 ? why : "no fatbin was named");
        return 0;
    }
    check_pool(cuda);
    check_nv12(cuda);
    vlj_cuda_close(cuda);
    printf("ran on a GPU\n");
    return 0;
}
