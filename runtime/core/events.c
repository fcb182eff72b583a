/* The bounded event queue: linked slots, so that an event in the middle can make room in constant time. */
#include "events.h"

#include <string.h>

#include "utf8.h"

static size_t align_up(size_t bytes) {
    return (bytes + 63) & ~(size_t)63;
}

size_t vlj_event_queue_bytes(uint32_t capacity, uint32_t embedding_width, uint32_t text_bytes) {
    size_t slots = (size_t)capacity + 1;
    return align_up(slots * sizeof(vlj_event_slot)) + align_up(slots * embedding_width * sizeof(float)) +
           align_up(slots * text_bytes);
}

void vlj_event_queue_init(vlj_event_queue *queue, void *memory, uint32_t capacity, uint32_t embedding_width,
                          uint32_t text_bytes) {
    size_t slots = (size_t)capacity + 1;
    uint8_t *at = memory;
    *queue = (vlj_event_queue){.slots = memory,
                               .capacity = capacity,
                               .embedding_width = embedding_width,
                               .text_bytes = text_bytes,
                               .first = VLJ_EVENT_NONE,
                               .last = VLJ_EVENT_NONE,
                               .first_embedding = VLJ_EVENT_NONE,
                               .last_embedding = VLJ_EVENT_NONE,
                               .free = VLJ_EVENT_NONE,
                               .taken = VLJ_EVENT_NONE};
    at += align_up(slots * sizeof(vlj_event_slot));
    queue->embeddings = (float *)at;
    at += align_up(slots * embedding_width * sizeof(float));
    queue->texts = (char *)at;
    for (uint32_t i = capacity + 1; i-- > 0;) {
        queue->slots[i].next = queue->free;
        queue->free = i;
    }
}

static void release(vlj_event_queue *queue, uint32_t index) {
    queue->slots[index].next = queue->free;
    queue->free = index;
}

/* Takes a slot out of the order. An EMBEDDING is always the oldest of its list: events leave from the front, or as the
 * oldest EMBEDDING. */
static void unlink_slot(vlj_event_queue *queue, uint32_t index) {
    vlj_event_slot *slot = &queue->slots[index];
    if (slot->previous == VLJ_EVENT_NONE) {
        queue->first = slot->next;
    } else {
        queue->slots[slot->previous].next = slot->next;
    }
    if (slot->next == VLJ_EVENT_NONE) {
        queue->last = slot->previous;
    } else {
        queue->slots[slot->next].previous = slot->previous;
    }
    if (slot->event.type == VLJ_EVENT_EMBEDDING) {
        queue->first_embedding = slot->next_embedding;
        if (queue->first_embedding == VLJ_EVENT_NONE) {
            queue->last_embedding = VLJ_EVENT_NONE;
        }
    }
    queue->count--;
}

static void make_room(vlj_event_queue *queue) {
    uint32_t victim = queue->first_embedding != VLJ_EVENT_NONE ? queue->first_embedding : queue->first;
    queue->untold++;
    queue->dropped++;
    queue->untold_window = queue->slots[victim].event.window;
    unlink_slot(queue, victim);
    release(queue, victim);
}

void vlj_event_queue_push(vlj_event_queue *queue, const vlj_event *event, bool text_lives) {
    if (queue->count == queue->capacity) {
        make_room(queue);
    }
    uint32_t index = queue->free;
    vlj_event_slot *slot = &queue->slots[index];
    queue->free = slot->next;
    slot->event = *event;
    slot->event.struct_size = (uint32_t)sizeof *event;
    if (!event->text) {
        slot->event.text = "";
    } else if (!text_lives) {
        char *text = queue->texts + (size_t)index * queue->text_bytes;
        vlj_utf8_copy(text, queue->text_bytes, event->text);
        slot->event.text = text;
    }
    slot->event.embedding_width = event->embedding ? queue->embedding_width : 0;
    if (event->embedding) {
        float *embedding = queue->embeddings + (size_t)index * queue->embedding_width;
        memcpy(embedding, event->embedding, queue->embedding_width * sizeof(float));
        slot->event.embedding = embedding;
    }

    slot->next = VLJ_EVENT_NONE;
    slot->next_embedding = VLJ_EVENT_NONE;
    slot->previous = queue->last;
    if (queue->last == VLJ_EVENT_NONE) {
        queue->first = index;
    } else {
        queue->slots[queue->last].next = index;
    }
    queue->last = index;
    if (event->type == VLJ_EVENT_EMBEDDING) {
        if (queue->last_embedding == VLJ_EVENT_NONE) {
            queue->first_embedding = index;
        } else {
            queue->slots[queue->last_embedding].next_embedding = index;
        }
        queue->last_embedding = index;
    }
    queue->count++;
}

uint32_t vlj_event_queue_room(const vlj_event_queue *queue) {
    return queue->capacity - queue->count;
}

bool vlj_event_queue_pop(vlj_event_queue *queue, vlj_event *event) {
    if (queue->taken != VLJ_EVENT_NONE) {
        release(queue, queue->taken);
        queue->taken = VLJ_EVENT_NONE;
    }
    if (queue->untold > 0) {
        *event = (vlj_event){.struct_size = (uint32_t)sizeof *event,
                             .type = VLJ_EVENT_DROPPED,
                             .reason = VLJ_REASON_EVENT_QUEUE_FULL,
                             .window = queue->untold_window,
                             .count = queue->untold,
                             .text = ""};
        queue->untold = 0;
    } else if (queue->first != VLJ_EVENT_NONE) {
        queue->taken = queue->first;
        unlink_slot(queue, queue->taken);
        *event = queue->slots[queue->taken].event;
    } else {
        return false;
    }
    event->sequence = queue->sequence++;
    return true;
}

void vlj_event_queue_clear(vlj_event_queue *queue) {
    while (queue->first != VLJ_EVENT_NONE) {
        uint32_t index = queue->first;
        unlink_slot(queue, index);
        release(queue, index);
    }
    queue->untold = 0;
}
