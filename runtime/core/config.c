/* config.c: reads CONFIG (docs/format.md) and checks that its numbers make sense by themselves and together. */
#include "config.h"

#include <string.h>

#include "bytes.h"
#include "error.h"

enum { CONFIG_BYTES = 512 };
#define MOST_TENSOR_BYTES ((uint64_t)1 << 31) /* of one activation: above it a field is damaged rather than large */

typedef struct reader {
    const char *path;
    const uint8_t *at;
    vlj_status status; /* of the first field that was wrong; later ones are not looked at */
} reader;

static uint32_t number(reader *r, uint32_t offset, const char *field, uint32_t least, uint32_t most) {
    uint32_t value = vlj_load_u32(r->at + offset);
    if (r->status == VLJ_OK && (value < least || value > most)) {
        r->status =
            vlj_fail(VLJ_E_BUNDLE, "%s: CONFIG: %s is %u, expected %u to %u", r->path, field, value, least, most);
    }
    return value;
}

static float real(reader *r, uint32_t offset, const char *field, float least, float most) {
    float value = vlj_load_f32(r->at + offset);
    if (r->status == VLJ_OK && !(value >= least && value <= most)) { /* NaN fails too */
        r->status = vlj_fail(VLJ_E_BUNDLE, "%s: CONFIG: %s is %g, expected %g to %g", r->path, field, (double)value,
                             (double)least, (double)most);
    }
    return value;
}

static void text(reader *r, uint32_t offset, uint32_t bytes, const char *field, char *to) {
    memcpy(to, r->at + offset, bytes);
    to[bytes] = '\0';
    if (r->status == VLJ_OK && !vlj_utf8_valid(to, strlen(to))) {
        r->status = vlj_fail(VLJ_E_BUNDLE, "%s: CONFIG: %s is not UTF-8", r->path, field);
    }
}

/* `left` must be `right`: both are told. */
static void expect(reader *r, int holds, const char *field, uint64_t found, const char *rule, uint64_t expected) {
    if (r->status == VLJ_OK && !holds) {
        r->status = vlj_fail(VLJ_E_BUNDLE, "%s: CONFIG: %s is %llu, expected %s %llu", r->path, field,
                             (unsigned long long)found, rule, (unsigned long long)expected);
    }
}

static void read_window(reader *r, vlj_config *c) {
    text(r, 4, 64, "name", c->name);
    text(r, 68, 16, "precision", c->precision);
    c->frames = number(r, 84, "frames", 1, 1024);
    c->height = number(r, 88, "height", 1, 8192);
    c->width = number(r, 92, "width", 1, 8192);
    c->tubelet_frames = number(r, 96, "tubelet frames", 1, 1024);
    c->patch_pixels = number(r, 100, "patch pixels", 1, 8192);
    c->fps = real(r, 104, "fps", 0.001f, 1000.0f);
    c->stride = number(r, 108, "stride", 1, 1000000);
    c->resize_short_side = number(r, 112, "resize short side", 1, 8192);
    c->resize_filter = number(r, 116, "resize filter", 0, 0);
    c->visual_tokens = number(r, 120, "visual tokens", 1, 1u << 24);
    c->visual_width = number(r, 124, "visual width", 1, 1u << 16);
    c->query_width = number(r, 128, "query embedding width", 1, 1u << 16);
    c->max_query_tokens = number(r, 132, "query tokens at most", 1, 1u << 16);
    c->embedding_width = number(r, 136, "embedding width", 1, 1u << 16);
    c->text_max_tokens = number(r, 140, "Y-Encoder tokens at most", 0, 1u << 16);
    c->pooling = number(r, 144, "pooling", 0, 2);
    c->rope_variant = number(r, 148, "RoPE variant", 0, 1);
    if (r->status != VLJ_OK) {
        return;
    }
    expect(r, c->frames % c->tubelet_frames == 0, "frames", c->frames, "a multiple of tubelet frames",
           c->tubelet_frames);
    expect(r, c->height % c->patch_pixels == 0, "height", c->height, "a multiple of patch pixels", c->patch_pixels);
    expect(r, c->width % c->patch_pixels == 0, "width", c->width, "a multiple of patch pixels", c->patch_pixels);
    uint64_t tokens =
        (uint64_t)(c->frames / c->tubelet_frames) * (c->height / c->patch_pixels) * (c->width / c->patch_pixels);
    expect(r, c->visual_tokens == tokens, "visual tokens", c->visual_tokens, "tubelets x rows x columns =", tokens);
    uint32_t crop = c->height < c->width ? c->height : c->width;
    expect(r, c->resize_short_side >= crop, "resize short side", c->resize_short_side, "at least the crop's", crop);
    uint64_t window = (uint64_t)3 * c->frames * c->height * c->width;
    expect(r, window <= MOST_TENSOR_BYTES, "bytes of a window", window, "at most", MOST_TENSOR_BYTES);
    uint64_t visual = (uint64_t)4 * c->visual_tokens * c->visual_width;
    expect(r, visual <= MOST_TENSOR_BYTES, "bytes of visual tokens", visual, "at most", MOST_TENSOR_BYTES);
}

static void read_decoder(reader *r, vlj_config *c) {
    if (vlj_load_u32(r->at + 152) == 0 && vlj_load_u32(r->at + 176) == 0) {
        return; /* K = V = 0: no Y-Decoder, and whatever the other fields hold is not used */
    }
    c->decoder_prefix_tokens = number(r, 152, "Y-Decoder soft prefix tokens", 1, 4096);
    c->decoder_width = number(r, 156, "Y-Decoder width", 1, 1u << 16);
    c->decoder_planes = number(r, 160, "KV planes", 2, 4096);
    c->decoder_kv_heads = number(r, 164, "KV heads", 1, 4096);
    c->decoder_head_dim = number(r, 168, "head size", 1, 4096);
    c->decoder_cache_length = number(r, 172, "KV cache length", 2, 1u << 16);
    c->decoder_vocabulary = number(r, 176, "vocabulary", 1, 1u << 24);
    c->begin_token = number(r, 180, "begin token", 0, 1u << 24);
    c->end_token = number(r, 184, "end token", 0, 1u << 24);
    c->max_new_tokens = number(r, 188, "new tokens at most", 1, 1u << 16);
    if (r->status != VLJ_OK) {
        return;
    }
    expect(r, c->begin_token < c->decoder_vocabulary, "begin token", c->begin_token, "below the vocabulary's",
           c->decoder_vocabulary);
    expect(r, c->end_token < c->decoder_vocabulary, "end token", c->end_token, "below the vocabulary's",
           c->decoder_vocabulary);
    expect(r, c->decoder_planes % 2 == 0, "KV planes", c->decoder_planes, "a multiple of", 2);
    uint64_t columns = (uint64_t)c->decoder_prefix_tokens + c->max_new_tokens;
    expect(r, c->decoder_cache_length >= columns, "KV cache length", c->decoder_cache_length,
           "prefix + new tokens, at least", columns);
    /* four factors of at most 2^12, 2^12, 2^16 and 2^12 bytes x 4: below 2^54 */
    uint64_t cache =
        (uint64_t)4 * c->decoder_planes * c->decoder_kv_heads * c->decoder_cache_length * c->decoder_head_dim;
    expect(r, cache <= MOST_TENSOR_BYTES, "bytes of the KV cache", cache, "at most", MOST_TENSOR_BYTES);
}

static void read_gate(reader *r, vlj_config *c) {
    c->decode_when = (vlj_decode_when)number(r, 192, "decode when", VLJ_DECODE_NEVER, VLJ_DECODE_BOTH);
    c->gate.struct_size = sizeof c->gate;
    c->gate.width = c->embedding_width;
    c->gate.smoothing = number(r, 196, "gate smoothing", 1, 16);
    c->gate.confirm = number(r, 200, "gate confirm", 1, 1000000);
    c->gate.ward_threshold = real(r, 204, "gate Ward threshold", -1e30f, 1e30f);
    c->gate.variance_threshold = real(r, 208, "gate variance threshold", -1e30f, 1e30f);
    c->gate.hysteresis = real(r, 212, "gate hysteresis", -1e30f, 1.0f);
    c->gate.target_rate_hz = real(r, 216, "gate target rate", 0.0f, 1000.0f);
    uint64_t least = vlj_load_u64(r->at + 224), most = vlj_load_u64(r->at + 232);
    memcpy(&c->gate.min_interval_ns, &least, sizeof least);
    memcpy(&c->gate.max_interval_ns, &most, sizeof most);
    expect(r, c->gate.min_interval_ns >= 0, "gate minimum interval", least, "at most", INT64_MAX);
}

vlj_status vlj_config_read(const vlj_index *index, vlj_config *config) {
    vlj_section section;
    vlj_status status = vlj_index_find(index, VLJ_SECTION_CONFIG, "config", &section);
    if (status != VLJ_OK) {
        return status;
    }
    const char *path = vlj_index_path(index);
    if (section.size != CONFIG_BYTES || vlj_load_u32(section.bytes) != CONFIG_BYTES) {
        return vlj_fail(VLJ_E_BUNDLE, "%s: CONFIG has %llu bytes, expected %d", path, (unsigned long long)section.size,
                        CONFIG_BYTES);
    }
    memset(config, 0, sizeof *config);
    reader r = {path, section.bytes, VLJ_OK};
    read_window(&r, config);
    read_decoder(&r, config);
    read_gate(&r, config);
    return r.status;
}
