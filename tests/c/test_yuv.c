/* NV12 and I420: every instruction set gives the generic bytes; they are those of colour conversion at full size and
 * then the exact filter, within rounding; nothing beyond a plane's last byte is read (planes are allocated to the byte,
 * for AddressSanitizer). */
#define _POSIX_C_SOURCE 200809L /* setenv */
#include <math.h>

#include "check.h"
#include "preprocess.h"
#include "yuv.h"

static uint32_t seed = 1;

static uint32_t pick(uint32_t limit) {
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % limit;
}

typedef struct picture {
    uint32_t width, height, chroma_width, chroma_height;
    uint8_t *y, *u, *v; /* packed planes */
    vlj_frame frame;    /* the same, with its own planes and strides */
} picture;

static uint8_t *make_plane(uint32_t width, uint32_t height, uint32_t low, uint32_t high) {
    uint8_t *plane = malloc((size_t)width * height);
    for (size_t i = 0; i < (size_t)width * height; i++) {
        plane[i] = (uint8_t)(low + pick(high - low + 1));
    }
    return plane;
}

/* Rows at `stride`, the last one ending with its last byte. */
static const uint8_t *spread(const uint8_t *a, const uint8_t *b, uint32_t width, uint32_t height, size_t stride) {
    size_t row = (size_t)width * (b != NULL ? 2 : 1);
    uint8_t *plane = malloc(stride * (height - 1) + row);
    memset(plane, 0xA5, stride * (height - 1) + row);
    for (uint32_t y = 0; y < height; y++) {
        for (uint32_t x = 0; x < width; x++) {
            size_t at = (size_t)y * width + x;
            if (b == NULL) {
                plane[y * stride + x] = a[at];
            } else {
                plane[y * stride + 2 * (size_t)x] = a[at];
                plane[y * stride + 2 * (size_t)x + 1] = b[at];
            }
        }
    }
    return plane;
}

static picture picture_make(uint32_t width, uint32_t height, vlj_pixel_format format, vlj_yuv_standard standard,
                            size_t padding) {
    picture p = {.width = width, .height = height, .chroma_width = (width + 1) / 2, .chroma_height = (height + 1) / 2};
    p.y = make_plane(width, height, 70, 180); /* with chroma near grey: colours that RGB has, so clipping takes none */
    p.u = make_plane(p.chroma_width, p.chroma_height, 108, 148);
    p.v = make_plane(p.chroma_width, p.chroma_height, 108, 148);
    VLJ_INIT(p.frame);
    p.frame.format = format;
    p.frame.yuv = standard;
    p.frame.width = width;
    p.frame.height = height;
    int both = format == VLJ_NV12;
    size_t strides[3] = {width + padding, p.chroma_width * (both ? 2u : 1u) + padding, p.chroma_width + padding};
    p.frame.planes[0] = spread(p.y, NULL, width, height, strides[0]);
    p.frame.planes[1] = spread(p.u, both ? p.v : NULL, p.chroma_width, p.chroma_height, strides[1]);
    p.frame.planes[2] = both ? NULL : spread(p.v, NULL, p.chroma_width, p.chroma_height, strides[2]);
    for (int i = 0; i < 3; i++) {
        p.frame.stride_bytes[i] = padding > 0 ? strides[i] : 0;
    }
    return p;
}

static void picture_free(picture *p) {
    free(p->y), free(p->u), free(p->v);
    for (int i = 0; i < 3; i++) {
        free((void *)p->frame.planes[i]);
    }
}

/* One channel of one pixel in double, from the standards' own words. */
static double colour(const picture *p, uint32_t x, uint32_t y, int channel) {
    int full = p->frame.yuv >= VLJ_BT601_FULL, hd = p->frame.yuv == VLJ_BT709 || p->frame.yuv == VLJ_BT709_FULL;
    double kr = hd ? 0.2126 : 0.299, kb = hd ? 0.0722 : 0.114;
    size_t chroma = (size_t)(y / 2) * p->chroma_width + x / 2;
    double luma = full ? p->y[(size_t)y * p->width + x] : (p->y[(size_t)y * p->width + x] - 16) * 255.0 / 219.0;
    double scale = full ? 1.0 : 255.0 / 224.0;
    double red = luma + 2 * (1 - kr) * (p->v[chroma] - 128) * scale;
    double blue = luma + 2 * (1 - kb) * (p->u[chroma] - 128) * scale;
    return channel == 0 ? red : channel == 2 ? blue : (luma - kr * red - kb * blue) / (1 - kr - kb);
}

static double exact_pixel(const picture *p, int channel, double resized_w, double resized_h, double x, double y) {
    double scale_x = p->width / resized_w, scale_y = p->height / resized_h, sum = 0, weights = 0;
    double half_x = fmax(scale_x, 1), half_y = fmax(scale_y, 1);
    for (uint32_t row = 0; row < p->height; row++) {
        double wy = fmax(0, 1 - fabs((row + 0.5 - (y + 0.5) * scale_y) / half_y));
        for (uint32_t column = 0; wy > 0 && column < p->width; column++) {
            double w = wy * fmax(0, 1 - fabs((column + 0.5 - (x + 0.5) * scale_x) / half_x));
            if (w > 0) {
                sum += w * colour(p, column, row, channel);
                weights += w;
            }
        }
    }
    return sum / weights;
}

static void check_picture(uint32_t width, uint32_t height, vlj_pixel_format format, vlj_yuv_standard standard,
                          size_t padding, uint32_t short_side, uint32_t crop_height, uint32_t crop_width) {
    static const char *const isas[] = {"generic", "avx2", "neon"};
    picture p = picture_make(width, height, format, standard, padding);
    size_t plane = (size_t)crop_height * crop_width;
    uint8_t *expected = malloc(3 * plane), *found = malloc(3 * plane);
    for (size_t i = 0; i < 3; i++) {
        setenv("VLJ_ISA", isas[i], 1);
        memset(found, 0, 3 * plane);
        CHECK_OK(
            vlj_prepare_frame(&p.frame, short_side, crop_height, crop_width, i == 0 ? expected : found, 3 * plane));
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
        double exact = exact_pixel(&p, (int)channel, resized_w, resized_h, left + x, top + y);
        CHECK_NEAR(expected[channel * plane + (size_t)y * crop_width + x], exact, 0.56);
    }
    picture_free(&p);
    free(expected);
    free(found);
}

/* Extremes: colours that don't exist, in every combination, through each instruction set. */
static void test_clipping(void) {
    int16_t y[640], u[640], v[640];
    uint8_t expected[3][640], found[3][640];
    static const int levels[] = {0, 16, 128, 235, 255};
    for (int i = 0; i < 640; i++) {
        y[i] = (int16_t)(levels[i % 5] << VLJ_RESIZE_FRACTION_BITS);
        u[i] = (int16_t)(levels[i / 5 % 5] << VLJ_RESIZE_FRACTION_BITS);
        v[i] = (int16_t)(levels[i / 25 % 5] << VLJ_RESIZE_FRACTION_BITS);
    }
    const vlj_yuv_kernels *generic = vlj_yuv_kernels_named("generic"), *best = vlj_yuv_kernels_best();
    for (unsigned standard = 0; standard < 4; standard++) {
        const vlj_yuv_matrix *matrix = vlj_yuv_matrix_of(standard);
        generic->colours(y, u, v, matrix, expected[0], expected[1], expected[2], 637);
        best->colours(y, u, v, matrix, found[0], found[1], found[2], 637);
        for (int i = 0; i < 637; i++) {
            for (int channel = 0; channel < 3; channel++) {
                CHECK_EQ(found[channel][i], expected[channel][i]);
            }
        }
        int grey = 2 * 5 * 5 + 2 * 5; /* u and v at 128 */
        CHECK_EQ(expected[0][grey + 1], standard < 2 ? 0 : 16);
        CHECK_EQ(expected[1][grey + 3], standard < 2 ? 255 : 235);
        CHECK_EQ(expected[0][grey + 4], 255);
    }
    CHECK(vlj_yuv_matrix_of(4) == NULL);
}

static void test_misfits(void) {
    uint8_t planar[3 * 8 * 8];
    picture p = picture_make(20, 10, VLJ_I420, VLJ_BT709, 0);
    vlj_frame frame = p.frame;
    frame.planes[2] = NULL;
    CHECK_FAILS(vlj_prepare_frame(&frame, 8, 8, 8, planar, sizeof planar), VLJ_E_ARGUMENT, "frame.planes[2] is NULL");
    frame = p.frame;
    frame.stride_bytes[1] = 9;
    CHECK_FAILS(vlj_prepare_frame(&frame, 8, 8, 8, planar, sizeof planar), VLJ_E_ARGUMENT,
                "frame.stride_bytes[1] is 9, expected at least 10");
    frame = p.frame;
    frame.yuv = (vlj_yuv_standard)4;
    CHECK_FAILS(vlj_prepare_frame(&frame, 8, 8, 8, planar, sizeof planar), VLJ_E_FRAME_FORMAT, "frame.yuv is 4");
    frame = p.frame; /* a caller of the header before NV12 */
    frame.struct_size = (uint32_t)offsetof(vlj_frame, yuv);
    frame.format = VLJ_GRAY8;
    CHECK_OK(vlj_prepare_frame(&frame, 8, 8, 8, planar, sizeof planar));
    picture_free(&p);
}

int main(void) {
    check_picture(1, 1, VLJ_NV12, VLJ_BT601, 0, 16, 16, 16);
    check_picture(2, 60, VLJ_I420, VLJ_BT709, 3, 20, 20, 3);
    check_picture(64, 64, VLJ_NV12, VLJ_BT709, 0, 64, 64, 64);
    for (int i = 0; i < 120; i++) {
        uint32_t crop_height = 1 + pick(40), crop_width = 1 + pick(40);
        uint32_t larger = crop_height > crop_width ? crop_height : crop_width;
        check_picture(1 + pick(120), 1 + pick(120), i % 2 ? VLJ_NV12 : VLJ_I420, (vlj_yuv_standard)pick(4),
                      pick(2) * pick(40), larger + pick(9), crop_height, crop_width);
    }
    test_clipping();
    test_misfits();
    return 0;
}
