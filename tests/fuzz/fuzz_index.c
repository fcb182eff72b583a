/* fuzz_index.c: any bytes as an image: open it with and without hashes, then read all that the core would read from it.
 *
 * Random damage stops at the digests, so each input is tried as it is and once more with digests that fit
 * (image_rehash): that is what a hostile writer would send.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "image_edit.h"
#include "index.h"
#include "sections.h"
#include "vljepa.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static volatile uint64_t sink; /* so that reading every byte of a view is not optimised away */

static void touch(const void *bytes, size_t size) {
    uint64_t sum = 0;
    for (size_t i = 0; i < size; i++) {
        sum += ((const uint8_t *)bytes)[i];
    }
    sink += sum;
}

static void touch_matrix(const vlj_matrix *matrix) {
    float *row = malloc(matrix->width * sizeof *row);
    if (row != NULL) {
        vlj_matrix_row(matrix, 0, row);
        vlj_matrix_row(matrix, matrix->rows - 1, row);
        touch(row, matrix->width * sizeof *row);
    }
    free(row);
}

static void touch_texts(const vlj_text_table *table) {
    for (uint32_t i = 0; i < table->count; i++) {
        touch(table->text + table->offsets[i], table->offsets[i + 1] - table->offsets[i]);
    }
}

static void read_section(const vlj_index *index, const vlj_section *section) {
    vlj_matrix matrix;
    vlj_text_table texts;
    const char *text = NULL;
    uint32_t text_bytes = 0;
    touch(section->bytes, (size_t)section->size);
    touch(section->name, strlen(section->name) + strlen(section->file));
    /* every reader over every section: nobody promises that a kind is what it says */
    if (vlj_read_query(index, section, &matrix, &text, &text_bytes) == VLJ_OK) {
        touch(text, text_bytes);
        touch_matrix(&matrix);
    }
    if (vlj_read_phrase_bank(index, section, &texts, &matrix) == VLJ_OK) {
        for (uint32_t i = 0; i < texts.count; i++) {
            touch(texts.text + texts.offsets[i], strlen(texts.text + texts.offsets[i]));
        }
        touch_matrix(&matrix);
    }
    if (vlj_read_vocabulary(index, section, &texts) == VLJ_OK) {
        touch_texts(&texts);
    }
    if (vlj_read_token_embeddings(index, section, &matrix) == VLJ_OK) {
        touch_matrix(&matrix);
    }
}

static void open_and_read(const image_bytes *image, uint32_t verify) {
    vlj_index *index = NULL;
    if (vlj_index_open_memory(image->bytes, image->size, verify, &index) != VLJ_OK) {
        if (index != NULL || vlj_last_error()[0] == '\0') {
            abort(); /* a failure has no handle and has a sentence */
        }
        return;
    }
    vlj_config config;
    if (vlj_config_read(index, &config) == VLJ_OK) {
        touch(&config, sizeof config);
    }
    for (uint32_t i = 0; i < vlj_index_section_count(index); i++) {
        vlj_section section;
        VLJ_INIT(section);
        if (vlj_index_section(index, i, &section) == VLJ_OK) {
            read_section(index, &section);
        }
    }
    vlj_index_close(index);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    void *block = NULL; /* exactly `size` bytes, so that a sanitizer sees a read behind them */
    if (posix_memalign(&block, 64, size > 0 ? size : 1) != 0) {
        return 0;
    }
    memcpy(block, bytes, size);
    image_bytes image = {block, size};
    open_and_read(&image, 1);
    open_and_read(&image, 0);
    if (size >= 128) {
        image_rehash(&image, NULL);
        open_and_read(&image, 1);
    }
    free(block);
    return 0;
}
