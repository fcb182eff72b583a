/* CONFIG: what a sound one gives, and that each field out of range, or at odds with another, is named. */
#include "config.h"

#include "bundle_fixture.h"
#include "check.h"
#include "image_edit.h"

static uint32_t bits(float value) {
    uint32_t word;
    memcpy(&word, &value, sizeof word);
    return word;
}

static vlj_status read_config(image_bytes *image, vlj_config *config) {
    vlj_index *index = NULL;
    image_rehash(image, NULL);
    CHECK_OK(vlj_index_open_memory(image->bytes, image->size, 1, &index));
    vlj_status status = vlj_config_read(index, config);
    vlj_index_close(index);
    return status;
}

static void test_sound(image_bytes *image, const bundle_fixture *bundle) {
    vlj_config c;
    CHECK_OK(read_config(image, &c));
    CHECK(strcmp(c.name, "fixture") == 0 && strcmp(c.precision, "fp32") == 0);
    CHECK(c.frames == 4 && c.height == 32 && c.width == 32 && c.tubelet_frames == 2 && c.patch_pixels == 16);
    CHECK(c.fps == 10.0f && c.stride == 2 && c.resize_short_side == 36);
    CHECK(c.visual_tokens == 8 && c.visual_width == 16 && c.query_width == 12 && c.max_query_tokens == 512);
    CHECK(c.embedding_width == 8 && c.text_max_tokens == 32);
    CHECK(c.decoder_prefix_tokens == 2 && c.decoder_width == 8 && c.decoder_planes == 2 && c.decoder_kv_heads == 1);
    CHECK(c.decoder_head_dim == 4 && c.decoder_cache_length == 24 && c.decoder_vocabulary == 40);
    CHECK(c.begin_token == 1 && c.end_token == 2 && c.max_new_tokens == 12 && c.decode_when == VLJ_DECODE_ONSET);
    CHECK(c.gate.width == 8 && c.gate.smoothing == 1 && c.gate.confirm == 1);
    CHECK(c.gate.ward_threshold == bundle->gate.ward_threshold && c.gate.max_interval_ns == -1);
    CHECK_EQ(vlj_config_window_bytes(&c), 4 * 3 * 32 * 32);
}

typedef struct wrong {
    uint32_t offset, value;
    const char *words;
} wrong;

static void test_wrong(const image_bytes *sound) {
    const wrong list[] = {
        {0, 511, "CONFIG has 512 bytes"},
        {84, 0, "frames is 0, expected 1 to 1024"},
        {84, 3, "frames is 3, expected a multiple of tubelet frames 2"},
        {84, 8, "visual tokens is 8, expected tubelets x rows x columns = 16"},
        {88, 40, "height is 40, expected a multiple of patch pixels 16"},
        {92, 1u << 30, "width is 1073741824"},
        {96, 0, "tubelet frames is 0"},
        {100, 0, "patch pixels is 0"},
        {104, bits(0.0f), "fps is 0"},
        {104, 0x7FC00000u, "fps is nan"},
        {104, 0x7F800000u, "fps is inf"},
        {108, 0, "stride is 0"},
        {112, 16, "resize short side is 16, expected at least the crop's 32"},
        {116, 1, "resize filter is 1"},
        {120, 9, "visual tokens is 9"},
        {124, 0, "visual width is 0"},
        {128, 1u << 20, "query embedding width is 1048576"},
        {132, 0, "query tokens at most is 0"},
        {136, 0, "embedding width is 0"},
        {144, 3, "pooling is 3"},
        {148, 2, "RoPE variant is 2"},
        {152, 0, "soft prefix tokens is 0"},
        {152, 13, "KV cache length is 24, expected prefix + new tokens, at least 25"},
        {160, 3, "KV planes is 3, expected a multiple of 2"},
        {164, 0, "KV heads is 0"},
        {168, 1u << 20, "head size is 1048576"},
        {176, 0, "vocabulary is 0"},
        {180, 40, "begin token is 40, expected below the vocabulary's 40"},
        {184, 41, "end token is 41"},
        {188, 0, "new tokens at most is 0"},
        {192, 4, "decode when is 4"},
        {196, 0, "gate smoothing is 0"},
        {196, 17, "gate smoothing is 17"},
        {200, 0, "gate confirm is 0"},
        {204, 0x7FC00000u, "gate Ward threshold is nan"},
        {212, bits(1.5f), "gate hysteresis is 1.5"},
        {216, bits(-1.0f), "gate target rate is -1"},
        {228, 0x80000000u, "gate minimum interval"},
        {4, 0x000000FFu, "name is not UTF-8"},
    };
    for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
        image_bytes image = image_copy(sound);
        image_put_u32(image_section(&image, VLJ_SECTION_CONFIG, "config") + list[i].offset, list[i].value);
        vlj_config c;
        CHECK_FAILS(read_config(&image, &c), VLJ_E_BUNDLE, list[i].words);
        image_free(&image);
    }
}

/* Products that a single field's range allows, but no machine holds. */
static void test_too_large(const image_bytes *sound) {
    image_bytes image = image_copy(sound);
    uint8_t *config = image_section(&image, VLJ_SECTION_CONFIG, "config");
    image_put_u32(config + 84, 1024), image_put_u32(config + 88, 8192), image_put_u32(config + 92, 8192);
    image_put_u32(config + 96, 1024), image_put_u32(config + 100, 8192), image_put_u32(config + 120, 1);
    image_put_u32(config + 112, 8192);
    vlj_config c;
    CHECK_FAILS(read_config(&image, &c), VLJ_E_BUNDLE, "bytes of a window");
    image_free(&image);
    image = image_copy(sound);
    config = image_section(&image, VLJ_SECTION_CONFIG, "config");
    image_put_u32(config + 160, 4096), image_put_u32(config + 164, 4096), image_put_u32(config + 168, 4096);
    image_put_u32(config + 172, 65536);
    CHECK_FAILS(read_config(&image, &c), VLJ_E_BUNDLE, "bytes of the KV cache");
    image_free(&image);
}

int main(void) {
    bundle_fixture bundle;
    bundle_fixture_defaults(&bundle);
    bundle.image = 1;
    bundle_fixture_write(&bundle);
    image_bytes image = image_load(bundle.index_path);
    test_sound(&image, &bundle);
    test_wrong(&image);
    test_too_large(&image);
    bundle_fixture_remove(&bundle);
    image_free(&image);

    bundle.prefix_tokens = 0; /* no Y-Decoder */
    bundle_fixture_write(&bundle);
    image = image_load(bundle.index_path);
    vlj_config c;
    CHECK_OK(read_config(&image, &c));
    CHECK_EQ(c.decoder_vocabulary, 0);
    image_free(&image);
    bundle_fixture_remove(&bundle);
    return 0;
}
