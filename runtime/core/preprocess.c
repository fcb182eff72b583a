/* preprocess.c: checks a picture, plans its resize and crop once per size and format, and runs the kernels. */
#include "preprocess.h"

#include <string.h>

#include "abi.h"
#include "error.h"
#include "resize.h"
#include "yuv.h"

struct vlj_preprocessor {
    const vlj_host *host;
    size_t bytes; /* of this allocation */
    uint32_t max_frame_width, max_frame_height;
    uint32_t short_side, height, width;
    /* the picture that `plan` is for; frame_width 0: none yet */
    uint32_t frame_width, frame_height;
    vlj_resize_plan plan;
    vlj_yuv_plan yuv; /* shares the tables of `plan` and its row */
    uint8_t *row_tables, *column_tables, *chroma_row_tables, *chroma_column_tables;
};

static size_t align64(size_t bytes) {
    return vlj_align_up(bytes, 64);
}

/* Pixels per output pixel is at most this for every picture whose sides are within the maximum: the shorter side gives
 * shorter / short_side, and the longer side's rounding down makes it at most shorter / (short_side - 1). */
static double max_scale(uint32_t max_frame_width, uint32_t max_frame_height, uint32_t short_side) {
    uint32_t shorter = max_frame_width < max_frame_height ? max_frame_width : max_frame_height;
    return short_side > 1 ? (double)shorter / (short_side - 1u) : 2.0 * shorter;
}

typedef struct layout {
    size_t row_tables, column_tables, chroma_row_tables, chroma_column_tables, row, total;
} layout;

static layout plan_layout(uint32_t max_frame_width, uint32_t max_frame_height, uint32_t short_side, uint32_t height,
                          uint32_t width) {
    double scale = max_scale(max_frame_width, max_frame_height, short_side);
    size_t taps = 2u * (size_t)scale + 3u + 2u * VLJ_RESIZE_TAP_MULTIPLE; /* at least what resize.c pads to */
    layout at;
    at.row_tables = align64(sizeof(vlj_preprocessor));
    at.column_tables = at.row_tables + vlj_resize_axis_bytes(height, scale);
    at.chroma_row_tables = at.column_tables + vlj_resize_axis_bytes(width, scale);
    at.chroma_column_tables = at.chroma_row_tables + vlj_resize_axis_bytes(height, scale);
    at.row = at.chroma_column_tables + vlj_resize_axis_bytes(width, scale);
    size_t packed = vlj_resize_row_values(max_frame_width, 3, (uint32_t)taps);
    size_t planar = vlj_yuv_values(max_frame_width, (uint32_t)taps, width);
    at.total = at.row + align64((packed > planar ? packed : planar) * sizeof(int16_t));
    return at;
}

size_t vlj_preprocessor_bytes(uint32_t max_frame_width, uint32_t max_frame_height, uint32_t short_side, uint32_t height,
                              uint32_t width) {
    return plan_layout(max_frame_width, max_frame_height, short_side, height, width).total;
}

vlj_status vlj_preprocessor_open(const vlj_host *host, uint32_t max_frame_width, uint32_t max_frame_height,
                                 uint32_t short_side, uint32_t height, uint32_t width,
                                 vlj_preprocessor **preprocessor) {
    *preprocessor = NULL;
    if (height == 0 || width == 0 || height > VLJ_MAX_FRAME_SIDE || width > VLJ_MAX_FRAME_SIDE) {
        return vlj_fail(VLJ_E_ARGUMENT, "window is %u x %u pixels, expected 1 to %u on each side", width, height,
                        VLJ_MAX_FRAME_SIDE);
    }
    if (short_side < (height < width ? height : width) || short_side > VLJ_MAX_FRAME_SIDE) {
        return vlj_fail(VLJ_E_ARGUMENT,
                        "resize_short_side is %u, expected at least the window's shorter side (%u) and at most %u",
                        short_side, height < width ? height : width, VLJ_MAX_FRAME_SIDE);
    }
    if (max_frame_width == 0 || max_frame_height == 0 || max_frame_width > VLJ_MAX_FRAME_SIDE ||
        max_frame_height > VLJ_MAX_FRAME_SIDE) {
        return vlj_fail(VLJ_E_ARGUMENT, "largest picture is %u x %u pixels, expected 1 to %u on each side",
                        max_frame_width, max_frame_height, VLJ_MAX_FRAME_SIDE);
    }
    layout at = plan_layout(max_frame_width, max_frame_height, short_side, height, width);
    uint8_t *memory = vlj_alloc(host, at.total, 64);
    if (memory == NULL) {
        return vlj_fail(VLJ_E_MEMORY, "no memory for the tables of a resize (%zu bytes)", at.total);
    }
    vlj_preprocessor *made = (vlj_preprocessor *)memory;
    made->host = host;
    made->bytes = at.total;
    made->max_frame_width = max_frame_width;
    made->max_frame_height = max_frame_height;
    made->short_side = short_side;
    made->height = height;
    made->width = width;
    made->row_tables = memory + at.row_tables;
    made->column_tables = memory + at.column_tables;
    made->chroma_row_tables = memory + at.chroma_row_tables;
    made->chroma_column_tables = memory + at.chroma_column_tables;
    made->plan.row = (int16_t *)(memory + at.row);
    made->plan.kernels = vlj_resize_kernels_best();
    made->yuv.resize = made->plan.kernels;
    made->yuv.kernels = vlj_yuv_kernels_best();
    made->yuv.values = made->plan.row;
    *preprocessor = made;
    return VLJ_OK;
}

void vlj_preprocessor_close(vlj_preprocessor *preprocessor) {
    if (preprocessor != NULL) {
        vlj_free(preprocessor->host, preprocessor, preprocessor->bytes);
    }
}

/* (resized - crop) / 2, half to even: Python's round(), which torchvision's CenterCrop and V-JEPA 2's transforms use.
 */
static uint32_t crop_offset(uint32_t resized, uint32_t crop) {
    uint32_t spare = resized - crop, half = spare / 2u;
    return half + ((spare & 1u) != 0 ? half & 1u : 0u);
}

/* Planes of a format, and the bytes of a row in each. */
static uint32_t plane_rows(vlj_pixel_format format, uint32_t width, size_t row_bytes[3]) {
    size_t chroma = (width + 1u) / 2u;
    row_bytes[0] = width;
    switch (format) {
    case VLJ_RGB24:
    case VLJ_BGR24: row_bytes[0] = (size_t)width * 3u; return 1;
    case VLJ_GRAY8: return 1;
    case VLJ_NV12: row_bytes[1] = 2u * chroma; return 2;
    case VLJ_I420: row_bytes[1] = row_bytes[2] = chroma; return 3;
    }
    return 0;
}

static vlj_status check_frame(const vlj_preprocessor *p, const vlj_frame *frame) {
    size_t row_bytes[3];
    uint32_t planes = plane_rows(frame->format, frame->width, row_bytes);
    if (planes == 0) {
        return vlj_fail(VLJ_E_FRAME_FORMAT,
                        "frame.format is %u, expected VLJ_RGB24 (0), VLJ_BGR24 (1), VLJ_GRAY8 (2), VLJ_NV12 (3) or "
                        "VLJ_I420 (4)",
                        (unsigned)frame->format);
    }
    if (planes > 1 && vlj_yuv_matrix_of((unsigned)frame->yuv) == NULL) {
        return vlj_fail(VLJ_E_FRAME_FORMAT, "frame.yuv is %u, expected VLJ_BT601 (0) to VLJ_BT709_FULL (3)",
                        (unsigned)frame->yuv);
    }
    if (frame->width == 0 || frame->height == 0) {
        return vlj_fail(VLJ_E_FRAME_SIZE, "frame is %u x %u pixels, expected at least 1 x 1", frame->width,
                        frame->height);
    }
    if (frame->width > p->max_frame_width || frame->height > p->max_frame_height) {
        return vlj_fail(VLJ_E_FRAME_SIZE,
                        "frame is %u x %u pixels, expected at most %u x %u: raise max_frame_width and max_frame_height",
                        frame->width, frame->height, p->max_frame_width, p->max_frame_height);
    }
    for (uint32_t i = 0; i < planes; i++) {
        if (frame->planes[i] == NULL) {
            return vlj_fail(VLJ_E_ARGUMENT, "frame.planes[%u] is NULL", i);
        }
        if (frame->stride_bytes[i] != 0 && frame->stride_bytes[i] < row_bytes[i]) {
            return vlj_fail(VLJ_E_ARGUMENT, "frame.stride_bytes[%u] is %zu, expected at least %zu (or 0: packed)", i,
                            frame->stride_bytes[i], row_bytes[i]);
        }
    }
    return VLJ_OK;
}

static vlj_status plan_for(vlj_preprocessor *p, const vlj_frame *frame) {
    uint32_t w = frame->width, h = frame->height;
    uint64_t resized_w = p->short_side, resized_h = p->short_side;
    if (w > h) {
        resized_w = (uint64_t)p->short_side * w / h;
    } else {
        resized_h = (uint64_t)p->short_side * h / w;
    }
    if (resized_w < p->width || resized_h < p->height) {
        return vlj_fail(VLJ_E_FRAME_SIZE,
                        "frame of %u x %u pixels becomes %u x %u, too small to cut the window of %u x %u from it", w, h,
                        (unsigned)resized_w, (unsigned)resized_h, p->width, p->height);
    }
    p->frame_width = 0; /* no plan until both tables stand */
    vlj_resize_axis_init(&p->plan.rows, p->row_tables, h, (uint32_t)resized_h,
                         crop_offset((uint32_t)resized_h, p->height), p->height, VLJ_RESIZE_MAX_SHIFT_ROWS);
    vlj_resize_axis_init(&p->plan.columns, p->column_tables, w, (uint32_t)resized_w,
                         crop_offset((uint32_t)resized_w, p->width), p->width, VLJ_RESIZE_MAX_SHIFT_COLUMNS);
    vlj_resize_axis_init_chroma(&p->yuv.chroma_rows, p->chroma_row_tables, h, (uint32_t)resized_h,
                                crop_offset((uint32_t)resized_h, p->height), p->height, VLJ_RESIZE_MAX_SHIFT_ROWS);
    vlj_resize_axis_init_chroma(&p->yuv.chroma_columns, p->chroma_column_tables, w, (uint32_t)resized_w,
                                crop_offset((uint32_t)resized_w, p->width), p->width, VLJ_RESIZE_MAX_SHIFT_COLUMNS);
    p->yuv.rows = p->plan.rows;
    p->yuv.columns = p->plan.columns;
    p->yuv.in_width = w;
    p->frame_width = w;
    p->frame_height = h;
    return VLJ_OK;
}

vlj_status vlj_preprocessor_run(vlj_preprocessor *p, const vlj_frame *given, uint8_t *planar) {
    vlj_frame ours;
    const vlj_frame *frame = &ours;
    vlj_status status = vlj_struct_read(&ours, sizeof ours, given, "frame");
    if (status == VLJ_OK) {
        status = check_frame(p, frame);
    }
    if (status == VLJ_OK && (frame->width != p->frame_width || frame->height != p->frame_height)) {
        status = plan_for(p, frame);
    }
    if (status != VLJ_OK) {
        return status;
    }
    size_t strides[3], plane_bytes = (size_t)p->height * p->width;
    uint32_t plane_count = plane_rows(frame->format, frame->width, strides);
    for (uint32_t i = 0; i < plane_count; i++) {
        strides[i] = frame->stride_bytes[i] != 0 ? frame->stride_bytes[i] : strides[i];
    }
    uint8_t *planes[3] = {planar, planar + plane_bytes, planar + 2 * plane_bytes};
    switch (frame->format) {
    case VLJ_GRAY8:
        vlj_resize_gray(&p->plan, frame->planes[0], strides[0], planes[0]);
        memcpy(planes[1], planes[0], plane_bytes);
        memcpy(planes[2], planes[0], plane_bytes);
        break;
    case VLJ_BGR24:
        vlj_resize_rgb(&p->plan, frame->planes[0], strides[0], (uint8_t *const[]){planes[2], planes[1], planes[0]});
        break;
    case VLJ_RGB24: vlj_resize_rgb(&p->plan, frame->planes[0], strides[0], planes); break;
    case VLJ_NV12:
    case VLJ_I420:
        p->yuv.matrix = vlj_yuv_matrix_of((unsigned)frame->yuv);
        vlj_resize_yuv(&p->yuv, frame->planes[0], strides[0], frame->planes[1], strides[1], frame->planes[2],
                       strides[2], frame->format == VLJ_NV12 ? 2 : 1, planes);
        break;
    }
    return VLJ_OK;
}

vlj_status vlj_prepare_frame(const vlj_frame *frame, uint32_t resize_short_side, uint32_t height, uint32_t width,
                             uint8_t *planar, size_t planar_bytes) {
    if (frame == NULL || planar == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "%s is NULL", frame == NULL ? "frame" : "planar");
    }
    if (planar_bytes < (uint64_t)3 * height * width) {
        return vlj_fail(VLJ_E_BUFFER, "planar has %zu bytes, expected %llu for 3 x %u x %u", planar_bytes,
                        (unsigned long long)((uint64_t)3 * height * width), height, width);
    }
    if (frame->width > VLJ_MAX_FRAME_SIDE || frame->height > VLJ_MAX_FRAME_SIDE) {
        return vlj_fail(VLJ_E_FRAME_SIZE, "frame is %u x %u pixels, expected at most %u on each side", frame->width,
                        frame->height, VLJ_MAX_FRAME_SIDE);
    }
    vlj_host host;
    vlj_preprocessor *preprocessor = NULL;
    vlj_status status = vlj_host_init(&host, NULL);
    if (status == VLJ_OK) {
        status =
            vlj_preprocessor_open(&host, frame->width != 0 ? frame->width : 1, frame->height != 0 ? frame->height : 1,
                                  resize_short_side, height, width, &preprocessor);
    }
    if (status == VLJ_OK) {
        status = vlj_preprocessor_run(preprocessor, frame, planar);
    }
    vlj_preprocessor_close(preprocessor);
    return status;
}
