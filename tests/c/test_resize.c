/* Resize kernels and the preprocessor: every instruction set gives the generic bytes, the exact filter within rounding,
 * and nothing beyond a picture's last byte is read (pictures are allocated to the byte, for AddressSanitizer). */
#define _POSIX_C_SOURCE 200809L /* setenv */
#include <math.h>

#include "check.h"
#include "preprocess.h"
#include "resize.h"

static uint32_t seed = 1;

static uint32_t pick(uint32_t limit) {
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % limit;
}

typedef struct picture {
    uint32_t width, height, channels;
    size_t stride;
    uint8_t *bytes;
} picture;

static picture picture_make(uint32_t width, uint32_t height, uint32_t channels, size_t padding) {
    picture p = {width, height, channels, (size_t)width * channels + padding, NULL};
    size_t size = p.stride * (height - 1) + (size_t)width * channels;
    p.bytes = malloc(size);
    CHECK(p.bytes != NULL);
    for (size_t i = 0; i < size; i++) {
        p.bytes[i] = (uint8_t)(pick(4) == 0 ? 255 : pick(256));
    }
    return p;
}

/* The filter in double, over the whole picture, at one output pixel. */
static double exact_pixel(const picture *p, uint32_t channel, double resized_w, double resized_h, double x, double y) {
    double scale_x = p->width / resized_w, scale_y = p->height / resized_h, sum = 0, weights = 0;
    double half_x = fmax(scale_x, 1), half_y = fmax(scale_y, 1);
    for (uint32_t row = 0; row < p->height; row++) {
        double wy = fmax(0, 1 - fabs((row + 0.5 - (y + 0.5) * scale_y) / half_y));
        for (uint32_t column = 0; wy > 0 && column < p->width; column++) {
            double w = wy * fmax(0, 1 - fabs((column + 0.5 - (x + 0.5) * scale_x) / half_x));
            sum += w * p->bytes[row * p->stride + (size_t)column * p->channels + channel];
            weights += w;
        }
    }
    return sum / weights;
}

static void check_shape(uint32_t width, uint32_t height, uint32_t channels, size_t padding, uint32_t short_side,
                        uint32_t crop_height, uint32_t crop_width) {
    picture p = picture_make(width, height, channels, padding);
    vlj_frame frame;
    VLJ_INIT(frame);
    frame.format = channels == 1 ? VLJ_GRAY8 : VLJ_RGB24;
    frame.width = width;
    frame.height = height;
    frame.planes[0] = p.bytes;
    frame.stride_bytes[0] = p.stride;
    size_t plane = (size_t)crop_height * crop_width;
    uint8_t *expected = malloc(3 * plane), *found = malloc(3 * plane);
    static const char *const isas[] = {"generic", "avx2", "neon"};
    for (size_t i = 0; i < 3; i++) {
        setenv("VLJ_ISA", isas[i], 1);
        memset(found, 0, 3 * plane);
        CHECK_OK(vlj_prepare_frame(&frame, short_side, crop_height, crop_width, i == 0 ? expected : found, 3 * plane));
        CHECK(i == 0 || memcmp(found, expected, 3 * plane) == 0);
    }
    unsetenv("VLJ_ISA");
    double resized_w = short_side, resized_h = short_side;
    if (width > height) {
        resized_w = floor((double)short_side * width / height);
    } else {
        resized_h = floor((double)short_side * height / width);
    }
    double left = nearbyint((resized_w - crop_width) / 2), top = nearbyint((resized_h - crop_height) / 2);
    for (int i = 0; i < 20; i++) {
        uint32_t x = pick(crop_width), y = pick(crop_height), channel = pick(3);
        double exact = exact_pixel(&p, channels == 1 ? 0 : channel, resized_w, resized_h, left + x, top + y);
        CHECK_NEAR(expected[channel * plane + (size_t)y * crop_width + x], exact, 0.52);
    }
    free(p.bytes);
    free(expected);
    free(found);
}

static void test_shapes(void) {
    check_shape(1, 1, 3, 0, 16, 16, 16);
    check_shape(2, 300, 1, 0, 20, 20, 3);
    check_shape(300, 2, 3, 5, 20, 3, 20);
    check_shape(64, 64, 3, 0, 64, 64, 64);
    check_shape(10, 11, 3, 1, 10, 10, 10);
    check_shape(11, 10, 1, 1, 10, 10, 1);
    for (int i = 0; i < 150; i++) {
        uint32_t crop_height = 1 + pick(40), crop_width = 1 + pick(40);
        uint32_t larger = crop_height > crop_width ? crop_height : crop_width;
        check_shape(1 + pick(120), 1 + pick(120), pick(2) ? 3 : 1, pick(2) * pick(40), larger + pick(9), crop_height,
                    crop_width);
    }
}

/* Tables for the largest picture serve every smaller one: any shape, no allocation, no byte beyond the plan. */
static void test_one_preprocessor_for_all_sizes(void) {
    enum { MOST_WIDTH = 500, MOST_HEIGHT = 260, SIDE = 24 };
    static const uint32_t sizes[][2] = {{MOST_WIDTH, MOST_HEIGHT},
                                        {1, 1},
                                        {MOST_WIDTH, 1},
                                        {1, MOST_HEIGHT},
                                        {259, 260},
                                        {260, 260},
                                        {499, 259},
                                        {24, 24},
                                        {25, 24},
                                        {3, 7}};
    vlj_host host;
    CHECK_OK(vlj_host_init(&host, NULL));
    vlj_preprocessor *preprocessor;
    CHECK_OK(vlj_preprocessor_open(&host, MOST_WIDTH, MOST_HEIGHT, SIDE, SIDE, SIDE, &preprocessor));
    CHECK_EQ(vlj_host_allocations(&host), 1);
    CHECK_EQ(vlj_host_bytes(&host), vlj_preprocessor_bytes(MOST_WIDTH, MOST_HEIGHT, SIDE, SIDE, SIDE));
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        for (uint32_t format = 0; format < 3; format++) {
            picture p = picture_make(sizes[i][0], sizes[i][1], format == VLJ_GRAY8 ? 1 : 3, 0);
            uint8_t found[3 * SIDE * SIDE], alone[3 * SIDE * SIDE];
            vlj_frame frame;
            VLJ_INIT(frame);
            frame.format = (vlj_pixel_format)format;
            frame.width = p.width;
            frame.height = p.height;
            frame.planes[0] = p.bytes;
            CHECK_OK(vlj_preprocessor_run(preprocessor, &frame, found));
            CHECK_OK(vlj_prepare_frame(&frame, SIDE, SIDE, SIDE, alone, sizeof alone));
            CHECK(memcmp(found, alone, sizeof found) == 0);
            if (format == VLJ_BGR24) { /* the same bytes read as RGB: first and last plane change places */
                frame.format = VLJ_RGB24;
                CHECK_OK(vlj_preprocessor_run(preprocessor, &frame, alone));
                CHECK(memcmp(found, alone + 2 * SIDE * SIDE, SIDE * SIDE) == 0);
                CHECK(memcmp(found + SIDE * SIDE, alone + SIDE * SIDE, SIDE * SIDE) == 0);
                CHECK(memcmp(found + 2 * SIDE * SIDE, alone, SIDE * SIDE) == 0);
            }
            free(p.bytes);
        }
    }
    CHECK_EQ(vlj_host_allocations(&host), 1);
    vlj_preprocessor_close(preprocessor);
    CHECK_EQ(vlj_host_bytes(&host), 0);
}

static void test_refusals(void) {
    uint8_t pixels[3 * 8 * 8] = {0}, planar[3 * 4 * 4];
    vlj_frame frame;
    VLJ_INIT(frame);
    frame.width = frame.height = 8;
    CHECK_FAILS(vlj_prepare_frame(&frame, 4, 4, 4, planar, sizeof planar), VLJ_E_ARGUMENT, "planes[0] is NULL");
    frame.planes[0] = pixels;
    CHECK_OK(vlj_prepare_frame(&frame, 4, 4, 4, planar, sizeof planar));
    CHECK_FAILS(vlj_prepare_frame(NULL, 4, 4, 4, planar, sizeof planar), VLJ_E_ARGUMENT, "frame is NULL");
    CHECK_FAILS(vlj_prepare_frame(&frame, 4, 4, 4, planar, sizeof planar - 1), VLJ_E_BUFFER, "expected 48");
    CHECK_FAILS(vlj_prepare_frame(&frame, 3, 4, 4, planar, sizeof planar), VLJ_E_ARGUMENT, "resize_short_side is 3");
    frame.stride_bytes[0] = 23;
    CHECK_FAILS(vlj_prepare_frame(&frame, 4, 4, 4, planar, sizeof planar), VLJ_E_ARGUMENT, "at least 24");
    frame.stride_bytes[0] = 0;
    frame.format = (vlj_pixel_format)7;
    CHECK_FAILS(vlj_prepare_frame(&frame, 4, 4, 4, planar, sizeof planar), VLJ_E_FRAME_FORMAT, "frame.format is 7");
    frame.format = VLJ_RGB24;
    frame.width = 0;
    CHECK_FAILS(vlj_prepare_frame(&frame, 4, 4, 4, planar, sizeof planar), VLJ_E_FRAME_SIZE, "0 x 8");
    frame.width = 1u << 31;
    CHECK_FAILS(vlj_prepare_frame(&frame, 4, 4, 4, planar, sizeof planar), VLJ_E_FRAME_SIZE, "at most 16384");
    frame.width = 8;
    frame.struct_size = 3;
    CHECK_FAILS(vlj_prepare_frame(&frame, 4, 4, 4, planar, sizeof planar), VLJ_E_ARGUMENT, "VLJ_INIT");

    vlj_host host;
    CHECK_OK(vlj_host_init(&host, NULL));
    vlj_preprocessor *preprocessor;
    CHECK_OK(vlj_preprocessor_open(&host, 7, 8, 4, 4, 4, &preprocessor));
    VLJ_INIT(frame);
    frame.width = frame.height = 8;
    frame.planes[0] = pixels;
    CHECK_FAILS(vlj_preprocessor_run(preprocessor, &frame, planar), VLJ_E_FRAME_SIZE, "at most 7 x 8");
    vlj_preprocessor_close(preprocessor);
    vlj_preprocessor_close(NULL);
}

static void test_names(void) {
    CHECK(strcmp(vlj_resize_kernels_named("generic")->name, "generic") == 0);
    CHECK(vlj_resize_kernels_named("altivec") == NULL);
    setenv("VLJ_ISA", "generic", 1);
    CHECK(strcmp(vlj_resize_kernels_best()->name, "generic") == 0);
    setenv("VLJ_ISA", "no such set", 1); /* is not obeyed */
    CHECK(vlj_resize_kernels_best() != NULL);
    unsetenv("VLJ_ISA");
}

int main(void) {
    test_names();
    test_shapes();
    test_one_preprocessor_for_all_sizes();
    test_refusals();
    return 0;
}
