/* trace.h: a ring of timed spans, written as the JSON that chrome://tracing and Perfetto open.
 *
 * No lock of its own: the stream's mutex covers record and get; the writer works on copies.
 */
#ifndef VLJ_TRACE_H
#define VLJ_TRACE_H

#include <stdbool.h>

#include "vljepa.h"

typedef enum vlj_trace_thread { VLJ_TRACE_PUSH = 1, VLJ_TRACE_WINDOWS = 2, VLJ_TRACE_DECODE = 3 } vlj_trace_thread;

typedef struct vlj_span {
    int64_t start_ns, duration_ns; /* on the monotonic clock */
    uint64_t window;
    uint16_t stage;  /* vlj_stage */
    uint16_t thread; /* vlj_trace_thread */
    uint32_t query;
} vlj_span;

typedef struct vlj_trace {
    vlj_span *spans; /* [capacity] */
    uint32_t capacity;
    uint64_t count; /* recorded ever */
} vlj_trace;

void vlj_trace_init(vlj_trace *trace, void *memory, uint32_t capacity); /* capacity spans; 0: records nothing */
void vlj_trace_record(vlj_trace *trace, const vlj_span *span);
/* The i-th span ever recorded; false when it was overwritten or never was. */
bool vlj_trace_get(const vlj_trace *trace, uint64_t i, vlj_span *span);
uint64_t vlj_trace_first(const vlj_trace *trace); /* index of the oldest that is kept */

/* Text that is counted even where it no longer fits. */
typedef struct vlj_text_writer {
    char *text;
    size_t capacity, length; /* length without NUL */
} vlj_text_writer;

void vlj_trace_begin(vlj_text_writer *writer, const char *process_name);
void vlj_trace_span(vlj_text_writer *writer, const vlj_span *span);
void vlj_trace_end(vlj_text_writer *writer, const char *const *queries, uint32_t query_count);
/* Appends `text` as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD. */
void vlj_write_json_string(vlj_text_writer *writer, const char *text);

#endif
