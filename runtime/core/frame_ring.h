/* frame_ring.h: prepared frames in a mirrored ring, so that any T consecutive ones lie contiguously for the engine.
 *
 * Frame i lives in slot i % capacity; the first T - 1 slots are kept a second time behind the last one. One thread
 * writes (reserve, fill, commit), one reads a window that it has held. The ring has no lock of its own: the stream's
 * mutex covers all calls but the filling of the reserved slot, vlj_frame_ring_mirror, and the reading of a held window.
 */
#ifndef VLJ_FRAME_RING_H
#define VLJ_FRAME_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct vlj_frame_ring {
    uint8_t *frames;        /* [capacity + T - 1] frames of frame_bytes */
    int64_t *timestamps_ns; /* [capacity] of the frames */
    int64_t *arrivals_ns;   /* [capacity] when they were pushed, by the stream's clock */
    size_t frame_bytes;
    uint32_t window_frames; /* T */
    uint32_t capacity;      /* distinct frames kept, >= T */
    uint64_t count;         /* frames committed so far: the next one's index */
    uint64_t held_from;     /* frames from this index on must not be overwritten; UINT64_MAX: none is held */
} vlj_frame_ring;

size_t vlj_frame_ring_bytes(size_t frame_bytes, uint32_t window_frames, uint32_t capacity);
/* `memory` holds vlj_frame_ring_bytes, 64-byte aligned. */
void vlj_frame_ring_init(vlj_frame_ring *ring, void *memory, size_t frame_bytes, uint32_t window_frames,
                         uint32_t capacity);

/* Where the next frame goes; NULL while a held frame lies there. */
uint8_t *vlj_frame_ring_reserve(vlj_frame_ring *ring);
/* Copies the filled slot to its mirror where it has one; outside the lock, before commit. Bytes that it copied. */
size_t vlj_frame_ring_mirror(vlj_frame_ring *ring);
void vlj_frame_ring_commit(vlj_frame_ring *ring, int64_t timestamp_ns, int64_t arrival_ns);
/* Repeats the last frame until there are `count` frames: the window of a clip shorter than T. Bytes that it copied. */
size_t vlj_frame_ring_pad(vlj_frame_ring *ring, uint64_t count);

/* Keeps frames from index `first` on until the next call; UINT64_MAX lets all go. */
void vlj_frame_ring_hold(vlj_frame_ring *ring, uint64_t first);
/* T frames from index `first` on, contiguous. They must be committed and not yet overwritten. */
const uint8_t *vlj_frame_ring_window(const vlj_frame_ring *ring, uint64_t first);
int64_t vlj_frame_ring_timestamp(const vlj_frame_ring *ring, uint64_t index);
int64_t vlj_frame_ring_arrival(const vlj_frame_ring *ring, uint64_t index);

#endif
