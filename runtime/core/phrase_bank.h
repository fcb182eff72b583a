/* phrase_bank.h: nearest phrases of a bank that is already open, for a stream's text events. Allocates nothing. */
#ifndef VLJ_CORE_PHRASE_BANK_H
#define VLJ_CORE_PHRASE_BANK_H

#include "sections.h"
#include "vljepa.h"

typedef struct vlj_phrase_bank {
    vlj_text_table phrases;
    vlj_matrix embeddings; /* unit rows [count, E] */
} vlj_phrase_bank;

/* The bank-th PHRASE_BANK section. VLJ_E_ARGUMENT when there are fewer. The view lives as long as the model. */
vlj_status vlj_phrase_bank_open(const vlj_model *model, uint32_t bank, vlj_phrase_bank *opened);
/* The k nearest by cosine, best first; the earlier phrase wins a tie. k is 1..count. `embedding` is [E], any length but
 * 0. */
vlj_status vlj_phrase_bank_nearest(const vlj_phrase_bank *bank, const float *embedding, uint32_t k, uint32_t *indices,
                                   float *cosines);
const char *vlj_phrase_bank_text(const vlj_phrase_bank *bank, uint32_t index); /* index < count */

#endif
