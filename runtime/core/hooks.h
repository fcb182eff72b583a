/* hooks.h: the host's allocator, clock and log, with defaults filled in, and a count of what the core allocates. */
#ifndef VLJ_CORE_HOOKS_H
#define VLJ_CORE_HOOKS_H

#include <stdatomic.h>

#include "vljepa.h"

#define VLJ_ALIGNMENT ((size_t)64) /* a cache line, and the widest SIMD register */

/* Passed around as `const vlj_host *`, yet its counters change: never define an object of this type as const. */
typedef struct vlj_host {
    vlj_hooks hooks;                   /* allocate, release and clock_ns are never NULL; log may be */
    atomic_uint_least64_t allocations; /* calls of vlj_alloc that succeeded, ever */
    atomic_uint_least64_t bytes;       /* held now */
} vlj_host;

/* `hooks` may be NULL, or shorter than ours (struct_size of an older caller). Counters start at 0. */
vlj_status vlj_host_init(vlj_host *host, const vlj_hooks *hooks);
/* The same hooks with counters of its own (one per stream, so that a stream can tell what it allocates). */
void vlj_host_fork(vlj_host *child, const vlj_host *parent);

/* Zeroed memory; `align` 0 means VLJ_ALIGNMENT. NULL when the host has none (no error sentence is set) or bytes is 0.
 */
void *vlj_alloc(const vlj_host *host, size_t bytes, size_t align);
/* `bytes` as they were allocated. NULL is allowed. */
void vlj_free(const vlj_host *host, void *memory, size_t bytes);

int64_t vlj_now(const vlj_host *host);
/* 1: the clock is the host's own, not CLOCK_MONOTONIC; only such a clock may show in a replay's events. */
int vlj_host_has_clock(const vlj_host *host);
void vlj_logf(const vlj_host *host, vlj_log_level level, const char *format, ...) __attribute__((format(printf, 3, 4)));

uint64_t vlj_host_allocations(const vlj_host *host);
size_t vlj_host_bytes(const vlj_host *host);

/* a * b and a + b for sizes that come from a file or a caller: false when the result doesn't fit size_t. */
static inline int vlj_size_mul(size_t a, size_t b, size_t *result) {
    return !__builtin_mul_overflow(a, b, result);
}
static inline int vlj_size_add(size_t a, size_t b, size_t *result) {
    return !__builtin_add_overflow(a, b, result);
}
static inline size_t vlj_align_up(size_t size, size_t align) {
    return (size + align - 1) / align * align;
}

#endif
