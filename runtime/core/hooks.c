/* hooks.c: the host's allocator, clock and log, with malloc, CLOCK_MONOTONIC and silence as defaults. */
#define _POSIX_C_SOURCE 200809L
#include "hooks.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "error.h"

static void *default_allocate(void *user_data, size_t size_bytes, size_t alignment) {
    (void)user_data;
    void *memory = NULL;
    return posix_memalign(&memory, alignment, size_bytes) == 0 ? memory : NULL;
}

static void default_release(void *user_data, void *memory, size_t size_bytes) {
    (void)user_data;
    (void)size_bytes;
    free(memory);
}

static int64_t default_clock_ns(void *user_data) {
    (void)user_data;
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

vlj_status vlj_host_init(vlj_host *host, const vlj_hooks *hooks) {
    memset(&host->hooks, 0, sizeof host->hooks);
    atomic_init(&host->allocations, 0);
    atomic_init(&host->bytes, 0);
    if (hooks != NULL) {
        if (hooks->struct_size < offsetof(vlj_hooks, user_data) || hooks->struct_size > 4096) {
            return vlj_fail(VLJ_E_ARGUMENT, "hooks.struct_size is %u, expected %zu: set it with VLJ_INIT",
                            hooks->struct_size, sizeof *hooks);
        }
        size_t known = hooks->struct_size < sizeof *hooks ? hooks->struct_size : sizeof *hooks;
        memcpy(&host->hooks, hooks, known);
        if ((host->hooks.allocate == NULL) != (host->hooks.release == NULL)) {
            return vlj_fail(VLJ_E_ARGUMENT, "hooks.allocate and hooks.release must be given together");
        }
    }
    host->hooks.struct_size = sizeof host->hooks;
    if (host->hooks.allocate == NULL) {
        host->hooks.allocate = default_allocate;
        host->hooks.release = default_release;
    }
    if (host->hooks.clock_ns == NULL) {
        host->hooks.clock_ns = default_clock_ns;
    }
    return VLJ_OK;
}

void vlj_host_fork(vlj_host *child, const vlj_host *parent) {
    child->hooks = parent->hooks;
    atomic_init(&child->allocations, 0);
    atomic_init(&child->bytes, 0);
}

void *vlj_alloc(const vlj_host *host, size_t bytes, size_t align) {
    if (bytes == 0) {
        return NULL;
    }
    void *memory = host->hooks.allocate(host->hooks.user_data, bytes, align != 0 ? align : VLJ_ALIGNMENT);
    if (memory == NULL) {
        return NULL;
    }
    memset(memory, 0, bytes);
    vlj_host *counted = (vlj_host *)host; /* see vlj_host: counting is no change that a user sees */
    atomic_fetch_add_explicit(&counted->allocations, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&counted->bytes, bytes, memory_order_relaxed);
    return memory;
}

void vlj_free(const vlj_host *host, void *memory, size_t bytes) {
    if (memory == NULL) {
        return;
    }
    atomic_fetch_sub_explicit(&((vlj_host *)host)->bytes, bytes, memory_order_relaxed);
    host->hooks.release(host->hooks.user_data, memory, bytes);
}

int64_t vlj_now(const vlj_host *host) {
    return host->hooks.clock_ns(host->hooks.user_data);
}

int vlj_host_has_clock(const vlj_host *host) {
    return host->hooks.clock_ns != default_clock_ns;
}

void vlj_logf(const vlj_host *host, vlj_log_level level, const char *format, ...) {
    if (host->hooks.log == NULL) {
        return;
    }
    char message[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    host->hooks.log(host->hooks.user_data, level, message);
}

uint64_t vlj_host_allocations(const vlj_host *host) {
    return atomic_load_explicit(&((vlj_host *)host)->allocations, memory_order_relaxed);
}

size_t vlj_host_bytes(const vlj_host *host) {
    return (size_t)atomic_load_explicit(&((vlj_host *)host)->bytes, memory_order_relaxed);
}
