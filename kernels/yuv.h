/* yuv.h: NV12 and I420 pictures into planar RGB bytes: resize, crop and colour in one pass, without a picture between.
 *
 * What is computed is the colour conversion at the picture's own size, each chroma sample standing for its 2 x 2 pixels
 * (OpenCV's way), then the resize of resize.h. Both are linear, so the order may be turned round: rows and columns of
 * luma and chroma are resized first, and a colour is made once per output pixel. Only the clipping to 0-255 comes last
 * here, which shows where a picture has colours that RGB doesn't; all others are within 1 grey level.
 */
#ifndef VLJ_KERNELS_YUV_H
#define VLJ_KERNELS_YUV_H

#include "resize.h"

/* r = y * luma + v * red_v, g = y * luma + u * green_u + v * green_v, b = y * luma + u * blue_u, with y less its offset
 * and u, v less 128; factors have VLJ_YUV_FACTOR_BITS fractional bits. */
#define VLJ_YUV_FACTOR_BITS 13u
typedef struct vlj_yuv_matrix {
    int16_t offset; /* of luma, with VLJ_RESIZE_FRACTION_BITS */
    int16_t luma, red_v, green_u, green_v, blue_u;
} vlj_yuv_matrix;

/* Index: 0 BT.601, 1 BT.709, both with luma 16-235; 2 and 3 the same with luma 0-255. NULL for others. */
const vlj_yuv_matrix *vlj_yuv_matrix_of(unsigned index);

/* The inner loops of one instruction set; rows are resized by its vlj_resize_kernels. */
typedef struct vlj_yuv_kernels {
    const char *name;
    vlj_isa isa;
    /* Columns of one row, 1 channel or 2 interleaved, rounded to VLJ_RESIZE_FRACTION_BITS. */
    void (*columns)(const int16_t *row, const vlj_resize_axis *axis, int16_t *out);
    void (*columns_pairs)(const int16_t *row, const vlj_resize_axis *axis, int16_t *out0, int16_t *out1);
    void (*colours)(const int16_t *y, const int16_t *u, const int16_t *v, const vlj_yuv_matrix *matrix, uint8_t *red,
                    uint8_t *green, uint8_t *blue, size_t n);
} vlj_yuv_kernels;

/* NULL when the name is unknown or the CPU lacks it. */
const vlj_yuv_kernels *vlj_yuv_kernels_named(const char *name);
/* The fastest that this CPU has, VLJ_ISA permitting. */
const vlj_yuv_kernels *vlj_yuv_kernels_best(void);

typedef struct vlj_yuv_plan {
    const vlj_resize_kernels *resize;
    const vlj_yuv_kernels *kernels;
    const vlj_yuv_matrix *matrix;
    vlj_resize_axis rows, columns;               /* of luma */
    vlj_resize_axis chroma_rows, chroma_columns; /* as vlj_resize_axis_init_chroma makes them */
    int16_t *values;                             /* vlj_yuv_values, zeroed when they were allocated */
    uint32_t in_width;                           /* pixels of the largest picture that `values` is for */
} vlj_yuv_plan;

/* int16 values that a plan needs for rows of `in_width` pixels, `taps` weights and `out_width` output columns. */
size_t vlj_yuv_values(uint32_t in_width, uint32_t taps, uint32_t out_width);

/* `step` 2: u and v interleaved, from `u` on (NV12); 1: planes of their own (I420). */
void vlj_resize_yuv(const vlj_yuv_plan *plan, const uint8_t *y, size_t y_stride, const uint8_t *u, size_t u_stride,
                    const uint8_t *v, size_t v_stride, uint32_t step, uint8_t *const planes[3]);

#endif
