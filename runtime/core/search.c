/* search.c: vlj_nearest_rows and vlj_quantise_rows: exact search over rows that the caller holds, a memory's or a label
 * bank's. */
#include <math.h>

#include "abi.h"
#include "nearest.h"

static vlj_status check_rows(const vlj_rows *rows, size_t query_floats, uint32_t k) {
    if (rows->data == NULL || rows->count == 0 || rows->count > UINT32_MAX || rows->width == 0) {
        return vlj_fail(VLJ_E_ARGUMENT, "rows are %llu of width %u%s, expected at least 1 of at least 1",
                        (unsigned long long)rows->count, rows->width, rows->data == NULL ? " at NULL" : "");
    }
    if (rows->dtype != VLJ_FLOAT32 && rows->dtype != VLJ_FLOAT16 && rows->dtype != VLJ_INT8) {
        return vlj_fail(VLJ_E_ARGUMENT, "rows have dtype %d, expected VLJ_FLOAT32, VLJ_FLOAT16 or VLJ_INT8",
                        (int)rows->dtype);
    }
    if (rows->dtype == VLJ_INT8 && rows->width > VLJ_NEAREST_MOST_INT8_WIDTH) {
        return vlj_fail(VLJ_E_ARGUMENT, "INT8 rows have width %u, expected at most %u", rows->width,
                        VLJ_NEAREST_MOST_INT8_WIDTH);
    }
    if (query_floats != rows->width) {
        return vlj_fail(VLJ_E_ARGUMENT, "query has %zu floats, expected %u, the rows' width", query_floats,
                        rows->width);
    }
    if (k == 0 || k > rows->count) {
        return vlj_fail(VLJ_E_ARGUMENT, "k is %u, expected 1 to %llu, the count of rows", k,
                        (unsigned long long)rows->count);
    }
    return VLJ_OK;
}

vlj_status vlj_nearest_rows(const vlj_rows *rows, const float *query, size_t query_floats, uint32_t k,
                            uint32_t *indices, float *cosines) {
    vlj_rows known;
    if (rows == NULL || query == NULL || indices == NULL || cosines == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "vlj_nearest_rows: %s is NULL",
                        rows == NULL      ? "rows"
                        : query == NULL   ? "query"
                        : indices == NULL ? "indices"
                                          : "cosines");
    }
    vlj_status status = vlj_struct_read(&known, sizeof known, rows, "rows");
    if (status == VLJ_OK) {
        status = check_rows(&known, query_floats, k);
    }
    if (status != VLJ_OK) {
        return status;
    }
    const vlj_dot_kernels *kernels = vlj_dot_kernels_best();
    const vlj_bank bank = {.type = known.dtype == VLJ_INT8      ? VLJ_ROWS_INT8
                                   : known.dtype == VLJ_FLOAT16 ? VLJ_ROWS_HALF
                                                                : VLJ_ROWS_FLOAT,
                           .rows = known.data,
                           .scales = known.scales,
                           .count = (size_t)known.count,
                           .width = known.width};
    double square = kernels->square(query, known.width);
    if (!isfinite(square) || square <= 0.0) {
        return vlj_fail(VLJ_E_ARGUMENT, "query has length %g, expected a finite one above 0", sqrt(square));
    }
    vlj_nearest(kernels, &bank, query, (float)(1.0 / sqrt(square)), k, indices, cosines);
    return VLJ_OK;
}

vlj_status vlj_quantise_rows(const float *rows, uint64_t count, uint32_t width, int8_t *values, float *scales) {
    if (rows == NULL || values == NULL || scales == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "vlj_quantise_rows: %s is NULL",
                        rows == NULL     ? "rows"
                        : values == NULL ? "values"
                                         : "scales");
    }
    const vlj_dot_kernels *kernels = vlj_dot_kernels_best();
    for (uint64_t i = 0; i < count; i++) {
        const float *row = rows + (size_t)i * width;
        if (!isfinite(kernels->square(row, width))) {
            return vlj_fail(VLJ_E_ARGUMENT, "row %llu holds a value that is not finite", (unsigned long long)i);
        }
        scales[i] = vlj_quantise_row(row, width, values + (size_t)i * width);
    }
    return VLJ_OK;
}
