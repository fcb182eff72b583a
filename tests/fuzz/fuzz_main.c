/* fuzz_main.c: drives LLVMFuzzerTestOneInput without clang: seeds from the bundle fixture, mutations from a seeded
 * generator.
 *
 *   fuzz_index [--iterations N] [--seconds S] [--seed X]    the same N and X give the same inputs everywhere
 *   fuzz_index FILE...                                       runs these inputs only
 */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bundle_fixture.h"
#include "image_edit.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { SEEDS = 4, MOST_BYTES = 1 << 16 };

static uint64_t state;

/* xorshift64* */
static uint64_t next(void) {
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545F4914F6CDD1Du;
}

static size_t below(size_t limit) {
    return limit > 0 ? (size_t)(next() % limit) : 0;
}

static void make_seeds(image_bytes seeds[SEEDS]) {
    for (int i = 0; i < SEEDS; i++) {
        bundle_fixture bundle;
        bundle_fixture_defaults(&bundle);
        bundle.image = 1;
        bundle.component_mask = i == 0 ? 0 : i == 1 ? 1 : 0x1f;
        bundle.prefix_tokens = i < 2 ? 0 : 2;
        bundle.embedding_dtype = i % 2 ? VLJ_FLOAT16 : VLJ_FLOAT32;
        bundle.phrase_count = (uint32_t)i * 2;
        bundle_fixture_write(&bundle);
        seeds[i] = image_load(bundle.index_path);
        bundle_fixture_remove(&bundle);
    }
}

/* Where fields are: the header, the section table, or the first 128 bytes of a section; elsewhere one time in four. */
static size_t pick_offset(const uint8_t *bytes, size_t size) {
    if (size < 128 || below(4) == 0) {
        return below(size);
    }
    uint64_t table = image_u64(bytes + 32), count = image_u32(bytes + 24);
    if (below(4) == 0 || table >= size || count == 0 || count > (size - table) / 192) {
        return below(72);
    }
    size_t entry = (size_t)table + below((size_t)count) * 192;
    uint64_t section = image_u64(bytes + entry + 8);
    return below(2) == 0 || section >= size ? entry + below(192)
                                            : (size_t)section + below(size - section < 128 ? size - section : 128);
}

static void mutate(uint8_t *bytes, size_t *size) {
    static const uint64_t values[] = {0,
                                      1,
                                      2,
                                      3,
                                      7,
                                      63,
                                      64,
                                      65,
                                      127,
                                      128,
                                      192,
                                      255,
                                      256,
                                      4095,
                                      4096,
                                      65535,
                                      65536,
                                      0x7FFFFFFF,
                                      0x80000000u,
                                      0xFFFFFFFFu,
                                      0x100000000u,
                                      INT64_MAX,
                                      UINT64_MAX - 63,
                                      UINT64_MAX};
    for (size_t edits = 1 + below(4); edits > 0 && *size > 0; edits--) {
        size_t at = pick_offset(bytes, *size);
        uint64_t value = values[below(sizeof values / sizeof values[0])];
        switch (below(8)) {
        case 0: bytes[at] ^= (uint8_t)(1u << below(8)); break;
        case 1: bytes[at] = (uint8_t)next(); break;
        case 2:
        case 3:
            at &= ~(size_t)3;
            if (at + 4 <= *size) {
                image_put_u32(bytes + at,
                              below(2) == 0 ? (uint32_t)value : image_u32(bytes + at) + (uint32_t)below(5) - 2);
            }
            break;
        case 4:
            at &= ~(size_t)7;
            if (at + 8 <= *size) {
                image_put_u64(bytes + at,
                              below(2) == 0 ? value : image_u64(bytes + at) + 64 * (uint64_t)below(5) - 128);
            }
            break;
        case 5: { /* one stretch over another */
            size_t from = below(*size), length = below(256);
            length = length < *size - at ? length : *size - at;
            length = length < *size - from ? length : *size - from;
            memmove(bytes + at, bytes + from, length);
            break;
        }
        case 6: *size = below(8) == 0 ? below(*size) : *size; break;
        default:
            if (below(8) == 0 && *size + 64 < MOST_BYTES) {
                memset(bytes + *size, (int)below(256), 64);
                *size += 64;
            }
        }
    }
    if (*size >= 24 && below(4) != 0) { /* mostly the size that the header tells, or few inputs get past it */
        image_put_u64(bytes + 16, *size);
    }
}

static double seconds_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static int run_files(int count, char **paths) {
    for (int i = 0; i < count; i++) {
        image_bytes input = image_load(paths[i]);
        LLVMFuzzerTestOneInput(input.bytes, input.size);
        image_free(&input);
    }
    return 0;
}

int main(int argc, char **argv) {
    long iterations = 20000;
    double limit = 1e9;
    state = 0x9E3779B97F4A7C15u;
    for (int i = 1; i < argc; i += 2) {
        if (strncmp(argv[i], "--", 2) != 0 || i + 1 == argc) {
            return run_files(argc - i, argv + i);
        }
        if (strcmp(argv[i], "--iterations") == 0) {
            iterations = atol(argv[i + 1]);
        } else if (strcmp(argv[i], "--seconds") == 0) {
            limit = atof(argv[i + 1]);
        } else if (strcmp(argv[i], "--seed") == 0) {
            state ^= strtoull(argv[i + 1], NULL, 0) * 0x9E3779B97F4A7C15u;
        }
    }
    image_bytes seeds[SEEDS];
    make_seeds(seeds);
    uint8_t *bytes = malloc(MOST_BYTES);
    double start = seconds_now();
    long done = 0;
    for (; bytes != NULL && done < iterations && seconds_now() - start < limit; done++) {
        const image_bytes *seed = &seeds[below(SEEDS)];
        size_t size = seed->size < MOST_BYTES ? seed->size : MOST_BYTES;
        memcpy(bytes, seed->bytes, size);
        mutate(bytes, &size);
        LLVMFuzzerTestOneInput(bytes, size);
    }
    printf("fuzz_index: %ld inputs in %.1f s\n", done, seconds_now() - start);
    free(bytes);
    for (int i = 0; i < SEEDS; i++) {
        image_free(&seeds[i]);
    }
    return done > 0 ? 0 : 1;
}
