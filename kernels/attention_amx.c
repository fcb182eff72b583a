/* attention_amx.c: attention of heads 64 wide with AMX: S^T = K Q^T, P = 2^(S - shift), O^T = V^T P^T, in blocks of 32
 * queries whose scores never leave the first cache.
 *
 * Queries carry log2(e) * 2^23, which is how attention_amx_weigh.h takes scores.
 *
 * Softmax doesn't change when all of a row's scores are shifted. By Cauchy-Schwarz no score is larger than the longest
 * query times the longest key. Where that is below QUICK, one shift suits every row: weights lie in 2^-100 ... 2^60, no
 * sum comes near overflow, and what is rounded to zero is less than 2^-26 of its row's largest. Other blocks
 * (`careful`) find each row's maximum first.
 */
#include "attention_kernels.h"

#if VLJ_KERNELS_AMX

#include <math.h>
#include <string.h>

#include "amx_tiles.h"
#include "attention_amx_pack.h"
#include "attention_amx_weigh.h"

enum { CHUNK = 256 }; /* keys between two products with values: their weights stay in the first cache */
#define UNIT 8388608.0f
#define LOG2_E 1.44269504f
#define QUICK 79.9f /* of powers of two */
enum { QUICK_BIAS = (127 - 20) * 128, CAREFUL_BIAS = 127 * 128 };

typedef struct head {
    size_t tokens, padded;
    uint16_t *keys, *values, *queries, *weights; /* weights [CHUNK / 32][2 of 16 queries][16 pairs of keys][16][2] */
    float *scores;                               /* two blocks of [2 of 16 queries][32 keys][16] */
    float *sums;                                 /* [4 of 16 values][2 of 16 queries][16][16] */
    float *mask;                                 /* in 2^-23 of a power of two; NULL: none, and no padding */
    int16_t *mask_words;                         /* in 2^-7, cut off at -2^15 */
    float *query_squares;                        /* of each block */
    float key_square;
} head;

static size_t padded_to(size_t tokens) {
    return (tokens + BLOCK - 1) / BLOCK * BLOCK;
}

/* Sizes are multiples of 64 bytes, so that all of it is aligned. */
static size_t lay_out(const vlj_attention *a, head *h, const void *scratch) {
    uintptr_t at = (uintptr_t)scratch; /* a number: only sizes are asked for where it is NULL */
    size_t used = 0, padded = padded_to(a->tokens), rows = padded * WIDTH * sizeof(uint16_t);
    *h = (head){.tokens = a->tokens, .padded = padded};
#define TAKE(field, bytes) (h->field = (void *)(at + used), used += ((bytes) + 63) / 64 * 64)
    TAKE(keys, rows);
    TAKE(values, rows);
    TAKE(queries, rows);
    TAKE(weights, BLOCK * CHUNK * sizeof(uint16_t));
    TAKE(scores, 2 * BLOCK * BLOCK * sizeof(float));
    TAKE(sums, WIDTH * BLOCK * sizeof(float));
    TAKE(mask, padded * sizeof(float));
    TAKE(mask_words, padded * sizeof(int16_t));
    TAKE(query_squares, padded / BLOCK * sizeof(float));
#undef TAKE
    return used;
}

static size_t scratch_bytes(const vlj_attention *a) {
    head h;
    return lay_out(a, &h, NULL);
}

/* The largest of a mask becomes 0, and padding is masked off. */
AMX static void pack_mask(const vlj_attention *a, head *h) {
    float most = a->mask != NULL ? -INFINITY : 0.0f;
    if (a->mask == NULL && h->padded == a->tokens) {
        h->mask = NULL;
        return;
    }
    for (size_t j = 0; a->mask != NULL && j < a->tokens; j++) {
        most = a->mask[j] > most ? a->mask[j] : most;
    }
    for (size_t j = 0; j < h->padded; j++) {
        float x = j >= a->tokens ? -INFINITY : a->mask != NULL ? (a->mask[j] - most) * LOG2_E : 0.0f;
        h->mask[j] = x * UNIT;
        h->mask_words[j] = x > -255.0f ? (int16_t)lrintf(x * 128.0f) : INT16_MIN; /* of NaN too */
    }
}

/* Scores of 16 keys and the block's 32 queries (tiles 0-3 hold them) into tiles 6 and 7. `start` NULL: from 0; else
 * each query's own. */
AMX_INLINE void multiply_keys(const uint16_t *keys, const float *start) {
    _tile_loadd(4, keys, 128);
    if (start != NULL) {
        _tile_loadd(6, start, 0);
    } else {
        _tile_zero(6);
    }
    _tile_dpbf16ps(6, 4, 0);
    if (start != NULL) {
        _tile_loadd(7, start + 16, 0);
    } else {
        _tile_zero(7);
    }
    _tile_dpbf16ps(7, 4, 2);
    _tile_loadd(5, keys + 32, 128);
    _tile_dpbf16ps(6, 5, 1);
    _tile_dpbf16ps(7, 5, 3);
}

AMX_INLINE void store_scores(float *scores) {
    _tile_stored(6, scores, 64);
    _tile_stored(7, scores + 512, 64);
}

AMX_INLINE void load_queries(const uint16_t *queries) {
    _tile_loadd(0, queries, 64);
    _tile_loadd(1, queries + 512, 64);
    _tile_loadd(2, queries + 1024, 64);
    _tile_loadd(3, queries + 1536, 64);
}

/* Each key's mask onto a block of scores, in full: a word's -256 isn't enough below scores that are hot. */
AMX_INLINE void add_mask(float *scores, const float *mask) {
    for (int r = 0; r < 2 * BLOCK; r++) {
        __m512 m = _mm512_set1_ps(mask[r % BLOCK]);
        _mm512_store_ps(scores + 16 * r, _mm512_add_ps(_mm512_load_ps(scores + 16 * r), m));
    }
}

/* Minus the largest score of each of the block's 32 queries. */
AMX static void find_starts(const head *h, const uint16_t *queries, float *starts) {
    __m512 most[2] = {_mm512_set1_ps(-INFINITY), _mm512_set1_ps(-INFINITY)};
    load_queries(queries);
    for (size_t g = 0; g < h->padded; g += BLOCK) {
        for (size_t t = 0; t < 2; t++) {
            multiply_keys(h->keys + (g + 16 * t) * WIDTH, NULL);
            store_scores(h->scores + t * 256);
        }
        FENCE;
        if (h->mask != NULL) {
            add_mask(h->scores, h->mask + g);
        }
        for (int r = 0; r < 2 * BLOCK; r++) {
            most[r / BLOCK] = _mm512_max_ps(most[r / BLOCK], _mm512_load_ps(h->scores + 16 * r));
        }
    }
    _mm512_store_ps(starts, _mm512_sub_ps(_mm512_setzero_ps(), most[0]));
    _mm512_store_ps(starts + 16, _mm512_sub_ps(_mm512_setzero_ps(), most[1]));
    FENCE;
}

/* Weights of keys first ... last - 1, a block's products while the one before is weighed. */
AMX_INLINE void weigh_chunk(const head *h, size_t first, size_t last, const int16_t *mask, const float *starts,
                            int16_t bias, __m512 sums[4]) {
    const uint16_t *keys = h->keys + first * WIDTH;
    multiply_keys(keys, starts);
    store_scores(h->scores);
    multiply_keys(keys + 16 * WIDTH, starts);
    store_scores(h->scores + 256);
    for (size_t g = first; g < last; g += BLOCK) {
        float *scores = h->scores + ((g - first) / BLOCK % 2) * 1024;
        float *next = h->scores + ((g - first) / BLOCK % 2 == 0) * 1024;
        const int16_t *words = mask != NULL ? mask + g : NULL;
        uint16_t *weights = h->weights + (g - first) * 32;
        int more = g + BLOCK < last;
        keys += BLOCK * WIDTH;
        if (starts != NULL && h->mask != NULL) {
            FENCE;
            add_mask(scores, h->mask + g);
        }
        if (more) {
            multiply_keys(keys, starts);
        }
        weigh(scores, words, bias, 0, 8, weights, sums);
        if (more) {
            store_scores(next);
            multiply_keys(keys + 16 * WIDTH, starts);
        }
        weigh(scores, words, bias, 8, 16, weights, sums);
        if (more) {
            store_scores(next + 256);
        }
    }
    FENCE;
}

/* Adds the chunk's weighted values to h->sums; the first one sets them. */
AMX_INLINE void multiply_values(const head *h, size_t first, size_t last) {
    for (size_t d = 0; d < 2; d++) {
        const uint16_t *values = h->values + d * h->padded * 32 + first * 32, *weights = h->weights;
        float *sums = h->sums + d * 1024;
        if (first > 0) {
            _tile_loadd(0, sums, 64);
            _tile_loadd(1, sums + 256, 64);
            _tile_loadd(2, sums + 512, 64);
            _tile_loadd(3, sums + 768, 64);
        } else {
            _tile_zero(0);
            _tile_zero(1);
            _tile_zero(2);
            _tile_zero(3);
        }
        for (size_t g = first; g < last; g += BLOCK, values += 1024, weights += 1024) {
            _tile_loadd(4, values, 64);
            _tile_loadd(6, weights, 64);
            _tile_dpbf16ps(0, 4, 6);
            _tile_loadd(7, weights + 512, 64);
            _tile_dpbf16ps(1, 4, 7);
            _tile_loadd(5, values + 512, 64);
            _tile_dpbf16ps(2, 5, 6);
            _tile_dpbf16ps(3, 5, 7);
        }
        _tile_stored(0, sums, 64);
        _tile_stored(1, sums + 256, 64);
        _tile_stored(2, sums + 512, 64);
        _tile_stored(3, sums + 768, 64);
    }
    FENCE;
}

/* Column `at` of the output on, for the block's queries. */
AMX_INLINE void write_block(const vlj_attention *a, const head *h, size_t first, const __m512 sums[4], size_t at) {
    const __m512 steps = _mm512_set1_ps(a->out_scale != 0.0f ? 1.0f / a->out_scale : 1.0f);
    for (size_t t = 0; t < 2; t++) {
        __m512 inverse = _mm512_div_ps(steps, _mm512_add_ps(sums[2 * t], sums[2 * t + 1]));
        for (size_t d = 0; d < 4; d++) {
            __m512i rows[16];
            for (size_t i = 0; i < 16; i++) {
                const float *sum = h->sums + d * 512 + t * 256 + i * 16;
                rows[i] = (__m512i)_mm512_mul_ps(_mm512_load_ps(sum), inverse);
            }
            transpose_16(rows);
            for (size_t i = 0; i < 16 && first + 16 * t + i < h->tokens; i++) {
                size_t to = (first + 16 * t + i) * a->heads * WIDTH + at + 16 * d;
                if (a->out_scale == 0.0f) {
                    _mm512_storeu_ps((float *)a->out + to, (__m512)rows[i]);
                } else {
                    __m128i bytes = _mm512_cvtsepi32_epi8(_mm512_cvtps_epi32((__m512)rows[i]));
                    _mm_storeu_si128((void *)((int8_t *)a->out + to), bytes);
                }
            }
        }
    }
}

AMX_INLINE void attend(const vlj_attention *a, const head *h, const int16_t *mask, size_t at) {
    float starts[BLOCK] __attribute__((aligned(64)));
    for (size_t n = 0; n < h->padded; n += BLOCK) {
        const uint16_t *queries = h->queries + n * WIDTH;
        float most = sqrtf(h->key_square) * sqrtf(h->query_squares[n / BLOCK]);
        int quick = most < QUICK * UNIT;
        __m512 zero = _mm512_set1_ps(most != most ? most : 0.0f); /* NaN of one key or query is its block's */
        __m512 sums[4] = {zero, zero, zero, zero};
        if (!quick) {
            find_starts(h, queries, starts);
        }
        for (size_t c = 0; c < h->padded; c += CHUNK) {
            size_t end = c + CHUNK < h->padded ? c + CHUNK : h->padded;
            load_queries(queries);
            if (quick) {
                weigh_chunk(h, c, end, mask, NULL, QUICK_BIAS, sums);
            } else {
                weigh_chunk(h, c, end, NULL, starts, CAREFUL_BIAS, sums);
            }
            multiply_values(h, c, end);
        }
        write_block(a, h, n, sums, at);
    }
}

AMX static void run(const vlj_attention *a, size_t first, size_t count, void *scratch) {
    size_t group = a->heads / a->kv_heads, row = (a->heads + 2 * a->kv_heads) * WIDTH;
    tile_config before;
    head h;
    lay_out(a, &h, scratch);
    pack_mask(a, &h);
    take_tiles(&before);
    for (size_t i = first; i < first + count; i++) {
        size_t keys = (a->heads + i / group) * WIDTH;
        if (i == first || i % group == 0) {
            h.key_square = pack_keys(a, keys, row, h.padded, h.keys);
            pack_values(a, keys + a->kv_heads * WIDTH, row, h.padded, h.values);
        }
        pack_queries(a, i * WIDTH, row, h.padded, LOG2_E * UNIT, h.queries, h.query_squares);
        FENCE;
        if (h.mask != NULL) {
            attend(a, &h, h.mask_words, i * WIDTH);
        } else {
            attend(a, &h, NULL, i * WIDTH);
        }
    }
    give_tiles_back(&before);
}

const vlj_attention_kernels vlj_attention_amx = {
    .name = "amx",
    .isa = VLJ_ISA_AMX,
    .width = WIDTH,
    .scratch_bytes = scratch_bytes,
    .run = run,
};

#else
typedef int vlj_attention_amx_is_for_x86; /* ISO C wants one declaration per file */
#endif
