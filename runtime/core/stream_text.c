/* stream_text.c: makes the text of one embedding, by the Y-Decoder or from the phrase bank, and tells it. */
#include "stream.h"

#include <math.h>

#include "error.h"

static vlj_status decode(vlj_stream *stream, const vlj_decode_job *job, const atomic_uint *generation,
                         unsigned expected, float *confidence) {
    vlj_decode_result result;
    VLJ_INIT(result);
    int64_t start_ns = vlj_monotonic_ns();
    vlj_status status = vlj_decoder_run(stream->decoder, job->embedding, generation, expected, stream->text,
                                        stream->plan.text_bytes, &result);
    if (status != VLJ_OK) {
        return status;
    }
    vlj_stream_record(stream, VLJ_STAGE_PREFILL, start_ns, result.prefill_ns, job->window, job->query);
    vlj_stream_record(stream, VLJ_STAGE_TOKENS, start_ns + result.prefill_ns, result.tokens_ns, job->window,
                      job->query);
    vlj_mutex_lock(&stream->mutex);
    stream->counters.tokens += result.token_count;
    vlj_mutex_unlock(&stream->mutex);
    *confidence = expf(result.mean_logprob);
    return VLJ_OK;
}

bool vlj_stream_make_text(vlj_stream *stream, const vlj_decode_job *job, const atomic_uint *generation,
                          unsigned expected) {
    vlj_event event = {.type = VLJ_EVENT_TEXT,
                       .reason = job->reason,
                       .query = job->query,
                       .window = job->window,
                       .start_ns = job->start_ns,
                       .end_ns = job->end_ns,
                       .score = job->score,
                       .threshold = job->threshold,
                       .embedding = job->embedding};
    bool from_bank = stream->plan.text_source == VLJ_TEXT_PHRASE_BANK;
    vlj_status status;
    if (from_bank) {
        uint32_t nearest = 0;
        status = vlj_phrase_bank_nearest(&stream->plan.phrases, job->embedding, 1, &nearest, &event.confidence);
        event.text = status == VLJ_OK ? vlj_phrase_bank_text(&stream->plan.phrases, nearest) : NULL;
    } else {
        status = decode(stream, job, generation, expected, &event.confidence);
        event.text = stream->text;
    }
    if (status == VLJ_E_CANCELLED) {
        return false;
    }
    vlj_mutex_lock(&stream->mutex);
    stream->counters.decodes += status == VLJ_OK;
    stream->counters.decode_failures += status != VLJ_OK;
    vlj_mutex_unlock(&stream->mutex);
    if (status != VLJ_OK) { /* one text is lost, the stream goes on */
        event.type = VLJ_EVENT_DROPPED;
        event.reason = VLJ_REASON_DECODE_FAILED;
        event.count = 1;
        event.embedding = NULL;
        event.text = vlj_last_error();
    }
    vlj_stream_emit(stream, &event, job->arrival_ns, from_bank && status == VLJ_OK);
    return true;
}
