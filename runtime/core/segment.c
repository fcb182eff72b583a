/* segment.c: offline segmentation of a recorded embedding stream: Ward clustering in which only neighbours in time
 * merge.
 *
 * The paper's selective decoding (arXiv 2512.10942, section 4.5), and the reference that the online gate is measured
 * against. O(N (E + log N)): each merge changes two of the neighbours' costs, which an indexed binary heap keeps in
 * order. Ties go to the earlier pair.
 */
#include <math.h>
#include <string.h>

#include "dot.h"
#include "error.h"
#include "hooks.h"

#define NONE UINT32_MAX

/* A stretch is named by its first member; `boundary` i is the one between stretch i and the stretch before it. */
typedef struct chain {
    const vlj_dot_kernels *kernels;
    const float *embeddings;
    uint32_t width;
    uint32_t heap_size;
    uint32_t free_slots;
    uint32_t *next, *previous; /* first members of the neighbouring stretches; NONE at the ends */
    uint32_t *members;
    uint32_t *slot;      /* in sums; NONE while the stretch is a single embedding */
    uint32_t *heap;      /* boundaries, the cheapest first */
    uint32_t *position;  /* of a boundary in the heap */
    uint32_t *free_slot; /* stack */
    double *cost;        /* of removing a boundary */
    double *sums;        /* [slots, width]: two members at least share one, so count / 2 slots are enough */
    double *single;      /* [width]: one embedding in double */
} chain;

static int cheaper(const chain *c, uint32_t a, uint32_t b) {
    return c->cost[a] < c->cost[b] || (c->cost[a] == c->cost[b] && a < b);
}

static void place(chain *c, uint32_t at, uint32_t boundary) {
    c->heap[at] = boundary;
    c->position[boundary] = at;
}

static void sift_up(chain *c, uint32_t at) {
    uint32_t boundary = c->heap[at];
    while (at > 0 && cheaper(c, boundary, c->heap[(at - 1) / 2])) {
        place(c, at, c->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    place(c, at, boundary);
}

static void sift_down(chain *c, uint32_t at) {
    uint32_t boundary = c->heap[at];
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= c->heap_size) {
            break;
        }
        if (child + 1 < c->heap_size && cheaper(c, c->heap[child + 1], c->heap[child])) {
            child++;
        }
        if (!cheaper(c, c->heap[child], boundary)) {
            break;
        }
        place(c, at, c->heap[child]);
        at = child;
    }
    place(c, at, boundary);
}

static const float *row_of(const chain *c, uint32_t i) {
    return c->embeddings + (size_t)i * c->width;
}
static double *sum_of(const chain *c, uint32_t i) {
    return c->sums + (size_t)c->slot[i] * c->width;
}

/* The stretch's sum, or its only embedding converted into the scratch row. */
static const double *sum_or_single(chain *c, uint32_t i) {
    if (c->slot[i] != NONE) {
        return sum_of(c, i);
    }
    memset(c->single, 0, c->width * sizeof(double));
    c->kernels->add(c->single, row_of(c, i), 1.0, c->width);
    return c->single;
}

static double merge_cost(chain *c, uint32_t left, uint32_t right) {
    double n = c->members[left], m = c->members[right], distance;
    if (c->slot[left] == NONE && c->slot[right] == NONE) {
        distance = c->kernels->distance(row_of(c, left), row_of(c, right), c->width);
    } else { /* at most one of the two needs the scratch row */
        const double *left_sum = sum_or_single(c, left), *right_sum = sum_or_single(c, right);
        distance = c->kernels->sum_distance(left_sum, 1.0 / n, right_sum, 1.0 / m, c->width);
    }
    return n * m / (n + m) * distance;
}

static void update_cost(chain *c, uint32_t boundary) {
    double before = c->cost[boundary];
    c->cost[boundary] = merge_cost(c, c->previous[boundary], boundary);
    if (c->cost[boundary] < before) {
        sift_up(c, c->position[boundary]);
    } else {
        sift_down(c, c->position[boundary]);
    }
}

/* Adds the right stretch's members to the left one's sum; a single embedding gets a slot, a spare slot goes back. */
static void join_sums(chain *c, uint32_t left, uint32_t right) {
    if (c->slot[left] == NONE && c->slot[right] == NONE) {
        c->slot[left] = c->free_slot[--c->free_slots];
        memset(sum_of(c, left), 0, c->width * sizeof(double));
        c->kernels->add(sum_of(c, left), row_of(c, left), 1.0, c->width);
        c->kernels->add(sum_of(c, left), row_of(c, right), 1.0, c->width);
    } else if (c->slot[right] == NONE) {
        c->kernels->add(sum_of(c, left), row_of(c, right), 1.0, c->width);
    } else if (c->slot[left] == NONE) {
        c->slot[left] = c->slot[right];
        c->kernels->add(sum_of(c, left), row_of(c, left), 1.0, c->width);
    } else {
        double *to = sum_of(c, left);
        const double *from = sum_of(c, right);
        for (uint32_t i = 0; i < c->width; i++) {
            to[i] += from[i];
        }
        c->free_slot[c->free_slots++] = c->slot[right];
    }
    c->members[left] += c->members[right];
}

/* Removes the cheapest boundary. */
static void merge_once(chain *c) {
    uint32_t right = c->heap[0], left = c->previous[right], after = c->next[right];
    c->heap_size--;
    if (c->heap_size > 0) {
        place(c, 0, c->heap[c->heap_size]);
        sift_down(c, 0);
    }
    join_sums(c, left, right);
    c->next[left] = after;
    if (after != NONE) {
        c->previous[after] = left;
        update_cost(c, after);
    }
    if (c->previous[left] != NONE) {
        update_cost(c, left);
    }
}

static void start_chain(chain *c, uint32_t count, uint32_t slots) {
    for (uint32_t i = 0; i < count; i++) {
        c->next[i] = i + 1 < count ? i + 1 : NONE;
        c->previous[i] = i > 0 ? i - 1 : NONE;
        c->members[i] = 1;
        c->slot[i] = NONE;
    }
    for (uint32_t i = 0; i < slots; i++) {
        c->free_slot[i] = slots - 1 - i;
    }
    c->free_slots = slots;
    c->heap_size = count - 1;
    for (uint32_t i = 1; i < count; i++) {
        c->cost[i] = merge_cost(c, i - 1, i);
        place(c, i - 1, i);
    }
    for (uint32_t at = c->heap_size / 2; at-- > 0;) {
        sift_down(c, at);
    }
}

static vlj_status check(const float *embeddings, size_t count, uint32_t width, size_t segments, const uint64_t *starts,
                        const vlj_dot_kernels *kernels) {
    if (embeddings == NULL || starts == NULL) {
        return vlj_fail(VLJ_E_ARGUMENT, "%s is NULL", embeddings == NULL ? "embeddings" : "starts");
    }
    if (count == 0 || count >= NONE || width == 0) {
        return vlj_fail(VLJ_E_ARGUMENT, "embeddings are [%zu, %u], expected at least [1, 1]", count, width);
    }
    if (segments == 0 || segments > count) {
        return vlj_fail(VLJ_E_ARGUMENT, "segments is %zu, expected 1 to %zu, the number of embeddings", segments,
                        count);
    }
    for (size_t i = 0; i < count; i++) {
        if (!isfinite(kernels->square(embeddings + i * width, width))) {
            return vlj_fail(VLJ_E_ARGUMENT, "embedding %zu holds a value that is not a finite number", i);
        }
    }
    return VLJ_OK;
}

/* Seven uint32 arrays, the costs, the scratch row and the sums, each on a cache line. 0 when they don't fit size_t. */
static size_t chain_bytes(size_t count, uint32_t width, size_t slots, size_t *index_bytes, size_t *cost_bytes,
                          size_t *row_bytes) {
    size_t sums, rest;
    *index_bytes = vlj_align_up(count * sizeof(uint32_t), 64);
    *cost_bytes = vlj_align_up(count * sizeof(double), 64);
    *row_bytes = vlj_align_up(width * sizeof(double), 64);
    if (!vlj_size_mul(slots, width * sizeof(double), &sums) || !vlj_size_mul(7, *index_bytes, &rest) ||
        !vlj_size_add(rest, *cost_bytes, &rest) || !vlj_size_add(rest, *row_bytes, &rest) ||
        !vlj_size_add(rest, sums, &rest)) {
        return 0;
    }
    return rest;
}

vlj_status vlj_segment(const float *embeddings, size_t count, uint32_t width, size_t segments, uint64_t *starts) {
    chain c = {.kernels = vlj_dot_kernels_best(), .embeddings = embeddings, .width = width};
    vlj_host host;
    vlj_status status = check(embeddings, count, width, segments, starts, c.kernels);
    if (status == VLJ_OK) {
        status = vlj_host_init(&host, NULL);
    }
    if (status != VLJ_OK) {
        return status;
    }
    size_t merges = count - segments, slots = merges < count / 2 ? merges : count / 2;
    size_t index_bytes, cost_bytes, row_bytes,
        bytes = chain_bytes(count, width, slots, &index_bytes, &cost_bytes, &row_bytes);
    uint8_t *memory = bytes != 0 ? vlj_alloc(&host, bytes, 64) : NULL;
    if (memory == NULL) {
        return vlj_fail(VLJ_E_MEMORY, "no memory to segment [%zu, %u] embeddings (%zu bytes)", count, width, bytes);
    }
    uint32_t **arrays[] = {&c.next, &c.previous, &c.members, &c.slot, &c.heap, &c.position, &c.free_slot};
    uint8_t *at = memory;
    for (size_t i = 0; i < sizeof arrays / sizeof arrays[0]; i++, at += index_bytes) {
        *arrays[i] = (uint32_t *)at;
    }
    c.cost = (double *)at;
    c.single = (double *)(at + cost_bytes);
    c.sums = (double *)(at + cost_bytes + row_bytes);

    start_chain(&c, (uint32_t)count, (uint32_t)slots);
    for (size_t i = 0; i < merges; i++) {
        merge_once(&c);
    }
    size_t told = 0;
    for (uint32_t i = 0; i != NONE; i = c.next[i]) {
        starts[told++] = i;
    }
    vlj_free(&host, memory, bytes);
    return VLJ_OK;
}
