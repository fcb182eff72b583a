/* resize.h: separable bilinear resize with antialiasing, of the part of a picture that a crop needs.
 *
 * The filter is Pillow's BILINEAR: a triangle of half-width max(1, input / output) around each output sample's centre,
 * normalised to sum 1. The arithmetic is our own: rows first (packed bytes lie in the order that SIMD wants, and a row
 * is read while it is in cache), kept with 7 fractional bits, then columns. Each output is within 1 grey level of
 * Pillow's, which rounds to 8 bits between its two passes; a constant picture stays exactly constant.
 */
#ifndef VLJ_KERNELS_RESIZE_H
#define VLJ_KERNELS_RESIZE_H

#include <stddef.h>
#include <stdint.h>

#include "isa.h"

#define VLJ_RESIZE_FRACTION_BITS 7u /* of the int16 values between the passes: 255 << 7 still fits */
#define VLJ_RESIZE_TAP_MULTIPLE 4u  /* column weights are padded with zeros to a multiple of this */
#define VLJ_RESIZE_ROW_PADDING 64u  /* int16 values that column kernels may read beyond a row's weights */

/* One direction: output sample i is the weighted sum of inputs in_first + first[i] + 0 .. count[i] - 1. */
typedef struct vlj_resize_axis {
    uint32_t out_count;
    uint32_t in_first, in_count; /* the inputs that any output reads */
    uint32_t taps;               /* weights per output, a multiple of VLJ_RESIZE_TAP_MULTIPLE; those past count are 0 */
    uint32_t shift;              /* weights are >= 0 and sum to exactly 1 << shift */
    uint32_t *first;             /* [out_count], ascending */
    uint32_t *count;             /* [out_count] */
    int16_t *weights;            /* [out_count, taps] */
} vlj_resize_axis;

/* The inner loops of one instruction set. */
typedef struct vlj_resize_kernels {
    const char *name;
    vlj_isa isa;
    /* out[i] = sum over k of weights[k] * rows[k * stride + i], i < n, rounded to VLJ_RESIZE_FRACTION_BITS. */
    void (*rows)(const uint8_t *rows, size_t stride, const int16_t *weights, uint32_t count, uint32_t shift,
                 int16_t *out, size_t n);
    /* Columns of one row of pixels, 3 or 1 interleaved channels, into one byte per output sample and plane. */
    void (*columns_rgb)(const int16_t *row, const vlj_resize_axis *axis, uint8_t *plane0, uint8_t *plane1,
                        uint8_t *plane2);
    void (*columns_gray)(const int16_t *row, const vlj_resize_axis *axis, uint8_t *plane);
} vlj_resize_kernels;

/* NULL when the name is unknown or the CPU lacks it. */
const vlj_resize_kernels *vlj_resize_kernels_named(const char *name);
/* The fastest that this CPU has, VLJ_ISA permitting. */
const vlj_resize_kernels *vlj_resize_kernels_best(void);

/* Bytes that vlj_resize_axis_init needs for `out_count` outputs at inputs / outputs <= max_scale. */
size_t vlj_resize_axis_bytes(uint32_t out_count, double max_scale);
/* Outputs crop_first .. + out_count - 1 of `in_size` samples resized to `resized_size`. `memory` is 64-byte aligned. */
void vlj_resize_axis_init(vlj_resize_axis *axis, void *memory, uint32_t in_size, uint32_t resized_size,
                          uint32_t crop_first, uint32_t out_count, uint32_t max_shift);
/* The same over chroma samples that stand for two of the `in_size` samples each: weights of a pair are added up, so
 * that repeating every chroma sample and resizing with the other axis would give the same. */
void vlj_resize_axis_init_chroma(vlj_resize_axis *axis, void *memory, uint32_t in_size, uint32_t resized_size,
                                 uint32_t crop_first, uint32_t out_count, uint32_t max_shift);
#define VLJ_RESIZE_MAX_SHIFT_ROWS 22u    /* 255 << 22 fits int32 */
#define VLJ_RESIZE_MAX_SHIFT_COLUMNS 16u /* (255 << 7) << 16 fits int32 */

typedef struct vlj_resize_plan {
    const vlj_resize_kernels *kernels;
    vlj_resize_axis rows, columns;
    int16_t *row; /* [columns.in_count * channels + taps and padding], zeroed when it was allocated */
} vlj_resize_plan;

/* int16 values that `row` must hold. */
size_t vlj_resize_row_values(uint32_t in_width, uint32_t channels, uint32_t taps);

/* Resizes packed pixels. `planes` take rows.out_count * columns.out_count bytes each, for channels 0, 1, 2 of a pixel.
 */
void vlj_resize_rgb(const vlj_resize_plan *plan, const uint8_t *pixels, size_t stride, uint8_t *const planes[3]);
void vlj_resize_gray(const vlj_resize_plan *plan, const uint8_t *pixels, size_t stride, uint8_t *plane);

#endif
