/* attention.c: dispatch of the attention kernels by name. */
#include "attention.h"

#include <string.h>

#include "attention_kernels.h"

static const vlj_attention_kernels *const all_kernels[] = {
#if VLJ_KERNELS_AMX
    &vlj_attention_amx,
#endif
    &vlj_attention_generic,
};
enum { COUNT = sizeof all_kernels / sizeof all_kernels[0] };

static int usable(const vlj_attention_kernels *kernels) {
    return vlj_isa_supported(kernels->isa) && (kernels->isa != VLJ_ISA_AMX || vlj_isa_permit_amx());
}

const vlj_attention_kernels *vlj_attention_kernels_named(const char *name) {
    for (size_t i = 0; i < COUNT; i++) {
        if (strcmp(all_kernels[i]->name, name) == 0) {
            return usable(all_kernels[i]) ? all_kernels[i] : NULL;
        }
    }
    return NULL;
}

const vlj_attention_kernels *vlj_attention_kernels_best(size_t width) {
    vlj_isa limit = vlj_isa_limit();
    for (size_t i = 0; i + 1 < COUNT; i++) {
        const vlj_attention_kernels *k = all_kernels[i];
        if (k->isa <= limit && (k->width == 0 || k->width == width) && usable(k)) {
            return k;
        }
    }
    return &vlj_attention_generic;
}
