/* run_image.c: opens an image or a bundle, reads raw RGB24 frames, and prints each text when the meaning shifts.
 *     run_image MODEL.vlj WIDTH HEIGHT FPS [FRAMES.rgb|-] [LIBONNXRUNTIME.so] */
#include <stdio.h>
#include <stdlib.h>
#include <vljepa.h>

/* Processes every window that waits, and prints what it gave. VLJ_WOULD_BLOCK: nothing waits any more. */
static vlj_status drain(vlj_stream *stream) {
    vlj_status status;
    do {
        vlj_event event;
        VLJ_INIT(event);
        status = vlj_stream_step(stream);
        while (vlj_stream_poll(stream, &event, 0) == VLJ_OK) {
            if (event.type == VLJ_EVENT_TEXT) {
                printf("%8.2f s  %s  (%.2f)\n", (double)event.start_ns / 1e9, event.text, (double)event.confidence);
            }
        }
    } while (status == VLJ_OK);
    return status;
}

/* A push that finds a window waiting is repeated once the window is done. */
static vlj_status feed(vlj_stream *stream, FILE *input, vlj_frame *frame, uint8_t *pixels, double fps) {
    size_t bytes = (size_t)3 * frame->width * frame->height;
    vlj_status status = VLJ_OK;
    for (long i = 0; status == VLJ_OK && fread(pixels, 1, bytes, input) == bytes; i++) {
        frame->timestamp_ns = (int64_t)((double)i * 1e9 / fps);
        while ((status = vlj_stream_push(stream, frame)) == VLJ_WOULD_BLOCK && drain(stream) == VLJ_WOULD_BLOCK) {
        }
    }
    return status == VLJ_OK ? vlj_stream_finish(stream) : status;
}

int main(int argc, char **argv) {
    vlj_model_options options;
    vlj_stream_options stream_options; /* all 0: replay, the bundle's first query and thresholds */
    vlj_frame frame;
    VLJ_INIT(options);
    VLJ_INIT(stream_options);
    VLJ_INIT(frame);
    options.header_version = VLJ_HEADER_VERSION;
    options.backend_library = argc > 6 ? argv[6] : NULL;
    frame.width = argc > 4 ? (uint32_t)atoi(argv[2]) : 0, frame.height = argc > 4 ? (uint32_t)atoi(argv[3]) : 0;
    FILE *input = argc > 5 && argv[5][0] != '-' ? fopen(argv[5], "rb") : stdin;
    uint8_t *pixels = malloc((size_t)3 * frame.width * frame.height + 1);
    if (argc < 5 || input == NULL || pixels == NULL || atof(argv[4]) <= 0) {
        return fprintf(stderr, "usage: run_image MODEL.vlj WIDTH HEIGHT FPS [FRAMES.rgb|-] [LIBONNXRUNTIME.so]\n"), 2;
    }
    frame.planes[0] = pixels;
    vlj_model *model = NULL;
    vlj_stream *stream = NULL;
    if (vlj_model_open(argv[1], &options, &model) || vlj_stream_open(model, &stream_options, &stream) ||
        feed(stream, input, &frame, pixels, atof(argv[4])) || drain(stream) != VLJ_WOULD_BLOCK) {
        return fprintf(stderr, "run_image: %s\n", vlj_last_error()), 2;
    }
    vlj_stream_close(stream);
    vlj_model_close(model);
    return free(pixels), 0;
}
