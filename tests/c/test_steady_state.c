/* Twenty thousand windows: not one allocation after open, and the process doesn't grow. */
#include "stream_fixture.h"

#include <unistd.h>

static const int64_t MS = 1000000;

static long resident_bytes(void) {
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file) {
        if (fscanf(file, "%*s %ld", &pages) != 1) {
            pages = 0;
        }
        fclose(file);
    }
    return pages * sysconf(_SC_PAGESIZE);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1, WINDOWS = 3000, WARM_UP = 500 }; /* slow, and their own tables grow */
#else
enum { SANITIZED = 0, WINDOWS = 20000, WARM_UP = 1000 };
#endif

int main(void) {
    stream_fixture fixture;
    vlj_stream_options options;
    vlj_query queries[2];
    vlj_event event;
    vlj_stream *stream;
    stream_fixture_defaults(&fixture);
    fixture.bundle.stride = 1;
    stream_fixture_count_memory(&fixture);
    stream_fixture_open(&fixture);
    VLJ_INIT(options);
    VLJ_INIT(event);
    VLJ_INIT(queries[0]);
    VLJ_INIT(queries[1]);
    CHECK_OK(vlj_model_query_at(fixture.model, 0, &queries[0]));
    CHECK_OK(vlj_model_query_at(fixture.model, 1, &queries[1]));
    options.queries = queries;
    options.query_count = 2;
    options.emit_embeddings = 1;
    options.decode_when = VLJ_DECODE_BOTH;
    options.trace_capacity = 1000;
    CHECK_OK(vlj_stream_open(fixture.model, &options, &stream));

    long long allocations = atomic_load(&fixture.allocations), bytes = atomic_load(&fixture.bytes);
    long resident = 0;
    uint64_t windows = 0, texts = 0;
    for (int64_t i = 0; windows < WINDOWS; i++) {
        while (push_grey(stream, (int)(i / 25 * 37 % 256), i * 100 * MS) == VLJ_WOULD_BLOCK) {
            CHECK_OK(vlj_stream_step(stream));
            windows++;
            while (vlj_stream_poll(stream, &event, 0) == VLJ_OK) {
                texts += event.type == VLJ_EVENT_TEXT;
            }
        }
        if (windows == WARM_UP && resident == 0) {
            resident = resident_bytes();
        }
    }
    long growth = resident_bytes() - resident;
    CHECK_EQ(atomic_load(&fixture.allocations), allocations);
    CHECK_EQ(atomic_load(&fixture.bytes), bytes);
    CHECK(texts > WINDOWS / 20);
    vlj_stats stats;
    VLJ_INIT(stats);
    CHECK_OK(vlj_stream_stats(stream, &stats));
    CHECK_EQ(stats.windows, WINDOWS);
    CHECK_EQ(stats.allocations, 0);
    printf("%d windows, %llu texts, 0 allocations, resident memory grew by %ld bytes\n", WINDOWS,
           (unsigned long long)texts, growth);
    printf("the core's own time per window: p50 %.1f us, p99 %.1f us\n",
           (double)stats.stages[VLJ_STAGE_OVERHEAD].p50_ns / 1e3,
           (double)stats.stages[VLJ_STAGE_OVERHEAD].p99_ns / 1e3);
    CHECK(SANITIZED || growth < 2 << 20);
    vlj_stream_close(stream);
    stream_fixture_close(&fixture);
    return 0;
}
