/* resize.c: filter tables, dispatch by name, and the loop over output rows. */
#include "resize.h"

#include <math.h>
#include <string.h>

#include "resize_kernels.h"

static const vlj_resize_kernels *const all_kernels[] = {
#if VLJ_KERNELS_X86
    &vlj_resize_avx2,
#endif
#if VLJ_KERNELS_NEON
    &vlj_resize_neon,
#endif
    &vlj_resize_generic,
};

const vlj_resize_kernels *vlj_resize_kernels_named(const char *name) {
    for (size_t i = 0; i < sizeof all_kernels / sizeof all_kernels[0]; i++) {
        if (strcmp(all_kernels[i]->name, name) == 0) {
            return vlj_isa_supported(all_kernels[i]->isa) ? all_kernels[i] : NULL;
        }
    }
    return NULL;
}

const vlj_resize_kernels *vlj_resize_kernels_best(void) {
    vlj_isa limit = vlj_isa_limit();
    size_t i = 0;
    while (all_kernels[i]->isa > limit) {
        i++; /* ends at generic at the latest */
    }
    return all_kernels[i];
}

/* Weights per output at this scale, padded. */
static uint32_t taps_of_scale(double scale) {
    uint32_t taps = 2u * (uint32_t)ceil(scale > 1.0 ? scale : 1.0) + 1u;
    return (taps + VLJ_RESIZE_TAP_MULTIPLE - 1u) / VLJ_RESIZE_TAP_MULTIPLE * VLJ_RESIZE_TAP_MULTIPLE;
}

static size_t align64(size_t bytes) {
    return (bytes + 63u) / 64u * 64u;
}

size_t vlj_resize_axis_bytes(uint32_t out_count, double max_scale) {
    return 2u * align64((size_t)out_count * sizeof(uint32_t)) +
           align64((size_t)out_count * taps_of_scale(max_scale) * sizeof(int16_t));
}

static double triangle(double x) {
    x = fabs(x);
    return x < 1.0 ? 1.0 - x : 0.0;
}

/* Output `i` of the whole resized axis: its centre, and the inputs that it reads: centre +- support, cut to the
 * picture.
 */
typedef struct support {
    double centre, half_width;
    uint32_t first, count;
} support;

static support support_of(double scale, uint32_t in_size, uint32_t i) {
    support s = {.centre = (i + 0.5) * scale, .half_width = scale > 1.0 ? scale : 1.0};
    double low = floor(s.centre - s.half_width + 0.5);
    double high = floor(s.centre + s.half_width + 0.5);
    s.first = low > 0.0 ? (uint32_t)low : 0u;
    s.count = (high < in_size ? (uint32_t)high : in_size) - s.first;
    return s;
}

/* Weight, not normalised, of sample `at`, which stands for `pixels` inputs. */
static double weight_of(const support *s, uint32_t at, uint32_t pixels) {
    double sum = 0.0;
    for (uint32_t k = at * pixels; k < (at + 1u) * pixels; k++) {
        if (k >= s->first && k < s->first + s->count) {
            sum += triangle((k + 0.5 - s->centre) / s->half_width);
        }
    }
    return sum;
}

static void init_axis(vlj_resize_axis *axis, void *memory, uint32_t in_size, uint32_t resized_size, uint32_t crop_first,
                      uint32_t out_count, uint32_t max_shift, uint32_t pixels) {
    double scale = (double)in_size / resized_size;
    axis->out_count = out_count;
    axis->first = memory;
    axis->count = (uint32_t *)((uint8_t *)memory + align64((size_t)out_count * sizeof(uint32_t)));
    axis->weights = (int16_t *)((uint8_t *)axis->count + align64((size_t)out_count * sizeof(uint32_t)));

    /* The largest weight is near pixels / half_width; at a picture's edge, where part of the filter is cut away, up to
     * twice that. */
    double largest = 0.0;
    uint32_t in_end = 0, most_count = 1;
    for (uint32_t i = 0; i < out_count; i++) {
        support s = support_of(scale, in_size, crop_first + i);
        double sum = 0.0, most = 0.0;
        axis->first[i] = s.first / pixels;
        axis->count[i] = (s.first + s.count - 1u) / pixels + 1u - axis->first[i];
        for (uint32_t k = 0; k < axis->count[i]; k++) {
            double weight = weight_of(&s, axis->first[i] + k, pixels);
            most = weight > most ? weight : most;
            sum += weight;
        }
        largest = most / sum > largest ? most / sum : largest;
        most_count = axis->count[i] > most_count ? axis->count[i] : most_count;
        in_end = axis->first[i] + axis->count[i] > in_end ? axis->first[i] + axis->count[i] : in_end;
    }
    /* No more than any output needs, which is at most what `memory` has room for: column kernels compute all of them.
     */
    axis->taps = (most_count + VLJ_RESIZE_TAP_MULTIPLE - 1u) / VLJ_RESIZE_TAP_MULTIPLE * VLJ_RESIZE_TAP_MULTIPLE;
    axis->shift = max_shift;
    while (axis->shift > 14u && largest * (double)(1u << axis->shift) > 32766.0) {
        axis->shift--;
    }
    axis->in_first = axis->first[0];
    axis->in_count = in_end - axis->in_first;

    double one = (double)(1u << axis->shift);
    for (uint32_t i = 0; i < out_count; i++) {
        support s = support_of(scale, in_size, crop_first + i);
        double sum = 0.0, running = 0.0;
        int16_t *weights = axis->weights + (size_t)i * axis->taps;
        for (uint32_t k = 0; k < axis->count[i]; k++) {
            sum += weight_of(&s, axis->first[i] + k, pixels);
        }
        /* Rounding the running sum instead of each weight makes the weights sum to exactly one. */
        double told = 0.0;
        for (uint32_t k = 0; k < axis->count[i]; k++) {
            running += weight_of(&s, axis->first[i] + k, pixels) / sum;
            double rounded = floor(running * one + 0.5);
            weights[k] = (int16_t)(rounded - told);
            told = rounded;
        }
        for (uint32_t k = axis->count[i]; k < axis->taps; k++) {
            weights[k] = 0;
        }
        axis->first[i] -= axis->in_first;
    }
}

void vlj_resize_axis_init(vlj_resize_axis *axis, void *memory, uint32_t in_size, uint32_t resized_size,
                          uint32_t crop_first, uint32_t out_count, uint32_t max_shift) {
    init_axis(axis, memory, in_size, resized_size, crop_first, out_count, max_shift, 1);
}

void vlj_resize_axis_init_chroma(vlj_resize_axis *axis, void *memory, uint32_t in_size, uint32_t resized_size,
                                 uint32_t crop_first, uint32_t out_count, uint32_t max_shift) {
    init_axis(axis, memory, in_size, resized_size, crop_first, out_count, max_shift, 2);
}

size_t vlj_resize_row_values(uint32_t in_width, uint32_t channels, uint32_t taps) {
    return ((size_t)in_width + taps) * channels + VLJ_RESIZE_ROW_PADDING;
}

/* One output row's inputs, weighted and summed into plan->row. */
static void mix_rows(const vlj_resize_plan *plan, const uint8_t *pixels, size_t stride, uint32_t y, uint32_t channels) {
    const vlj_resize_axis *rows = &plan->rows, *columns = &plan->columns;
    const uint8_t *first =
        pixels + ((size_t)rows->in_first + rows->first[y]) * stride + (size_t)columns->in_first * channels;
    plan->kernels->rows(first, stride, rows->weights + (size_t)y * rows->taps, rows->count[y], rows->shift, plan->row,
                        (size_t)columns->in_count * channels);
}

void vlj_resize_rgb(const vlj_resize_plan *plan, const uint8_t *pixels, size_t stride, uint8_t *const planes[3]) {
    for (uint32_t y = 0; y < plan->rows.out_count; y++) {
        size_t at = (size_t)y * plan->columns.out_count;
        mix_rows(plan, pixels, stride, y, 3);
        plan->kernels->columns_rgb(plan->row, &plan->columns, planes[0] + at, planes[1] + at, planes[2] + at);
    }
}

void vlj_resize_gray(const vlj_resize_plan *plan, const uint8_t *pixels, size_t stride, uint8_t *plane) {
    for (uint32_t y = 0; y < plan->rows.out_count; y++) {
        mix_rows(plan, pixels, stride, y, 1);
        plan->kernels->columns_gray(plan->row, &plan->columns, plane + (size_t)y * plan->columns.out_count);
    }
}
