/* The reader of index and image: what it gives, and that every kind of damage is an error that names file and field. */
#include <unistd.h>

#include "bundle_fixture.h"
#include "check.h"
#include "image_edit.h"
#include "index.h"

static void small(bundle_fixture *bundle, uint32_t as_image) {
    bundle_fixture_defaults(bundle);
    bundle->image = as_image;
    bundle->prefix_tokens = 0;
    bundle->phrase_count = 2;
    bundle->query_count = 1;
    bundle->query_table_rows = 0;
    bundle->component_mask = 3;
    bundle_fixture_write(bundle);
}

static void test_sound(void) {
    bundle_fixture bundle;
    bundle_fixture_defaults(&bundle);
    for (bundle.image = 0; bundle.image <= 1; bundle.image++) {
        bundle_fixture_write(&bundle);
        vlj_index *index = NULL;
        CHECK_OK(vlj_index_open(bundle.path, 1, &index));
        CHECK(strcmp(vlj_index_path(index), bundle.index_path) == 0);
        CHECK(bundle.image ? vlj_index_folder(index) == NULL : strcmp(vlj_index_folder(index), bundle.folder) == 0);
        CHECK_EQ(vlj_index_section_count(index), 1 + 5 + 2 + 1 + 1 + 2);
        vlj_section section;
        VLJ_INIT(section);
        CHECK_OK(vlj_index_section(index, 1, &section));
        CHECK_EQ(section.kind, VLJ_SECTION_ENGINE);
        CHECK(strcmp(section.name, "x_encoder") == 0);
        CHECK(strcmp(section.file, bundle.image ? "" : "x_encoder.onnx") == 0);
        CHECK(memcmp(section.bytes, "dummy engine x_encoder", 22) == 0);
        CHECK_FAILS(vlj_index_section(index, 12, &section), VLJ_E_ARGUMENT, "section 12 of 12");
        CHECK_OK(vlj_index_find(index, VLJ_SECTION_PHRASE_BANK, "words", &section));
        CHECK_FAILS(vlj_index_find(index, VLJ_SECTION_PHRASE_BANK, "birds", &section), VLJ_E_BUNDLE_MISSING,
                    "has no phrase bank \"birds\"");
        CHECK(vlj_index_nth(index, VLJ_SECTION_QUERY, 1, &section) && strcmp(section.name, "query 1?") == 0);
        CHECK(!vlj_index_nth(index, VLJ_SECTION_QUERY, 2, &section));
        vlj_index_close(index);
        CHECK_OK(vlj_index_open(bundle.index_path, 0, &index)); /* the file itself */
        vlj_index_close(index);
        if (!bundle.image) {
            char slashed[400];
            snprintf(slashed, sizeof slashed, "%s///", bundle.folder);
            CHECK_OK(vlj_index_open(slashed, 1, &index));
            CHECK(strcmp(vlj_index_path(index), bundle.index_path) == 0);
            vlj_index_close(index);
        }
        bundle_fixture_remove(&bundle);
    }
    vlj_index_close(NULL);
}

static void test_missing(void) {
    vlj_index *index = (vlj_index *)&index;
    CHECK_FAILS(vlj_index_open("/nowhere/at/all.vlj", 1, &index), VLJ_E_BUNDLE_MISSING, "/nowhere/at/all.vlj");
    CHECK(index == NULL);
    CHECK_FAILS(vlj_index_open("", 1, &index), VLJ_E_ARGUMENT, "empty");
    CHECK_FAILS(vlj_index_open(NULL, 1, &index), VLJ_E_ARGUMENT, "empty");
    CHECK_FAILS(vlj_index_open("/dev/null", 1, &index), VLJ_E_BUNDLE_MISSING, "not a regular file");
    bundle_fixture bundle;
    small(&bundle, 0);
    char path[400];
    snprintf(path, sizeof path, "%s/predictor.onnx", bundle.folder);
    image_bytes engine = image_load(path);
    CHECK(unlink(path) == 0);
    CHECK_FAILS(vlj_index_open(bundle.path, 0, &index), VLJ_E_BUNDLE_MISSING, "predictor.onnx");
    engine.size--;
    image_save(&engine, path);
    CHECK_FAILS(vlj_index_open(bundle.path, 0, &index), VLJ_E_BUNDLE_HASH, "predictor.onnx has");
    engine.size++;
    engine.bytes[5] ^= 0x10;
    image_save(&engine, path);
    CHECK_FAILS(vlj_index_open(bundle.path, 1, &index), VLJ_E_BUNDLE_HASH, "predictor.onnx");
    CHECK_OK(vlj_index_open(bundle.path, 0, &index)); /* nobody asked for hashes */
    vlj_index_close(index);
    engine.size = 0;
    image_save(&engine, path);
    CHECK_FAILS(vlj_index_open(bundle.path, 1, &index), VLJ_E_BUNDLE_HASH, "has 0 bytes");
    CHECK(unlink(bundle.index_path) == 0);
    CHECK_FAILS(vlj_index_open(bundle.path, 1, &index), VLJ_E_BUNDLE_MISSING, "index.vlj");
    engine.size = 3;
    image_save(&engine, bundle.index_path);
    CHECK_FAILS(vlj_index_open(bundle.path, 1, &index), VLJ_E_BUNDLE, "not a vljepa index");
    image_free(&engine);
    bundle_fixture_remove(&bundle);
}

/* Every byte of an index and of an image, one at a time; then every length. */
static void test_flips_and_cuts(uint32_t as_image) {
    bundle_fixture bundle;
    small(&bundle, as_image);
    image_bytes image = image_load(bundle.index_path);
    vlj_index *index = NULL;
    if (as_image) {
        CHECK_OK(vlj_index_open_memory(image.bytes, image.size, 1, &index));
        vlj_index_close(index);
    }
    for (size_t i = 0; i < image.size; i++) {
        image.bytes[i] ^= (uint8_t)(1u << i % 8);
        vlj_status status;
        if (as_image) {
            status = vlj_index_open_memory(image.bytes, image.size, 1, &index);
        } else {
            image_save(&image, bundle.index_path);
            status = vlj_index_open(bundle.path, 1, &index);
        }
        if (status < 200 || status >= 300 || (i >= 40 && status != VLJ_E_BUNDLE_HASH)) {
            fprintf(stderr, "byte %zu of %zu flipped: %s, %s\n", i, image.size, vlj_status_name(status),
                    vlj_last_error());
            exit(1);
        }
        image.bytes[i] ^= (uint8_t)(1u << i % 8);
    }
    for (size_t size = 0; size < image.size && as_image; size++) {
        CHECK(vlj_index_open_memory(image.bytes, size, 1, &index) == VLJ_E_BUNDLE);
    }
    image_bytes cut = image;
    for (cut.size = 0; cut.size < image.size; cut.size += 97) {
        image_save(&cut, bundle.index_path);
        CHECK_FAILS(vlj_index_open(bundle.path, 1, &index), VLJ_E_BUNDLE, as_image ? "model.vlj" : "index.vlj");
    }
    cut.size = image.size + 1; /* something appended */
    image_save(&cut, bundle.index_path);
    CHECK_FAILS(vlj_index_open(bundle.path, 1, &index), VLJ_E_BUNDLE, "appended");
    image_free(&image);
    bundle_fixture_remove(&bundle);
}

/* Damage under a correct digest, as an attacker would sign it. */
typedef struct forgery {
    int32_t entry; /* -1: the header */
    uint32_t offset, bytes;
    uint64_t value;
    vlj_status status;
    const char *words;
} forgery;

static void test_forgeries(void) {
    static const forgery forgeries[] = {
        {-1, 8, 4, 2, VLJ_E_BUNDLE_SCHEMA, "format version is 2, this library reads 1"},
        {-1, 16, 8, 1u << 20, VLJ_E_BUNDLE, "header says"},
        {-1, 16, 8, UINT64_MAX, VLJ_E_BUNDLE, "header says"},
        {-1, 24, 4, 5000, VLJ_E_BUNDLE, "number of sections is 5000"},
        {-1, 24, 4, 4096, VLJ_E_BUNDLE, "section table"},
        {-1, 28, 4, 64, VLJ_E_BUNDLE, "bytes per section entry is 64"},
        {-1, 32, 8, 0, VLJ_E_BUNDLE, "section table"},
        {-1, 32, 8, 192 + 8, VLJ_E_BUNDLE, "section table"},
        {-1, 32, 8, UINT64_MAX - 63, VLJ_E_BUNDLE, "section table"},
        {-1, 80, 1, 1, VLJ_E_BUNDLE_HASH, "72-127"},
        {0, 8, 8, 0, VLJ_E_BUNDLE, "section 0 (config \"config\"): offset 0"},
        {0, 8, 8, 64, VLJ_E_BUNDLE, "offset 64"},
        {0, 8, 8, 8192 + 32, VLJ_E_BUNDLE, "multiple of 64"},
        {0, 8, 8, UINT64_MAX - 63, VLJ_E_BUNDLE, "does not lie"},
        {0, 16, 8, UINT64_MAX, VLJ_E_BUNDLE, "does not lie"},
        {0, 16, 8, 100000, VLJ_E_BUNDLE, "does not lie"},
        {0, 8, 8, 128, VLJ_E_BUNDLE, "overlaps"},
        {1, 16, 8, 4608, VLJ_E_BUNDLE, "\"predictor\" at 8192 overlaps what ends at 8704"},
        {1, 8, 8, 4096 + 64, VLJ_E_BUNDLE, "multiple of 4096"},
        {0, 56, 8, 0, VLJ_E_BUNDLE, "section 0: name is empty"},
        {0, 119, 1, 'x', VLJ_E_BUNDLE, "section 0: name"},
        {0, 57, 1, 0xFF, VLJ_E_BUNDLE, "section 0: name"},
        {0, 120, 1, 'f', VLJ_E_BUNDLE, "an image has all inside"},
        {0, 183, 1, 'f', VLJ_E_BUNDLE, "section 0 (config \"config\"): file"},
    };
    bundle_fixture bundle;
    small(&bundle, 1);
    image_bytes sound = image_load(bundle.index_path);
    for (size_t i = 0; i < sizeof forgeries / sizeof forgeries[0]; i++) {
        const forgery *f = &forgeries[i];
        image_bytes image = image_copy(&sound);
        uint8_t *at = f->entry < 0 ? image.bytes : image_entry(&image, (uint32_t)f->entry);
        for (uint32_t byte = 0; byte < f->bytes; byte++) {
            at[f->offset + byte] = (uint8_t)(f->value >> 8 * byte);
        }
        image_rehash(&image, NULL);
        vlj_index *index = NULL;
        vlj_status status = vlj_index_open_memory(image.bytes, image.size, 1, &index);
        if (status != f->status || strstr(vlj_last_error(), f->words) == NULL) {
            fprintf(stderr, "forgery %zu: %s, %s\n", i, vlj_status_name(status), vlj_last_error());
            exit(1);
        }
        image_free(&image);
    }
    /* the same section twice */
    image_bytes image = image_copy(&sound);
    memcpy(image_entry(&image, 2) + 56, image_entry(&image, 1) + 56, 64);
    image_rehash(&image, NULL);
    vlj_index *index = NULL;
    CHECK_FAILS(vlj_index_open_memory(image.bytes, image.size, 1, &index), VLJ_E_BUNDLE,
                "sections 1 and 2 are both engine");
    image_free(&image);
    /* a kind from the future is skipped, an unsigned byte between sections is not */
    image = image_copy(&sound);
    image_put_u32(image_entry(&image, 3), 999);
    image_rehash(&image, NULL);
    CHECK_OK(vlj_index_open_memory(image.bytes, image.size, 1, &index));
    vlj_index_close(index);
    image.bytes[image_u64(image_entry(&image, 1) + 8) - 1] = 1;
    CHECK_FAILS(vlj_index_open_memory(image.bytes, image.size, 1, &index), VLJ_E_BUNDLE_HASH, "between sections");
    CHECK_OK(vlj_index_open_memory(image.bytes, image.size, 0, &index));
    vlj_index_close(index);
    image_free(&image);
    image_free(&sound);
    bundle_fixture_remove(&bundle);
}

static void test_file_names(void) {
    static const char *const names[] = {"../x", "a/b", "..", ".", "/etc/passwd"};
    bundle_fixture bundle;
    small(&bundle, 0);
    vlj_index *index = NULL;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        image_bytes image = image_load(bundle.index_path);
        memset(image_entry(&image, 1) + 120, 0, 64);
        memcpy(image_entry(&image, 1) + 120, names[i], strlen(names[i]));
        image_rehash(&image, NULL);
        char path[400];
        snprintf(path, sizeof path, "%s/forged.vlj", bundle.folder);
        image_save(&image, path);
        CHECK_FAILS(vlj_index_open(path, 1, &index), VLJ_E_BUNDLE, "is not a plain file name");
        image_free(&image);
    }
    bundle_fixture_remove(&bundle);
}

static void test_memory(void) {
    bundle_fixture bundle;
    small(&bundle, 1);
    image_bytes image = image_load(bundle.index_path);
    vlj_index *index = NULL;
    CHECK_FAILS(vlj_index_open_memory(image.bytes + 8, image.size - 8, 1, &index), VLJ_E_ARGUMENT, "aligned");
    CHECK_FAILS(vlj_index_open_memory(NULL, 0, 1, &index), VLJ_E_ARGUMENT, "NULL");
    CHECK_OK(vlj_index_open_memory(image.bytes, image.size + 20, 1, &index)); /* the rest of a flash partition */
    CHECK_EQ(vlj_index_mapped_bytes(index), 0);
    vlj_index_close(index);
    bundle_fixture_remove(&bundle);
    small(&bundle, 0); /* an index that names files cannot live in memory */
    image_free(&image);
    image = image_load(bundle.index_path);
    CHECK_FAILS(vlj_index_open_memory(image.bytes, image.size, 1, &index), VLJ_E_BUNDLE, "an image has all inside");
    image_free(&image);
    bundle_fixture_remove(&bundle);
}

int main(void) {
    test_sound();
    test_missing();
    test_flips_and_cuts(0);
    test_flips_and_cuts(1);
    test_forgeries();
    test_file_names();
    test_memory();
    return 0;
}
