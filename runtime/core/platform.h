/* platform.h: threads, locks and the monotonic clock, in the few calls that the core needs (POSIX).
 *
 * Include it before any system header. A port to another system replaces this file alone.
 */
#ifndef VLJ_PLATFORM_H
#define VLJ_PLATFORM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1 /* strict C11 hides clock_gettime and pthread_setname_np */
#endif

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

typedef pthread_mutex_t vlj_mutex;
typedef pthread_cond_t vlj_condition;
typedef pthread_t vlj_thread;

static inline int64_t vlj_monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static inline bool vlj_mutex_init(vlj_mutex *mutex) {
    return pthread_mutex_init(mutex, NULL) == 0;
}
static inline void vlj_mutex_destroy(vlj_mutex *mutex) {
    pthread_mutex_destroy(mutex);
}
static inline void vlj_mutex_lock(vlj_mutex *mutex) {
    pthread_mutex_lock(mutex);
}
static inline void vlj_mutex_unlock(vlj_mutex *mutex) {
    pthread_mutex_unlock(mutex);
}

/* Waits are measured on the monotonic clock, so that a step of the wall clock neither hangs nor wakes anybody. */
static inline bool vlj_condition_init(vlj_condition *condition) {
#ifdef __APPLE__
    return pthread_cond_init(condition, NULL) == 0;
#else
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes) != 0) {
        return false;
    }
    bool ok =
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 && pthread_cond_init(condition, &attributes) == 0;
    pthread_condattr_destroy(&attributes);
    return ok;
#endif
}

static inline void vlj_condition_destroy(vlj_condition *condition) {
    pthread_cond_destroy(condition);
}
static inline void vlj_condition_signal(vlj_condition *condition) {
    pthread_cond_signal(condition);
}
static inline void vlj_condition_broadcast(vlj_condition *condition) {
    pthread_cond_broadcast(condition);
}
static inline void vlj_condition_wait(vlj_condition *condition, vlj_mutex *mutex) {
    pthread_cond_wait(condition, mutex);
}

/* Waits for at most `timeout_ns`; false when the time is over. May wake early, as any condition. */
static inline bool vlj_condition_wait_for(vlj_condition *condition, vlj_mutex *mutex, int64_t timeout_ns) {
    if (timeout_ns <= 0) {
        return false;
    }
#ifdef __APPLE__
    struct timespec span = {(time_t)(timeout_ns / 1000000000), (long)(timeout_ns % 1000000000)};
    return pthread_cond_timedwait_relative_np(condition, mutex, &span) != ETIMEDOUT;
#else
    const int64_t century_ns = INT64_C(3155760000) * 1000000000; /* keeps the sum below from overflowing */
    int64_t until = vlj_monotonic_ns() + (timeout_ns < century_ns ? timeout_ns : century_ns);
    struct timespec at = {(time_t)(until / 1000000000), (long)(until % 1000000000)};
    return pthread_cond_timedwait(condition, mutex, &at) != ETIMEDOUT;
#endif
}

static inline bool vlj_thread_start(vlj_thread *thread, void *(*body)(void *), void *argument) {
    return pthread_create(thread, NULL, body, argument) == 0;
}

/* Names the calling thread for debuggers and `top`; at most 15 letters. */
static inline void vlj_thread_name(const char *name) {
#ifdef __linux__
    pthread_setname_np(pthread_self(), name);
#else
    (void)name;
#endif
}

static inline void vlj_thread_join(vlj_thread thread) {
    pthread_join(thread, NULL);
}

#endif
