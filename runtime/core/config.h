/* config.h: the bundle's CONFIG section as native fields, checked for ranges and for agreement with itself. */
#ifndef VLJ_CORE_CONFIG_H
#define VLJ_CORE_CONFIG_H

#include "index.h"
#include "vljepa.h"

typedef struct vlj_config {
    char name[65];
    char precision[17];
    uint32_t frames, height, width; /* T, H, W of a window */
    uint32_t tubelet_frames, patch_pixels;
    float fps;
    uint32_t stride; /* sampled frames */
    uint32_t resize_short_side, resize_filter;
    uint32_t visual_tokens, visual_width;   /* N, D */
    uint32_t query_width, max_query_tokens; /* W, most L */
    uint32_t embedding_width;               /* E */
    uint32_t text_max_tokens;               /* Y-Encoder; 0: none */
    uint32_t pooling, rope_variant;
    /* Y-Decoder; all 0 where the bundle has none (decoder_vocabulary == 0 tells) */
    uint32_t decoder_prefix_tokens; /* K */
    uint32_t decoder_width;
    uint32_t decoder_planes;         /* P = 2 x layers */
    uint32_t decoder_kv_heads;       /* G */
    uint32_t decoder_head_dim;       /* H */
    uint32_t decoder_cache_length;   /* C >= K + max_new_tokens */
    uint32_t decoder_vocabulary;     /* V */
    uint32_t begin_token, end_token; /* < V */
    uint32_t max_new_tokens;
    vlj_decode_when decode_when;
    vlj_gate_options gate; /* struct_size and width are set */
} vlj_config;

/* Reads and checks CONFIG of `index`. VLJ_E_BUNDLE names file, field, what was expected and what was found. */
vlj_status vlj_config_read(const vlj_index *index, vlj_config *config);

/* Bytes of one planar frame [3, H, W] and of a window [T, 3, H, W]. */
static inline size_t vlj_config_frame_bytes(const vlj_config *c) {
    return (size_t)3 * c->height * c->width;
}
static inline size_t vlj_config_window_bytes(const vlj_config *c) {
    return vlj_config_frame_bytes(c) * c->frames;
}

#endif
