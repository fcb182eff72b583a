/* nv12_pixel.h: one output pixel of an NV12 picture resized, cropped and coloured, as a GPU's thread makes it.
 *
 * The integers are those of kernels/yuv.h, step by step, so the bytes are the CPU's own. Plain C, for the host too.
 */
#ifndef VLJ_KERNELS_CUDA_NV12_PIXEL_H
#define VLJ_KERNELS_CUDA_NV12_PIXEL_H

#include "yuv.h"

#ifdef __CUDACC__
#define VLJ_PIXEL static __device__ __forceinline__
#else
#define VLJ_PIXEL static inline
#endif

/* Tables of vlj_resize_axis_init and _chroma, wherever the kernel runs. */
typedef struct vlj_nv12_arguments {
    const uint8_t *luma, *chroma;
    uint64_t luma_stride, chroma_stride;
    vlj_resize_axis rows, columns, chroma_rows, chroma_columns;
    vlj_yuv_matrix matrix;
    uint8_t *planar; /* [3, rows.out_count, columns.out_count] */
} vlj_nv12_arguments;

/* Samples `step` bytes apart: rows first, rounded as the CPU's row pass does, then columns. */
VLJ_PIXEL int32_t vlj_nv12_sample(const uint8_t *plane, uint64_t stride, uint32_t step, const vlj_resize_axis *rows,
                                  const vlj_resize_axis *columns, uint32_t y, uint32_t x) {
    const uint8_t *corner = plane + (uint64_t)(rows->in_first + rows->first[y]) * stride +
                            (uint64_t)(columns->in_first + columns->first[x]) * step;
    const int16_t *down = rows->weights + (uint64_t)y * rows->taps;
    const int16_t *across = columns->weights + (uint64_t)x * columns->taps;
    const uint32_t drop = rows->shift - VLJ_RESIZE_FRACTION_BITS;
    int32_t sum = 1 << (columns->shift - 1u);
    for (uint32_t j = 0; j < columns->count[x]; j++) {
        int32_t value = 1 << (drop - 1u);
        for (uint32_t i = 0; i < rows->count[y]; i++) {
            value += down[i] * corner[i * stride + (uint64_t)j * step];
        }
        sum += across[j] * (value >> drop);
    }
    return sum >> columns->shift;
}

VLJ_PIXEL uint8_t vlj_nv12_clip(int32_t value) {
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

VLJ_PIXEL void vlj_nv12_pixel(const vlj_nv12_arguments *a, uint32_t y, uint32_t x) {
    const uint32_t drop = VLJ_RESIZE_FRACTION_BITS + VLJ_YUV_FACTOR_BITS;
    const uint64_t at = (uint64_t)y * a->columns.out_count + x;
    const uint64_t plane = (uint64_t)a->rows.out_count * a->columns.out_count;
    const int32_t middle = 128 << VLJ_RESIZE_FRACTION_BITS;
    int32_t luma = vlj_nv12_sample(a->luma, a->luma_stride, 1, &a->rows, &a->columns, y, x);
    int32_t u = vlj_nv12_sample(a->chroma, a->chroma_stride, 2, &a->chroma_rows, &a->chroma_columns, y, x) - middle;
    int32_t v = vlj_nv12_sample(a->chroma + 1, a->chroma_stride, 2, &a->chroma_rows, &a->chroma_columns, y, x) - middle;
    luma = (luma - a->matrix.offset) * a->matrix.luma + (1 << (drop - 1u));
    a->planar[at] = vlj_nv12_clip((luma + v * a->matrix.red_v) >> drop);
    a->planar[plane + at] = vlj_nv12_clip((luma + u * a->matrix.green_u + v * a->matrix.green_v) >> drop);
    a->planar[2 * plane + at] = vlj_nv12_clip((luma + u * a->matrix.blue_u) >> drop);
}

#endif
