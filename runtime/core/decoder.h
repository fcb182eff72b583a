/* decoder.h: greedy decode of an embedding by the prefix-LM Y-Decoder over a static KV cache. */
#ifndef VLJ_CORE_DECODER_H
#define VLJ_CORE_DECODER_H

#include <stdatomic.h>

#include "hooks.h"
#include "vljepa.h"

typedef struct vlj_decoder vlj_decoder;

/* Bytes that vlj_decoder_open takes from the host: one allocation. 0 when the bundle has no Y-Decoder. */
size_t vlj_decoder_bytes(const vlj_model *model);
/* VLJ_E_BUNDLE_MISSING when the bundle has no Y-Decoder, or lacks its vocabulary or token embeddings. */
vlj_status vlj_decoder_open(vlj_model *model, const vlj_host *host, vlj_decoder **decoder);
/* Decodes `embedding` [E] into NUL-terminated, valid UTF-8. Before each engine run it gives up with VLJ_E_CANCELLED and
 * empty text when *generation is no longer `expected`; `generation` may be NULL. One call at a time per decoder. */
vlj_status vlj_decoder_run(vlj_decoder *decoder, const float *embedding, const atomic_uint *generation,
                           unsigned expected, char *text, size_t text_bytes, vlj_decode_result *result);
void vlj_decoder_close(vlj_decoder *decoder);

#endif
