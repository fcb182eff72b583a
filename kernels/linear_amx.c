/* linear_amx.c: INT8 products with AMX, 32 rows by 32 columns at a time.
 *
 * A call's rows are worked on in groups whose INT8 values stay in the second cache; of the weights, 32 columns at a
 * time are read, once per group, and stay in the first one while the rows go by. Sums of a long row are kept between
 * parts of it.
 */
#include "linear_kernels.h"

#if VLJ_KERNELS_AMX

#include <string.h>

#include "amx_tiles.h"
#include "linear_amx_finish.h"
#include "linear_amx_pack.h"

enum {
    CACHED = 1280 * 1024, /* bytes of a group's values */
    DEPTH = 512           /* of a row that are multiplied at a time */
};

static size_t rows_padded(size_t rows) {
    return (rows + BLOCK - 1) / BLOCK * BLOCK;
}

static size_t group_of(const vlj_linear *l) {
    size_t rows = CACHED / l->inner / BLOCK * BLOCK;
    rows = rows > 0 ? rows : BLOCK;
    return rows < rows_padded(l->rows) ? rows : rows_padded(l->rows);
}

/* A group's values, sums of its rows between parts, and of two blocks: one is made while the other is finished. */
static size_t scratch_bytes(const vlj_linear *l) {
    return group_of(l) * (l->inner + BLOCK * sizeof(int32_t)) + 2 * BLOCK * BLOCK * sizeof(int32_t);
}

/* What goes on beside products, since tiles are multiplied by a unit of their own: the block that was made last is
 * finished, and the weights that come next are fetched. */
typedef struct beside {
    block made;
    const char *next, *end; /* of those weights */
    size_t lines;           /* of them, at each step */
} beside;

/* Adds products of 2 x 2 tiles over `steps` of 64 values each. */
AMX_INLINE void multiply(const vlj_linear *l, vlj_linear_activation activation, vlj_linear_type type, const int8_t *a,
                         const int8_t *w, size_t steps, beside *b) {
    const size_t next = 16 * l->inner, rows = (BLOCK + steps - 1) / steps;
    for (size_t k = 0; k < steps; k++) {
        _tile_loadd(6, w + k * TILE, 64);
        _tile_loadd(4, a + k * TILE, 64);
        _tile_dpbssd(0, 4, 6);
        _tile_loadd(7, w + next + k * TILE, 64);
        _tile_dpbssd(1, 4, 7);
        _tile_loadd(5, a + next + k * TILE, 64);
        _tile_dpbssd(2, 5, 6);
        _tile_dpbssd(3, 5, 7);
        for (size_t i = 0; i < b->lines && b->next < b->end; i++, b->next += 64) {
            _mm_prefetch(b->next, _MM_HINT_T0);
        }
        finish(l, activation, type, &b->made, rows);
    }
}

/* 32 columns of all rows of a group, which begins with row `first`. */
AMX_INLINE void columns_of_group(const vlj_linear *l, vlj_linear_activation activation, vlj_linear_type type,
                                 const int8_t *packed, size_t first, size_t count, size_t column, int32_t *sums) {
    const int8_t *weights = l->weights + column * l->inner;
    const size_t blocks = (count + BLOCK - 1) / BLOCK;
    beside b = {.next = (const char *)(weights + BLOCK * l->inner), .lines = (BLOCK + blocks - 1) / blocks};
    b.end = column + BLOCK < l->columns ? b.next + BLOCK * l->inner : b.next;
    for (size_t k = 0; k < l->inner; k += DEPTH) {
        const size_t steps = (l->inner - k < DEPTH ? l->inner - k : DEPTH) / 64;
        const int last = k + DEPTH >= l->inner;
        for (size_t r = 0; r < count; r += BLOCK) {
            int32_t *kept = sums + r * BLOCK;
            int32_t *c = last ? sums + group_of(l) * BLOCK + r / BLOCK % 2 * BLOCK * BLOCK : kept;
            if (k == 0) {
                _tile_zero(0);
                _tile_zero(1);
                _tile_zero(2);
                _tile_zero(3);
            } else {
                _tile_loadd(0, kept, 64);
                _tile_loadd(1, kept + 256, 64);
                _tile_loadd(2, kept + 512, 64);
                _tile_loadd(3, kept + 768, 64);
            }
            multiply(l, activation, type, packed + r * l->inner + 16 * k, weights + 16 * k, steps, &b);
            _tile_stored(0, c, 64);
            _tile_stored(1, c + 256, 64);
            _tile_stored(2, c + 512, 64);
            _tile_stored(3, c + 768, 64);
            FENCE;
            if (last) {
                b.made = (block){c, first + r, column, count - r < BLOCK ? count - r : BLOCK, 0};
            }
        }
    }
    finish(l, activation, type, &b.made, BLOCK);
}

AMX_INLINE void run_as(const vlj_linear *l, vlj_linear_activation activation, vlj_linear_type type, size_t first,
                       size_t count, void *scratch) {
    const size_t group = group_of(l);
    int8_t *packed = scratch;
    int32_t *sums = (int32_t *)(packed + group * l->inner);
    for (size_t r = 0; r < count; r += group) {
        size_t rows = count - r < group ? count - r : group;
        pack_rows(l, first + r, rows, packed);
        FENCE;
        for (size_t column = 0; column < l->columns; column += BLOCK) {
            columns_of_group(l, activation, type, packed, first + r, rows, column, sums);
        }
    }
}

/* What layers have is compiled on its own. */
AMX static void run_float32(const vlj_linear *l, size_t first, size_t count, void *scratch) {
    run_as(l, VLJ_LINEAR_IDENTITY, VLJ_LINEAR_FLOAT32, first, count, scratch);
}
AMX static void run_bfloat16(const vlj_linear *l, size_t first, size_t count, void *scratch) {
    run_as(l, VLJ_LINEAR_IDENTITY, VLJ_LINEAR_BFLOAT16, first, count, scratch);
}
AMX static void run_gelu(const vlj_linear *l, size_t first, size_t count, void *scratch) {
    run_as(l, VLJ_LINEAR_GELU, VLJ_LINEAR_INT8, first, count, scratch);
}
AMX static void run_silu(const vlj_linear *l, size_t first, size_t count, void *scratch) {
    run_as(l, VLJ_LINEAR_SILU, VLJ_LINEAR_INT8, first, count, scratch);
}
AMX static void run_any(const vlj_linear *l, size_t first, size_t count, void *scratch) {
    run_as(l, l->activation, l->out_type, first, count, scratch);
}

AMX static void run(const vlj_linear *l, size_t first, size_t count, void *scratch) {
    const int plain = l->activation == VLJ_LINEAR_IDENTITY, whole = l->out_type == VLJ_LINEAR_INT8;
    tile_config before;
    take_tiles(&before);
    if (plain && l->out_type == VLJ_LINEAR_FLOAT32) {
        run_float32(l, first, count, scratch);
    } else if (plain && l->out_type == VLJ_LINEAR_BFLOAT16) {
        run_bfloat16(l, first, count, scratch);
    } else if (l->activation == VLJ_LINEAR_GELU && whole) {
        run_gelu(l, first, count, scratch);
    } else if (l->activation == VLJ_LINEAR_SILU && whole) {
        run_silu(l, first, count, scratch);
    } else {
        run_any(l, first, count, scratch);
    }
    give_tiles_back(&before);
}

const vlj_linear_kernels vlj_linear_amx = {
    .name = "amx",
    .isa = VLJ_ISA_AMX,
    .scratch_bytes = scratch_bytes,
    .run = run,
};

#else
typedef int vlj_linear_amx_is_for_x86; /* ISO C wants one declaration per file */
#endif
