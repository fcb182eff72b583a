/* The mirrored ring: every window is contiguous and right, held frames are never overwritten. */
#include "check.h"
#include "frame_ring.h"

enum { FRAME_BYTES = 37 };

static void fill(uint8_t *frame, uint64_t index) {
    for (int i = 0; i < FRAME_BYTES; i++) {
        frame[i] = (uint8_t)(index * 31 + (uint64_t)i);
    }
}

static void check_window(const vlj_frame_ring *ring, uint64_t first) {
    const uint8_t *window = vlj_frame_ring_window(ring, first);
    uint8_t expected[FRAME_BYTES];
    for (uint32_t t = 0; t < ring->window_frames; t++) {
        fill(expected, first + t);
        CHECK(memcmp(window + (size_t)t * FRAME_BYTES, expected, FRAME_BYTES) == 0);
        CHECK_EQ(vlj_frame_ring_timestamp(ring, first + t), (first + t) * 10);
        CHECK_EQ(vlj_frame_ring_arrival(ring, first + t), (first + t) * 10 + 1);
    }
}

static void push(vlj_frame_ring *ring) {
    uint8_t *frame = vlj_frame_ring_reserve(ring);
    CHECK(frame != NULL);
    fill(frame, ring->count);
    vlj_frame_ring_mirror(ring);
    vlj_frame_ring_commit(ring, (int64_t)ring->count * 10, (int64_t)ring->count * 10 + 1);
}

static void test_every_window(uint32_t window, uint32_t capacity) {
    vlj_frame_ring ring;
    void *memory = calloc(1, vlj_frame_ring_bytes(FRAME_BYTES, window, capacity)); /* ASan sees the exact end */
    vlj_frame_ring_init(&ring, memory, FRAME_BYTES, window, capacity);
    for (uint64_t i = 0; i < 200; i++) {
        push(&ring);
        uint64_t oldest = ring.count > capacity ? ring.count - capacity : 0;
        for (uint64_t first = oldest; first + window <= ring.count; first++) {
            check_window(&ring, first);
        }
    }
    free(memory);
}

static void test_hold(void) {
    vlj_frame_ring ring;
    void *memory = calloc(1, vlj_frame_ring_bytes(FRAME_BYTES, 4, 10));
    vlj_frame_ring_init(&ring, memory, FRAME_BYTES, 4, 10);
    for (int i = 0; i < 25; i++) {
        push(&ring);
    }
    vlj_frame_ring_hold(&ring, 20);
    for (int i = 25; i < 30; i++) {
        push(&ring); /* frames 15-19 make room */
    }
    CHECK(vlj_frame_ring_reserve(&ring) == NULL); /* frame 20 lies there */
    check_window(&ring, 20);
    vlj_frame_ring_hold(&ring, 21);
    push(&ring);
    CHECK(vlj_frame_ring_reserve(&ring) == NULL);
    check_window(&ring, 21);
    vlj_frame_ring_hold(&ring, UINT64_MAX);
    push(&ring);
    free(memory);
}

static void test_hold_from_the_start(void) {
    vlj_frame_ring ring;
    void *memory = calloc(1, vlj_frame_ring_bytes(FRAME_BYTES, 2, 3));
    vlj_frame_ring_init(&ring, memory, FRAME_BYTES, 2, 3);
    vlj_frame_ring_hold(&ring, 0);
    for (int i = 0; i < 3; i++) {
        push(&ring); /* a slot that never held a frame is free */
    }
    CHECK(vlj_frame_ring_reserve(&ring) == NULL);
    free(memory);
}

static void test_pad(void) {
    vlj_frame_ring ring;
    void *memory = calloc(1, vlj_frame_ring_bytes(FRAME_BYTES, 4, 4));
    vlj_frame_ring_init(&ring, memory, FRAME_BYTES, 4, 4);
    vlj_frame_ring_pad(&ring, 4);
    CHECK_EQ(ring.count, 0); /* nothing to repeat */
    push(&ring);
    push(&ring);
    vlj_frame_ring_pad(&ring, 4);
    CHECK_EQ(ring.count, 4);
    const uint8_t *window = vlj_frame_ring_window(&ring, 0);
    CHECK(memcmp(window + FRAME_BYTES, window + 2 * FRAME_BYTES, FRAME_BYTES) == 0);
    CHECK(memcmp(window + FRAME_BYTES, window + 3 * FRAME_BYTES, FRAME_BYTES) == 0);
    CHECK_EQ(vlj_frame_ring_timestamp(&ring, 3), 10);
    free(memory);
}

int main(void) {
    test_every_window(1, 1);
    test_every_window(4, 4);
    test_every_window(4, 7);
    test_every_window(8, 24);
    test_every_window(5, 100);
    test_hold();
    test_hold_from_the_start();
    test_pad();
    return 0;
}
