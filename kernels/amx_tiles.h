/* amx_tiles.h: eight whole tiles of 16 rows by 64 bytes, lent to a kernel for the time of a call. */
#ifndef VLJ_KERNELS_AMX_TILES_H
#define VLJ_KERNELS_AMX_TILES_H

#include <immintrin.h>
#include <stdint.h>

/* The compiler isn't told which memory tile instructions read and write. */
#define FENCE __asm__ volatile("" ::: "memory")

typedef struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} tile_config;

/* *before: of a caller who may take his own for granted. */
__attribute__((target("amx-tile"))) static inline void take_tiles(tile_config *before) {
    tile_config ours = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        ours.row_bytes[i] = 64;
        ours.rows[i] = 16;
    }
    _tile_storeconfig(before);
    FENCE;
    _tile_loadconfig(&ours);
}

__attribute__((target("amx-tile"))) static inline void give_tiles_back(const tile_config *before) {
    if (before->palette != 0) {
        _tile_loadconfig(before);
    } else {
        _tile_release();
    }
}

#endif
