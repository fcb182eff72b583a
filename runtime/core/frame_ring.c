/* The mirrored ring of prepared frames: plain arithmetic on indices that never wrap (2^64 frames). */
#include "frame_ring.h"

#include <string.h>

static size_t align_up(size_t bytes) {
    return (bytes + 63) & ~(size_t)63;
}

size_t vlj_frame_ring_bytes(size_t frame_bytes, uint32_t window_frames, uint32_t capacity) {
    size_t slots = (size_t)capacity + window_frames - 1;
    return align_up(slots * frame_bytes) + 2 * align_up(capacity * sizeof(int64_t));
}

void vlj_frame_ring_init(vlj_frame_ring *ring, void *memory, size_t frame_bytes, uint32_t window_frames,
                         uint32_t capacity) {
    uint8_t *at = memory;
    size_t slots = (size_t)capacity + window_frames - 1;
    *ring = (vlj_frame_ring){.frames = at,
                             .timestamps_ns = (int64_t *)(at + align_up(slots * frame_bytes)),
                             .frame_bytes = frame_bytes,
                             .window_frames = window_frames,
                             .capacity = capacity,
                             .held_from = UINT64_MAX};
    ring->arrivals_ns = (int64_t *)((uint8_t *)ring->timestamps_ns + align_up(capacity * sizeof(int64_t)));
}

static size_t slot_of(const vlj_frame_ring *ring, uint64_t index) {
    return (size_t)(index % ring->capacity);
}

uint8_t *vlj_frame_ring_reserve(vlj_frame_ring *ring) {
    /* the slot still holds frame count - capacity, if there ever was one */
    if (ring->held_from != UINT64_MAX && ring->count >= ring->capacity &&
        ring->count - ring->capacity >= ring->held_from) {
        return NULL;
    }
    return ring->frames + slot_of(ring, ring->count) * ring->frame_bytes;
}

size_t vlj_frame_ring_mirror(vlj_frame_ring *ring) {
    size_t slot = slot_of(ring, ring->count);
    if (slot + 1 >= ring->window_frames) {
        return 0;
    }
    memcpy(ring->frames + (ring->capacity + slot) * ring->frame_bytes, ring->frames + slot * ring->frame_bytes,
           ring->frame_bytes);
    return ring->frame_bytes;
}

void vlj_frame_ring_commit(vlj_frame_ring *ring, int64_t timestamp_ns, int64_t arrival_ns) {
    size_t slot = slot_of(ring, ring->count);
    ring->timestamps_ns[slot] = timestamp_ns;
    ring->arrivals_ns[slot] = arrival_ns;
    ring->count++;
}

size_t vlj_frame_ring_pad(vlj_frame_ring *ring, uint64_t count) {
    size_t copied = 0;
    if (ring->count == 0) {
        return 0;
    }
    size_t last = slot_of(ring, ring->count - 1);
    while (ring->count < count) {
        uint8_t *frame = vlj_frame_ring_reserve(ring);
        if (!frame) {
            break;
        }
        memcpy(frame, ring->frames + last * ring->frame_bytes, ring->frame_bytes);
        copied += ring->frame_bytes + vlj_frame_ring_mirror(ring);
        vlj_frame_ring_commit(ring, ring->timestamps_ns[last], ring->arrivals_ns[last]);
    }
    return copied;
}

void vlj_frame_ring_hold(vlj_frame_ring *ring, uint64_t first) {
    ring->held_from = first;
}

const uint8_t *vlj_frame_ring_window(const vlj_frame_ring *ring, uint64_t first) {
    return ring->frames + slot_of(ring, first) * ring->frame_bytes;
}

int64_t vlj_frame_ring_timestamp(const vlj_frame_ring *ring, uint64_t index) {
    return ring->timestamps_ns[slot_of(ring, index)];
}

int64_t vlj_frame_ring_arrival(const vlj_frame_ring *ring, uint64_t index) {
    return ring->arrivals_ns[slot_of(ring, index)];
}
