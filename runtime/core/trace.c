/* The span ring and its Chrome trace JSON: complete events ("ph":"X") in microseconds with three decimals. */
#include "trace.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "utf8.h"

static const char *const STAGE_NAMES[VLJ_STAGE_COUNT] = {"frame",   "encode", "predict", "gate",
                                                         "prefill", "tokens", "window",  "overhead"};

void vlj_trace_init(vlj_trace *trace, void *memory, uint32_t capacity) {
    *trace = (vlj_trace){.spans = memory, .capacity = capacity};
}

void vlj_trace_record(vlj_trace *trace, const vlj_span *span) {
    if (trace->capacity == 0) {
        return;
    }
    trace->spans[trace->count % trace->capacity] = *span;
    trace->count++;
}

uint64_t vlj_trace_first(const vlj_trace *trace) {
    return trace->count > trace->capacity ? trace->count - trace->capacity : 0;
}

bool vlj_trace_get(const vlj_trace *trace, uint64_t i, vlj_span *span) {
    if (i >= trace->count || i < vlj_trace_first(trace)) {
        return false;
    }
    *span = trace->spans[i % trace->capacity];
    return true;
}

static void put(vlj_text_writer *writer, const char *bytes, size_t count) {
    if (writer->length < writer->capacity) {
        size_t fits = writer->capacity - writer->length;
        memcpy(writer->text + writer->length, bytes, count < fits ? count : fits);
    }
    writer->length += count;
}

__attribute__((format(printf, 2, 3))) static void put_format(vlj_text_writer *writer, const char *format, ...) {
    char line[256]; /* every format here is far shorter */
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (length > 0) {
        put(writer, line, (size_t)length < sizeof line ? (size_t)length : sizeof line - 1);
    }
}

void vlj_write_json_string(vlj_text_writer *writer, const char *text) {
    size_t left = strlen(text);
    put(writer, "\"", 1);
    while (left > 0) {
        size_t length = vlj_utf8_character(text, left);
        unsigned char first = (unsigned char)*text;
        if (length == 0) {
            put(writer, "\\ufffd", 6);
        } else if (first == '"' || first == '\\') {
            put_format(writer, "\\%c", first);
        } else if (first < 0x20 || first == 0x7f) {
            put_format(writer, "\\u%04x", first);
        } else {
            put(writer, text, length);
        }
        text += length ? length : 1;
        left -= length ? length : 1;
    }
    put(writer, "\"", 1);
}

void vlj_trace_begin(vlj_text_writer *writer, const char *process_name) {
    static const char *const threads[] = {"push", "windows", "decode"};
    const char *begin = "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n"
                        "{\"ph\":\"M\",\"pid\":1,\"name\":\"process_name\",\"args\":{\"name\":";
    put(writer, begin, strlen(begin));
    vlj_write_json_string(writer, process_name);
    put(writer, "}}", 2);
    for (int i = 0; i < 3; i++) {
        put_format(writer, ",\n{\"ph\":\"M\",\"pid\":1,\"tid\":%d,\"name\":\"thread_name\",\"args\":{\"name\":\"%s\"}}",
                   i + 1, threads[i]);
    }
}

void vlj_trace_span(vlj_text_writer *writer, const vlj_span *span) {
    const char *name = span->stage < VLJ_STAGE_COUNT ? STAGE_NAMES[span->stage] : "?";
    int64_t start = span->start_ns < 0 ? 0 : span->start_ns, duration = span->duration_ns < 0 ? 0 : span->duration_ns;
    put_format(writer,
               ",\n{\"ph\":\"X\",\"pid\":1,\"tid\":%u,\"name\":\"%s\",\"ts\":%" PRId64 ".%03d,\"dur\":%" PRId64
               ".%03d,\"args\":{",
               span->thread, name, start / 1000, (int)(start % 1000), duration / 1000, (int)(duration % 1000));
    if (span->stage == VLJ_STAGE_FRAME) {
        put_format(writer, "\"frame\":%" PRIu64 "}}", span->window);
    } else if (span->stage == VLJ_STAGE_PREFILL || span->stage == VLJ_STAGE_TOKENS) {
        put_format(writer, "\"window\":%" PRIu64 ",\"query\":%u}}", span->window, span->query);
    } else {
        put_format(writer, "\"window\":%" PRIu64 "}}", span->window);
    }
}

void vlj_trace_end(vlj_text_writer *writer, const char *const *queries, uint32_t query_count) {
    put_format(writer, "\n],\"otherData\":{\"vljepa\":\"%s\",\"queries\":[", vlj_version());
    for (uint32_t i = 0; i < query_count; i++) {
        if (i > 0) {
            put(writer, ",", 1);
        }
        vlj_write_json_string(writer, queries[i]);
    }
    put(writer, "]}}\n", 4);
}
