/* preprocess.c: checks a picture, plans its resize and crop once per size and format, and runs the kernels. */
#include "preprocess.h"

#include <string.h>

#include "abi.h"
#include "error.h"
#include "resize.h"

struct vlj_preprocessor {
    const vlj_host *host;
    size_t bytes; /* of this allocation */
    uint32_t max_frame_width, max_frame_height;
    uint32_t short_side, height, width;
    /* the picture that `plan` is for; frame_width 0: none yet */
    uint32_t frame_width, frame_height;
    vlj_pixel_format format;
    vlj_resize_plan plan;
    uint8_t *row_tables, *column_tables;
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
    size_t row_tables, column_tables, row, total;
} layout;

static layout plan_layout(uint32_t max_frame_width, uint32_t max_frame_height, uint32_t short_side, uint32_t height,
                          uint32_t width) {
    double scale = max_scale(max_frame_width, max_frame_height, short_side);
    size_t taps = 2u * (size_t)scale + 3u + 2u * VLJ_RESIZE_TAP_MULTIPLE; /* at least what resize.c pads to */
    layout at;
    at.row_tables = align64(sizeof(vlj_preprocessor));
    at.column_tables = at.row_tables + vlj_resize_axis_bytes(height, scale);
    at.row = at.column_tables + vlj_resize_axis_bytes(width, scale);
    at.total = at.row + align64(vlj_resize_row_values(max_frame_width, 3, (uint32_t)taps) * sizeof(int16_t));
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
    made->plan.row = (int16_t *)(memory + at.row);
    made->plan.kernels = vlj_resize_kernels_best();
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

static vlj_status check_frame(const vlj_preprocessor *p, const vlj_frame *frame) {
    uint32_t format = (uint32_t)frame->format;
    if (format != VLJ_RGB24 && format != VLJ_BGR24 && format != VLJ_GRAY8) {
        return vlj_fail(VLJ_E_FRAME_FORMAT,
                        "frame.format is %u, expected VLJ_RGB24 (0), VLJ_BGR24 (1) or VLJ_GRAY8 (2)", format);
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
    if (frame->planes[0] == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "frame.planes[0] is NULL");
    }
    size_t row_bytes = (size_t)frame->width * (format == VLJ_GRAY8 ? 1u : 3u);
    if (frame->stride_bytes[0] != 0 && frame->stride_bytes[0] < row_bytes) {
        return vlj_fail(VLJ_E_ARGUMENT, "frame.stride_bytes[0] is %zu, expected at least %zu (or 0: packed)",
                        frame->stride_bytes[0], row_bytes);
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
    p->frame_width = w;
    p->frame_height = h;
    p->format = frame->format;
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
    size_t channels = frame->format == VLJ_GRAY8 ? 1 : 3;
    size_t stride = frame->stride_bytes[0] != 0 ? frame->stride_bytes[0] : frame->width * channels;
    size_t plane_bytes = (size_t)p->height * p->width;
    uint8_t *planes[3] = {planar, planar + plane_bytes, planar + 2 * plane_bytes};
    if (frame->format == VLJ_GRAY8) {
        vlj_resize_gray(&p->plan, frame->planes[0], stride, planes[0]);
        memcpy(planes[1], planes[0], plane_bytes);
        memcpy(planes[2], planes[0], plane_bytes);
        return VLJ_OK;
    }
    if (frame->format == VLJ_BGR24) {
        planes[0] = planar + 2 * plane_bytes;
        planes[2] = planar;
    }
    vlj_resize_rgb(&p->plan, frame->planes[0], stride, planes);
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
