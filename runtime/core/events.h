/* events.h: the bounded queue between a stream and whoever polls it, with room for text and embedding made at open.
 *
 * When it is full, the oldest EMBEDDING makes room; with none there, the oldest event does. The loss is told by a
 * DROPPED event that the next pop gives first, so telling it needs no room. No lock of its own: the stream's mutex
 * covers it.
 */
#ifndef VLJ_EVENTS_H
#define VLJ_EVENTS_H

#include <stdbool.h>

#include "vljepa.h"

#define VLJ_EVENT_NONE UINT32_MAX

/* One kept event. Slots form two lists by index: all of them in order, and the EMBEDDING ones in order. */
typedef struct vlj_event_slot {
    vlj_event event;
    uint32_t next, previous;
    uint32_t next_embedding;
} vlj_event_slot;

typedef struct vlj_event_queue {
    vlj_event_slot *slots; /* [capacity + 1]: the one that was popped last stays whole until the next pop */
    float *embeddings;     /* [capacity + 1, embedding_width] */
    char *texts;           /* [capacity + 1, text_bytes] */
    uint32_t capacity, embedding_width, text_bytes;
    uint32_t count;
    uint32_t first, last;                     /* oldest, newest */
    uint32_t first_embedding, last_embedding; /* among EMBEDDING events */
    uint32_t free;                            /* list through `next` */
    uint32_t taken;                           /* the slot popped last */
    uint64_t sequence;                        /* of the next pop */
    uint64_t untold;                          /* overwritten since the last DROPPED event */
    uint64_t dropped;                         /* overwritten ever */
    uint64_t untold_window;
} vlj_event_queue;

size_t vlj_event_queue_bytes(uint32_t capacity, uint32_t embedding_width, uint32_t text_bytes);
/* `memory`: vlj_event_queue_bytes, 64-byte aligned. */
void vlj_event_queue_init(vlj_event_queue *queue, void *memory, uint32_t capacity, uint32_t embedding_width,
                          uint32_t text_bytes);

/* Copies the event with its embedding and its text (cut to text_bytes - 1 at a character). With `text_lives` the text
 * is kept as a pointer: a phrase of the bank, which outlives the stream. */
void vlj_event_queue_push(vlj_event_queue *queue, const vlj_event *event, bool text_lives);
/* Events that fit before one would be overwritten. */
uint32_t vlj_event_queue_room(const vlj_event_queue *queue);
/* False: none there. Text and embedding live until the next pop. */
bool vlj_event_queue_pop(vlj_event_queue *queue, vlj_event *event);
/* Forgets every waiting event, and what was overwritten but not told. */
void vlj_event_queue_clear(vlj_event_queue *queue);

#endif
