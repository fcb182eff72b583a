/* nearest.h: exact search: the rows of a bank of embeddings with the largest cosine to a query.
 *
 * One pass over the rows, in order, bound by memory: an INT8 row is a quarter of a float one, so the search takes about
 * a quarter of the time. The best k are kept in the caller's arrays; nothing is allocated.
 */
#ifndef VLJ_KERNELS_NEAREST_H
#define VLJ_KERNELS_NEAREST_H

#include <stddef.h>
#include <stdint.h>

#include "dot.h"

#define VLJ_NEAREST_MOST_INT8_WIDTH 8192u

typedef enum vlj_row_type { VLJ_ROWS_FLOAT, VLJ_ROWS_HALF, VLJ_ROWS_INT8 } vlj_row_type;

/* [count, width], contiguous, of unit length. INT8 row i means scales[i] * row; scales NULL: 1 / 127 for all. */
typedef struct vlj_bank {
    vlj_row_type type;
    const void *rows;
    const float *scales;
    size_t count, width; /* count < 2^32; width <= VLJ_NEAREST_MOST_INT8_WIDTH for INT8 */
} vlj_bank;

/* The k rows with the largest cosine to `query` [width], which may have any length: scale is 1 / it. Best first; of
 * equal ones the earlier row first, and rows with NaN last. 1 <= k <= bank->count. For INT8 rows the query is rounded
 * to 14 bits of its largest value (fewer above 2,048 values), and the sums are exact integers. */
void vlj_nearest(const vlj_dot_kernels *kernels, const vlj_bank *bank, const float *query, float scale, uint32_t k,
                 uint32_t *indices, float *cosines);

/* A float row as INT8: values = round(127 * row / max |row|); the scale that is given back makes scale * values of unit
 * length, so that a search gives cosines to what is stored. A row of zeros has scale 0. No value may be NaN or
 * infinite. */
float vlj_quantise_row(const float *row, size_t width, int8_t *values);

#endif
