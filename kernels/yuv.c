/* yuv.c: colour matrices, dispatch by name, and the loop over output rows of NV12 and I420 pictures. */
#include "yuv.h"

#include <string.h>

#include "yuv_kernels.h"

static const vlj_yuv_kernels *const all_kernels[] = {
#if VLJ_KERNELS_X86
    &vlj_yuv_avx2,
#endif
#if VLJ_KERNELS_NEON
    &vlj_yuv_neon,
#endif
    &vlj_yuv_generic,
};

const vlj_yuv_kernels *vlj_yuv_kernels_named(const char *name) {
    for (size_t i = 0; i < sizeof all_kernels / sizeof all_kernels[0]; i++) {
        if (strcmp(all_kernels[i]->name, name) == 0) {
            return vlj_isa_supported(all_kernels[i]->isa) ? all_kernels[i] : NULL;
        }
    }
    return NULL;
}

const vlj_yuv_kernels *vlj_yuv_kernels_best(void) {
    vlj_isa limit = vlj_isa_limit();
    size_t i = 0;
    while (all_kernels[i]->isa > limit) {
        i++; /* ends at generic at the latest */
    }
    return all_kernels[i];
}

/* From the standards' weights of red and blue, kr and kb: with kg = 1 - kr - kb, r = y + 2 (1 - kr) v,
 * b = y + 2 (1 - kb) u, g = y - 2 kb (1 - kb) / kg u - 2 kr (1 - kr) / kg v; u and v have 224 steps, luma 219, in the
 * narrow range, and 255 each in the full one. */
#define FACTOR(value) ((int16_t)((value) * (1 << VLJ_YUV_FACTOR_BITS) + ((value) < 0 ? -0.5 : 0.5)))
#define MATRIX(kr, kb, luma_offset, luma_scale, chroma_scale)                                                          \
    {(luma_offset) << VLJ_RESIZE_FRACTION_BITS,                                                                        \
     FACTOR(luma_scale),                                                                                               \
     FACTOR(2 * (1 - (kr)) * (chroma_scale)),                                                                          \
     FACTOR(-2 * (kb) * (1 - (kb)) / (1 - (kr) - (kb)) * (chroma_scale)),                                              \
     FACTOR(-2 * (kr) * (1 - (kr)) / (1 - (kr) - (kb)) * (chroma_scale)),                                              \
     FACTOR(2 * (1 - (kb)) * (chroma_scale))}

const vlj_yuv_matrix *vlj_yuv_matrix_of(unsigned index) {
    static const vlj_yuv_matrix matrices[] = {
        MATRIX(0.299, 0.114, 16, 255.0 / 219.0, 255.0 / 224.0),
        MATRIX(0.2126, 0.0722, 16, 255.0 / 219.0, 255.0 / 224.0),
        MATRIX(0.299, 0.114, 0, 1.0, 1.0),
        MATRIX(0.2126, 0.0722, 0, 1.0, 1.0),
    };
    return index < sizeof matrices / sizeof matrices[0] ? &matrices[index] : NULL;
}

/* ---- the buffers of a plan: a row of luma, one of interleaved chroma or two of planar, and three of results ---- */

static size_t row_values(uint32_t in_width, uint32_t taps) {
    return (vlj_resize_row_values(in_width, 1, taps) + 31u) / 32u * 32u;
}

static size_t out_values(uint32_t out_width) {
    return ((size_t)out_width + 31u) / 32u * 32u;
}

size_t vlj_yuv_values(uint32_t in_width, uint32_t taps, uint32_t out_width) {
    /* Interleaved chroma has one value per pixel, and pads by 2 per tap; planar rows are half as long. */
    return row_values(in_width + 1u, taps) + 2u * row_values(in_width + 1u, 2u * taps) + 3u * out_values(out_width);
}

static const uint8_t *rows_from(const vlj_resize_axis *rows, uint32_t y, const uint8_t *plane, size_t stride) {
    return plane + ((size_t)rows->in_first + rows->first[y]) * stride;
}

static void mix(const vlj_yuv_plan *plan, const vlj_resize_axis *rows, const vlj_resize_axis *columns, uint32_t y,
                const uint8_t *plane, size_t stride, uint32_t step, int16_t *row) {
    plan->resize->rows(rows_from(rows, y, plane, stride) + (size_t)columns->in_first * step, stride,
                       rows->weights + (size_t)y * rows->taps, rows->count[y], rows->shift, row,
                       (size_t)columns->in_count * step);
}

void vlj_resize_yuv(const vlj_yuv_plan *plan, const uint8_t *y, size_t y_stride, const uint8_t *u, size_t u_stride,
                    const uint8_t *v, size_t v_stride, uint32_t step, uint8_t *const planes[3]) {
    const vlj_resize_axis *columns = &plan->columns, *chroma = &plan->chroma_columns;
    const uint32_t width = columns->out_count;
    int16_t *y_row = plan->values, *u_row = y_row + row_values(plan->in_width + 1u, columns->taps);
    int16_t *v_row = u_row + row_values(plan->in_width + 1u, 2u * chroma->taps);
    int16_t *y_out = v_row + row_values(plan->in_width + 1u, 2u * chroma->taps);
    int16_t *u_out = y_out + out_values(width), *v_out = u_out + out_values(width);
    for (uint32_t line = 0; line < plan->rows.out_count; line++) {
        size_t at = (size_t)line * width;
        mix(plan, &plan->rows, columns, line, y, y_stride, 1, y_row);
        plan->kernels->columns(y_row, columns, y_out);
        mix(plan, &plan->chroma_rows, chroma, line, u, u_stride, step, u_row);
        if (step == 2) {
            plan->kernels->columns_pairs(u_row, chroma, u_out, v_out);
        } else {
            mix(plan, &plan->chroma_rows, chroma, line, v, v_stride, 1, v_row);
            plan->kernels->columns(u_row, chroma, u_out);
            plan->kernels->columns(v_row, chroma, v_out);
        }
        plan->kernels->colours(y_out, u_out, v_out, plan->matrix, planes[0] + at, planes[1] + at, planes[2] + at,
                               width);
    }
}
