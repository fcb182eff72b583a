/* stream_decode.c: the thread that makes texts in real time. Each query has a mailbox for each kind of text; a newer
 * job takes the place of an older one, and cancels it where it is being made. */
#include "stream.h"

#include <string.h>

/* A deferred text waits for the load to go, but not for more windows than this: a device that is always too slow shall
 * still say something. */
static const double MOST_DEFERRED_WINDOWS = 10;

static uint32_t slot_count(const vlj_stream *stream) {
    return 2 * stream->plan.query_count;
}

void vlj_stream_post_text(vlj_stream *stream, const vlj_decode_job *job) {
    vlj_decode_slot *slot = vlj_stream_slot(stream, job);
    vlj_mutex_lock(&stream->mutex);
    if (slot->waiting) {
        stream->counters.decodes_superseded++;
        stream->untold_superseded++;
        stream->untold_superseded_query = job->query;
    } else {
        slot->since_ns = vlj_monotonic_ns();
        slot->order = stream->posted++;
    }
    if (slot->running) {
        atomic_fetch_add(&slot->generation, 1); /* the decode thread counts it, if it does give up */
    }
    slot->waiting = true;
    slot->job = *job;
    slot->job.embedding = slot->embedding;
    memcpy(slot->embedding, job->embedding, stream->config->embedding_width * sizeof(float));
    vlj_condition_signal(&stream->decode_wake);
    vlj_mutex_unlock(&stream->mutex);
}

static bool busy(const vlj_stream *stream) {
    for (uint32_t i = 0; i < slot_count(stream); i++) {
        if (stream->slots[i].waiting || stream->slots[i].running) {
            return true;
        }
    }
    return false;
}

void vlj_stream_wait_for_texts(vlj_stream *stream) {
    while (!stream->stop && busy(stream)) {
        vlj_condition_wait(&stream->decode_idle, &stream->mutex);
    }
}

void vlj_stream_cancel_texts(vlj_stream *stream) {
    for (uint32_t i = 0; i < slot_count(stream); i++) {
        stream->slots[i].waiting = false;
        atomic_fetch_add(&stream->slots[i].generation, 1);
    }
}

/* The oldest job that may start now; NULL: none, and `wait_ns` (> 0) until a deferred one may. */
static vlj_decode_slot *choose(vlj_stream *stream, int64_t *wait_ns) {
    bool defers = vlj_overload_defers_decode(stream->overload.level) && !stream->finishing;
    int64_t most_ns = (int64_t)(MOST_DEFERRED_WINDOWS * stream->window_interval_ns), now_ns = vlj_monotonic_ns();
    vlj_decode_slot *oldest = NULL;
    *wait_ns = 0;
    for (uint32_t i = 0; i < slot_count(stream); i++) {
        vlj_decode_slot *slot = &stream->slots[i];
        if (slot->waiting && (oldest == NULL || slot->order < oldest->order)) {
            oldest = slot;
        }
    }
    if (oldest != NULL && defers && now_ns - oldest->since_ns < most_ns) {
        *wait_ns = most_ns - (now_ns - oldest->since_ns);
        return NULL;
    }
    return oldest;
}

/* Locked, and locked again when it returns. */
static void run(vlj_stream *stream, vlj_decode_slot *slot) {
    vlj_decode_job job = slot->job;
    memcpy(stream->decode_embedding, slot->embedding, stream->config->embedding_width * sizeof(float));
    job.embedding = stream->decode_embedding;
    unsigned expected = atomic_load(&slot->generation);
    slot->waiting = false;
    slot->running = true;
    vlj_mutex_unlock(&stream->mutex);
    bool made = vlj_stream_make_text(stream, &job, &slot->generation, expected);
    vlj_mutex_lock(&stream->mutex);
    slot->running = false;
    if (!made && !stream->stop) {
        stream->counters.decodes_superseded++;
        stream->untold_superseded++;
        stream->untold_superseded_query = job.query;
    }
    vlj_condition_broadcast(&stream->decode_idle);
}

void *vlj_stream_decode_thread(void *argument) {
    vlj_stream *stream = argument;
    vlj_thread_name("vlj-decode");
    vlj_cpus_enter(vlj_model_cpus(stream->model, VLJ_Y_DECODER), NULL);
    vlj_mutex_lock(&stream->mutex);
    while (!stream->stop) {
        int64_t wait_ns = 0;
        vlj_decode_slot *slot = choose(stream, &wait_ns);
        if (slot != NULL) {
            run(stream, slot);
        } else if (wait_ns > 0) {
            vlj_condition_wait_for(&stream->decode_wake, &stream->mutex, wait_ns);
        } else {
            vlj_condition_wait(&stream->decode_wake, &stream->mutex);
        }
    }
    vlj_mutex_unlock(&stream->mutex);
    return NULL;
}
